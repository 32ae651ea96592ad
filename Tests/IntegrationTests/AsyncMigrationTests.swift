// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisTesting
import Testing

/// Moves all keys of the database that `client` has selected to the server at `port`, slot by slot.
func moveAllSlots(_ client: TestClient, to port: Int, bulks: Int = 0, bytes: Int = 0, keys: Int = 100) throws {
    for slot in try #require(client.command("SLOTSINFO").elements).compactMap({ $0.elements?[0].number }) {
        // Each call moves something; the number is a bound for a test that goes wrong.
        for _ in 0..<100_000 {
            let reply = try client.command(
                "SLOTSMGRTTAGSLOT-ASYNC",
                "127.0.0.1",
                "\(port)",
                "30000",
                "\(bulks)",
                "\(bytes)",
                "\(slot)",
                "\(keys)"
            )
            let numbers = try #require(reply.elements, "\(reply)").compactMap(\.number)
            try #require(numbers.count == 2, "\(reply)")
            if numbers == [0, 0] { break }
            try #require(numbers[0] > 0, "\(reply)")
        }
    }
}

@Suite("Moving slots asynchronously")
struct AsyncMigrationTests {
    /// Keys of all types, small and large, some of them with a tag and some about to expire later.
    static func fill(_ client: TestClient, count: Int = 6000) throws {
        for number in 0..<200 {
            client.enqueue("SET", "string:\(number)", "value \(number)")
            client.enqueue("RPUSH", "{tag:\(number % 7)}list:\(number)", "a", "b", "\(number)")
            client.enqueue("HMSET", "hash:\(number)", "field", "value", "number", "\(number)")
            client.enqueue("SADD", "{tag:\(number % 7)}set:\(number)", "1", "2", "\(number)")
            client.enqueue("ZADD", "scores:\(number)", "1.5", "a", "-inf", "b", "\(number)", "c")
        }
        try client.flush()
        for reply in try client.receive(1000) { try #require(reply.text?.hasPrefix("ERR") != true, "\(reply)") }
        for start in stride(from: 0, to: count, by: 500) {
            let numbers = Array(start..<min(count, start + 500))
            client.enqueue(["RPUSH", "large list"] + numbers.map { "element \($0)" })
            client.enqueue(["HMSET", "{tag:1}large hash"] + numbers.flatMap { ["field \($0)", "value \($0)"] })
            client.enqueue(["SADD", "large set"] + numbers.map { "member \($0)" })
            client.enqueue(["ZADD", "large scores"] + numbers.flatMap { ["\(Double($0) / 7)", "member \($0)"] })
        }
        try client.flush()
        _ = try client.receive(4 * ((count + 499) / 500))
        try client.command("SET", "large string", String(repeating: "0123456789abcdef", count: 100_000))
        try client.command(
            "RPUSH",
            "long elements",
            String(repeating: "x", count: 300_000),
            "short",
            String(repeating: "y", count: 700_000)
        )
        try client.command("PEXPIRE", "large string", "100000000")
        try client.command("PEXPIRE", "{tag:1}large hash", "100000000")
        try client.command("PEXPIRE", "string:7", "100000000")
    }

    @Test("values of all types and sizes move, are found after kill -9, and move back", arguments: [(0, 0), (3, 1)])
    func everything(bulks: Int, bytes: Int) throws {
        let source = try TestServer()
        let target = try TestServer()
        let client = try source.connect(timeoutSeconds: 60)
        try Self.fill(client, count: bulks == 0 ? 6000 : 600)
        let digest = try source.command("DEBUG", "DIGEST")
        let count = try source.command("DBSIZE")
        try moveAllSlots(client, to: target.port, bulks: bulks, bytes: bytes)
        #expect(try source.command("DBSIZE") == .integer(0))
        #expect(try target.command("DBSIZE") == count)
        #expect(try target.command("DEBUG", "DIGEST") == digest)
        let left = try #require(target.command("PTTL", "large string").number)
        #expect(left > 90_000_000 && left <= 100_000_000)
        #expect(try target.command("PTTL", "string:8") == .integer(-1))
        try target.killAndRestart()
        try source.killAndRestart()
        #expect(try source.command("DBSIZE") == .integer(0))
        #expect(try target.command("DEBUG", "DIGEST") == digest)
        try moveAllSlots(target.connect(timeoutSeconds: 60), to: source.port, keys: 1)
        #expect(try target.command("DBSIZE") == .integer(0))
        #expect(try source.command("DEBUG", "DIGEST") == digest)
        try source.stop()
        try target.stop()
    }

    @Test("what is there on the target is replaced, and named keys move, with their tag if that is asked for")
    func named() throws {
        let source = try TestServer()
        let target = try TestServer()
        let client = try source.connect()
        func move(_ name: String, _ keys: String...) throws -> TestReply {
            try client.command(
                ([name, "127.0.0.1", "\(target.port)", "5000", "0", "0"] + keys).map { Array($0.utf8) }
            )
        }
        for key in ["a", "b", "{t}1", "{t}2", "{t}3", "t"] { try client.command("SET", key, "new") }
        try target.command("SET", "a", "old")
        try target.command("RPUSH", "{t}2", "old")
        #expect(try move("SLOTSMGRTONE-ASYNC", "a", "missing", "a", "{t}1") == .integer(2))
        #expect(try target.command("GET", "a") == .bulk("new"))
        #expect(try source.command("EXISTS", "{t}2") == .integer(1))
        #expect(try move("SLOTSMGRTONE-ASYNC", "missing") == .integer(0))
        #expect(try move("SLOTSMGRTTAGONE-ASYNC", "{t}none", "b") == .integer(3))
        #expect(
            try target.command("MGET", "{t}1", "{t}2", "{t}3", "b", "t")
                == .array([.bulk("new"), .bulk("new"), .bulk("new"), .bulk("new"), .nullBulk])
        )
        #expect(try client.command("KEYS", "*") == .bulks("t"))
        #expect(
            try client.command("SLOTSMGRTSLOT-ASYNC", "127.0.0.1", "\(target.port)", "0", "0", "0", "0", "0")
                == .integers(0, 0)
        )
        try source.stop()
        try target.stop()
    }

    @Test("each database moves by itself, over a connection of its own")
    func databases() throws {
        let source = try TestServer()
        let target = try TestServer()
        for database in ["0", "3", "15"] {
            let client = try source.connect()
            try client.command("SELECT", database)
            try client.command("SET", "key", "in \(database)")
            #expect(
                try client.command("SLOTSMGRTONE-ASYNC", "127.0.0.1", "\(target.port)", "0", "0", "0", "key")
                    == .integer(1)
            )
            #expect(try client.command("EXISTS", "key") == .integer(0))
            let other = try target.connect()
            try other.command("SELECT", database)
            #expect(try other.command("GET", "key") == .bulk("in \(database)"))
            let status = try #require(client.command("SLOTSMGRT-ASYNC-STATUS").elements)
            #expect(status[3] == .bulk("\(target.port)"))
            #expect(status.last == .nullArray)
            #expect(try client.command("SLOTSMGRT-ASYNC-CANCEL") == .integer(1))
            #expect(try client.command("SLOTSMGRT-ASYNC-CANCEL") == .integer(0))
        }
        try source.stop()
        try target.stop()
    }

    @Test("the source gives its own password")
    func passwords() throws {
        let source = try TestServer()
        let target = try TestServer()
        let client = try source.connect()
        try client.command("SET", "key", "value")
        func move() throws -> TestReply {
            try client.command("SLOTSMGRTONE-ASYNC", "127.0.0.1", "\(target.port)", "5000", "0", "0", "key")
        }
        try target.command("CONFIG", "SET", "requirepass", "secret")
        #expect(
            try move()
                == .error("ERR interrupted: connection closed (NOAUTH Authentication required.)")
        )
        try client.command("CONFIG", "SET", "requirepass", "wrong")
        try client.command("AUTH", "wrong")
        #expect(try move() == .error("ERR interrupted: connection closed"))
        #expect(try client.command("GET", "key") == .bulk("value"))
        try client.command("CONFIG", "SET", "requirepass", "secret")
        #expect(try move() == .integer(1))
        let other = try target.connect()
        try other.command("AUTH", "secret")
        #expect(try other.command("GET", "key") == .bulk("value"))
        // A target without a password refuses one.
        try other.command("CONFIG", "SET", "requirepass", "")
        try client.command("SET", "key", "again")
        try client.command("SLOTSMGRT-ASYNC-CANCEL")
        #expect(try move() == .error("ERR interrupted: connection closed"))
        #expect(try client.command("GET", "key") == .bulk("again"))
        try source.stop()
        try target.stop()
    }

    @Test("a target that takes no writes leaves the keys on the source, and its reason is told")
    func refusals() throws {
        let source = try TestServer()
        let target = try TestServer()
        let client = try source.connect()
        try client.command("SET", "key", "value")
        try target.command("SET", "other", String(repeating: "x", count: 2000))
        try target.command("CONFIG", "SET", "maxmemory", "1000")
        let reply = try client.command("SLOTSMGRTONE-ASYNC", "127.0.0.1", "\(target.port)", "5000", "0", "0", "key")
        #expect(
            reply
                == .error(
                    "ERR interrupted: connection closed (OOM command not allowed when used memory > 'maxmemory'.)"
                )
        )
        try target.command("CONFIG", "SET", "maxmemory", "0")
        try target.command("SLAVEOF", "127.0.0.1", "1")
        let again = try client.command("SLOTSMGRTONE-ASYNC", "127.0.0.1", "\(target.port)", "5000", "0", "0", "key")
        #expect(again.text?.hasPrefix("ERR interrupted: connection closed (READONLY ") ?? false, "\(again)")
        #expect(try client.command("GET", "key") == .bulk("value"))
        try source.stop()
        try target.stop()
    }

    @Test("replicas of both sides follow, a stock redis-server too", .enabled(if: RedisPeer.isInstalled))
    func replicas() throws {
        let source = try ReplicationPair()
        let target = try ReplicationPair(replicaProgram: .redis)
        let client = try source.master.connect(timeoutSeconds: 60)
        try Self.fill(client, count: 2000)
        try moveAllSlots(client, to: target.master.port)
        try source.expectSame()
        try target.expectSame()
        #expect(try source.replica.command("DBSIZE") == .integer(0))
        #expect(try target.replica.command("DBSIZE") == target.master.command("DBSIZE"))
        try source.stop()
        try target.stop()
    }

    @Test("the log has a DEL for what has moved, and nothing for what has not")
    func log() throws {
        let source = try TestServer()
        let target = try TestServer()
        let client = try source.connect()
        try client.command("MSET", "a", "1", "b", "2")
        #expect(
            try client.command("SLOTSMGRTONE-ASYNC", "127.0.0.1", "\(target.port)", "0", "0", "0", "b", "none", "a")
                == .integer(2)
        )
        try source.stop()
        let log = try runProgram(source.executable, ["--print-log", source.directory], timeoutSeconds: 60).output
        #expect(log.contains("DEL"))
        #expect(!log.uppercased().contains("SLOTSMGRT"))
        try target.stop()
    }

    @Test("a sender's unfinished value is gone when its connection is, or when its time is over after kill -9")
    func unfinished() throws {
        let server = try TestServer()
        let sender = try server.connect()
        func send(_ lifetime: String) throws {
            let words = ["SLOTSRESTORE-ASYNC", "hash", "key", lifetime, "9", "field", "value"]
            let reply = try sender.command(words.map { Array($0.utf8) })
            try #require(reply.elements?[1] == .bulk("0"), "\(reply)")
        }
        try send("600000")
        #expect(try server.command("EXISTS", "key") == .integer(0))
        #expect(try server.command("DBSIZE") == .integer(1))
        sender.close()
        #expect(try eventually { try server.command("DBSIZE") == .integer(0) })
        let other = try server.connect()
        _ = try other.command("SLOTSRESTORE-ASYNC", "list", "key", "2000", "9", "element")
        try server.killAndRestart()
        #expect(try server.command("KEYS", "*") == .array([]))
        #expect(try eventually { try server.command("DBSIZE") == .integer(0) })
        try server.stop()
    }
}

extension TestClient {
    /// Adds a command whose arguments are text to what the next `flush` sends.
    fileprivate func enqueue(_ arguments: [String]) { enqueue(arguments.map { Array($0.utf8) }) }
}

/// `waitUntil` for a condition that may fail to be found out.
func eventually(_ condition: () throws -> Bool) throws -> Bool {
    var failure: (any Error)?
    let isThere = CodisTesting.waitUntil(timeoutSeconds: 60) {
        do { return try condition() } catch {
            failure = error
            return true
        }
    }
    if let failure { throw failure }
    return isThere
}
