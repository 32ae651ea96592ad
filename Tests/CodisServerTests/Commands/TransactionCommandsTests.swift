// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisTesting
import Keyspace
import Testing

@testable import CodisServer

@Suite("Transactions")
struct TransactionCommandsTests {
    static let aborted = TestReply.error("EXECABORT Transaction discarded because of previous errors.")

    // MARK: Queueing

    @Test("MULTI queues what follows, and EXEC runs it and replies all replies")
    func queue() throws {
        let redis = try CommandHarness()
        #expect(redis("MULTI") == .ok)
        #expect(redis("SET a 1") == .status("QUEUED"))
        #expect(redis("INCR a") == .status("QUEUED"))
        #expect(redis("MGET a b") == .status("QUEUED"))
        #expect(redis("ping") == .status("QUEUED"))
        let other = redis.client()
        #expect(other("GET a") == .nullBulk)
        let values = TestReply.array([.bulk("2"), .nullBulk])
        #expect(redis("EXEC") == .array([.ok, .integer(2), values, .status("PONG")]))
        #expect(other("GET a") == .bulk("2"))
        #expect(redis("GET a") == .bulk("2"))
    }

    @Test("an empty transaction replies an empty array")
    func empty() throws {
        let redis = try CommandHarness()
        redis("MULTI")
        #expect(redis("EXEC") == .array([]))
        #expect(try redis.effectLines == [])
    }

    @Test("EXEC and DISCARD need a MULTI, and MULTI stands by itself")
    func misplaced() throws {
        let redis = try CommandHarness()
        #expect(redis("EXEC") == .error("ERR EXEC without MULTI"))
        #expect(redis("DISCARD") == .error("ERR DISCARD without MULTI"))
        #expect(redis("MULTI") == .ok)
        #expect(redis("MULTI") == .error("ERR MULTI calls can not be nested"))
        #expect(redis("WATCH a") == .error("ERR WATCH inside MULTI is not allowed"))
        #expect(redis("SET a 1") == .status("QUEUED"))
        // Neither of the errors aborts it.
        #expect(redis("EXEC") == .array([.ok]))
        #expect(redis("EXEC") == .error("ERR EXEC without MULTI"))
    }

    @Test("DISCARD forgets what was queued, and an error among it")
    func discard() throws {
        let redis = try CommandHarness()
        redis("MULTI")
        redis("SET a 1")
        redis("NOSUCH")
        #expect(redis("DISCARD") == .ok)
        #expect(redis("GET a") == .nullBulk)
        redis("MULTI")
        #expect(redis("EXEC") == .array([]))
    }

    @Test(
        "a command that is refused when it is queued makes EXEC refuse all",
        arguments: [
            ("NOSUCH a", "ERR unknown command 'NOSUCH'"),
            ("GET", "ERR wrong number of arguments for 'get' command"),
        ]
    )
    func refusal(line: String, text: String) throws {
        let redis = try CommandHarness()
        redis("MULTI")
        redis("SET a 1")
        #expect(redis(line) == .error(text))
        #expect(redis("SET b 1") == .status("QUEUED"))
        #expect(redis("EXEC") == Self.aborted)
        #expect(redis("EXISTS a") == .integer(0))
        #expect(redis("PING") == .status("PONG"))
        #expect(try redis.effectLines == [])
    }

    @Test("so does one that is refused for want of memory, or because nothing can be written")
    func refusedByState() throws {
        let redis = try CommandHarness()
        redis("SET a 1")
        redis("MULTI")
        let other = redis.client()
        other("CONFIG SET maxmemory 1")
        #expect(redis("SET b 1") == .error("OOM command not allowed when used memory > 'maxmemory'."))
        other("CONFIG SET maxmemory 0")
        #expect(redis("EXEC") == Self.aborted)
        redis("MULTI")
        redis.server.refuseWrites("the disk is gone")
        #expect(redis("SET b 1") == .error("MISCONF the disk is gone"))
        #expect(redis("EXEC") == Self.aborted)
    }

    @Test("a command that fails when it runs stops none of the others")
    func failure() throws {
        let redis = try CommandHarness()
        redis("MULTI")
        redis("SET a x")
        redis("INCR a")
        redis("SETRANGE a -1 y")
        redis("SET b 2")
        #expect(
            redis("EXEC")
                == .array([
                    .ok, .error("ERR value is not an integer or out of range"),
                    .error("ERR offset is out of range"), .ok,
                ])
        )
        #expect(try redis.effectLines == ["SELECT 0", "MULTI", "SET a x", "SET b 2", "EXEC"])
    }

    @Test("SELECT within a transaction holds for what follows, and afterwards")
    func select() throws {
        let redis = try CommandHarness()
        redis("MULTI")
        redis("SELECT 3")
        redis("SET a 1")
        #expect(redis("EXEC") == .array([.ok, .ok]))
        #expect(redis("GET a") == .bulk("1"))
        #expect(try redis.effectLines == ["SELECT 3", "MULTI", "SET a 1", "EXEC"])
    }

    @Test("a write without effect leaves MULTI and EXEC in the log, reads leave nothing")
    func log() throws {
        let redis = try CommandHarness()
        redis("MULTI")
        redis("DEL a")
        redis("EXEC")
        redis("MULTI")
        redis("GET a")
        redis("EXEC")
        redis("MULTI")
        redis("GET a")
        redis("SETEX a 10 v")
        redis("EXEC")
        #expect(
            try redis.effectLines == [
                "SELECT 0", "MULTI", "EXEC", "MULTI", "SET a v", "PEXPIREAT a \(redis.now + 10_000)", "EXEC",
            ]
        )
    }

    @Test("a command under another name is queued, and enters the log under its own")
    func renamed() throws {
        let redis = try CommandHarness()
        #expect(redis.server.commands.rename("set", to: "put"))
        redis.server.gates.insert(.renamed)
        redis("MULTI")
        #expect(redis("PUT a 1") == .status("QUEUED"))
        #expect(redis("EXEC") == .array([.ok]))
        #expect(try redis.effectLines == ["SELECT 0", "MULTI", "set a 1", "EXEC"])
    }

    @Test("QUIT is not queued")
    func quit() throws {
        let redis = try CommandHarness()
        redis("MULTI")
        #expect(redis("QUIT") == .ok)
    }

    @Test("the commands of a transaction count for statistics and the slow log, EXEC not for the latter")
    func statistics() throws {
        let redis = try CommandHarness()
        redis("CONFIG SET slowlog-log-slower-than 0")
        redis("SLOWLOG RESET")
        redis("MULTI")
        redis("GET a")
        redis("EXEC")
        redis("CONFIG SET slowlog-log-slower-than -1")
        guard case .array(let entries) = redis("SLOWLOG GET") else {
            Issue.record("no array")
            return
        }
        let commands = entries.compactMap { entry -> TestReply? in
            guard case .array(let fields) = entry else { return nil }
            return fields[3]
        }
        // The CONFIG that ends it is measured by the limit that it sets.
        #expect(commands == [.bulks("GET", "a"), .bulks("MULTI"), .bulks("SLOWLOG", "RESET")])
        let text = redis.server.info("commandstats")
        for name in ["get", "exec", "multi"] { #expect(text.contains("cmdstat_\(name):calls=1,"), "\(name)") }
    }

    @Test("MONITOR shows MULTI, then the commands as they run, then EXEC")
    func monitor() throws {
        let redis = try CommandHarness()
        let monitor = redis.client()
        monitor("MONITOR")
        redis("MULTI")
        redis("SET a 1")
        #expect(shown(monitor) == ["\"MULTI\""])
        redis("EXEC")
        #expect(shown(monitor) == ["\"SET\" \"a\" \"1\"", "\"EXEC\""])
        redis("MULTI")
        redis("NOSUCH")
        redis("EXEC")
        #expect(shown(monitor) == ["\"MULTI\"", "\"EXEC\""])
    }

    private func shown(_ monitor: HarnessClient) -> [String] {
        monitor.pushed.map { reply in
            guard case .status(let line) = reply else { return "\(reply)" }
            return line.split(separator: "] ", maxSplits: 1).last.map(String.init) ?? line
        }
    }

    @Test("CLIENT LIST shows who is in a transaction, with how many commands, and whose watched key was changed")
    func clientList() throws {
        let redis = try CommandHarness()
        let client = redis.client()
        client("WATCH a")
        client("MULTI")
        client("GET a")
        client("GET b")
        #expect(redis.server.description(of: client.session).contains(" flags=x db=0 sub=0 psub=0 multi=2 "))
        redis("SET a 1")
        #expect(redis.server.description(of: client.session).contains(" flags=xd db=0 sub=0 psub=0 multi=2 "))
        client("EXEC")
        #expect(redis.server.description(of: client.session).contains(" flags=N db=0 sub=0 psub=0 multi=-1 "))
    }

    // MARK: WATCH

    @Test(
        "a watched key that any command changes makes EXEC do nothing",
        arguments: [
            "SET a 1", "SET a v", "DEL a", "APPEND a x", "SETRANGE a 0 x", "SETBIT a 7 1", "GETSET a 1", "MSET b 1 a 1",
            "EXPIRE a 100", "PEXPIREAT a 1900000000000", "EXPIRE a -1", "RENAME a b", "RENAME b a", "MOVE a 1",
            "FLUSHDB", "FLUSHALL", "BITOP NOT a b", "SETEX a 100 v", "INCRBYFLOAT n 1",
        ]
    )
    func touched(line: String) throws {
        let redis = try CommandHarness()
        redis("MSET a v b w n 1")
        let client = redis.client()
        #expect(client("WATCH a n") == .ok)
        redis(line)
        client("MULTI")
        client("PING")
        #expect(client("EXEC") == .nullArray)
        // Once only.
        client("MULTI")
        client("PING")
        #expect(client("EXEC") == .array([.status("PONG")]))
    }

    @Test(
        "what changes no watched key lets EXEC go on",
        arguments: [
            "GET a", "DEL missing", "SET b 1", "EXPIRE missing 10", "PERSIST a", "SETNX a x", "TTL a", "SETRANGE a 0 ",
        ]
    )
    func untouched(line: String) throws {
        let redis = try CommandHarness()
        redis("SETEX a 100 v")
        let client = redis.client()
        client("WATCH a missing")
        redis(line)
        client("MULTI")
        client("PING")
        #expect(client("EXEC") == .array([.status("PONG")]))
    }

    @Test("a watched key counts in its database only, also for FLUSHDB, and changes of one's own count")
    func databases() throws {
        let redis = try CommandHarness()
        let client = redis.client()
        redis("SET a 1")
        client("WATCH a")
        redis("SELECT 1")
        redis("SET a 1")
        redis("FLUSHDB")
        client("SELECT 2")
        client("SET a 1")
        client("MULTI")
        #expect(client("EXEC") == .array([]))
        client("WATCH a")
        client("SET a 2")
        client("MULTI")
        #expect(client("EXEC") == .nullArray)
    }

    @Test("EXPIRE to the time that a key has already counts as a change")
    func sameExpiry() throws {
        let redis = try CommandHarness()
        redis("SETEX a 100 v")
        let client = redis.client()
        client("WATCH a")
        redis("EXPIRE a 100")
        client("MULTI")
        #expect(client("EXEC") == .nullArray)
    }

    @Test("FLUSHALL is no change for watched keys that are not there")
    func flushOfMissing() throws {
        let redis = try CommandHarness()
        redis("SET b 1")
        let client = redis.client()
        client("WATCH a")
        redis("FLUSHALL")
        client("MULTI")
        #expect(client("EXEC") == .array([]))
    }

    @Test("that a watched key expires is no change, but what is set in its place is")
    func expiry() throws {
        let redis = try CommandHarness()
        redis("PSETEX a 10 v")
        let client = redis.client()
        client("WATCH a")
        redis.advance(milliseconds: 20)
        redis("GET a")
        client("MULTI")
        client("GET a")
        #expect(client("EXEC") == .array([.nullBulk]))
        redis("PSETEX a 10 v")
        client("WATCH a")
        redis.advance(milliseconds: 20)
        redis("SET a w")
        client("MULTI")
        #expect(client("EXEC") == .nullArray)
    }

    @Test("UNWATCH, DISCARD and EXEC end the watching, and so does the end of the connection")
    func unwatch() throws {
        let redis = try CommandHarness()
        let client = redis.client()
        client("WATCH a a b")
        redis("SET a 1")
        #expect(client("UNWATCH") == .ok)
        client("MULTI")
        #expect(client("EXEC") == .array([]))
        client("WATCH a")
        client("MULTI")
        redis("SET a 2")
        client("DISCARD")
        client("MULTI")
        #expect(client("EXEC") == .array([]))
        #expect(redis.server.keyspace.onKeyChange == nil)
        client("WATCH a")
        #expect(redis.server.keyspace.onKeyChange != nil)
        client.disconnect()
        #expect(redis.server.keyspace.onKeyChange == nil)
        #expect(redis.server.watches.sessions.isEmpty)
    }

    @Test("UNWATCH within a transaction is queued")
    func unwatchQueued() throws {
        let redis = try CommandHarness()
        let client = redis.client()
        client("WATCH a")
        client("MULTI")
        #expect(client("UNWATCH") == .status("QUEUED"))
        redis("SET a 1")
        #expect(client("EXEC") == .nullArray)
    }

    @Test("long keys are watched, too")
    func longKeys() throws {
        let redis = try CommandHarness()
        let client = redis.client()
        let key = String(repeating: "k", count: 700)
        client("WATCH \(key)x")
        redis("SET \(key)y 1")
        client("MULTI")
        #expect(client("EXEC") == .array([]))
        client("WATCH \(key)x")
        redis("SET \(key)x 1")
        client("MULTI")
        #expect(client("EXEC") == .nullArray)
    }
}
