// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import AOF
import CodisTesting
import Foundation
import Testing

@Suite("The reader of append-only files")
struct AOFReaderTests {
    private func text(_ words: [[UInt8]]) -> [String] { words.map { String(decoding: $0, as: UTF8.self) } }

    @Test("commands come one after the other, and time stamps of Redis 7 are passed over")
    func commands() {
        let file = "*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n#TS:1700000000\r\n*3\r\n$3\r\nSET\r\n$1\r\na\r\n$2\r\n\r\n\r\n"
        let outcome = AOFProperties.read(Array(file.utf8), chunk: 5)
        #expect(outcome.commands.map(text) == [["SELECT", "0"], ["SET", "a", "\r\n"]])
        #expect(outcome.error == nil)
        #expect(outcome.offset == UInt64(file.utf8.count))
    }

    @Test("an empty file has no commands")
    func empty() {
        #expect(AOFProperties.read([], chunk: 1) == AOFProperties.Outcome())
    }

    @Test("a file that is cut is good up to the last whole command", arguments: 1..<27)
    func truncated(length: Int) {
        let first = Array("*1\r\n$4\r\nPING\r\n".utf8)
        let second = Array("*2\r\n$4\r\nECHO\r\n$3\r\nabc\r\n".utf8)
        guard length < second.count else { return }
        let outcome = AOFProperties.read(first + second[0..<length], chunk: 3)
        #expect(outcome.commands.count == 1)
        #expect(outcome.error == .truncated(offset: UInt64(first.count)))
    }

    @Test(
        "what is no command is told with its place",
        arguments: ["PING\r\n", "*x\r\n", "*0\r\n", "*1\r\nx4\r\nPING\r\n", "*1\r\n$-1\r\n", "*-1\r\n", "\r\n"]
    )
    func malformed(bytes: String) {
        let first = Array("*1\r\n$4\r\nPING\r\n".utf8)
        let outcome = AOFProperties.read(first + Array(bytes.utf8), chunk: 64)
        #expect(outcome.error == .malformed(offset: UInt64(first.count)))
        #expect(outcome.commands.count == 1)
    }

    @Test("whatever the bytes and however they are cut, the reader keeps its promises")
    func properties() {
        var random = SeededGenerator()
        let pieces = [
            "*1\r\n", "*2\r\n", "$4\r\n", "PING\r\n", "$0\r\n\r\n", "#TS:1\r\n", "*0\r\n", "\r", "\n", "x",
            "$1\r\na\r\n",
        ]
        for _ in 0..<2000 {
            let input = (0..<random.number(0...12)).flatMap { _ in Array(random.pick(pieces).utf8) }
            let complaint = AOFProperties.check(input)
            #expect(complaint == nil, "\(printable(input)), seed \(random.seed)")
        }
    }

    @Test("what the fuzzer once found, and its seeds, keep the promises", arguments: ["Corpus", "Regressions"])
    func corpus(folder: String) throws {
        let path = "\(TestServer.packageRoot)/Fuzz/\(folder)/AOF"
        for name in (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? [] {
            let bytes = try Data(contentsOf: URL(fileURLWithPath: "\(path)/\(name)"))
            #expect(AOFProperties.check(Array(bytes)) == nil, "\(name)")
        }
    }
}

@Suite("The manifest of an append-only file in parts")
struct AOFManifestTests {
    @Test("the base comes first, then the others in order, and what is history is left out")
    func order() throws {
        let text = """
            file appendonly.aof.2.base.rdb seq 2 type b
            file appendonly.aof.1.base.rdb seq 1 type h
            # a comment
            file "with blank.aof" seq 3 type i
            file appendonly.aof.4.incr.aof seq 4 type i

            """
        #expect(
            try AOFManifest(text).files
                == ["appendonly.aof.2.base.rdb", "with blank.aof", "appendonly.aof.4.incr.aof"]
        )
    }

    @Test(
        "what cannot be read is refused with a sentence",
        arguments: [
            ("", "the manifest of the AOF names no file"),
            ("file a seq 1", "line 1 of the manifest of the AOF cannot be read"),
            ("file ../a seq 1 type b", "line 1 of the manifest of the AOF names a path"),
            ("file a seq 1 type x", "line 1 of the manifest of the AOF has an unknown type"),
            ("file a seq 1 type b\nfile b seq 2 type b", "the manifest of the AOF has two base files"),
            ("file a seq 2 type i\nfile b seq 1 type i", "the manifest of the AOF has files out of order"),
        ]
    )
    func refused(text: String, reason: String) {
        do throws(AOFManifest.Failure) {
            _ = try AOFManifest(text)
            Issue.record("it was read")
        } catch {
            #expect(error.description == reason)
        }
    }
}
