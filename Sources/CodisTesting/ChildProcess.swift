// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Foundation
internal import Glibc

/// A program started by a test.
///
/// Its standard output and standard error go to files, so that it never waits for a reader.
@safe
public final class ChildProcess {
    /// How a process ended.
    public enum Ending: Equatable, Sendable {
        /// It exited by itself, with this status.
        case exited(Int32)
        /// A signal ended it.
        case signalled(Int32)
    }

    /// The process id.
    public let processID: Int32
    private var knownEnding: Ending?

    /// Starts `program`, a path or a name to be found in PATH.
    ///
    /// - Parameters:
    ///   - arguments: what follows the program's name.
    ///   - directory: where it starts.
    ///   - input: the file that becomes its standard input; none means an empty one.
    ///   - output: the file to which its standard output is appended.
    ///   - errors: the file to which its standard error is appended; may be the same.
    public init(
        _ program: String,
        _ arguments: [String] = [],
        directory: String,
        input: String? = nil,
        output: String,
        errors: String
    ) throws(ChildProcessError) {
        var actions = unsafe posix_spawn_file_actions_t()
        unsafe posix_spawn_file_actions_init(&actions)
        defer { unsafe posix_spawn_file_actions_destroy(&actions) }
        let append = O_WRONLY | O_CREAT | O_APPEND
        unsafe posix_spawn_file_actions_addopen(&actions, 0, input ?? "/dev/null", O_RDONLY, 0)
        unsafe posix_spawn_file_actions_addopen(&actions, 1, output, append, 0o644)
        unsafe posix_spawn_file_actions_addopen(&actions, 2, errors, append, 0o644)

        // The threads of a test run with their own signal masks, which a server must not inherit.
        var attributes = posix_spawnattr_t()
        unsafe posix_spawnattr_init(&attributes)
        defer { unsafe posix_spawnattr_destroy(&attributes) }
        var none = sigset_t()
        var all = sigset_t()
        unsafe sigemptyset(&none)
        unsafe sigfillset(&all)
        unsafe posix_spawnattr_setsigmask(&attributes, &none)
        unsafe posix_spawnattr_setsigdefault(&attributes, &all)
        unsafe posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))

        // env changes the directory and becomes the program; posix_spawn itself cannot do that portably.
        var words: [UnsafeMutablePointer<CChar>?] = unsafe (["env", "--chdir=\(directory)", program] + arguments).map {
            unsafe strdup($0)
        }
        unsafe words.append(nil)
        defer { unsafe words.forEach { unsafe free($0) } }
        var started: pid_t = 0
        let status = unsafe posix_spawnp(&started, "env", &actions, &attributes, words, environ)
        guard status == 0 else {
            throw .cannotStart(program: program, reason: unsafe String(cString: strerror(status)))
        }
        processID = started
    }

    deinit {
        // A test that failed half way must not leave its server behind.
        if knownEnding == nil {
            _ = Glibc.kill(processID, SIGKILL)
            var status: Int32 = 0
            _ = unsafe waitpid(processID, &status, 0)
        }
    }

    /// Sends a signal, unless the process has ended.
    public func signal(_ number: Int32) {
        if ending == nil { _ = Glibc.kill(processID, number) }
    }

    /// How the process ended; nil while it runs.
    public var ending: Ending? {
        if knownEnding == nil {
            var status: Int32 = 0
            if unsafe waitpid(processID, &status, WNOHANG) == processID {
                let signal = status & 0x7F
                knownEnding = signal == 0 ? .exited((status >> 8) & 0xFF) : .signalled(signal)
            }
        }
        return knownEnding
    }

    /// Waits until the process has ended; after `timeoutSeconds` it is killed and the wait fails.
    @discardableResult
    public func waitUntilEnded(timeoutSeconds: Double = 60) throws(ChildProcessError) -> Ending {
        if waitUntil(timeoutSeconds: timeoutSeconds, { ending != nil }), let ending { return ending }
        _ = Glibc.kill(processID, SIGKILL)
        throw .didNotEnd(afterSeconds: timeoutSeconds)
    }
}

/// Why a program could not be used.
public enum ChildProcessError: Error, Equatable, Sendable {
    /// The system refused to start it.
    case cannotStart(program: String, reason: String)
    /// It was still running when its time was over.
    case didNotEnd(afterSeconds: Double)
}

/// What a program that ran to its end left behind.
public struct ProgramResult: Sendable {
    /// How it ended.
    public let ending: ChildProcess.Ending
    /// What it wrote to standard output.
    public let output: String
    /// What it wrote to standard error.
    public let errors: String

    /// Whether it exited with status 0.
    public var isSuccess: Bool { ending == .exited(0) }
}

/// Runs a program to its end, with `input` as its standard input.
public func runProgram(
    _ program: String,
    _ arguments: [String] = [],
    directory: String? = nil,
    input: String = "",
    timeoutSeconds: Double = 60
) throws -> ProgramResult {
    let folder = try TemporaryDirectory()
    let inputFile = folder.path + "/input"
    try Data(input.utf8).write(to: URL(fileURLWithPath: inputFile))
    let process = try ChildProcess(
        program,
        arguments,
        directory: directory ?? folder.path,
        input: inputFile,
        output: folder.path + "/output",
        errors: folder.path + "/errors"
    )
    let ending = try process.waitUntilEnded(timeoutSeconds: timeoutSeconds)
    return ProgramResult(
        ending: ending,
        output: textOfFile(folder.path + "/output"),
        errors: textOfFile(folder.path + "/errors")
    )
}
