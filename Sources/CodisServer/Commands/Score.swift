// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import Glibc
internal import NIOCore
internal import RESP

/// Scores of sorted sets as text.
enum Score {
    /// What is longer than any number anybody writes is none.
    private static let longestText = 1024

    /// Powers of ten that a double holds exactly.
    private static let powersOfTen: [Double] = [
        1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
    ]

    /// Reads a score as `strtod` does; nil for what is no number.
    ///
    /// Hexadecimal, `inf` and exponents are numbers; `nan`, what is too large or too small, and what begins with a
    /// blank are not. A zero byte ends the number, and no bytes at all are 0 (Redis 2.8: object.c,
    /// getDoubleFromObject).
    @inline(__always)
    static func parse(_ text: ByteView) -> Double? { plain(text) ?? scan(text, isStrict: true) }

    /// Reads the end of a range of scores without its parenthesis: as a score, but leading blanks do not count, and
    /// what is too large is infinite (Redis 2.8: t_zset.c, zslParseRange).
    static func parseBound(_ text: ByteView) -> Double? { plain(text) ?? scan(text, isStrict: false) }

    /// Reads up to 15 decimal digits, with a point among them or not; nil for all else.
    ///
    /// Both the digits and the power of ten are exact then, so that one division rounds as `strtod` does.
    @inline(__always)
    private static func plain(_ text: ByteView) -> Double? {
        var index = 0
        let isNegative = text.count > 0 && text[0] == UInt8(ascii: "-")
        if isNegative { index = 1 }
        guard text.count > index, text.count - index <= 16 else { return nil }
        var digits: Int64 = 0
        var count = 0
        var point = -1
        while index < text.count {
            let byte = text[index]
            if byte == UInt8(ascii: "."), point < 0 {
                point = count
            } else {
                let digit = byte &- UInt8(ascii: "0")
                guard digit <= 9 else { return nil }
                digits = digits &* 10 &+ Int64(digit)
                count += 1
            }
            index += 1
        }
        guard count > 0, count <= 15 else { return nil }
        var value = Double(digits)
        if point >= 0, count > point { value /= powersOfTen[count - point] }
        return isNegative ? -value : value
    }

    private static func scan(_ text: ByteView, isStrict: Bool) -> Double? {
        guard text.count < longestText else { return nil }
        if isStrict, text.count > 0, text[0] == 0x20 || (0x09...0x0D).contains(text[0]) { return nil }
        return unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: text.count + 1) { buffer in
            for index in 0..<text.count { unsafe buffer[index] = CChar(bitPattern: text[index]) }
            unsafe buffer[text.count] = 0
            var end: UnsafeMutablePointer<CChar>?
            errno = 0
            let value = unsafe strtod(buffer.baseAddress.unsafelyUnwrapped, &end)
            let isOutOfRange = errno == ERANGE && (value.isInfinite || value == 0)
            guard unsafe end.unsafelyUnwrapped.pointee == 0, !value.isNaN, !(isStrict && isOutOfRange) else {
                return nil
            }
            return value
        }
    }

    /// Calls `body` with the score as text: 17 digits at most, as `%.17g` has them (Redis 2.8: networking.c,
    /// addReplyDouble).
    static func withText(_ score: Double, _ body: (ByteView) -> Void) {
        if score.isInfinite { return body(score > 0 ? ByteView("inf") : ByteView("-inf")) }
        unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: 64) { buffer in
            let start = unsafe buffer.baseAddress.unsafelyUnwrapped
            let length = unsafe withVaList([score]) { list in unsafe vsnprintf(start, 64, "%.17g", list) }
            body(unsafe ByteView(start: UnsafeRawPointer(start), count: Int(length)))
        }
    }
}

extension ByteBuffer {
    /// Writes a score as a bulk.
    @inline(__always)
    mutating func writeReplyBulk(score: Double) {
        // Whole numbers are written without a point up to 17 digits; the negative zero is not one of them.
        if let whole = Int64(exactly: score), whole.magnitude < 100_000_000_000_000_000,
            whole != 0 || score.sign == .plus
        {
            writeReplyBulk(whole)
        } else {
            writeLongReplyBulk(score: score)
        }
    }

    private mutating func writeLongReplyBulk(score: Double) {
        Score.withText(score) { writeReplyBulk($0) }
    }
}
