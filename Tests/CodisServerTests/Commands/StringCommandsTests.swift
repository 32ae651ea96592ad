// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisTesting
import Testing

@Suite("String commands")
struct StringCommandsTests {
    let server: CommandHarness

    init() throws { server = try CommandHarness() }

    // MARK: GET and SET

    @Test("SET replaces any value, and GET gives it back byte for byte")
    func setAndGet() {
        #expect(server("GET foo") == .nullBulk)
        #expect(server("SET foo bar") == .ok)
        #expect(server("GET foo") == .bulk("bar"))
        let bytes: [UInt8] = Array(0...255)
        #expect(server.run([Array("SET".utf8), bytes, bytes]) == .ok)
        #expect(server.run([Array("GET".utf8), bytes]) == .bulk(bytes))
        #expect(server.run("SET", "", "") == .ok)
        #expect(server.run("GET", "") == .bulk(""))
    }

    @Test("values of any size come back whole", arguments: [4_000, 4_096, 100_000, 9_000_000])
    func largeValues(length: Int) {
        let value = (0..<length).map { UInt8(truncatingIfNeeded: $0 &* 31 >> 3) }
        #expect(server.run([Array("SET".utf8), [107], value]) == .ok)
        #expect(server("STRLEN k") == .integer(Int64(length)))
        #expect(server("GET k") == .bulk(value))
        #expect(server("GETRANGE k 3990 4100") == .bulk(Array(value.dropFirst(3990).prefix(111))))
        #expect(server("GETSET k x") == .bulk(value))
        #expect(server("GET k") == .bulk("x"))
    }

    @Test("SET NX sets what is missing only, SET XX what is there only, and both together nothing")
    func conditions() {
        #expect(server("SET k a XX") == .nullBulk)
        #expect(server("SET k a nx") == .ok)
        #expect(server("SET k b NX") == .nullBulk)
        #expect(server("GET k") == .bulk("a"))
        #expect(server("SET k c xx") == .ok)
        #expect(server("SET k d NX XX") == .nullBulk)
        #expect(server("SET other d NX XX") == .nullBulk)
        #expect(server("GET k") == .bulk("c"))
    }

    @Test("SET takes its options in any order and repeated, the last expiry counts")
    func optionOrder() {
        #expect(server("SET k v EX 100 NX PX 5000 NX") == .ok)
        #expect(server("PTTL k") == .integer(5000))
        #expect(server("SET k v XX PX abc EX 7") == .ok)
        #expect(server("PTTL k") == .integer(7000))
        #expect(server("SET k v") == .ok)
        #expect(server("TTL k") == .integer(-1))
    }

    @Test(
        "SET refuses what it cannot understand",
        arguments: [
            ("SET k v EX", "ERR syntax error"), ("SET k v FOO", "ERR syntax error"),
            ("SET k v EX 10 PX", "ERR syntax error"), ("SET k v KEEPTTL", "ERR syntax error"),
            ("SET k v EX 0", "ERR invalid expire time in set"), ("SET k v PX -1", "ERR invalid expire time in set"),
            ("SET k v EX 9223372036854775807", "ERR invalid expire time in set"),
            ("SET k v EX 1.5", "ERR value is not an integer or out of range"),
            ("SET k v PX 9223372036854775808", "ERR value is not an integer or out of range"),
            ("SETEX k 0 v", "ERR invalid expire time in setex"),
            ("PSETEX k -5 v", "ERR invalid expire time in psetex"),
            ("SETEX k x v", "ERR value is not an integer or out of range"),
            ("SET k", "ERR wrong number of arguments for 'set' command"),
            ("GET", "ERR wrong number of arguments for 'get' command"),
            ("GET a b", "ERR wrong number of arguments for 'get' command"),
        ]
    )
    func refusals(line: String, text: String) {
        #expect(server(line) == .error(text))
        #expect(server("EXISTS k") == .integer(0))
    }

    @Test("SETNX sets a missing key only")
    func setnx() {
        #expect(server("SETNX k a") == .integer(1))
        #expect(server("SETNX k b") == .integer(0))
        #expect(server("GET k") == .bulk("a"))
    }

    @Test("SETEX and PSETEX set value and time to live at once")
    func setex() {
        #expect(server("SETEX k 12 v") == .ok)
        #expect(server("TTL k") == .integer(12))
        #expect(server("PSETEX k 1234 v") == .ok)
        #expect(server("PTTL k") == .integer(1234))
        server.advance(milliseconds: 1234)
        #expect(server("GET k") == .bulk("v"))
        server.advance(milliseconds: 1)
        #expect(server("GET k") == .nullBulk)
    }

    @Test("GETSET replies the old value and drops the time to live")
    func getset() {
        #expect(server("GETSET k a") == .nullBulk)
        #expect(server("EXPIRE k 100") == .integer(1))
        #expect(server("GETSET k b") == .bulk("a"))
        #expect(server("TTL k") == .integer(-1))
    }

    // MARK: Several keys

    @Test("MGET gives null for what is missing")
    func mget() {
        server("MSET a 1 b 2")
        #expect(server("MGET a x b a") == .array([.bulk("1"), .nullBulk, .bulk("2"), .bulk("1")]))
    }

    @Test("MSET sets all pairs, the last of equal keys wins, and drops times to live")
    func mset() {
        server("SETEX a 100 z")
        #expect(server("MSET a 1 b 2 a 3") == .ok)
        #expect(server("MGET a b") == .bulks("3", "2"))
        #expect(server("TTL a") == .integer(-1))
    }

    @Test("MSETNX sets all or nothing")
    func msetnx() {
        #expect(server("MSETNX a 1 b 2") == .integer(1))
        #expect(server("MSETNX c 1 a 9") == .integer(0))
        #expect(server("EXISTS c") == .integer(0))
        #expect(server("GET a") == .bulk("1"))
    }

    @Test("MSET and MSETNX want pairs", arguments: ["MSET a 1 b", "MSETNX a 1 b"])
    func oddPairs(line: String) {
        #expect(server(line) == .error("ERR wrong number of arguments for MSET"))
        #expect(server("DBSIZE") == .integer(0))
    }

    // MARK: Parts

    @Test("APPEND makes the key or adds to it, and keeps the time to live")
    func append() {
        #expect(server("APPEND k abc") == .integer(3))
        #expect(server("EXPIRE k 100") == .integer(1))
        #expect(server("APPEND k def") == .integer(6))
        #expect(server("GET k") == .bulk("abcdef"))
        #expect(server("TTL k") == .integer(100))
        #expect(server.run("APPEND", "empty", "") == .integer(0))
        #expect(server("EXISTS empty") == .integer(1))
    }

    @Test("many APPENDs make one large string")
    func appendMuch() {
        var expected: [UInt8] = []
        for step in 0..<400 {
            let piece = [UInt8](repeating: UInt8(truncatingIfNeeded: step), count: 97)
            expected += piece
            #expect(server.run([Array("APPEND".utf8), [107], piece]) == .integer(Int64(expected.count)))
        }
        #expect(server("GET k") == .bulk(expected))
    }

    @Test(
        "GETRANGE and SUBSTR cut their ends to the string",
        arguments: [
            ("0 3", "Hell"), ("0 -1", "Hello World"), ("-4 -1", "orld"), ("5 3", ""), ("5 5000", " World"),
            ("-5000 10000", "Hello World"), ("11 20", ""), ("-5 -10", ""), ("-20 -15", "H"),
            ("0 4294967296", "Hello World"), ("-9223372036854775808 9223372036854775807", "Hello World"),
        ]
    )
    func getrange(range: String, text: String) {
        server.run("SET", "k", "Hello World")
        #expect(server("GETRANGE k \(range)") == .bulk(text))
        #expect(server("SUBSTR k \(range)") == .bulk(text))
        #expect(server("GETRANGE missing \(range)") == .bulk(""))
    }

    @Test("SETRANGE writes into the string, padding it with zero bytes")
    func setrange() {
        #expect(server("SETRANGE k 2 ab") == .integer(4))
        #expect(server("GET k") == .bulk([0, 0, 97, 98]))
        #expect(server("SETRANGE k 1 XY") == .integer(4))
        #expect(server("GET k") == .bulk([0, 88, 89, 98]))
        server("EXPIRE k 100")
        #expect(server("SETRANGE k 6 Z") == .integer(7))
        #expect(server("GET k") == .bulk([0, 88, 89, 98, 0, 0, 90]))
        #expect(server("TTL k") == .integer(100))
    }

    @Test("SETRANGE of nothing neither makes nor pads the key")
    func setrangeNothing() {
        #expect(server.run("SETRANGE", "k", "10", "") == .integer(0))
        #expect(server("EXISTS k") == .integer(0))
        server("SET k abc")
        #expect(server.run("SETRANGE", "k", "10", "") == .integer(3))
        #expect(server("GET k") == .bulk("abc"))
    }

    @Test("strings end at 512 MB")
    func longest() {
        let tooLong = TestReply.error("ERR string exceeds maximum allowed size (512MB)")
        #expect(server("SETRANGE k 536870912 x") == tooLong)
        #expect(server("SETRANGE k 9223372036854775807 x") == tooLong)
        #expect(server("SETRANGE k -1 x") == .error("ERR offset is out of range"))
        #expect(server("SETRANGE k x x") == .error("ERR value is not an integer or out of range"))
        #expect(server("EXISTS k") == .integer(0))
        #expect(server("SETRANGE k 536870911 x") == .integer(536_870_912))
        #expect(server("APPEND k y") == tooLong)
        #expect(server("SETRANGE k 536870912 x") == tooLong)
        #expect(server("GETRANGE k -3 -1") == .bulk([0, 0, 120]))
        #expect(server("STRLEN k") == .integer(536_870_912))
    }

    @Test("STRLEN is 0 without key")
    func strlen() {
        #expect(server("STRLEN k") == .integer(0))
        server("SET k 12345")
        #expect(server("STRLEN k") == .integer(5))
    }

    // MARK: Numbers

    @Test("INCR and its like count from what is stored, 0 if nothing is")
    func increments() {
        #expect(server("INCR n") == .integer(1))
        #expect(server("INCRBY n 41") == .integer(42))
        #expect(server("DECR n") == .integer(41))
        #expect(server("DECRBY n 50") == .integer(-9))
        #expect(server("GET n") == .bulk("-9"))
        #expect(server("INCRBY n 9223372036854775807") == .integer(9_223_372_036_854_775_798))
        #expect(server("DECRBY m -9223372036854775807") == .integer(9_223_372_036_854_775_807))
    }

    @Test(
        "INCR takes what strtoll takes",
        arguments: [("+5", 6), ("007", 8), ("", 1), ("-0", 1), ("9223372036854775806", Int64.max)]
    )
    func storedIntegers(stored: String, result: Int64) {
        server.run("SET", "n", stored)
        #expect(server("INCR n") == .integer(result))
    }

    @Test(
        "INCR refuses what is no integer",
        arguments: [" 5", "5 ", "5.0", "abc", "9223372036854775808", "-9223372036854775809", "-", "+", "0x10"]
    )
    func notIntegers(stored: String) {
        server.run("SET", "n", stored)
        #expect(server("INCR n") == .error("ERR value is not an integer or out of range"))
        #expect(server("INCRBY m x") == .error("ERR value is not an integer or out of range"))
        #expect(server.run("GET", "n") == .bulk(stored))
        #expect(server("EXISTS m") == .integer(0))
    }

    @Test("INCR and DECR stop at the ends of 64 bits")
    func overflow() {
        let overflow = TestReply.error("ERR increment or decrement would overflow")
        server("SET n 9223372036854775807")
        #expect(server("INCR n") == overflow)
        #expect(server("INCRBY n 1") == overflow)
        #expect(server("DECRBY n -1") == overflow)
        server("SET n -9223372036854775808")
        #expect(server("DECR n") == overflow)
        #expect(server("INCRBY n -1") == overflow)
        #expect(server("GET n") == .bulk("-9223372036854775808"))
    }

    @Test("INCR keeps the time to live")
    func incrementKeepsExpiry() {
        server("SETEX n 100 1")
        server("INCR n")
        server("INCRBYFLOAT n 1.5")
        #expect(server("TTL n") == .integer(100))
        #expect(server("GET n") == .bulk("3.5"))
    }

    @Test(
        "INCRBYFLOAT counts in 80 bits and prints 17 decimals without the zeros at their end",
        arguments: [
            ("10.50", "0.1", "10.6"), ("5.0e3", "2.0e2", "5200"), ("1", "1", "2"), ("1.5", "-1.5", "0"),
            ("0", "-0.25", "-0.25"), ("3", "0x10", "19"), ("17", "1e-17", "17.00000000000000001"),
            ("0", "1e-18", "0"), ("1e20", "1", "100000000000000000000"), ("0", "3.14159265358979", "3.14159265358979"),
        ]
    )
    func floats(stored: String, increment: String, result: String) {
        server.run("SET", "n", stored)
        #expect(server("INCRBYFLOAT n \(increment)") == .bulk(result))
        #expect(server("GET n") == .bulk(result))
    }

    @Test("INCRBYFLOAT refuses what is no number, and results that are none")
    func floatErrors() {
        let noFloat = TestReply.error("ERR value is not a valid float")
        #expect(server("INCRBYFLOAT n abc") == noFloat)
        #expect(server("INCRBYFLOAT n nan") == noFloat)
        #expect(server.run("INCRBYFLOAT", "n", " 1") == noFloat)
        #expect(server.run("INCRBYFLOAT", "n", "1 ") == noFloat)
        #expect(server("INCRBYFLOAT n 1e99999") == noFloat)
        #expect(server("INCRBYFLOAT n inf") == .error("ERR increment would produce NaN or Infinity"))
        #expect(server("EXISTS n") == .integer(0))
        server("SET n abc")
        #expect(server("INCRBYFLOAT n 1") == noFloat)
        #expect(server("GET n") == .bulk("abc"))
    }
}
