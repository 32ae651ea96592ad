// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import Bytes
import CodisTesting
import Keyspace
import Testing

@testable import CodisServer

@Suite("SLOTSRESTORE")
struct SlotRestoreCommandsTests {
    private static func bytes(_ hexadecimal: String) -> [UInt8] {
        hexadecimal.split(separator: " ").compactMap { UInt8($0, radix: 16) }
    }

    private static let ten = bytes("00 c0 0a 06 00 f8 72 3f c5 fb fb 5f 28")
    private static let hundred = bytes("00 c0 64 06 00 11 c4 fd b1 95 5b b1 20")
    private static let bar = bytes("00 03 62 61 72 06 00 70 53 21 e0 1b 33 c1 84")

    /// The eight bytes of CRC-64, by the bit.
    private static func checksum(of bytes: [UInt8]) -> [UInt8] {
        var state: UInt64 = 0
        for byte in bytes {
            state ^= UInt64(byte)
            for _ in 0..<8 { state = state & 1 == 1 ? state >> 1 ^ 0x95AC_9329_AC4B_C9B5 : state >> 1 }
        }
        return (0..<8).map { UInt8(truncatingIfNeeded: state >> (8 * UInt64($0))) }
    }

    private func run(_ redis: CommandHarness, _ words: Any...) -> TestReply {
        redis.run(words.map { ($0 as? [UInt8]) ?? Array("\($0)".utf8) })
    }

    @Test("the reference payloads are what DUMP gives and SLOTSRESTORE takes")
    func reference() throws {
        let redis = try CommandHarness()
        for (value, payload) in [("10", Self.ten), ("100", Self.hundred), ("bar", Self.bar)] {
            #expect(run(redis, "SLOTSRESTORE", "k", 0, payload) == .ok)
            #expect(redis("GET k") == .bulk(value))
            #expect(redis("DUMP k") == .bulk(payload))
        }
    }

    @Test("it replaces what is there, in the order of the arguments, and sets when keys expire")
    func replaces() throws {
        let redis = try CommandHarness()
        redis("RPUSH a x")
        redis("SETEX b 100 x")
        let reply = run(
            redis,
            "SLOTSRESTORE",
            "a",
            5000,
            Self.ten,
            "b",
            0,
            Self.bar,
            "b",
            0,
            Self.hundred,
            "c",
            0,
            Self.bar
        )
        #expect(reply == .ok)
        #expect(redis("GET a") == .bulk("10"))
        #expect(redis("PTTL a") == .integer(5000))
        #expect(redis("GET b") == .bulk("100"))
        #expect(redis("TTL b") == .integer(-1))
        #expect(redis("DBSIZE") == .integer(3))
    }

    @Test("what does not expire is in the log as it came, what does with the time at which it does")
    func effects() throws {
        let redis = try CommandHarness()
        #expect(run(redis, "SLOTSRESTORE", "a", 0, Self.ten, "b", 0, Self.bar) == .ok)
        var log = try redis.effects
        #expect(String(decoding: log, as: UTF8.self).contains("*7\r\n$12\r\nSLOTSRESTORE\r\n$1\r\na\r\n"))
        #expect(run(redis, "SLOTSRESTORE", "a", 777, Self.ten, "b", 0, Self.bar) == .ok)
        log = try redis.effects
        let text = String(decoding: log, as: UTF8.self)
        #expect(text.contains("PEXPIREAT\r\n$1\r\na\r\n$13\r\n\(redis.now + 777)\r\n"))
        #expect(!text.contains("$3\r\n777\r\n"))
        redis.advance(milliseconds: 300)
        let other = try CommandHarness(replaying: log)
        other.now = redis.now
        #expect(other.contents == redis.contents)
    }

    @Test("the first thing that is wrong is the reply, and then nothing was written")
    func errors() throws {
        let redis = try CommandHarness()
        let wrong = TestReply.error("ERR wrong number of arguments for 'slotsrestore' command")
        #expect(run(redis, "SLOTSRESTORE", "a", 0) == wrong)
        #expect(run(redis, "SLOTSRESTORE", "a", 0, Self.ten, "b") == wrong)
        #expect(run(redis, "SLOTSRESTORE", "a", 0, Self.ten, "b", 0) == wrong)
        var damaged = Self.bar
        damaged[2] ^= 1
        var later = Self.bar
        later[5] = 99
        let cases: [(Any, [UInt8], String)] = [
            ("x", Self.ten, "ERR value is not an integer or out of range"),
            (-1, Self.ten, "ERR invalid ttl value, must be >= 0"),
            (0, damaged, "ERR dump payload version or checksum are wrong"),
            (0, later, "ERR dump payload version or checksum are wrong"),
            (0, Array(Self.ten.prefix(5)), "ERR dump payload version or checksum are wrong"),
            (0, [], "ERR dump payload version or checksum are wrong"),
            ("9223372036854775808", Self.ten, "ERR value is not an integer or out of range"),
        ]
        for (ttl, payload, text) in cases {
            #expect(run(redis, "SLOTSRESTORE", "a", 0, Self.ten, "b", ttl, payload, "c", "y", Self.ten) == .error(text))
        }
        #expect(redis("DBSIZE") == .integer(0))
        #expect(try redis.effects.isEmpty)
    }

    @Test("a value that no value can be read from is bad data")
    func badData() throws {
        let redis = try CommandHarness()
        var payload = Self.bytes("09 01 61 06 00")
        payload += Self.checksum(of: payload)
        #expect(run(redis, "SLOTSRESTORE", "a", 0, payload) == .error("ERR bad data format"))
        payload = Self.bytes("01 00 06 00")
        payload += Self.checksum(of: payload)
        #expect(run(redis, "SLOTSRESTORE", "a", 0, payload) == .error("ERR bad data format"))
        #expect(redis("DBSIZE") == .integer(0))
    }

    @Test("a value that comes in pieces grows under another name, and takes its place in one step")
    func pieces() throws {
        let redis = try CommandHarness()
        #expect(redis("SLOTSRESTORE-PART p HMSET") == .ok)
        #expect(redis("DBSIZE") == .integer(0))
        #expect(redis("SLOTSRESTORE-PART p HMSET a 1 b 2") == .ok)
        #expect(redis("SLOTSRESTORE-PART p hmset b 3 c 4") == .ok)
        #expect(redis("SLOTSRESTORE-PART q APPEND hello") == .ok)
        #expect(redis("SLOTSRESTORE-PART q APPEND world") == .ok)
        #expect(redis("PTTL q") == .integer(60_000))
        redis("SET h old")
        let refusal = TestReply.error("ERR the value has not arrived as a whole")
        #expect(redis("SLOTSRESTORE-END h 0 4 p") == refusal)
        #expect(redis("SLOTSRESTORE-END h 0 3 nothing") == refusal)
        #expect(redis("GET h") == .bulk("old"))
        let reply = run(redis, "SLOTSRESTORE-END", "h", 0, 3, "p", "s", 5000, 10, "q", "t", 0, "payload", Self.ten)
        #expect(reply == .ok)
        #expect(redis("HGET h b") == .bulk("3"))
        #expect(redis("TTL h") == .integer(-1))
        #expect(redis("GET s") == .bulk("helloworld"))
        #expect(redis("PTTL s") == .integer(5000))
        #expect(redis("GET t") == .bulk("10"))
        #expect(redis("DBSIZE") == .integer(3))
        #expect(redis.server.stagedValues.isEmpty)
        let other = try CommandHarness(replaying: try redis.effects)
        other.now = redis.now
        #expect(other.contents == redis.contents)
    }

    @Test("fields and members that come in pieces are added in the order of their rows, when nothing more comes")
    func order() throws {
        let redis = try CommandHarness()
        let names = (0..<300).map { "name:\($0)" }
        for start in stride(from: 0, to: 300, by: 50) {
            redis("SLOTSRESTORE-PART p SADD \(names[start..<start + 50].joined(separator: " "))")
        }
        redis("SLOTSRESTORE-PART p SADD name:7")
        #expect(redis("EXISTS p") == .integer(0))
        #expect(redis("SLOTSRESTORE-PART p SADD") == .ok)
        #expect(redis("SCARD p") == .integer(300))
        #expect(redis("PTTL p") == .integer(60_000))
        let added = try redis.effectLines.filter { $0.hasPrefix("SADD p ") }
            .flatMap { $0.split(separator: " ").dropFirst(2).map(String.init) }
        let orders = added.map { name in ByteView.with(name) { redis.server.keyspace.elementOrder($0) } }
        #expect(added.count == 301 && orders == orders.sorted())
        // What comes then goes on.
        redis("SLOTSRESTORE-PART p SADD more")
        #expect(redis("SLOTSRESTORE-END s 0 301 p") == .ok)
        #expect(redis("SCARD s") == .integer(301))
    }

    @Test("a field that comes twice has what came last, and values of any length come whole")
    func repeatedFields() throws {
        let redis = try CommandHarness()
        let long = String(repeating: "x", count: 5000)
        for round in 0..<40 { redis("SLOTSRESTORE-PART p HMSET a \(round) b\(round) \(round)") }
        redis("SLOTSRESTORE-PART p HMSET c \(long) a last")
        #expect(redis("SLOTSRESTORE-END h 0 42 p") == .ok)
        #expect(redis("HMGET h a b0 b39 c") == .bulks("last", "0", "39", long))
        // What is too long to wait comes after what waits, and others wait after it.
        redis("SLOTSRESTORE-PART q HMSET a 1")
        redis("SLOTSRESTORE-PART q HMSET a \(long)")
        #expect(redis("HGET q a") == .bulk(long))
        redis("SLOTSRESTORE-PART q HMSET a 2 b 3")
        #expect(redis("SLOTSRESTORE-PART q HMSET") == .ok)
        #expect(redis("HMGET q a b") == .bulks("2", "3"))
    }

    @Test("pieces are of one connection, and go with it")
    func connections() throws {
        let redis = try CommandHarness()
        let client = redis.client()
        #expect(client("SLOTSRESTORE-PART p SADD a b") == .ok)
        #expect(client("SLOTSRESTORE-PART p SADD") == .ok)
        #expect(redis("SLOTSRESTORE-PART p SADD c") == .error("ERR the value arrives over another connection"))
        #expect(redis("SLOTSRESTORE-PART q GET a") == .error("ERR syntax error"))
        #expect(redis("DBSIZE") == .integer(1))
        client.disconnect()
        #expect(redis("DBSIZE") == .integer(0))
        #expect(redis.server.stagedValues.isEmpty)
        #expect(try redis.effectLines.suffix(1) == ["DEL p"])
    }

    @Test("a value that has expired or was deleted half way is refused")
    func lostPieces() throws {
        let redis = try CommandHarness()
        redis("SLOTSRESTORE-PART p RPUSH a b c")
        redis("FLUSHALL")
        redis("SLOTSRESTORE-PART p RPUSH d")
        #expect(redis("SLOTSRESTORE-END k 0 4 p") == .error("ERR the value has not arrived as a whole"))
        #expect(redis("EXISTS k") == .integer(0))
    }

    @Test("a transaction and a script may restore")
    func atOnce() throws {
        let redis = try CommandHarness()
        redis("MULTI")
        _ = run(redis, "SLOTSRESTORE", "a", 0, Self.ten)
        #expect(redis("EXEC") == .array([.ok]))
        #expect(run(redis, "EVAL", "return redis.call('slotsrestore', KEYS[1], 0, ARGV[1])", 1, "b", Self.bar) == .ok)
        #expect(redis("MGET a b") == .bulks("10", "bar"))
    }
}
