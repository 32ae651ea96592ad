// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisTesting
import Testing

@testable import CodisServer

@Suite("Scripts: errors")
struct ScriptErrorTests {
    /// What EVAL replies when `script` fails with `text`, by the name of its function.
    private func failure(_ script: String, _ text: String) -> TestReply {
        .error("ERR Error running script (call to f_\(sha1(script))): \(text) ")
    }

    @Test(
        "errors tell where in the script they happened",
        arguments: [
            ("return redis.call('nosuch')", "@user_script: 1: Unknown Redis command called from Lua script"),
            ("return redis.call('get')", "@user_script: 1: Wrong number of args calling Redis command From Lua script"),
            (
                "\n\nredis.call('get','a','b')",
                "@user_script: 3: Wrong number of args calling Redis command From Lua script"
            ),
            ("return redis.call('auth','x')", "@user_script: 1: This Redis command is not allowed from scripts"),
            ("return redis.call('eval','','0')", "@user_script: 1: This Redis command is not allowed from scripts"),
            ("return redis.call('script','flush')", "@user_script: 1: This Redis command is not allowed from scripts"),
            ("return redis.call('monitor')", "@user_script: 1: This Redis command is not allowed from scripts"),
            ("return redis.call('save')", "@user_script: 1: This Redis command is not allowed from scripts"),
            (
                "redis.call('time') return redis.call('set','a','b')",
                "@user_script: 1: Write commands not allowed after non deterministic commands"
            ),
            (
                "redis.call('randomkey') return redis.call('del','a')",
                "@user_script: 1: Write commands not allowed after non deterministic commands"
            ),
            ("return redis.call('incr','text')", "ERR value is not an integer or out of range"),
            ("return redis.call('select',99)", "ERR invalid DB index"),
            ("error('mine')", "user_script:1: mine"), ("error('mine', 0)", "mine"), ("error(42)", "user_script:1: 42"),
            ("local x = nil + 1", "user_script:1: attempt to perform arithmetic on a nil value"),
            ("return 'a' < 1", "user_script:1: attempt to compare string with number"),
            ("return nil .. 'x'", "user_script:1: attempt to concatenate a nil value"),
            ("local t = nil; return t.x", "user_script:1: attempt to index local 't' (a nil value)"),
            ("assert(false)", "user_script:1: assertion failed!"), ("assert(nil, 'told')", "user_script:1: told"),
            ("string.rep()", "user_script:1: bad argument #1 to 'rep' (string expected, got no value)"),
            ("math.random(0)", "user_script:1: bad argument #1 to 'random' (interval is empty)"),
            ("math.random(3, 1)", "user_script:1: bad argument #2 to 'random' (interval is empty)"),
            ("math.random('x')", "user_script:1: bad argument #1 to 'random' (number expected, got string)"),
            ("math.random(1, 2, 3)", "user_script:1: wrong number of arguments"),
            ("math.randomseed()", "user_script:1: bad argument #1 to 'randomseed' (number expected, got no value)"),
        ]
    )
    func places(script: String, text: String) throws {
        let server = try CommandHarness()
        server("SET text hello")
        let lines = script.filter { $0 == "\n" }.count + 1
        #expect(server.run("EVAL", script, "0") == failure(script, "@user_script:\(lines): \(text)"))
    }

    @Test("globals that were not set are protected")
    func globals() throws {
        let server = try CommandHarness()
        let reading = "return nosuch"
        #expect(
            server.run("EVAL", reading, "0")
                == failure(
                    reading,
                    "@enable_strict_lua:15: user_script:1: "
                        + "Script attempted to access unexisting global variable 'nosuch'"
                )
        )
        let writing = "\nnew = 1"
        #expect(
            server.run("EVAL", writing, "0")
                == failure(
                    writing,
                    "@enable_strict_lua:8: user_script:2: Script attempted to create global variable 'new'"
                )
        )
        let caught = "local ok, e = pcall(function() return nosuch end) return e"
        #expect(
            server.run("EVAL", caught, "0")
                == .bulk("user_script:1: Script attempted to access unexisting global variable 'nosuch'")
        )
        for name in ["os", "io", "package", "require", "module", "loadfile", "dofile", "debug", "newproxy"] {
            #expect(
                server.run("EVAL", "return \(name)", "0").text?.hasSuffix(
                    "Script attempted to access unexisting global variable '\(name)' "
                ) == true
            )
        }
        // What is there may be changed, and the outermost level of a loaded chunk may make new ones.
        #expect(server.run("EVAL", "redis = redis return 1", "0") == .integer(1))
        #expect(server.run("EVAL", "loadstring('made = 7')() return made", "0") == .integer(7))
        #expect(server.run("EVAL", "return rawget(_G, 'made')", "0") == .integer(7))
    }

    @Test("an error that is no text is told as Lua fails to")
    func values() throws {
        let server = try CommandHarness()
        for (value, kind) in [("{}", "table"), ("nil", "nil"), ("true", "boolean")] {
            let script = "error(\(value))"
            #expect(
                server.run("EVAL", script, "0")
                    == failure(
                        script,
                        "@err_handler_def:8: err_handler_def:8: attempt to concatenate local 'err' (a \(kind) value)"
                    )
            )
        }
    }

    @Test("redis.call without arguments, or with others than texts and numbers, returns an error and does not raise it")
    func returned() throws {
        let server = try CommandHarness()
        for function in ["call", "pcall"] {
            #expect(
                server.run("EVAL", "return redis.\(function)()", "0")
                    == .error("@user_script: 1: Please specify at least one argument for redis.call()")
            )
            for argument in ["nil", "{}", "true", "print"] {
                #expect(
                    server.run("EVAL", "return redis.\(function)('get', \(argument))", "0")
                        == .error("@user_script: 1: Lua redis() command arguments must be strings or integers")
                )
            }
        }
    }

    @Test("redis.pcall returns every error as a table")
    func caught() throws {
        let server = try CommandHarness()
        #expect(
            server.run("EVAL", "return redis.pcall('nosuch')", "0")
                == .error("@user_script: 1: Unknown Redis command called from Lua script")
        )
        #expect(
            server.run("EVAL", "redis.call('set', 'text', 'a') return redis.pcall('incr', 'text').err", "0")
                == .bulk("ERR value is not an integer or out of range")
        )
        #expect(
            server.run("EVAL", "return {pcall(redis.call, 'nosuch')}", "0")
                == .array([.nullBulk, .bulk("=[C]: -1: Unknown Redis command called from Lua script")])
        )
    }

    @Test("a script that does not compile is refused, also by SCRIPT LOAD, and is not kept")
    func compiling() throws {
        let server = try CommandHarness()
        for (script, text) in [
            ("return foo bar", "user_script:1: 'end' expected near 'bar'"),
            ("if true then", "user_script:2: 'end' expected (to close 'function' at line 1) near '<eof>'"),
            ("x = = 1", "user_script:1: unexpected symbol near '='"),
            ("return ...", "user_script:1: cannot use '...' outside a vararg function near '...'"),
            ("return 'unfinished", "user_script:1: unfinished string near ''unfinished'"),
        ] {
            let error = TestReply.error("ERR Error compiling script (new function): \(text) ")
            #expect(server.run("EVAL", script, "0") == error)
            #expect(server.run("SCRIPT", "LOAD", script) == error)
            #expect(server.run("SCRIPT", "EXISTS", sha1(script)) == .integers(0))
        }
    }

    @Test("text that ends the function before its own end does not run outside of a script")
    func escaping() throws {
        let server = try CommandHarness()
        let script = "return 1 end redis.call('set', 'a', 'b') function other()"
        #expect(
            server.run("SCRIPT", "LOAD", script)
                == .error("ERR Error compiling script (new function): user_script:1: '<eof>' expected near 'end' ")
        )
        #expect(server("EXISTS a") == .integer(0))
    }

    @Test("EVAL and EVALSHA complain about the number of keys, and of scripts nobody knows")
    func usage() throws {
        let server = try CommandHarness()
        #expect(server.run("EVAL", "return 1") == .error("ERR wrong number of arguments for 'eval' command"))
        #expect(server.run("EVAL", "return 1", "x") == .error("ERR value is not an integer or out of range"))
        #expect(
            server.run("EVAL", "return 1", "1") == .error("ERR Number of keys can't be greater than number of args")
        )
        #expect(server.run("EVAL", "return 1", "-1") == .error("ERR Number of keys can't be negative"))
        let unknown = TestReply.error("NOSCRIPT No matching script. Please use EVAL.")
        #expect(server.run("EVALSHA", String(repeating: "0", count: 40), "0") == unknown)
        #expect(server.run("EVALSHA", "abc", "0") == unknown)
        #expect(server.run("EVALSHA", "abc", "x") == unknown)
        #expect(server.run("EVALSHA") == .error("ERR wrong number of arguments for 'evalsha' command"))
        #expect(server.run("SCRIPT", "NOSUCH") == .error("ERR Unknown SCRIPT subcommand or wrong # of args."))
        #expect(server.run("SCRIPT", "LOAD") == .error("ERR Unknown SCRIPT subcommand or wrong # of args."))
        #expect(server.run("SCRIPT") == .error("ERR wrong number of arguments for 'script' command"))
        #expect(server.run("SCRIPT", "KILL") == .error("NOTBUSY No scripts in execution right now."))
    }

    @Test("redis.log wants a level and a text")
    func log() throws {
        let server = try CommandHarness()
        for (call, text) in [
            ("redis.log()", "redis.log() requires two arguments or more."),
            ("redis.log(redis.LOG_DEBUG)", "redis.log() requires two arguments or more."),
            ("redis.log('x', 'y')", "First argument must be a number (log level)."),
            ("redis.log(-1, 'y')", "Invalid debug level."), ("redis.log(4, 'y')", "Invalid debug level."),
        ] {
            #expect(server.run("EVAL", "return \(call)", "0") == .error("@user_script: 1: \(text)"))
        }
        #expect(server.run("EVAL", "return redis.log(redis.LOG_DEBUG, 'a', 1, {}, 'b')", "0") == .nullBulk)
    }

    /// What EVAL replies when a call of a script is refused with a line that clients get elsewhere.
    private func refusal(_ script: String, _ line: String) -> TestReply {
        failure(script, "@user_script:1: @user_script: 1: -\(line)  ")
    }

    private static let write = "return redis.call('set', 'a', 'b')"

    @Test("a full memory refuses the first write of a script, and what cannot make the data grow is done")
    func outOfMemory() throws {
        let server = try CommandHarness()
        server("SET a 1")
        server("CONFIG SET maxmemory-policy noeviction")
        server("CONFIG SET maxmemory 1")
        let line = "OOM command not allowed when used memory > 'maxmemory'."
        #expect(server.run("EVAL", Self.write, "0") == refusal(Self.write, line))
        #expect(server.run("EVAL", "return redis.call('get', 'a')", "0") == .bulk("1"))
        let second = "redis.call('del', 'x') redis.call('set', 'b', 'c') return redis.call('get', 'b')"
        #expect(server.run("EVAL", second, "0") == .bulk("c"))
    }

    @Test("a replica refuses the writes of scripts, and runs what reads")
    func readOnly() throws {
        let server = try CommandHarness()
        server.server.isReplica = true
        server.server.configurationChanged()
        let line = "READONLY You can't write against a read only slave."
        #expect(server.run("EVAL", Self.write, "0") == refusal(Self.write, line))
        let caught = server.run("EVAL", "return redis.pcall('set', 'a', 'b')['err']", "0")
        #expect(caught == .bulk("@user_script: 1: -\(line)\r\n"))
        #expect(server.run("EVAL", "return redis.call('get', 'a')", "0") == .nullBulk)
        server("CONFIG SET slave-read-only no")
        #expect(server.run("EVAL", Self.write, "0") == .status("OK"))
        server.server.isReplica = false
    }

    @Test("a failed dump and a log that cannot be written refuse the writes of scripts")
    func misconfigured() throws {
        let server = try CommandHarness()
        server("CONFIG SET save 900")
        server.run("CONFIG", "SET", "save", "900 1")
        server.server.saves.lastWasGood = false
        server.server.configurationChanged()
        #expect(server.run("EVAL", Self.write, "0").isError)
        server.server.saves.lastWasGood = true
        server.server.configurationChanged()
        #expect(server.run("EVAL", Self.write, "0") == .status("OK"))
        server.server.refuseWrites("Errors writing to the AOF file: No space left on device")
        let line = "MISCONF Errors writing to the AOF file: No space left on device"
        #expect(server.run("EVAL", Self.write, "0") == refusal(Self.write, line))
        #expect(server.run("EVAL", "return redis.call('get', 'a')", "0") == .bulk("b"))
    }
}
