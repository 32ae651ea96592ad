// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CCRC32C

/// CRC-32C (Castagnoli): the checksum of the log's frames and headers.
///
/// Reflected polynomial `0x82F63B78`, initial value and final exclusive-or `0xFFFFFFFF`; the check value for
/// `123456789` is `0xE3069283`. Computed by the processor's own instruction where there is one (about 8 GB/s), else
/// with a table, a byte at a time.
struct CRC32C {
    private var state: UInt32 = .max

    /// The checksum of what was added so far.
    var value: UInt32 { ~state }

    /// Adds bytes; O(count).
    mutating func add(_ bytes: UnsafeRawBufferPointer) {
        guard let start = bytes.baseAddress else { return }
        // The instruction is used only after asking the processor for it; both ways stay within `bytes`.
        state =
            unsafe codis_crc32c_is_available() != 0
            ? codis_crc32c_update(state, start, bytes.count) : Self.addWithTable(bytes, to: state)
    }

    /// Adds the bytes of an integer, least significant first.
    mutating func add(_ number: some FixedWidthInteger) {
        unsafe withUnsafeBytes(of: number.littleEndian) { unsafe add($0) }
    }

    /// What `add` computes where the processor does not help.
    static func addWithTable(_ bytes: UnsafeRawBufferPointer, to state: UInt32) -> UInt32 {
        var state = state
        for index in 0..<bytes.count {
            state = unsafe table[Int((state ^ UInt32(bytes[index])) & 0xFF)] ^ (state >> 8)
        }
        return state
    }

    private static let table: [UInt32] = (0..<256).map { byte in
        var state = UInt32(byte)
        for _ in 0..<8 {
            state = state & 1 == 1 ? state >> 1 ^ 0x82F6_3B78 : state >> 1
        }
        return state
    }
}
