// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Foundation

/// A fresh directory that goes with the value which owns it.
public final class TemporaryDirectory: Sendable {
    /// The absolute path, without a slash at the end.
    public let path: String

    /// Creates the directory, below TMPDIR or /tmp.
    public init() throws {
        let name = "codis-test-" + String(UInt64.random(in: 0...UInt64.max), radix: 36)
        let url = FileManager.default.temporaryDirectory.appendingPathComponent(name)
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
        path = url.path
    }

    deinit {
        // CODIS_TEST_KEEP=1 leaves the directories of a failing test for inspection.
        if !environmentSwitch("CODIS_TEST_KEEP") { try? FileManager.default.removeItem(atPath: path) }
    }
}
