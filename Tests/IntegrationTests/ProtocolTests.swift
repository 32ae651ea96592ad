// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisTesting
import Testing

@Suite("Protocol")
struct ProtocolTests {
    /// What is sent on a fresh connection, and what comes back.
    struct Exchange: CustomTestStringConvertible, Sendable {
        let title: String
        let sent: String
        let received: String
        /// Whether the server closes the connection afterwards by itself.
        var closes = false

        var testDescription: String { title }
    }

    static let requests = [
        Exchange(title: "multibulk", sent: "*1\r\n$4\r\nPING\r\n", received: "+PONG\r\n"),
        Exchange(title: "inline", sent: "PING\r\n", received: "+PONG\r\n"),
        Exchange(title: "inline ending with a bare line feed", sent: "PING\nPING\n", received: "+PONG\r\n+PONG\r\n"),
        Exchange(
            title: "both forms mixed",
            sent: "PING\r\n*1\r\n$4\r\nPING\r\nPING\r\n",
            received: "+PONG\r\n+PONG\r\n+PONG\r\n"
        ),
        Exchange(title: "names in any case", sent: "pInG\r\n", received: "+PONG\r\n"),
        Exchange(title: "no arguments: no reply", sent: "*0\r\nPING\r\n", received: "+PONG\r\n"),
        Exchange(title: "a negative count: no reply", sent: "*-1\r\n*-10\r\nPING\r\n", received: "+PONG\r\n"),
        Exchange(title: "empty lines: no reply", sent: "\r\n\r\nPING\r\n", received: "+PONG\r\n"),
        Exchange(title: "a blank line: no reply", sent: "   \r\nPING\r\n", received: "+PONG\r\n"),
        Exchange(
            title: "the two bytes after an argument are skipped unread",
            sent: "*1\r\n$4\r\nPINGXX*1\r\n$4\r\nPING\n\n",
            received: "+PONG\r\n+PONG\r\n"
        ),
        Exchange(title: "the empty command", sent: "*1\r\n$0\r\n\r\n", received: "-ERR unknown command ''\r\n"),
        Exchange(
            title: "an unknown command keeps its case",
            sent: "Foo bar\r\n",
            received: "-ERR unknown command 'Foo'\r\n"
        ),
        Exchange(
            title: "line ends in an error become blanks",
            sent: "*1\r\n$6\r\na\r\nb\nc\r\n",
            received: "-ERR unknown command 'a  b c'\r\n"
        ),
        Exchange(
            title: "wrong number of arguments",
            sent: "GET\r\nget a b\r\n",
            received: "-ERR wrong number of arguments for 'get' command\r\n"
                + "-ERR wrong number of arguments for 'get' command\r\n"
        ),
        Exchange(
            title: "inline words in double quotes",
            sent: #"ECHO "a b\x41\n\r\t\"\\\q""# + "\r\n",
            received: "$10\r\na bA\n\r\t\"\\q\r\n"
        ),
        Exchange(
            title: "inline words in single quotes",
            sent: #"ECHO 'a "b\n\'c'"# + "\r\n",
            received: "$8\r\n" + #"a "b\n'c"# + "\r\n"
        ),
        Exchange(title: "blanks around inline words", sent: "  ECHO   hello  \r\n", received: "$5\r\nhello\r\n"),
        Exchange(
            title: "QUIT answers and closes; nothing after it runs",
            sent: "QUIT\r\nSET quit 1\r\n",
            received: "+OK\r\n",
            closes: true
        ),
        Exchange(
            title: "a null where nothing is, in both shapes of request",
            sent: "GET missing\r\n*2\r\n$3\r\nGET\r\n$7\r\nmissing\r\n",
            received: "$-1\r\n$-1\r\n"
        ),
    ]

    static let violations = [
        Exchange(
            title: "too many arguments",
            sent: "*1048577\r\n",
            received: "-ERR Protocol error: invalid multibulk length\r\n",
            closes: true
        ),
        Exchange(
            title: "a count with a plus sign",
            sent: "*+1\r\n$4\r\nPING\r\n",
            received: "-ERR Protocol error: invalid multibulk length\r\n",
            closes: true
        ),
        Exchange(
            title: "a count with a leading zero",
            sent: "*01\r\n$4\r\nPING\r\n",
            received: "-ERR Protocol error: invalid multibulk length\r\n",
            closes: true
        ),
        Exchange(
            title: "a count that is no number",
            sent: "*abc\r\n",
            received: "-ERR Protocol error: invalid multibulk length\r\n",
            closes: true
        ),
        Exchange(
            title: "no count at all",
            sent: "*\r\n",
            received: "-ERR Protocol error: invalid multibulk length\r\n",
            closes: true
        ),
        Exchange(
            title: "a count beyond 64 bits",
            sent: "*18446744073709551617\r\n",
            received: "-ERR Protocol error: invalid multibulk length\r\n",
            closes: true
        ),
        Exchange(
            title: "a negative length",
            sent: "*1\r\n$-1\r\n",
            received: "-ERR Protocol error: invalid bulk length\r\n",
            closes: true
        ),
        Exchange(
            title: "a length over 512 MB",
            sent: "*1\r\n$536870913\r\n",
            received: "-ERR Protocol error: invalid bulk length\r\n",
            closes: true
        ),
        Exchange(
            title: "a length that is no number",
            sent: "*1\r\n$x\r\n",
            received: "-ERR Protocol error: invalid bulk length\r\n",
            closes: true
        ),
        Exchange(
            title: "a length with a leading zero",
            sent: "*1\r\n$04\r\nPING\r\n",
            received: "-ERR Protocol error: invalid bulk length\r\n",
            closes: true
        ),
        Exchange(
            title: "no dollar sign",
            sent: "*1\r\nPING\r\n",
            received: "-ERR Protocol error: expected '$', got 'P'\r\n",
            closes: true
        ),
        Exchange(
            title: "nothing after an error is read",
            sent: "*1\r\n:4\r\nPING\r\nPING\r\n",
            received: "-ERR Protocol error: expected '$', got ':'\r\n",
            closes: true
        ),
        Exchange(
            title: "replies before an error are sent",
            sent: "PING\r\n*2\r\n$4\r\nECHO\r\n$-5\r\n",
            received: "+PONG\r\n-ERR Protocol error: invalid bulk length\r\n",
            closes: true
        ),
        Exchange(
            title: "an endless count",
            sent: "*" + String(repeating: "1", count: 70_000),
            received: "-ERR Protocol error: too big mbulk count string\r\n",
            closes: true
        ),
        Exchange(
            title: "an endless length",
            sent: "*1\r\n$" + String(repeating: "1", count: 70_000),
            received: "-ERR Protocol error: too big bulk count string\r\n",
            closes: true
        ),
        Exchange(
            title: "an endless inline request",
            sent: String(repeating: "a", count: 70_000),
            received: "-ERR Protocol error: too big inline request\r\n",
            closes: true
        ),
        Exchange(
            title: "an open double quote",
            sent: "ECHO \"abc\r\n",
            received: "-ERR Protocol error: unbalanced quotes in request\r\n",
            closes: true
        ),
        Exchange(
            title: "an open single quote",
            sent: "ECHO 'abc\r\n",
            received: "-ERR Protocol error: unbalanced quotes in request\r\n",
            closes: true
        ),
        Exchange(
            title: "a closing quote without a blank after it",
            sent: "ECHO \"abc\"def\r\n",
            received: "-ERR Protocol error: unbalanced quotes in request\r\n",
            closes: true
        ),
    ]

    @Test("requests are understood in all their forms, and what is none is refused")
    func exchanges() throws {
        let server = try TestServer()
        for exchange in Self.requests + Self.violations {
            expect(exchange, on: server) { client in try client.sendRaw(exchange.sent) }
        }
        #expect(try server.command("EXISTS", "quit") == .integer(0))
        try server.stop()
    }

    @Test("requests may arrive byte by byte")
    func bytewise() throws {
        let server = try TestServer()
        for exchange in Self.requests where exchange.sent.utf8.count < 100 {
            expect(exchange, on: server) { client in
                for byte in exchange.sent.utf8 {
                    // A server that has said goodbye takes no more.
                    guard (try? client.sendRaw([byte])) != nil else { break }
                }
            }
        }
        try server.stop()
    }

    /// Makes an exchange on a connection of its own and compares all that comes back until the server closes it.
    private func expect(_ exchange: Exchange, on server: TestServer, send: (TestClient) throws -> Void) {
        do {
            let client = try server.connect(timeoutSeconds: 5)
            try send(client)
            // QUIT makes the server close where it does not by itself, and shows that it is ready for a next request.
            if !exchange.closes { try client.sendRaw("QUIT\r\n") }
            let expected = exchange.received + (exchange.closes ? "" : "+OK\r\n")
            let received = try client.receiveUntilClosed()
            #expect(printable(received) == printable(Array(expected.utf8)), "\(exchange.title)")
        } catch {
            Issue.record("\(exchange.title): \(error)")
        }
    }

    @Test("a NUL in a header line ends in a protocol error once 64 kB are there")
    func nulInHeader() throws {
        let server = try TestServer()
        for start in ["*1\0", "*\0", "*1\r\n$4\0"] {
            let client = try server.connect(timeoutSeconds: 5)
            try client.sendRaw(start + String(repeating: "\r\nx", count: 30_000))
            let received = String(decoding: try client.receiveUntilClosed(), as: UTF8.self)
            #expect(received.hasPrefix("-ERR Protocol error: "), "\(received)")
        }
        try server.stop()
    }

    @Test("the greatest counts and lengths allowed are waited for")
    func limits() throws {
        let server = try TestServer()
        for start in ["*1048576\r\n", "*1\r\n$536870912\r\n", "*2\r\n$4\r\nECHO\r\n$536870912\r\nabc"] {
            let client = try server.connect(timeoutSeconds: 5)
            try client.sendRaw(start)
            #expect(!client.hasInput(withinMilliseconds: 100))
        }
        let client = try server.connect()
        let many = (0..<100_000).map { Array("key\($0)".utf8) }
        let reply = try client.command([Array("MGET".utf8)] + many)
        #expect(reply.elements?.count == many.count)
        try server.stop()
    }

    @Test("keys and values hold any byte")
    func binary() throws {
        let server = try TestServer()
        let client = try server.connect()
        let all = (0...255).map { UInt8($0) }
        let tricky = Array("\r\n$5\r\nhello\r\n*1\r\n\0".utf8)
        for bytes in [all, tricky, [], [0], [0xFF], Array(all.reversed())] {
            #expect(try client.command([Array("SET".utf8), bytes, bytes]) == .ok)
            #expect(try client.command([Array("GET".utf8), bytes]) == .bulk(bytes))
            #expect(try client.command([Array("ECHO".utf8), bytes]) == .bulk(bytes))
        }
        try server.stop()
    }
}
