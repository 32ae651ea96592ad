// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisTesting
import Foundation
import Testing

@Suite("Administration")
struct AdministrationTests {
    /// The fields that each section of INFO must have; more may follow.
    static let fields = [
        "Server": [
            "redis_version", "redis_git_sha1", "redis_git_dirty", "redis_build_id", "redis_mode", "os", "arch_bits",
            "multiplexing_api", "gcc_version", "process_id", "run_id", "tcp_port", "uptime_in_seconds",
            "uptime_in_days", "hz", "lru_clock", "config_file",
        ],
        "Clients": [
            "connected_clients", "client_longest_output_list", "client_biggest_input_buf", "blocked_clients",
        ],
        "Memory": [
            "used_memory", "used_memory_human", "used_memory_rss", "used_memory_peak", "used_memory_peak_human",
            "used_memory_lua", "mem_fragmentation_ratio", "mem_allocator",
        ],
        "Persistence": [
            "loading", "rdb_changes_since_last_save", "rdb_bgsave_in_progress", "rdb_last_save_time",
            "rdb_last_bgsave_status", "rdb_last_bgsave_time_sec", "rdb_current_bgsave_time_sec", "aof_enabled",
            "aof_rewrite_in_progress", "aof_rewrite_scheduled", "aof_last_rewrite_time_sec",
            "aof_current_rewrite_time_sec", "aof_last_bgrewrite_status", "aof_last_write_status",
        ],
        "Stats": [
            "total_connections_received", "total_commands_processed", "instantaneous_ops_per_sec",
            "total_net_input_bytes", "total_net_output_bytes", "instantaneous_input_kbps",
            "instantaneous_output_kbps", "rejected_connections", "sync_full", "sync_partial_ok", "sync_partial_err",
            "expired_keys", "evicted_keys", "keyspace_hits", "keyspace_misses", "pubsub_channels",
            "pubsub_patterns", "latest_fork_usec",
        ],
        "Replication": [
            "role", "connected_slaves", "master_repl_offset", "repl_backlog_active", "repl_backlog_size",
            "repl_backlog_first_byte_offset", "repl_backlog_histlen",
        ],
        "CPU": ["used_cpu_sys", "used_cpu_user", "used_cpu_sys_children", "used_cpu_user_children"],
        "Keyspace": ["db0"],
        "Storage": [],
        "Slots": [],
    ]

    @Test("INFO has every section and field of 2.8, and those of the storage and the slots")
    func info() throws {
        let server = try TestServer()
        let client = try server.connect()
        try client.command("SET", "key", "value")
        let whole = try #require(try client.command("INFO").text)
        for (section, fields) in Self.fields {
            let text = try #require(try client.command("INFO", section.uppercased()).text)
            #expect(text.hasPrefix("# \(section)\r\n"), "\(text)")
            #expect(whole.contains("# \(section)\r\n"))
            let names = text.components(separatedBy: "\r\n").dropFirst().filter { $0 != "" }.map { line in
                String(line.prefix { $0 != ":" })
            }
            let known = names.filter { fields.contains($0) }
            #expect(known == fields, "the fields of \(section), in their order")
        }
        #expect(!whole.contains("# Commandstats"))
        #expect(try client.command("INFO", "all").text?.contains("cmdstat_set:calls=1,usec=") == true)
        #expect(try client.command("INFO", "nosuch") == .bulk(""))
        #expect(try client.command("INFO", "a", "b") == .error("ERR syntax error"))
        #expect(whole.contains("redis_version:2.8.21\r\n"))
        #expect(whole.contains("\r\ndb0:keys=1,expires=0,avg_ttl=0\r\n"))
        try server.stop()
    }

    @Test("CONFIG GET, SET and RESETSTAT")
    func configuration() throws {
        let server = try TestServer()
        let client = try server.connect()
        #expect(try client.command("CONFIG", "GET", "dir") == .bulks("dir", server.directory))
        #expect(try client.command("CONFIG", "GET", "nosuch*") == .array([]))
        #expect(try client.command("CONFIG", "SET", "maxmemory", "1000000000") == .ok)
        #expect(try client.command("CONFIG", "GET", "maxmemory") == .bulks("maxmemory", "1000000000"))
        #expect(
            try client.command("CONFIG", "SET", "maxmemory", "1gb")
                == .error("ERR Invalid argument '1gb' for CONFIG SET 'maxmemory'")
        )
        #expect(
            try client.command("CONFIG", "SET", "port", "1") == .error("ERR Unsupported CONFIG parameter: port")
        )
        #expect(
            try client.command("CONFIG", "NOSUCH")
                == .error("ERR CONFIG subcommand must be one of GET, SET, RESETSTAT, REWRITE")
        )
        let tooMany = try client.command("CONFIG", "SET", "maxclients", "2147483647").text ?? ""
        let text = "ERR The operating system is not able to handle the specified number of clients, try with "
        #expect(tooMany.hasPrefix(text) && Int(tooMany.dropFirst(text.count)) != nil, "\(tooMany)")
        #expect(try client.command("CONFIG", "GET") == .error("ERR Wrong number of arguments for CONFIG GET"))
        #expect(try client.command("CONFIG", "SET", "appendfsync", "always") == .ok)
        #expect(try client.command("SET", "a", "b") == .ok)
        #expect(try client.command("CONFIG", "SET", "appendonly", "yes") == .ok)
        #expect(try client.command("CONFIG", "RESETSTAT") == .ok)
        #expect(try server.info("keyspace_hits") == "0")
        let all = try #require(try client.command("CONFIG", "GET", "*").elements)
        #expect(all.count.isMultiple(of: 2) && all.count > 100)
        try server.stop()
    }

    @Test("MONITOR shows what others do, as it came")
    func monitor() throws {
        let server = try TestServer()
        let monitor = try server.connect()
        #expect(try monitor.command("MONITOR") == .ok)
        let client = try server.connect()
        try client.command("SELECT", "3")
        try client.command([Array("set".utf8), Array("a\"b".utf8), [0, 10, 0xFF]])
        let first = try #require(try monitor.receive().text)
        let second = try #require(try monitor.receive().text)
        #expect(first.wholeMatch(of: /\d+\.\d{6} \[0 127\.0\.0\.1:\d+\] "SELECT" "3"/) != nil, "\(first)")
        let expected = /\d+\.\d{6} \[3 127\.0\.0\.1:\d+\] "set" "a\\"b" "\\x00\\n\\xff"/
        #expect(second.wholeMatch(of: expected) != nil, "\(second)")
        try server.stop()
    }

    @Test("SLOWLOG keeps what was slower than asked for, newest first")
    func slowlog() throws {
        let server = try TestServer(configuration: ["slowlog-log-slower-than 0", "slowlog-max-len 3"])
        let client = try server.connect()
        try client.command("SLOWLOG", "RESET")
        for number in 0..<5 { try client.command("SET", "key", "\(number)") }
        #expect(try client.command("SLOWLOG", "LEN") == .integer(3))
        try client.command("CONFIG", "SET", "slowlog-log-slower-than", "-1")
        let entries = try #require(try client.command("SLOWLOG", "GET").elements)
        #expect(entries.count == 3)
        let words = entries.compactMap { $0.elements?[3] }
        #expect(words.contains(.bulks("SET", "key", "4")))
        let numbers = entries.compactMap { $0.elements?[0].number }
        #expect(numbers == numbers.sorted(by: >))
        #expect(
            try client.command("SLOWLOG", "NOSUCH")
                == .error("ERR Unknown SLOWLOG subcommand or wrong # of args. Try GET, RESET, LEN.")
        )
        try server.stop()
    }

    @Test("LATENCY records what DEBUG SLEEP does")
    func latency() throws {
        let server = try TestServer(configuration: ["latency-monitor-threshold 50"])
        let client = try server.connect()
        #expect(try client.command("DEBUG", "SLEEP", "0.1") == .ok)
        let latest = try #require(try client.command("LATENCY", "LATEST").elements?.first?.elements)
        #expect(latest[0] == .bulk("command"))
        #expect(try #require(latest[2].number) >= 100)
        #expect(try client.command("LATENCY", "HISTORY", "command").elements?.count == 1)
        #expect(try client.command("LATENCY", "RESET", "command") == .integer(1))
        #expect(try client.command("LATENCY", "HISTORY", "command") == .array([]))
        try server.stop()
    }

    @Test("DEBUG DIGEST is that of Redis")
    func digest() throws {
        let server = try TestServer()
        let client = try server.connect()
        #expect(try client.command("DEBUG", "DIGEST") == .status(String(repeating: "0", count: 40)))
        try client.command("SET", "foo", "bar")
        #expect(try client.command("DEBUG", "DIGEST") == .status("d2ab4820c1be0580ea28efbfe8bfa1dc05bb802a"))
        try client.command("EXPIRE", "foo", "1000")
        #expect(try client.command("DEBUG", "DIGEST") == .status("8b0c6d22108f15467022bc27c005787072eb4c4b"))
        try client.command("PERSIST", "foo")
        try client.command("MOVE", "foo", "9")
        #expect(try client.command("DEBUG", "DIGEST") == .status("dc80f2e0af29acd7775c097292c2196dfc04b5d9"))
        try server.restart()
        #expect(try server.command("DEBUG", "DIGEST") == .status("dc80f2e0af29acd7775c097292c2196dfc04b5d9"))
        try server.stop()
    }

    @Test("DEBUG POPULATE, OBJECT and SET-ACTIVE-EXPIRE")
    func debugging() throws {
        let server = try TestServer()
        let client = try server.connect()
        #expect(try client.command("DEBUG", "POPULATE", "1000") == .ok)
        #expect(try client.command("DBSIZE") == .integer(1000))
        #expect(try client.command("GET", "key:999") == .bulk("value:999"))
        let object = try #require(try client.command("DEBUG", "OBJECT", "key:1").text)
        #expect(object.contains(" encoding:raw serializedlength:"), "\(object)")
        #expect(try client.command("DEBUG", "OBJECT", "nosuch") == .error("ERR no such key"))
        #expect(try client.command("DEBUG", "SET-ACTIVE-EXPIRE", "0") == .ok)
        try client.command("SET", "brief", "1", "PX", "1")
        #expect(waitUntil { (try? client.command("PTTL", "key:1")) == .integer(-1) })
        #expect(waitUntil(timeoutSeconds: 1) { (try? client.command("DBSIZE")) == .integer(1000) } == false)
        #expect(try client.command("GET", "brief") == .nullBulk)
        #expect(try client.command("DBSIZE") == .integer(1000))
        try server.stop()
    }

    @Test("SLOTSINFO counts keys by slot and database, also after a crash")
    func slots() throws {
        let server = try TestServer(configuration: ["appendonly yes"])
        let client = try server.connect()
        #expect(
            try client.command("SLOTSHASHKEY", "a", "b", "c", "{foo}bar", "", "{}x", "x{y")
                == .integers(579, 1017, 879, 289, 0, 0, 351)
        )
        #expect(try client.command("SLOTSHASHKEY") == .array([]))
        #expect(try client.command("SLOTSINFO") == .array([]))
        for key in ["a", "{a}1", "b"] { try client.command("SET", key, "1") }
        let both: TestReply = .array([.integers(579, 2), .integers(1017, 1)])
        #expect(try client.command("SLOTSINFO") == both)
        #expect(try client.command("SLOTSINFO", "580") == .array([.integers(1017, 1)]))
        #expect(try client.command("SLOTSINFO", "579", "1") == .array([.integers(579, 2)]))
        #expect(try client.command("SLOTSINFO", "0", "0") == .array([]))
        #expect(try client.command("SLOTSINFO", "1", "2147483647") == .array([]))
        #expect(try client.command("SLOTSINFO", "1024") == .error("ERR invalid slot number = 1024"))
        #expect(try client.command("SLOTSINFO", "0", "-1") == .error("ERR invalid slot count = -1"))
        #expect(try client.command("SLOTSINFO", "x") == .error("ERR value is not an integer or out of range"))
        #expect(
            try client.command("SLOTSINFO", "0", "1", "2")
                == .error("ERR wrong number of arguments for 'slotsinfo' command")
        )
        try client.command("SELECT", "1")
        #expect(try client.command("SLOTSINFO") == .array([]))
        try server.killAndRestart()
        #expect(try server.command("SLOTSINFO") == both)
        try server.stop()
    }

    @Test("TIME, LASTSAVE, OBJECT IDLETIME and ECHO")
    func small() throws {
        let server = try TestServer()
        let client = try server.connect()
        let time = try #require(try client.command("TIME").elements?.first?.text.flatMap(Double.init))
        #expect(abs(time - Date().timeIntervalSince1970) < 5)
        #expect(abs(Double(try #require(try client.command("LASTSAVE").number)) - time) < 10)
        try client.command("SET", "key", "value")
        #expect(try #require(try client.command("OBJECT", "IDLETIME", "key").number) <= 1)
        #expect(try client.command("OBJECT", "REFCOUNT", "key") == .integer(1))
        #expect(try client.command("OBJECT", "IDLETIME", "nosuch") == .nullBulk)
        #expect(
            try client.command("OBJECT", "NOSUCH", "key")
                == .error("ERR Syntax error. Try OBJECT (refcount|encoding|idletime)")
        )
        try server.stop()
    }
}
