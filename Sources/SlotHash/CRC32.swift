// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

public import Bytes

/// CRC-32 as zlib and IEEE 802.3 have it: the checksum that Codis takes of a key.
///
/// Reflected polynomial `0xEDB88320`, initial value and final exclusive-or `0xFFFFFFFF`; the check value for
/// `123456789` is `0xCBF43926`. Eight bytes a step, each looked up in a table of its own ("slicing by eight").
public enum CRC32 {
    /// Eight tables of 256 entries; entry `[t][b]` is the checksum of the byte `b` followed by `t` zero bytes.
    ///
    /// Plain memory that is never freed rather than an array, so that a look-up needs neither a bounds check (the
    /// index is made of a byte and a table number below eight) nor a reference count.
    private static let tables = makeTables()

    /// The memory of `tables`; immutable once made, so any thread may read it.
    @safe private struct Tables: @unchecked Sendable {
        let entries: UnsafePointer<UInt32>
    }

    /// The checksum of `bytes`; O(count).
    public static func checksum(_ bytes: ByteView) -> UInt32 {
        guard !bytes.isEmpty else { return 0 }
        let table = unsafe tables.entries
        var next = unsafe bytes.rawBuffer.baseAddress.unsafelyUnwrapped
        var remaining = bytes.count
        var state = UInt32.max
        // Every index below is a byte plus a multiple of 256 under 2,048, and `remaining` bounds every load.
        while remaining >= 8 {
            let word = unsafe UInt64(littleEndian: next.loadUnaligned(as: UInt64.self)) ^ UInt64(state)
            let low =
                unsafe table[0x700 + Int(word & 0xFF)] ^ table[0x600 + Int(word >> 8 & 0xFF)]
                ^ table[0x500 + Int(word >> 16 & 0xFF)] ^ table[0x400 + Int(word >> 24 & 0xFF)]
            let high =
                unsafe table[0x300 + Int(word >> 32 & 0xFF)] ^ table[0x200 + Int(word >> 40 & 0xFF)]
                ^ table[0x100 + Int(word >> 48 & 0xFF)] ^ table[Int(word >> 56)]
            state = low ^ high
            unsafe next += 8
            remaining -= 8
        }
        if remaining >= 4 {
            let word = unsafe UInt32(littleEndian: next.loadUnaligned(as: UInt32.self)) ^ state
            state =
                unsafe table[0x300 + Int(word & 0xFF)] ^ table[0x200 + Int(word >> 8 & 0xFF)]
                ^ table[0x100 + Int(word >> 16 & 0xFF)] ^ table[Int(word >> 24)]
            unsafe next += 4
            remaining -= 4
        }
        while remaining > 0 {
            state = unsafe table[Int((state ^ UInt32(next.load(as: UInt8.self))) & 0xFF)] ^ (state >> 8)
            unsafe next += 1
            remaining -= 1
        }
        return ~state
    }

    private static func makeTables() -> Tables {
        let table = UnsafeMutablePointer<UInt32>.allocate(capacity: 8 * 256)
        for byte in 0..<256 {
            var state = UInt32(byte)
            for _ in 0..<8 {
                state = state & 1 == 1 ? state >> 1 ^ 0xEDB8_8320 : state >> 1
            }
            unsafe table[byte] = state
        }
        for index in 256..<8 * 256 {
            let shorter = unsafe table[index - 256]
            unsafe table[index] = unsafe table[Int(shorter & 0xFF)] ^ (shorter >> 8)
        }
        return unsafe Tables(entries: UnsafePointer(table))
    }
}
