// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import Bytes
import RESP

/// The text of a configuration, taken apart into lines: the syntax of `redis.conf`, without what directives mean.
struct ConfigFile {
    /// A line that is more than a comment or blanks.
    struct Line: Equatable {
        /// Counted from 1.
        let number: Int
        /// Without blanks around it.
        let text: [UInt8]
        /// The first word in lower case.
        let name: String
        /// The words after it.
        let words: [[UInt8]]
    }

    /// Each line of `text` without blanks around it.
    ///
    /// A line break at the end begins no further line.
    static func trimmedLines(_ text: [UInt8]) -> [[UInt8]] {
        var lines = text.split(separator: 0x0A, omittingEmptySubsequences: false).map { Array(trimmed($0)) }
        if lines.last == [] { lines.removeLast() }
        return lines
    }

    /// The lines of `text` that say something.
    ///
    /// Throws `badLine` where quotes are unbalanced. Redis 2.8: config.c, loadServerConfigFromString.
    static func lines(_ text: [UInt8]) throws(ConfigError) -> [Line] {
        var lines: [Line] = []
        for (index, line) in trimmedLines(text).enumerated() where !isComment(line) {
            guard let words = ByteView.with(line, { RESPRequestSplitter.splitArguments($0) }) else {
                throw badLine(index + 1, line, .unbalancedQuotes)
            }
            guard let name = words.first else { continue }
            lines.append(
                Line(
                    number: index + 1,
                    text: line,
                    name: String(decoding: name, as: UTF8.self).lowercased(),
                    words: Array(words.dropFirst())
                )
            )
        }
        return lines
    }

    static func isComment(_ line: [UInt8]) -> Bool {
        line.isEmpty || line[0] == UInt8(ascii: "#") || line[0] == 0
    }

    static func badLine(_ number: Int, _ text: [UInt8], _ reason: ConfigReason) -> ConfigError {
        .badLine(number: number, line: String(decoding: text, as: UTF8.self), reason: reason.text)
    }

    private static func trimmed(_ line: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        var line = line
        while let first = line.first, isBlank(first) { line.removeFirst() }
        while let last = line.last, isBlank(last) { line.removeLast() }
        return line
    }

    private static func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 || byte == 0x0D || byte == 0x0A }

    /// The options of the command line as the text of a configuration.
    ///
    /// Each `--name` begins a line; what follows it are its words, each quoted. Redis 2.8: redis.c, main.
    static func text(ofOptions options: ArraySlice<String>) -> [UInt8] {
        var text: [UInt8] = []
        for option in options {
            if option.hasPrefix("--") {
                if !text.isEmpty { text.append(0x0A) }
                text.append(contentsOf: option.utf8.dropFirst(2))
            } else {
                ByteView.with(option) { text.appendQuoted($0) }
            }
            text.append(0x20)
        }
        return text
    }
}
