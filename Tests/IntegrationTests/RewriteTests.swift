// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisTesting
import Foundation
import Testing

@Suite("BGREWRITEAOF and DEBUG LOADAOF")
struct RewriteTests {
    /// Fills the server with every type, small and large, in three databases.
    private func fill(_ server: TestServer) throws -> TestClient {
        let client = try server.connect()
        for database in 0..<3 {
            client.enqueue("SELECT", "\(database)")
            for number in 0..<400 {
                client.enqueue("SET", "key:\(number)", "value \(number)")
                client.enqueue("HSET", "hash:\(number % 3)", "field:\(number)", "\(number)")
                client.enqueue("SADD", "set:\(number % 3)", number % 3 == 0 ? "\(number)" : "member \(number)")
                client.enqueue("RPUSH", "list:\(number % 3)", "\(number)")
                client.enqueue("ZADD", "zset:\(number % 3)", "\(Double(number) / 8)", "member \(number)")
            }
            client.enqueue("ZADD", "ends", "inf", "most", "-inf", "least", "1e300", "large")
            client.enqueue("PEXPIREAT", "key:7", "4000000000000")
            client.enqueue("PFADD", "pf", "a", "b", "c")
            client.enqueue("SET", "large", String(repeating: "0123456789", count: 600_000))
        }
        try client.flush()
        #expect(try client.receive(3 * (1 + 400 * 5 + 4)).allSatisfy { !$0.isError })
        return client
    }

    private func rewrite(_ server: TestServer) throws {
        let started = TestReply.status("Background append only file rewriting started")
        #expect(try server.command("BGREWRITEAOF") == started)
        #expect(waitUntil { (try? server.info("aof_rewrite_in_progress")) == "0" })
        #expect(try server.info("aof_last_bgrewrite_status") == "ok")
        #expect(try server.info("aof_last_rewrite_time_sec") != "-1")
    }

    @Test("a file of commands is written that redis-server loads, and that is not loaded again by its writer")
    func file() throws {
        let server = try TestServer(configuration: ["appendonly yes"])
        let client = try fill(server)
        try rewrite(server)
        let digest = try client.command("DEBUG", "DIGEST")
        let path = server.directory + "/appendonly.aof"
        let text = try #require(FileManager.default.contents(atPath: path))
        #expect(text.starts(with: Array("*2\r\n$6\r\nSELECT\r\n".utf8)))
        // At most 64 elements a command, as in Redis.
        #expect(String(decoding: text, as: UTF8.self).contains("*66\r\n$5\r\nRPUSH\r\n"))
        if RedisPeer.isInstalled {
            let redis = try TestServer(configuration: ["enable-debug-command yes"], program: .redis)
            let input = URL(fileURLWithPath: redis.directory + "/appendonly.aof")
            try FileManager.default.copyItem(at: URL(fileURLWithPath: path), to: input)
            try redis.stop()
            redis.configuration += ["appendonly yes", "appenddirname parts"]
            try redis.start()
            #expect(try redis.command("DEBUG", "DIGEST") == digest)
        }
        let other = try TestServer(starts: false)
        let words = ["--dir", other.directory, "--import", path]
        let result = try runProgram(other.executable, words, timeoutSeconds: 120)
        #expect(result.isSuccess, "\(result.errors)")
        try other.start()
        #expect(try other.command("DEBUG", "DIGEST") == digest)
        try other.stop()

        try client.command("SET", "later", "1")
        try server.killAndRestart()
        #expect(!server.output.contains("Importing"))
        #expect(try server.command("EXISTS", "key:1") == .integer(1))
        try server.stop()
    }

    @Test("one rewrite runs at a time, dumps wait for it, and appendonly no stops it")
    func states() throws {
        let server = try TestServer(configuration: ["appendonly yes"])
        let client = try fill(server)
        let words = [
            ["MULTI"], ["BGREWRITEAOF"], ["BGREWRITEAOF"], ["BGSAVE"], ["INFO", "persistence"],
            ["CONFIG", "SET", "appendonly", "no"], ["INFO", "persistence"], ["EXEC"],
        ]
        for command in words { client.enqueue(command.map { Array($0.utf8) }) }
        try client.flush()
        let replies = try #require(try client.receive(words.count).last?.elements)
        #expect(replies[0] == .status("Background append only file rewriting started"))
        #expect(replies[1] == .error("ERR Background append only file rewriting already in progress"))
        #expect(replies[2] == .error("ERR Can't BGSAVE while AOF log rewriting is in progress"))
        #expect(replies[3].text?.contains("aof_rewrite_in_progress:1\r\n") == true)
        #expect(replies[3].text?.contains("aof_current_rewrite_time_sec:0\r\n") == true)
        #expect(replies[5].text?.contains("aof_rewrite_in_progress:0\r\n") == true)
        #expect(server.output.contains("Killing running AOF rewrite child: "))
        #expect(!FileManager.default.fileExists(atPath: server.directory + "/appendonly.aof"))
        try rewrite(server)
        try server.stop()
    }

    @Test("LOADAOF makes the data anew from the last checkpoint and the log, and they are the same")
    func loading() throws {
        let server = try TestServer(configuration: ["appendonly yes"])
        let client = try fill(server)
        for round in 0..<4 {
            for number in 0..<50 {
                client.enqueue("INCR", "counter")
                client.enqueue("LPUSH", "list:1", "\(round) \(number)")
                client.enqueue("HDEL", "hash:1", "field:\(number * 3 + 1)")
                client.enqueue("SPOP", "set:2")
                client.enqueue("ZINCRBY", "zset:1", "1.5", "member \(number)")
            }
            client.enqueue("MULTI")
            client.enqueue("DEL", "key:\(round)")
            client.enqueue("SET", "round", "\(round)")
            client.enqueue("EXEC")
            try client.flush()
            _ = try client.receive(254)
            if round == 2 { try rewrite(server) }
            let digest = try client.command("DEBUG", "DIGEST")
            let watcher = try server.connect()
            try watcher.command("WATCH", "counter")
            #expect(try client.command("DEBUG", "LOADAOF") == .ok)
            #expect(try client.command("DEBUG", "DIGEST") == digest, "round \(round)")
            #expect(try server.info("rdb_changes_since_last_save") == "0")
            #expect(try watcher.command("MULTI") == .ok)
            #expect(try watcher.command("EXEC") == .nullArray)
        }
        #expect(try client.command("MULTI") == .ok)
        try client.command("DEBUG", "LOADAOF")
        #expect(try client.command("EXEC").elements?.first?.isError == true)
        let digest = try client.command("DEBUG", "DIGEST")
        try server.killAndRestart()
        #expect(try server.command("DEBUG", "DIGEST") == digest)
        try server.stop()
    }

    @Test("LOADAOF is refused while a key is on its way to another server")
    func loadDuringMigration() throws {
        let server = try TestServer()
        let target = try StubTarget { _ in .silence }
        try server.command("SET", "key", "value")
        let client = try server.connect(timeoutSeconds: 60)
        client.enqueue("MIGRATE", "127.0.0.1", "\(target.port)", "key", "0", "60000")
        try client.flush()
        #expect(waitUntil { !target.commands.isEmpty })
        let refusal = TestReply.error("ERR DEBUG LOADAOF is not possible while keys are on their way")
        #expect(try server.command("DEBUG", "LOADAOF") == refusal)
        #expect(try server.command("EXISTS", "other") == .integer(0))
        try server.stop()
    }

    @Test("a client that waits for a list is served after LOADAOF as before, and a replica goes on")
    func company() throws {
        let server = try TestServer()
        let replica = try TestServer(configuration: ["slaveof 127.0.0.1 \(server.port)"])
        #expect(waitUntil { (try? replica.info("master_link_status")) == "up" })
        let waiting = try server.connect()
        waiting.enqueue("BLPOP", "queue", "0")
        try waiting.flush()
        #expect(waitUntil { (try? server.info("blocked_clients")) == "1" })
        try server.command("SET", "a", "1")
        #expect(try server.command("DEBUG", "LOADAOF") == .ok)
        try server.command("SET", "b", "2")
        try server.command("RPUSH", "queue", "x")
        #expect(try waiting.receive() == .bulks("queue", "x"))
        #expect(waitUntil { (try? replica.command("MGET", "a", "b")) == .bulks("1", "2") })
        #expect(waitUntil { (try? replica.command("DEBUG", "DIGEST")) == (try? server.command("DEBUG", "DIGEST")) })
        try replica.stop()
        try server.stop()
    }
}
