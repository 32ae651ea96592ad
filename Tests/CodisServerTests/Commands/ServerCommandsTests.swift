// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisTesting
import Testing

@testable import CodisServer

@Suite("Connection and server commands")
struct ServerCommandsTests {
    @Test("PING, ECHO and SELECT")
    func connection() throws {
        let redis = try CommandHarness()
        #expect(redis("PING") == .status("PONG"))
        #expect(redis("ping text") == .bulk("text"))
        #expect(redis("PING a b") == .error("ERR wrong number of arguments for 'ping' command"))
        #expect(redis("ECHO text") == .bulk("text"))
        #expect(redis("SELECT 15") == .ok)
        #expect(redis("SELECT 16") == .error("ERR invalid DB index"))
        #expect(redis("SELECT -1") == .error("ERR invalid DB index"))
        #expect(redis("SELECT x") == .error("ERR invalid DB index"))
    }

    @Test("an unknown command is named as it was sent, a wrong number of arguments in lower case")
    func refusals() throws {
        let redis = try CommandHarness()
        #expect(redis("Foo bar") == .error("ERR unknown command 'Foo'"))
        #expect(redis.run("a\r\nb") == .error("ERR unknown command 'a  b'"))
        #expect(redis("GET") == .error("ERR wrong number of arguments for 'get' command"))
        #expect(redis("Get a b") == .error("ERR wrong number of arguments for 'get' command"))
    }

    @Test("AUTH without a password is an error; with one, a wrong one locks again")
    func password() throws {
        let redis = try CommandHarness()
        #expect(redis("AUTH x") == .error("ERR Client sent AUTH, but no password is set"))
        #expect(redis("CONFIG SET requirepass secret") == .ok)
        #expect(redis("AUTH secre") == .error("ERR invalid password"))
        #expect(redis("GET a") == .error("NOAUTH Authentication required."))
        #expect(redis("AUTH secret") == .ok)
        #expect(redis("GET a") == .nullBulk)
        #expect(redis("CONFIG SET requirepass") == .error("ERR Wrong number of arguments for CONFIG SET"))
        #expect(redis.run("CONFIG", "SET", "requirepass", "") == .ok)
        #expect(redis("AUTH secret") == .error("ERR Client sent AUTH, but no password is set"))
    }

    @Test("FLUSHDB empties one database, FLUSHALL all, and each is in the log when it did something")
    func flush() throws {
        let redis = try CommandHarness()
        redis("FLUSHDB")
        redis("SET a 1")
        redis("SELECT 1")
        redis("SET a 1")
        #expect(redis("DBSIZE") == .integer(1))
        #expect(redis("FLUSHDB") == .ok)
        #expect(redis("DBSIZE") == .integer(0))
        redis("SELECT 0")
        #expect(redis("DBSIZE") == .integer(1))
        #expect(redis("FLUSHALL") == .ok)
        #expect(redis("DBSIZE") == .integer(0))
        #expect(
            try redis.effectLines == [
                "SELECT 0", "SET a 1", "SELECT 1", "SET a 1", "FLUSHDB", "SELECT 0", "FLUSHALL",
            ]
        )
    }

    @Test("over maxmemory, what may make the data grow is refused and all else is served")
    func memory() throws {
        let redis = try CommandHarness()
        redis("SET a 1")
        redis("CONFIG SET maxmemory 1")
        #expect(redis("SET b 1") == .error("OOM command not allowed when used memory > 'maxmemory'."))
        #expect(redis("GET a") == .bulk("1"))
        #expect(redis("DEL a") == .integer(1))
    }

    @Test("CONFIG refuses what it does not know, in the words of Redis 2.8")
    func config() throws {
        let redis = try CommandHarness()
        #expect(redis("CONFIG GET maxmemory") == .bulks("maxmemory", "0"))
        #expect(redis("CONFIG SET maxmemory x") == .error("ERR Invalid argument 'x' for CONFIG SET 'maxmemory'"))
        #expect(redis("CONFIG SET nothing x") == .error("ERR Unsupported CONFIG parameter: nothing"))
        #expect(redis("CONFIG get") == .error("ERR Wrong number of arguments for CONFIG get"))
        #expect(redis("CONFIG foo") == .error("ERR CONFIG subcommand must be one of GET, SET, RESETSTAT, REWRITE"))
        #expect(redis("CONFIG REWRITE") == .error("ERR The server is running without a config file"))
    }

    @Test("CLIENT SETNAME takes what is printable and has no blanks")
    func clientName() throws {
        let redis = try CommandHarness()
        #expect(redis("CLIENT GETNAME") == .nullBulk)
        #expect(redis("CLIENT SETNAME worker-1") == .ok)
        #expect(redis("CLIENT GETNAME") == .bulk("worker-1"))
        #expect(
            redis.run("CLIENT", "SETNAME", "a b")
                == .error("ERR Client names cannot contain spaces, newlines or special characters.")
        )
        #expect(redis.run("CLIENT", "SETNAME", "") == .ok)
        #expect(redis("CLIENT GETNAME") == .nullBulk)
    }

    @Test("SLOWLOG holds the commands over the limit, the newest first, and its numbers go on after RESET")
    func slowLog() throws {
        let redis = try CommandHarness()
        redis("CONFIG SET slowlog-log-slower-than 0")
        redis("CONFIG SET slowlog-max-len 2")
        redis("SLOWLOG RESET")
        redis("PING")
        redis("PING b")
        redis("CONFIG SET slowlog-log-slower-than -1")
        #expect(redis("SLOWLOG LEN") == .integer(2))
        guard case .array(let entries) = redis("SLOWLOG GET"), case .array(let newest)? = entries.first else {
            Issue.record("SLOWLOG GET replies no array")
            return
        }
        #expect(entries.count == 2)
        #expect(newest[3] == .bulks("PING", "b"))
        #expect(
            redis("SLOWLOG x") == .error("ERR Unknown SLOWLOG subcommand or wrong # of args. Try GET, RESET, LEN.")
        )
    }

    @Test("LATENCY knows no events at first, and says so for one by name")
    func latency() throws {
        let redis = try CommandHarness()
        #expect(redis("LATENCY LATEST") == .array([]))
        #expect(redis("LATENCY HISTORY x") == .array([]))
        #expect(redis("LATENCY RESET") == .integer(0))
        #expect(redis("LATENCY GRAPH x") == .error("ERR No samples available for event 'x'"))
        #expect(redis("LATENCY x") == .error("ERR syntax error"))
    }

    @Test("COMMAND INFO shows a row, and nothing for what is none")
    func command() throws {
        let redis = try CommandHarness()
        let row = TestReply.array([
            .bulk("get"), .integer(2), .array([.status("readonly"), .status("fast")]), .integer(1), .integer(1),
            .integer(1),
        ])
        #expect(redis("COMMAND INFO GET quit") == .array([row, .nullBulk]))
        #expect(redis("COMMAND COUNT") == .integer(Int64(CommandTable().rows.count)))
        #expect(redis("COMMAND x") == .error("ERR Unknown subcommand or wrong number of arguments."))
    }

    @Test("SAVE writes a dump and counts the changes anew; nobody else is served meanwhile")
    func save() throws {
        let redis = try CommandHarness()
        redis("SET a 1")
        #expect(redis("INFO persistence").text?.contains("rdb_changes_since_last_save:1\r\n") == true)
        #expect(redis("SAVE") == .ok)
        #expect(redis("INFO persistence").text?.contains("rdb_changes_since_last_save:0\r\n") == true)
        #expect(redis("LASTSAVE").number ?? 0 > 1_700_000_000)
    }

    @Test("while a dump is written, SAVE and BGSAVE are refused, and BGREWRITEAOF waits")
    func backgroundSave() throws {
        let redis = try CommandHarness()
        #expect(redis("BGSAVE") == .status("Background saving started"))
        #expect(redis("INFO persistence").text?.contains("rdb_bgsave_in_progress:1\r\n") == true)
        #expect(redis("BGSAVE") == .error("ERR Background save already in progress"))
        #expect(redis("SAVE") == .error("ERR Background save already in progress"))
        #expect(redis("BGREWRITEAOF") == .status("Background append only file rewriting scheduled"))
        #expect(redis("INFO persistence").text?.contains("aof_rewrite_scheduled:1\r\n") == true)
    }

    @Test("FLUSHALL with save points empties the dump at once")
    func flushallSaves() throws {
        let redis = try CommandHarness()
        redis("SET a 1")
        #expect(redis("SAVE") == .ok)
        redis("SET b 1")
        #expect(redis("FLUSHALL") == .ok)
        #expect(
            redis.dump == [0x52, 0x45, 0x44, 0x49, 0x53] + Array("0006".utf8) + [
                0xFF, 0xDC, 0xB3, 0x43, 0xF0, 0x5A, 0xDC, 0xF2, 0x56,
            ]
        )
    }
}
