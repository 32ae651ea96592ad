// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisTesting
import Foundation
import Testing

@Suite("The progress of an import by hand")
struct ImportProgressTests {
    /// Runs the program behind a pseudo-terminal, and copies what it shows there to standard output.
    private static let terminal = """
        import os, pty, sys
        program, descriptor = pty.fork()
        if program == 0:
            os.execv(sys.argv[1], sys.argv[1:])
        while True:
            try:
                shown = os.read(descriptor, 65536)
            except OSError:
                break
            if not shown:
                break
            os.write(1, shown)
        os.close(descriptor)
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(program, 0)[1]))
        """

    /// A dump of 100 keys, and the arguments that import it into another directory.
    private func prepare() throws -> (source: TestServer, target: TestServer, arguments: [String]) {
        let source = try TestServer()
        #expect(try source.command("DEBUG", "POPULATE", "100") == .ok)
        #expect(try source.command("SAVE") == .ok)
        try source.stop()
        let target = try TestServer(starts: false)
        return (source, target, ["--dir", target.directory, "--import", source.directory + "/dump.rdb"])
    }

    @Test(
        "on a terminal a bar is drawn, which ends full and with the number of keys",
        .enabled(if: RedisPeer.isOnPath("python3"), "nothing opens a pseudo-terminal")
    )
    func bar() throws {
        let (source, target, arguments) = try prepare()
        defer { withExtendedLifetime(source) {} }
        let result = try runProgram("python3", ["-c", Self.terminal, target.executable] + arguments)
        #expect(result.isSuccess, "\(result.output)\(result.errors)")
        let full = "\r[\(String(repeating: "#", count: 40))] 100 % 100 keys\u{1B}[K"
        #expect(result.output.contains(full), "\(printable(Array(result.output.utf8), limit: .max))")
        try target.start()
        #expect(try target.command("DBSIZE") == .integer(100))
        try target.stop()
    }

    @Test("elsewhere there are lines, and nothing that only a terminal understands")
    func lines() throws {
        let (source, target, arguments) = try prepare()
        defer { withExtendedLifetime(source) {} }
        let result = try runProgram(target.executable, arguments)
        #expect(result.isSuccess, "\(result.errors)")
        let text = result.output + result.errors
        #expect(!text.contains("\r") && !text.contains("\u{1B}") && !text.contains("###"), "\(text)")
        #expect(text.split(separator: "\n").contains { $0.contains("100 keys") }, "\(text)")
        try target.start()
        #expect(try target.command("DBSIZE") == .integer(100))
        try target.stop()
    }
}
