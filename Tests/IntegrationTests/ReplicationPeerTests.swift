// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisTesting
import Testing

@Suite("Replication with redis-server", .enabled(if: RedisPeer.isInstalled))
struct ReplicationPeerTests {
    /// Commands of 2.8's types, many of which later versions put into their stream in another form.
    private static let changes: [[String]] =
        [
            "SET a 1", "SET b 2 EX 1000", "SETEX c 1000 x", "PSETEX d 1000000 y", "SET e v", "EXPIRE e 500",
            "SET f v", "PEXPIREAT f 99999999999999", "PERSIST c", "INCR a", "INCRBYFLOAT b 0.5", "APPEND e tail",
            "SETRANGE e 2 xx", "GETSET a 10", "SETBIT bits 100 1", "MSET m1 1 m2 2 m3 3", "DEL m1", "RENAME m2 m4",
            "SELECT 3", "SET in3 x", "MOVE in3 5", "SELECT 0", "SETNX new 1", "BITOP NOT neg bits", "DECRBY a 3",
            "HMSET h a 1 b 2 c 3", "HSET h d 4", "HINCRBY h a 5", "HINCRBYFLOAT h b 0.25", "HDEL h c", "HSETNX h n 1",
            "SADD s 1 2 3 4 5 6", "SREM s 1", "SPOP s", "SADD t x y z", "SMOVE t s x", "SUNIONSTORE u s t",
            "RPUSH l a b c d e f g", "LPUSH l z", "LPOP l", "RPOP l", "LTRIM l 0 3", "LSET l 0 first",
            "LINSERT l BEFORE first zero", "LREM l 1 c", "RPOPLPUSH l other", "LPUSHX l x", "RPUSHX none x",
            "ZADD z 1 a 2 b 3 c 4.5 d", "ZINCRBY z 0.1 a", "ZREM z b", "ZREMRANGEBYRANK z 0 0", "ZUNIONSTORE zz 1 z",
            "SORT s STORE sorted",
        ].map { $0.split(separator: " ").map(String.init) }

    /// What later versions can do beyond 2.8 with its types.
    private static let laterChanges: [[String]] =
        [
            "SET k1 v EX 1000", "SET k1 w KEEPTTL", "SET k2 v PX 1000000", "SET k3 v EXAT 99999999999", "UNLINK k2",
            "SET k4 v GET", "GETEX k1 PERSIST", "GETEX k3 EX 2000", "SET k5 v", "GETDEL k5", "HSET lh a 1 b 2 c 3",
            "SET k6 v", "EXPIRE k6 500 NX", "EXPIRE k6 900 GT", "PEXPIRE k6 100 LT", "PERSIST k6", "SET k7 1 EX 500",
            "INCRBYFLOAT k7 1.5", "SET k8 v NX PX 900000", "GETEX k8 PXAT 99999999999999",
            "RPUSH ll a b c d e f g h", "LPOP ll 2", "RPOP ll 2", "LMOVE ll ll2 LEFT RIGHT", "LMOVE ll ll2 RIGHT LEFT",
            "LPUSHX ll 1 2 3", "BLMOVE ll ll2 LEFT LEFT 1", "LMPOP 2 none ll RIGHT COUNT 2", "RPUSH l1 a",
            "EXPIRE l1 500", "LMOVE l1 l1 LEFT RIGHT", "RPUSH l2 a b c", "LMOVE l2 l2 LEFT RIGHT", "RPOP l2 9",
            "RPUSH l3 a b c", "LPOP l3 3", "BLMPOP 1 1 l2 ll LEFT",
            "ZADD lz 1 a 2 b 3 c 4 d 5 e", "ZADD lz GT 9 a", "ZADD lz LT 9 b", "ZADD lz NX 9 c 9 new",
            "ZADD lz XX 7 d 7 none", "ZADD lz INCR 2 e", "ZADD lz XX GT CH 100 a 0.5 b", "ZPOPMIN lz", "ZPOPMAX lz 2",
            "SADD ls 1 2 3 4 5", "SPOP ls 2", "SPOP ls 9", "SADD ls x y", "SINTERSTORE li ls ls",
            "ZADD zs 1 a 2 b 3 c 4 d 5.25 e inf f -inf g", "ZRANGESTORE r1 zs 1 3", "ZRANGESTORE r2 zs 0 -2 REV",
            "ZRANGESTORE r3 zs (1 5 BYSCORE LIMIT 1 2", "ZRANGESTORE r4 zs +inf 2 BYSCORE REV LIMIT 0 3",
            "ZADD zl 0 a 0 b 0 c 0 d", "ZRANGESTORE r5 zl [b + BYLEX", "ZRANGESTORE r6 zl (d - BYLEX REV LIMIT 1 1",
            "ZRANGESTORE zl zl 1 2", "ZRANGESTORE r1 zs 50 60", "ZMPOP 1 zs MIN COUNT 2", "BZMPOP 1 1 zs MAX",
            "BZPOPMIN zs 1", "ZADD d1 1 a 2 b 3 c", "ZADD d2 9 b", "SADD d3 c x", "ZDIFFSTORE dd 3 d1 d2 d3",
            "ZDIFFSTORE de 2 d3 d1", "ZDIFFSTORE df 2 d2 d1", "ZINTERSTORE dg 2 d1 d3 WEIGHTS 2 3",
            "GEOADD geo 13.361389 38.115556 Palermo 15.087269 37.502669 Catania", "GEOADD geo XX CH 13 38 Palermo",
            "BITFIELD bf SET u8 0 255 SET i16 #1 -300 INCRBY u4 3 9 GET u8 0",
            "BITFIELD bf OVERFLOW SAT INCRBY u8 0 200",
            "BITFIELD bf SET u8 0 1 OVERFLOW FAIL INCRBY u2 900 5", "BITFIELD bf SET i64 100 -1 INCRBY i64 100 -9",
            "BITFIELD bf OVERFLOW WRAP INCRBY i5 7 31 OVERFLOW SAT INCRBY i5 40 -31 SET u63 200 77",
            "SET c1 v EX 700", "COPY c1 c2", "SET c3 other", "COPY c1 c3 REPLACE", "COPY c1 c4 DB 4", "COPY lz c5",
            "COPY lh c6", "COPY ls c7", "COPY ll2 c8", "COPY none c9 REPLACE",
            "XADD stream * a 1", "SET under v", "RENAME stream under", "SET under2 v", "COPY under under2 REPLACE",
            "SELECT 6", "SET six 6", "EXPIRE six 600", "SELECT 0", "SWAPDB 6 7", "SWAPDB 0 6", "SET swapped 1",
            "SWAPDB 0 6", "FLUSHDB ASYNC",
        ].map { $0.split(separator: " ").map(String.init) }

    /// Whether the server under test has these types: the other side is not given what it cannot hold.
    private let hasSortedSets: Bool
    private let hasSets: Bool

    init() throws {
        let server = try TestServer()
        hasSortedSets = try server.command("ZCARD", "none") == .integer(0)
        hasSets = try server.command("SCARD", "none") == .integer(0)
        try server.stop()
    }

    private func isHeld(_ command: String) -> Bool {
        if command.hasPrefix("Z") { return hasSortedSets }
        return hasSets || !["SADD", "SREM", "SPOP", "SMOVE", "SUNIONSTORE", "SORT"].contains(command)
    }

    /// Runs commands on a server; what it does not know has no effect.
    private func run(_ commands: [[String]], on server: TestServer) throws {
        let client = try server.connect()
        for command in commands where isHeld(command[0]) {
            _ = try client.command(command.map { Array($0.utf8) })
        }
        client.enqueue("MULTI")
        client.enqueue("SET", "tx1", "1")
        client.enqueue("INCR", "tx2")
        client.enqueue("EXEC")
        try client.flush()
        _ = try client.receive(4)
    }

    @Test("a replica of redis-server has what its master has, by snapshot and by stream")
    func redisMaster() throws {
        let pair = try ReplicationPair(masterProgram: .redis, attaches: false)
        try run(Self.changes + Self.laterChanges, on: pair.master)
        try pair.attach()
        try pair.expectSame("the snapshot")
        try pair.master.command("FLUSHALL")
        for round in 1...3 {
            // The last command of the later ones empties the database.
            try run(Self.laterChanges.dropLast() + Self.changes, on: pair.master)
            try dropForeignTypes(pair.master)
            try pair.expectSame("the stream, round \(round)")
            if round == 2 { try run(Self.laterChanges, on: pair.master) }
        }
        #expect(!pair.replica.output.contains("that is answered with"), "\(pair.replica.output)")
        // What 2.8 does not have is left out, and the link stays.
        try pair.master.command("XADD", "stream", "*", "a", "1")
        try pair.master.command("SET", "after", "1")
        try pair.waitUntilLevel()
        #expect(try pair.replica.command("GET", "after") == .bulk("1"))
        #expect(pair.replica.output.contains("which concerns what this server has not, left out: 'XADD'"))
        // The log holds the master's forms: replay understands them too.
        try pair.master.command("DEL", "stream")
        pair.replica.configuration.append("slaveof 127.0.0.1 \(pair.proxy.port)")
        try pair.replica.killAndRestart()
        try pair.expectSame("after a restart")
        #expect(try pair.master.number("sync_full") == 1)
        try pair.stop()
    }

    /// Deletes what a redis-server holds that 2.8 cannot.
    private func dropForeignTypes(_ server: TestServer) throws {
        let client = try server.connect()
        for key in try client.command("KEYS", "*").elements ?? [] {
            guard let name = key.bytes, try client.command([Array("TYPE".utf8), name]).text == "stream" else {
                continue
            }
            try client.command([Array("DEL".utf8), name])
        }
    }

    @Test("RESTORE of redis-server replaces values, and of a type that 2.8 has not takes them away")
    func restore() throws {
        let pair = try ReplicationPair(masterProgram: .redis)
        let client = try pair.master.connect()
        for command in ["RPUSH l a b c", "HSET h a 1 b 2", "ZADD z 1 a 2 b", "SADD s x y", "XADD x * a 1", "SET t v"] {
            try client.command(command.split(separator: " ").map { Array($0.utf8) })
        }
        for (index, source) in ["l", "h", "z", "s", "x"].enumerated() {
            let payload = try #require(try client.command("DUMP", source).bytes)
            for target in ["new\(index)", "t"] {
                let expiry = index % 2 == 0 ? ["0"] : ["99999999999999", "ABSTTL"]
                let words = ["RESTORE", target, expiry[0]].map { Array($0.utf8) }
                let options = (["REPLACE"] + expiry.dropFirst()).map { Array($0.utf8) }
                #expect(try client.command(words + [payload] + options) == .ok)
                guard source != "x" else { continue }
                try pair.waitUntilLevel()
                let types = try [pair.master, pair.replica].map { try $0.command("TYPE", target) }
                #expect(types[0] == types[1])
            }
        }
        try pair.waitUntilLevel()
        #expect(try pair.replica.command("EXISTS", "t") == .integer(0), "what was there is gone for a stream")
        try dropForeignTypes(pair.master)
        try pair.expectSame()
        try pair.stop()
    }

    @Test("a command of redis-server that cannot be said in those of 2.8 leads to a full resync, not to other data")
    func lostCommand() throws {
        let pair = try ReplicationPair(masterProgram: .redis)
        let client = try pair.master.connect()
        try client.command("GEOADD", "geo", "13.361389", "38.115556", "Palermo", "15.087269", "37.502669", "Catania")
        try pair.expectSame()
        let words = "GEOSEARCHSTORE near geo FROMLONLAT 15 37 BYRADIUS 200 km ASC".split(separator: " ")
        #expect(try client.command(words.map { Array($0.utf8) }) == .integer(2))
        #expect(waitUntil(timeoutSeconds: 60) { (try? pair.replica.command("ZCARD", "near")) == .integer(2) })
        try pair.expectSame()
        #expect(pair.replica.output.contains("The data differ from the MASTER's: asking for a full resync."))
        #expect(try pair.master.number("sync_full") == 2)
        // A master that goes on like this is not asked each time; that the data differ is not forgotten meanwhile.
        let again = "GEOSEARCHSTORE far geo FROMLONLAT 15 37 BYRADIUS 900 km DESC".split(separator: " ")
        #expect(try client.command(again.map { Array($0.utf8) }) == .integer(2))
        try pair.waitUntilLevel()
        let made = try pair.replica.number("checkpoints_completed")
        _ = try pair.replica.command("BGREWRITEAOF")
        #expect(waitUntil { (try? pair.replica.number("checkpoints_completed")).map { $0 > made } ?? false })
        pair.replica.configuration.append("slaveof 127.0.0.1 \(pair.proxy.port)")
        try pair.replica.killAndRestart()
        #expect(waitUntil(timeoutSeconds: 60) { (try? pair.replica.command("ZCARD", "far")) == .integer(2) })
        try pair.expectSame()
        #expect(try pair.master.number("sync_full") == 3)
        try pair.stop()
    }

    @Test("what happens in databases that a replica has not is left out, and the others stay the same")
    func moreDatabases() throws {
        let pair = try ReplicationPair(masterConfiguration: ["databases 32"], masterProgram: .redis)
        let client = try pair.master.connect()
        for (database, value) in [(0, "a"), (20, "b"), (3, "c"), (20, "d"), (0, "e")] {
            try client.command("SELECT", "\(database)")
            try client.command("SET", "key", value)
            try client.command("RPUSH", "list", value)
        }
        try client.command("SELECT", "20")
        try client.command("SET", "key", "f")
        try pair.waitUntilLevel()
        pair.replica.configuration.append("slaveof 127.0.0.1 \(pair.proxy.port)")
        try pair.replica.killAndRestart()
        // Still in the database that is not there.
        try client.command("SET", "key", "g")
        try client.command("SELECT", "0")
        try client.command("APPEND", "key", "!")
        try pair.waitUntilLevel()
        #expect(try pair.replica.command("GET", "key") == .bulk("e!"))
        #expect(try pair.replica.command("LRANGE", "list", "0", "-1") == .bulks("a", "e"))
        #expect(try pair.replica.command("DBSIZE") == .integer(2))
        #expect(pair.replica.output.contains("a database that is not there"))
        try pair.stop()
    }

    @Test("a snapshot of redis-server may hold what 2.8 has not, which is left out")
    func laterTypes() throws {
        let pair = try ReplicationPair(masterProgram: .redis, attaches: false)
        try pair.master.command("XADD", "stream", "*", "a", "1")
        try pair.master.command("SET", "string", "1")
        try pair.attach()
        #expect(try pair.replica.command("KEYS", "*") == .bulks("string"))
        #expect(pair.replica.output.contains("The MASTER has what this server has not, left out"))
        try pair.stop()
    }

    @Test("redis-server as a replica has what its master has, by snapshot and by stream")
    func redisReplica() throws {
        let pair = try ReplicationPair(replicaProgram: .redis, attaches: false)
        try run(Self.changes, on: pair.master)
        try pair.attach()
        try pair.expectSame("the snapshot")
        try pair.master.command("FLUSHALL")
        for round in 1...3 {
            try run(Self.changes, on: pair.master)
            try pair.expectSame("the stream, round \(round)")
        }
        #expect(try pair.master.number("sync_full") == 1)
        try pair.stop()
    }

    @Test(
        "a cut link to or from redis-server goes on where it stood",
        arguments: [(TestServer.Program.redis, TestServer.Program.codis), (.codis, .redis)]
    )
    func partialResync(programs: (master: TestServer.Program, replica: TestServer.Program)) throws {
        let pair = try ReplicationPair(masterProgram: programs.master, replicaProgram: programs.replica)
        for _ in 0..<2 {
            pair.proxy.block()
            try run(Self.changes, on: pair.master)
            pair.proxy.open()
            try pair.expectSame()
        }
        #expect(try pair.master.number("sync_full") == 1)
        #expect(try pair.master.number("sync_partial_ok") == 2)
        try pair.stop()
    }

    @Test("redis-server goes on with a promoted replica where it stands")
    func promotion() throws {
        let pair = try ReplicationPair()
        let other = try RedisPeer.start(configuration: ["enable-debug-command yes", "repl-diskless-sync-delay 0"])
        try other.command("SLAVEOF", "127.0.0.1", "\(pair.replica.port)")
        try level(pair.replica, other)
        try run(Self.changes, on: pair.master)
        try pair.waitUntilLevel()
        try level(pair.replica, other)
        try pair.replica.command("SLAVEOF", "NO", "ONE")
        try pair.replica.command("SET", "after", "1")
        try level(pair.replica, other)
        try expectSameDigest(pair.replica, other)
        #expect(try pair.replica.number("sync_full") == 1)
        #expect(try pair.replica.number("sync_partial_ok") == 1)
        try other.stop()
        try pair.stop()
    }
}
