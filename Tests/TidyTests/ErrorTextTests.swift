// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import Foundation
import Testing

@Suite("Error texts in the source tree")
struct ErrorTextTests {
    /// What a client can be shown only by damage or by a mistake in the program, so that no test can provoke it.
    static let unreachable = [
        // PFSELFTEST has found a mistake in the program.
        "ERR TESTFAILED ",
        // A dump is damaged between the moment it was written and that in which it is read.
        "ERR Error trying to load the RDB dump",
        "ERR the value cannot be read: ",
        // There is no memory left for a script, or 2 GB are packed.
        "ERR Error running script (new function): ",
        "not enough memory",
        "the packed value is too long",
    ]

    @Test("every error text that a client can be shown stands in a test")
    func coverage() {
        let tests = SourceTree.files.filter { $0.isSwift && $0.path.hasPrefix("Tests/") }
        let tested = tests.filter { !$0.path.hasSuffix(Self.own) }
        let text = tested.map { Self.joined($0.text) }.joined(separator: "\n")
        var texts: Set<String> = []
        for file in SourceTree.files where file.isSwift { texts.formUnion(Self.errorTexts(of: file)) }
        #expect(texts.count > 150)
        for error in texts.sorted() where !Self.unreachable.contains(where: { error.hasPrefix($0) }) {
            #expect(Self.occurs(error, in: text), "no test has \(error)")
        }
    }

    @Test("an error text that no test has is noticed")
    func canary() {
        let file = SourceTree.File(
            path: "Sources/CodisServer/Commands/X.swift",
            text: """
                // "ERR a comment"
                throw .message(
                    "ERR no"
                        + " \\(f(x)) \\(y) more"
                )
                throw .here("odd number")
                """
        )
        let texts = Self.errorTexts(of: file)
        #expect(texts == ["ERR no \\(f(x)) \\(y) more", "odd number"])
        #expect(Self.occurs("ERR no \\(f(x)) \\(y) more", in: "x\nERR no 3 4 more"))
        #expect(!Self.occurs("ERR no \\(f(x)) \\(y) more", in: "ERR no 3\n4 more"))
    }

    // MARK: Reading the source

    private static let own = "TidyTests/ErrorTextTests.swift"

    /// Literals that begin with a code, wherever they stand in what clients talk to.
    private static let codes = [
        "BUSY", "ERR", "EXECABORT", "INVALIDOBJ", "IOERR", "LOADING", "MASTERDOWN", "MISCONF", "NOAUTH", "NOREPLICAS",
        "NOSCRIPT", "NOTBUSY", "OOM", "READONLY", "UNBLOCKED", "UNKILLABLE", "WRONGTYPE",
    ]

    /// Literals of more than one word on lines that give a reason.
    private static let reasonMarks = ["throw .", "ConfigReason(text:", "pushError(", "refuse(lua", "return \""]
    private static let reasonFolders = ["Commands/", "Configuration/", "Scripting/"].map { "Sources/CodisServer/\($0)" }

    /// The error texts in the file.
    static func errorTexts(of file: SourceTree.File) -> Set<String> {
        guard ["CodisServer", "RESP"].contains(file.module) else { return [] }
        let code = file.lines.filter { !$0.drop { $0 == " " }.hasPrefix("//") }.joined(separator: "\n")
        let saysReasons = reasonFolders.contains { file.path.hasPrefix($0) }
        let isTable = file.path.hasSuffix("/ConfigDirectives.swift")
        var found: Set<String> = []
        for line in joined(code).split(separator: "\n") {
            let givesReason = saysReasons && (isTable || reasonMarks.contains { line.contains($0) })
            for match in line.matches(of: /"-?((?:[^"\\]|\\.)*)"/) where match.output.1.contains(" ") {
                let literal = match.output.1
                let isCoded = codes.contains { literal.hasPrefix($0 + " ") }
                if isCoded || givesReason { found.insert(String(literal)) }
            }
        }
        return found
    }

    /// The text with literals that go on in the next line as one.
    private static func joined(_ text: String) -> String { text.replacing(/"\s*\+ "/, with: "") }

    /// Whether `error` stands in the text, with anything for what is put into it.
    static func occurs(_ error: String, in text: String) -> Bool {
        let plain = error.replacing("\\r\\n", with: "")
        let parts = plain.replacing(/\\\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)/, with: "\0").split(separator: "\0")
        // Nothing is known of what is put together elsewhere.
        if parts.isEmpty { return true }
        guard parts.count > 1 || plain.contains("\\(") else { return text.contains(plain) }
        let pattern = parts.map { NSRegularExpression.escapedPattern(for: String($0)) }.joined(separator: ".*")
        return text.range(of: pattern, options: .regularExpression) != nil
    }
}
