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
