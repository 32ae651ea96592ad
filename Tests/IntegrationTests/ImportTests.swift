// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisTesting
import Foundation
import Glibc
import Testing

@Suite("Imports", .enabled(if: RedisPeer.isInstalled))
struct ImportTests {
    /// A redis-server that writes its files into a directory of its own.
    private func peer(_ configuration: [String] = []) throws -> TestServer {
        try RedisPeer.start(configuration: ["enable-debug-command yes"] + configuration)
    }

    private func copy(_ name: String, from peer: TestServer, to server: TestServer) throws {
        let target = URL(fileURLWithPath: "\(server.directory)/\(name)")
        try? FileManager.default.removeItem(at: target)
        try FileManager.default.copyItem(at: URL(fileURLWithPath: "\(peer.directory)/\(name)"), to: target)
    }

    private func write(_ text: String, to server: TestServer) throws {
        try Data(text.utf8).write(to: URL(fileURLWithPath: server.directory + "/appendonly.aof"))
    }

    /// Values of all types; collections of sizes around those at which either server lays them out in another way.
    private func fill(_ client: TestClient, _ round: String) throws {
        var count = 0
        func enqueue(_ words: [String]) {
            client.enqueue(words.map { Array($0.utf8) })
            count += 1
        }
        for number in 0..<300 {
            enqueue(["SELECT", "\(number % 3)"])
            enqueue(["SET", "key:\(number)", "\(round) \(number)"])
            enqueue(["HSET", "hash:\(number % 5)", "field:\(number)", round])
            enqueue(["SADD", "set:\(number % 4)", "\(number * 7)"])
            enqueue(["RPUSH", "list:\(number % 2)", "\(round) \(number)"])
            enqueue(["ZADD", "zset:\(number % 3)", "\(number % 50).5", "\(round) \(number)"])
            if number % 10 == 0 { enqueue(["PEXPIREAT", "key:\(number)", "4000000000000"]) }
        }
        for size in [1, 8, 64, 65, 129, 513, 2_000] {
            for length in size < 500 ? [1, 64, 65, 200] : [20] {
                let name = "\(size):\(length)"
                let elements = (0..<size).map { "\($0)" + String(repeating: "x", count: max(0, length - 4)) }
                enqueue(["SADD", "set:\(name)"] + elements)
                enqueue(["SADD", "integers:\(name)"] + (0..<size).map { "\($0 * length * 1_000)" })
                enqueue(["RPUSH", "list:\(name)"] + elements)
                enqueue(["HMSET", "hash:\(name)"] + elements.flatMap { [$0, round + $0] })
                enqueue(["ZADD", "zset:\(name)"] + elements.enumerated().flatMap { ["\($0.offset / 3)", $0.element] })
                if length == 65 { enqueue(["PEXPIREAT", "hash:\(name)", "4000000000000"]) }
            }
        }
        enqueue(["SET", "large", String(repeating: "abc\(round)", count: 30_000)])
        enqueue(["SET", String(repeating: "key", count: 400), round])
        try client.flush()
        let replies = try client.receive(count)
        #expect(!replies.contains { $0.isError })
    }

    /// Commands as an append-only file has them.
    private func encoded(_ commands: [[String]]) -> String {
        var text = ""
        for words in commands {
            text += "*\(words.count)\r\n"
            for word in words { text += "$\(word.utf8.count)\r\n\(word)\r\n" }
        }
        return text
    }

    @Test("what was imported survives kill -9 right behind it, wherever the import has committed in between")
    func durable() throws {
        let script = "for i = 1, 100 do redis.call('set', ARGV[1] .. i, string.rep('x', 1500)) end"
        let value = String(repeating: "v", count: 1500)
        // Each command is followed by a commit, the last one too.
        let large = (0..<5).map { ["SET", "large:\($0)", String(repeating: value, count: 300)] }
        // A script, and each transaction, begins with one when half of the pages are changed.
        let scripts = (0..<8).map { ["EVAL", script, "0", "script:\($0):"] }
        var transactions: [[String]] = []
        for number in 0..<8 {
            transactions.append(["MULTI"])
            for key in 0..<100 { transactions.append(["SET", "key:\(number):\(key)", value]) }
            transactions.append(["EXEC"])
        }
        for (commands, count) in [(large, 5), (scripts, 800), (transactions, 800)] {
            let server = try TestServer(
                configuration: ["appendonly yes", "checkpoint-dirty-pages 64"],
                starts: false
            )
            try write(encoded(commands), to: server)
            try server.start()
            try server.kill()
            try server.start()
            #expect(try server.command("DBSIZE") == .integer(Int64(count)))
            try server.kill()
        }
    }

    @Test("the first start loads a dump.rdb, later ones do not; one that was put there since replaces the data")
    func dump() throws {
        let redis = try peer()
        let client = try redis.connect()
        try fill(client, "first")
        #expect(try client.command("SAVE") == .ok)
        let server = try TestServer(starts: false)
        try copy("dump.rdb", from: redis, to: server)
        try server.start()
        #expect(try server.command("DEBUG", "DIGEST") == redis.command("DEBUG", "DIGEST"))
        #expect(server.output.contains("DB loaded from disk: "))

        // Its own changes stay, with and without dumps of its own, and whatever ends it.
        try server.command("SET", "own", "1")
        try server.restart()
        #expect(try server.command("GET", "own") == .bulk("1"))
        #expect(try server.command("SAVE") == .ok)
        try server.command("SET", "own", "2")
        try server.killAndRestart()
        #expect(try server.command("GET", "own") == .bulk("2"))

        try fill(client, "second")
        #expect(try client.command("SAVE") == .ok)
        try server.stop()
        try copy("dump.rdb", from: redis, to: server)
        try server.start()
        #expect(try server.command("DEBUG", "DIGEST") == redis.command("DEBUG", "DIGEST"))
        #expect(try server.command("GET", "own") == .nullBulk)
        let aside = try FileManager.default.contentsOfDirectory(atPath: server.directory)
            .filter { $0.hasPrefix("replaced-") }
        #expect(aside.count == 1)
        try server.stop()
        let old = try TestServer(directory: server.directory + "/" + (aside.first ?? ""))
        #expect(try old.command("GET", "own") == .bulk("2"))
        try old.stop()
    }

    @Test("what was saved is loaded by redis-server with the same digest, of every form that values have")
    func savedForRedis() throws {
        let server = try TestServer(configuration: ["hash-max-ziplist-entries 40", "set-max-intset-entries 60"])
        try fill(try server.connect(), "ours")
        #expect(try server.command("SAVE") == .ok)
        let redis = try TestServer(
            configuration: ["save \"\"", "enable-debug-command yes"],
            directory: server.directory,
            program: .redis
        )
        #expect(try redis.command("DEBUG", "DIGEST") == server.command("DEBUG", "DIGEST"))
        #expect(try server.command("DEBUG", "RELOAD") == .ok)
        #expect(try redis.command("DEBUG", "DIGEST") == server.command("DEBUG", "DIGEST"))
        try redis.stop()
        try server.stop()
    }

    @Test("a kill in the middle of an import leaves no half of it, and the next start loads all")
    func killed() throws {
        var random = SeededGenerator()
        print("CODIS_TEST_SEED=\(random.seed)")
        let redis = try peer()
        try redis.command("DEBUG", "POPULATE", "60000")
        #expect(try redis.command("SAVE") == .ok)
        let server = try TestServer()
        try server.command("SET", "old", "1")
        try server.stop()
        try copy("dump.rdb", from: redis, to: server)
        for _ in 0..<6 {
            try server.launch()
            usleep(UInt32(random.number(10_000...400_000)))
            try server.kill()
        }
        try server.start()
        let keys = try server.command("DBSIZE")
        #expect(keys == .integer(60_000), "seed \(random.seed)")
        #expect(try server.command("DEBUG", "DIGEST") == redis.command("DEBUG", "DIGEST"))
        try server.stop()
    }

    @Test("a stream is named and refused, or left out where the directive says so")
    func unsupported() throws {
        let redis = try peer()
        let client = try redis.connect()
        try client.command("SET", "a", "1")
        try client.command("XADD", "stream", "*", "field", "value")
        #expect(try client.command("SAVE") == .ok)
        let server = try TestServer(starts: false)
        try copy("dump.rdb", from: redis, to: server)
        #expect(throws: TestServerError.self) { try server.start() }
        #expect(server.output.contains("a stream, which Redis 2.8 does not have: key 'stream'"))
        server.configuration = ["import-skip-unsupported yes"]
        try server.start()
        #expect(try server.command("KEYS", "*") == .bulks("a"))
        try server.stop()
    }

    @Test("a dump with a wrong checksum stops the start, with the words of Redis in the last line")
    func wrongChecksum() throws {
        let server = try TestServer()
        try server.command("SET", "a", "1")
        #expect(try server.command("SAVE") == .ok)
        try server.stop()
        let path = URL(fileURLWithPath: server.directory + "/dump.rdb")
        var bytes = try Data(contentsOf: path)
        bytes[bytes.count - 1] ^= 1
        try bytes.write(to: path)
        #expect(throws: TestServerError.self) { try server.start() }
        #expect(server.output.split(separator: "\n").last?.contains("Wrong RDB checksum. Aborting now.") == true)
    }

    @Test("an append-only file is loaded with appendonly yes, but for a transaction that does not end")
    func appendOnlyFile() throws {
        let server = try TestServer(configuration: ["appendonly yes"], starts: false)
        let whole = "*2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n*3\r\n$3\r\nSET\r\n$1\r\na\r\n$5\r\nfirst\r\n"
        let open = "*1\r\n$5\r\nMULTI\r\n*3\r\n$3\r\nSET\r\n$1\r\na\r\n$3\r\nbad\r\n"
        try write(whole + open, to: server)
        try server.start()
        let client = try server.connect()
        try client.command("SELECT", "3")
        #expect(try client.command("GET", "a") == .bulk("first"))
        #expect(server.output.contains("!!! Warning: short read while loading the AOF file !!!"))
        #expect(server.output.contains("DB loaded from append only file: "))
        try client.command("SET", "a", "changed")
        try server.restart()
        let again = try server.connect()
        try again.command("SELECT", "3")
        #expect(try again.command("GET", "a") == .bulk("changed"))
        try server.stop()

        server.configuration = ["appendonly yes", "aof-load-truncated no"]
        try write(whole + whole + open, to: server)
        #expect(throws: TestServerError.self) { try server.start() }
        let last = server.output.split(separator: "\n").last ?? ""
        #expect(last.contains("Unexpected end of file reading the append only file"))
        try write(whole + "x", to: server)
        #expect(throws: TestServerError.self) { try server.start() }
        let lastOfAll = server.output.split(separator: "\n").last ?? ""
        #expect(lastOfAll.contains("Bad file format reading the append only file"))
    }

    @Test("the append-only directory of Redis 7 is loaded, and --import does the same by hand")
    func parts() throws {
        let redis = try peer(["appendonly yes"])
        try fill(try redis.connect(), "first")
        #expect(try redis.command("BGREWRITEAOF").isError == false)
        #expect(waitUntil { (try? redis.info("aof_rewrite_in_progress")) == "0" })
        try fill(try redis.connect(), "second")
        let digest = try redis.command("DEBUG", "DIGEST")
        try redis.stop()
        let server = try TestServer(configuration: ["appendonly yes"], starts: false)
        try copy("appendonlydir", from: redis, to: server)
        try server.start()
        #expect(try server.command("DEBUG", "DIGEST") == digest)
        try server.stop()

        let other = try TestServer()
        try other.command("SET", "old", "1")
        let path = redis.directory + "/appendonlydir"
        let refused = try runProgram(other.executable, ["--dir", other.directory, "--import", path])
        #expect(refused.errors.contains("in use by another server"))
        try other.stop()
        let result = try runProgram(other.executable, ["--dir", other.directory, "--import", path])
        #expect(result.isSuccess, "\(result.errors)")
        try other.start()
        #expect(try other.command("DEBUG", "DIGEST") == digest)
        try other.stop()
    }
}

@Suite("Dumps")
struct DumpTests {
    @Test("BGSAVE has the state of one moment, while commands go on")
    func consistency() throws {
        let server = try TestServer()
        let client = try server.connect()
        // Two keys of different slots which are always equal between two transactions.
        try client.command("DEBUG", "POPULATE", "20000")
        try client.command("MSET", "a", "0", "b", "0")
        #expect(try client.command("BGSAVE") == .status("Background saving started"))
        var number = 0
        while try server.info("rdb_bgsave_in_progress") == "1" || number < 50 {
            number += 1
            try client.command("MSET", "a", "\(number)", "b", "\(number)")
        }
        #expect(try server.info("rdb_last_bgsave_status") == "ok")
        let other = try TestServer(starts: false)
        try FileManager.default.copyItem(
            at: URL(fileURLWithPath: server.directory + "/dump.rdb"),
            to: URL(fileURLWithPath: other.directory + "/dump.rdb")
        )
        try other.start()
        #expect(try other.command("GET", "a") == other.command("GET", "b"))
        #expect(try other.command("DBSIZE") == .integer(20_002))
        #expect(server.output.contains("Background saving terminated with success"))
        try other.stop()
        try server.stop()
    }

    @Test("a kill while a dump is written leaves the dump before it, and nothing is imported")
    func killed() throws {
        var random = SeededGenerator()
        print("CODIS_TEST_SEED=\(random.seed)")
        let server = try TestServer()
        try server.command("DEBUG", "POPULATE", "30000")
        for round in 0..<6 {
            try server.command("SET", "round", "\(round)")
            try server.command("BGSAVE")
            usleep(UInt32(random.number(0...150_000)))
            try server.command("SET", "round", "\(round) later")
            try server.killAndRestart()
            #expect(try server.command("GET", "round") == .bulk("\(round) later"), "seed \(random.seed)")
        }
        #expect(!server.output.contains("Importing"))
        let names = try FileManager.default.contentsOfDirectory(atPath: server.directory)
        #expect(!names.contains { $0.hasPrefix("temp-") })
        try server.stop()
    }

    @Test("save points write dumps, and one that fails stops writes until one succeeds")
    func savePoints() throws {
        let server = try TestServer(configuration: ["save 1 2"])
        let client = try server.connect()
        try client.command("MSET", "a", "1", "b", "2")
        #expect(waitUntil { FileManager.default.fileExists(atPath: server.directory + "/dump.rdb") })
        #expect(waitUntil { (try? server.info("rdb_changes_since_last_save")) == "0" })
        #expect(server.output.contains("2 changes in 1 seconds. Saving..."))

        // A directory in the dump's place cannot be replaced by it.
        let path = server.directory + "/dump.rdb"
        try FileManager.default.removeItem(atPath: path)
        try FileManager.default.createDirectory(atPath: path + "/x", withIntermediateDirectories: true)
        try client.command("BGSAVE")
        #expect(waitUntil { (try? server.info("rdb_last_bgsave_status")) == "err" })
        let refusal =
            "MISCONF Redis is configured to save RDB snapshots, but is currently not able to persist on disk. Commands "
            + "that may modify the data set are disabled. Please check Redis logs for details about the error."
        #expect(try client.command("SET", "a", "3") == .error(refusal))
        #expect(try client.command("SAVE") == .error("ERR"))
        #expect(try client.command("SHUTDOWN", "SAVE") == .error("ERR Errors trying to SHUTDOWN. Check logs."))
        #expect(try client.command("PING").isError)
        #expect(try client.command("GET", "a") == .bulk("1"))
        try FileManager.default.removeItem(atPath: path)
        #expect(try client.command("SAVE") == .ok)
        #expect(try client.command("SET", "a", "3") == .ok)
        try server.stop()
    }

    @Test("SHUTDOWN SAVE writes a dump, SHUTDOWN NOSAVE none, and without save points neither does SIGTERM")
    func shutdown() throws {
        let server = try TestServer()
        let path = server.directory + "/dump.rdb"
        try server.command("SET", "a", "1")
        try server.restart()
        #expect(!FileManager.default.fileExists(atPath: path))
        let client = try server.connect()
        client.enqueue("SHUTDOWN", "SAVE")
        try client.flush()
        try server.waitUntilEnded()
        #expect(FileManager.default.fileExists(atPath: path))
        #expect(server.output.contains("Saving the final RDB snapshot before exiting."))
        try server.start()
        #expect(try server.command("GET", "a") == .bulk("1"))
        #expect(!server.output.contains("Importing"))
        try server.stop()
    }
}

@Suite("MIGRATE")
struct MigrateTests {
    @Test("a key moves with its time to live, between two of ours and to redis-server")
    func moves() throws {
        let server = try TestServer()
        let targets = [try TestServer()] + (RedisPeer.isInstalled ? [try RedisPeer.start()] : [])
        for target in targets {
            try server.command("SET", "a", "value", "PX", "100000")
            try server.command("HMSET", "h", "f", "v")
            let port = "\(target.port)"
            #expect(try server.command("MIGRATE", "127.0.0.1", port, "a", "2", "5000") == .ok)
            #expect(try server.command("MIGRATE", "127.0.0.1", port, "h", "0", "5000") == .ok)
            #expect(try server.command("DBSIZE") == .integer(0))
            let client = try target.connect()
            #expect(try client.command("HGETALL", "h") == .bulks("f", "v"))
            try client.command("SELECT", "2")
            #expect(try client.command("GET", "a") == .bulk("value"))
            #expect((90_000...100_000).contains(try client.command("PTTL", "a").number ?? 0))
            #expect(try server.command("MIGRATE", "127.0.0.1", port, "a", "2", "5000") == .status("NOKEY"))
        }
        try server.restart()
        #expect(try server.command("DBSIZE") == .integer(0))
        try server.stop()
        for target in targets { try target.stop() }
    }

    @Test("what goes wrong is told in the words of Redis 2.8, and the key stays")
    func errors() throws {
        let server = try TestServer()
        let target = try TestServer()
        let port = "\(target.port)"
        try server.command("SET", "a", "1")
        try target.command("SET", "a", "2")
        #expect(
            try server.command("MIGRATE", "127.0.0.1", port, "a", "0", "5000")
                == .error("ERR Target instance replied with error: ERR Target key name is busy.")
        )
        #expect(
            try server.command("MIGRATE", "127.0.0.1", port, "a", "99", "5000")
                == .error("ERR Target instance replied with error: ERR invalid DB index")
        )
        #expect(
            try server.command("MIGRATE", "127.0.0.1", "\(freePort())", "a", "0", "5000")
                == .error("IOERR error or timeout connecting to the client")
        )
        #expect(
            try server.command("MIGRATE", "127.0.0.1", port, "a", "0", "x")
                == .error("ERR value is not an integer or out of range")
        )
        for wrong in ["0", "65536"] {
            #expect(
                try server.command("MIGRATE", "127.0.0.1", wrong, "a", "0", "5000")
                    == .error("ERR Can't connect to target node: invalid port")
            )
        }
        try target.command("DEL", "a")
        let sleeper = try target.connect()
        sleeper.enqueue("DEBUG", "SLEEP", "1.5")
        try sleeper.flush()
        usleep(100_000)
        let client = try server.connect()
        client.enqueue("MIGRATE", "127.0.0.1", port, "a", "0", "200")
        try client.flush()
        // Others are served meanwhile.
        #expect(try server.command("GET", "a") == .bulk("1"))
        #expect(try client.receive() == .error("IOERR error or timeout reading from target node"))
        #expect(try server.command("GET", "a") == .bulk("1"))
        try server.stop()
        try target.stop()
    }
}
