// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisTesting
import Keyspace
import Testing

@testable import CodisServer

@Suite("Blocking commands")
struct BlockingCommandsTests {
    private let wrongType = TestReply.error("WRONGTYPE Operation against a key holding the wrong kind of value")

    @Test("an element that is there is popped at once, from the first list of those that are named")
    func immediate() throws {
        let redis = try CommandHarness()
        redis("RPUSH b 1 2 3")
        redis("RPUSH c x")
        #expect(redis("BLPOP a b c 0") == .bulks("b", "1"))
        #expect(redis("BRPOP a b c 10") == .bulks("b", "3"))
        #expect(redis("BRPOPLPUSH b c 1") == .bulk("2"))
        #expect(redis("EXISTS b") == .integer(0))
        #expect(redis("LRANGE c 0 -1") == .bulks("2", "x"))
        #expect(
            try redis.effectLines == [
                "SELECT 0", "RPUSH b 1 2 3", "RPUSH c x", "LPOP b", "RPOP b", "RPOPLPUSH b c",
            ]
        )
    }

    @Test("BLPOP waits for a push, and BRPOP takes the tail")
    func waiting() throws {
        let redis = try CommandHarness()
        let first = redis.client()
        let second = redis.client()
        #expect(first.replies("BLPOP a b 0").isEmpty)
        #expect(redis.server.info("clients").contains("blocked_clients:1"))
        #expect(redis.server.description(of: first.session).contains(" flags=b "))
        #expect(redis("LPUSH b 1 2 3") == .integer(3))
        #expect(first.pushed == [.bulks("b", "3")])
        #expect(redis("LRANGE b 0 -1") == .bulks("2", "1"))
        #expect(second.replies("BRPOP c 0").isEmpty)
        #expect(redis("RPUSH c x y") == .integer(2))
        #expect(second.pushed == [.bulks("c", "y")])
        #expect(redis.server.info("clients").contains("blocked_clients:0"))
        #expect(
            try redis.effectLines == ["SELECT 0", "LPUSH b 1 2 3", "LPOP b", "RPUSH c x y", "RPOP c"]
        )
    }

    @Test("who came first is served first, as long as there are elements")
    func fairness() throws {
        let redis = try CommandHarness()
        let clients = (0..<4).map { _ in redis.client() }
        for client in clients { #expect(client.replies("BLPOP a 0").isEmpty) }
        redis("RPUSH a 1 2 3")
        #expect(clients.map(\.pushed) == [[.bulks("a", "1")], [.bulks("a", "2")], [.bulks("a", "3")], []])
        redis("RPUSH a 4 5")
        #expect(clients[3].pushed == [.bulks("a", "4")])
        #expect(redis("LRANGE a 0 -1") == .bulks("5"))
    }

    @Test("a client that waits for several lists, or for one twice, gets one element")
    func several() throws {
        let redis = try CommandHarness()
        let client = redis.client()
        client.replies("BLPOP a a b a 0")
        redis("MULTI")
        redis("RPUSH b 1")
        redis("RPUSH a 2")
        redis("EXEC")
        // In the order in which the keys were changed.
        #expect(client.pushed == [.bulks("b", "1")])
        #expect(redis("LRANGE a 0 -1") == .bulks("2"))
        #expect(redis.server.blocking.sessions.isEmpty)
    }

    @Test("a transaction that pushes and pops again serves nobody, and one that leaves something does so at its end")
    func transactions() throws {
        let redis = try CommandHarness()
        let client = redis.client()
        client.replies("BLPOP a 0")
        redis("MULTI")
        redis("RPUSH a 1")
        redis("LPOP a")
        #expect(redis("EXEC") == .array([.integer(1), .bulk("1")]))
        #expect(client.pushed.isEmpty)
        redis("MULTI")
        redis("RPUSH a 1")
        redis("DEL a")
        redis("RPUSH a 2")
        redis("EXEC")
        #expect(client.pushed == [.bulks("a", "2")])
        #expect(
            try redis.effectLines == [
                "SELECT 0", "MULTI", "RPUSH a 1", "LPOP a", "EXEC", "MULTI", "RPUSH a 1", "DEL a", "RPUSH a 2", "EXEC",
                "LPOP a",
            ]
        )
    }

    @Test("within a transaction nothing waits")
    func withinTransaction() throws {
        let redis = try CommandHarness()
        redis("MULTI")
        redis("BLPOP a 0")
        redis("BRPOP a 0")
        redis("BRPOPLPUSH a b 0")
        redis("RPUSH a 1 2")
        redis("BLPOP a 0")
        #expect(
            redis("EXEC")
                == .array([.nullArray, .nullArray, .nullBulk, .integer(2), .bulks("a", "1")])
        )
        #expect(try redis.effectLines == ["SELECT 0", "MULTI", "RPUSH a 1 2", "LPOP a", "EXEC"])
    }

    @Test(
        "a list serves whatever made it",
        arguments: ["RENAME other a", "RENAMENX other a", "RPOPLPUSH other a", "SORT other ALPHA STORE a"]
    )
    func makers(line: String) throws {
        let redis = try CommandHarness()
        // What is not there yet cannot be tried.
        guard redis.server.commands.find(String(line.split(separator: " ")[0])) != nil else { return }
        redis("RPUSH other x")
        let client = redis.client()
        client.replies("BLPOP a 0")
        redis(line)
        #expect(client.pushed == [.bulks("a", "x")], "\(line)")
    }

    @Test("a list that is moved to the database of who waits serves, another database does not")
    func databases() throws {
        let redis = try CommandHarness()
        let client = redis.client()
        client("SELECT 1")
        client.replies("BLPOP a 0")
        redis("RPUSH a x")
        #expect(client.pushed.isEmpty)
        redis("MOVE a 1")
        #expect(client.pushed == [.bulks("a", "x")])
    }

    @Test("BRPOPLPUSH that waited moves the element, which may serve the next")
    func chains() throws {
        let redis = try CommandHarness()
        let clients = (0..<3).map { _ in redis.client() }
        clients[0].replies("BRPOPLPUSH a b 0")
        clients[1].replies("BRPOPLPUSH b c 0")
        clients[2].replies("BLPOP c 0")
        redis("RPUSH a x")
        #expect(clients.map(\.pushed) == [[.bulk("x")], [.bulk("x")], [.bulks("c", "x")]])
        #expect(redis("DBSIZE") == .integer(0))
        #expect(
            try redis.effectLines == ["SELECT 0", "RPUSH a x", "RPOPLPUSH a b", "RPOPLPUSH b c", "LPOP c"]
        )
    }

    @Test("BRPOPLPUSH onto itself, and two that feed each other, come to an end")
    func circles() throws {
        let redis = try CommandHarness()
        let first = redis.client()
        let second = redis.client()
        first.replies("BRPOPLPUSH a a 0")
        redis("RPUSH a 1 2")
        #expect(first.pushed == [.bulk("2")])
        #expect(redis("LRANGE a 0 -1") == .bulks("2", "1"))
        redis("DEL a")
        first.session.resume(.blocked)
        first.replies("BRPOPLPUSH a b 0")
        second.replies("BRPOPLPUSH b a 0")
        redis("RPUSH a x")
        #expect(first.pushed == [.bulk("x")])
        #expect(second.pushed == [.bulk("x")])
        #expect(redis("LRANGE a 0 -1") == .bulks("x"))
    }

    @Test("wrong types are refused at once, or when the element comes; it then stays where it is")
    func wrongTypes() throws {
        let redis = try CommandHarness()
        redis("SET s text")
        #expect(redis("BLPOP s 0") == wrongType)
        #expect(redis("BRPOP a s 0") == wrongType)
        #expect(redis("BRPOPLPUSH s a 0") == wrongType)
        redis("RPUSH full x")
        #expect(redis("BRPOPLPUSH full s 0") == wrongType)
        #expect(redis("BLPOP full s 0") == .bulks("full", "x"))
        let first = redis.client()
        let second = redis.client()
        first.replies("BRPOPLPUSH a s 0")
        second.replies("BLPOP a 0")
        redis("RPUSH a x")
        #expect(first.pushed == [wrongType])
        #expect(second.pushed == [.bulks("a", "x")])
        // A value of another type serves nobody.
        let third = redis.client()
        third.replies("BLPOP b 0")
        redis("SET b 1")
        #expect(third.pushed.isEmpty)
        redis("DEL b")
        redis("RPUSH b y")
        #expect(third.pushed == [.bulks("b", "y")])
    }

    @Test(
        "a timeout must be an integer that is not negative",
        arguments: [
            ("BLPOP a x", "ERR timeout is not an integer or out of range"),
            ("BLPOP a 1.5", "ERR timeout is not an integer or out of range"),
            ("BRPOP a -1", "ERR timeout is negative"),
            ("BRPOPLPUSH a b x", "ERR timeout is not an integer or out of range"),
            ("BRPOPLPUSH a b -5", "ERR timeout is negative"),
        ]
    )
    func badTimeouts(line: String, text: String) throws {
        #expect(try CommandHarness()(line) == .error(text))
    }

    @Test("who has waited for long enough gets a null array, and nothing that comes later")
    func timeouts() throws {
        let redis = try CommandHarness()
        let clients = (0..<3).map { _ in redis.client() }
        clients[0].replies("BLPOP a 2")
        clients[1].replies("BRPOPLPUSH a b 1")
        clients[2].replies("BLPOP a 0")
        redis.advance(milliseconds: 1500)
        redis("PING")
        redis.server.timeOutBlocked()
        #expect(clients.map(\.pushed) == [[], [.nullArray], []])
        redis.advance(milliseconds: 600)
        redis("PING")
        redis.server.timeOutBlocked()
        #expect(clients.map(\.pushed) == [[.nullArray], [], []])
        redis("RPUSH a x")
        #expect(clients.map(\.pushed) == [[], [], [.bulks("a", "x")]])
        #expect(redis.server.blocking.all.isEmpty)
    }

    @Test("a client that goes while it waits leaves nothing behind, and takes nothing")
    func disconnection() throws {
        let redis = try CommandHarness()
        let first = redis.client()
        let second = redis.client()
        first.replies("BLPOP a 0")
        second.replies("BLPOP a 0")
        first.disconnect()
        redis("RPUSH a x")
        #expect(second.pushed == [.bulks("a", "x")])
        #expect(redis.server.blocking.sessions.isEmpty)
        #expect(redis.server.keyspace.onKeyChange == nil)
    }

    @Test("when the server becomes a replica, those who wait are told so")
    func becomingReplica() throws {
        let redis = try CommandHarness()
        let client = redis.client()
        client.replies("BLPOP a 0")
        redis.server.disconnectBlocked()
        #expect(
            client.pushed == [
                .error(
                    "UNBLOCKED force unblock from blocking operation, instance state changed (master -> slave?)"
                )
            ]
        )
        #expect(client.session.closesAfterReply)
        #expect(redis.server.blocking.all.isEmpty)
    }

    @Test("a pop for somebody who waited has no event, and the push to another list has one")
    func events() throws {
        let redis = try CommandHarness()
        redis("CONFIG SET notify-keyspace-events EA")
        let listener = redis.client()
        listener.replies("PSUBSCRIBE *")
        let first = redis.client()
        let second = redis.client()
        first.replies("BLPOP a 0")
        second.replies("BRPOPLPUSH b c 0")
        redis("RPUSH a 1")
        redis("RPUSH b 1")
        redis("BLPOP c 0")
        let events = listener.pushed.map { reply in
            guard case .array(let parts) = reply, case .bulk(let channel) = parts[2] else { return "\(reply)" }
            return String(decoding: channel, as: UTF8.self)
        }
        #expect(events == ["rpush", "rpush", "lpush", "lpop", "del"].map { "__keyevent@0__:" + $0 })
    }

    @Test("a watched list that somebody waits for is changed by the push")
    func watching() throws {
        let redis = try CommandHarness()
        let watcher = redis.client()
        let waiter = redis.client()
        watcher("WATCH a")
        waiter.replies("BLPOP a 0")
        redis("RPUSH a x")
        watcher("MULTI")
        #expect(watcher("EXEC") == .nullArray)
    }
}
