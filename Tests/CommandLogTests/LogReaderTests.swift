// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import Bytes
import Testing

@testable import CommandLog

@Suite("Reading and printing the log")
struct LogReaderTests {
    @Test("a reader gives the stream from any offset on, in bounded pieces")
    func readFromAnywhere() throws {
        let directory = LogDirectory()
        let (log, _) = try directory.open(from: 50)
        let frames = (0..<60).map { payload($0, count: 1 + $0 * 13 % 400) } + [payload(1, count: 900_000)]
        for frame in frames { try log.write(frame) }
        let all = Array(frames.joined())
        for start in Array(stride(from: 0, to: all.count, by: 997)) + [all.count - 1, all.count] where start < 20_000 {
            let reader = try LogReader(directory: directory.path, from: 50 + UInt64(start))
            #expect(reader.offset == 50 + UInt64(start))
            #expect(try reader.read(upTo: log.endOffset, maximumBytes: 3000) == Array(all[start...].prefix(3000)))
        }
        let reader = try LogReader(directory: directory.path, from: 50 + UInt64(all.count - 5))
        #expect(try reader.read(upTo: log.endOffset, maximumBytes: 3000) == Array(all.suffix(5)))
        #expect(try reader.read(upTo: log.endOffset, maximumBytes: 3000) == [])
        #expect(throws: CommandLogError.offsetBeforeStart(offset: 49, start: 50)) {
            try LogReader(directory: directory.path, from: 49)
        }
        #expect(throws: CommandLogError.offsetBeyondEnd(offset: log.endOffset + 1, end: log.endOffset)) {
            try LogReader(directory: directory.path, from: log.endOffset + 1)
        }
        try log.shutdown()
    }

    @Test("a reader follows the writer over frames and segments, and outlives trimming behind it")
    func follow() throws {
        let directory = LogDirectory()
        let (log, _) = try directory.open()
        let reader = try LogReader(directory: directory.path, from: 0)
        var expected: [UInt8] = []
        var got: [UInt8] = []
        for index in 0..<300 {
            let frame = payload(index, count: 1 + index * 31 % 700)
            try log.write(frame)
            expected += frame
            got += try reader.read(upTo: log.endOffset, maximumBytes: 1 + index * 17 % 900)
            log.trim(before: reader.offset)
        }
        while got.count < expected.count { got += try reader.read(upTo: log.endOffset, maximumBytes: 500) }
        #expect(got == expected)
        try log.shutdown()
    }

    @Test("a reader notices damage with the last byte of the frame")
    func damage() throws {
        let directory = LogDirectory()
        let (log, _) = try directory.open()
        try log.write(payload(1, count: 100))
        try log.write(payload(2, count: 100))
        let end = log.endOffset
        try log.shutdown()
        let name = directory.segments[0]
        var bytes = directory.read(name)
        bytes[64 + 124 + 24 + 50] ^= 1
        directory.write(name, bytes)
        let reader = try LogReader(directory: directory.path, from: 0)
        #expect(try reader.read(upTo: end, maximumBytes: 150).count == 150)
        #expect(throws: CommandLogError.self) { try reader.read(upTo: end, maximumBytes: 50) }
    }

    private func printed(_ directory: LogDirectory, full: Bool = false) throws -> (LogPrinter.Outcome, [String]) {
        var lines: [String] = []
        let outcome = try LogPrinter(printsFullArguments: full).print(directory: directory.path) { lines.append($0) }
        return (outcome, lines)
    }

    @Test("a log is printed as commands with their offsets")
    func print() throws {
        let directory = LogDirectory()
        let (log, _) = try directory.open(from: 10)
        try log.appendCommand(argumentCount: 2)
        try log.appendArgument(ByteView("SELECT"))
        try log.appendArgument(ByteView("1"))
        try log.appendCommand(argumentCount: 3)
        try log.appendArgument(ByteView("SET"))
        try ByteView.with([0x22, 0x5C, 10, 13, 9, 7, 8, 0, 255, 65]) { try log.appendArgument($0) }
        try ByteView.with(Array(repeating: 0x78, count: 100)) { try log.appendArgument($0) }
        try log.writeFrame()
        try log.append("PING\r\n")
        try log.writeFrame()
        try log.shutdown()
        let (outcome, lines) = try printed(directory)
        let bytes = directory.size(directory.segments[0])
        #expect(
            lines == [
                "# segment \(directory.path)/\(directory.segments[0]): offset 10, \(bytes) bytes",
                "# frame at byte 64: offset 10, 161 bytes, synced to 10",
                "10 \"SELECT\" \"1\"",
                "33 \"SET\" \"\\\"\\\\\\n\\r\\t\\a\\b\\x00\\xffA\" \"\(String(repeating: "x", count: 64))\"... (100 bytes)",
                "# frame at byte 249: offset 171, 6 bytes, synced to 10",
                "171 (not a command) \"PING\\r\\n\"",
                "# end: offset 177, 2 frames, 2 commands",
            ]
        )
        #expect(outcome == LogPrinter.Outcome(frames: 2, commands: 2, endOffset: 177))
        #expect(outcome.exitStatus == 0)
        #expect(try printed(directory, full: true).1[3].hasSuffix(String(repeating: "x", count: 100) + "\""))
    }

    @Test("printing tells a torn end from damage, and shows what is good behind it")
    func printDamage() throws {
        let directory = LogDirectory()
        let (log, _) = try directory.open()
        for index in 0..<3 { try log.write(payload(index, count: 100)) }
        let name = directory.segments[0]
        let unsynced = directory.read(name)
        try log.syncNow()
        try log.write(payload(3, count: 100))
        let synced = directory.read(name)
        try log.shutdown()

        var bytes = unsynced
        bytes[64 + 2 * 124 + 30] ^= 1
        directory.write(name, bytes)
        var (outcome, lines) = try printed(directory)
        #expect(outcome == LogPrinter.Outcome(frames: 2, commands: 0, endOffset: 200, tornBytes: 124))
        #expect(lines.contains { $0.hasPrefix("# torn: from byte 312 ") })
        #expect(directory.read(name) == bytes)

        bytes = synced
        bytes[64 + 124 + 30] ^= 1
        directory.write(name, bytes)
        (outcome, lines) = try printed(directory)
        #expect(outcome.isDamaged)
        #expect(outcome.exitStatus == 1)
        #expect(outcome.frames == 1)
        #expect(lines.contains { $0.hasPrefix("# damaged: ") && $0.contains("byte 188 ") })
        #expect(lines.filter { $0 == "# behind the end of the log, but good:" }.count == 2)
        let empty = LogDirectory()
        #expect(throws: CommandLogError.missingSegment(offset: 0)) {
            try LogPrinter().print(directory: empty.path) { _ in }
        }
    }
}
