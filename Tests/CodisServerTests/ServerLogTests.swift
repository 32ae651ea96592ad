// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisTesting
import Glibc
import Testing

@testable import CodisServer

@Suite("Server log")
struct ServerLogTests {
    @Test(
        "a line has process, day, time to the millisecond, mark and message",
        arguments: [(LogLevel.debug, "."), (.verbose, "-"), (.notice, "*"), (.warning, "#")]
    )
    func line(level: LogLevel, mark: String) throws {
        unsafe setenv("TZ", "UTC", 1)
        let moment = timeval(tv_sec: 1_700_000_000, tv_usec: 42_999)
        let line = ServerLog.line("hello", level: level, processID: 4711, now: moment)
        #expect(line == "[4711] 14 Nov 22:13:20.042 \(mark) hello\n")
    }

    @Test("a message is cut at 1,024 bytes")
    func longMessage() throws {
        let line = ServerLog.line(
            String(repeating: "x", count: 5000),
            level: .notice,
            processID: 1,
            now: timeval(tv_sec: 0, tv_usec: 0)
        )
        #expect(line.utf8.filter { $0 == UInt8(ascii: "x") }.count == 1024)
    }

    @Test("only lines of the level and above are written, and the file may be moved away between two")
    func file() throws {
        let directory = try TemporaryDirectory()
        let path = directory.path + "/server.log"
        let log = ServerLog(level: .notice, file: path)
        log.verbose("quiet")
        log.notice("first")
        #expect(unsafe rename(path, path + ".old") == 0)
        log.warning("second")
        #expect(textOfFile(path + ".old").hasSuffix(" * first\n"))
        #expect(!textOfFile(path + ".old").contains("quiet"))
        #expect(textOfFile(path).hasSuffix(" # second\n"))
    }
}
