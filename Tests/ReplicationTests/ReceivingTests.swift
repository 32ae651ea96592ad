// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import Bytes
import Testing

@testable import Replication

@Suite("What a replica receives")
struct ReceivingTests {
    let mark = Array("0123456789abcdef0123456789abcdef01234567".utf8)

    @Test("the line before a snapshot tells its form")
    func forms() {
        #expect(SnapshotForm(Array("$123".utf8)) == .length(123))
        #expect(SnapshotForm(Array("$EOF:".utf8) + mark) == .mark(mark))
        for text in ["", "123", "$", "$-1", "$x", "$EOF:short", "+OK"] {
            #expect(SnapshotForm(Array(text.utf8)) == nil, "\(text)")
        }
        #expect(SnapshotForm.length(5).line == Array("$5\r\n".utf8))
        #expect(SnapshotForm.mark(mark).line == Array("$EOF:".utf8) + mark + Array("\r\n".utf8))
    }

    @Test("a snapshot is told from its mark however it is cut", arguments: [1, 2, 3, 7, 39, 40, 41, 64, 1000])
    func marks(step: Int) {
        let snapshot = (0..<500).map { UInt8(truncatingIfNeeded: $0 &* 7) } + mark.dropLast()
        for content in [snapshot, []] {
            var receiver = SnapshotReceiver(.mark(mark))
            var received: [UInt8] = []
            var rest = (content + mark)[...]
            while !rest.isEmpty {
                #expect(!receiver.isComplete)
                let piece = Array(rest.prefix(step))
                rest = rest.dropFirst(step)
                let taken = ByteView.with(piece) { receiver.receive($0) { received += Array($0) } }
                #expect(taken == piece.count)
            }
            #expect(receiver.isComplete)
            #expect(received == content)
            #expect(receiver.receivedBytes == UInt64(content.count))
            #expect(receiver.remainingBytes == nil)
        }
    }

    @Test("a snapshot of a known length ends with its last byte, and what follows stays", arguments: [1, 3, 10, 100])
    func lengths(step: Int) {
        let bytes = Array("0123456789*1\r\n".utf8)
        var receiver = SnapshotReceiver(.length(10))
        var received: [UInt8] = []
        var position = 0
        while !receiver.isComplete {
            let piece = Array(bytes[position..<min(bytes.count, position + step)])
            position += ByteView.with(piece) { receiver.receive($0) { received += Array($0) } }
            #expect(receiver.remainingBytes == UInt64(10 - received.count))
        }
        #expect(position == 10)
        #expect(received == Array(bytes.prefix(10)))
        #expect(SnapshotReceiver(.length(0)).isComplete)
    }

    @Test("only whole commands and whole transactions are taken from the stream, however it is cut")
    func units() throws {
        let single = Array("*2\r\n$3\r\nDEL\r\n$1\r\nk\r\n".utf8)
        let multi = Array("*1\r\n$5\r\nMULTI\r\n".utf8)
        let exec = Array("*1\r\n$4\r\nexec\r\n".utf8)
        let stream = single + multi + single + single + exec + multi + exec + single
        // Where the stream may be cut in two.
        var ends: [Int] = [0, single.count]
        ends.append(single.count * 3 + multi.count + exec.count)
        ends.append(ends[2] + multi.count + exec.count)
        ends.append(stream.count)
        for step in 1...stream.count {
            var scanner = StreamScanner()
            var buffer: [UInt8] = []
            var done = 0
            var rest = stream[...]
            while !rest.isEmpty {
                buffer += rest.prefix(step)
                rest = rest.dropFirst(step)
                let whole = try ByteView.with(buffer) { view throws(StreamError) in
                    try scanner.wholeUnits(in: view)
                }
                buffer.removeFirst(whole)
                done += whole
                #expect(ends.contains(done), "\(done) of \(ends), step \(step)")
            }
            #expect(done == stream.count, "step \(step)")
        }
    }

    @Test(
        "what is no stream of commands is refused",
        arguments: ["+OK\r\n", "PING\r\n", "*1\r\n+x\r\n", "\r\n", "*0\r\n"]
    )
    func garbage(text: String) {
        var scanner = StreamScanner()
        #expect(throws: StreamError.self) {
            try ByteView.with(Array(text.utf8)) { view throws(StreamError) in _ = try scanner.wholeUnits(in: view) }
        }
    }
}
