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
            "RPUSH ll a b c d e f g h", "LPOP ll 2", "RPOP ll 2", "LMOVE ll ll2 LEFT RIGHT", "LMOVE ll ll2 RIGHT LEFT",
            "LPUSHX ll 1 2 3", "ZADD lz 1 a 2 b 3 c 4 d 5 e", "ZADD lz GT 9 a", "ZADD lz LT 9 b",
            "ZADD lz NX 9 c 9 new",
            "ZADD lz XX 7 d 7 none", "ZADD lz INCR 2 e", "ZPOPMIN lz", "ZPOPMAX lz 2", "SADD ls 1 2 3 4 5", "SPOP ls 2",
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
            try run(Self.changes + Self.laterChanges, on: pair.master)
            try pair.expectSame("the stream, round \(round)")
        }
        // What 2.8 does not have is left out, and the link stays.
        try pair.master.command("XADD", "stream", "*", "a", "1")
        try pair.master.command("SET", "after", "1")
        try pair.waitUntilLevel()
        #expect(try pair.replica.command("GET", "after") == .bulk("1"))
        #expect(pair.replica.output.contains("The stream has a command that this server has not, left out: 'XADD'"))
        // The log holds the master's forms: replay understands them too.
        try pair.master.command("DEL", "stream")
        pair.replica.configuration.append("slaveof 127.0.0.1 \(pair.proxy.port)")
        try pair.replica.killAndRestart()
        try pair.expectSame("after a restart")
        #expect(try pair.master.number("sync_full") == 1)
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
