// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisTesting
import Testing

@testable import CodisServer

@Suite("Scripts: errors of struct and cmsgpack")
struct ScriptLibraryErrorTests {
    /// Calls, and what they raise behind the place, or the whole where there is no place.
    static let cases = [
        ("struct.pack('i33', 1)", "integral size 33 is larger than limit of 32"),
        ("struct.pack('i99999999999', 1)", "integral size overflow"),
        ("struct.pack('!3i', 1)", "alignment 3 is not a power of 2"),
        ("struct.pack('q', 1)", "bad argument #1 to 'pack' (invalid format option 'q')"),
        ("struct.pack('c5', 'abc')", "bad argument #3 to 'pack' (string too short)"),
        ("struct.unpack('i', 'abcd', 0)", "bad argument #3 to 'unpack' (offset must be 1 or greater)"),
        ("struct.unpack('i', 'abc')", "bad argument #2 to 'unpack' (data string too short)"),
        ("struct.unpack('c0', 'abc')", "format `c0' needs a previous size"),
        ("struct.unpack('s', 'abc')", "unfinished string in data"),
        ("struct.unpack(string.rep('b', 9000), string.rep('x', 9000))", "stack overflow (too many results)"),
        ("struct.size('s')", "bad argument #1 to 'size' (option 's' has no fixed size)"),
        ("struct.size('c0')", "bad argument #1 to 'size' (option 'c0' has no fixed size)"),
        ("cmsgpack.pack()", "bad argument #0 to 'pack' (MessagePack pack needs input.)"),
        (
            "local t = {} for i = 1, 7960 do t[i] = i end cmsgpack.pack(unpack(t))",
            "stack overflow (in function mp_check)"
        ),
        ("cmsgpack.unpack_limit('abc', -1, 0)", "Invalid request to unpack with offset of 0 and limit of 3."),
        ("cmsgpack.unpack_one('abc', 5)", "Start offset 5 greater than input length 3."),
        ("cmsgpack.unpack('\\205')", "Missing bytes in input."),
        ("cmsgpack.unpack('\\193')", "Bad data format in input."),
        (
            "cmsgpack.unpack(string.rep('\\145', 20000) .. '\\1')",
            "stack overflow (in function mp_decode_to_lua_array)"
        ),
        (
            "cmsgpack.unpack(string.rep('\\129\\1', 20000) .. '\\1')",
            "stack overflow (in function mp_decode_to_lua_hash)"
        ),
        (
            "cmsgpack.unpack(string.rep('\\1', 9000))",
            "stack overflow (too many return values at once; use unpack_one or unpack_limit instead.)"
        ),
    ]

    @Test("a wrong use is told in the words of the libraries of 2.8, with its place", arguments: cases)
    func places(script: String, text: String) throws {
        try expect(script, "user_script:1: \(text)")
    }

    @Test(
        "what cannot be a key of a table is told without a place",
        arguments: [
            ("cmsgpack.unpack('\\129\\192\\1')", "table index is nil"),
            ("cmsgpack.unpack('\\129\\203\\127\\248\\0\\0\\0\\0\\0\\0\\1')", "table index is NaN"),
        ]
    )
    func keys(script: String, text: String) throws { try expect(script, text) }

    private func expect(_ script: String, _ text: String) throws {
        let server = try CommandHarness()
        let line = "ERR Error running script (call to f_\(sha1(script))): @user_script:1: \(text) "
        #expect(server.run("EVAL", script, "0") == .error(line))
    }
}
