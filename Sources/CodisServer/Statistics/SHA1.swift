// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes

/// SHA-1, for DEBUG DIGEST and the names of scripts.
struct SHA1 {
    /// The 20 bytes of a digest.
    typealias Digest = [UInt8]

    private var state: (UInt32, UInt32, UInt32, UInt32, UInt32) = (
        0x6745_2301, 0xEFCD_AB89, 0x98BA_DCFE, 0x1032_5476, 0xC3D2_E1F0
    )

    private init() {}

    /// The digest of `bytes`.
    static func digest(of bytes: ByteView) -> Digest {
        var hash = SHA1()
        var offset = 0
        while bytes.count - offset >= 64 {
            hash.add(bytes, at: offset)
            offset += 64
        }
        // The rest, a one bit, zeros, and the number of bits.
        var last = Array(bytes.dropFirst(offset))
        last.append(0x80)
        while last.count % 64 != 56 { last.append(0) }
        let bitCount = UInt64(bytes.count) * 8
        for shift in stride(from: 56, through: 0, by: -8) {
            last.append(UInt8(truncatingIfNeeded: bitCount >> UInt64(shift)))
        }
        ByteView.with(last) { rest in
            for start in stride(from: 0, to: rest.count, by: 64) { hash.add(rest, at: start) }
        }
        let words = [hash.state.0, hash.state.1, hash.state.2, hash.state.3, hash.state.4]
        return words.flatMap { word in [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: word >> UInt32($0)) } }
    }

    /// The digest of `bytes`.
    static func digest(of bytes: some Collection<UInt8>) -> Digest {
        ByteView.with(Array(bytes)) { digest(of: $0) }
    }

    /// The 40 digits of the digest of `bytes`.
    static func digits(of bytes: ByteView) -> [UInt8] {
        let digits = Array("0123456789abcdef".utf8)
        return digest(of: bytes).flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }
    }

    /// Adds the 64 bytes at `offset`.
    private mutating func add(_ bytes: ByteView, at offset: Int) {
        let block = bytes[offset..<offset + 64]
        // The schedule is computed as it is used: word `index` replaces the one that is sixteen before it.
        var words = InlineArray<16, UInt32>(repeating: 0)
        for index in 0..<16 {
            words[index] = block.bigEndianWord(at: index * 4)
        }
        var (a, b, c, d, e) = state
        for index in 0..<80 {
            let place = index & 15
            if index >= 16 {
                let mixed =
                    words[(index + 13) & 15] ^ words[(index + 8) & 15] ^ words[(index + 2) & 15] ^ words[place]
                words[place] = SHA1.rotated(mixed, 1)
            }
            let mixed: UInt32
            let constant: UInt32
            switch index {
            case 0..<20: (mixed, constant) = ((b & c) | (~b & d), 0x5A82_7999)
            case 20..<40: (mixed, constant) = (b ^ c ^ d, 0x6ED9_EBA1)
            case 40..<60: (mixed, constant) = ((b & c) | (b & d) | (c & d), 0x8F1B_BCDC)
            default: (mixed, constant) = (b ^ c ^ d, 0xCA62_C1D6)
            }
            let next = SHA1.rotated(a, 5) &+ mixed &+ e &+ constant &+ words[place]
            (e, d, c, b, a) = (d, c, SHA1.rotated(b, 30), a, next)
        }
        state = (state.0 &+ a, state.1 &+ b, state.2 &+ c, state.3 &+ d, state.4 &+ e)
    }

    private static func rotated(_ word: UInt32, _ bits: UInt32) -> UInt32 { word << bits | word >> (32 - bits) }
}

extension ByteView {
    /// The four bytes at `offset`, the highest first.
    fileprivate func bigEndianWord(at offset: Int) -> UInt32 {
        UInt32(self[offset]) << 24 | UInt32(self[offset + 1]) << 16 | UInt32(self[offset + 2]) << 8
            | UInt32(self[offset + 3])
    }
}
