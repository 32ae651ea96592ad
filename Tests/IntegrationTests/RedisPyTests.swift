// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisTesting
import Foundation
import Testing

/// The tests that redis-py, the Python client, has for itself, of which most are tests of a server.
///
/// What does not apply is listed with reasons in `tools/redispy/suite.py`.
@Suite("redis-py's own tests")
struct RedisPyTests {
    private static let tool = "\(TestServer.packageRoot)/tools/redis-py"

    private static func isInstalled(_ version: String) -> Bool {
        FileManager.default.fileExists(atPath: "\(TestServer.packageRoot)/.build/redis-py-\(version)/complete")
    }

    @Test(
        "those of 2.10.6 and of 3.5.3 pass",
        .enabled(if: isInstalled("2.10.6") && isInstalled("3.5.3"), "tools/redis-py --install makes them ready"),
        arguments: [("2.10.6", 320), ("3.5.3", 370)]
    )
    func suite(version: String, least: Int) throws {
        let server = try TestServer()
        let result = try runProgram(Self.tool, ["--version", version, "\(server.port)"], timeoutSeconds: 600)
        // The tests that fail stand at the end.
        let told = result.output.split(separator: "\n").suffix(60).joined(separator: "\n")
        #expect(result.isSuccess, "\(told)\n\(result.errors)")
        // So that nothing passes by not being run.
        let passed = result.output.firstMatch(of: /([0-9]+) passed/).flatMap { Int($0.1) } ?? 0
        #expect(passed >= least, "\(told)")
        try server.stop()
    }
}
