// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import Bytes
import CodisServer

/// What must hold for every text of a configuration, checked by the tests and by the fuzzer.
enum ConfigProperties {
    /// The first property that `text` breaks, or nil.
    static func violation(_ text: [UInt8]) -> String? {
        guard let config = load(text) else { return globViolation(text) }
        let rewritten = config.rewrite(text)
        guard let again = load(rewritten) else {
            return "rewritten, it cannot be read: \(String(decoding: rewritten, as: UTF8.self))"
        }
        guard values(again) == values(config) else {
            return "rewritten, it says something else: \(String(decoding: rewritten, as: UTF8.self))"
        }
        return globViolation(text)
    }

    private static func load(_ text: [UInt8]) -> ServerConfig? {
        let effects = ConfigEffects(
            read: { path in path == "main" ? text : path == "other" ? Array("port 1".utf8) : nil },
            changeDirectory: { _ in nil },
            currentDirectory: { "/" },
            tryAppending: { _ in nil }
        )
        return try? ServerConfig.load(arguments: ["main"], effects: effects)
    }

    private static func values(_ config: ServerConfig) -> [[UInt8]] {
        ByteView.with("*") { config.get($0) }.map(\.value)
    }

    /// A text whose special bytes are escaped matches just itself; `*` around a part of it matches the whole.
    private static func globViolation(_ text: [UInt8]) -> String? {
        let text = text.prefix(200)
        let escaped: [UInt8] = text.reduce(into: []) { $0 += [0x5C, $1] }
        let around: [UInt8] = [0x2A] + escaped.prefix(escaped.count / 4 * 2) + [0x2A]
        return ByteView.with(Array(text)) { bytes in
            guard ByteView.with(escaped, { Glob.matches($0, bytes) }) else { return "it does not match itself" }
            guard ByteView.with(around, { Glob.matches($0, bytes) }) else { return "it does not match a part of it" }
            _ = Glob.matches(bytes, bytes, ignoringCase: true)
            return nil
        }
    }
}
