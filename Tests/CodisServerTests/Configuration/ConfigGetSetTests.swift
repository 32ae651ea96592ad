// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import Bytes
import CodisServer
import Testing

private func shown(_ config: ServerConfig, _ pattern: String) -> [String: String] {
    let parameters = ByteView.with(pattern) { config.get($0) }
    return Dictionary(uniqueKeysWithValues: parameters.map { ($0.name, String(decoding: $0.value, as: UTF8.self)) })
}

@Suite struct ConfigGetSetTests {
    @Test("CONFIG GET takes a pattern")
    func pattern() {
        let config = ServerConfig()
        #expect(shown(config, "port") == ["port": "6379"])
        #expect(shown(config, "maxmemory*").count == 3)
        #expect(shown(config, "PORT") == [:])
        #expect(shown(config, "nothing") == [:])
        #expect(shown(config, "replica-read-only") == ["replica-read-only": "yes"])
        let all = shown(config, "*")
        #expect(all["appendfilename"] == nil)
        #expect(all["rename-command"] == nil)
        #expect(all["replica-read-only"] == nil)
        #expect(all["watchdog-period"] == "0")
    }

    @Test(
        "CONFIG GET shows the defaults of 2.8",
        arguments: [
            ("save", "3600 1 300 100 60 10000"), ("bind", ""), ("slaveof", ""), ("requirepass", ""),
            ("maxclients", "10000"),
            ("client-output-buffer-limit", "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60"),
            ("repl-backlog-size", "1048576"), ("loglevel", "notice"), ("unixsocketperm", "0"), ("dir", "./"),
            ("appendfsync", "everysec"), ("notify-keyspace-events", ""), ("auto-aof-rewrite-min-size", "67108864"),
        ]
    )
    func defaults(name: String, value: String) {
        #expect(shown(ServerConfig(), name) == [name: value])
    }

    @Test(
        "CONFIG SET changes what CONFIG GET shows",
        arguments: [
            ("maxmemory", "100", "100"), ("MaxMemory", "+0100", "100"), ("appendonly", "YES", "yes"),
            ("save", "900 1 300 10", "900 1 300 10"), ("save", "", ""), ("loglevel", "Debug", "debug"),
            ("hz", "10000", "500"), ("hz", "0", "1"), ("repl-backlog-size", "1", "16384"),
            ("requirepass", "x y", "x y"),
            ("requirepass", "", ""), ("slowlog-log-slower-than", "-1", "-1"), ("watchdog-period", "5", "5"),
            ("notify-keyspace-events", "EKxg", "gxKE"), ("notify-keyspace-events", "g$lshzxeK", "AK"),
            ("maxmemory-policy", "allkeys-lru", "allkeys-lru"), ("dbfilename", "other.rdb", "other.rdb"),
            (
                "client-output-buffer-limit", "normal 1 2 3 pubsub 4 5 6",
                "normal 1 2 3 slave 268435456 67108864 60 pubsub 4 5 6"
            ),
        ]
    )
    func set(name: String, value: String, expected: String) throws {
        var config = ServerConfig()
        let directive = try config.set(name, value, effects: .memory())
        #expect(shown(config, directive) == [name.lowercased(): expected])
    }

    @Test(
        "CONFIG SET refuses what the parameter cannot be, and then changes nothing",
        arguments: [
            ("maxmemory", "1mb"), ("maxmemory", "-1"), ("maxmemory", "x"), ("appendonly", "maybe"), ("save", "900"),
            ("save", "0 1"), ("save", "900 -1"), ("save", "a b"), ("save", "900  1"), ("timeout", "-1"),
            ("maxclients", "0"),
            ("repl-timeout", "0"), ("loglevel", "loud"), ("hz", "-1"), ("lua-time-limit", "-1"),
            ("notify-keyspace-events", "q"), ("client-output-buffer-limit", "normal 1 2"),
            ("client-output-buffer-limit", "normal 1mb 0 0"),
            ("client-output-buffer-limit", "pubsub 1 1 1 other 1 1 1"),
            ("requirepass", String(repeating: "x", count: 513)),
        ]
    )
    func invalid(name: String, value: String) {
        var config = ServerConfig()
        let error = #expect(throws: ConfigError.self) { try config.set(name, value, effects: .memory()) }
        #expect(
            error.map { String(decoding: $0.errorLine, as: UTF8.self) }
                == "ERR Invalid argument '\(value)' for CONFIG SET '\(name)'"
        )
        #expect(config == ServerConfig())
    }

    @Test("CONFIG SET knows only what can be set", arguments: ["port", "nothing", "appendfilename", "bind", "include"])
    func unsupported(name: String) {
        var config = ServerConfig()
        let error = #expect(throws: ConfigError.self) { try config.set(name, "1", effects: .memory()) }
        #expect(
            error.map { String(decoding: $0.errorLine, as: UTF8.self) } == "ERR Unsupported CONFIG parameter: \(name)"
        )
    }

    @Test("CONFIG SET dir enters the directory, or says why not")
    func directory() throws {
        var config = ServerConfig()
        try config.set("dir", "/data", effects: .memory())
        #expect(config.directory == "/data")
        #expect(throws: ConfigError.refused("Changing directory: No such file or directory")) {
            try config.set("dir", "/missing", effects: .memory())
        }
        #expect(throws: ConfigError.refused("dbfilename can't be a path, just a filename")) {
            try config.set("dbfilename", "a/b", effects: .memory())
        }
    }
}
