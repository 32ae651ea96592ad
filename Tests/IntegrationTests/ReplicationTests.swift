// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisTesting
import Foundation
import Testing

@Suite("Replication")
struct ReplicationTests {
    private func fill(_ server: TestServer, keys: Int, database: Int = 0, value: String = "value") throws {
        let client = try server.connect()
        try client.command("SELECT", "\(database)")
        for number in 0..<keys { client.enqueue("SET", "key:\(database):\(number)", "\(value):\(number)") }
        try client.flush()
        _ = try client.receive(keys)
    }

    // MARK: Full resync

    @Test("a replica gets what is there, and then what changes")
    func fullResync() throws {
        let pair = try ReplicationPair(attaches: false)
        for database in [0, 3, 15] { try fill(pair.master, keys: 500, database: database) }
        try pair.master.command("SET", "volatile", "x", "EX", "1000")
        try pair.master.command("SETRANGE", "large", "300000", String(repeating: "abc", count: 30_000))
        try pair.master.command("SET", String(repeating: "k", count: 2_000), "long key")
        try fill(pair.replica, keys: 10, database: 7)
        try pair.attach()
        try pair.expectSame()
        #expect(try pair.replica.command("DBSIZE") == .integer(503))
        #expect(try pair.replica.info("db7") == nil, "what the replica had is gone")
        #expect(try pair.replica.command("TTL", "volatile").number.map { $0 > 900 } == true)
        try fill(pair.master, keys: 300, database: 15, value: "other")
        try pair.master.command("DEL", "key:0:0", "key:0:1")
        try pair.master.command("EXPIRE", "key:0:2", "500")
        try pair.expectSame()
        #expect(try pair.master.number("sync_full") == 1)
        try pair.stop()
    }

    @Test("writes that come while a snapshot is on its way are not lost")
    func writesMeanwhile() throws {
        let pair = try ReplicationPair(attaches: false)
        try pair.master.command("DEBUG", "POPULATE", "30000")
        try pair.replica.command("SLAVEOF", "127.0.0.1", "\(pair.proxy.port)")
        let client = try pair.master.connect()
        for round in 0..<100 {
            for number in 0..<100 { client.enqueue("SET", "key:\(number * 300)", "\(round)") }
            try client.flush()
            _ = try client.receive(100)
        }
        try pair.expectSame()
        try pair.stop()
    }

    @Test("a broken transfer leaves what the replica had, which it goes on serving")
    func brokenTransfer() throws {
        let pair = try ReplicationPair(attaches: false)
        try pair.replica.command("SET", "old", "1")
        // A master that announces a snapshot and never finishes it.
        let stub = try StubMaster(.fullResync(Array("$1000\r\nREDIS0006".utf8)))
        try pair.replica.command("SLAVEOF", "127.0.0.1", "\(stub.port)")
        try pair.replica.waitFor("master_sync_in_progress", "1")
        #expect(try pair.replica.command("GET", "old") == .bulk("1"))
        #expect(try pair.replica.info("master_sync_left_bytes") == "991")
        stub.end()
        try pair.replica.waitFor("master_sync_in_progress", "0")
        #expect(try pair.replica.command("GET", "old") == .bulk("1"))
        try pair.replica.killAndRestart()
        #expect(try pair.replica.command("GET", "old") == .bulk("1"))
        try pair.master.command("SET", "new", "2")
        try pair.attach()
        #expect(try pair.replica.command("GET", "old") == .nullBulk)
        #expect(try pair.replica.command("GET", "new") == .bulk("2"))
        try pair.stop()
    }

    @Test("a client that sends SYNC gets an RDB of a known length and then the stream")
    func oldSync() throws {
        let master = try TestServer()
        try master.command("SET", "key", "value")
        let client = try master.connect()
        try client.sendRaw("SYNC\r\n")
        var header: [UInt8] = []
        while header.last != UInt8(ascii: "\n") {
            header += try client.receiveRaw(1)
            // A line end alone keeps the connection alive.
            if header == [UInt8(ascii: "\n")] { header = [] }
        }
        let length = try #require(Int(String(decoding: header.dropFirst().dropLast(2), as: UTF8.self)))
        let snapshot = try client.receiveRaw(length)
        #expect(snapshot.starts(with: Array("REDIS0006".utf8)))
        try master.command("SET", "key", "2")
        let expected = "*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$1\r\n2\r\n"
        #expect(String(decoding: try client.receiveRaw(expected.utf8.count), as: UTF8.self) == expected)
        client.close()
        try master.stop()
    }

    // MARK: Partial resync

    @Test("a cut link is made again and goes on where it stood")
    func cutLink() throws {
        let pair = try ReplicationPair()
        for round in 0..<3 {
            pair.proxy.block()
            try fill(pair.master, keys: 200, database: round)
            pair.proxy.open()
            try pair.expectSame()
        }
        #expect(try pair.master.number("sync_full") == 1)
        #expect(try pair.master.number("sync_partial_ok") == 3)
        #expect(try pair.master.number("sync_partial_err") == 0)
        try pair.stop()
    }

    @Test("a replica that was stopped or killed goes on where it stood", arguments: [false, true])
    func restartedReplica(isKilled: Bool) throws {
        let pair = try ReplicationPair()
        try fill(pair.master, keys: 500)
        try pair.waitUntilLevel()
        if isKilled { try pair.replica.kill() } else { try pair.replica.stop() }
        try fill(pair.master, keys: 500, database: 1)
        pair.replica.configuration.append("slaveof 127.0.0.1 \(pair.proxy.port)")
        try pair.replica.start()
        try pair.expectSame()
        #expect(try pair.master.number("sync_full") == 1)
        #expect(try pair.master.number("sync_partial_ok") == 1)
        try pair.stop()
    }

    @Test("a master that was stopped or killed is gone on with where the replica stands", arguments: [false, true])
    func restartedMaster(isKilled: Bool) throws {
        let pair = try ReplicationPair()
        try fill(pair.master, keys: 500)
        if isKilled { try pair.master.killAndRestart() } else { try pair.master.restart() }
        try fill(pair.master, keys: 500, database: 1)
        pair.proxy.setTarget(port: pair.master.port)
        try pair.expectSame()
        #expect(try pair.master.number("sync_full") == 0)
        #expect(try pair.master.number("sync_partial_ok") == 1)
        try pair.stop()
    }

    @Test("a replica of a replica has what the master has, and goes on with a promoted one")
    func chainAndPromotion() throws {
        let pair = try ReplicationPair()
        try fill(pair.master, keys: 300, database: 2)
        try pair.waitUntilLevel()
        let third = try TestServer()
        try third.command("SLAVEOF", "127.0.0.1", "\(pair.replica.port)")
        try level(pair.replica, third)
        try fill(pair.master, keys: 300, database: 2, value: "b")
        try pair.expectSame()
        try level(pair.replica, third)
        try expectSameDigest(pair.master, third)
        #expect(try third.info("slave_repl_offset") == pair.master.info("master_repl_offset"))
        // Promotion: the third goes on with what was its master's replica, without a snapshot.
        let fullBefore = try pair.replica.number("sync_full")
        try pair.replica.command("SLAVEOF", "NO", "ONE")
        #expect(try pair.replica.info("role") == "master")
        try pair.replica.command("SET", "after", "promotion")
        try level(pair.replica, third)
        try expectSameDigest(pair.replica, third)
        #expect(try pair.replica.number("sync_full") == fullBefore)
        #expect(try pair.replica.number("sync_partial_ok") == 1)
        // The old master has nothing that the new one lacks, so it goes on too.
        try pair.master.command("SLAVEOF", "127.0.0.1", "\(pair.replica.port)")
        try level(pair.replica, pair.master)
        try expectSameDigest(pair.replica, pair.master)
        #expect(try pair.replica.number("sync_full") == fullBefore)
        #expect(try pair.replica.number("sync_partial_ok") == 2)
        try third.stop()
        try pair.stop()
    }

    @Test("an old master that went its own way gets everything anew")
    func divergedMaster() throws {
        let pair = try ReplicationPair()
        try fill(pair.master, keys: 100)
        try pair.waitUntilLevel()
        pair.proxy.block()
        try pair.replica.command("SLAVEOF", "NO", "ONE")
        try pair.master.command("SET", "lost", "1")
        try pair.replica.command("SET", "kept", "1")
        try pair.master.command("SLAVEOF", "127.0.0.1", "\(pair.replica.port)")
        try level(pair.replica, pair.master)
        try expectSameDigest(pair.replica, pair.master)
        #expect(try pair.master.command("GET", "lost") == .nullBulk)
        #expect(try pair.replica.number("sync_partial_err") == 1)
        try pair.stop()
    }

    // MARK: What clients see

    @Test("INFO tells of replication in the words and the order of Redis 2.8")
    func information() throws {
        let pair = try ReplicationPair(masterConfiguration: ["min-slaves-to-write 1"])
        func fields(_ server: TestServer) throws -> [String] {
            let text = try server.command("INFO", "replication").text ?? ""
            return text.split(separator: "\r\n").map { String($0.prefix { $0 != ":" }) }
        }
        #expect(
            try fields(pair.replica) == [
                "# Replication", "role", "master_host", "master_port", "master_link_status",
                "master_last_io_seconds_ago", "master_sync_in_progress", "slave_repl_offset", "slave_priority",
                "slave_read_only", "connected_slaves", "master_repl_offset", "repl_backlog_active",
                "repl_backlog_size", "repl_backlog_first_byte_offset", "repl_backlog_histlen",
            ]
        )
        #expect(
            try fields(pair.master) == [
                "# Replication", "role", "connected_slaves", "min_slaves_good_slaves", "slave0",
                "master_repl_offset", "repl_backlog_active", "repl_backlog_size",
                "repl_backlog_first_byte_offset", "repl_backlog_histlen",
            ]
        )
        let line = try #require(try pair.master.info("slave0"))
        #expect(line.wholeMatch(of: /ip=127.0.0.1,port=[0-9]+,state=online,offset=[0-9]+,lag=[0-9]+/) != nil, "\(line)")
        #expect(line.contains("port=\(pair.replica.port),"))
        #expect(try pair.replica.info("master_port") == "\(pair.proxy.port)")
        pair.proxy.block()
        try pair.replica.waitFor("master_link_status", "down")
        #expect(try pair.replica.info("master_link_down_since_seconds") != nil)
        #expect(try pair.replica.info("master_last_io_seconds_ago") == "-1")
        try pair.stop()
    }

    @Test("ROLE and CLIENT LIST tell who is who")
    func roles() throws {
        // No PING may move the offset between two looks at it.
        let pair = try ReplicationPair(masterConfiguration: ["repl-ping-slave-period 3600"])
        let offset = try pair.master.number("master_repl_offset")
        #expect(
            try pair.replica.command("ROLE")
                == .array([
                    .bulk("slave"), .bulk("127.0.0.1"), .integer(Int64(pair.proxy.port)), .bulk("connected"),
                    .integer(Int64(offset)),
                ])
        )
        let acknowledged = waitUntil {
            (try? pair.master.command("ROLE"))
                == .array([
                    .bulk("master"), .integer(Int64(offset)),
                    .array([.array([.bulk("127.0.0.1"), .bulk("\(pair.replica.port)"), .bulk("\(offset)")])]),
                ])
        }
        #expect(acknowledged)
        #expect(try pair.master.command("CLIENT", "LIST").text?.contains(" flags=S ") == true)
        #expect(try pair.replica.command("CLIENT", "LIST").text?.contains(" flags=M ") == true)
        #expect(try pair.master.command("CLIENT", "KILL", "TYPE", "slave") == .integer(1))
        // Both were level all the time, so only the count tells that the replica is back.
        #expect(waitUntil { (try? pair.master.number("sync_partial_ok")) == 1 })
        try pair.waitUntilLevel()
        try pair.stop()
    }

    @Test("a replica refuses writes unless it may take them, and reads when it must not serve stale data")
    func refusals() throws {
        let pair = try ReplicationPair()
        let readOnly = TestReply.error("READONLY You can't write against a read only slave.")
        #expect(try pair.replica.command("SET", "a", "1") == readOnly)
        try pair.replica.command("CONFIG", "SET", "slave-read-only", "no")
        #expect(try pair.replica.command("SET", "a", "1") == .ok)
        try pair.replica.command("CONFIG", "SET", "slave-serve-stale-data", "no")
        #expect(try pair.replica.command("GET", "a") == .bulk("1"))
        pair.proxy.block()
        try pair.replica.waitFor("master_link_status", "down")
        let down = TestReply.error("MASTERDOWN Link with MASTER is down and slave-serve-stale-data is set to 'no'.")
        #expect(try pair.replica.command("GET", "a") == down)
        #expect(
            try pair.replica.command("SLAVEOF", "127.0.0.1", "\(pair.proxy.port)").text?.hasPrefix("OK Already") == true
        )
        try pair.replica.command("SLAVEOF", "NO", "ONE")
        #expect(try pair.replica.command("GET", "a") == .bulk("1"))
        #expect(try pair.replica.command("SLAVEOF", "NO", "ONE") == .ok)
        let notANumber = TestReply.error("ERR value is not an integer or out of range")
        #expect(try pair.replica.command("SLAVEOF", "localhost", "x") == notANumber)
        try pair.stop()
    }

    @Test("a master that must have replicas refuses writes without them")
    func minimumOfReplicas() throws {
        let pair = try ReplicationPair(masterConfiguration: ["min-slaves-to-write 1", "min-slaves-max-lag 2"])
        #expect(try pair.master.command("SET", "a", "1") == .ok)
        try pair.replica.command("SLAVEOF", "NO", "ONE")
        try pair.master.waitFor("min_slaves_good_slaves", "0")
        #expect(try pair.master.command("SET", "a", "2") == .error("NOREPLICAS Not enough good slaves to write."))
        #expect(try pair.master.command("GET", "a") == .bulk("1"))
        try pair.master.command("CONFIG", "SET", "min-slaves-to-write", "0")
        #expect(try pair.master.command("SET", "a", "2") == .ok)
        try pair.stop()
    }

    @Test("keys expire on a replica by the master's DEL only")
    func expiry() throws {
        let pair = try ReplicationPair()
        try pair.master.command("DEBUG", "SET-ACTIVE-EXPIRE", "0")
        try pair.master.command("SET", "key", "value", "PX", "20")
        try pair.waitUntilLevel()
        #expect(waitUntil { (try? pair.replica.command("PTTL", "key")) == .integer(0) })
        #expect(try pair.replica.command("GET", "key") == .bulk("value"))
        // It has no millisecond left, and is past its time in the next.
        #expect(waitUntil { (try? pair.replica.command("KEYS", "*")) == .array([]) })
        #expect(try pair.replica.command("DBSIZE") == .integer(1))
        #expect(try pair.master.command("GET", "key") == .nullBulk)
        try pair.waitUntilLevel()
        #expect(try pair.replica.command("GET", "key") == .nullBulk)
        #expect(try pair.replica.command("DBSIZE") == .integer(0))
        try pair.stop()
    }

    @Test("a replica shows its master's commands to monitors")
    func monitor() throws {
        let pair = try ReplicationPair()
        let monitor = try pair.replica.connect()
        #expect(try monitor.command("MONITOR") == .ok)
        try pair.master.command("SET", "seen", "1")
        var text = ""
        while !text.contains("seen") { text += try monitor.receive().text ?? "" }
        #expect(text.contains("\"SET\" \"seen\" \"1\""))
        try pair.stop()
    }

    @Test("REPLCONF, SYNC and PSYNC answer wrong use in the words of Redis 2.8")
    func wrongUse() throws {
        let server = try TestServer()
        #expect(try server.command("REPLCONF", "a") == .error("ERR syntax error"))
        #expect(try server.command("REPLCONF", "x", "y") == .error("ERR Unrecognized REPLCONF option: x"))
        #expect(
            try server.command("REPLCONF", "listening-port", "x")
                == .error("ERR value is not an integer or out of range")
        )
        #expect(try server.command("REPLCONF", "capa", "anything") == .ok)
        try server.command("SLAVEOF", "127.0.0.1", "1")
        let unconnected = TestReply.error("ERR Can't SYNC while not connected with my master")
        #expect(try server.command("SYNC") == unconnected)
        #expect(try server.command("PSYNC", "?", "-1") == unconnected)
        try server.command("SLAVEOF", "NO", "ONE")
        let client = try server.connect()
        client.enqueue("PING")
        client.enqueue("SYNC")
        try client.flush()
        _ = try client.receive()
        #expect(try client.receive() == .error("ERR SYNC and PSYNC are invalid with pending output"))
        try server.stop()
    }

    @Test("the master's password is needed, and masterauth has it")
    func password() throws {
        let pair = try ReplicationPair(
            masterConfiguration: ["requirepass \"with a blank\""],
            replicaConfiguration: ["masterauth \"with a blank\""],
            attaches: false
        )
        try pair.replica.command("SLAVEOF", "127.0.0.1", "\(pair.proxy.port)")
        try pair.replica.waitFor("master_link_status", "up")
        try pair.stop()
    }

    @Test("CONFIG REWRITE keeps who is whose replica")
    func rewrite() throws {
        let pair = try ReplicationPair()
        try pair.replica.command("CONFIG", "REWRITE")
        let line = "slaveof 127.0.0.1 \(pair.proxy.port)"
        #expect(textOfFile(pair.replica.configurationFile).contains(line))
        try pair.replica.command("SLAVEOF", "NO", "ONE")
        try pair.replica.command("CONFIG", "REWRITE")
        #expect(!textOfFile(pair.replica.configurationFile).contains("slaveof"))
        try pair.stop()
    }
}
