// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import Bytes
import CodisServer
import Testing

private func matches(_ pattern: String, _ text: String, ignoringCase: Bool = false) -> Bool {
    ByteView.with(pattern) { pattern in
        ByteView.with(text) { Glob.matches(pattern, $0, ignoringCase: ignoringCase) }
    }
}

@Suite struct GlobTests {
    @Test(
        "A pattern matches what it describes",
        arguments: [
            ("*", ""), ("*", "abc"), ("**", "abc"), ("a*", "a"), ("a*c", "abbc"), ("*b*", "abc"), ("h?llo", "hello"),
            ("h[ae]llo", "hallo"), ("h[^e]llo", "hbllo"), ("h[a-b]llo", "hbllo"), ("h[b-a]llo", "hallo"),
            ("\\*", "*"), ("a\\?c", "a?c"), ("[\\]]", "]"), ("[a-", "-"), ("[abc", "c"),
            ("", ""), ("*a*b*c*", "xxaxxbxxcxx"), ("\\", "\\"), ("[^", "x"), ("*[0-9]", "key7"),
        ]
    )
    func match(pattern: String, text: String) {
        #expect(matches(pattern, text))
    }

    @Test(
        "A pattern does not match anything else",
        arguments: [
            ("", "a"), ("a", ""), ("?", ""), ("[^a]", ""), ("a*c", "abbd"), ("h[^e]llo", "hello"), ("h?llo", "hllo"),
            ("a", "ab"), ("ab", "a"), ("[", "["), ("\\*", "a"), ("A", "a"), ("*[0-9]", "key"), ("[a-c]", "d"),
        ]
    )
    func mismatch(pattern: String, text: String) {
        #expect(!matches(pattern, text))
    }

    @Test("Case is ignored on demand")
    func ignoringCase() {
        #expect(matches("HeL*[X-Z]", "hello y", ignoringCase: true))
        #expect(!matches("hel", "HELLO", ignoringCase: true))
    }

    @Test("Bytes that are no text are matched as they are")
    func bytes() {
        let pattern: [UInt8] = [0x2A, 0xFF, 0x3F, 0]
        let bytes: [UInt8] = [1, 2, 0xFF, 0xFE, 0]
        #expect(ByteView.with(pattern) { pattern in ByteView.with(bytes) { Glob.matches(pattern, $0) } })
    }

    @Test("A pattern of many stars takes no exponential time", .timeLimit(.minutes(1)))
    func manyStars() {
        let pattern = String(repeating: "a*", count: 200) + "b"
        #expect(!matches(pattern, String(repeating: "a", count: 10_000)))
    }

    @Test(
        "A literal pattern is told from others",
        arguments: [("abc", true), ("a*", false), ("a\\b", false), ("", true)]
    )
    func literal(pattern: String, expected: Bool) {
        #expect(ByteView.with(pattern) { Glob.isLiteral($0) } == expected)
    }
}
