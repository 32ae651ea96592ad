// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import Bytes
import SlotHash
import Testing

/// A key with what Codis computes for it.
struct Vector: Sendable, CustomTestStringConvertible {
    let name: String
    let key: [UInt8]
    let checksum: UInt32
    let slot: UInt16
    let isTagged: Bool

    init(_ key: String, _ checksum: UInt32, _ slot: UInt16, tagged: Bool = false) {
        self.init(named: key, Array(key.utf8), checksum, slot, tagged: tagged)
    }

    init(named name: String, _ key: [UInt8], _ checksum: UInt32, _ slot: UInt16, tagged: Bool = false) {
        self.name = name
        self.key = key
        self.checksum = checksum
        self.slot = slot
        isTagged = tagged
    }

    var testDescription: String { name }
}

let vectors = [
    Vector("", 0x0000_0000, 0),
    Vector("a", 0xe8b7_be43, 579),
    Vector("b", 0x71be_eff9, 1017),
    Vector("c", 0x06b9_df6f, 879),
    Vector("0", 0xf4db_df21, 801),
    Vector("1", 0x83dc_efb7, 951),
    Vector("foo", 0x8c73_6521, 289),
    Vector("bar", 0x76ff_8caa, 170),
    Vector("key", 0x8a90_aba9, 937),
    Vector("mykey", 0xc466_d94c, 332),
    Vector("hello", 0x3610_a686, 646),
    Vector("test", 0xd87f_7e0c, 524),
    Vector("123456789", 0xcbf4_3926, 294),
    Vector("key:000000000001", 0x2f2b_8c05, 5),
    Vector("user:1000", 0x9f74_17e3, 995),
    Vector("{user:1000}.name", 0x9f74_17e3, 995, tagged: true),
    Vector("user:1000.name", 0xc02f_4312, 786),
    Vector("tag", 0x0389_b783, 899),
    Vector("{tag}", 0x0389_b783, 899, tagged: true),
    Vector("a{tag}", 0x0389_b783, 899, tagged: true),
    Vector("b{tag}", 0x0389_b783, 899, tagged: true),
    Vector("{a}x", 0xe8b7_be43, 579, tagged: true),
    Vector("x{a}y", 0xe8b7_be43, 579, tagged: true),
    Vector("}{a}", 0xe8b7_be43, 579, tagged: true),
    Vector("{a}{b}", 0xe8b7_be43, 579, tagged: true),
    Vector("{a", 0xb7a7_e30c, 780),
    Vector("{{a}}", 0xb7a7_e30c, 780, tagged: true),
    Vector("a}", 0x138b_4598, 408),
    Vector("foo{}{bar}", 0x0000_0000, 0, tagged: true),
    Vector("{}", 0x0000_0000, 0, tagged: true),
    Vector("中文", 0x5a09_ed37, 311),
    Vector(named: "hex 00", [0x00], 0xd202_ef8d, 909),
    Vector(named: "hex ff fe", [0xff, 0xfe], 0x88f8_3096, 150),
    // Among them `{|}`: the tag is the one byte between the braces.
    Vector(named: "bytes 00..ff in order", Array(0...255), 0x8bb1_d29a, 666, tagged: true),
    Vector(named: "a × 1000", Array(repeating: 0x61, count: 1000), 0x9a38_da03, 515),
]

@Suite("Keys and slots")
struct SlotHashTests {
    @Test("a key has the checksum, tag and slot that Codis gives it", arguments: vectors)
    func vector(_ vector: Vector) {
        ByteView.with(vector.key) { key in
            let hash = KeyHash(of: key)
            #expect(hash.checksum == vector.checksum)
            #expect(hash.isTagged == vector.isTagged)
            #expect(hash.slot.number == vector.slot)
            #expect(Slot(forKey: key) == hash.slot)
        }
    }

    @Test("the checksum is that of the bit-by-bit definition for every length and alignment")
    func definition() {
        let bytes = (0..<80).map { UInt8(truncatingIfNeeded: $0 &* 167 &+ 13) }
        ByteView.with(bytes) { all in
            for start in 0..<9 {
                for end in start...80 {
                    var state = UInt32.max
                    for byte in bytes[start..<end] {
                        state ^= UInt32(byte)
                        for _ in 0..<8 { state = state & 1 == 1 ? state >> 1 ^ 0xEDB8_8320 : state >> 1 }
                    }
                    #expect(CRC32.checksum(all[start..<end]) == ~state)
                }
            }
        }
    }

    @Test("a slot has a number below 1,024")
    func numbers() {
        #expect(Slot.count == 1024)
        #expect(Slot(0)?.number == 0)
        #expect(Slot(1023)?.number == 1023)
        #expect(Slot(1024) == nil)
        #expect(Slot(-1) == nil)
        #expect(Slot(Int64.max) == nil)
    }
}
