// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import Glibc

/// Integers and scores as the text that Redis keeps of them.
enum Decimal {
    /// The integer whose one canonical spelling `bytes` is: no `+`, no leading zeros, no `-0`, no blanks.
    ///
    /// Redis 2.8: util.c, string2ll.
    static func canonicalInteger(_ bytes: ByteView) -> Int64? {
        guard bytes.count > 0, bytes.count <= 20 else { return nil }
        let isNegative = bytes[0] == UInt8(ascii: "-")
        var index = isNegative ? 1 : 0
        guard index < bytes.count else { return nil }
        if bytes[index] == UInt8(ascii: "0") { return bytes.count == 1 ? 0 : nil }
        var value: Int64 = 0
        while index < bytes.count {
            let digit = Int64(bytes[index]) - 0x30
            guard digit >= 0, digit <= 9 else { return nil }
            // Counting downwards, because the least integer has no positive counterpart.
            let (product, tooLarge) = value.multipliedReportingOverflow(by: 10)
            let (sum, carried) = product.subtractingReportingOverflow(digit)
            guard !tooLarge, !carried else { return nil }
            value = sum
            index += 1
        }
        if isNegative { return value }
        return value == .min ? nil : -value
    }

    /// Appends the digits of `value`.
    static func append(_ value: Int64, to store: ByteStore) {
        var magnitude = value.magnitude
        var reversed: UInt64 = 0
        var digits = 0
        if value < 0 { store.append(UInt8(ascii: "-")) }
        // Up to 16 digits are gathered, four bits each; what is more goes ahead of them.
        if magnitude >= 10_000_000_000_000_000 {
            append(Int64(magnitude / 10_000_000_000_000_000), to: store)
            magnitude %= 10_000_000_000_000_000
            while digits < 16 {
                reversed = reversed << 4 | magnitude % 10
                magnitude /= 10
                digits += 1
            }
        } else {
            repeat {
                reversed = reversed << 4 | magnitude % 10
                magnitude /= 10
                digits += 1
            } while magnitude > 0
        }
        for _ in 0..<digits {
            store.append(0x30 + UInt8(reversed & 15))
            reversed >>= 4
        }
    }

    /// Appends a score as ziplists have it: whole numbers within ±2^52 as integers, else 17 significant digits.
    ///
    /// Redis 2.8: util.c, d2string.
    static func append(score: Double, to store: ByteStore) {
        if score.isNaN { return store.append(ByteView("nan")) }
        if score.isInfinite { return store.append(ByteView(score > 0 ? "inf" : "-inf")) }
        if score == 0, score.sign == .minus { return store.append(ByteView("-0")) }
        appendFinite(score, to: store)
    }

    /// Appends a finite score, zero without its sign.
    ///
    /// Redis 2.8: rdb.c, rdbSaveDoubleValue.
    static func appendFinite(_ score: Double, to store: ByteStore) {
        if score > -4_503_599_627_370_495, score < 4_503_599_627_370_496, score == score.rounded(.towardZero) {
            return append(Int64(score), to: store)
        }
        // `%.17g` by its short name; 24 characters and the zero byte are the most it gives, within the room offered.
        unsafe store.appendUpTo(32) { target in
            let text = unsafe target.assumingMemoryBound(to: CChar.self)
            unsafe gcvt(score, 17, text)
            return unsafe strlen(text)
        }
    }

    /// The score that `bytes` spell; nil if they spell none, or what is not a number.
    ///
    /// Accepts what Redis ever wrote: decimal digits with or without exponent, and infinities.
    static func score(_ bytes: ByteView) -> Double? {
        guard bytes.count > 0, bytes.count <= 255 else { return nil }
        if let integer = canonicalInteger(bytes) { return Double(integer) }
        for byte in bytes {
            switch byte {
            case 0x30...0x39, UInt8(ascii: "."), UInt8(ascii: "-"), UInt8(ascii: "+"): continue
            case UInt8(ascii: "e"), UInt8(ascii: "E"): continue
            default:
                if bytes.equalsIgnoringCase("inf") || bytes.equalsIgnoringCase("+inf") { return .infinity }
                return bytes.equalsIgnoringCase("-inf") ? -.infinity : nil
            }
        }
        return Double(String(bytes))
    }
}

/// Scores as Redis prints them.
public enum ScoreText {
    /// `score` as `%.17g` prints it, or `inf` or `-inf`.
    public static func bytes(of score: Double) -> [UInt8] {
        let store = ByteStore()
        Decimal.append(score: score, to: store)
        return Array(store.view)
    }
}
