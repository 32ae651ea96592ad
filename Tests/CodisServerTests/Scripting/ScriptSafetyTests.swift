// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisTesting
import Testing

@Suite("Scripts: what must not harm the server")
struct ScriptSafetyTests {
    @Test(
        "a script that wants too much gets an error, and the next one runs",
        arguments: [
            "local function f() return f() + 1 end return f()",
            "local function f(n) return pcall(f, n + 1) end return f(1)",
            "local function f() return coroutine.wrap(f)() end return f()",
            "local t = setmetatable({}, {}) getmetatable(t).__index = function(t, k) return t[k] end return t.x",
            "return string.gsub('x', 'x', function() return string.rep('x', 2^40) end)",
            "return string.rep('x', 2^50)",
            "local t = {} for i = 1, 8500 do t[i] = i end return {unpack(t)}",
            "return string.find('x', string.rep('x?', 500000))",
            "return string.find(string.rep('a', 100), string.rep('a*', 20000))",
            "return loadstring(string.dump(function() return 1 end))()",
            "return load(function() return nil end)",
            "return load(function() return {} end)()",
            "local s = string.dump(function() end) local n = 0 return load(function() n = n + 1 "
                + "if n == 1 then return s end end)()",
            "return loadstring(string.rep('(', 10000))()",
            "return cjson.decode(string.rep('[', 100000))",
            "local t = {} for i = 1, 2000 do t = {t} end return cjson.encode(t)",
            "local t = {} t[1] = t return cjson.encode(t)",
            "cjson.encode_sparse_array(false, 0) return cjson.encode({[2^30] = 1})",
            "local s = string.rep('\\0', 10^6) local t = {} for i = 1, 2000 do t[i] = s end return cjson.encode(t)",
            "return cmsgpack.unpack(string.rep('\\145', 1000000))",
            "return cmsgpack.unpack(string.rep('\\129', 1000000))",
            "return cmsgpack.unpack('\\221\\255\\255\\255\\255')",
            "return cmsgpack.unpack('\\129\\192\\192')",
            "return cmsgpack.unpack('\\129\\203\\127\\248\\0\\0\\0\\0\\0\\0\\1')",
            "return cmsgpack.unpack(string.rep('\\1', 1000000))",
            "return struct.pack('c999999999999', 'x')", "return struct.unpack('c999999999', 'x')",
            "return struct.unpack('I33', 'x')", "return struct.unpack('i4', 'abcdef', 2^40)",
            "return struct.unpack('!16i16', 'x', 1)", "return {struct.unpack('dc0', struct.pack('d', -5))}",
            "return {struct.unpack('dc0', struct.pack('d', 2^62))}",
            "setfenv(0, {}) return 1", "setfenv(1, {}) return redis",
            "getmetatable('').__index = nil return ('x'):rep(3)",
            "getmetatable(_G).__index = nil return nosuch",
            "error(setmetatable({}, {__tostring = function() error('x') end}))",
            "xpcall(function() error('a') end, function() error('b') end)",
            "return coroutine.yield(1)", "coroutine.resume(coroutine.running())",
            "redis.call = nil", "KEYS = nil ARGV = nil", "collectgarbage('stop')", "collectgarbage('setpause', 100000)",
            "table.sort({1, 2, 3, 4, 5}, function() return true end)",
            "return table.concat({{}})", "return string.format('%99999d', 1)", "return string.format('%s')",
            "return unpack({}, 0, 2^31 - 1)", "return unpack({1, 2, 3}, 2^31, 1)", "return unpack({}, -2^31, 2^31 - 1)",
            "return bit.tohex(1, 2^31)", "return bit.tohex(1, -2^31)", "return bit.tohex(1, 2^52)",
            "return #arg", "return select('#', unpack({}, 1, 7999))", "return select(-1)",
            "return bit.tobit('x')", "return bit.rol(1, 2^40)",
            "local t = {} for i = 1, 300000 do t[i] = 'redis' .. i end return redis.call('mset', unpack(t, 1, 7000))",
        ]
    )
    func excess(script: String) throws {
        let server = try CommandHarness()
        server.run("EVAL", script, "0")
        server.run("SCRIPT", "FLUSH")
        #expect(server.run("EVAL", "return redis.call('ping')", "0") == .status("PONG"))
    }

    @Test("what scripts did to the globals' table and environment does not reach the next script's arguments")
    func environments() throws {
        let server = try CommandHarness()
        server.run("EVAL", "setfenv(0, {}) return 1", "0")
        #expect(
            server.run("EVAL", "return {redis.call('ping'), KEYS[1]}", "1", "k")
                == .array([.status("PONG"), .bulk("k")])
        )
        server.run("EVAL", "KEYS = 5 ARGV = nil", "0")
        #expect(server.run("EVAL", "return {#KEYS, #ARGV}", "1", "k") == .integers(1, 0))
    }

    @Test("a compiled chunk is taken for text, and is none")
    func bytecode() throws {
        let server = try CommandHarness()
        let script = "return {loadstring(string.dump(function() return 1 end))}"
        let reply = server.run("EVAL", script, "0")
        #expect(reply == .array([]))
        let text = server.run("EVAL", "local f, e = loadstring('\\27Lua') return e", "0").text
        #expect(text?.hasSuffix("unexpected symbol near 'char(27)'") == true)
        #expect(server.run("EVAL", "return loadstring('return 1 + 1')()", "0") == .integer(2))
        let pieces = "local t = {'return ', '40', ' + 2'} return load(function() return table.remove(t, 1) end)()"
        #expect(server.run("EVAL", pieces, "0") == .integer(42))
        #expect(
            server.run("EVAL", "return {loadstring('x x', 'mine')}", "0")
                == .array([])
        )
        #expect(
            server.run("EVAL", "local f, e = loadstring('x x', '@mine') return e", "0")
                == .bulk("mine:1: '=' expected near 'x'")
        )
    }

    @Test("random scripts of known words do not end the server")
    func randomScripts() throws {
        var random = SeededGenerator()
        print("scripts: CODIS_TEST_SEED=\(random.seed)")
        let server = try CommandHarness()
        let words = [
            "redis.call", "redis.pcall", "(", ")", "(", ")", "{", "}", "[", "]", ",", ",", "=", "..", "+", "-", "#",
            "nil", "true", "1", "0", "-1", "2^31", "2^53", "1/0", "0/0", "'get'", "'set'", "'a'", "'incr'", "''",
            "'\\0\\1\\255'", "x", "y", "local x =", "local y =", "return", "return", "if", "then", "end",
            "for i=1,3 do",
            "function(...)", "pcall(", "error(", "unpack", "cjson.encode", "cjson.decode", "cmsgpack.pack",
            "cmsgpack.unpack", "cmsgpack.unpack_one", "cmsgpack.unpack_limit", "struct.pack", "struct.unpack",
            "struct.size", "'>I2c0sd'", "'<!8bhilfdx'", "bit.band", "bit.tohex", "string.rep", "string.format",
            "string.gsub", "'%s%d'", "'.-'", "table.concat", "table.sort", "coroutine.wrap", "setmetatable", "_G",
            "tostring", "redis.sha1hex", "redis.log", "redis.error_reply", "math.random", "math.randomseed", "ARGV",
            "KEYS[1]", ".x", ":rep(3)", ";", "and", "or", "not", "==", "<",
        ]
        let calls = [
            "cjson.encode", "cjson.decode", "cmsgpack.pack", "cmsgpack.unpack", "cmsgpack.unpack_one",
            "cmsgpack.unpack_limit", "struct.pack", "struct.unpack", "struct.size", "redis.call", "redis.pcall",
            "redis.sha1hex", "redis.error_reply", "math.random", "math.randomseed", "bit.bor", "bit.rol", "string.find",
            "string.gsub", "string.format", "loadstring", "select", "unpack", "table.concat", "tostring",
        ]
        let values = [
            "nil", "true", "1", "0", "-1", "3.7", "2^31", "2^53", "-2^63", "1/0", "0/0", "''", "'get'", "'a'", "{}",
            "{1,2,3}", "{a=1}", "{{{}}}", "'[1,2,{\"a\":null}]'", "'\\147\\1\\2\\3'", "'\\221\\0\\0\\0\\1\\255'",
            "'>I2c0sd'", "'<!8bhilfdx'", "'i33'", "'c0'", "function() return 1 end", "print", "cjson.null", "redis",
            "string.rep('x', 300)", "'%d %s'", "'(.)'", "'%'", "coroutine.create(function() end)",
        ]
        for _ in 0..<1_000 {
            let script: String
            if random.oneIn(3) {
                script = (0..<random.number(1...14)).map { _ in random.pick(words) }.joined(separator: " ")
            } else {
                let expressions = (0..<random.number(1...3)).map { _ in
                    let arguments = (0..<random.number(0...4)).map { _ in random.pick(values) }
                    return "pcall(\(random.pick(calls)), \((arguments + ["nil"]).joined(separator: ", ")))"
                }
                script = "return {\(expressions.joined(separator: ", "))}"
            }
            server.run("EVAL", script, "1", "key", "argument")
        }
        server.run("SCRIPT", "FLUSH")
        #expect(server.run("EVAL", "return redis.call('ping')", "0") == .status("PONG"))
    }
}
