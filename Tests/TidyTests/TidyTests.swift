// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import Foundation
import Testing

@Suite("The source tree")
struct TidyTests {
    /// Modules which may use what the compiler cannot check: those that touch memory, C and system calls.
    static let modulesWithUnsafeCode: Set<String> = [
        "Bytes", "CodisServer", "CodisTesting", "CommandLog", "Keyspace", "LMDB", "RDB", "RESP", "SlotHash",
        "Worker",
    ]

    static let header = [
        "// This file is part of the Codis server in Swift.",
        "// SPDX-License-Identifier: MIT",
    ]

    @Test("there are files to look at")
    func files() {
        let modules = Set(SourceTree.files.compactMap(\.module))
        #expect(modules.isSuperset(of: ["CodisServer", "Keyspace", "codis-server"]))
    }

    @Test("every file says whose it is and under which licence")
    func headers() {
        for file in SourceTree.files where file.isSwift {
            let first = file.lines.prefix(3).filter { !$0.hasPrefix("// swift-tools-version") }
            #expect(first.prefix(2).map(String.init) == Self.header, "\(file.path)")
        }
        for file in SourceTree.files where file.path.hasPrefix("tools/") || file.path.hasPrefix(".ci/") {
            let first = file.lines.prefix(3).joined(separator: "\n")
            #expect(first.contains("# SPDX-License-Identifier: MIT"), "\(file.path)")
        }
    }

    @Test("nothing is left for later")
    func openEnds() {
        // Written in pieces, so that this file is not the first finding.
        let marks = ["TO" + "DO", "FIX" + "ME", "XX" + "X", "fatalError(\"un" + "implemented", "HA" + "CK"]
        for file in SourceTree.files {
            for (number, line) in file.lines.enumerated() {
                for mark in marks where holds(line, word: mark) {
                    Issue.record("\(file.path):\(number + 1) has \(mark)")
                }
            }
        }
    }

    @Test("what the compiler cannot check is confined to a few modules")
    func unsafeCode() {
        for file in SourceTree.files where file.isSwift {
            // The tests of a module may do what the module may.
            let tested = file.path.split(separator: "/").dropFirst().first.map {
                String($0.replacing(/Tests$/, with: ""))
            }
            let isAllowed =
                file.path.hasPrefix("Fuzz/")
                || (file.module ?? tested).map { Self.modulesWithUnsafeCode.contains($0) } ?? false
            guard !isAllowed else { continue }
            for (number, line) in file.lines.enumerated() where isCode(line) && holds(line, word: "un" + "safe") {
                Issue.record("\(file.path):\(number + 1) uses code that is not checked")
            }
        }
    }

    @Test("no line of Swift is longer than 120 columns, and none ends in a blank")
    func lines() {
        for file in SourceTree.files where file.isSwift {
            for (number, line) in file.lines.enumerated() {
                if line.count > 120 { Issue.record("\(file.path):\(number + 1) has \(line.count) columns") }
                if line.last == " " { Issue.record("\(file.path):\(number + 1) ends in a blank") }
            }
        }
    }

    @Test("every file ends with one line end")
    func lastLines() {
        for file in SourceTree.files where !file.text.isEmpty {
            #expect(file.text.hasSuffix("\n") && !file.text.hasSuffix("\n\n"), "\(file.path)")
        }
    }

    @Test("no file knows where it was written")
    func privatePaths() {
        let places = ["/wo" + "rk/", "/ro" + "ot/", "/home" + "/", "/Us" + "ers/"]
        for file in SourceTree.files {
            for place in places where file.text.contains(place) { Issue.record("\(file.path) mentions \(place)") }
        }
    }

    @Test("no forced tries, and no test library but Swift Testing")
    func bannedWords() {
        let banned = ["try" + "!", "import XC" + "Test"]
        for file in SourceTree.files where file.isSwift {
            for word in banned where file.text.contains(word) { Issue.record("\(file.path) has \(word)") }
        }
    }

    @Test("only what belongs there stands at the top of the tree")
    func topLevel() throws {
        let names = try FileManager.default.contentsOfDirectory(atPath: SourceTree.root)
        let strangers = Set(names).subtracting(SourceTree.topLevel).subtracting(SourceTree.ignored)
        #expect(strangers.isEmpty, "\(strangers.sorted())")
        let missing = SourceTree.topLevel.subtracting([".git", "Fuzz"]).subtracting(names)
        #expect(missing.isEmpty, "\(missing.sorted())")
    }

    @Test("every module has tests, and each of its public declarations is documented")
    func modules() {
        let folders = Set(SourceTree.files.map { $0.path.split(separator: "/").prefix(2).joined(separator: "/") })
        for module in Set(SourceTree.files.filter(\.isSwift).compactMap(\.module)) {
            // The testing module is tested by its use; a program is a few lines over a library.
            guard module != "CodisTesting", module != "codis-server" else { continue }
            #expect(folders.contains("Tests/\(module)Tests"), "\(module)")
        }
        for file in SourceTree.files where file.isSwift && file.module != nil {
            let lines = file.lines.map { $0.drop { $0 == " " } }
            for (number, line) in lines.enumerated() where line.hasPrefix("public ") && !isWitness(line) {
                // Attributes and conditions may stand between a declaration and its comment.
                let above = lines[..<number].last { !$0.hasPrefix("@") && !$0.hasPrefix("#") } ?? ""
                if !above.hasPrefix("///") { Issue.record("\(file.path):\(number + 1) lacks a comment: \(line)") }
            }
        }
    }

    @Test("the programs that README and the other pages name are there", arguments: ["README.md", "CONTRIBUTING.md"])
    func commands(page: String) throws {
        let file = try #require(SourceTree.files.first { $0.path == page })
        let names = Set(file.text.matches(of: /tools\/[a-z-]+/).map { String($0.output) })
        #expect(names.contains("tools/test"))
        for name in names {
            #expect(FileManager.default.isExecutableFile(atPath: "\(SourceTree.root)/\(name)"), "\(name)")
        }
        if page == "README.md" { #expect(names.contains("tools/quickstart")) }
    }

    @Test("every page has one title, at its top")
    func titles() {
        for file in SourceTree.files where file.isMarkdown {
            var isInCode = false
            var titles: [Int] = []
            for (number, line) in file.lines.enumerated() {
                if line.hasPrefix("```") { isInCode.toggle() }
                if !isInCode && line.hasPrefix("# ") { titles.append(number) }
            }
            #expect(titles == [0], "\(file.path)")
        }
    }

    private func isCode(_ line: Substring) -> Bool { !line.drop { $0 == " " }.hasPrefix("//") }

    /// Declarations that a protocol documents, and imports and extensions, which need no comment.
    private func isWitness(_ line: Substring) -> Bool {
        let names = [
            "import ", "extension ", "var description", "var debugDescription", "func hash(", "static func ==",
            "static func <", "func makeIterator(", "var underestimatedCount", "func withContiguousStorageIfAvailable",
        ]
        return names.contains { line.dropFirst("public ".count).hasPrefix($0) }
    }

    /// Whether `word` stands in the line with no letter beside it.
    private func holds(_ line: Substring, word: String) -> Bool {
        var rest = line
        while let range = rest.range(of: word) {
            let before = range.lowerBound == rest.startIndex ? nil : rest[rest.index(before: range.lowerBound)]
            let after = range.upperBound == rest.endIndex ? nil : rest[range.upperBound]
            let isAlone = [before, after].allSatisfy { $0.map { !$0.isLetter && !$0.isNumber && $0 != "_" } ?? true }
            if isAlone || !(word.last?.isLetter ?? false) { return true }
            rest = rest[range.upperBound...]
        }
        return false
    }
}
