// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import Bytes
import Testing

@testable import RESP

/// What the requests in `text` are: their arguments, `ignored`, or the error line.
private func outcomes(_ text: String) -> [String] { outcomes(Array(text.utf8)) }

private func outcomes(_ bytes: [UInt8]) -> [String] {
    RESPProperties.requestEvents(bytes, cuts: []).map { event in
        switch event {
        case .request(let arguments, _, _, _):
            arguments.map { String(decoding: $0, as: UTF8.self) }.joined(separator: "|")
        case .ignored: "ignored"
        case .failure(let error): String(decoding: error.errorLine, as: UTF8.self)
        case .reply, .broken: "broken"
        }
    }
}

@Suite struct RESPRequestDecoderTests {
    static let streamCases: [(String, [String])] = [
        ("*1\r\n$4\r\nPING\r\n", ["PING"]),
        ("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$0\r\n\r\n", ["SET|k|"]),
        ("*2\r\n$3\r\nGET\r\n$1\r\na\r\n*1\r\n$4\r\nPING\r\nPING\r\n", ["GET|a", "PING", "PING"]),
        ("*2\r\n$3\r\nGET\r\n$12\r\nabcdefghijkl\r\n", ["GET|abcdefghijkl"]),
        ("*10\r\n" + String(repeating: "$1\r\nx\r\n", count: 10), ["x|x|x|x|x|x|x|x|x|x"]),
        (
            "*40\r\n" + String(repeating: "$1\r\ny\r\n", count: 40),
            [Array(repeating: "y", count: 40).joined(separator: "|")]
        ),
        ("*1\r\n$0\r\n\r\n", [""]),
        // Nothing asked for.
        ("*0\r\n*-1\r\n*-10\r\n\r\n\n*1\r\n$1\r\nx\r\n", ["ignored", "ignored", "ignored", "ignored", "ignored", "x"]),
        // What follows a header's `\r` and an argument is skipped unread.
        ("*1\rX$4\rYPINGab*1\r\n$1\r\nx\r\n", ["PING", "x"]),
        // Malformed headers.
        ("*x\r\n", ["ERR Protocol error: invalid multibulk length"]),
        ("*\r\n", ["ERR Protocol error: invalid multibulk length"]),
        ("*+1\r\n", ["ERR Protocol error: invalid multibulk length"]),
        ("*01\r\n", ["ERR Protocol error: invalid multibulk length"]),
        ("*-0\r\n", ["ERR Protocol error: invalid multibulk length"]),
        ("* 1\r\n", ["ERR Protocol error: invalid multibulk length"]),
        ("*1048577\r\n", ["ERR Protocol error: invalid multibulk length"]),
        ("*20000000000000000000\r\n", ["ERR Protocol error: invalid multibulk length"]),
        ("*1048576\r\n", []),
        ("*1\r\n$-1\r\n", ["ERR Protocol error: invalid bulk length"]),
        ("*1\r\n$01\r\n", ["ERR Protocol error: invalid bulk length"]),
        ("*1\r\n$\r\n", ["ERR Protocol error: invalid bulk length"]),
        ("*1\r\n$blabla\r\n", ["ERR Protocol error: invalid bulk length"]),
        ("*1\r\n$536870913\r\n", ["ERR Protocol error: invalid bulk length"]),
        ("*1\r\n$2000000000\r\n", ["ERR Protocol error: invalid bulk length"]),
        ("*1\r\n$536870912\r\n", []),
        ("*3\r\n$3\r\nSET\r\n$1\r\nx\r\nfooz\r\n", ["ERR Protocol error: expected '$', got 'f'"]),
        ("*1\r\n123456\r\n", ["ERR Protocol error: expected '$', got '1'"]),
        ("*1\r\n\r\n", ["ERR Protocol error: expected '$', got ' '"]),
        // Nothing can be said against a line before its end.
        ("*1\r\nfooz", []),
        ("*x", []),
        // Inline.
        ("PING\r\nPING\nPING", ["PING", "PING"]),
        ("  SET  k   v  \r\n", ["SET|k|v"]),
        ("SET k \"a b\\x41\\n\\q\" 'c\\'\\n'\r\n", ["SET|k|a bA\nq|c'\\n"]),
        ("SET ab\"c d\" e\r\n", ["SET|abc d|e"]),
        ("SET k \"\"\r\n", ["SET|k"]),
        ("\"\"\r\n", ["ignored"]),
        ("   \r\n", ["ignored"]),
        ("SET k \"abc\r\n", ["ERR Protocol error: unbalanced quotes in request"]),
        ("SET k 'abc\r\n", ["ERR Protocol error: unbalanced quotes in request"]),
        ("SET k \"a\"b\r\n", ["ERR Protocol error: unbalanced quotes in request"]),
        ("a\rb\r\n", ["a|b"]),
        ("$1\r\n", ["$1"]),
    ]

    @Test("A stream of requests is taken apart", arguments: streamCases)
    func stream(text: String, expected: [String]) {
        #expect(outcomes(text) == expected)
    }

    @Test("A stream decodes alike however it is cut", arguments: streamCases)
    func cuts(text: String, expected: [String]) {
        #expect(RESPProperties.violation(Array(text.utf8)) == nil)
    }

    @Test("Arguments may hold any byte")
    func binaryArguments() {
        let value = (0...255).map { UInt8($0) }
        var bytes: [UInt8] = []
        bytes.appendRequest([Array("SET".utf8), [0, 13, 10], value])
        let expected = RESPProperties.Event.request(
            [Array("SET".utf8), [0, 13, 10], value],
            isCanonical: true,
            isInline: false,
            bytes: bytes
        )
        #expect(RESPProperties.requestEvents(bytes, cuts: []) == [expected])
        #expect(RESPProperties.violation(bytes) == nil)
    }

    @Test("A byte of the request that is not ASCII appears in the error as it is")
    func errorWithByte() {
        #expect(RESPError.expectedBulk(got: 0xFF).errorLine.suffix(3) == [39, 0xFF, 39])
    }

    @Test(
        "A request is canonical only with real line ends",
        arguments: [
            ("*1\r\n$1\r\nx\r\n", true), ("*1\rX$1\r\nx\r\n", false), ("*1\r\n$1\rXx\r\n", false),
            ("*1\r\n$1\r\nxX\n", false), ("*1\r\n$1\r\nx\rX", false), ("PING\r\n", true),
            ("*1\r\n$10\rX0123456789\r\n", false), ("*10\rX" + String(repeating: "$1\r\nx\r\n", count: 10), false),
        ]
    )
    func canonical(text: String, expected: Bool) {
        let events = RESPProperties.requestEvents(Array(text.utf8), cuts: [])
        guard case .request(_, let isCanonical, _, _) = events.first else {
            Issue.record("no request")
            return
        }
        #expect(isCanonical == expected)
    }

    @Test("A request that was not canonical does not taint the next one")
    func canonicalIsPerRequest() {
        let events = RESPProperties.requestEvents(Array("*1\r\n$1\r\nxab*1\r\n$1\r\nx\r\n".utf8), cuts: [])
        let flags = events.map { event in
            if case .request(_, let isCanonical, _, _) = event { isCanonical } else { false }
        }
        #expect(flags == [false, true])
    }

    @Test("An inline request is rewritten as multibulk")
    func rewritten() throws {
        var decoder = RESPRequestDecoder()
        let line = Array("set k 'a b'\r\n".utf8)
        #expect(
            try ByteView.with(line) { view throws(RESPError) in try decoder.decode(view) } == .request(consumed: 13)
        )
        #expect(decoder.isInline)
        #expect(decoder.rewrittenRequest == Array("*3\r\n$3\r\nset\r\n$1\r\nk\r\n$3\r\na b\r\n".utf8))
    }

    @Test(
        "A line without an end is refused beyond 64 KiB",
        arguments: [
            ("*", "too big mbulk count string"), ("*1\r\n$", "too big bulk count string"),
            ("P", "too big inline request"), ("*\0", "too big mbulk count string"),
            ("*1\r\n$\0", "too big bulk count string"), ("P\0", "too big inline request"),
            ("*1\r\n$1\r\nx\r\n*2\r\n\0", "too big bulk count string"),
        ]
    )
    func tooLong(start: String, reason: String) {
        var bytes = Array(start.utf8)
        let unfinished = bytes.lastIndex(where: { $0 == 10 }).map { $0 + 1 } ?? 0
        bytes.append(contentsOf: repeatElement(UInt8(ascii: "1"), count: 65_536 - (bytes.count - unfinished)))
        #expect(!outcomes(bytes).contains { $0.hasPrefix("ERR") })
        bytes.append(UInt8(ascii: "1"))
        #expect(outcomes(bytes).last == "ERR Protocol error: " + reason)
        for cut in [1, 100, 65_535, 65_536] {
            #expect(
                RESPProperties.requestEvents(bytes, cuts: [cut]) == RESPProperties.requestEvents(bytes, cuts: [])
            )
        }
    }

    @Test("A zero byte hides the line end that follows it")
    func zeroByte() {
        #expect(outcomes("*1\0\r\nPING\r\n") == [])
        #expect(outcomes("PI\0NG\r\n") == [])
        #expect(
            outcomes(Array("PI\0NG\r\n".utf8) + [UInt8](repeating: 10, count: 65_600)) == [
                "ERR Protocol error: too big inline request"
            ]
        )
    }

    @Test("What is still needed of a long argument is told at its header")
    func needed() throws {
        var decoder = RESPRequestDecoder()
        let header = Array("*1\r\n$536870912\r\n".utf8)
        let outcome = try ByteView.with(header) { view throws(RESPError) in try decoder.decode(view) }
        #expect(outcome == .incomplete(needed: header.count + 536_870_912 + 2))
    }

    @Test("A decoder forgets a request on demand")
    func reset() throws {
        var decoder = RESPRequestDecoder()
        #expect(
            try ByteView.with("*2\r\n$1") { view throws(RESPError) in try decoder.decode(view) }
                == .incomplete(needed: 7)
        )
        decoder.reset()
        #expect(
            try ByteView.with("x\r\n") { view throws(RESPError) in try decoder.decode(view) } == .request(consumed: 3)
        )
        #expect(decoder.argumentCount == 1)
    }

    #if DEBUG
    @Test("The work is linear in the bytes, however small the pieces")
    func linearWork() throws {
        let count = 100_000
        var request: [UInt8] = []
        request.appendRequest(Array(repeating: [UInt8(ascii: "x")], count: count))
        for pieceLength in [1_000, 16_384] {
            var decoder = RESPRequestDecoder()
            var outcome = RESPRequestDecoder.Outcome.incomplete(needed: 1)
            try ByteView.with(request) { view throws(RESPError) in
                for end in stride(from: pieceLength, to: request.count, by: pieceLength) + [request.count] {
                    outcome = try decoder.decode(view.prefix(end))
                }
            }
            #expect(outcome == .request(consumed: request.count))
            #expect(decoder.argumentCount == count)
            #expect(decoder.work < count + 20 * (request.count / pieceLength + 2))
        }
        for line in ["*", "P", "*1\r\n$"] {
            let bytes = Array(line.utf8) + [UInt8](repeating: UInt8(ascii: "1"), count: 60_000)
            var decoder = RESPRequestDecoder()
            try ByteView.with(bytes) { view throws(RESPError) in
                for end in 1...bytes.count { _ = try decoder.decode(view.prefix(end)) }
            }
            #expect(decoder.work < 2 * bytes.count)
        }
    }
    #endif
}
