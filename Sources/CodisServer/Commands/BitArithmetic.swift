// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes

/// Counting, finding and combining bits a word at a time.
///
/// Bit 0 of a string is the highest bit of its first byte.
enum BitArithmetic {
    /// The word of 8 bytes at `offset`, the first byte the highest.
    @inline(__always)
    private static func word(_ bytes: ByteView, at offset: Int) -> UInt64 {
        // The callers' loops stay 8 bytes below the end.
        unsafe UInt64(bigEndian: bytes.rawBuffer.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
    }

    /// The number of bits of `bytes` that are 1; O(count).
    static func countOnes(_ bytes: ByteView) -> Int {
        var ones = 0
        var offset = 0
        while offset + 8 <= bytes.count {
            ones += word(bytes, at: offset).nonzeroBitCount
            offset += 8
        }
        while offset < bytes.count {
            ones += bytes[offset].nonzeroBitCount
            offset += 1
        }
        return ones
    }

    /// The place of the first bit of `bytes` that is `bit`, or nil if all are the other one; O(count).
    static func firstIndex(of bit: Bool, in bytes: ByteView) -> Int? {
        // Turned over, the search for a 0 is one for a 1.
        let flip: UInt64 = bit ? 0 : .max
        var offset = 0
        while offset + 8 <= bytes.count {
            let word = word(bytes, at: offset) ^ flip
            if word != 0 { return offset * 8 + word.leadingZeroBitCount }
            offset += 8
        }
        while offset < bytes.count {
            let byte = bytes[offset] ^ UInt8(truncatingIfNeeded: flip)
            if byte != 0 { return offset * 8 + byte.leadingZeroBitCount }
            offset += 1
        }
        return nil
    }

    /// What BITOP does with its sources.
    enum Operation {
        case and
        case or
        case exclusiveOr
        case not

        @inline(__always)
        func combine<Word: FixedWidthInteger>(_ target: Word, _ source: Word) -> Word {
            switch self {
            case .and: target & source
            case .or: target | source
            case .exclusiveOr: target ^ source
            case .not: ~source
            }
        }
    }

    /// Combines `source` into the bytes of `target` at `offset`, which must have room for it; O(count).
    static func combine(_ operation: Operation, _ source: ByteView, into target: inout [UInt8], at offset: Int) {
        precondition(offset >= 0 && offset + source.count <= target.count, "a source is longer than the result")
        unsafe target.withUnsafeMutableBytes { target in
            var index = 0
            while index + 8 <= source.count {
                let word = unsafe operation.combine(
                    target.loadUnaligned(fromByteOffset: offset + index, as: UInt64.self),
                    source.rawBuffer.loadUnaligned(fromByteOffset: index, as: UInt64.self)
                )
                unsafe target.storeBytes(of: word, toByteOffset: offset + index, as: UInt64.self)
                index += 8
            }
            while index < source.count {
                unsafe target[offset + index] = operation.combine(target[offset + index], source[index])
                index += 1
            }
        }
    }

    /// Combines `target` from `offset` on with a source that ended there, whose rest reads as zeros; O(count).
    static func combineZeros(_ operation: Operation, into target: inout [UInt8], from offset: Int) {
        // With OR and XOR zeros change nothing; the one source of NOT is as long as the result.
        guard operation == .and, offset < target.count else { return }
        target.replaceSubrange(offset..., with: repeatElement(0, count: target.count - offset))
    }
}
