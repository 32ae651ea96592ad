// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisServer
import Synchronization

extension ConfigEffects {
    /// Effects on files that exist only here, so that tests can run beside one another.
    static func memory(_ files: [String: String] = [:], directory: String = "/start") -> ConfigEffects {
        let current = MemoryDirectory(directory)
        return ConfigEffects(
            read: { path in files[path].map { Array($0.utf8) } },
            changeDirectory: { path in
                if path == "/missing" { return "No such file or directory" }
                current.path.withLock { $0 = path.hasPrefix("/") ? path : $0 }
                return nil
            },
            currentDirectory: { current.path.withLock { $0 } },
            tryAppending: { path in path == "/missing/log" ? "No such file or directory" : nil }
        )
    }

    private final class MemoryDirectory: Sendable {
        let path: Mutex<String>

        init(_ path: String) { self.path = Mutex(path) }
    }
}

/// The configuration that `text` makes as a file, with `options` behind it on the command line.
func configuration(
    _ text: String,
    options: [String] = [],
    files: [String: String] = [:]
) throws(ConfigError)
    -> ServerConfig
{
    var files = files
    files["/etc/test.conf"] = text
    return try ServerConfig.load(arguments: ["/etc/test.conf"] + options, effects: .memory(files))
}
