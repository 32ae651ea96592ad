// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisTesting
import Testing

/// Two servers, the first of which is the source of moves.
struct SlotPair {
    let source: TestServer
    let target: TestServer

    init(configuration: [String] = [], target: TestServer.Program = .codis) throws {
        source = try TestServer(configuration: configuration)
        self.target = try TestServer(configuration: configuration, program: target)
    }

    var port: String { "\(target.port)" }

    /// Stops both.
    func stop() throws {
        try source.stop()
        try target.stop()
    }

    /// `DEBUG DIGEST` of a server.
    static func digest(_ server: TestServer) throws -> String? { try server.command("DEBUG", "DIGEST").text }
}

@Suite("SLOTSMGRT between two servers")
struct SlotMigrationTests {
    @Test("values of every type move with what they have left to live, and nothing stays behind")
    func types() throws {
        let pair = try SlotPair()
        let (from, to) = (try pair.source.connect(), try pair.target.connect())
        for line in [
            "SET {t}string value", "SET {t}number 12345", "RPUSH {t}list a b c", "SADD {t}set a b",
            "SADD {t}ints 1 2 3",
            "ZADD {t}zset 1.5 a -inf b", "HMSET {t}hash f v g w", "SETEX {t}expiring 1000 v", "SET plain x",
        ] {
            try from.command(line.split(separator: " ").map { Array($0.utf8) })
        }
        #expect(try from.command("SLOTSMGRTONE", "127.0.0.1", pair.port, "1000", "plain") == .integer(1))
        #expect(try from.command("SLOTSMGRTONE", "127.0.0.1", pair.port, "1000", "plain") == .integer(0))
        #expect(try from.command("SLOTSMGRTTAGONE", "127.0.0.1", pair.port, "1000", "{t}nothing") == .integer(8))
        #expect(try from.command("DBSIZE") == .integer(0))
        #expect(try to.command("DBSIZE") == .integer(9))
        let ttl = try #require(try to.command("TTL", "{t}expiring").number)
        #expect(ttl > 900 && ttl <= 1000)
        #expect(try to.command("PERSIST", "{t}expiring") == .integer(1))
        // Back again, slot by slot.
        try to.command("EXPIRE", "{t}expiring", "1000")
        let back = "\(pair.source.port)"
        for slot in try #require(try to.command("SLOTSINFO").elements) {
            let number = try #require(slot.elements?.first?.number)
            var reply = try to.command("SLOTSMGRTTAGSLOT", "127.0.0.1", back, "1000", "\(number)")
            while reply.elements?.last?.number ?? 0 > 0 {
                reply = try to.command("SLOTSMGRTTAGSLOT", "127.0.0.1", back, "1000", "\(number)")
            }
            #expect(reply.elements?.first?.number ?? 0 > 0)
        }
        #expect(try to.command("DBSIZE") == .integer(0))
        let returned = try #require(try from.command("TTL", "{t}expiring").number)
        #expect(returned > 900 && returned <= 1000)
        #expect(try from.command("ZRANGE", "{t}zset", "0", "-1", "WITHSCORES") == .bulks("b", "-inf", "a", "1.5"))
        #expect(try from.command("SLOTSCHECK") == .ok)
        try pair.stop()
    }

    @Test("the replies say how many keys have moved and how many are left")
    func replies() throws {
        let pair = try SlotPair()
        let from = try pair.source.connect()
        for key in ["a", "{a}x", "{a}y"] { try from.command("SET", key, "v") }
        func move(_ name: String, _ argument: String = "579") throws -> TestReply {
            try from.command(name, "127.0.0.1", pair.port, "1000", argument)
        }
        #expect(try move("SLOTSMGRT") == .integer(2))
        #expect(try move("SLOTSMGRTSLOT") == .array([.integer(1), .integer(1)]))
        #expect(try move("SLOTSMGRTTAGSLOT") == .array([.integer(1), .integer(0)]))
        for name in ["SLOTSMGRTSLOT", "SLOTSMGRTTAGSLOT"] {
            #expect(try move(name) == .array([.integer(0), .integer(0)]))
        }
        #expect(try move("SLOTSMGRT") == .integer(0))
        try from.command("SELECT", "3")
        for key in ["a", "{a}x", "{a}y"] { try from.command("SET", key, "w") }
        #expect(try move("SLOTSMGRTTAGONE", "{a}") == .integer(2))
        #expect(try move("SLOTSMGRTTAGONE", "{a}") == .integer(0))
        #expect(try move("SLOTSMGRTTAGONE", "a") == .integer(1))
        let to = try pair.target.connect()
        #expect(try to.command("GET", "{a}x") == .bulk("v"))
        try to.command("SELECT", "3")
        #expect(try to.command("GET", "{a}x") == .bulk("w"))
        // An expired key of a slot is no key that has moved.
        try from.command("DEBUG", "SET-ACTIVE-EXPIRE", "0")
        try from.command("PSETEX", "a", "1", "v")
        #expect(waitUntil { (try? move("SLOTSMGRTSLOT")) == .array([.integer(0), .integer(0)]) })
        try pair.stop()
    }

    @Test("the arguments are checked as Codis checks them")
    func arguments() throws {
        let server = try TestServer()
        let client = try server.connect()
        @discardableResult
        func call(_ words: String...) throws -> TestReply { try client.command(words.map { Array($0.utf8) }) }
        let integer = TestReply.error("ERR value is not an integer or out of range")
        for name in ["SLOTSMGRT", "SLOTSMGRTSLOT", "SLOTSMGRTTAGSLOT"] {
            #expect(try call(name, "h", "1", "x", "y") == integer)
            #expect(try call(name, "h", "1", "-7", "y") == .error("ERR invalid timeout = -7"))
            #expect(try call(name, "h", "1", "0", "y") == integer)
            #expect(try call(name, "h", "1", "0", "1024") == .error("ERR invalid slot number = 1024"))
            #expect(try call(name, "h", "1", "0", "-1") == .error("ERR invalid slot number = -1"))
        }
        for name in ["SLOTSMGRTONE", "SLOTSMGRTTAGONE"] {
            #expect(try call(name, "h", "1", "x", "k") == integer)
            #expect(try call(name, "h", "1", "-1", "k") == .error("ERR invalid timeout = -1"))
            let unknown = "ERR Can't connect to target node: Name or service not known"
            #expect(try call(name, "", "1", "100", "k") == .error(unknown))
            let service = "ERR Can't connect to target node: Servname not supported for ai_socktype"
            #expect(try call(name, "127.0.0.1", "-1", "100", "k") == .error(service))
            // Without the key nothing is written, so nothing fails.
            for port in ["x", "", "0", "\(freePort())"] {
                #expect(try call(name, "127.0.0.1", port, "100", "k") == .integer(0))
            }
        }
        try call("SET", "k", "v")
        for port in ["x", "", "0", "65536", "\(freePort())"] {
            let reply = try call("SLOTSMGRTONE", "127.0.0.1", port, "1000", "k")
            #expect(reply == .error("IOERR error or timeout writing to target"), "\(port)")
        }
        try call("MULTI")
        try call("SLOTSMGRTONE", "127.0.0.1", "1", "1000", "k")
        #expect(
            try call("EXEC")
                == .array([.error("ERR SLOTSMGRTONE is not possible within a transaction or script")])
        )
        #expect(try call("GET", "k") == .bulk("v"))
        try server.stop()
    }

    @Test("a tag of thousands of keys moves as a whole, and both logs lead to the same again")
    func manyKeys() throws {
        let pair = try SlotPair()
        let from = try pair.source.connect()
        for number in 0..<5000 { from.enqueue("SET", "{tag}\(number)", "value \(number)") }
        try from.flush()
        _ = try from.receive(5000)
        try from.command("SET", "tag", "untagged")
        #expect(try from.command("SLOTSMGRTTAGSLOT", "127.0.0.1", pair.port, "30000", "899").elements?.count == 2)
        let reply = try from.command("SLOTSMGRTTAGONE", "127.0.0.1", pair.port, "30000", "{tag}")
        let moved = try pair.target.connect()
        #expect([TestReply.integer(5000), .integer(0)].contains(reply))
        #expect(try from.command("SLOTSMGRTTAGONE", "127.0.0.1", pair.port, "30000", "tag").number != nil)
        #expect(try from.command("DBSIZE") == .integer(0))
        #expect(try moved.command("DBSIZE") == .integer(5001))
        #expect(try moved.command("GET", "{tag}4999") == .bulk("value 4999"))
        #expect(try moved.command("SLOTSCHECK") == .ok)
        let digest = try SlotPair.digest(pair.target)
        try pair.source.killAndRestart()
        try pair.target.killAndRestart()
        #expect(try pair.source.command("DBSIZE") == .integer(0))
        #expect(try SlotPair.digest(pair.target) == digest)
        try pair.stop()
    }

    @Test("large values of every type move in pieces to one of ours, with other keys of their tag")
    func largeValues() throws {
        let pair = try SlotPair()
        let from = try pair.source.connect()
        for start in stride(from: 0, to: 20_000, by: 500) {
            let numbers = (start..<start + 500).map { "\($0)" }
            from.enqueue(
                (["HMSET", "{t}hash"] + numbers.flatMap { ["field\($0)", "value \($0)"] }).map { Array($0.utf8) }
            )
            from.enqueue((["RPUSH", "{t}list"] + numbers.map { "element \($0)" }).map { Array($0.utf8) })
            from.enqueue((["SADD", "{t}set"] + numbers.map { "member \($0)" }).map { Array($0.utf8) })
            from.enqueue(
                (["ZADD", "{t}zset"] + numbers.flatMap { ["\($0).25", "member \($0)"] }).map { Array($0.utf8) }
            )
        }
        try from.flush()
        for reply in try from.receive(160) { #expect(!reply.isError) }
        try from.command("SET", "{t}string", String(repeating: "0123456789", count: 200_000))
        try from.command("SET", "{t}small", "v")
        try from.command("EXPIRE", "{t}zset", "1000")
        try from.command("PEXPIREAT", "{t}hash", "99999999999999")
        let digest = try SlotPair.digest(pair.source)
        #expect(try from.command("SLOTSMGRTTAGONE", "127.0.0.1", pair.port, "30000", "{t}") == .integer(6))
        #expect(try from.command("DBSIZE") == .integer(0))
        let to = try pair.target.connect()
        #expect(try to.command("DBSIZE") == .integer(6))
        #expect(try to.command("HLEN", "{t}hash") == .integer(20_000))
        #expect(try to.command("TTL", "{t}list") == .integer(-1))
        #expect(try to.command("TTL", "{t}zset").number ?? 0 > 900)
        try to.command("PEXPIREAT", "{t}hash", "99999999999999")
        try to.command("EXPIRE", "{t}zset", "1000")
        // What digests say of expiring keys is only that they do.
        #expect(try SlotPair.digest(pair.target) == digest)
        try pair.target.killAndRestart()
        #expect(try SlotPair.digest(pair.target) == digest)
        #expect(try pair.source.command("SLOTSMGRTTAGONE", "127.0.0.1", pair.port, "30000", "{t}") == .integer(0))
        try pair.stop()
    }

    @Test("a stock server refuses, and nothing is lost, be the value small or large")
    func stockServer() throws {
        let pair = try SlotPair(target: .redis)
        let from = try pair.source.connect()
        try from.command("SET", "small", "v")
        try from.command("SET", "large", String(repeating: "x", count: 1_000_000))
        for key in ["small", "large", "small"] {
            let reply = try from.command("SLOTSMGRTONE", "127.0.0.1", pair.port, "10000", key)
            #expect(reply == .error("ERR error on slotsrestore, migration failed"))
        }
        #expect(try from.command("DBSIZE") == .integer(2))
        #expect(try pair.target.command("DBSIZE") == .integer(0))
        try pair.stop()
    }

    @Test("what has moved counts as DEL, in the log, in the slow log and among the commands")
    func rewriting() throws {
        let pair = try SlotPair(configuration: ["slowlog-log-slower-than 0"])
        let replica = try TestServer()
        try replica.command("SLAVEOF", "127.0.0.1", "\(pair.source.port)")
        let from = try pair.source.connect()
        for key in ["{a}1", "{a}2", "b"] { try from.command("SET", key, "v") }
        #expect(waitUntil { (try? replica.command("DBSIZE")) == .integer(3) })
        try from.command("CONFIG", "RESETSTAT")
        try from.command("SLOWLOG", "RESET")
        #expect(try from.command("SLOTSMGRTTAGONE", "127.0.0.1", pair.port, "1000", "{a}") == .integer(2))
        #expect(try from.command("SLOTSMGRTTAGONE", "127.0.0.1", pair.port, "1000", "{a}") == .integer(0))
        let entries = try #require(try from.command("SLOWLOG", "GET").elements).compactMap { $0.elements?[3] }
        #expect(entries.contains(.bulks("DEL", "{a}1", "{a}2")))
        #expect(try pair.source.info("cmdstat_del")?.hasPrefix("calls=1,") == true)
        #expect(try pair.source.info("cmdstat_slotsmgrttagone")?.hasPrefix("calls=1,") == true)
        #expect(waitUntil { (try? replica.command("DBSIZE")) == .integer(1) })
        try replica.stop()
        try pair.stop()
    }

    @Test("both ends use the password of the source")
    func passwords() throws {
        let open = try TestServer()
        let closed = try TestServer(configuration: ["requirepass secret"])
        let other = try TestServer(configuration: ["requirepass secret"])
        let client = try closed.connect()
        try client.command("AUTH", "secret")
        try client.command("SET", "k", "v")
        try open.command("SET", "o", "v")
        let auth = TestReply.error("ERR error on slotsrestore, auth failed")
        #expect(try client.command("SLOTSMGRTONE", "127.0.0.1", "\(open.port)", "1000", "k") == auth)
        let select = TestReply.error("ERR error on slotsrestore, select failed")
        #expect(try open.command("SLOTSMGRTONE", "127.0.0.1", "\(closed.port)", "1000", "o") == select)
        #expect(try client.command("SLOTSMGRTONE", "127.0.0.1", "\(other.port)", "1000", "k") == .integer(1))
        for server in [open, closed, other] { try server.stop() }
    }

    @Test("two servers that move keys to each other at once do not wait for each other")
    func bothWays() throws {
        let pair = try SlotPair()
        let (one, two) = (try pair.source.connect(), try pair.target.connect())
        for number in 0..<200 {
            try one.command("SET", "one:\(number)", "v")
            try two.command("SET", "two:\(number)", "v")
        }
        for number in 0..<200 {
            one.enqueue("SLOTSMGRTONE", "127.0.0.1", "\(pair.target.port)", "20000", "one:\(number)")
            two.enqueue("SLOTSMGRTONE", "127.0.0.1", "\(pair.source.port)", "20000", "two:\(number)")
        }
        try one.flush()
        try two.flush()
        #expect(try one.receive(200).allSatisfy { $0 == .integer(1) })
        #expect(try two.receive(200).allSatisfy { $0 == .integer(1) })
        #expect(try one.command("DBSIZE") == .integer(200) && two.command("DBSIZE") == .integer(200))
        #expect(try one.command("EXISTS", "two:7") == .integer(1))
        try pair.stop()
    }

    @Test("a server that moves a key to itself keeps it")
    func itself() throws {
        let server = try TestServer()
        try server.command("SET", "k", "v")
        let reply = try server.command("SLOTSMGRTONE", "127.0.0.1", "\(server.port)", "1000", "k")
        // The target waits for the source, which waits for the target: nothing happens in time.
        #expect(reply == .error("IOERR error or timeout reading from target"))
        #expect(waitUntil { (try? server.command("GET", "k")) == .bulk("v") })
        try server.stop()
    }
}
