// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisTesting
import Testing

@Suite("Directory")
struct DirectoryTests {
    @Test("a second server on the same directory exits with a clear message, and the first goes on")
    func twoServers() throws {
        let first = try TestServer()
        try first.command("SET", "key", "value")
        let second = try TestServer(directory: first.directory, starts: false)
        second.checksAfterwards = false
        try second.launch()
        #expect(waitUntil { !second.isRunning })
        #expect(throws: TestServerError.self) { try second.waitUntilEnded(expecting: .exited(0)) }
        let output = second.output
        #expect(output.contains(first.directory), "\(output)")
        #expect(
            ["another", "already", "in use"].contains { output.lowercased().contains($0) },
            "the message should say that the directory is in use: \(output)"
        )
        #expect(try first.command("GET", "key") == .bulk("value"))
        try first.stop()
    }

    @Test("a directory that does not exist is fatal at once")
    func missing() throws {
        let server = try TestServer(directory: "/nonexistent/codis", starts: false)
        server.checksAfterwards = false
        try server.launch()
        try server.waitUntilEnded(expecting: .exited(1))
        #expect(server.output.contains("/nonexistent/codis"), "\(server.output)")
    }

    @Test("the checker refuses a directory that a server is using")
    func checkWhileRunning() throws {
        let server = try TestServer()
        let result = try runProgram(server.executable, ["--check", server.directory])
        #expect(!result.isSuccess)
        try server.stop()
        #expect(try runProgram(server.executable, ["--check", server.directory]).isSuccess)
    }

    @Test("the log printer shows what was written")
    func printLog() throws {
        let server = try TestServer(configuration: ["appendonly yes"])
        try server.command("SET", "remarkable", "value")
        try server.kill()
        let result = try runProgram(server.executable, ["--print-log", server.directory])
        #expect(result.isSuccess, "\(result.errors)")
        #expect(result.output.contains("remarkable"))
    }
}
