// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Foundation
internal import Glibc

/// A server of its own for a test: the real program, in a fresh directory, on a free port.
///
/// Whenever a codis-server has ended, cleanly or not, its directory is examined with `codis-server --check`, and a
/// complaint fails the call.
@safe
public final class TestServer {
    /// Which program serves.
    public enum Program: Sendable {
        /// The server of this package.
        case codis
        /// Debian's redis-server, the oracle.
        case redis
    }

    /// Which program this server runs.
    public let program: Program
    /// The port it listens on; a new one after each start, unless it is kept.
    public private(set) var port = 0
    /// Whether the server comes back on the port that it had.
    public var keepsPort = false
    /// Its `dir`.
    public let directory: String
    /// Lines of the conf file besides `port`, `dir` and `bind`; a change counts from the next start.
    public var configuration: [String]
    /// Arguments after the conf file; a change counts from the next start.
    public var arguments: [String]
    /// Whether ended servers leave their directory to the checker.
    public var checksAfterwards = true

    private let ownedDirectory: TemporaryDirectory?
    private let controlDirectory: TemporaryDirectory
    private var process: ChildProcess?

    /// Starts a server and waits until it answers.
    ///
    /// - Parameters:
    ///   - configuration: further lines of the conf file.
    ///   - arguments: command line arguments after the conf file.
    ///   - directory: an existing directory; none means a fresh one which goes with the server.
    ///   - program: which program to run.
    ///   - starts: false leaves the start to a later call of `start`.
    public init(
        configuration: [String] = [],
        arguments: [String] = [],
        directory: String? = nil,
        program: Program = .codis,
        starts: Bool = true
    ) throws {
        self.program = program
        self.configuration = configuration
        self.arguments = arguments
        ownedDirectory = directory == nil ? try TemporaryDirectory() : nil
        self.directory = directory ?? ownedDirectory?.path ?? "/nonexistent"
        controlDirectory = try TemporaryDirectory()
        if starts { try start() }
    }

    /// Where the built codis-server is: CODIS_SERVER if set, else beside the tests' own program, else bin/.
    public static var codisServer: String {
        if let path = ProcessInfo.processInfo.environment["CODIS_SERVER"] { return path }
        let beside = (CommandLine.arguments[0] as NSString).deletingLastPathComponent + "/codis-server"
        let candidates = [beside, "\(packageRoot)/.build/debug/codis-server", "\(packageRoot)/bin/codis-server"]
        return candidates.first { FileManager.default.isExecutableFile(atPath: $0) } ?? "bin/codis-server"
    }

    /// The directory of Package.swift.
    public static var packageRoot: String {
        URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().path
    }

    /// The path of the program, as given to the system.
    public var executable: String {
        switch program {
        case .codis: TestServer.codisServer
        case .redis: "redis-server"
        }
    }

    /// The path of the conf file.
    public var configurationFile: String { controlDirectory.path + "/server.conf" }

    /// What the server wrote to standard output and standard error, over all its starts.
    public var output: String { textOfFile(outputFile) }

    private var outputFile: String { controlDirectory.path + "/output" }

    /// The process id; 0 while no server runs.
    public var processID: Int32 { process?.processID ?? 0 }

    /// Whether the process runs.
    public var isRunning: Bool { process.map { $0.ending == nil } ?? false }

    // MARK: Life

    /// Starts the server and waits until it answers PING, at most `timeoutSeconds`.
    public func start(timeoutSeconds: Double = 60) throws {
        try launch()
        let answers = waitUntil(timeoutSeconds: timeoutSeconds) { !isRunning || self.answers() }
        guard isRunning, answers else {
            let ending = process?.ending
            process = nil
            throw TestServerError.didNotStart(ending: ending.map { "\($0)" } ?? "running", output: output)
        }
    }

    /// Starts the process and returns at once.
    public func launch() throws {
        precondition(!isRunning, "the server is running already")
        if port == 0 || !keepsPort { port = freePort() }
        let lines = ["port \(port)", "bind 127.0.0.1", "dir \(directory)"] + configuration
        try Data((lines.joined(separator: "\n") + "\n").utf8).write(to: URL(fileURLWithPath: configurationFile))
        process = try ChildProcess(
            executable,
            [configurationFile] + arguments,
            directory: controlDirectory.path,
            output: outputFile,
            errors: outputFile
        )
    }

    /// Whether the server answers PING with anything, an error included, but not with LOADING.
    private func answers() -> Bool {
        guard let client = try? TestClient(port: port, timeoutSeconds: 5) else { return false }
        guard let reply = try? client.command("PING") else { return false }
        return reply.text?.hasPrefix("LOADING") != true
    }

    /// Ends the server as an operator would, with SIGTERM, and examines its directory.
    public func stop(timeoutSeconds: Double = 60) throws {
        process?.signal(SIGTERM)
        try finish(expecting: .exited(0), timeoutSeconds: timeoutSeconds)
    }

    /// Ends the server as a crash would, with SIGKILL, and examines its directory.
    public func kill() throws {
        process?.signal(SIGKILL)
        try finish(expecting: .signalled(SIGKILL), timeoutSeconds: 30)
    }

    /// Ends the server as `kill` does, after so many microseconds in the midst of what `body` does with it.
    ///
    /// That goes on until a client finds its connection gone.
    public func killWithin(microseconds: Int, _ body: () throws -> Never) throws {
        let processID = processID
        Thread {
            usleep(UInt32(microseconds))
            _ = Glibc.kill(processID, SIGKILL)
        }.start()
        do {
            try body()
        } catch let error as TestClientError {
            switch error {
            case .closed, .system: break
            case .timedOut, .malformedReply: throw error
            }
        }
        try finish(expecting: .signalled(SIGKILL), timeoutSeconds: 30)
    }

    /// Waits for a server that ends by itself, for example after SHUTDOWN, and examines its directory.
    public func waitUntilEnded(expecting ending: ChildProcess.Ending = .exited(0)) throws {
        try finish(expecting: ending, timeoutSeconds: 60)
    }

    /// Stops the server with SIGTERM and starts it again on the same directory.
    public func restart() throws {
        try stop()
        try start()
    }

    /// Kills the server with SIGKILL and starts it again on the same directory.
    public func killAndRestart() throws {
        try kill()
        try start()
    }

    private func finish(expecting expected: ChildProcess.Ending, timeoutSeconds: Double) throws {
        guard let process else { return }
        let ending = try process.waitUntilEnded(timeoutSeconds: timeoutSeconds)
        self.process = nil
        guard ending == expected else { throw TestServerError.endedWrongly("\(ending)", output: output) }
        try check()
    }

    // MARK: Use

    /// A new connection.
    public func connect(timeoutSeconds: Int = 30) throws(TestClientError) -> TestClient {
        try TestClient(port: port, timeoutSeconds: timeoutSeconds)
    }

    /// Sends one command over a connection of its own.
    @discardableResult
    public func command(_ arguments: String...) throws -> TestReply {
        try connect().command(arguments.map { Array($0.utf8) })
    }

    /// The value of a field of INFO; nil if there is none.
    public func info(_ field: String) throws -> String? {
        let lines = try command("INFO", "all").text?.split(separator: "\r\n") ?? []
        return lines.first { $0.hasPrefix(field + ":") }.map { String($0.dropFirst(field.count + 1)) }
    }

    /// Runs `codis-server --check` on the directory of a stopped server; throws what it complains about.
    public func check() throws {
        guard program == .codis, checksAfterwards else { return }
        let result = try runProgram(executable, ["--check", directory], timeoutSeconds: 120)
        guard result.isSuccess else {
            throw TestServerError.checkFailed("\(result.ending): \(result.output)\(result.errors)")
        }
    }
}

/// What went wrong with a server under test.
public enum TestServerError: Error, Equatable, Sendable {
    /// It did not come up.
    case didNotStart(ending: String, output: String)
    /// It ended in another way than expected.
    case endedWrongly(String, output: String)
    /// `codis-server --check` found its directory damaged.
    case checkFailed(String)
}
