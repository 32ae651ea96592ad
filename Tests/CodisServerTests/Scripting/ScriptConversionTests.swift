// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisTesting
import Testing

@Suite("Scripts: values in both directions")
struct ScriptConversionTests {
    @Test(
        "what a script returns becomes a reply",
        arguments: [
            ("1", .integer(1)), ("3.99", .integer(3)), ("-3.99", .integer(-3)), ("2^53", .integer(1 << 53)),
            ("1/0", .integer(.min)), ("0/0", .integer(.min)), ("'text'", .bulk("text")), ("''", .bulk("")),
            ("'a\\0b'", .bulk([0x61, 0, 0x62])), ("true", .integer(1)), ("false", .nullBulk), ("nil", .nullBulk),
            ("", .nullBulk), ("{}", .array([])), ("{1,2,'x'}", .array([.integer(1), .integer(2), .bulk("x")])),
            ("{1,nil,3}", .integers(1)), ("{1,false,3}", .array([.integer(1), .nullBulk, .integer(3)])),
            ("{a=1}", .array([])), ("{1,{2,{3.5}}}", .array([.integer(1), .array([.integer(2), .integers(3)])])),
            ("{ok='fine'}", .status("fine")), ("{err='ERR bad'}", .error("ERR bad")),
            ("{err='two\\r\\nlines'}", .error("two  lines")), ("{ok='two\\nlines'}", .status("two lines")),
            ("{err='a',ok='b'}", .error("a")), ("{err=1,ok=2,7}", .integers(7)), ("{ok='x',1,2}", .status("x")),
            ("function() end", .nullBulk), ("cjson.null", .nullBulk), ("coroutine.create(function() end)", .nullBulk),
            ("1, 2", .integer(1)),
        ] as [(String, TestReply)]
    )
    func fromLua(expression: String, reply: TestReply) throws {
        let server = try CommandHarness()
        #expect(server.run("EVAL", "return \(expression)", "0") == reply)
    }

    @Test(
        "what a command replies becomes a value",
        arguments: [
            ("redis.call('incr','n')", "number 1"), ("redis.call('get','text')", "string hello"),
            ("redis.call('get','none')", "boolean false"), ("redis.call('mget','text','none')[1]", "string hello"),
            ("redis.call('mget','text','none')[2]", "boolean false"), ("redis.call('mget','text','none')", "table 2"),
            ("redis.call('set','a','b').ok", "string OK"), ("redis.call('ping').ok", "string PONG"),
            ("redis.pcall('incr','text').err", "string ERR value is not an integer or out of range"),
            ("redis.call('keys','nothing')", "table 0"), ("redis.call('echo','a\\r\\nb')", "string a\r\nb"),
            ("redis.call('object','encoding','none')", "boolean false"),
            ("redis.call('scan',0)[1]", "string 0"), ("redis.call('dbsize')", "number 1"),
            ("redis.call('slowlog','len')", "number 0"), ("redis.call('info')", "string"),
        ]
    )
    func toLua(expression: String, value: String) throws {
        let server = try CommandHarness()
        server("SET text hello")
        let script =
            "local v = \(expression) local t = type(v) if t == 'table' then v = #v end "
            + "if string.find(tostring(v), '# Server', 1, true) then return t end return t .. ' ' .. tostring(v)"
        #expect(server.run("EVAL", script, "0") == .bulk(value))
    }

    @Test(
        "arguments that are numbers become digits, seventeen of them if need be",
        arguments: [
            ("1", "1"), ("3.0", "3"), ("3.14", "3.1400000000000001"), ("-0.5", "-0.5"), ("2^53", "9007199254740992"),
            ("1e16", "10000000000000000"), ("1e17", "1e+17"), ("1/3", "0.33333333333333331"), ("1/0", "inf"),
            ("-1/0", "-inf"), ("12345678901", "12345678901"), ("-7", "-7"),
        ]
    )
    func numbers(expression: String, digits: String) throws {
        let server = try CommandHarness()
        #expect(server.run("EVAL", "return redis.call('echo', \(expression))", "0") == .bulk(digits))
    }

    @Test("KEYS and ARGV are what stands behind the number of keys")
    func arguments() throws {
        let server = try CommandHarness()
        let script = "return {#KEYS, #ARGV, KEYS[1] or 'none', ARGV[1] or 'none'}"
        #expect(
            server.run("EVAL", script, "2", "a", "b", "c")
                == .array([.integer(2), .integer(1), .bulk("a"), .bulk("c")])
        )
        #expect(
            server.run("EVAL", script, "0") == .array([.integer(0), .integer(0), .bulk("none"), .bulk("none")])
        )
        #expect(
            server.run([Array("EVAL".utf8), Array("return ARGV[1]".utf8), [0x30], [0, 255, 13, 10]])
                == .bulk([0, 255, 13, 10])
        )
    }

    @Test("commands flagged so give a script their elements in order")
    func sorting() throws {
        let server = try CommandHarness()
        for key in ["b", "a", "ab", "C", "10", "9", ""] { server.run("SET", key, "1") }
        #expect(
            server.run("EVAL", "return redis.call('keys','*')", "0") == .bulks("", "10", "9", "C", "a", "ab", "b")
        )
    }

    @Test("a table that contains itself, or has no end, is an error and not the end of the server")
    func endless() throws {
        let server = try CommandHarness()
        #expect(
            server.run("EVAL", "local t = {} t[1] = t return t", "0") == .error("ERR reached lua stack limit")
        )
        let deep = "local t = {} for i = 1, 100000 do t = {t} end return t"
        #expect(server.run("EVAL", deep, "0") == .error("ERR reached lua stack limit"))
        #expect(server("PING") == .status("PONG"))
    }

    @Test("error_reply and status_reply make tables with one field")
    func replies() throws {
        let server = try CommandHarness()
        #expect(server.run("EVAL", "return redis.error_reply('MY error')", "0") == .error("MY error"))
        #expect(server.run("EVAL", "return redis.status_reply('FINE')", "0") == .status("FINE"))
        #expect(
            server.run("EVAL", "return redis.error_reply(1)", "0")
                == .error("@user_script: 1: wrong number or type of arguments")
        )
        #expect(
            server.run("EVAL", "return redis.status_reply()", "0")
                == .error("@user_script: 1: wrong number or type of arguments")
        )
    }

    @Test("sha1hex gives the digits of SHA-1")
    func sha1() throws {
        let server = try CommandHarness()
        #expect(
            server.run("EVAL", "return redis.sha1hex('')", "0")
                == .bulk("da39a3ee5e6b4b0d3255bfef95601890afd80709")
        )
        #expect(
            server.run("EVAL", "return redis.sha1hex(string.rep('a', 1000000))", "0")
                == .bulk("34aa973cd4c4daa4f61eeb2bdbad27316534016f")
        )
        for (count, digits) in [
            (55, "c1c8bbdc22796e28c0e15163d20899b65621d65a"), (56, "c2db330f6083854c99d4b5bfb6e8f29f201be699"),
            (63, "03f09f5b158a7a8cdad920bddc29b81c18a551f5"), (64, "0098ba824b5c16427bd7a1122a5a442a25ec644d"),
        ] {
            #expect(
                server.run("EVAL", "return redis.sha1hex(string.rep('a', \(count)))", "0") == .bulk(digits),
                "\(count) bytes"
            )
        }
        #expect(
            server.run("EVAL", "return redis.sha1hex()", "0")
                == .error("@user_script: 1: wrong number of arguments")
        )
    }
}
