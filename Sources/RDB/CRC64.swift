// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes

/// CRC-64: the checksum at the end of RDB files and DUMP payloads.
///
/// Polynomial `0xAD93D23594C935A9` reflected, initial value 0, no final exclusive-or; the check value for `123456789`
/// is `0xE9C6D914C4B8D9CA`. Eight bytes a step, with eight tables. Redis 2.8: crc64.c.
struct CRC64 {
    /// The checksum of what was added so far.
    private(set) var value: UInt64 = 0

    /// The checksum of `bytes`.
    static func checksum(of bytes: ByteView) -> UInt64 {
        var state = CRC64()
        state.add(bytes)
        return state.value
    }

    /// Adds bytes; O(count).
    mutating func add(_ bytes: ByteView) {
        let tables = unsafe Self.tables
        let count = bytes.count
        var state = value
        var index = 0
        // Each table has 256 entries and is indexed by one byte; both loops stay below `count`.
        while index + 8 <= count {
            state ^= bytes.littleEndian(UInt64.self, at: index)
            unsafe state =
                tables[7 << 8 | Int(state & 0xFF)]
                ^ tables[6 << 8 | Int(state >> 8 & 0xFF)]
                ^ tables[5 << 8 | Int(state >> 16 & 0xFF)]
                ^ tables[4 << 8 | Int(state >> 24 & 0xFF)]
                ^ tables[3 << 8 | Int(state >> 32 & 0xFF)]
                ^ tables[2 << 8 | Int(state >> 40 & 0xFF)]
                ^ tables[1 << 8 | Int(state >> 48 & 0xFF)]
                ^ tables[Int(state >> 56)]
            index += 8
        }
        while index < count {
            unsafe state = tables[Int((state ^ UInt64(bytes[index])) & 0xFF)] ^ (state >> 8)
            index += 1
        }
        value = state
    }

    /// Eight tables of 256: entry `n` of table `k` is the effect of byte `n` followed by `k` zero bytes.
    ///
    /// Written once, here, and only read afterwards, by any thread.
    nonisolated(unsafe) private static let tables: UnsafePointer<UInt64> = {
        let tables = UnsafeMutablePointer<UInt64>.allocate(capacity: 8 * 256)
        for byte in 0..<256 {
            var state = UInt64(byte)
            for _ in 0..<8 {
                state = state & 1 == 1 ? state >> 1 ^ 0x95AC_9329_AC4B_C9B5 : state >> 1
            }
            unsafe tables[byte] = state
        }
        for entry in 256..<8 * 256 {
            let shorter = unsafe tables[entry - 256]
            unsafe tables[entry] = tables[Int(shorter & 0xFF)] ^ (shorter >> 8)
        }
        return unsafe UnsafePointer(tables)
    }()
}
