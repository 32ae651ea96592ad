// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Glibc

/// CONFIG REWRITE's way to the file: it is read, changed, and written back in place with one write.
enum ConfigRewriter {
    static func rewrite(_ config: ServerConfig) throws(ConfigError) {
        guard let path = config.configFile else { throw .noConfigFile }
        // A file that is gone is written anew.
        let existing = ConfigEffects.live.read(path) ?? []
        let text = config.rewrite(existing)
        let descriptor = unsafe open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw failure() }
        defer { close(descriptor) }
        // One write of the whole, padded to the old length with a comment, then cut: a reader sees one or the other.
        var padded = text
        if existing.count > text.count {
            padded += Array(repeating: 0x0A, count: existing.count - text.count)
        }
        guard unsafe write(descriptor, padded, padded.count) == padded.count else { throw failure() }
        guard ftruncate(descriptor, off_t(text.count)) == 0, fsync(descriptor) == 0 else { throw failure() }
    }

    private static func failure() -> ConfigError {
        .cannotRewrite(reason: unsafe String(cString: strerror(errno)))
    }
}
