// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

public import Bytes

/// Splits a line into words, as inline requests and lines of a configuration file are written.
///
/// Words are separated by blanks. A part in double quotes may hold blanks and `\n \r \t \b \a \xHH` and, after a
/// backslash, any other byte as itself; a part in single quotes knows only `\'`. A closing quote must be followed by
/// a blank or the end. A zero byte ends the line. Redis 2.8: sds.c, sdssplitargs.
public struct RESPRequestSplitter {
    private let line: ByteView
    private var index = 0

    /// A splitter at the start of `line`, which must outlive it.
    public init(_ line: ByteView) {
        self.line = line
    }

    /// Appends the next word to `word`, and tells whether there was one; a word in quotes may be empty.
    ///
    /// Throws ``RESPError/unbalancedQuotes``; `word` then holds a part of the bad word.
    public mutating func next(appendingTo word: inout [UInt8]) throws(RESPError) -> Bool {
        while let byte = peek(), Self.isSpace(byte) { index += 1 }
        guard peek() != nil else { return false }
        while true {
            guard let byte = peek() else { return true }
            index += 1
            switch byte {
            case 0x20, 0x09, 0x0A, 0x0D: return true
            case 0x22:
                try appendDoubleQuoted(to: &word)
                return true
            case 0x27:
                try appendSingleQuoted(to: &word)
                return true
            default: word.append(byte)
            }
        }
    }

    /// The words of `line`, or nil if its quotes are unbalanced.
    public static func splitArguments(_ line: ByteView) -> [[UInt8]]? {
        var splitter = RESPRequestSplitter(line)
        var words: [[UInt8]] = []
        var word: [UInt8] = []
        do throws(RESPError) {
            while try splitter.next(appendingTo: &word) {
                words.append(word)
                word = []
            }
        } catch {
            return nil
        }
        return words
    }

    /// The byte at `index + offset`, or nil at the end of the line and from its first zero byte on.
    @inline(__always)
    private func peek(_ offset: Int = 0) -> UInt8? {
        guard index + offset < line.count else { return nil }
        let byte = line[index + offset]
        return byte == 0 ? nil : byte
    }

    private mutating func appendDoubleQuoted(to word: inout [UInt8]) throws(RESPError) {
        while let byte = peek() {
            index += 1
            if byte == 0x22 { return try requireBlankOrEnd() }
            guard byte == 0x5C, let escaped = peek() else {
                word.append(byte)
                continue
            }
            index += 1
            if escaped == 0x78, let high = peek().flatMap(Self.hexDigit), let low = peek(1).flatMap(Self.hexDigit) {
                index += 2
                word.append(high << 4 | low)
                continue
            }
            switch escaped {
            case 0x6E: word.append(0x0A)
            case 0x72: word.append(0x0D)
            case 0x74: word.append(0x09)
            case 0x62: word.append(0x08)
            case 0x61: word.append(0x07)
            default: word.append(escaped)
            }
        }
        throw .unbalancedQuotes
    }

    private mutating func appendSingleQuoted(to word: inout [UInt8]) throws(RESPError) {
        while let byte = peek() {
            index += 1
            if byte == 0x27 { return try requireBlankOrEnd() }
            if byte == 0x5C, peek() == 0x27 {
                index += 1
                word.append(0x27)
            } else {
                word.append(byte)
            }
        }
        throw .unbalancedQuotes
    }

    private mutating func requireBlankOrEnd() throws(RESPError) {
        guard let byte = peek() else { return }
        guard Self.isSpace(byte) else { throw .unbalancedQuotes }
        index += 1
    }

    /// Whether C's `isspace` holds for `byte`.
    private static func isSpace(_ byte: UInt8) -> Bool {
        byte == 0x20 || (byte >= 0x09 && byte <= 0x0D)
    }

    private static func hexDigit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case 0x30...0x39: byte - 0x30
        case 0x61...0x66: byte - 0x61 + 10
        case 0x41...0x46: byte - 0x41 + 10
        default: nil
        }
    }
}

extension [UInt8] {
    /// Appends `bytes` in double quotes, with escapes for what is not printable ASCII.
    ///
    /// The way MONITOR, SLOWLOG and CONFIG REWRITE print bytes; ``RESPRequestSplitter`` reads it back.
    /// Redis 2.8: sds.c, sdscatrepr.
    public mutating func appendQuoted(_ bytes: ByteView) {
        append(0x22)
        for byte in bytes {
            switch byte {
            case 0x5C, 0x22: append(0x5C); append(byte)
            case 0x0A: append(0x5C); append(0x6E)
            case 0x0D: append(0x5C); append(0x72)
            case 0x09: append(0x5C); append(0x74)
            case 0x07: append(0x5C); append(0x61)
            case 0x08: append(0x5C); append(0x62)
            case 0x20...0x7E: append(byte)
            default:
                append(0x5C)
                append(0x78)
                append(Self.hexDigits[Int(byte >> 4)])
                append(Self.hexDigits[Int(byte & 15)])
            }
        }
        append(0x22)
    }

    private static let hexDigits = Array("0123456789abcdef".utf8)
}
