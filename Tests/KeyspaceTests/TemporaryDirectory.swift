// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import Foundation

/// A fresh directory that is removed when this goes.
final class TemporaryDirectory {
    let path: String

    init() throws {
        path = NSTemporaryDirectory() + "/codis-" + UUID().uuidString
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit {
        try? FileManager.default.removeItem(atPath: path)
    }

    /// The path of a keyspace within.
    var keyspace: String { path + "/keyspace" }
}
