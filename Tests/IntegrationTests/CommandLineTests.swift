// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisTesting
import Foundation
import Glibc
import Testing

@Suite("Command line")
struct CommandLineTests {
    @Test("--version prints one line and exits with 0", arguments: ["-v", "--version"])
    func version(option: String) throws {
        let result = try runProgram(TestServer.codisServer, [option])
        #expect(result.ending == .exited(0))
        #expect(result.output.split(separator: "\n").count == 1)
        #expect(result.output.contains("v=2.8.21"), "\(result.output)")
    }

    @Test("--help prints the usage to standard error and exits with 1", arguments: ["-h", "--help"])
    func help(option: String) throws {
        let result = try runProgram(TestServer.codisServer, [option])
        #expect(result.ending == .exited(1))
        #expect(result.errors.contains("Usage: "), "\(result.errors)")
        #expect(result.errors.contains("--check"))
    }

    @Test("options after the file win over it")
    func options() throws {
        let port = freePort()
        let server = try TestServer(
            configuration: ["loglevel warning", "databases 4"],
            arguments: ["--loglevel", "debug", "--maxclients", "50", "--save", "900", "1", "--save", "60", "5"]
        )
        let client = try server.connect()
        #expect(try client.command("CONFIG", "GET", "loglevel") == .bulks("loglevel", "debug"))
        #expect(try client.command("CONFIG", "GET", "maxclients") == .bulks("maxclients", "50"))
        #expect(try client.command("CONFIG", "GET", "databases") == .bulks("databases", "4"))
        #expect(try client.command("CONFIG", "GET", "save") == .bulks("save", "900 1 60 5"))
        #expect(try client.command("SELECT", "4") == .error("ERR invalid DB index"))
        try server.stop()
        server.arguments = ["--port", "\(port)"]
        try server.launch()
        #expect(waitUntil { (try? TestClient(port: port).command("PING")) == .status("PONG") })
        try server.stop()
    }

    @Test("a lone minus reads the configuration from standard input")
    func standardInput() throws {
        let directory = try TemporaryDirectory()
        let port = freePort()
        let input = directory.path + "/input"
        try Data("port \(port)\nbind 127.0.0.1\ndir \(directory.path)\nrequirepass secret\n".utf8)
            .write(to: URL(fileURLWithPath: input))
        let process = try ChildProcess(
            TestServer.codisServer,
            ["-", "--requirepass", "other"],
            directory: directory.path,
            input: input,
            output: directory.path + "/output",
            errors: directory.path + "/output"
        )
        #expect(waitUntil { (try? TestClient(port: port).command("AUTH", "other")) == .ok })
        process.signal(SIGTERM)
        #expect(try process.waitUntilEnded() == .exited(0))
    }

    @Test("options without a file are enough")
    func optionsOnly() throws {
        let directory = try TemporaryDirectory()
        let port = freePort()
        let process = try ChildProcess(
            TestServer.codisServer,
            ["--port", "\(port)", "--bind", "127.0.0.1"],
            directory: directory.path,
            output: directory.path + "/output",
            errors: directory.path + "/output"
        )
        #expect(waitUntil { (try? TestClient(port: port).command("SET", "a", "b")) == .ok })
        let reply = try TestClient(port: port).command("CONFIG", "GET", "dir")
        #expect(reply == .bulks("dir", directory.path))
        process.signal(SIGINT)
        #expect(try process.waitUntilEnded() == .exited(0))
    }

    @Test("SIGTERM ends the server with the words an operator greps for")
    func termination() throws {
        let server = try TestServer()
        try server.stop()
        #expect(server.output.contains("Received SIGTERM scheduling shutdown..."))
        #expect(server.output.contains("bye bye..."))
    }

    @Test("SIGHUP and SIGPIPE are ignored")
    func ignoredSignals() throws {
        let server = try TestServer()
        _ = Glibc.kill(server.processID, SIGHUP)
        _ = Glibc.kill(server.processID, SIGPIPE)
        #expect(try server.command("PING") == .status("PONG"))
        try server.stop()
    }

    @Test("daemonize, pidfile and logfile work as an init script expects")
    func daemon() throws {
        let directory = try TemporaryDirectory()
        let port = freePort()
        let pidfile = directory.path + "/server.pid"
        let logfile = directory.path + "/server.log"
        let conf = directory.path + "/server.conf"
        let lines = [
            "daemonize yes", "port \(port)", "bind 127.0.0.1", "dir \(directory.path)", "pidfile \(pidfile)",
            "logfile \(logfile)",
        ]
        try Data((lines.joined(separator: "\n") + "\n").utf8).write(to: URL(fileURLWithPath: conf))
        let result = try runProgram(TestServer.codisServer, [conf])
        #expect(result.ending == .exited(0), "\(result)")
        #expect(waitUntil { (try? TestClient(port: port).command("PING")) == .status("PONG") })
        let processID = try #require(Int32(textOfFile(pidfile).trimmingCharacters(in: .whitespacesAndNewlines)))
        #expect(textOfFile("/proc/\(processID)/comm") == "codis-server\n")
        #expect(textOfFile(logfile).contains("ready to accept connections on port \(port)"))
        #expect(try TestClient(port: port).command("SET", "key", "value") == .ok)
        _ = Glibc.kill(processID, SIGTERM)
        #expect(waitUntil { !FileManager.default.fileExists(atPath: "/proc/\(processID)") })
        #expect(!FileManager.default.fileExists(atPath: pidfile))
    }
}
