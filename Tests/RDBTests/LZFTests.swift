// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import CodisTesting
@testable internal import RDB
internal import Testing

@Suite("LZF")
struct LZFTests {
    private func compress(_ bytes: [UInt8]) -> [UInt8]? {
        let store = ByteStore()
        return ByteView.with(bytes) { LZF.compress($0, into: store) }.map { Array(store.view.prefix($0)) }
    }

    private func decompress(_ bytes: [UInt8], length: Int) -> [UInt8]? {
        let store = ByteStore()
        return ByteView.with(bytes) { LZF.decompress($0, length: length, into: store) } ? Array(store.view) : nil
    }

    @Test("a hundred times the same byte")
    func vector() {
        let plain = filledBytes(0x61, count: 100)
        #expect(compress(plain).map(hexadecimal) == "016161e05700016161")
        #expect(decompress(hex("01 61 61 e0 57 00 01 61 61"), length: 100) == plain)
    }

    @Test("twenty bytes are too few, and so is a saving of less than four")
    func tooLittle() {
        #expect(compress(filledBytes(0x61, count: 20)) == nil)
        #expect(compress(filledBytes(0x61, count: 21)) != nil)
        #expect(compress((0..<64).map { UInt8($0) }) == nil)
    }

    @Test("what is compressed comes back", arguments: [21, 100, 263, 264, 265, 8191, 8192, 8300, 100_000])
    func roundTrip(length: Int) {
        var generator = SeededGenerator()
        for alphabet in [1, 2, 5, 30] {
            let plain = (0..<length).map { _ in UInt8(generator.number(0...alphabet - 1)) }
            guard let packed = compress(plain) else { continue }
            #expect(packed.count <= length - 4)
            #expect(decompress(packed, length: length) == plain, "seed \(generator.seed)")
        }
    }

    @Test(
        "what is no LZF of the length said is refused",
        arguments: [
            ("", 1), ("00", 1), ("1f 61", 2), ("00 61 20", 4), ("00 61 e0 00", 10), ("00 61 20 01", 4),
            ("00 61 20 00", 3), ("00 61 20 00", 5), ("20 00", 3), ("e0 ff", 264), ("00 61", 0), ("00 61", 2),
        ]
    )
    func malformed(packed: String, length: Int) {
        #expect(decompress(hex(packed), length: length) == nil)
    }

    @Test("a length that so few bytes cannot stand for is refused before room is made for it")
    func bomb() {
        #expect(decompress(hex("00 61"), length: 1 << 50) == nil)
        #expect(decompress(hex("00 61"), length: .max) == nil)
        #expect(decompress(hex("00 61"), length: -1) == nil)
        // A payload of twenty bytes that claims a string of 4 GB.
        #expect(throws: RDBError.self) { try decode(withFooter(hex("00 c3 02 80 ffffffff 0061"))) }
        #expect(throws: RDBError.self) { try decode(withFooter(hex("00 c3 81 ffffffffffffffff 81 ffffffffffffffff"))) }
        #expect(throws: RDBError.self) { try decode(withFooter(hex("00 c3 81 7fffffffffffffff 81 7fffffffffffffff"))) }
        #expect(throws: RDBError.self) { try decode(withFooter(hex("00 81 ffffffffffffffff"))) }
        #expect(throws: RDBError.self) { try decode(withFooter(hex("01 81 ffffffffffffffff"))) }
    }
}
