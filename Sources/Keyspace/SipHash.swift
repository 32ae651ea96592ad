// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes

/// SipHash-1-3, keyed: the order of rows that share a checksum cannot be guessed from outside.
///
/// Source: Aumasson and Bernstein, "SipHash: a fast short-input PRF", with one compression and three final rounds, as
/// Rust's and Python's hash tables use it.
struct SipHash: Equatable {
    /// The two halves of the key.
    let key: (UInt64, UInt64)

    static func == (left: SipHash, right: SipHash) -> Bool { left.key == right.key }

    /// The hash of `bytes`; O(count).
    @inline(__always)
    func hash(_ bytes: ByteView) -> UInt64 {
        var v0 = key.0 ^ 0x736f_6d65_7073_6575
        var v1 = key.1 ^ 0x646f_7261_6e64_6f6d
        var v2 = key.0 ^ 0x6c79_6765_6e65_7261
        var v3 = key.1 ^ 0x7465_6462_7974_6573

        @inline(__always)
        func round() {
            v0 &+= v1
            v2 &+= v3
            v1 = (v1 << 13 | v1 >> 51) ^ v0
            v3 = (v3 << 16 | v3 >> 48) ^ v2
            v0 = v0 << 32 | v0 >> 32
            v2 &+= v1
            v0 &+= v3
            v1 = (v1 << 17 | v1 >> 47) ^ v2
            v3 = (v3 << 21 | v3 >> 43) ^ v0
            v2 = v2 << 32 | v2 >> 32
        }

        let buffer = unsafe bytes.rawBuffer
        let count = buffer.count
        var offset = 0
        while offset &+ 8 <= count {
            // Within the buffer by the loop's condition.
            let word = unsafe UInt64(littleEndian: buffer.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
            v3 ^= word
            round()
            v0 ^= word
            offset &+= 8
        }
        var last = UInt64(truncatingIfNeeded: count) << 56
        var shift: UInt64 = 0
        while offset < count {
            last |= UInt64(unsafe buffer[offset]) << shift
            shift &+= 8
            offset &+= 1
        }
        v3 ^= last
        round()
        v0 ^= last
        v2 ^= 0xff
        round()
        round()
        round()
        return v0 ^ v1 ^ v2 ^ v3
    }

    /// The same function under another key that follows from this one, for the second half of a 128-bit hash.
    var second: SipHash {
        SipHash(key: (key.0 ^ 0xa5a5_5a5a_c3c3_3c3c, key.1 ^ 0x0f0f_f0f0_9696_6969))
    }
}
