// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import CGlibc
internal import CommandLog
internal import Glibc
internal import Keyspace
internal import NIOCore
internal import NIOPosix
internal import RESP

/// The program `codis-server`, from its arguments to its end.
public enum CodisServerProgram {
    /// The version of Redis whose behaviour this is.
    static let version = "2.8.21"

    /// Runs the program; `arguments` are the words after its name.
    public static func run(arguments: [String]) -> Never {
        keepFreeMemory()
        if arguments.count == 1 || arguments.count == 2 {
            switch arguments[0] {
            case "-v", "--version": printVersion()
            case "-h", "--help": printUsage()
            case "--check" where arguments.count == 2: checkDirectory(arguments[1])
            case "--print-log" where arguments.count == 2: printLog(arguments[1])
            default: break
            }
        }
        var arguments = arguments
        let imported = takeImport(&arguments)
        let config: ServerConfig
        do throws(ConfigError) {
            config = try ServerConfig.load(arguments: arguments)
        } catch {
            if case .cannotOpen = error { print(error.fatalText) } else { printError(error.fatalText) }
            exit(1)
        }
        if let imported { importFile(imported, config) }
        ServerStart(config, hasArguments: !arguments.isEmpty).run()
    }

    /// Has the C library keep some memory that was freed.
    ///
    /// Replies of 100 KB and more are put together in buffers that are freed when they were sent. Given back to the
    /// kernel, each of their pages is a page fault and filled with zeros for the next reply, as pipelined LRANGEs
    /// of 100 elements show.
    private static func keepFreeMemory() {
        mallopt(M_TRIM_THRESHOLD, 16 << 20)
        mallopt(M_MMAP_THRESHOLD, 1 << 20)
    }

    // MARK: Other uses

    /// Takes `--import FILE` out of the arguments.
    private static func takeImport(_ arguments: inout [String]) -> String? {
        guard let index = arguments.firstIndex(of: "--import"), index + 1 < arguments.count else { return nil }
        let path = arguments[index + 1]
        arguments.removeSubrange(index...(index + 1))
        // The directive `dir` changes the directory that a relative path counts from.
        guard !path.hasPrefix("/"), let current = unsafe getcwd(nil, 0) else { return path }
        defer { unsafe free(current) }
        return unsafe String(cString: current) + "/" + path
    }

    /// `--import FILE`: what the file holds takes the place of the data in the configured directory.
    private static func importFile(_ path: String, _ config: ServerConfig) -> Never {
        var log = ServerLog(config)
        log.file = ""
        var status: Int32 = 1
        MultiThreadedEventLoopGroup.withCurrentThreadAsEventLoop { loop in
            do {
                let source = try ImportSource.at(path)
                let commands = CommandTable()
                let importer = Importer(config: config, log: log, loop: loop, commands: commands, showsBar: true)
                let keys = try importer.run(source)
                log.notice("\(keys) keys are in \(config.directory) now")
                status = 0
            } catch let error as ImportError {
                for line in error.lines { printError(line) }
            } catch {
                printError("Cannot import \(path): \(error)")
            }
            exit(status)
        }
        exit(status)
    }

    private static func printVersion() -> Never {
        print("Redis server v=\(version) sha=00000000:0 malloc=libc bits=64 build=\(ServerBuild.identifier)")
        exit(0)
    }

    private static func printUsage() -> Never {
        printError(
            """
            Usage: codis-server [/path/to/codis-server.conf] [options]
                   codis-server - (read the configuration from standard input)
                   codis-server -v or --version
                   codis-server -h or --help
                   codis-server [/path/to/codis-server.conf] [options] --import <file>
                                                   (load a dump.rdb, an appendonly.aof or an appendonlydir)
                   codis-server --check <dir>      (is what a server left in this directory sound?)
                   codis-server --print-log <dir>  (the log of effects as text)

            Examples:
                   codis-server (run with the defaults)
                   codis-server /etc/codis/8001.conf
                   codis-server --port 7777
                   codis-server /etc/codis/8001.conf --port 7777 --loglevel verbose
            """
        )
        exit(1)
    }

    /// `--check DIR`: 0 if all is sound, 1 with a line for each thing that is not.
    private static func checkDirectory(_ directory: String) -> Never {
        guard SmallFile.exists(ServerDirectory.keyspace(in: directory)) else {
            printError("There is no keyspace in \(directory).")
            exit(1)
        }
        do {
            let problems = try Keyspace.check(directory: ServerDirectory.keyspace(in: directory))
            for problem in problems { print(problem) }
            if problems.isEmpty { print("The keyspace in \(directory) is sound.") }
            exit(problems.isEmpty ? 0 : 1)
        } catch {
            printError("Cannot check \(directory): \(error)")
            exit(1)
        }
    }

    /// `--print-log DIR`: the log as text.
    private static func printLog(_ directory: String) -> Never {
        do throws(CommandLogError) {
            let outcome = try LogPrinter().print(directory: directory) { print($0) }
            exit(outcome.exitStatus)
        } catch {
            printError("Cannot print the log in \(directory): \(error)")
            exit(1)
        }
    }

    private static func printError(_ text: String) {
        let bytes = Array((text + "\n").utf8)
        _ = unsafe write(2, bytes, bytes.count)
    }
}

/// Where things lie in the server's directory.
enum ServerDirectory {
    static func keyspace(in directory: String) -> String { directory + "/keyspace" }
    /// Stands in for the keyspace while that is not there: when it is imported or opened anew.
    static func scratchKeyspace(in directory: String) -> String { directory + "/keyspace.loading" }
    static func log(in directory: String) -> String { directory + "/log" }
}

/// What tells one build from another.
enum ServerBuild {
    static let identifier = "c0d152e8f7a90021"
}
