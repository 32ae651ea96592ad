// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisTesting
import Testing

@Suite("Command table")
struct CommandTableTests {
    @Test("every command there is has the arity, flags and key positions of Redis 2.8 and Codis 2.0")
    func rows() throws {
        let server = try TestServer()
        let rows = try #require(try server.command("COMMAND").elements)
        var names: Set<String> = []
        for row in rows {
            let parts = try #require(row.elements)
            let name = try #require(parts.first?.text)
            names.insert(name)
            guard let recorded = Self.recorded[name] else {
                #expect(Self.later.contains(name) || Self.isAsynchronous(name), "\(name) is no command of 2.8")
                continue
            }
            #expect(TestReply.array(parts) == recorded, "\(name)")
        }
        #expect(Set(Self.present).subtracting(names).isEmpty)
        #expect(try server.command("COMMAND", "COUNT") == .integer(Int64(rows.count)))
        let info = try server.command("COMMAND", "INFO", "get", "nosuch", "SET")
        #expect(info == .array([try #require(Self.recorded["get"]), .nullBulk, try #require(Self.recorded["set"])]))
        #expect(
            try server.command("COMMAND", "NOSUCH")
                == .error("ERR Unknown subcommand or wrong number of arguments.")
        )
        try server.stop()
    }

    @Test("too few and too many arguments are refused with the name in lower case")
    func arity() throws {
        let server = try TestServer()
        let client = try server.connect()
        let rows = try #require(try client.command("COMMAND").elements).compactMap(\.elements)
        for row in rows {
            guard let name = row[0].text, let arity = row[1].number, abs(arity) > 0 else { continue }
            let refusal = TestReply.error("ERR wrong number of arguments for '\(name)' command")
            func send(_ words: Int64) throws -> TestReply {
                try client.command([Array(name.uppercased().utf8)] + (1..<words).map { Array("\($0)".utf8) })
            }
            if abs(arity) > 1 { #expect(try send(abs(arity) - 1) == refusal, "\(name)") }
            if arity > 0 { #expect(try send(arity + 1) == refusal, "\(name)") }
        }
        try server.stop()
    }

    /// What is later than the recorded servers, or our own.
    static let later: Set<String> = [
        "slotsscan", "slotsmgrt", "slotsstats", "slotsrestore-part", "slotsrestore-end",
    ]

    /// Whether a command belongs to those by which Codis 3.2 moves slots; a unit test has their rows.
    private static func isAsynchronous(_ name: String) -> Bool {
        name.hasPrefix("slots") && name.contains("-async") || name == "slotsmgrt-exec-wrapper"
    }

    /// What must be there by now.
    static let present = [
        "append", "auth", "bitcount", "bitop", "bitpos", "client", "command", "config", "dbsize", "debug", "decr",
        "decrby", "del", "dump", "echo", "exists", "expire", "expireat", "flushall", "flushdb", "get", "getbit",
        "getrange",
        "getset", "incr", "incrby", "incrbyfloat", "info", "keys", "lastsave", "latency", "mget", "monitor", "move",
        "migrate", "mset", "msetnx", "object", "persist", "pexpire", "pexpireat", "ping", "psetex", "pttl", "randomkey",
        "rename",
        "renamenx", "restore", "scan", "select", "set", "setbit", "setex", "setnx", "setrange", "shutdown",
        "slotshashkey",
        "slotsinfo", "slowlog", "strlen", "substr", "time", "ttl", "type",
    ]

    /// The reply of COMMAND by name.
    static let recorded: [String: TestReply] = {
        let flagNames: [(letter: Character, name: String)] = [
            ("w", "write"), ("r", "readonly"), ("m", "denyoom"), ("a", "admin"), ("p", "pubsub"), ("s", "noscript"),
            ("R", "random"), ("S", "sort_for_script"), ("l", "loading"), ("t", "stale"), ("M", "skip_monitor"),
            ("F", "fast"), ("k", "movablekeys"),
        ]
        var replies: [String: TestReply] = [:]
        for line in table.split(separator: "\n") {
            let words = line.split(separator: " ")
            let numbers = [words[1], words[3], words[4], words[5]].compactMap { Int64($0) }.map(TestReply.integer)
            let flags = flagNames.filter { words[2].contains($0.letter) }.map { TestReply.status($0.name) }
            replies[String(words[0])] = .array([
                .bulk(String(words[0])), numbers[0], .array(flags), numbers[1], numbers[2], numbers[3],
            ])
        }
        return replies
    }()

    /// Name, arity, flags, first key, last key, step, as codis-server of Codis 2.0 replied.
    private static let table = """
        append 3 wm 1 1 1
        auth 2 rsltF 0 0 0
        bgrewriteaof 1 ra 0 0 0
        bgsave 1 ra 0 0 0
        bitcount -2 r 1 1 1
        bitop -4 wm 2 -1 1
        bitpos -3 r 1 1 1
        blpop -3 ws 1 -2 1
        brpop -3 ws 1 1 1
        brpoplpush 4 wms 1 2 1
        client -2 rs 0 0 0
        command 0 rlt 0 0 0
        config -2 rat 0 0 0
        dbsize 1 rF 0 0 0
        debug -2 as 0 0 0
        decr 2 wmF 1 1 1
        decrby 3 wmF 1 1 1
        del -2 w 1 -1 1
        discard 1 rsF 0 0 0
        dump 2 r 1 1 1
        echo 2 rF 0 0 0
        eval -3 sk 0 0 0
        evalsha -3 sk 0 0 0
        exec 1 sM 0 0 0
        exists 2 rF 1 1 1
        expire 3 wF 1 1 1
        expireat 3 wF 1 1 1
        flushall 1 w 0 0 0
        flushdb 1 w 0 0 0
        get 2 rF 1 1 1
        getbit 3 rF 1 1 1
        getrange 4 r 1 1 1
        getset 3 wm 1 1 1
        hdel -3 wF 1 1 1
        hexists 3 rF 1 1 1
        hget 3 rF 1 1 1
        hgetall 2 r 1 1 1
        hincrby 4 wmF 1 1 1
        hincrbyfloat 4 wmF 1 1 1
        hkeys 2 rS 1 1 1
        hlen 2 rF 1 1 1
        hmget -3 r 1 1 1
        hmset -4 wm 1 1 1
        hscan -3 rR 1 1 1
        hset 4 wmF 1 1 1
        hsetnx 4 wmF 1 1 1
        hvals 2 rS 1 1 1
        incr 2 wmF 1 1 1
        incrby 3 wmF 1 1 1
        incrbyfloat 3 wmF 1 1 1
        info -1 rlt 0 0 0
        keys 2 rS 0 0 0
        lastsave 1 rRF 0 0 0
        latency -2 raslt 0 0 0
        lindex 3 r 1 1 1
        linsert 5 wm 1 1 1
        llen 2 rF 1 1 1
        lpop 2 wF 1 1 1
        lpush -3 wmF 1 1 1
        lpushx 3 wmF 1 1 1
        lrange 4 r 1 1 1
        lrem 4 w 1 1 1
        lset 4 wm 1 1 1
        ltrim 4 w 1 1 1
        mget -2 r 1 -1 1
        migrate 6 w 0 0 0
        monitor 1 ras 0 0 0
        move 3 wF 1 1 1
        mset -3 wm 1 -1 2
        msetnx -3 wm 1 -1 2
        multi 1 rsF 0 0 0
        object 3 r 2 2 2
        persist 2 wF 1 1 1
        pexpire 3 wF 1 1 1
        pexpireat 3 wF 1 1 1
        pfadd -2 wmF 1 1 1
        pfcount -2 r 1 1 1
        pfdebug -3 w 0 0 0
        pfmerge -2 wm 1 -1 1
        pfselftest 1 r 0 0 0
        ping -1 rtF 0 0 0
        psetex 4 wm 1 1 1
        psubscribe -2 rpslt 0 0 0
        psync 3 ras 0 0 0
        pttl 2 rF 1 1 1
        publish 3 rpltF 0 0 0
        pubsub -2 rpRlt 0 0 0
        punsubscribe -1 rpslt 0 0 0
        randomkey 1 rR 0 0 0
        rename 3 w 1 2 1
        renamenx 3 wF 1 2 1
        replconf -1 raslt 0 0 0
        restore 4 wm 1 1 1
        role 1 slt 0 0 0
        rpop 2 wF 1 1 1
        rpoplpush 3 wm 1 2 1
        rpush -3 wmF 1 1 1
        rpushx 3 wmF 1 1 1
        sadd -3 wmF 1 1 1
        save 1 ras 0 0 0
        scan -2 rR 0 0 0
        scard 2 rF 1 1 1
        script -2 rs 0 0 0
        sdiff -2 rS 1 -1 1
        sdiffstore -3 wm 1 -1 1
        select 2 rlF 0 0 0
        set -3 wm 1 1 1
        setbit 4 wm 1 1 1
        setex 4 wm 1 1 1
        setnx 3 wmF 1 1 1
        setrange 4 wm 1 1 1
        shutdown -1 ralt 0 0 0
        sinter -2 rS 1 -1 1
        sinterstore -3 wm 1 -1 1
        sismember 3 rF 1 1 1
        slaveof 3 ast 0 0 0
        slotscheck 0 r 0 0 0
        slotsdel -2 w 1 -1 1
        slotshashkey -1 rF 0 0 0
        slotsinfo -1 rF 0 0 0
        slotsmgrtone 5 wa 0 0 0
        slotsmgrtslot 5 wa 0 0 0
        slotsmgrttagone 5 wa 0 0 0
        slotsmgrttagslot 5 wa 0 0 0
        slotsrestore -4 wma 1 1 1
        slowlog -2 r 0 0 0
        smembers 2 rS 1 1 1
        smove 4 wF 1 2 1
        sort -2 wm 1 1 1
        spop 2 wsRF 1 1 1
        srandmember -2 rR 1 1 1
        srem -3 wF 1 1 1
        sscan -3 rR 1 1 1
        strlen 2 rF 1 1 1
        subscribe -2 rpslt 0 0 0
        substr 4 r 1 1 1
        sunion -2 rS 1 -1 1
        sunionstore -3 wm 1 -1 1
        sync 1 ras 0 0 0
        time 1 rRF 0 0 0
        ttl 2 rF 1 1 1
        type 2 rF 1 1 1
        unsubscribe -1 rpslt 0 0 0
        unwatch 1 rsF 0 0 0
        watch -2 rsF 1 -1 1
        zadd -4 wmF 1 1 1
        zcard 2 rF 1 1 1
        zcount 4 rF 1 1 1
        zincrby 4 wmF 1 1 1
        zinterstore -4 wmk 0 0 0
        zlexcount 4 rF 1 1 1
        zrange -4 r 1 1 1
        zrangebylex -4 r 1 1 1
        zrangebyscore -4 r 1 1 1
        zrank 3 rF 1 1 1
        zrem -3 wF 1 1 1
        zremrangebylex 4 w 1 1 1
        zremrangebyrank 4 w 1 1 1
        zremrangebyscore 4 w 1 1 1
        zrevrange -4 r 1 1 1
        zrevrangebylex -4 r 1 1 1
        zrevrangebyscore -4 r 1 1 1
        zrevrank 3 rF 1 1 1
        zscan -3 rR 1 1 1
        zscore 3 rF 1 1 1
        zunionstore -4 wmk 0 0 0
        """
}
