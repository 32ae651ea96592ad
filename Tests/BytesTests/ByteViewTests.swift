// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import Bytes
import Testing

@Suite("A view of bytes")
struct ByteViewTests {
    @Test("shows the bytes of its owner and of any part of them")
    func slices() {
        ByteView.with(Array("hello world".utf8)) { view in
            #expect(view.count == 11)
            #expect(view[4] == UInt8(ascii: "o"))
            #expect(String(view[6..<11]) == "world")
            #expect(String(view.prefix(5)) == "hello")
            #expect(String(view.dropFirst(6)) == "world")
            #expect(view[3..<3].isEmpty)
            #expect(Array(view.dropFirst(11)) == [])
        }
    }

    @Test("is equal to another with the same bytes, wherever they lie")
    func equality() {
        ByteView.with([1, 2, 3]) { one in
            ByteView.with([1, 2, 3]) { two in #expect(one == two) }
            ByteView.with([1, 2, 4]) { two in #expect(one != two) }
            ByteView.with([1, 2]) { two in #expect(one != two) }
            #expect(one == [1, 2, 3])
        }
        #expect(ByteView() == ByteView(""))
    }

    @Test("finds a byte from a place on")
    func search() {
        let view = ByteView("a{b}{c}")
        #expect(view.firstIndex(of: UInt8(ascii: "{")) == 1)
        #expect(view.firstIndex(of: UInt8(ascii: "{"), from: 2) == 4)
        #expect(view.firstIndex(of: UInt8(ascii: "x")) == nil)
    }

    @Test("finds the first of a byte in any bytes, wherever it stands")
    func searchAnywhere() {
        // Bytes next to the one that is looked for, and with the highest bit, are what a search by words could take
        // for it.
        let choices: [UInt8] = [0x00, 0x01, 0x7A, 0x7B, 0x7C, 0x80, 0xFA, 0xFB, 0xFF]
        var generator = SystemRandomNumberGenerator()
        for _ in 0..<20_000 {
            let bytes = (0..<Int.random(in: 0...40)).map { _ in choices.randomElement(using: &generator)! }
            let byte = choices.randomElement(using: &generator)!
            let start = Int.random(in: 0...bytes.count)
            let found = ByteView.with(bytes) { $0.firstIndex(of: byte, from: start) }
            #expect(found == bytes[start...].firstIndex(of: byte), "\(byte) in \(bytes) from \(start)")
        }
    }

    @Test("compares with a word of the program without regard to case")
    func ignoringCase() {
        #expect(ByteView("PexPireAt").equalsIgnoringCase("pexpireat"))
        #expect(!ByteView("pexpire").equalsIgnoringCase("pexpireat"))
        #expect(!ByteView("[\\]").equalsIgnoringCase("{|}"))
    }

    @Test("traps on a byte beyond its end")
    func bounds() async {
        await #expect(processExitsWith: .failure) { _ = ByteView("abc")[3] }
        await #expect(processExitsWith: .failure) { _ = ByteView("abc")[2..<4] }
    }
}
