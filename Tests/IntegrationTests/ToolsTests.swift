// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisTesting
import Testing

@Suite("Redis's own tools", .enabled(if: RedisPeer.hasTools, "redis-tools is not installed"))
struct ToolsTests {
    @Test("redis-cli runs commands, reads arguments from standard input and pipes")
    func commandLineClient() throws {
        let server = try TestServer()
        let port = ["-p", "\(server.port)"]
        #expect(try runProgram("redis-cli", port + ["SET", "greeting", "hello world"]).output == "OK\n")
        #expect(try runProgram("redis-cli", port + ["GET", "greeting"]).output == "hello world\n")
        #expect(try runProgram("redis-cli", port + ["-x", "SET", "binary"], input: "a\nb").output == "OK\n")
        #expect(try runProgram("redis-cli", port + ["--no-raw", "GET", "binary"]).output == "\"a\\nb\"\n")
        let script = "INCR counter\nINCR counter\nSELECT 3\nDBSIZE\nNOSUCH\n"
        let result = try runProgram("redis-cli", port, input: script)
        #expect(result.output == "1\n2\nOK\n0\nERR unknown command 'NOSUCH'\n\n", "\(result.output)")
        #expect(try runProgram("redis-cli", port + ["-n", "5", "SET", "k", "v"]).output == "OK\n")
        #expect(try runProgram("redis-cli", port + ["-n", "5", "DBSIZE"]).output == "1\n")
        #expect(try runProgram("redis-cli", port + ["slotshashkey", "a"]).output == "579\n")
        try server.stop()
    }

    @Test("redis-cli --pipe loads what it is given")
    func massInsertion() throws {
        let server = try TestServer()
        var bytes: [UInt8] = []
        for number in 0..<10_000 {
            TestClient.encode(["SET", "key:\(number)", "value"].map { Array($0.utf8) }, into: &bytes)
        }
        let result = try runProgram(
            "redis-cli",
            ["-p", "\(server.port)", "--pipe"],
            input: String(decoding: bytes, as: UTF8.self)
        )
        #expect(result.isSuccess, "\(result.errors)")
        #expect(result.output.contains("errors: 0, replies: 10000"), "\(result.output)")
        #expect(try server.command("DBSIZE") == .integer(10_000))
        try server.stop()
    }

    @Test("redis-cli --scan, --bigkeys and --stat find their way")
    func scanning() throws {
        let server = try TestServer()
        let client = try server.connect()
        for number in 0..<500 { client.enqueue("SET", "key:\(number)", "value") }
        try client.flush()
        _ = try client.receive(500)
        let port = ["-p", "\(server.port)"]
        let found = try runProgram("redis-cli", port + ["--scan", "--pattern", "key:1*"]).output
        #expect(Set(found.split(separator: "\n")).count == 111)
        let big = try runProgram("redis-cli", port + ["--bigkeys"])
        #expect(big.isSuccess && big.output.contains("500 strings with"), "\(big.output)")
        try server.stop()
    }

    @Test(
        "redis-benchmark runs its tests without an error",
        arguments: [
            ["-P", "16"], ["-P", "1"], ["-P", "16", "-r", "100000", "-d", "1024"], ["-c", "1"], ["-k", "0"],
        ]
    )
    func benchmark(options: [String]) throws {
        let server = try TestServer(configuration: ["appendonly yes"])
        let requests = options.first == "-k" || options.first == "-c" ? "3000" : "20000"
        let result = try runProgram(
            "redis-benchmark",
            ["-p", "\(server.port)", "-t", "ping,set,get,incr,mset", "-n", requests, "--csv"] + options,
            timeoutSeconds: 120
        )
        #expect(result.isSuccess, "\(result.errors)")
        #expect(!(result.output + result.errors).lowercased().contains("err"), "\(result.output)\(result.errors)")
        let names = result.output.split(separator: "\n").dropFirst().compactMap { $0.split(separator: ",").first }
        #expect(names.count == 6, "\(result.output)")
        try server.stop()
    }

    @Test(
        "redis-py works: every kind of reply, pipelines, expiry, scanning, errors",
        .enabled(if: RedisPeer.python != nil, "no Python with redis-py; tools/test makes one")
    )
    func pythonClient() throws {
        let server = try TestServer()
        let python = try #require(RedisPeer.python)
        let result = try runProgram(python, ["-c", Self.script, "\(server.port)"])
        #expect(result.isSuccess, "\(result.errors)")
        #expect(result.output == "done\n")
        try server.stop()
    }

    private static let script = """
        import sys, time
        import redis

        client = redis.Redis(port=int(sys.argv[1]), protocol=2)

        def refused(call):
            try:
                call()
            except redis.ResponseError as error:
                return str(error)
            raise AssertionError("no error")

        assert client.ping()
        assert client.set("a", b"\\x00\\xff") and client.get("a") == b"\\x00\\xff"
        assert client.get("missing") is None
        assert client.set("a", "1", nx=True) is None
        assert client.set("b", "1", ex=100) and 98 <= client.ttl("b") <= 100
        assert client.mset({"m1": "1", "m2": "2"}) and client.mget("m1", "none", "m2") == [b"1", None, b"2"]
        assert client.incr("n", 5) == 5 and client.decr("n", 7) == -2
        assert client.incrbyfloat("f", 1.5) == 1.5
        assert client.append("s", "abc") == 3 and client.strlen("s") == 3
        assert client.setrange("s", 1, "XY") == 3 and client.getrange("s", 0, -1) == b"aXY"
        assert client.setbit("bits", 100, 1) == 0 and client.bitcount("bits") == 1 and client.bitpos("bits", 1) == 100
        assert client.rename("m1", "m3") and client.exists("m3") == 1
        assert client.type("m3") == b"string"
        assert client.expire("m3", 100) and client.persist("m3") and client.ttl("m3") == -1
        assert client.pexpire("m3", 1) in (1, True)
        while client.exists("m3"):
            time.sleep(0.01)
        pipeline = client.pipeline(transaction=False)
        for number in range(10000):
            pipeline.set("key:%d" % number, number)
        assert all(pipeline.execute())
        assert len(set(client.scan_iter("key:*", count=1000))) == 10000
        assert client.dbsize() == len(client.keys("*"))
        assert client.info()["redis_version"] == "2.8.21"
        assert client.info("keyspace")["db0"]["keys"] == client.dbsize()
        assert client.config_get("maxclients") == {"maxclients": "10000"}
        assert client.config_set("slowlog-max-len", 10)
        assert client.client_list()[0]["db"] == "0"
        assert isinstance(client.time(), tuple)
        assert "not an integer" in refused(lambda: client.incr("s"))
        assert "wrong number of arguments" in refused(lambda: client.execute_command("GET"))
        assert "unknown command" in refused(lambda: client.execute_command("NOSUCH"))
        assert client.execute_command("SLOTSHASHKEY", "a", "b", "c") == [579, 1017, 879]
        assert client.flushall() and client.dbsize() == 0
        print("done")
        """
}
