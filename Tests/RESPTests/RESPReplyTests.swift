// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import Bytes
import NIOCore
import RESP
import Testing

@Suite struct RESPReplyTests {
    private func written(_ write: (inout ByteBuffer) -> Void) -> String {
        var buffer = ByteBuffer()
        write(&buffer)
        return String(buffer: buffer)
    }

    @Test("Replies are written to the byte")
    func writer() {
        #expect(written { $0.writeReplyOK() } == "+OK\r\n")
        #expect(written { $0.writeReplyZero() } == ":0\r\n")
        #expect(written { $0.writeReplyOne() } == ":1\r\n")
        #expect(written { $0.writeReplyNullBulk() } == "$-1\r\n")
        #expect(written { $0.writeReplyNullArray() } == "*-1\r\n")
        #expect(written { $0.writeReplyEmptyArray() } == "*0\r\n")
        #expect(written { $0.writeReplyEmptyBulk() } == "$0\r\n\r\n")
        #expect(written { $0.writeReplyPong() } == "+PONG\r\n")
        #expect(written { $0.writeReplyQueued() } == "+QUEUED\r\n")
        #expect(written { $0.writeReplyInteger(-42) } == ":-42\r\n")
        #expect(written { $0.writeReplyInteger(Int64.min) } == ":-9223372036854775808\r\n")
        #expect(written { $0.writeReplyArrayHeader(12) } == "*12\r\n")
        #expect(written { $0.writeReplyBulk("hello") } == "$5\r\nhello\r\n")
        #expect(written { $0.writeReplyBulk(ByteView()) } == "$0\r\n\r\n")
        #expect(written { $0.writeReplyBulk(Int64(-1)) } == "$2\r\n-1\r\n")
        #expect(written { $0.writeReplyStatus("Background saving started") } == "+Background saving started\r\n")
        #expect(written { $0.writeReplyError("ERR no such key") } == "-ERR no such key\r\n")
        #expect(written { $0.writeReplyBulk([UInt8](repeating: 97, count: 1_000)) }.utf8.count == 1_009)
    }

    @Test("Line ends within an error become blanks")
    func errorLineEnds() {
        #expect(written { $0.writeReplyError("ERR a\r\nb\n" as String) } == "-ERR a  b \r\n")
    }

    @Test("Replies are read as they were written")
    func decoder() throws {
        let text = "+OK\r\n-ERR x\r\n:-5\r\n$3\r\na\r\n\r\n$-1\r\n*-1\r\n*0\r\n*2\r\n*1\r\n$0\r\n\r\n:1\r\n"
        let expected: [RESPReply] = [
            .status(Array("OK".utf8)), .error(Array("ERR x".utf8)), .integer(-5), .bulk(Array("a\r\n".utf8)),
            .nullBulk, .nullArray, .array([]), .array([.array([.bulk([])]), .integer(1)]),
        ]
        let replies = RESPProperties.replyEvents(Array(text.utf8), cuts: []).map { event in
            if case .reply(let reply, _) = event { reply } else { RESPReply.nullBulk }
        }
        #expect(replies == expected)
        #expect(RESPProperties.violation(Array(text.utf8)) == nil)
    }

    @Test(
        "A reply beyond the limits or the protocol is refused",
        arguments: [
            ("*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n", RESPError.replyTooDeep), ("$1001\r\n", .replyTooLarge),
            ("*1000\r\n", .replyTooLarge), ("x\r\n", .invalidReplyType(120)), (":x\r\n", .invalidReply),
            ("$-2\r\n", .invalidReply), ("$1\r\nabc", .invalidReply), ("+a\rb", .invalidReply),
            ("+" + String(repeating: "a", count: 1_000), .replyTooLarge),
        ] as [(String, RESPError)]
    )
    func limits(text: String, error: RESPError) {
        var decoder = RESPReplyDecoder(maximumDepth: 3, maximumBytes: 1_000)
        #expect(throws: error) { try ByteView.with(text) { view throws(RESPError) in try decoder.decode(view) } }
    }

    @Test(
        "What is wrong with a reply is told",
        arguments: [
            (RESPError.invalidReplyType(120), "ERR Protocol error: invalid reply type"),
            (.invalidReply, "ERR Protocol error: invalid reply"),
            (.replyTooDeep, "ERR Protocol error: reply nested too deeply"),
            (.replyTooLarge, "ERR Protocol error: too big reply"),
        ]
    )
    func texts(error: RESPError, text: String) { #expect(error.errorLine == Array(text.utf8)) }

    @Test("Requests written into a buffer and into an array are the same")
    func requestWriters() {
        var array: [UInt8] = []
        var buffer = ByteBuffer()
        array.appendRequest(["SET", "k", "", String(repeating: "v", count: 100)])
        buffer.writeRequest(["SET", "k", "", String(repeating: "v", count: 100)])
        #expect(array == Array(buffer: buffer))
        array.appendRequestHeader(argumentCount: 3)
        array.appendRequestArgument("PEXPIREAT")
        array.appendRequestArgument(ByteView("key"))
        array.appendRequestArgument(Int64(1_234_567_890_123))
        #expect(
            String(decoding: array, as: UTF8.self).hasSuffix(
                "*3\r\n$9\r\nPEXPIREAT\r\n$3\r\nkey\r\n$13\r\n1234567890123\r\n"
            )
        )
    }
}
