// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisTesting
import Testing

@Suite("Scripts: EVAL, EVALSHA and SCRIPT")
struct ScriptCommandsTests {
    @Test("a script is known by its SHA-1 once it was run or loaded")
    func names() throws {
        let server = try CommandHarness()
        let script = "return 'hello'"
        let digits = sha1(script)
        #expect(server.run("SCRIPT", "EXISTS", digits) == .integers(0))
        #expect(server.run("SCRIPT", "EXISTS") == .array([]))
        #expect(server.run("EVAL", script, "0") == .bulk("hello"))
        #expect(server.run("EVALSHA", digits, "0") == .bulk("hello"))
        #expect(server.run("EVALSHA", digits.uppercased(), "0") == .bulk("hello"))
        #expect(server.run("SCRIPT", "LOAD", script) == .bulk(digits))
        #expect(server.run("SCRIPT", "LOAD", "return 2") == .bulk(sha1("return 2")))
        #expect(server.run("EVALSHA", sha1("return 2"), "0") == .integer(2))
        #expect(server.run("script", "exists", digits.uppercased(), "x", sha1("return 2")) == .integers(1, 0, 1))
        #expect(server.run("SCRIPT", "FLUSH") == .ok)
        #expect(server.run("SCRIPT", "EXISTS", digits, sha1("return 2")) == .integers(0, 0))
        #expect(server.run("EVALSHA", digits, "0") == .error("NOSCRIPT No matching script. Please use EVAL."))
        #expect(server.run("EVAL", script, "0") == .bulk("hello"))
    }

    @Test("what a script leaves in tables of the globals is there for the next, until SCRIPT FLUSH")
    func state() throws {
        let server = try CommandHarness()
        server.run("EVAL", "redis.mine = (rawget(redis, 'mine') or 0) + 1", "0")
        #expect(server.run("EVAL", "return redis.mine", "0") == .integer(1))
        server.run("SCRIPT", "FLUSH")
        #expect(server.run("EVAL", "return redis.mine", "0") == .nullBulk)
    }

    @Test("math.random gives each script the same numbers")
    func random() throws {
        let server = try CommandHarness()
        let script = "return {tostring(math.random()), math.random(100), math.random(100), math.random(5, 8)}"
        let first = server.run("EVAL", script, "0")
        #expect(first.elements?.first == .bulk("0.17082803611217"))
        #expect(server.run("EVAL", script, "0") == first)
        let seeded = "math.randomseed(ARGV[1]) return {math.random(1000000), math.random(1000000)}"
        let other = server.run("EVAL", seeded, "0", "7")
        #expect(server.run("EVAL", seeded, "0", "7") == other)
        #expect(server.run("EVAL", seeded, "0", "8") != other)
        #expect(
            server.run("EVAL", "local t = {} for i = 1, 10 do t[i] = math.random(100) end return t", "0")
                == .integers(18, 75, 10, 88, 58, 79, 70, 37, 88, 75)
        )
    }

    @Test("SELECT in a script lasts as long as the script, and does not move its caller")
    func select() throws {
        let server = try CommandHarness()
        server("SET a zero")
        let script = "redis.call('select', 3) redis.call('set', 'a', 'three') return redis.call('get', 'a')"
        #expect(server.run("EVAL", script, "0") == .bulk("three"))
        #expect(server("GET a") == .bulk("zero"))
        #expect(server.run("EVAL", "return redis.call('get', 'a')", "0") == .bulk("zero"))
        server("SELECT 3")
        #expect(server("GET a") == .bulk("three"))
        #expect(server.run("EVAL", "return redis.call('get', 'a')", "0") == .bulk("three"))
    }

    @Test("commands of scripts count, and have their names in any case")
    func counting() throws {
        let server = try CommandHarness()
        server.run("EVAL", "for i = 1, 10 do redis.call('SeT', 'k' .. i, i) end", "0")
        #expect(server("DBSIZE") == .integer(10))
        #expect(server.run("EVAL", "return redis.call('GET', KEYS[1])", "1", "k7") == .bulk("7"))
    }

    @Test("writing after a command whose reply is random is refused, reading and what was written before is not")
    func randomness() throws {
        let server = try CommandHarness()
        server.run(
            "EVAL",
            "redis.call('set', 'a', 1) redis.call('time') redis.call('get', 'a') redis.call('set', 'b', 1)",
            "0"
        )
        #expect(server("GET a") == .bulk("1"))
        #expect(server("EXISTS b") == .integer(0))
        #expect(server.run("EVAL", "return redis.call('set', 'b', 2)", "0") == .ok)
    }

    @Test("keys expire as of the script's start")
    func time() throws {
        let server = try CommandHarness()
        server("SET a 1 PX 50")
        #expect(
            server.run("EVAL", "return {redis.call('pttl', 'a'), redis.call('get', 'a')}", "0")
                == .array([.integer(50), .bulk("1")])
        )
        server.advance(milliseconds: 60)
        #expect(server.run("EVAL", "return redis.call('get', 'a')", "0") == .nullBulk)
    }

    @Test("the log gets what a script did, all of it together, and replaying it leads to the same data")
    func effects() throws {
        let server = try CommandHarness()
        server.run("EVAL", "redis.call('set', 'a', 1) redis.call('incr', 'a') redis.call('get', 'a')", "0")
        server.run("EVAL", "redis.call('set', 'single', KEYS[1])", "1", "x")
        server.run("EVAL", "return redis.call('get', 'a')", "0")
        server.run("EVAL", "redis.call('select', 2) redis.call('set', 'b', 1) redis.call('pexpire', 'b', 5000)", "0")
        server.run("EVAL", "redis.call('set', 'before', 1) error('late')", "0")
        server.run("EVAL", "redis.call('incrbyfloat', 'f', '0.5') redis.call('set', 'n', 3.14)", "0")
        server.run("EVAL", "redis.call('del', 'nothing')", "0")
        let lines = try server.effectLines
        #expect(
            lines == [
                "SELECT 0", "MULTI", "set a 1", "incr a", "EXEC", "set single x", "SELECT 2", "MULTI", "set b 1",
                "PEXPIREAT b 1700000005000", "EXEC", "SELECT 0", "set before 1", "MULTI", "SET f 0.5",
                "set n 3.1400000000000001", "EXEC",
            ]
        )
        let replayed = try CommandHarness(replaying: server.effects)
        #expect(replayed.contents == server.contents)
    }

    @Test("SCRIPT LOAD and FLUSH are in the log, and the script is there after replay")
    func loading() throws {
        let server = try CommandHarness()
        server.run("SCRIPT", "LOAD", "return 1")
        server.run("EVAL", "return 2", "0")
        #expect(try server.effectLines == ["SELECT 0", "script LOAD return 1"])
        let replayed = try CommandHarness(replaying: server.effects)
        #expect(replayed.run("SCRIPT", "EXISTS", sha1("return 1"), sha1("return 2")) == .integers(1, 0))
        server.run("SCRIPT", "FLUSH")
        #expect(try server.effectLines.last == "script FLUSH")
    }

    @Test("INFO tells how much memory Lua has, which scripts do not leak")
    func memory() throws {
        let server = try CommandHarness()
        for _ in 0..<2_000 {
            server.run("EVAL", "local t = {} for i = 1, 100 do t[i] = 'text' .. i end return #t", "0")
        }
        let info = try #require(server.run("INFO", "memory").text)
        let line = try #require(info.split(separator: "\r\n").first { $0.hasPrefix("used_memory_lua:") })
        let bytes = try #require(Int(line.split(separator: ":")[1]))
        #expect(bytes > 10_000 && bytes < 102_400)
    }
}
