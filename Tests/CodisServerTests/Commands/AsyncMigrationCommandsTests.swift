// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisTesting
import Testing

@testable import CodisServer

@Suite("SLOTSMGRT-ASYNC, without a target")
struct AsyncMigrationCommandsTests {
    @Test(
        "arguments are checked from left to right, in the words of Codis 3.2",
        arguments: ["SLOTSMGRTSLOT-ASYNC", "SLOTSMGRTTAGSLOT-ASYNC", "SLOTSMGRTONE-ASYNC", "SLOTSMGRTTAGONE-ASYNC"]
    )
    func arguments(name: String) throws {
        let redis = try CommandHarness()
        let isSlot = name.contains("SLOT-")
        let rest = isSlot ? "0 1" : "key"
        for (words, text) in [
            ("0 x x x", "port (0)"), ("65536 x x x", "port (65536)"), ("x x x x", "port (x)"),
            ("1 -1 x x", "timeout (-1)"), ("1 2147483648 x x", "timeout (2147483648)"), ("1 1.5 x x", "timeout (1.5)"),
            ("1 1 -1 x", "maxbulks (-1)"), ("1 1 2147483648 x", "maxbulks (2147483648)"),
            ("1 1 1 -2", "maxbytes (-2)"), ("1 1 1 x", "maxbytes (x)"),
        ] {
            #expect(redis("\(name) host \(words) \(rest)") == .error("ERR invalid value of \(text)"))
        }
        if isSlot {
            #expect(redis("\(name) host 1 1 1 1 1024 x") == .error("ERR invalid value of slot (1024)"))
            #expect(redis("\(name) host 1 1 1 1 -1 x") == .error("ERR invalid value of slot (-1)"))
            #expect(redis("\(name) host 1 1 1 1 0 -1") == .error("ERR invalid value of numkeys (-1)"))
            #expect(redis("\(name) host 1 1 1 1 0 x") == .error("ERR invalid value of numkeys (x)"))
        }
        #expect(
            redis("\(name) host 1 1 1 1") == .error("ERR wrong number of arguments for '\(name.lowercased())' command")
        )
    }

    @Test("without a batch FENCE is OK, CANCEL is 0 and STATUS is null, whatever the arguments")
    func nothing() throws {
        let redis = try CommandHarness()
        #expect(redis("SLOTSMGRT-ASYNC-FENCE") == .status("OK"))
        #expect(redis("SLOTSMGRT-ASYNC-FENCE x y") == .status("OK"))
        #expect(redis("SLOTSMGRT-ASYNC-CANCEL") == .integer(0))
        #expect(redis("SLOTSMGRT-ASYNC-STATUS") == .nullArray)
    }

    @Test("moving is no part of a transaction or script")
    func transaction() throws {
        let redis = try CommandHarness()
        redis("SET key value")
        redis("MULTI")
        redis("SLOTSMGRTONE-ASYNC 127.0.0.1 1 100 0 0 key")
        let error = "ERR SLOTSMGRTONE-ASYNC is not possible within a transaction or script"
        #expect(redis("EXEC") == .array([.error(error)]))
        let reply = redis.run("EVAL", "return redis.call('SLOTSMGRTONE-ASYNC','127.0.0.1','1','1','0','0','key')", "0")
        #expect(reply.text?.contains("This Redis command is not allowed from scripts") ?? false)
    }

    // MARK: DUMP

    /// The commands in the reply of a DUMP, which are arrays of bulks.
    private func commands(_ reply: TestReply) throws -> [[[UInt8]]] {
        try #require(reply.elements).map { command in
            try #require(command.elements).map { try #require($0.bytes) }
        }
    }

    private func lines(_ reply: TestReply) throws -> [String] {
        try commands(reply).map { command in command.map { String(decoding: $0, as: UTF8.self) }.joined(separator: " ")
        }
    }

    @Test("DUMP shows the messages of small values")
    func dump() throws {
        let redis = try CommandHarness()
        redis("SET plain value")
        redis("PSETEX short 5000 12")
        redis("RPUSH list a b")
        let payload = try #require(redis("DUMP list").bytes)
        #expect(
            try lines(redis("SLOTSMGRTONE-ASYNC-DUMP 0 0 plain missing short"))
                == [
                    "SLOTSRESTORE-ASYNC delete plain", "SLOTSRESTORE-ASYNC string plain 0 value",
                    "SLOTSRESTORE-ASYNC delete short", "SLOTSRESTORE-ASYNC string short 5000 12",
                ]
        )
        #expect(
            try commands(redis("SLOTSMGRTONE-ASYNC-DUMP 0 0 list")).last
                == ["SLOTSRESTORE-ASYNC", "object", "list", "0"].map { Array($0.utf8) } + [payload]
        )
        #expect(redis("SLOTSMGRTONE-ASYNC-DUMP 0 0 missing") == .array([]))
        #expect(redis("SLOTSMGRTONE-ASYNC-DUMP -1 0 key") == .error("ERR invalid value of timeout (-1)"))
        #expect(redis("SLOTSMGRTTAGONE-ASYNC-DUMP 0 x key") == .error("ERR invalid value of maxbulks (x)"))
        #expect(
            redis("SLOTSMGRTONE-ASYNC-DUMP 0 0")
                == .error("ERR wrong number of arguments for 'slotsmgrtone-async-dump' command")
        )
    }

    @Test("DUMP shows a large value in pieces, with three times the timeout, and then its true time")
    func pieces() throws {
        let redis = try CommandHarness()
        redis("RPUSH list a b c d e")
        redis("PEXPIRE list 7000")
        #expect(
            try lines(redis("SLOTSMGRTONE-ASYNC-DUMP 1000 2 list"))
                == [
                    "SLOTSRESTORE-ASYNC delete list", "SLOTSRESTORE-ASYNC list list 3000 5 a b",
                    "SLOTSRESTORE-ASYNC list list 3000 5 c d", "SLOTSRESTORE-ASYNC list list 3000 5 e",
                    "SLOTSRESTORE-ASYNC expire list 7000",
                ]
        )
        // The highest comes first, and scores as the eight bytes of a double.
        redis("CONFIG SET zset-max-ziplist-entries 0")
        redis("ZADD scores 1 a 2.5 b -inf c")
        let commands = try commands(redis("SLOTSMGRTONE-ASYNC-DUMP 1000 2 scores"))
        #expect(commands.count == 5)
        #expect(
            commands[1].prefix(6).map { String(decoding: $0, as: UTF8.self) }
                == ["SLOTSRESTORE-ASYNC", "zset", "scores", "3000", "3", "b"]
        )
        #expect(commands[1].last == [0, 0, 0, 0, 0, 0, 4, 64])
        #expect(commands[3].suffix(2) == [[99], [0, 0, 0, 0, 0, 0, 0xF0, 0xFF]])
        // A small value in its compact form goes as a whole, whatever the limit.
        redis("HMSET small a 1 b 2 c 3")
        #expect(
            try self.commands(redis("SLOTSMGRTONE-ASYNC-DUMP 0 1 small")).map(\.[1]) == [
                Array("delete".utf8), Array("object".utf8),
            ]
        )
    }

    @Test("DUMP with tags shows all keys of a tag, once")
    func tags() throws {
        let redis = try CommandHarness()
        for key in ["{tag}a", "{tag}b", "x{tag}", "tag", "{other}"] { redis("SET \(key) 1") }
        let one = try lines(redis("SLOTSMGRTONE-ASYNC-DUMP 0 0 {tag}a"))
        #expect(one.count == 2)
        let reply = try lines(redis("SLOTSMGRTTAGONE-ASYNC-DUMP 0 0 {tag}a tag {tag}b"))
        let keys = reply.filter { $0.contains("delete") }.map { String($0.split(separator: " ")[2]) }
        #expect(keys.sorted() == ["tag", "x{tag}", "{tag}a", "{tag}b"])
        // The key that is named need not be there.
        #expect(try lines(redis("SLOTSMGRTTAGONE-ASYNC-DUMP 0 0 {tag}none")).count == 6)
    }

    @Test("what DUMP shows makes the same value elsewhere", arguments: [1, 3, 7, 1000])
    func roundTrip(bulks: Int) throws {
        let source = try CommandHarness()
        var generator = SeededGenerator(seed: UInt64(bulks))
        for number in 0..<40 {
            let name = "element:\(generator.next() % 1000)"
            source.run("RPUSH", "list", name)
            source.run("HSET", "hash", name, String(repeating: "v", count: number * 3))
            source.run("SADD", "set", name)
            source.run("SADD", "numbers", "\(number)")
            source.run("ZADD", "scores", "\(Double(number) / 3)", name)
        }
        source.run("SET", "long", String(repeating: "0123456789", count: 5000))
        source("PEXPIRE hash 10000")
        let reply = source("SLOTSMGRTONE-ASYNC-DUMP 0 \(bulks) list hash set numbers scores long")
        let target = try CommandHarness()
        for command in try commands(reply) {
            #expect(target.run(command).elements?[1] == .bulk("0"))
        }
        #expect(target.contents.map(Self.withoutEncoding) == source.contents.map(Self.withoutEncoding))
        let replayed = try CommandHarness(replaying: target.effects)
        #expect(replayed.contents.map(Self.withoutEncoding) == source.contents.map(Self.withoutEncoding))
    }

    /// A line of `contents` without the encoding, which depends on the order in which elements come.
    private static func withoutEncoding(_ line: String) -> String {
        var words = line.split(separator: " ")
        if words[3] != "string" { words.remove(at: 4) }
        return words.joined(separator: " ")
    }

    // MARK: EXEC-WRAPPER

    private func wrapped(_ code: Int64, _ reply: TestReply) -> TestReply { .array([.integer(code), reply]) }

    @Test("EXEC-WRAPPER runs a command for a key that is there, and says what became of it")
    func wrapper() throws {
        let redis = try CommandHarness()
        redis("SET key 1")
        #expect(redis("SLOTSMGRT-EXEC-WRAPPER key GET key") == wrapped(2, .bulk("1")))
        #expect(redis("slotsmgrt-exec-wrapper key incr key") == wrapped(2, .integer(2)))
        #expect(
            redis("SLOTSMGRT-EXEC-WRAPPER key LPUSH key x")
                == wrapped(2, .error("WRONGTYPE Operation against a key holding the wrong kind of value"))
        )
        #expect(
            redis("SLOTSMGRT-EXEC-WRAPPER missing GET missing")
                == wrapped(0, .error("ERR the specified key doesn't exist"))
        )
        #expect(
            redis("SLOTSMGRT-EXEC-WRAPPER key NOSUCH key")
                == wrapped(-1, .error("ERR invalid command specified (NOSUCH)"))
        )
        #expect(
            redis("SLOTSMGRT-EXEC-WRAPPER key GET")
                == wrapped(-1, .error("ERR wrong number of arguments for command (GET)"))
        )
        #expect(
            redis("SLOTSMGRT-EXEC-WRAPPER key")
                == .error("ERR wrong number of arguments for 'slotsmgrt-exec-wrapper' command")
        )
        #expect(try redis.effectLines == ["SELECT 0", "SET key 1", "incr key"].map { $0 })
    }

    @Test("EXEC-WRAPPER wraps neither itself nor what is about a connection or the server")
    func unwrapped() throws {
        let redis = try CommandHarness()
        redis("SET key 1")
        for command in [
            "SLOTSMGRT-EXEC-WRAPPER key GET key", "MULTI", "EXEC", "AUTH x", "MONITOR", "SUBSCRIBE x", "SHUTDOWN",
            "WATCH key x", "SLOTSMGRTONE-ASYNC h 1 1 1 1 key", "SLOTSMGRT-ASYNC-FENCE",
        ] where command != "WATCH key x" {
            let name = command.split(separator: " ")[0]
            #expect(
                redis("SLOTSMGRT-EXEC-WRAPPER key \(command)")
                    == wrapped(-1, .error("ERR invalid command specified (\(name))"))
            )
        }
        let script = "return redis.call('slotsmgrt-exec-wrapper','key','blpop','list','0')"
        #expect(
            redis.run("EVAL", script, "1", "key")
                == wrapped(-1, .error("ERR invalid command specified (blpop)"))
        )
    }
}
