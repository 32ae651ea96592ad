// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisTesting
import Testing

@testable import CodisServer

@Suite("DUMP and RESTORE")
struct DumpCommandsTests {
    private func bytes(_ hexadecimal: String) -> [UInt8] {
        let digits = hexadecimal.filter { $0 != " " }
        return stride(from: 0, to: digits.count, by: 2).compactMap { offset in
            let start = digits.index(digits.startIndex, offsetBy: offset)
            return UInt8(digits[start...digits.index(after: start)], radix: 16)
        }
    }

    private func restore(_ redis: CommandHarness, _ key: String, _ lifetime: String, _ payload: [UInt8]) -> TestReply {
        redis.run(["RESTORE", key, lifetime].map { Array($0.utf8) } + [payload])
    }

    @Test(
        "strings are dumped byte for byte as Redis 2.8 dumps them, and come back",
        arguments: [
            ("hello", "00 05 68656c6c6f 0600 f59fb7f690611c99"),
            ("", "00 00 0600 cb7634c0fa2a9e49"),
            ("-123", "00 c085 0600 f4e4a2f3a126d713"),
            ("12345", "00 c13930 0600 0b7982a766a9342a"),
            ("123456789", "00 c215cd5b07 0600 325aa18915bc0b0d"),
            ("12345678901", "00 0b 3132333435363738393031 0600 a6a33a57d2425983"),
            ("aaaaaaaaaaaaaaaaaaaaa", "00 c306150161 61e00a00 0600 6be1dbe8f21403fb"),
        ]
    )
    func strings(value: String, payload: String) throws {
        let redis = try CommandHarness()
        redis.run("SET", "a", value)
        #expect(redis("DUMP a") == .bulk(bytes(payload)))
        #expect(restore(redis, "b", "0", bytes(payload)) == .ok)
        #expect(redis("GET b") == .bulk(value))
        #expect(redis("TTL b") == .integer(-1))
    }

    @Test("a hash is dumped as the ziplist of Redis 2.8, and comes back, also from the listpack of Redis 7")
    func hashes() throws {
        let redis = try CommandHarness()
        redis("HMSET h f v n 42")
        let payload = bytes("0d 17 1700000013000000 0400 000166 030176 03016e 03fe2a ff 0600 6d6db385c4b00a01")
        #expect(redis("DUMP h") == .bulk(payload))
        let listpack = bytes("10 12 120000000400 8166 02 8176 02 816e 02 2a 01 ff 0a00 ff30e87f7262d991")
        for (key, payload) in [("h6", payload), ("h7", listpack)] {
            #expect(restore(redis, key, "0", payload) == .ok)
            #expect(redis("HGETALL \(key)") == .bulks("f", "v", "n", "42"))
            #expect(redis("OBJECT ENCODING \(key)") == .bulk("ziplist"))
        }
        redis("CONFIG SET hash-max-ziplist-entries 1")
        #expect(restore(redis, "large", "0", payload) == .ok)
        #expect(redis("OBJECT ENCODING large") == .bulk("hashtable"))
        #expect(redis("HGET large n") == .bulk("42"))
    }

    @Test("a string that lies in many rows comes back whole, also one too long to be compressed")
    func large() throws {
        let redis = try CommandHarness()
        for count in [5_000, 100_000, 5 << 20] {
            let value = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 7 >> 3) }
            redis.run(["SET", "a"].map { Array($0.utf8) } + [value])
            guard case .bulk(let payload) = redis("DUMP a") else {
                Issue.record("DUMP replies no string")
                return
            }
            redis("DEL b")
            #expect(restore(redis, "b", "0", payload) == .ok)
            #expect(redis("DEBUG DIGEST") != .status(String(repeating: "0", count: 40)))
            #expect(redis("GET b") == .bulk(value))
        }
    }

    @Test("DUMP of a key that is not there is null")
    func missing() throws {
        let redis = try CommandHarness()
        #expect(redis("DUMP a") == .nullBulk)
        redis("SET a 1")
        redis("PEXPIRE a 5")
        redis.advance(milliseconds: 6)
        #expect(redis("DUMP a") == .nullBulk)
    }

    @Test("RESTORE complains in the order and the words of Redis 2.8, and changes nothing")
    func errors() throws {
        let redis = try CommandHarness()
        redis("SET a 1")
        let good = bytes("00 05 68656c6c6f 0600 f59fb7f690611c99")
        var damaged = good
        damaged[3] ^= 1
        #expect(restore(redis, "a", "x", damaged) == .error("ERR Target key name is busy."))
        #expect(restore(redis, "b", "x", damaged) == .error("ERR value is not an integer or out of range"))
        #expect(restore(redis, "b", "-1", damaged) == .error("ERR Invalid TTL value, must be >= 0"))
        let checksum = TestReply.error("ERR DUMP payload version or checksum are wrong")
        #expect(restore(redis, "b", "0", damaged) == checksum)
        #expect(restore(redis, "b", "0", []) == checksum)
        #expect(restore(redis, "b", "0", Array("0".utf8)) == checksum)
        #expect(redis("RESTORE b 0") == .error("ERR wrong number of arguments for 'restore' command"))
        #expect(redis("GET a") == .bulk("1"))
        #expect(redis("EXISTS b") == .integer(0))
        #expect(try redis.effectLines == ["SELECT 0", "SET a 1"])
    }

    @Test("a payload with the right checksum around what is no value is bad data")
    func badData() throws {
        let redis = try CommandHarness()
        // A list of no elements, as no Redis writes it, and a type that there is none of.
        for payload in ["01 00 0600 cd154d4c99427fc5", "63 00 0600 fd641e3cdfb0180b"] {
            #expect(restore(redis, "b", "0", bytes(payload)) == .error("ERR Bad data format"), "\(payload)")
        }
        #expect(redis("EXISTS b") == .integer(0))
    }

    @Test("RESTORE sets the time to live, and the log has the time of its end")
    func expiry() throws {
        let redis = try CommandHarness()
        let payload = bytes("00 c085 0600 f4e4a2f3a126d713")
        #expect(restore(redis, "a", "5000", payload) == .ok)
        #expect(redis("PTTL a") == .integer(5000))
        let effects = try redis.effects
        let lines = try redis.effectLines
        #expect(lines.count == 3)
        #expect(lines[1].hasPrefix("RESTORE a 0 "))
        #expect(lines[2] == "PEXPIREAT a 1700000005000")
        let replayed = try CommandHarness(replaying: effects)
        #expect(replayed("GET a") == .bulk("-123"))
        #expect(replayed("PTTL a") == .integer(5000))
        replayed.advance(milliseconds: 5001)
        #expect(replayed("GET a") == .nullBulk)
    }
}
