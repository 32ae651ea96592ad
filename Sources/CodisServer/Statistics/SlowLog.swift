// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes

/// The commands that took longest of late (Redis 2.8: `slowlog.c`).
struct SlowLog {
    /// A slow command, cut to what is worth showing.
    struct Entry {
        var identifier: Int
        var seconds: Int64
        var microseconds: Int64
        var arguments: [[UInt8]]
    }

    /// The newest first.
    private(set) var entries: [Entry] = []
    private var nextIdentifier = 0

    private static let mostArguments = 32
    private static let longestArgument = 128

    /// Notes a command; the oldest beyond `maximumLength` go.
    mutating func note(
        _ arguments: borrowing Arguments,
        microseconds: Int64,
        atSeconds seconds: Int64,
        maximumLength: Int
    ) {
        var kept: [[UInt8]] = []
        let shown = min(arguments.count, SlowLog.mostArguments)
        for index in 0..<shown {
            if shown != arguments.count, index == shown - 1 {
                kept.append(Array("... (\(arguments.count - shown + 1) more arguments)".utf8))
                continue
            }
            let argument = arguments[index]
            guard argument.count > SlowLog.longestArgument else {
                kept.append(Array(argument))
                continue
            }
            let rest = argument.count - SlowLog.longestArgument
            kept.append(Array(argument.prefix(SlowLog.longestArgument)) + Array("... (\(rest) more bytes)".utf8))
        }
        let entry = Entry(
            identifier: nextIdentifier,
            seconds: seconds,
            microseconds: microseconds,
            arguments: kept
        )
        nextIdentifier += 1
        entries.insert(entry, at: 0)
        trim(to: maximumLength)
    }

    mutating func trim(to maximumLength: Int) {
        if entries.count > maximumLength { entries.removeLast(entries.count - maximumLength) }
    }

    mutating func reset() { entries = [] }
}
