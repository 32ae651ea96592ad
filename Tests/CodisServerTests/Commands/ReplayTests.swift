// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisTesting
import Testing

@Suite("What enters the log")
struct ReplayTests {
    @Test("whatever commands ran, the effects in the log lead an empty keyspace to the same values and expiries")
    func sameContents() throws {
        for _ in 0..<8 {
            let seed = SeededGenerator().seed
            var commands = RandomCommands(seed: seed)
            let first = try CommandHarness()
            for _ in 0..<1500 {
                if let milliseconds = commands.pause() { first.advance(milliseconds: milliseconds) }
                first.run(commands.next(now: first.now))
            }
            let second = try CommandHarness(replaying: first.effects)
            second.now = first.now
            #expect(first("DEBUG DIGEST") == second("DEBUG DIGEST"), "seed \(seed)")
            #expect(!first.contents.isEmpty)
            #expect(first.contents == second.contents, "seed \(seed)")
        }
    }

    @Test(
        "each command enters as what replays to the same state",
        arguments: [
            (["SET k v"], ["SET k v"]),
            (["SET k v NX"], ["SET k v NX"]),
            (["SET k v EX 10"], ["SET k v", "PEXPIREAT k @10000"]),
            (["SETEX k 10 v"], ["SET k v", "PEXPIREAT k @10000"]),
            (["PSETEX k 10 v"], ["SET k v", "PEXPIREAT k @10"]),
            (["SETNX k v", "SETNX k w"], ["SETNX k v"]),
            (["GETSET k v"], ["GETSET k v"]),
            (["MSET a 1 b 2"], ["MSET a 1 b 2"]),
            (["MSETNX a 1 b 2", "MSETNX a 1 c 2"], ["MSETNX a 1 b 2"]),
            (["APPEND k v"], ["APPEND k v"]),
            (["SETRANGE k 3 v"], ["SETRANGE k 3 v"]),
            (["INCR k"], ["INCR k"]),
            (["DECRBY k 5"], ["DECRBY k 5"]),
            (["INCRBYFLOAT k 0.5"], ["SET k 0.5"]),
            (
                ["SETEX k 9 1", "INCRBYFLOAT k 0.5"],
                ["SET k 1", "PEXPIREAT k @9000", "SET k 1.5", "PEXPIREAT k @9000"]
            ),
            (["SET k v", "EXPIRE k 10"], ["SET k v", "PEXPIREAT k @10000"]),
            (["SET k v", "PEXPIRE k 10"], ["SET k v", "PEXPIREAT k @10"]),
            (["SET k v", "EXPIRE k -1"], ["SET k v", "DEL k"]),
            (["SET k v", "PEXPIREAT k 1"], ["SET k v", "DEL k"]),
            (["SETEX k 10 v", "PERSIST k", "PERSIST k"], ["SET k v", "PEXPIREAT k @10000", "PERSIST k"]),
            (["SET a 1", "RENAME a b"], ["SET a 1", "RENAME a b"]),
            (["SET a 1", "MOVE a 2"], ["SET a 1", "MOVE a 2"]),
            (["SETBIT k 3 1"], ["SETBIT k 3 1"]),
            (["HSET h f v", "HSETNX h f w", "HDEL h g"], ["HSET h f v"]),
            (["HMSET h a 1 b 2", "HDEL h a x", "HINCRBY h b 3"], ["HMSET h a 1 b 2", "HDEL h a x", "HINCRBY h b 3"]),
            (["HINCRBYFLOAT h f 0.5"], ["HSET h f 0.5"]),
            (["SADD s a", "SADD s a", "SPOP s", "SPOP s"], ["SADD s a", "SREM s a"]),
            (["SADD s a b", "SREM s x", "SMOVE s t a", "SMOVE s t a"], ["SADD s a b", "SMOVE s t a"]),
            (
                ["SADD s a", "SUNIONSTORE t s", "SDIFFSTORE u s s"],
                ["SADD s a", "SUNIONSTORE t s", "SDIFFSTORE u s s"]
            ),
            (["SET a 1", "BITOP NOT b a"], ["SET a 1", "BITOP NOT b a"]),
            (["SET a 1", "DEL a b", "DEL a"], ["SET a 1", "DEL a b"]),
            (["GET k", "DEL k", "EXPIRE k 5", "INCRBY k x", "SET k v XX"], []),
        ]
    )
    func effects(lines: [String], expected: [String]) throws {
        let server = try CommandHarness()
        for line in lines { server(line) }
        let now = server.now
        let wanted = expected.map { effect in
            effect.split(separator: " ").map { word in
                word.hasPrefix("@") ? String(now + (Int64(word.dropFirst()) ?? 0)) : String(word)
            }.joined(separator: " ")
        }
        #expect(try server.effectLines.filter { !$0.hasPrefix("SELECT") } == wanted)
    }

    @Test("a key that expires enters as DEL when a command meets it")
    func expiry() throws {
        let server = try CommandHarness()
        server("PSETEX k 5 v")
        server.advance(milliseconds: 6)
        server("GET k")
        #expect(try server.effectLines.last == "DEL k")
    }
}

/// Commands chosen at random over a few keys, so that they meet.
private struct RandomCommands {
    static let keys = ["a", "b", "{a}c", "n", "long:" + String(repeating: "x", count: 700)]
    private var random: SeededGenerator

    init(seed: UInt64) { random = SeededGenerator(seed: seed) }

    mutating func pause() -> Int? { random.oneIn(10) ? random.number(1...200) : nil }

    private mutating func key() -> String { random.pick(Self.keys) }

    private mutating func value() -> String {
        switch random.number(0...9) {
        case 0: ""
        case 1: String(repeating: random.pick(["x", "yz"]), count: random.number(1...6000))
        case 2: "\(Double(random.number(-100...100)) / 8)"
        default: String(random.number(-1000...1000))
        }
    }

    mutating func next(now: Int64) -> [[UInt8]] {
        let words = random.oneIn(3) ? listWords() : words(now)
        return words.map { Array($0.utf8) }
    }

    private mutating func listWords() -> [String] {
        switch random.number(0...14) {
        case 0...3: [random.pick(["LPUSH", "RPUSH"]), list()] + (0..<random.number(1...40)).map { _ in value() }
        case 4: [random.pick(["LPUSHX", "RPUSHX"]), list(), value()]
        case 5, 6: [random.pick(["LPOP", "RPOP"]), list()]
        case 7: ["RPOPLPUSH", list(), list()]
        case 8: ["LSET", list(), String(random.number(-5...5)), value()]
        case 9: ["LINSERT", list(), random.pick(["BEFORE", "AFTER"]), value(), value()]
        case 10: ["LREM", list(), String(random.number(-2...2)), value()]
        case 11: ["LTRIM", list(), String(random.number(0...5)), String(random.number(-5...60))]
        case 12: ["SORT", list(), "ALPHA", "STORE", list()]
        case 13: ["SORT", list(), "BY", random.pick(["nosort", "*"]), "GET", "*", "GET", "#", "STORE", list()]
        default: [random.pick(["PEXPIRE", "DEL"]), list(), String(random.number(1...500))]
        }
    }

    private mutating func list() -> String {
        random.oneIn(20) ? key() : random.pick(["l", "m", "{a}l", "list:" + String(repeating: "x", count: 700)])
    }

    private mutating func hashOrSet() -> [String] {
        let hash = random.pick(["h1", "h2", "{a}h"])
        let set = random.pick(["s1", "s2", "{a}s"])
        let name = random.oneIn(20) ? "long:" + String(repeating: "y", count: 500) : "name:\(random.number(0...60))"
        return switch random.number(0...14) {
        case 0...2: ["HSET", hash, name, value()]
        case 3: ["HMSET", hash, name, value(), "other", value()]
        case 4: ["HSETNX", hash, name, value()]
        case 5: ["HINCRBY", hash, "count", String(random.number(-50...50))]
        case 6: ["HINCRBYFLOAT", hash, "count", "\(Double(random.number(-50...50)) / 16)"]
        case 7: ["HDEL", hash, name, "count"]
        case 8...10:
            ["SADD", set, random.oneIn(2) ? name : String(random.number(0...30)), String(random.number(0...90))]
        case 11: ["SREM", set, name, String(random.number(0...30))]
        case 12: ["SPOP", set]
        case 13: ["SMOVE", set, "s1", String(random.number(0...30))]
        default: [random.pick(["SINTERSTORE", "SUNIONSTORE", "SDIFFSTORE"]), set, "s1", "s2"]
        }
    }

    private mutating func words(_ now: Int64) -> [String] {
        switch random.number(0...30) {
        case _ where random.oneIn(3): hashOrSet()
        case 0...3: ["SET", key(), value()]
        case 4: ["SET", key(), value(), random.pick(["NX", "XX"])]
        case 5: ["SET", key(), value(), "PX", String(random.number(1...2000))]
        case 6: ["SETEX", key(), String(random.number(1...3)), value()]
        case 7: ["SETNX", key(), value()]
        case 8: ["GETSET", key(), value()]
        case 9: ["MSET", key(), value(), key(), value()]
        case 10: ["MSETNX", key(), value(), key(), value()]
        case 11: ["APPEND", key(), value()]
        case 12: ["SETRANGE", key(), String(random.number(0...9000)), value()]
        case 13: [random.pick(["INCR", "DECR"]), key()]
        case 14: [random.pick(["INCRBY", "DECRBY"]), key(), String(random.number(-50...50))]
        case 15: ["INCRBYFLOAT", key(), "\(Double(random.number(-50...50)) / 16)"]
        case 16: ["DEL", key(), key()]
        case 17: [random.pick(["RENAME", "RENAMENX"]), key(), key()]
        case 18: ["MOVE", key(), String(random.number(0...2))]
        case 19...21: [random.pick(["EXPIRE", "PEXPIRE"]), key(), String(random.number(-1...300))]
        case 22: ["PEXPIREAT", key(), String(Int(now) + random.number(-100...2000))]
        case 23: ["PERSIST", key()]
        case 24: ["SETBIT", key(), String(random.number(0...60_000)), String(random.number(0...1))]
        case 25: ["BITOP", random.pick(["AND", "OR", "XOR"]), key(), key(), key()]
        case 26: ["BITOP", "NOT", key(), key()]
        case 27: ["SELECT", String(random.number(0...2))]
        case 28: random.oneIn(2) ? ["GET", key()] : hashOrSet()
        case 29: ["PTTL", key()]
        default: random.oneIn(10) ? ["FLUSHDB"] : ["EXISTS", key()]
        }
    }
}
