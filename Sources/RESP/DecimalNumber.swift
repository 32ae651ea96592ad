// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

public import Bytes

/// Signed 64-bit integers as decimal digits.
public enum DecimalNumber {
    /// The most bytes that an integer takes: those of `-9223372036854775808`.
    public static let maximumLength = 20

    /// Reads `bytes` as a canonical integer: the one spelling that ``digits(of:)`` gives back.
    ///
    /// No `+`, no leading zeros, no `-0`, no blanks, nothing beyond 64 bits. This is what the protocol asks of its
    /// lengths, and what decides whether a value is stored as an integer. Redis 2.8: util.c, string2ll.
    @inlinable
    public static func canonical(_ bytes: ByteView) -> Int64? {
        let count = bytes.count
        guard count > 0, count <= maximumLength else { return nil }
        var index = 0
        let isNegative = bytes[0] == 0x2D
        if isNegative {
            index = 1
            guard count > 1 else { return nil }
        }
        let first = bytes[index] &- 0x30
        guard first <= 9 else { return nil }
        if first == 0 { return count == 1 ? 0 : nil }
        var magnitude = UInt64(first)
        index += 1
        while index < count {
            let digit = bytes[index] &- 0x30
            guard digit <= 9 else { return nil }
            let (product, tooLarge) = magnitude.multipliedReportingOverflow(by: 10)
            let (sum, carried) = product.addingReportingOverflow(UInt64(digit))
            guard !tooLarge, !carried else { return nil }
            magnitude = sum
            index += 1
        }
        return signed(magnitude, isNegative: isNegative)
    }

    /// Reads `bytes` as commands read their integer arguments and stored integers.
    ///
    /// A sign and leading zeros are accepted, blanks are not, and nothing may follow; what does not fit in 64 bits is
    /// no integer. Two oddities of 2.8 are kept, because scripts came to lean on them: no bytes at all are 0, and
    /// a zero byte ends the number as the end of the bytes does. Redis 2.8: object.c, getLongLongFromObject.
    @inlinable
    public static func lenient(_ bytes: ByteView) -> Int64? {
        if let value = canonical(bytes) { return value }
        var index = 0
        var isNegative = false
        guard index < bytes.count, bytes[index] != 0 else { return 0 }
        if bytes[index] == 0x2D || bytes[index] == 0x2B {
            isNegative = bytes[index] == 0x2D
            index += 1
        }
        let firstDigit = index
        var magnitude: UInt64 = 0
        while index < bytes.count, bytes[index] != 0 {
            let digit = bytes[index] &- 0x30
            guard digit <= 9 else { return nil }
            let (product, tooLarge) = magnitude.multipliedReportingOverflow(by: 10)
            let (sum, carried) = product.addingReportingOverflow(UInt64(digit))
            guard !tooLarge, !carried else { return nil }
            magnitude = sum
            index += 1
        }
        guard index > firstDigit else { return nil }
        return signed(magnitude, isNegative: isNegative)
    }

    /// The canonical digits of `value`.
    @inlinable
    public static func digits(of value: Int64) -> [UInt8] {
        unsafe [UInt8](unsafeUninitializedCapacity: maximumLength) { buffer, count in
            count = unsafe write(value, to: UnsafeMutableRawPointer(buffer.baseAddress.unsafelyUnwrapped))
        }
    }

    /// Writes the canonical digits of `value` to `target`, which must have room for ``maximumLength`` bytes; gives
    /// the number of bytes written.
    @inlinable
    @unsafe public static func write(_ value: Int64, to target: UnsafeMutableRawPointer) -> Int {
        // Lengths and counters are mostly one digit.
        if value >= 0, value < 10 {
            unsafe target.storeBytes(of: 0x30 + UInt8(truncatingIfNeeded: value), as: UInt8.self)
            return 1
        }
        var magnitude = value.magnitude
        var position = digitCount(magnitude) + (value < 0 ? 1 : 0)
        let length = position
        while magnitude >= 100 {
            let (quotient, pair) = magnitude.quotientAndRemainder(dividingBy: 100)
            position -= 2
            unsafe target.storeBytes(of: digitPair(pair), toByteOffset: position, as: UInt16.self)
            magnitude = quotient
        }
        if magnitude >= 10 {
            position -= 2
            unsafe target.storeBytes(of: digitPair(magnitude), toByteOffset: position, as: UInt16.self)
        } else {
            position -= 1
            unsafe target.storeBytes(
                of: 0x30 + UInt8(truncatingIfNeeded: magnitude),
                toByteOffset: position,
                as: UInt8.self
            )
        }
        if value < 0 { unsafe target.storeBytes(of: 0x2D, as: UInt8.self) }
        return length
    }

    @usableFromInline
    static func signed(_ magnitude: UInt64, isNegative: Bool) -> Int64? {
        if isNegative {
            return magnitude <= UInt64(Int64.max) + 1 ? Int64(truncatingIfNeeded: 0 &- magnitude) : nil
        }
        return Int64(exactly: magnitude)
    }

    /// The number of decimal digits of `value`, at least 1.
    @usableFromInline
    static func digitCount(_ value: UInt64) -> Int {
        var count = 1
        var rest = value
        while rest >= 10_000 {
            rest /= 10_000
            count += 4
        }
        if rest >= 1_000 { return count + 3 }
        if rest >= 100 { return count + 2 }
        return rest >= 10 ? count + 1 : count
    }

    /// The two digits of a number below 100, the first one at the lower address.
    @usableFromInline @inline(__always)
    static func digitPair(_ value: UInt64) -> UInt16 {
        let tens = (value &* 103) >> 10
        let ones = value &- tens &* 10
        return UInt16(littleEndian: UInt16(truncatingIfNeeded: 0x3030 + tens + (ones << 8)))
    }
}
