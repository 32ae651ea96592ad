// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import Bytes
import CodisTesting
import Keyspace
import SlotHash
import Testing

@testable import CodisServer

@Suite("The fence around keys on their way")
struct KeyFenceTests {
    private func raise(_ redis: CommandHarness, _ key: String, in database: Int = 0) -> FenceTicket {
        ByteView.with(key) { redis.server.raiseFence(around: [$0], in: database) }
    }

    @Test(
        "a command that names a fenced key is not begun",
        arguments: [
            "GET k", "SET k 1", "MGET a k", "MSET a 1 k 2", "DEL a b k", "RENAME a k", "RENAME k a", "BITOP NOT a k",
            "EVAL return 1 k", "SORT a STORE k", "SORT k", "ZUNIONSTORE k 1 a", "ZINTERSTORE a 2 b k",
            "OBJECT ENCODING k",
            "MOVE k 1", "MIGRATE h 1 k 0 0", "BLPOP a k 0", "BRPOPLPUSH a k 0", "FLUSHALL", "FLUSHDB", "SLOTSDEL 1",
            "WATCH k", "TTL k", "DUMP k",
            "SUNIONSTORE a b k", "PFMERGE a k",
        ]
    )
    func waits(_ line: String) throws {
        let redis = try CommandHarness()
        redis("SET k 1")
        let client = redis.client()
        let ticket = raise(redis, "k")
        #expect(client.replies(line) == [], "\(line)")
        #expect(client.session.holds == .fenced)
        redis.server.lower(ticket)
        #expect(redis.server.fence.isEmpty && redis.server.fence.hasReleased)
        redis.server.resumeReleased()
        #expect(client.session.holds == [])
    }

    @Test(
        "a command that names no fenced key is served",
        arguments: [
            "GET a", "SET kk 1", "KEYS *", "DBSIZE", "RANDOMKEY", "SCAN 0", "PING", "EVAL return 0 k", "SORT a BY k",
            "ZUNIONSTORE a 1 b k", "SORT a STORE", "EVAL x 99999999999999999999", "INFO", "SLOTSINFO", "MOVE a 1",
        ]
    )
    func serves(_ line: String) throws {
        let redis = try CommandHarness()
        redis("SET k 1")
        let client = redis.client()
        let ticket = raise(redis, "k")
        #expect(client.replies(line).count == 1, "\(line)")
        #expect(client.session.holds == [])
        redis.server.lower(ticket)
    }

    @Test("the fence holds in its own database, and for a tag around all keys that have it")
    func marks() throws {
        let redis = try CommandHarness()
        let client = redis.client()
        let tagged = raise(redis, "{t}a")
        #expect(client.replies("GET t") != [])
        #expect(client.replies("SELECT 1") == [.ok])
        #expect(client.replies("GET {t}a") != [])
        #expect(client.replies("FLUSHDB") == [.ok])
        #expect(client.replies("MOVE {t}x 0") == [])
        client.session.holds = []
        #expect(client.replies("SELECT 0") == [.ok])
        #expect(client.replies("SET x{t} new") == [])
        redis.server.lower(tagged)
    }

    @Test("EXEC waits for the keys of its commands, in the databases where they run")
    func transactions() throws {
        let redis = try CommandHarness()
        let client = redis.client()
        let ticket = raise(redis, "k", in: 1)
        for line in ["MULTI", "SET k 1", "SELECT 1"] { #expect(client.replies(line).count == 1) }
        #expect(client("EXEC") == .array([.ok, .ok]))
        #expect(client("SELECT 0") == .ok)
        for line in ["MULTI", "SELECT 1", "SET k 1"] { #expect(client.replies(line).count == 1) }
        #expect(client.replies("EXEC") == [])
        #expect(client.session.holds == .fenced)
        client.session.holds = []
        redis.server.lower(ticket)
        #expect(client("EXEC") == .array([.ok, .ok]))
    }

    @Test("the ticket learns of changes by who does not wait, and of none by its holder, by expiry or by eviction")
    func breach() throws {
        let redis = try CommandHarness()
        redis("SET k 1 PX 5")
        let ticket = raise(redis, "k")
        redis.advance(milliseconds: 10)
        redis.run("EVAL", "return redis.call('get', 'k')", "0")
        #expect(!ticket.wasBreached)
        redis.server.changeBehindFence { _ = redis.run("EVAL", "return redis.call('set', 'k', 1)", "0") }
        redis.run("EVAL", "return redis.call('set', 'a', 1)", "0")
        #expect(!ticket.wasBreached)
        redis.run("EVAL", "return redis.call('set', 'k', 1)", "0")
        #expect(ticket.wasBreached)
        ticket.wasBreached = false
        redis.run("EVAL", "return redis.call('flushall')", "0")
        #expect(ticket.wasBreached)
        redis.server.lower(ticket)
        #expect(redis.server.keyspace.onKeyChange == nil)
    }

    @Test("a list behind the fence gives nothing to who waits for elements, until the fence is gone")
    func blockedClients() throws {
        let redis = try CommandHarness()
        let client = redis.client()
        #expect(client.replies("BLPOP k 0") == [])
        let mover = redis.client()
        #expect(mover.replies("BRPOPLPUSH from to 0") == [])
        let tickets = [raise(redis, "k"), raise(redis, "to")]
        redis.run("EVAL", "redis.call('rpush', 'k', 'x'); redis.call('rpush', 'from', 'y')", "0")
        redis.server.serveBlocked()
        #expect(client.pushed == [] && mover.pushed == [])
        for ticket in tickets { redis.server.lower(ticket) }
        redis.server.serveBlocked()
        #expect(client.pushed == [.array([.bulk("k"), .bulk("x")])])
        #expect(mover.pushed == [.bulk("y")])
    }
}
