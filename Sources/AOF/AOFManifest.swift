// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

/// The list of the parts of an append-only file, as Redis 7 keeps it in `appendonlydir`.
///
/// Redis 7: aof.c, aofLoadManifestFromFile.
/// A line for each part: `file NAME seq NUMBER type b|h|i`, where `b` is the base, `i` what came after it in order, and
/// `h` what is not needed any more. Lines that begin with `#` are comments.
public struct AOFManifest: Equatable, Sendable {
    /// The names of the files to be read, in order: the base, if there is one, then the others.
    public private(set) var files: [String] = []

    /// Why a manifest cannot be used.
    public struct Failure: Error, Equatable, Sendable, CustomStringConvertible {
        /// What is wrong, as a sentence.
        public let description: String
    }

    /// Reads the text of a manifest.
    public init(_ text: String) throws(Failure) {
        var base: String?
        var increments: [(number: Int, name: String)] = []
        for (index, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
            if line.isEmpty || line.hasPrefix("#") { continue }
            let words = AOFManifest.words(line)
            var name: String?
            var number: Int?
            var type: String?
            var position = 0
            while position + 1 < words.count {
                switch words[position].lowercased() {
                case "file": name = words[position + 1]
                case "seq": number = Int(words[position + 1])
                case "type": type = words[position + 1]
                default: break
                }
                position += 2
            }
            guard words.count % 2 == 0, let name, let number, let type else {
                throw Failure(description: "line \(index + 1) of the manifest of the AOF cannot be read")
            }
            guard !name.isEmpty, !name.contains("/") else {
                throw Failure(description: "line \(index + 1) of the manifest of the AOF names a path")
            }
            switch type {
            case "b":
                guard base == nil else { throw Failure(description: "the manifest of the AOF has two base files") }
                base = name
            case "i":
                guard increments.last.map({ $0.number < number }) ?? true else {
                    throw Failure(description: "the manifest of the AOF has files out of order")
                }
                increments.append((number, name))
            case "h": break
            default: throw Failure(description: "line \(index + 1) of the manifest of the AOF has an unknown type")
            }
        }
        files = (base.map { [$0] } ?? []) + increments.map(\.name)
        guard !files.isEmpty else { throw Failure(description: "the manifest of the AOF names no file") }
    }

    /// The words of a line; one may stand in double quotes, with a backslash before what is not meant as it stands.
    private static func words(_ line: Substring) -> [String] {
        var words: [String] = []
        var word: String?
        var isQuoted = false
        var isEscaped = false
        for character in line {
            if isEscaped {
                word?.append(character)
                isEscaped = false
            } else if isQuoted, character == "\\" {
                isEscaped = true
            } else if character == "\"" {
                isQuoted.toggle()
                word = word ?? ""
            } else if !isQuoted, character == " " || character == "\r" || character == "\t" {
                if let finished = word { words.append(finished) }
                word = nil
            } else {
                word = (word ?? "") + String(character)
            }
        }
        if let word { words.append(word) }
        return words
    }
}
