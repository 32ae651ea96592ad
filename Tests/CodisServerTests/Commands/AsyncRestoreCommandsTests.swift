// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisTesting
import Testing

@testable import CodisServer

@Suite("SLOTSRESTORE-ASYNC")
struct AsyncRestoreCommandsTests {
    /// An acknowledgement, as a server of Codis 3.2 gives it.
    private static func ack(_ text: String, code: Int = 0) -> TestReply {
        .array([.bulk("SLOTSRESTORE-ASYNC-ACK"), .bulk("\(code)"), .bulk(text)])
    }

    /// Expects a refusal, and that the connection is closed with it.
    private static func expectRefused(
        _ redis: CommandHarness,
        _ line: String,
        _ text: String,
        sourceLocation: SourceLocation = #_sourceLocation
    ) {
        let client = redis.client()
        #expect(client(line) == ack(text, code: -1), sourceLocation: sourceLocation)
        #expect(client.session.closesAfterReply, sourceLocation: sourceLocation)
    }

    /// The eight bytes in which a score is sent.
    private static func bits(_ score: Double) -> [UInt8] {
        (0..<8).map { UInt8(truncatingIfNeeded: score.bitPattern >> (8 * UInt64($0))) }
    }

    private static func bytes(_ words: String...) -> [[UInt8]] { words.map { Array($0.utf8) } }

    /// What must be in the log: the same server again.
    private static func expectReplay(_ redis: CommandHarness) throws {
        let replayed = try CommandHarness(replaying: redis.effects)
        replayed.now = redis.now
        #expect(replayed.contents == redis.contents)
    }

    @Test("an acknowledgement is a command, to the byte")
    func bytes() throws {
        let redis = try CommandHarness()
        let client = redis.client()
        let bytes = client.replyBytes(Self.bytes("SLOTSRESTORE-ASYNC", "delete", "key"))
        #expect(
            String(decoding: bytes, as: UTF8.self) == "*3\r\n$22\r\nSLOTSRESTORE-ASYNC-ACK\r\n$1\r\n0\r\n$1\r\n0\r\n"
        )
    }

    @Test("delete says whether there was a key, and stands in the log as DEL")
    func delete() throws {
        let redis = try CommandHarness()
        redis("SET key value")
        #expect(redis("SLOTSRESTORE-ASYNC delete key") == Self.ack("1"))
        #expect(redis("slotsrestore-async DELETE key") == Self.ack("0"))
        #expect(redis("EXISTS key") == .integer(0))
        #expect(try redis.effectLines == ["SELECT 0", "SET key value", "DEL key"])
    }

    @Test("string sets a key that is not there, with its time to live")
    func string() throws {
        let redis = try CommandHarness()
        #expect(redis("SLOTSRESTORE-ASYNC string plain 0 value") == Self.ack("1"))
        #expect(redis("SLOTSRESTORE-ASYNC STRING short 1500 12") == Self.ack("1"))
        #expect(redis("GET plain") == .bulk("value"))
        #expect(redis("PTTL plain") == .integer(-1))
        #expect(redis("PTTL short") == .integer(1500))
        #expect(redis("OBJECT ENCODING short") == .bulk("int"))
        #expect(
            try redis.effectLines
                == ["SELECT 0", "SET plain value", "SET short 12", "PEXPIREAT short \(redis.now + 1500)"]
        )
        Self.expectRefused(
            redis,
            "SLOTSRESTORE-ASYNC string plain 0 other",
            "the specified key already exists (plain)"
        )
        #expect(redis("GET plain") == .bulk("value"))
        redis.advance(milliseconds: 1501)
        #expect(redis("SLOTSRESTORE-ASYNC string short 0 again") == Self.ack("1"))
        try Self.expectReplay(redis)
    }

    @Test("object takes a payload of DUMP, of later versions too")
    func object() throws {
        let redis = try CommandHarness()
        redis("RPUSH list 1 2 three")
        redis("HSET hash field value")
        for key in ["list", "hash"] {
            let payload = try #require(redis("DUMP \(key)").bytes)
            redis("DEL \(key)")
            #expect(redis.run(Self.bytes("SLOTSRESTORE-ASYNC", "object", key, "0") + [payload]) == Self.ack("1"))
        }
        #expect(redis("LRANGE list 0 -1") == .array([.bulk("1"), .bulk("2"), .bulk("three")]))
        #expect(redis("HGET hash field") == .bulk("value"))
        let payload = try #require(redis("DUMP list").bytes)
        #expect(redis.run(Self.bytes("SLOTSRESTORE-ASYNC", "object", "copy", "777") + [payload]) == Self.ack("1"))
        #expect(redis("PTTL copy") == .integer(777))
        let refused = redis.client()
        #expect(
            refused.run(Self.bytes("SLOTSRESTORE-ASYNC", "object", "list", "0") + [payload])
                == Self.ack("the specified key already exists (list)", code: -1)
        )
        try Self.expectReplay(redis)
    }

    @Test("object refuses a payload that is damaged, and says how far it could be read")
    func badObject() throws {
        let redis = try CommandHarness()
        func take(_ payload: [UInt8]) -> TestReply {
            let client = redis.client()
            defer { #expect(client.session.closesAfterReply) }
            return client.run(Self.bytes("SLOTSRESTORE-ASYNC", "object", "key", "0") + [payload])
        }
        redis("RPUSH list one")
        var payload = try #require(redis("DUMP list").bytes)
        payload[payload.count - 1] ^= 1
        #expect(take(payload) == Self.ack("invalid payload checksum", code: -1))
        #expect(take([]) == Self.ack("invalid payload checksum", code: -1))
        #expect(take(signed([200, 1, 2, 3])) == Self.ack("invalid payload type", code: -1))
        // A string of 63 bytes, of which three are there.
        #expect(take(signed([0, 63, 1, 2, 3])) == Self.ack("invalid payload body", code: -1))
        #expect(redis("EXISTS key") == .integer(0))
    }

    @Test("pieces become a value in one step, when expire comes", arguments: ["list", "hash", "dict", "zset"])
    func pieces(kind: String) throws {
        let redis = try CommandHarness()
        redis("SET key old")
        let sender = redis.client()
        #expect(sender("SLOTSRESTORE-ASYNC delete key") == Self.ack("1"))
        func send(_ elements: [[UInt8]]) -> TestReply {
            sender.run(Self.bytes("SLOTSRESTORE-ASYNC", kind, "key", "3000", "4") + elements)
        }
        let first = Self.pieces(kind, ["a", "b"])
        let second = Self.pieces(kind, ["c", "d"])
        #expect(send(first) == Self.ack("2"))
        #expect(send(second) == Self.ack("4"))
        #expect(send([]) == Self.ack("4"))
        // Until the end nobody sees anything of it.
        #expect(redis("EXISTS key") == .integer(0))
        #expect(redis("KEYS *") == .array([]))
        #expect(redis("RANDOMKEY") == .nullBulk)
        #expect(redis("SCAN 0 COUNT 100") == .array([.bulk("0"), .array([])]))
        #expect(sender("SLOTSRESTORE-ASYNC expire key 0") == Self.ack("1"))
        #expect(redis("PTTL key") == .integer(-1))
        #expect(redis("DBSIZE") == .integer(1))
        switch kind {
        case "list": #expect(redis("LRANGE key 0 -1") == .array(["a", "b", "c", "d"].map { .bulk($0) }))
        case "hash":
            #expect(redis("HLEN key") == .integer(4))
            #expect(redis("HGET key c") == .bulk("value of c"))
        case "dict": #expect(redis("SISMEMBER key d") == .integer(1))
        default: #expect(redis("ZSCORE key b") == .bulk("-0.5"))
        }
        try Self.expectReplay(redis)
    }

    /// The elements of a piece of this kind with these names.
    private static func pieces(_ kind: String, _ names: [String]) -> [[UInt8]] {
        switch kind {
        case "hash": names.flatMap { bytes($0, "value of \($0)") }
        case "zset": names.flatMap { bytes($0) + [bits($0 == "b" ? -0.5 : .infinity)] }
        default: names.map { Array($0.utf8) }
        }
    }

    @Test("what comes in pieces expires by itself, later with each piece, and expire sets the true time")
    func safetyNet() throws {
        let redis = try CommandHarness()
        let sender = redis.client()
        #expect(sender("SLOTSRESTORE-ASYNC list key 90000 9 a") == Self.ack("1"))
        redis.advance(milliseconds: 60_000)
        #expect(sender("SLOTSRESTORE-ASYNC list key 90000 9 b") == Self.ack("2"))
        redis.advance(milliseconds: 60_000)
        #expect(sender("SLOTSRESTORE-ASYNC list key 90000 9 c") == Self.ack("3"))
        #expect(sender("SLOTSRESTORE-ASYNC expire key 5000") == Self.ack("1"))
        #expect(redis("PTTL key") == .integer(5000))
        #expect(redis("LLEN key") == .integer(3))

        #expect(sender("SLOTSRESTORE-ASYNC list other 90000 9 a") == Self.ack("1"))
        redis.advance(milliseconds: 90_001)
        #expect(
            sender("SLOTSRESTORE-ASYNC list other 90000 9 b")
                == Self.ack("the specified key doesn't exist (other)", code: -1)
        )
        #expect(redis("DBSIZE") == .integer(1))
        try Self.expectReplay(redis)
    }

    @Test("when the sender is gone, so is what it has sent of a value")
    func disconnect() throws {
        let redis = try CommandHarness()
        let sender = redis.client()
        #expect(sender("SLOTSRESTORE-ASYNC hash key 90000 2 field value") == Self.ack("1"))
        #expect(sender("SLOTSRESTORE-ASYNC list whole 90000 1 a") == Self.ack("1"))
        #expect(sender("SLOTSRESTORE-ASYNC expire whole 0") == Self.ack("1"))
        #expect(redis("DBSIZE") == .integer(2))
        sender.disconnect()
        #expect(redis("KEYS *") == .array([.bulk("whole")]))
        #expect(redis("DBSIZE") == .integer(1))
        try Self.expectReplay(redis)
    }

    @Test("delete drops what has come of a value, and then it may come again, as another type too")
    func startAgain() throws {
        let redis = try CommandHarness()
        let sender = redis.client()
        #expect(sender("SLOTSRESTORE-ASYNC list key 90000 9 a") == Self.ack("1"))
        #expect(sender("SLOTSRESTORE-ASYNC delete key") == Self.ack("1"))
        #expect(sender("SLOTSRESTORE-ASYNC dict key 90000 9 a b") == Self.ack("2"))
        #expect(sender("SLOTSRESTORE-ASYNC expire key 0") == Self.ack("1"))
        #expect(redis("SCARD key") == .integer(2))
        #expect(redis("DBSIZE") == .integer(1))
        try Self.expectReplay(redis)
    }

    @Test("two senders do not get in each other's way, and the last to end wins")
    func twoSenders() throws {
        let redis = try CommandHarness()
        let (one, other) = (redis.client(), redis.client())
        #expect(one("SLOTSRESTORE-ASYNC list key 90000 9 a") == Self.ack("1"))
        #expect(other("SLOTSRESTORE-ASYNC list key 90000 9 x y") == Self.ack("2"))
        #expect(other("SLOTSRESTORE-ASYNC expire key 0") == Self.ack("1"))
        #expect(redis("LRANGE key 0 -1") == .array([.bulk("x"), .bulk("y")]))
        #expect(one("SLOTSRESTORE-ASYNC expire key 7000") == Self.ack("1"))
        #expect(redis("LRANGE key 0 -1") == .array([.bulk("a")]))
        #expect(redis("PTTL key") == .integer(7000))
        #expect(redis("DBSIZE") == .integer(1))
        try Self.expectReplay(redis)
    }

    @Test("pieces for a key that is there are added to it, if it is of the larger form of the type")
    func existing() throws {
        let redis = try CommandHarness()
        redis("RPUSH list a")
        #expect(redis("SLOTSRESTORE-ASYNC list list 5000 9 b c") == Self.ack("3"))
        #expect(redis("PTTL list") == .integer(5000))
        #expect(redis("SLOTSRESTORE-ASYNC expire list 0") == Self.ack("1"))
        #expect(redis("TTL list") == .integer(-1))
        redis("SADD members x")
        #expect(redis("SLOTSRESTORE-ASYNC dict members 0 9 y") == Self.ack("2"))
        try Self.expectReplay(redis)

        redis("HSET small field value")
        redis("SADD numbers 1 2")
        redis("ZADD scores 1 a")
        redis("SET word value")
        redis("SET number 12")
        redis.run("SET", "text", String(repeating: "x", count: 45))
        let refusals = [
            ("hash small 0 1 a b", "expect=4/2,got=4/5"), ("dict numbers 0 1 3", "expect=2/2,got=2/6"),
            ("zset scores 0 1", "expect=3/7,got=3/5"), ("list word 0 1 a", "expect=1/9,got=0/8"),
            ("list number 0 1 a", "expect=1/9,got=0/1"), ("dict text 0 1 a", "expect=2/2,got=0/0"),
            ("hash list 0 1 a b", "expect=4/2,got=1/9"), ("zset members 0 1", "expect=3/7,got=2/2"),
        ]
        for (words, text) in refusals {
            Self.expectRefused(redis, "SLOTSRESTORE-ASYNC \(words)", "wrong type (\(text))")
        }
        let sender = redis.client()
        #expect(sender("SLOTSRESTORE-ASYNC list new 9000 9 a") == Self.ack("1"))
        #expect(
            sender("SLOTSRESTORE-ASYNC hash new 9000 9 a b") == Self.ack("wrong type (expect=4/2,got=1/9)", code: -1)
        )
    }

    @Test("what makes no sense is refused in the words of Codis 3.2, and the connection closed")
    func errors() throws {
        let redis = try CommandHarness()
        redis("SET key value")
        let refusals = [
            ("delete", "wrong number of arguments (argc=2,cmd=delete)"),
            ("Nothing", "wrong number of arguments (argc=2,cmd=Nothing)"),
            ("delete key 0", "wrong number of arguments (argc=4,cmd=delete)"),
            ("string key", "wrong number of arguments (argc=3,cmd=string)"),
            ("nothing key", "wrong number of arguments (argc=3,cmd=nothing)"),
            ("string key x value", "invalid TTL value (TTL=x)"),
            ("nothing key -1", "invalid TTL value (TTL=-1)"),
            ("string key 0", "wrong number of arguments (argc=4,cmd=string)"),
            ("string new 0 a b", "wrong number of arguments (argc=6,cmd=string)"),
            ("object new 0 a b", "wrong number of arguments (argc=6,cmd=object)"),
            ("expire key 0 0", "wrong number of arguments (argc=5,cmd=expire)"),
            ("expire missing 0", "the specified key doesn't exist (missing)"),
            ("string key 0 value", "the specified key already exists (key)"),
            ("object key 0 value", "the specified key already exists (key)"),
            ("list new 0", "wrong number of arguments (argc=4,cmd=list)"),
            ("list new 0 x", "invalid Hint value (Hint=x)"),
            ("nothing new 0 -2", "invalid Hint value (Hint=-2)"),
            ("list new 0 0", "the specified key doesn't exist (new)"),
            ("hash new 0 0", "the specified key doesn't exist (new)"),
            ("dict new 0 0", "the specified key doesn't exist (new)"),
            ("zset new 0 0", "the specified key doesn't exist (new)"),
            ("hash new 0 0 a", "wrong number of arguments (argc=6,cmd=hash)"),
            ("zset new 0 0 a", "wrong number of arguments (argc=6,cmd=zset)"),
            ("zset new 0 0 a 1", "invalid zset score ([0]), bad raw bits"),
            ("nothing new 0 0 a", "unknown command (argc=6,cmd=nothing)"),
        ]
        for (words, text) in refusals { Self.expectRefused(redis, "SLOTSRESTORE-ASYNC \(words)", text) }
        #expect(redis("SLOTSRESTORE-ASYNC") == .error("ERR wrong number of arguments for 'slotsrestore-async' command"))
        let client = redis.client()
        #expect(
            client.run(
                Self.bytes("SLOTSRESTORE-ASYNC", "zset", "new", "0", "0", "a") + [Self.bits(1)]
                    + Self.bytes("b") + [Self.bits(.nan)]
            )
                == Self.ack("invalid zset score ([1]), bad raw bits", code: -1)
        )
        #expect(redis("DBSIZE") == .integer(1))
        #expect(try redis.effectLines == ["SELECT 0", "SET key value"])
    }

    @Test("AUTH and SELECT are acknowledged")
    func connection() throws {
        let redis = try CommandHarness()
        Self.expectRefused(redis, "SLOTSRESTORE-ASYNC-AUTH secret", "Client sent AUTH, but no password is set")
        Self.expectRefused(redis, "SLOTSRESTORE-ASYNC-SELECT 16", "invalid DB index (16)")
        Self.expectRefused(redis, "SLOTSRESTORE-ASYNC-SELECT x", "invalid DB index (x)")
        Self.expectRefused(redis, "SLOTSRESTORE-ASYNC-SELECT -1", "invalid DB index (-1)")
        let client = redis.client()
        #expect(client("SLOTSRESTORE-ASYNC-SELECT 3") == Self.ack("OK"))
        #expect(client("SLOTSRESTORE-ASYNC string key 0 value") == Self.ack("1"))
        #expect(redis("SELECT 3") == .status("OK"))
        #expect(redis("GET key") == .bulk("value"))

        redis("CONFIG SET requirepass secret")
        let other = redis.client()
        other.session.isAuthenticated = false
        #expect(other("SLOTSRESTORE-ASYNC-SELECT 0") == .error("NOAUTH Authentication required."))
        #expect(other("SLOTSRESTORE-ASYNC-AUTH wrong") == Self.ack("invalid password", code: -1))
        #expect(other("SLOTSRESTORE-ASYNC-AUTH secret") == Self.ack("OK"))
        #expect(other("SLOTSRESTORE-ASYNC-SELECT 0") == Self.ack("OK"))
    }

    @Test("nobody may acknowledge what was not sent to it")
    func strangers() throws {
        let redis = try CommandHarness()
        let client = redis.client()
        #expect(client("SLOTSRESTORE-ASYNC-ACK 0 1") == .error("ERR invalid client, permission denied"))
        #expect(client.session.closesAfterReply)
    }

    @Test("a sender that answers an error with an error is not answered again")
    func pingPong() throws {
        let redis = try CommandHarness()
        let sender = redis.client()
        #expect(sender("-OOM no room") == .error("ERR unknown command '-OOM'"))
        #expect(sender("SLOTSRESTORE-ASYNC-SELECT 0") == Self.ack("OK"))
        #expect(sender.replies("-ERR unknown command '-OOM'").isEmpty)
        #expect(sender.session.closesAfterReply)
    }

    @Test("a replica takes the pieces of its master into the key itself, at replay too")
    func replay() throws {
        var stream: [UInt8] = []
        for words in [
            ["SELECT", "0"], ["SLOTSRESTORE-ASYNC", "delete", "key"],
            ["SLOTSRESTORE-ASYNC", "hash", "key", "90000", "9", "a", "1"],
            ["SLOTSRESTORE-ASYNC", "hash", "key", "90000", "9", "b", "2"],
            ["SLOTSRESTORE-ASYNC", "expire", "key", "0"],
        ] { TestClient.encode(words.map { Array($0.utf8) }, into: &stream) }
        let redis = try CommandHarness(replaying: stream)
        #expect(redis("HMGET key a b") == .array([.bulk("1"), .bulk("2")]))
        #expect(redis("TTL key") == .integer(-1))
    }

    /// A payload with version and checksum behind `content`.
    private func signed(_ content: [UInt8]) -> [UInt8] {
        let bytes = content + [6, 0]
        var checksum: UInt64 = 0
        // The polynomial of Jones, reflected, a bit at a time.
        for byte in bytes {
            checksum ^= UInt64(byte)
            for _ in 0..<8 {
                checksum = checksum & 1 == 1 ? checksum >> 1 ^ 0x95AC_9329_AC4B_C9B5 : checksum >> 1
            }
        }
        return bytes + (0..<8).map { UInt8(truncatingIfNeeded: checksum >> (8 * UInt64($0))) }
    }
}
