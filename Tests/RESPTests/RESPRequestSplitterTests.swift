// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import Bytes
import RESP
import Testing

@Suite struct RESPRequestSplitterTests {
    @Test(
        "A line is split into words",
        arguments: [
            ("", []), ("  \t ", []), ("a b", ["a", "b"]), ("a\tb\nc\rd", ["a", "b", "c", "d"]),
            ("save \"\"", ["save", ""]), ("'' ''", ["", ""]), ("a\\n", ["a\\n"]),
            ("\"\\x41\\x4a\\x4A\\xZZ\"", ["AJJxZZ"]), ("\"\\a\\b\\t\\r\\n\\\\\\\"\"", ["\u{7}\u{8}\t\r\n\\\""]),
            ("'\\'\\\"\\n'", ["'\\\"\\n"]), ("a\0b", ["a"]), ("\u{B}a\u{B}b", ["a\u{B}b"]),
        ] as [(String, [String])]
    )
    func words(line: String, expected: [String]) {
        let words = ByteView.with(line) { RESPRequestSplitter.splitArguments($0) }
        #expect(words?.map { String(decoding: $0, as: UTF8.self) } == expected)
    }

    @Test("Unbalanced quotes are refused", arguments: ["\"", "'", "\"a", "a\"b\"c", "'a'b", "\"a\\", "\"a\0\""])
    func unbalanced(line: String) {
        #expect(ByteView.with(line) { RESPRequestSplitter.splitArguments($0) } == nil)
    }

    @Test("Every byte survives quoting and splitting")
    func quoting() {
        let bytes = (0...255).map { UInt8($0) }
        var line: [UInt8] = []
        ByteView.with(bytes) { line.appendQuoted($0) }
        #expect(ByteView.with(line) { RESPRequestSplitter.splitArguments($0) } == [bytes])
    }

    @Test("Bytes that cannot be printed are quoted as escapes")
    func escapes() {
        var line: [UInt8] = []
        ByteView.with([0, 7, 8, 9, 10, 13, 27, 34, 39, 92, 127, 255, 65] as [UInt8]) { line.appendQuoted($0) }
        #expect(String(decoding: line, as: UTF8.self) == #""\x00\a\b\t\n\r\x1b\"'\\\x7f\xffA""#)
    }
}
