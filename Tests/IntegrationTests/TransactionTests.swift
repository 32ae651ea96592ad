// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisTesting
import Foundation
import Glibc
import Testing

@Suite("Transactions over connections")
struct TransactionTests {
    /// How many times the server is killed.
    static let cycles = environmentNumber("CODIS_TRANSACTION_KILLS") ?? 10

    @Test("whenever the server is killed, a transaction is found whole or not at all, and never twice")
    func killed() throws {
        var random = SeededGenerator()
        print("kill -9 in transactions: CODIS_TEST_SEED=\(random.seed)")
        let server = try TestServer(configuration: ["checkpoint-dirty-pages 1024", "checkpoint-log-size 64kb"])
        let large = [UInt8](repeating: 0x6C, count: 9 << 20)
        var acknowledged: Int64 = 0
        var sent: Int64 = 0
        for cycle in 0..<Self.cycles {
            let client = try server.connect(timeoutSeconds: 60)
            try server.killWithin(microseconds: random.number(1_000...400_000)) {
                while true {
                    sent += 1
                    client.enqueue("MULTI")
                    // Longer than what is written in one piece, first, or after what must not be done twice.
                    if random.oneIn(12) { client.enqueue([Array("SET".utf8), Array("large".utf8), large]) }
                    client.enqueue("INCR", "first")
                    for _ in 0..<random.number(0...20) {
                        let value = String(repeating: "v", count: random.number(0...3000))
                        client.enqueue("SET", "key:\(random.number(0...2000))", value)
                    }
                    if random.oneIn(12) { client.enqueue([Array("SET".utf8), Array("large".utf8), large]) }
                    client.enqueue("APPEND", "tape", "x")
                    client.enqueue("SELECT", "1")
                    client.enqueue("INCR", "second")
                    client.enqueue("SELECT", "0")
                    client.enqueue("EXEC")
                    try client.flush()
                    while true {
                        let reply = try client.receive()
                        guard case .array(let replies) = reply else { continue }
                        try #require(!replies.contains { $0.isError }, "\(reply)")
                        acknowledged += 1
                        break
                    }
                }
            }
            try server.start()
            let reader = try server.connect()
            let first = number(try reader.command("GET", "first"))
            let tape = try reader.command("STRLEN", "tape")
            try reader.command("SELECT", "1")
            let second = number(try reader.command("GET", "second"))
            try #require(first == second, "seed \(random.seed), cycle \(cycle)")
            try #require(tape == .integer(first), "seed \(random.seed), cycle \(cycle)")
            try #require(first >= acknowledged && first <= sent, "seed \(random.seed), cycle \(cycle)")
            acknowledged = first
            sent = first
        }
        print("kill -9 in transactions: \(Self.cycles) kills, \(acknowledged) transactions")
        try server.stop()
    }

    private func number(_ reply: TestReply) -> Int64 {
        guard case .bulk(let bytes) = reply else { return 0 }
        return Int64(String(decoding: bytes, as: UTF8.self)) ?? -1
    }

    @Test("the log shows a transaction between MULTI and EXEC")
    func printedLog() throws {
        let server = try TestServer()
        let client = try server.connect()
        for words in [["MULTI"], ["SET", "a", "1"], ["INCR", "a"], ["EXEC"]] {
            try client.command(words.map { Array($0.utf8) })
        }
        try server.stop()
        let outcome = try runProgram(server.executable, ["--print-log", server.directory])
        let commands = outcome.output.split(separator: "\n").filter { !$0.hasPrefix("#") }.map {
            $0.split(separator: " ", maxSplits: 1).last.map(String.init) ?? ""
        }
        #expect(
            commands == [
                "\"SELECT\" \"0\"", "\"MULTI\"", "\"SET\" \"a\" \"1\"", "\"INCR\" \"a\"", "\"EXEC\"",
            ]
        )
    }
}

@Suite("Publish and subscribe over connections")
struct SubscriptionTests {
    @Test("subscribers get all messages in order, while they come from several clients")
    func messages() throws {
        let server = try TestServer()
        let subscribers = try (0..<5).map { _ in try server.connect() }
        for subscriber in subscribers {
            #expect(try subscriber.command("SUBSCRIBE", "news").elements?.count == 3)
        }
        let publishers = try (0..<3).map { _ in try server.connect() }
        for number in 0..<300 {
            for (index, publisher) in publishers.enumerated() {
                publisher.enqueue("PUBLISH", "news", "\(index):\(number)")
            }
        }
        for publisher in publishers { try publisher.flush() }
        for publisher in publishers {
            for reply in try publisher.receive(300) { #expect(reply == .integer(5)) }
        }
        for subscriber in subscribers {
            var next = [0, 0, 0]
            for _ in 0..<900 {
                guard
                    let text = try subscriber.receive().elements?.last?.bytes.map({
                        String(decoding: $0, as: UTF8.self)
                    })
                else { continue }
                let parts = text.split(separator: ":").compactMap { Int($0) }
                try #require(parts.count == 2 && next[parts[0]] == parts[1], "\(text)")
                next[parts[0]] += 1
            }
            #expect(next == [300, 300, 300])
        }
        try server.stop()
    }

    @Test("a subscriber that does not read is closed at the limit of its class, and others are not")
    func limits() throws {
        let server = try TestServer(configuration: ["client-output-buffer-limit pubsub 1mb 0 0"])
        let lazy = try server.connect()
        try lazy.command("SUBSCRIBE", "news")
        let eager = try server.connect()
        try eager.command("SUBSCRIBE", "other")
        let publisher = try server.connect()
        let text = String(repeating: "x", count: 100_000)
        var receivers = TestReply.integer(1)
        for _ in 0..<2000 where receivers != .integer(0) { receivers = try publisher.command("PUBLISH", "news", text) }
        #expect(receivers == .integer(0))
        #expect(try publisher.command("PUBLISH", "other", "text") == .integer(1))
        #expect(try eager.receive() == .bulks("message", "other", "text"))
        try server.stop()
    }

    @Test("expired keys are told of without anybody asking for them")
    func expiry() throws {
        let server = try TestServer(configuration: ["notify-keyspace-events Ex"])
        let subscriber = try server.connect()
        try subscriber.command("SUBSCRIBE", "__keyevent@0__:expired")
        let client = try server.connect()
        try client.command("SET", "k", "v", "PX", "20")
        #expect(try subscriber.receive() == .bulks("message", "__keyevent@0__:expired", "k"))
        try server.stop()
    }

    @Test("CLIENT KILL closes by type, and CLIENT LIST tells the subscriptions")
    func killing() throws {
        let server = try TestServer()
        let subscriber = try server.connect()
        try subscriber.command("SUBSCRIBE", "a")
        try subscriber.command("PSUBSCRIBE", "b*")
        let client = try server.connect()
        let list = try client.command("CLIENT", "LIST").bytes.map { String(decoding: $0, as: UTF8.self) } ?? ""
        #expect(list.contains(" sub=1 psub=1 "))
        #expect(try client.command("CLIENT", "KILL", "TYPE", "slave") == .integer(0))
        #expect(try client.command("CLIENT", "KILL", "TYPE", "pubsub") == .integer(1))
        #expect(try subscriber.receiveUntilClosed().isEmpty)
        #expect(
            try client.command("CLIENT", "KILL", "TYPE", "x") == .error("ERR Unknown client type 'x'")
        )
        #expect(try client.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes") == .integer(0))
        #expect(try client.command("PING") == .status("PONG"))
        try server.stop()
    }
}
