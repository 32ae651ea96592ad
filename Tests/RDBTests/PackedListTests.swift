// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import CodisTesting
internal import Foundation
@testable internal import RDB
internal import Testing

@Suite("Packed lists")
struct PackedListTests {
    /// Integers at the edges of every width that a packed list has.
    private static let integers: [Int64] = {
        var all: [Int64] = [0, 1, 12, 13, .max, .min]
        for bits in [7, 8, 12, 13, 15, 16, 23, 24, 31, 32, 53] {
            let power = Int64(1) << Int64(bits)
            all += [power - 1, power, power + 1, -power, -power - 1, -power + 1]
        }
        return all
    }()

    @Test("a ziplist gives back integers of every width and strings of every size")
    func ziplistRoundTrip() throws {
        var values = Self.integers.map { text("\($0)") }
        values += ["", "-", "-0", "00", "+1", "01", "1 ", "9223372036854775808", "-9223372036854775809"].map(text)
        for length in [1, 31, 32, 62, 63, 64, 65, 249, 250, 251, 252, 253, 254, 255, 16_383, 16_384, 70_000] {
            values.append(filledBytes(0x78, count: length))
        }
        let written = values.map { Item.element($0) }
        #expect(try decode(encode(written, .compact)).items == written)
        #expect(try decode(encode(written, .compact, compresses: false)).items == written)
        #expect(try decode(encode(written)).items == written)
    }

    @Test("a ziplist of more than 65,534 entries says that it does not know their number")
    func ziplistOfMany() throws {
        for count in [65_534, 65_535, 65_536, 70_000] {
            let written = (0..<count).map { Item.element(text("\($0 % 20)")) }
            #expect(try decode(encode(written, .compact)).items == written)
        }
    }

    @Test("sorted sets and hashes in a ziplist keep scores and pairs")
    func pairsRoundTrip() throws {
        let scores: [Double] = [
            0, -0.0, 1, -1, 0.1, 3.14, 1e20, -1e300, .leastNonzeroMagnitude, 4_503_599_627_370_495,
            4_503_599_627_370_496,
            -4_503_599_627_370_496, .greatestFiniteMagnitude, .infinity, -.infinity,
        ]
        let written = scores.enumerated().map { Item.scored(text("member\($0.offset)"), $0.element) }
        #expect(try decode(encode(written, .compact)).items == written)
        #expect(try decode(encode(written)).items == written)
        let pairs = Self.integers.map { Item.field(text("field\($0)"), text("\($0)")) }
        #expect(try decode(encode(pairs, .compact)).items == pairs)
    }

    @Test("fractions have seventeen significant digits, and whole numbers within 52 bits are integers")
    func scoreText() {
        var generator = SeededGenerator()
        let store = ByteStore()
        for _ in 0..<5000 {
            let score = Double(bitPattern: generator.next())
            guard score.isFinite else { continue }
            store.removeAll()
            Decimal.append(score: score, to: store)
            let isInteger = abs(score) < 4_503_599_627_370_495 && score.rounded() == score
            let expected = isInteger ? "\(Int64(score))" : String(format: "%.17g", score)
            #expect(String(store.view) == expected, "seed \(generator.seed)")
            #expect(Decimal.score(store.view) == score)
        }
    }

    @Test(
        "an intset has the least width that holds its members, in ascending order",
        arguments: [
            ([0], 2), ([3, -1, 2], 2), ([32_767, -32_768], 2), ([32_768], 4), ([-32_769, 5], 4),
            ([2_147_483_647], 4), ([-2_147_483_648], 4), ([2_147_483_648], 8), ([.min, .max], 8),
        ] as [([Int64], Int)]
    )
    func intsetWidth(values: [Int64], width: Int) throws {
        let payload = try encode(values.map { .member(text("\($0)")) }, .compact, compresses: false)
        // Behind the type byte and the length.
        #expect(payload[2] == UInt8(width))
        #expect(try decode(payload).items == values.sorted().map { .member(text("\($0)")) })
    }

    @Test("every form of a listpack's entry is read")
    func listpackEntries() throws {
        var entries: [([UInt8], Item)] = [
            ([0x00], .element(text("0"))), ([0x7F], .element(text("127"))),
            ([0xCF, 0xFF], .element(text("4095"))), ([0xD0, 0x00], .element(text("-4096"))),
            ([0xDF, 0xFF], .element(text("-1"))), ([0xF1, 0x00, 0x80], .element(text("-32768"))),
            ([0xF2, 0xFF, 0xFF, 0x7F], .element(text("8388607"))),
            ([0xF2, 0x00, 0x00, 0x80], .element(text("-8388608"))),
            ([0xF3, 0, 0, 0, 0x80], .element(text("-2147483648"))),
            ([0xF4, 0, 0, 0, 0, 0, 0, 0, 0x80], .element(text("-9223372036854775808"))),
            ([0x80], .element([])),
        ]
        for length in [1, 63, 126, 127, 128, 4095] {
            let bytes = filledBytes(0x79, count: length)
            let header: [UInt8] =
                length < 64 ? [0x80 | UInt8(length)] : [0xE0 | UInt8(length >> 8), UInt8(length & 255)]
            entries.append((header + bytes, .element(bytes)))
        }
        for length in [16_376, 16_377, 16_378, 16_379, 2_097_144, 2_097_146, 2_097_147] {
            let bytes = filledBytes(0x7A, count: length)
            let header = [0xF0] + (0..<4).map { UInt8(length >> (8 * $0) & 255) }
            entries.append((header + bytes, .element(bytes)))
        }
        let listpack = makeListpack(entries.map(\.0))
        // A list of Redis 7: one node, packed.
        let length = (0..<4).reversed().map { UInt8(listpack.count >> (8 * $0) & 255) }
        let payload = withFooter([0x12, 0x01, 0x02, 0x80] + length + listpack, version: 10)
        let decoded = try decode(payload).items
        #expect(decoded.count == entries.count)
        for (item, expected) in zip(decoded, entries) where item != expected.1 {
            Issue.record("\(item) instead of \(expected.1)")
        }
    }

    @Test("lists of several nodes: ziplists of Redis 3.2, listpacks and plain strings of Redis 7")
    func nodes() throws {
        let ziplist = "0f 0f0000000a000000 0200 00f2 02f3 ff"
        let empty = "0b 0b0000000a0000000000ff"
        let quicklist = withFooter(hex("0e 04" + ziplist + empty + ziplist + empty), version: 7)
        #expect(throws: RDBError.self) { try decode(quicklist) }
        let fixed = "0f 0f0000000c000000 0200 00f2 02f3 ff"
        let sound = withFooter(hex("0e 04" + fixed + empty + fixed + empty), version: 7)
        #expect(try decode(sound).items == elements("1", "2", "1", "2"))
        let listpack = "0b 0b0000000200 0101 0201 ff"
        let second = withFooter(hex("12 03 02" + listpack + "01 05 68656c6c6f 02" + listpack), version: 10)
        #expect(try decode(second).items == elements("1", "2", "hello", "1", "2"))
        #expect(throws: RDBError.self) { try decode(withFooter(hex("12 01 03" + listpack), version: 10)) }
    }

    @Test("a zipmap gives its fields, whether it knows their number, with long ones and with unused bytes")
    func zipmap() throws {
        let small = withFooter(hex("09 0e 02 01 66 02 01 7631 aa 01 67 01 00 77 ff"))
        #expect(try decode(small).items == fields(("f", "v1"), ("g", "w")))
        let uncounted = withFooter(hex("09 0e fe 01 66 02 01 7631 aa 01 67 01 00 77 ff"))
        #expect(try decode(uncounted).items == fields(("f", "v1"), ("g", "w")))
        let long = filledBytes(0x6C, count: 300)
        let map = hex("01 fe 2c010000") + long + hex("fe 2c010000 00") + long + [0xFF]
        let payload = withFooter([0x09, 0x42, 0x65] + map)
        #expect(map.count == 0x265)
        #expect(try decode(payload).items == [.field(long, long)])
        let miscounted = withFooter(hex("09 0e 03 01 66 02 01 7631 aa 01 67 01 00 77 ff"))
        #expect(throws: RDBError.self) { try decode(miscounted) }
    }

    @Test(
        "packed strings whose parts contradict each other are refused",
        arguments: [
            // Ziplists: total, tail, count, link, encoding, end, half a pair, a score that is none.
            "0a 0d 0e0000000a000000 0100 00f2 ff", "0a 0d 0d0000000b000000 0100 00f2 ff",
            "0a 0d 0d0000000a000000 0200 00f2 ff", "0a 0d 0d0000000a000000 0100 01f2 ff",
            "0a 0d 0d0000000a000000 0100 00c1 ff", "0a 0d 0d0000000a000000 0100 00f2 00",
            "0a 0d 0d0000000a000000 0100 ff00 ff", "0a 0d 0d0000000a000000 0100 0005 ff",
            "0d 0d 0d0000000a000000 0100 00f2 ff", "0c 0f 0f0000000c000000 0200 00f2 020161 ff",
            "0a 05 0500000000", "0a 00",
            // Intsets: width, count, order, bytes left over.
            "0b 0a 03000000 01000000 0100", "0b 0a 02000000 02000000 0100", "0b 0c 02000000 02000000 01000100",
            "0b 0c 02000000 01000000 01000200", "0b 04 02000000", "0b 08 04000000 ffffffff",
            // Listpacks: total, count, back-length, encoding, end.
            "14 09 0a0000000100 0101 ff", "14 09 090000000200 0101 ff", "14 09 090000000100 0102 ff",
            "14 09 090000000100 f501 ff", "14 09 090000000100 0101 00", "14 09 090000000100 8501 ff",
            // Zipmaps.
            "09 02 01ff", "09 05 01 01 66 05 ff", "09 04 ffffff00",
        ]
    )
    func contradictions(value: String) {
        #expect(throws: RDBError.self) { try decode(withFooter(hex(value), version: 11)) }
    }

    private func makeListpack(_ entries: [[UInt8]]) -> [UInt8] {
        var bytes: [UInt8] = []
        for entry in entries {
            bytes += entry
            let length = entry.count
            let size = length <= 127 ? 1 : length < 16_383 ? 2 : length < 2_097_151 ? 3 : 4
            for index in 0..<size {
                let digit = UInt8(length >> (7 * (size - 1 - index)) & 0x7F)
                bytes.append(index == 0 ? digit : digit | 0x80)
            }
        }
        let total = bytes.count + 7
        let header = (0..<4).map { UInt8(total >> (8 * $0) & 255) }
        return header + [UInt8(entries.count & 255), UInt8(entries.count >> 8)] + bytes + [0xFF]
    }
}
