// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import Bytes
import Testing

@testable import CodisServer

@Suite("Command table")
struct CommandTableTests {
    /// Name, arity, flags, first key, last key and step, as Redis 2.8.21 and Codis 2.0 have them.
    static let rows = """
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

    /// The same of what Codis 3.1 and 3.2 have beside these.
    static let laterRows = """
        slotsmgrt-async-cancel 0 F 0 0 0
        slotsmgrt-async-fence 0 rs 0 0 0
        slotsmgrt-async-status 0 F 0 0 0
        slotsmgrt-exec-wrapper -3 wm 0 0 0
        slotsmgrtone-async -7 ws 0 0 0
        slotsmgrtone-async-dump -4 rm 0 0 0
        slotsmgrtslot-async 8 ws 0 0 0
        slotsmgrttagone-async -7 ws 0 0 0
        slotsmgrttagone-async-dump -4 rm 0 0 0
        slotsmgrttagslot-async 8 ws 0 0 0
        slotsrestore-async -2 wm 0 0 0
        slotsrestore-async-ack 3 w 0 0 0
        slotsrestore-async-auth 2 sltF 0 0 0
        slotsrestore-async-select 2 lF 0 0 0
        """

    /// The flags by the letters of `rows`, in the order in which COMMAND tells them.
    static let letters: [(Character, CommandFlags)] = [
        ("w", .write), ("r", .readOnly), ("m", .denyOutOfMemory), ("a", .admin), ("p", .pubSub), ("s", .noScript),
        ("R", .random), ("S", .sortForScript), ("l", .loading), ("t", .stale), ("M", .skipMonitor), ("F", .fast),
        ("k", .movableKeys),
    ]

    @Test("every command has the arity, the flags and the keys that Redis 2.8 tells of it")
    func rowsOfRedis() throws {
        let table = CommandTable()
        var known = 0
        for line in (Self.rows + "\n" + Self.laterRows).split(separator: "\n") {
            let words = line.split(separator: " ")
            guard let row = table.find(String(words[0])) else { continue }
            known += 1
            #expect(row.arity.number == Int(words[1]), "\(words[0])")
            let flags = Self.letters.reduce(into: CommandFlags()) { flags, letter in
                if words[2].contains(letter.0) { flags.insert(letter.1) }
            }
            #expect(row.flags == flags, "\(words[0])")
            let keys = KeyPositions.range(
                try #require(Int(words[3])),
                try #require(Int(words[4])),
                try #require(Int(words[5]))
            )
            #expect(row.keys == keys, "\(words[0])")
        }
        // What is not there yet, or came later, is at most a few.
        #expect(known >= 60)
        let lines = (Self.rows + "\n" + Self.laterRows).split(separator: "\n")
        let recorded = Set(lines.compactMap { $0.split(separator: " ").first.map(String.init) })
        let later: Set = ["slotsscan", "slotsmgrt", "slotsstats", "slotsrestore-part", "slotsrestore-end"]
        #expect(Set(table.rows.map(\.name)).subtracting(recorded).subtracting(later) == [])
    }

    @Test("names are found in any case, and nothing else is")
    func lookup() {
        let table = CommandTable()
        for row in table.rows {
            #expect(table.find(row.name) === row)
            #expect(table.find(row.name.uppercased()) === row)
            #expect(table.find(row.name.prefix(1).uppercased() + row.name.dropFirst()) === row)
            #expect(table.find(row.name + "x") !== row)
            #expect(table.find(String(row.name.dropLast())) == nil || table.find(String(row.name.dropLast())) !== row)
        }
        for name in ["", "@ET", "[et", "ge\u{0}", "getget", "a name of more than sixteen bytes"] {
            #expect(table.find(name) == nil, "\(name)")
        }
    }

    @Test("row numbers are the places in the table")
    func numbers() {
        let table = CommandTable()
        for (index, row) in table.rows.enumerated() { #expect(row.row == index) }
    }

    @Test("a renamed command has only its new name, whatever its length")
    func renaming() {
        let table = CommandTable()
        #expect(table.rename("set", to: "a-name-of-more-than-sixteen-bytes"))
        #expect(table.find("SET") == nil)
        #expect(table.find("A-Name-Of-More-Than-Sixteen-Bytes")?.name == "set")
        #expect(table.rename("get", to: ""))
        #expect(table.find("get") == nil)
        #expect(table.rename("incr", to: "set"))
        #expect(table.find("set")?.name == "incr")
        #expect(!table.rename("decr", to: "set"))
        #expect(!table.rename("nothing", to: "something"))
    }
}
