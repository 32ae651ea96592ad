// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisTesting
import Testing

@Suite("OBJECT")
struct ObjectCommandTests {
    let server: CommandHarness

    init() throws { server = try CommandHarness() }

    @Test(
        "a canonical 64-bit number is kept as int, all else raw",
        arguments: [
            ("12", "int"), ("0", "int"), ("-9223372036854775808", "int"), ("9223372036854775807", "int"),
            ("9223372036854775808", "raw"), ("012", "raw"), ("+1", "raw"), ("-0", "raw"), ("1.0", "raw"),
            ("foo", "raw"),
            ("", "raw"), (" 1", "raw"),
        ]
    )
    func encoding(value: String, name: String) {
        server.run("SET", "k", value)
        #expect(server("OBJECT ENCODING k") == .bulk(name))
    }

    @Test("what works on bytes makes an int raw, also if the result is a number; INCR makes it int again")
    func stickyRaw() {
        for change in ["APPEND k 5", "SETRANGE k 0 7", "SETBIT k 7 0"] {
            server("SET k 10")
            server(change)
            #expect(server("OBJECT ENCODING k") == .bulk("raw"), "\(change)")
            server("RENAME k l")
            server("EXPIRE l 100")
            #expect(server("OBJECT ENCODING l") == .bulk("raw"), "\(change)")
            server("INCR l")
            #expect(server("OBJECT ENCODING l") == .bulk("int"), "\(change)")
        }
        server("APPEND new 5")
        #expect(server("OBJECT ENCODING new") == .bulk("int"))
    }

    @Test("small integers are shared")
    func refcount() {
        server("MSET a 9999 b 10000 c foo d -1")
        #expect(server("OBJECT REFCOUNT a").number ?? 0 > 1)
        for key in ["b", "c", "d"] { #expect(server("OBJECT REFCOUNT \(key)") == .integer(1)) }
    }

    @Test("IDLETIME counts seconds since the key was used, and OBJECT is no use")
    func idletime() {
        server("SET k v")
        server("GET k")
        server.advance(milliseconds: 5000)
        #expect(server("OBJECT IDLETIME k") == .integer(5))
        server("OBJECT ENCODING k")
        #expect(server("OBJECT idletime k") == .integer(5))
        server("GET k")
        #expect(server("OBJECT IDLETIME k") == .integer(0))
    }

    @Test("OBJECT of a missing key is null, of an unknown question an error")
    func errors() {
        #expect(server("OBJECT ENCODING x") == .nullBulk)
        #expect(server("OBJECT REFCOUNT x") == .nullBulk)
        #expect(server("OBJECT IDLETIME x") == .nullBulk)
        #expect(
            server("OBJECT FREQ x") == .error("ERR Syntax error. Try OBJECT (refcount|encoding|idletime)")
        )
        #expect(server("OBJECT ENCODING") == .error("ERR wrong number of arguments for 'object' command"))
    }
}
