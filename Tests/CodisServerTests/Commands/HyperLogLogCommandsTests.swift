// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import Bytes
import CodisTesting
import Testing

@testable import CodisServer

@Suite("HyperLogLog")
struct HyperLogLogCommandsTests {
    private static let notOne = TestReply.error("WRONGTYPE Key is not a valid HyperLogLog string value.")
    private static let corrupted = TestReply.error("INVALIDOBJ Corrupted HLL object detected")

    private func hexadecimal(_ reply: TestReply) -> String {
        guard case .bulk(let bytes) = reply else { return "\(reply)" }
        return bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }

    @Test(
        "an element's register and value are those of Redis",
        arguments: [("a", 12711, 2), ("b", 15780, 1), ("c", 8436, 1), ("hello world", 9399, 4)]
    )
    func hashes(text: String, index: Int, value: Int) {
        let found = ByteView.with(text) { HyperLogLog.register(of: $0) }
        #expect(found == (index, UInt8(value)))
    }

    @Test("the hash is MurmurHash64A")
    func murmur() {
        let vectors: [(String, UInt64)] = [
            ("a", 0x53d2_470a_9b43_b1a7), ("b", 0xf10c_df96_c004_fda4), ("c", 0x7585_a455_33f2_60f4),
            ("hello world", 0xa919_bc30_51f6_24b7),
        ]
        for (text, hash) in vectors {
            #expect(ByteView.with(text) { murmurHash64A($0, seed: 0xadc8_3b19) } == hash, "\(text)")
        }
    }

    @Test("PFADD makes the bytes of Redis")
    func bytes() throws {
        let redis = try CommandHarness()
        #expect(redis("PFADD k a b c") == .integer(1))
        #expect(hexadecimal(redis("GET k")) == "48594c4c01000000000000000000008060f38050b1844bfb80425a")
        #expect(redis("PFADD k a b c") == .integer(0))
        #expect(redis("PFADD empty") == .integer(1))
        #expect(redis("PFADD empty") == .integer(0))
        #expect(hexadecimal(redis("GET empty")) == "48594c4c0100000000000000000000807fff")
        #expect(redis("PFDEBUG DECODE k") == .bulk("Z:8436 v:1,1 Z:4274 v:2,1 Z:3068 v:1,1 Z:603"))
        #expect(redis("PFDEBUG ENCODING k") == .status("sparse"))
        #expect(redis("OBJECT ENCODING k") == .bulk("raw"))
    }

    @Test("a thousand elements one by one are 1008, in 1906 bytes that are sparse")
    func thousand() throws {
        let redis = try CommandHarness()
        for number in 0..<1000 { redis("PFADD k e\(number)") }
        #expect(redis("PFCOUNT k") == .integer(1008))
        #expect(redis("PFDEBUG ENCODING k") == .status("sparse"))
        #expect(redis("STRLEN k") == .integer(1906))
        let other = try CommandHarness()
        other.run([Array("PFADD".utf8), Array("k".utf8)] + (0..<1000).map { Array("e\($0)".utf8) })
        #expect(other("PFCOUNT k") == .integer(1008))
    }

    @Test("a value that would grow beyond hll-sparse-max-bytes becomes dense, and counts on the same way")
    func dense() throws {
        let redis = try CommandHarness()
        redis("CONFIG SET hll-sparse-max-bytes 100")
        let sparse = try CommandHarness()
        for number in 0..<300 {
            #expect(redis("PFADD k x\(number)") == sparse("PFADD k x\(number)"))
            redis("PFADD k x\(number / 2) x\(number)")
        }
        #expect(redis("PFDEBUG ENCODING k") == .status("dense"))
        #expect(sparse("PFDEBUG ENCODING k") == .status("sparse"))
        #expect(redis("STRLEN k") == .integer(12304))
        #expect(redis("PFCOUNT k") == sparse("PFCOUNT k"))
        #expect(redis("PFDEBUG GETREG k") == sparse("PFDEBUG GETREG k"))
        #expect(sparse("PFDEBUG ENCODING k") == .status("dense"))
        #expect(redis("PFDEBUG TODENSE k") == .integer(0))
        redis("PFADD more x")
        #expect(redis("PFDEBUG TODENSE more") == .integer(1))
        #expect(redis("PFDEBUG DECODE more") == .error("ERR HLL encoding is not sparse"))
    }

    @Test("many elements at once leave the same dense bytes as one by one")
    func many() throws {
        let redis = try CommandHarness()
        redis("PFADD a first")
        redis("PFDEBUG TODENSE a")
        redis("PFADD b first")
        redis("PFDEBUG TODENSE b")
        redis("PFCOUNT a")
        redis.run([Array("PFADD".utf8), Array("a".utf8)] + (0..<500).map { Array("e\($0)".utf8) })
        for number in 0..<500 { redis("PFADD b e\(number)") }
        redis("PFCOUNT a")
        redis("PFCOUNT b")
        #expect(redis("GET a") == redis("GET b"))
    }

    @Test("PFCOUNT of one key keeps its estimate there, which enters the log, and one of several does not")
    func counting() throws {
        let redis = try CommandHarness()
        redis("PFADD a 1 2 3")
        #expect(redis("PFCOUNT a") == .integer(3))
        #expect(redis("PFCOUNT a") == .integer(3))
        #expect(hexadecimal(redis("GET a")).hasPrefix("48594c4c010000000300000000000000"))
        #expect(redis("PFADD a 1") == .integer(0))
        #expect(redis("PFADD b 3 4") == .integer(1))
        #expect(redis("PFCOUNT a b missing") == .integer(4))
        #expect(redis("PFCOUNT missing") == .integer(0))
        #expect(redis("PFCOUNT missing other") == .integer(0))
        #expect(try redis.effectLines == ["SELECT 0", "PFADD a 1 2 3", "PFCOUNT a", "PFADD b 3 4"])
        let effects = try redis.effects
        let replayed = try CommandHarness(replaying: effects)
        #expect(replayed("GET a") == redis("GET a"))
    }

    @Test("PFMERGE makes the destination the union, dense, and keeps its expiry")
    func merging() throws {
        let redis = try CommandHarness()
        redis("PFADD a 1 2 3")
        redis("PFADD b 3 4")
        redis("PFADD c 5")
        redis("EXPIRE c 100")
        #expect(redis("PFMERGE c a b missing") == .ok)
        #expect(redis("PFCOUNT c") == .integer(5))
        #expect(redis("PFDEBUG ENCODING c") == .status("dense"))
        #expect(redis("TTL c") == .integer(100))
        #expect(redis("PFMERGE new") == .ok)
        #expect(redis("PFCOUNT new") == .integer(0))
        #expect(redis("STRLEN new") == .integer(12304))
    }

    @Test("what is no HyperLogLog is refused, and so is one whose runs do not add up")
    func refusals() throws {
        let redis = try CommandHarness()
        redis("SET s text")
        redis("SET long 0123456789012345678901234567890")
        for key in ["s", "long"] {
            for line in ["PFADD \(key) x", "PFCOUNT \(key)", "PFCOUNT \(key) b", "PFMERGE a \(key)", "PFMERGE \(key)"] {
                #expect(redis(line) == Self.notOne, "\(line)")
            }
            #expect(redis("PFDEBUG ENCODING \(key)") == Self.notOne)
        }
        redis("PFADD k a b c")
        redis("APPEND k x")
        #expect(redis("PFCOUNT k") == Self.corrupted)
        #expect(redis("PFCOUNT k k") == Self.corrupted)
        #expect(redis("PFMERGE k") == Self.corrupted)
        #expect(redis("PFDEBUG TODENSE k") == Self.corrupted)
        redis("PFADD d a")
        redis("PFDEBUG TODENSE d")
        redis("APPEND d x")
        #expect(redis("PFCOUNT d") == Self.notOne)
        redis("PFADD e a")
        redis("SETRANGE e 4 \u{2}")
        #expect(redis("PFCOUNT e") == Self.notOne)
        // Cut in the middle of its runs: an element that lies behind cannot be counted.
        redis.run([Array("SET".utf8), Array("cut".utf8), Array("HYLL\u{1}\0\0\0\0\0\0\0\0\0\0\0".utf8) + [0x40, 0x00]])
        #expect(redis("PFADD cut a") == Self.corrupted)
    }

    @Test("PFDEBUG needs a key that is there, and a subcommand that it knows")
    func debug() throws {
        let redis = try CommandHarness()
        #expect(redis("PFDEBUG ENCODING missing") == .error("ERR The specified key does not exist"))
        redis("PFADD k a")
        #expect(redis("PFDEBUG foo k") == .error("ERR Unknown PFDEBUG subcommand 'foo'"))
        #expect(
            redis("PFDEBUG Decode k x") == .error("ERR Wrong number of arguments for the 'Decode' subcommand")
        )
    }

    @Test("the self test passes, here with fewer elements than PFSELFTEST has")
    func selfTest() throws {
        try HyperLogLogSelfTest.registers()
        try HyperLogLogSelfTest.estimates(sparseLimit: 3000, elements: 100_000)
    }
}
