// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import Foundation

/// The files of the project, without what is built or downloaded.
enum SourceTree {
    /// The directory of Package.swift, even where the tests were reached by way of a symbolic link.
    static let root: String = {
        let file = URL(fileURLWithPath: #filePath).resolvingSymlinksInPath()
        return file.deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent().path
    }()

    /// What may stand at the top, besides what git ignores.
    static let topLevel: Set<String> = [
        ".ci", ".editorconfig", ".git", ".gitignore", ".swift-format", "ARCHITECTURE.md", "CHANGELOG.md",
        "CONTRIBUTING.md", "Fuzz", "LICENSE", "Package.swift", "README.md", "Sources", "Tests", "conf", "tools",
    ]

    /// What git ignores at the top.
    static let ignored: Set<String> = [".build", ".run", ".swiftpm", "Package.resolved", "bin"]

    /// A file and its text.
    struct File: Sendable {
        /// The path from the root.
        let path: String
        let text: String

        var lines: [Substring] { text.split(separator: "\n", omittingEmptySubsequences: false) }
        var isSwift: Bool { path.hasSuffix(".swift") }
        var isMarkdown: Bool { path.hasSuffix(".md") }

        /// The module of a file in Sources; nil for other files.
        var module: String? {
            let parts = path.split(separator: "/")
            return parts.first == "Sources" && parts.count > 2 ? String(parts[1]) : nil
        }
    }

    /// Every text file of the project; a fuzzer's corpus is not text.
    static let files: [File] = {
        var found: [File] = []
        for name in topLevel.subtracting([".git"]).sorted() {
            let type = try? FileManager.default.attributesOfItem(atPath: "\(root)/\(name)")[.type]
            guard let type = type as? FileAttributeType else { continue }
            let inside = type == .typeDirectory ? FileManager.default.enumerator(atPath: "\(root)/\(name)") : nil
            let paths = inside.map { $0.compactMap { $0 as? String }.map { "\(name)/\($0)" } } ?? [name]
            for path in paths.sorted() where !isBuilt(path) {
                guard let data = FileManager.default.contents(atPath: "\(root)/\(path)") else { continue }
                guard let text = String(bytes: data, encoding: .utf8) else { continue }
                found.append(File(path: path, text: text))
            }
        }
        return found
    }()

    private static func isBuilt(_ path: String) -> Bool {
        let folders: Set<Substring> = [".build", "__pycache__", "Corpus", "Regressions"]
        return path.split(separator: "/").contains { folders.contains($0) } || path.hasSuffix("Package.resolved")
    }
}
