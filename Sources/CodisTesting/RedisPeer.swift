// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Foundation

/// Debian's redis-server and the tools that come with it, where they are installed.
public enum RedisPeer {
    /// Whether redis-server can be started here.
    public static let isInstalled = isOnPath("redis-server")

    /// Whether redis-cli and redis-benchmark can be started here.
    public static let hasTools = isOnPath("redis-cli") && isOnPath("redis-benchmark")

    /// A python3 that has redis-py: CODIS_TEST_PYTHON, which tools/test sets; nil if there is none.
    public static let python: String? = {
        let candidates = [
            ProcessInfo.processInfo.environment["CODIS_TEST_PYTHON"],
            "\(TestServer.packageRoot)/.build/python/bin/python3",
        ]
        return candidates.compactMap { $0 }.first { FileManager.default.isExecutableFile(atPath: $0) }
    }()

    /// Starts a redis-server without persistence.
    public static func start(configuration: [String] = []) throws -> TestServer {
        try TestServer(configuration: ["save \"\"", "appendonly no"] + configuration, program: .redis)
    }

    /// Whether a program of this name is in one of PATH's folders.
    public static func isOnPath(_ name: String) -> Bool {
        let folders = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":")
        return folders.contains { FileManager.default.isExecutableFile(atPath: "\($0)/\(name)") }
    }
}
