// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisTesting
import Testing

@Suite("Scripts that take too long, with real clients")
struct ScriptTests {
    private static let busy = TestReply.error(
        "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE."
    )
    private static let notBusy = TestReply.error("NOTBUSY No scripts in execution right now.")

    /// A server whose scripts have 20 ms, and a client whose script has them behind it.
    private func overrun(_ script: String, _ keys: String...) throws -> (TestServer, TestClient, TestClient) {
        let server = try TestServer(configuration: ["lua-time-limit 20"])
        let (caller, other) = try overrun(script, keys, on: server)
        return (server, caller, other)
    }

    /// As above, on a server that runs; the second client has seen that it is busy.
    private func overrun(
        _ script: String,
        _ keys: [String] = [],
        on server: TestServer
    ) throws -> (TestClient, TestClient) {
        let caller = try server.connect()
        let other = try server.connect()
        caller.enqueue(["EVAL", script, "\(keys.count)"].map { Array($0.utf8) } + keys.map { Array($0.utf8) })
        try caller.flush()
        #expect(waitUntil { (try? other.command("PING")) == Self.busy }, "the server is not busy")
        return (caller, other)
    }

    /// A server as above, and a client that has subscribed to `news`.
    private func serverWithSubscriber() throws -> (TestServer, TestClient) {
        let server = try TestServer(configuration: ["lua-time-limit 20"])
        let subscriber = try server.connect()
        _ = try subscriber.command("SUBSCRIBE", "news")
        return (server, subscriber)
    }

    @Test(
        "others are told to wait, and SCRIPT KILL ends the script wherever it is",
        arguments: [
            "while true do end",
            "while true do pcall(function() while true do end end) end",
            "local co = coroutine.wrap(function() while true do end end) while true do pcall(co) end",
            "string.gsub(string.rep('x', 1000), 'x', function() while true do end end)",
            "table.sort({3, 1, 2}, function() while true do end end)",
            "return setmetatable({}, {__index = function() while true do end end}).x",
            "while true do redis.call('get', 'a') end",
            "xpcall(function() while true do end end, function() while true do end end)",
        ]
    )
    func killing(script: String) throws {
        let (server, caller, other) = try overrun(script)
        for command in [
            ["GET", "a"], ["SET", "a", "b"], ["EVAL", "return 1", "0"], ["SHUTDOWN"], ["INFO"], ["SCRIPT"],
        ] {
            let reply = try other.command(command.map { Array($0.utf8) })
            #expect(command == ["SCRIPT"] ? reply.isError : reply == Self.busy, "\(command)")
        }
        #expect(try other.command("SCRIPT", "EXISTS", "x") == Self.busy)
        #expect(try other.command("AUTH", "x") == .error("ERR Client sent AUTH, but no password is set"))
        let late = try server.connect()
        #expect(try late.command("PING") == Self.busy)
        #expect(try other.command("SCRIPT", "KILL") == .ok)
        let reply = try caller.receive()
        #expect(reply.text?.hasPrefix("ERR Error running script (call to f_") == true, "\(reply)")
        #expect(reply.text?.hasSuffix("Script killed by user with SCRIPT KILL... ") == true, "\(reply)")
        #expect(waitUntil { (try? other.command("PING")) == .status("PONG") })
        #expect(try other.command("SCRIPT", "KILL") == Self.notBusy)
        #expect(try caller.command("EVAL", "return 7", "0") == .integer(7))
        #expect(server.output.contains("Lua slow script detected: still in execution after 20 milliseconds."))
        #expect(server.output.contains("Lua script killed by user with SCRIPT KILL."))
        try server.stop()
    }

    @Test("a script that has written cannot be killed, and ends by itself in one piece")
    func unkillable() throws {
        let script = """
            redis.call('set', 'a', '1')
            local n = 0
            for i = 1, 60000000 do n = n + 1 end
            redis.call('incr', 'a')
            return n
            """
        let (server, caller, other) = try overrun(script)
        #expect(
            try other.command("SCRIPT", "KILL")
                == .error(
                    "UNKILLABLE Sorry the script already executed write commands against the dataset. You can either "
                        + "wait the script termination or kill the server in a hard way using the SHUTDOWN NOSAVE "
                        + "command."
                )
        )
        #expect(try caller.receive() == .integer(60_000_000))
        #expect(try caller.command("GET", "a") == .bulk("2"))
        try server.kill()
        try server.start()
        #expect(try server.command("GET", "a") == .bulk("2"))
        try server.stop()
    }

    @Test("SHUTDOWN NOSAVE ends the server during a script; of that nothing is there, of all before everything")
    func shutdown() throws {
        let server = try TestServer(configuration: ["lua-time-limit 20"])
        #expect(try server.command("SET", "before", "1") == .ok)
        let script = "redis.call('set', 'during', 1) redis.call('del', 'before') while true do end"
        let (_, other) = try overrun(script, on: server)
        other.enqueue("SHUTDOWN", "NOSAVE")
        try other.flush()
        #expect(waitUntil { !server.isRunning })
        try server.start()
        #expect(try server.command("MGET", "before", "during") == .array([.bulk("1"), .nullBulk]))
        try server.stop()
    }

    @Test("SIGTERM ends the server during a script, which publishes to others all the time")
    func termination() throws {
        let (server, subscriber) = try serverWithSubscriber()
        _ = try overrun("while true do redis.call('publish', 'news', 'x') end", on: server)
        #expect(try subscriber.receive() == .bulks("message", "news", "x"))
        try server.stop()
        #expect(server.output.contains("Received SIGTERM scheduling shutdown..."))
    }

    @Test("what a script publishes that overruns reaches whoever has subscribed, who may be the one answered last")
    func publishing() throws {
        let (server, subscriber) = try serverWithSubscriber()
        let script = """
            local number = 0
            while true do
                for i = 1, 100000 do end
                number = number + 1
                redis.call('publish', 'news', number)
            end
            """
        let (_, other) = try overrun(script, on: server)
        subscriber.enqueue("PING")
        try subscriber.flush()
        var number = 0
        var left = -1
        while left != 0 {
            let reply = try subscriber.receive()
            if reply == Self.busy {
                left = 20
            } else {
                number += 1
                try #require(reply == .bulks("message", "news", "\(number)"))
                left -= 1
            }
        }
        #expect(try other.command("SCRIPT", "KILL") == .ok)
        try server.stop()
    }

    @Test("after kill -9 during a script nothing of it is there")
    func killed() throws {
        let server = try TestServer(configuration: ["lua-time-limit 20", "appendfsync always"])
        #expect(try server.command("SET", "before", "1") == .ok)
        let script = "for i = 1, 100000 do redis.call('set', 'k' .. i, i) end while true do end"
        _ = try overrun(script, on: server)
        try server.kill()
        try server.start()
        #expect(try server.command("DBSIZE") == .integer(1))
        try server.stop()
    }

    @Test("the caller's further requests wait for the script's end, and are then answered in order")
    func pipelining() throws {
        let server = try TestServer(configuration: ["lua-time-limit 20"])
        let caller = try server.connect()
        let other = try server.connect()
        caller.enqueue("SET", "a", "1")
        caller.enqueue("EVAL", "local n = 0 while n < 60000000 do n = n + 1 end return redis.call('get', 'a')", "0")
        caller.enqueue("SET", "a", "2")
        caller.enqueue("GET", "a")
        try caller.flush()
        #expect(waitUntil { (try? other.command("PING")) == Self.busy })
        #expect(try caller.receive(4) == [.ok, .bulk("1"), .ok, .bulk("2")])
        try server.stop()
    }

    @Test("a client that leaves while its script runs takes nothing with it")
    func leaving() throws {
        let (server, caller, other) = try overrun("while true do end")
        caller.close()
        #expect(try other.command("PING") == Self.busy)
        #expect(try other.command("SCRIPT", "KILL") == .ok)
        #expect(waitUntil { (try? other.command("PING")) == .status("PONG") })
        try server.stop()
    }

    @Test("without a limit, and within it, a script just takes its time")
    func unlimited() throws {
        let server = try TestServer(configuration: ["lua-time-limit 0"])
        let client = try server.connect()
        let script = "local n = 0 for i = 1, 20000000 do n = n + 1 end return n"
        #expect(try client.command("EVAL", script, "0") == .integer(20_000_000))
        #expect(try client.command("CONFIG", "SET", "lua-time-limit", "60000") == .ok)
        #expect(try client.command("EVAL", script, "0") == .integer(20_000_000))
        #expect(!server.output.contains("Lua slow script"))
        try server.stop()
    }

    @Test("the slow log has a long script once, with all of its time, and MONITOR shows what scripts call")
    func observing() throws {
        let (server, caller, other) = try overrun("local n = 0 while n < 30000000 do n = n + 1 end return 1")
        #expect(try caller.receive() == .integer(1))
        let entries = try #require(try other.command("SLOWLOG", "GET", "10").elements)
        let evals = entries.compactMap(\.elements).filter { $0[3].elements?.first == .bulk("EVAL") }
        #expect(evals.count == 1)
        #expect(evals.first?[2].number ?? 0 >= 20_000)
        #expect(try other.command("MONITOR") == .ok)
        #expect(try caller.command("EVAL", "return redis.call('get', 'a')", "0") == .nullBulk)
        #expect(try other.receive().text?.hasSuffix("\"EVAL\" \"return redis.call('get', 'a')\" \"0\"") == true)
        #expect(try other.receive().text?.hasSuffix(" [0 lua] \"get\" \"a\"") == true)
        try server.stop()
    }

    @Test("within a transaction, too, others are told to wait; what comes behind the script waits for it")
    func transaction() throws {
        let server = try TestServer(configuration: ["lua-time-limit 20", "appendonly yes"])
        let caller = try server.connect()
        let other = try server.connect()
        let slow = "local n = 0 while n < 60000000 do n = n + 1 end return redis.call('incr', 'n')"
        let words = [
            ["MULTI"], ["SET", "n", "10"], ["EVAL", slow, "0"], ["INCR", "n"], ["EVAL", slow, "0"],
            ["LPUSH", "queue", "x"], ["EXEC"], ["GET", "n"],
        ]
        let waiting = try server.connect()
        waiting.enqueue("BLPOP", "queue", "0")
        try waiting.flush()
        #expect(waitUntil { (try? server.info("blocked_clients")) == "1" })
        for command in words { caller.enqueue(command.map { Array($0.utf8) }) }
        try caller.flush()
        #expect(waitUntil { (try? other.command("GET", "n")) == Self.busy }, "the server is not busy")
        let replies = try caller.receive(words.count)
        let results: [TestReply] = [.ok, .integer(11), .integer(12), .integer(13), .integer(1)]
        #expect(replies[6] == .array(results))
        #expect(replies[7] == .bulk("13"))
        #expect(try waiting.receive() == .bulks("queue", "x"))
        #expect(try other.command("GET", "n") == .bulk("13"))
        try server.killAndRestart()
        #expect(try server.command("GET", "n") == .bulk("13"))
        try server.stop()
    }

    @Test("a script within a transaction can be killed, and the rest of it goes on")
    func killedInTransaction() throws {
        let server = try TestServer(configuration: ["lua-time-limit 20"])
        let caller = try server.connect()
        let other = try server.connect()
        for command in [["MULTI"], ["SET", "a", "1"], ["EVAL", "while true do end", "0"], ["INCR", "a"], ["EXEC"]] {
            caller.enqueue(command.map { Array($0.utf8) })
        }
        try caller.flush()
        #expect(waitUntil { (try? other.command("PING")) == Self.busy })
        #expect(try other.command("SCRIPT", "KILL") == .ok)
        let replies = try #require(try caller.receive(5).last?.elements)
        #expect(replies.count == 3)
        #expect(replies[1].text?.contains("Script killed by user with SCRIPT KILL...") == true)
        #expect(replies[2] == .integer(2))
        #expect(try caller.command("MULTI") == .ok)
        #expect(try caller.command("DISCARD") == .ok)
        try server.stop()
    }

    @Test("a client that leaves in the middle of its transaction takes nothing with it: all of it is done")
    func leavingTransaction() throws {
        let server = try TestServer(configuration: ["lua-time-limit 20"])
        let caller = try server.connect()
        let other = try server.connect()
        let slow = "local n = 0 while n < 40000000 do n = n + 1 end return redis.call('incr', 'n')"
        for command in [["MULTI"], ["EVAL", slow, "0"], ["EVAL", slow, "0"], ["INCR", "n"], ["EXEC"]] {
            caller.enqueue(command.map { Array($0.utf8) })
        }
        try caller.flush()
        #expect(waitUntil { (try? other.command("PING")) == Self.busy })
        caller.close()
        #expect(waitUntil { (try? other.command("GET", "n")) == .bulk("3") })
        try server.stop()
    }
}
