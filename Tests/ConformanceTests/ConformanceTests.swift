// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisTesting
import Testing

@Suite("Against redis-server", .enabled(if: RedisPeer.isInstalled, "redis-server is not installed"))
struct ConformanceTests {
    /// How many random commands each case sends.
    static let commands = environmentNumber("CODIS_CONFORMANCE_COMMANDS") ?? 20_000

    @Test("random commands are answered alike, byte for byte", arguments: 1...3)
    func randomCommands(run: Int) throws {
        let base = SeededGenerator()
        let seed = base.seed &+ UInt64(run - 1)
        print("conformance: CODIS_TEST_SEED=\(seed)")
        var generator = CommandGenerator(random: SeededGenerator(seed: seed))
        let pair = try ServerPair()
        var history: [String] = []
        for start in stride(from: 0, to: Self.commands, by: 100) {
            let batch = (start..<start + 100).map { _ in generator.next() }
            let complaints = try pair.compare(batch)
            history = (history + batch.map(line)).suffix(400)
            if let first = complaints.first {
                let told = history.suffix(100 - first.index + 30).prefix(31).joined(separator: "\n")
                Issue.record("seed \(seed), command \(start + first.index): \(first.text)\nafter:\n\(told)")
                return
            }
        }
        try pair.compareData(databases: 0..<16)
        try pair.ours.stop()
    }

    @Test("commands with known traps are answered alike")
    func traps() throws {
        let pair = try ServerPair()
        for text in Self.traps {
            let words = text.split(separator: " ", omittingEmptySubsequences: false).map { Array($0.utf8) }
            for complaint in try pair.compare([words]) { Issue.record("\(text): \(complaint.text)") }
        }
        try pair.compareData(databases: 0..<2)
        try pair.ours.stop()
    }

    @Test("keys expire alike, and expired keys are not there for any command")
    func expiry() throws {
        let pair = try ServerPair()
        for number in 0..<50 {
            let words = ["SET", "brief\(number)", "1", "PX", "\(1 + number)"].map { Array($0.utf8) }
            #expect(try pair.compare([words]).isEmpty)
        }
        for server in [pair.ours, pair.oracle] {
            #expect(waitUntil { (try? server.command("DBSIZE")) == .integer(0) })
        }
        let commands = ["GET", "STRLEN", "TTL", "PTTL", "TYPE", "EXISTS", "PERSIST", "DEL"]
        for name in commands {
            let complaints = try pair.compare([[Array(name.utf8), Array("brief7".utf8)]])
            #expect(complaints.isEmpty)
        }
        try pair.ours.stop()
    }

    private func line(_ words: [[UInt8]]) -> String { words.map { printable($0, limit: 60) }.joined(separator: " ") }

    /// Single steps, each meeting the state that those before it left.
    private static let traps = [
        "SET a 10", "OBJECT ENCODING a", "APPEND a 1", "OBJECT ENCODING a", "INCR a", "OBJECT ENCODING a", "GET a",
        "SETRANGE a 1 9", "OBJECT ENCODING a", "INCRBYFLOAT a 0", "OBJECT ENCODING a", "SET b 99999999999999999999",
        "OBJECT ENCODING b", "INCR b", "SET b 9223372036854775807", "INCR b", "DECR b", "SET c -9223372036854775808",
        "DECR c", "INCRBY c -1", "INCRBY c 1", "SET d 3.0e3", "INCRBYFLOAT d 200", "INCRBYFLOAT d 1e400", "SET d 0.1",
        "INCRBYFLOAT d 0.2", "INCRBYFLOAT d -0.3", "SET d 5.0e1", "INCR d", "SETRANGE none 5 ", "EXISTS none",
        "SETRANGE none 3 x", "GET none", "SETRANGE none -1 x", "GETRANGE none 0 -1", "GETRANGE none -100 100",
        "GETRANGE none 5 1", "GETRANGE none -1 -100", "GETRANGE missing 0 -1", "SETBIT bits 7 1", "GET bits",
        "SETBIT bits 7 2", "SETBIT bits -1 1", "SETBIT bits 4294967296 1", "GETBIT bits 4294967295", "GETBIT bits 100",
        "BITCOUNT missing 0", "BITCOUNT bits 0", "BITCOUNT bits 0 x", "BITPOS missing 0", "BITPOS missing 1",
        "BITPOS bits 2", "SET ones \u{7F}\u{7F}", "BITPOS ones 0", "BITPOS ones 0 0 -1", "BITPOS ones 1 1",
        "BITPOS ones 1 2", "BITPOS ones 1 5 7", "BITPOS ones 0 5", "BITOP NOT dest a b", "BITOP AND dest missing",
        "EXISTS dest", "BITOP OR dest a bits", "BITOP NOT dest a", "BITOP FOO dest a", "BITOP AND dest a missing",
        "GET dest", "TTL missing", "PTTL missing", "TTL a", "EXPIRE a 100", "TTL a", "SET a 1", "TTL a", "EXPIRE a 100",
        "INCR a", "TTL a", "APPEND a 5", "TTL a", "GETSET a 5", "TTL a", "EXPIRE a 0", "EXISTS a", "SET a 1",
        "EXPIREAT a 1", "EXISTS a", "EXPIRE missing 10", "EXPIRE missing x", "PERSIST missing", "SET a 1", "PERSIST a",
        "EXPIRE a 100", "PERSIST a", "RENAME missing x", "RENAME missing missing", "RENAME a a", "RENAMENX a a",
        "EXPIRE a 500", "SET target 1", "RENAME a target", "TTL target", "RENAMENX target bits", "RENAMENX target a",
        "MOVE a 0", "MOVE missing 1", "MOVE a 1", "SELECT 1", "TTL a", "SET b 1", "MOVE b 0", "EXISTS b", "SELECT 0",
        "MOVE a x", "MOVE a 16", "SELECT 16", "SELECT x", "SET x 1 EX 0", "SET x 1 EX -5", "SET x 1 PX x", "SET x 1 EX",
        "SET x 1 NX", "SET x 2 NX", "GET x", "SET x 3 XX EX 100", "SET y 3 XX", "EXISTS y", "SET x 4 NX XX",
        "SETEX x 0 1", "PSETEX x -1 1", "SETEX x y 1", "SETEX x 100 1", "TTL x", "SETNX x 5", "MSETNX x 1 y 2",
        "EXISTS y", "MSETNX y 1 z 2", "MSET a", "MSET a 1 b", "MSETNX a 1 b", "MGET x y missing z", "SCAN x", "SCAN",
        "SCAN 0 COUNT", "SCAN 0 COUNT 0", "SCAN 0 MATCH", "SCAN 0 NOSUCH 1", "KEYS *", "KEYS [", "KEYS [a-", "KEYS \\*",
        "KEYS [^a]", "KEYS", "DEL", "DEL missing", "DEL x x y", "TYPE missing", "TYPE z", "OBJECT ENCODING missing",
        "STRLEN missing", "STRLEN z", "APPEND new ", "EXISTS new", "GET new", "ECHO", "ECHO a b", "PING", "PING hello",
        "PING a b", "SUBSTR z 0 0", "GETSET new 1", "GETSET newer 1", "GET newer", "DECR newer", "DECRBY newer 5",
        "INCRBY newer abc", "INCRBY newer -", "DBSIZE", "RANDOMKEY", "FLUSHDB", "RANDOMKEY", "DBSIZE", "FLUSHALL",
    ]
}
