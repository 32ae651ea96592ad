// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

public import Bytes

/// Matches bytes against a pattern, for KEYS, SCAN, CONFIG GET and pattern subscriptions.
///
/// `*` stands for any bytes, `?` for one, `[a-c]` for one of a class, `[^a]` for one outside it, and `\` takes the
/// next byte as itself. A class without `]` ends with the pattern. Redis 2.8: util.c, stringmatchlen.
public enum Glob {
    /// Whether `pattern` matches all of `bytes`; O(pattern · bytes) at worst.
    ///
    /// Of several `*` only the last one met is ever tried again: what an earlier one took cannot matter once a
    /// later one was reached. So there are no patterns that take exponential time.
    public static func matches(_ pattern: ByteView, _ bytes: ByteView, ignoringCase: Bool = false) -> Bool {
        var patternIndex = 0
        var index = 0
        var afterStar: Int?
        var starEnd = 0
        while index < bytes.count {
            if patternIndex < pattern.count, pattern[patternIndex] == UInt8(ascii: "*") {
                patternIndex += 1
                guard patternIndex < pattern.count else { return true }
                afterStar = patternIndex
                starEnd = index
                continue
            }
            if patternIndex < pattern.count {
                let (isMatch, next) = matchOne(pattern, patternIndex, bytes[index], ignoringCase)
                if isMatch {
                    patternIndex = next
                    index += 1
                    continue
                }
            }
            guard let resume = afterStar else { return false }
            // The last star takes one byte more.
            starEnd += 1
            index = starEnd
            patternIndex = resume
        }
        while patternIndex < pattern.count, pattern[patternIndex] == UInt8(ascii: "*") { patternIndex += 1 }
        return patternIndex == pattern.count
    }

    /// Whether `pattern` matches nothing but itself.
    public static func isLiteral(_ pattern: ByteView) -> Bool {
        !pattern.contains {
            $0 == UInt8(ascii: "*") || $0 == UInt8(ascii: "?") || $0 == UInt8(ascii: "[") || $0 == 0x5C
        }
    }

    /// Whether `byte` matches the element at `start`, which is no star, and where the next element begins.
    private static func matchOne(
        _ pattern: ByteView,
        _ start: Int,
        _ byte: UInt8,
        _ ignoringCase: Bool
    ) -> (isMatch: Bool, next: Int) {
        switch pattern[start] {
        case UInt8(ascii: "?"): return (true, start + 1)
        case UInt8(ascii: "["): return matchClass(pattern, start + 1, byte, ignoringCase)
        case 0x5C where start + 1 < pattern.count:
            return (isSame(pattern[start + 1], byte, ignoringCase), start + 2)
        default: return (isSame(pattern[start], byte, ignoringCase), start + 1)
        }
    }

    private static func matchClass(
        _ pattern: ByteView,
        _ start: Int,
        _ byte: UInt8,
        _ ignoringCase: Bool
    ) -> (isMatch: Bool, next: Int) {
        var index = start
        let isNegated = index < pattern.count && pattern[index] == UInt8(ascii: "^")
        if isNegated { index += 1 }
        var isMember = false
        while index < pattern.count, pattern[index] != UInt8(ascii: "]") {
            if pattern[index] == 0x5C, index + 1 < pattern.count {
                if pattern[index + 1] == byte { isMember = true }
                index += 2
            } else if index + 2 < pattern.count, pattern[index + 1] == UInt8(ascii: "-") {
                // Bytes are signed here, as they are in C on this machine, and a range may be given backwards.
                let first = Int8(bitPattern: fold(pattern[index], ignoringCase))
                let last = Int8(bitPattern: fold(pattern[index + 2], ignoringCase))
                let folded = Int8(bitPattern: fold(byte, ignoringCase))
                if folded >= min(first, last), folded <= max(first, last) { isMember = true }
                index += 3
            } else {
                if isSame(pattern[index], byte, ignoringCase) { isMember = true }
                index += 1
            }
        }
        return (isMember != isNegated, min(index + 1, pattern.count))
    }

    @inline(__always)
    private static func isSame(_ left: UInt8, _ right: UInt8, _ ignoringCase: Bool) -> Bool {
        left == right || ignoringCase && fold(left, true) == fold(right, true)
    }

    @inline(__always)
    private static func fold(_ byte: UInt8, _ ignoringCase: Bool) -> UInt8 {
        ignoringCase && byte >= 0x41 && byte <= 0x5A ? byte | 0x20 : byte
    }
}
