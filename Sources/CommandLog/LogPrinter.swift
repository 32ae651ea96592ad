// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import Bytes

/// Prints a log as text, for people: `codis-server --print-log DIR`.
///
/// One line for each command: its stream offset, then the arguments quoted as `redis-cli` and MONITOR quote them.
/// Lines about segments, frames and damage begin with `#`. The files are only read, so this may be done while a
/// server writes them; the end may then look torn.
public struct LogPrinter {
    /// What printing found.
    public struct Outcome: Equatable, Sendable {
        /// How many good frames there are.
        public var frames = 0
        /// How many commands they hold.
        public var commands = 0
        /// The stream offset behind the last good frame.
        public var endOffset: UInt64 = 0
        /// How many bytes at the end belong to no good frame, as a crash leaves them; opening the log cuts them off.
        public var tornBytes = 0
        /// Whether something is damaged or missing inside.
        public var isDamaged = false

        /// What a program should exit with: 0 for a sound log (its end may be torn), 1 for a damaged one.
        ///
        /// A directory that cannot be read, or is no log, is an error that `print` throws; a program exits with 2.
        public var exitStatus: Int32 { isDamaged ? 1 : 0 }
    }

    /// Whether arguments are printed in full however long they are.
    public var printsFullArguments: Bool

    /// How many bytes of an argument are printed otherwise.
    public static let abbreviatedBytes = 64

    /// A printer that abbreviates long arguments, or one that does not.
    public init(printsFullArguments: Bool = false) {
        self.printsFullArguments = printsFullArguments
    }

    /// Prints the log in `directory`, one call of `write` for each line (without its end).
    ///
    /// `directory` is that of the segments, or the one above it. Throws when it cannot be read, holds no log, or one
    /// of another version, or segments of two logs.
    public func print(directory: String, write: (String) -> Void) throws(CommandLogError) -> Outcome {
        var directory = directory
        if try LogRecovery.list(directory).isEmpty, (try? FileDescriptor.names(in: directory + "/log")) != nil {
            directory += "/log"
        }
        guard var log = try LogRecovery(directory: directory, expectedIdentity: nil) else {
            throw .missingSegment(offset: 0)
        }
        var outcome = Outcome()
        var segment: MappedSegment?
        do {
            // The rules are those of opening the log, which changes nothing before the end of the replay.
            try log.replay(from: log.segments[0].nameOffset, knownSynced: 0) { frame in
                if segment !== frame.segment { printSegment(frame.segment, write) }
                segment = frame.segment
                printFrame(frame.header, frame.payload, at: frame.position, &outcome, write)
            }
        } catch {
            write("# damaged: \(error)")
            outcome.isDamaged = true
        }
        let endOffset = log.report.endOffset
        outcome.endOffset = endOffset
        if !outcome.isDamaged, log.report.droppedBytes > 0 {
            outcome.tornBytes = log.report.droppedBytes
            write(
                "# torn: from byte \(log.lastPosition) of \(log.segments[log.lastIndex].path) on \(outcome.tornBytes) "
                    + "bytes that opening the log cuts off"
            )
        }
        printFramesBehindEnd(of: log, &outcome, write)
        write("# end: offset \(endOffset), \(outcome.frames) frames, \(outcome.commands) commands")
        return outcome
    }

    /// Prints the frames that are good but not connected with the log any more.
    private func printFramesBehindEnd(of log: LogRecovery, _ outcome: inout Outcome, _ write: (String) -> Void) {
        for (index, segment) in log.segments.enumerated().dropFirst(log.lastIndex) {
            let isLast = index == log.lastIndex
            if !isLast { printSegment(segment, write) }
            let start = isLast ? log.lastPosition : SegmentHeader.byteCount - 1
            let offset = isLast ? log.report.endOffset : segment.nameOffset &- 1
            guard start < segment.bytes.count else { continue }
            _ = segment.remains(from: start, offset: offset, identity: log.identity) { position, header, payload in
                write("# behind the end of the log, but good:")
                var behind = Outcome()
                printFrame(header, payload, at: position, &behind, write)
            }
        }
    }

    private func printSegment(_ segment: MappedSegment, _ write: (String) -> Void) {
        write("# segment \(segment.path): offset \(segment.nameOffset), \(segment.bytes.count) bytes")
    }

    private func printFrame(
        _ header: FrameHeader,
        _ payload: ByteView,
        at position: Int,
        _ outcome: inout Outcome,
        _ write: (String) -> Void
    ) {
        write(
            "# frame at byte \(position): offset \(header.offset), \(payload.count) bytes, "
                + "synced to \(header.syncedOffset)"
        )
        outcome.frames += 1
        outcome.endOffset = header.offset + UInt64(payload.count)
        var rest = payload
        while !rest.isEmpty {
            let offset = outcome.endOffset - UInt64(rest.count)
            guard let (arguments, length) = Self.command(in: rest) else {
                write("\(offset) (not a command) \(quoted(rest))")
                return
            }
            write("\(offset) " + arguments.map(quoted).joined(separator: " "))
            outcome.commands += 1
            rest = rest.dropFirst(length)
        }
    }

    /// The arguments of the multibulk command at the beginning of `bytes`, and its length.
    static func command(in bytes: ByteView) -> (arguments: [ByteView], length: Int)? {
        var position = 0
        guard let count = line(0x2A, in: bytes, at: &position), count > 0 else { return nil }
        var arguments: [ByteView] = []
        while arguments.count < count {
            guard let length = line(0x24, in: bytes, at: &position), length <= bytes.count - position - 2,
                bytes[position + length] == 13, bytes[position + length + 1] == 10
            else { return nil }
            arguments.append(bytes[position..<position + length])
            position += length + 2
        }
        return (arguments, position)
    }

    /// The number in the line at `position` that begins with `first`; moves behind the line.
    private static func line(_ first: UInt8, in bytes: ByteView, at position: inout Int) -> Int? {
        guard position < bytes.count, bytes[position] == first,
            let end = bytes.firstIndex(of: 13, from: position + 1), end + 1 < bytes.count, bytes[end + 1] == 10,
            end - position <= 12
        else { return nil }
        var number = 0
        for byte in bytes[position + 1..<end] {
            guard byte >= 48, byte <= 57 else { return nil }
            number = number * 10 + Int(byte - 48)
        }
        guard end > position + 1 else { return nil }
        position = end + 2
        return number
    }

    private func quoted(_ bytes: ByteView) -> String {
        let isWhole = printsFullArguments || bytes.count <= Self.abbreviatedBytes
        var text = "\""
        for byte in isWhole ? bytes : bytes.prefix(Self.abbreviatedBytes) {
            switch byte {
            case 0x22: text += "\\\""
            case 0x5C: text += "\\\\"
            case 0x0A: text += "\\n"
            case 0x0D: text += "\\r"
            case 0x09: text += "\\t"
            case 0x07: text += "\\a"
            case 0x08: text += "\\b"
            case 0x20...0x7E: text.unicodeScalars.append(Unicode.Scalar(byte))
            default: text += (byte < 16 ? "\\x0" : "\\x") + String(byte, radix: 16)
            }
        }
        return text + (isWhole ? "\"" : "\"... (\(bytes.count) bytes)")
    }
}
