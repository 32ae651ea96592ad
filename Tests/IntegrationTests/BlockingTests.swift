// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisTesting
import Testing

@Suite("Blocking commands over connections")
struct BlockingTests {
    private func waitForBlocked(_ count: Int, _ client: TestClient) throws {
        #expect(
            waitUntil {
                let text = (try? client.command("INFO", "clients").bytes).map { String(decoding: $0, as: UTF8.self) }
                return text?.contains("blocked_clients:\(count)\r\n") ?? false
            }
        )
    }

    @Test("clients get elements in the order in which they asked")
    func order() throws {
        let server = try TestServer()
        let pusher = try server.connect()
        var waiting: [TestClient] = []
        for index in 0..<20 {
            let client = try server.connect()
            client.enqueue("BLPOP", "queue", "0")
            try client.flush()
            waiting.append(client)
            try waitForBlocked(index + 1, pusher)
        }
        for number in 0..<10 { try pusher.command("RPUSH", "queue", "\(number)") }
        try pusher.command(["RPUSH", "queue"].map { Array($0.utf8) } + (10..<25).map { Array("\($0)".utf8) })
        for (index, client) in waiting.enumerated() { #expect(try client.receive() == .bulks("queue", "\(index)")) }
        #expect(try pusher.command("LLEN", "queue") == .integer(5))
        try waitForBlocked(0, pusher)
        try server.stop()
    }

    @Test("what is pipelined behind a command that waits, waits too, and then goes on")
    func pipelining() throws {
        let server = try TestServer()
        let client = try server.connect()
        let other = try server.connect()
        for words in [["BLPOP", "a", "0"], ["SET", "k", "v"], ["BRPOP", "b", "0"], ["GET", "k"]] {
            client.enqueue(words.map { Array($0.utf8) })
        }
        try client.flush()
        try waitForBlocked(1, other)
        #expect(try other.command("EXISTS", "k") == .integer(0))
        try other.command("RPUSH", "a", "1")
        #expect(try client.receive() == .bulks("a", "1"))
        #expect(try client.receive() == .ok)
        try waitForBlocked(1, other)
        client.enqueue("PING")
        try client.flush()
        try other.command("RPUSH", "b", "2")
        #expect(try client.receive(3) == [.bulks("b", "2"), .bulk("v"), .status("PONG")])
        try server.stop()
    }

    @Test("a timeout ends the waiting with a null array")
    func timeout() throws {
        let server = try TestServer()
        let client = try server.connect()
        client.enqueue("BLPOP", "a", "b", "1")
        client.enqueue("BRPOPLPUSH", "a", "b", "1")
        client.enqueue("PING")
        try client.flush()
        #expect(try client.receive(3) == [.nullArray, .nullArray, .status("PONG")])
        try server.stop()
    }

    @Test("a client that goes away or is killed while it waits takes no element with it")
    func gone() throws {
        let server = try TestServer()
        let other = try server.connect()
        let leaving = try server.connect()
        leaving.enqueue("BLPOP", "a", "0")
        try leaving.flush()
        try waitForBlocked(1, other)
        leaving.close()
        try waitForBlocked(0, other)
        let killed = try server.connect()
        killed.enqueue("BLPOP", "a", "0")
        try killed.flush()
        try waitForBlocked(1, other)
        // The connection of the one that left, which may still be closing, would be killed as well.
        #expect(waitUntil { (try? other.command("CLIENT", "LIST").text?.split(separator: "\n").count) == 2 })
        #expect(try other.command("CLIENT", "KILL", "TYPE", "normal") == .integer(1))
        try other.command("RPUSH", "a", "x")
        #expect(try killed.receiveUntilClosed().isEmpty)
        #expect(try other.command("LRANGE", "a", "0", "-1") == .bulks("x"))
        try server.stop()
    }

    @Test("the end of CLIENT PAUSE does not wake those who wait for an element")
    func pause() throws {
        let server = try TestServer()
        let client = try server.connect()
        let other = try server.connect()
        client.enqueue("BLPOP", "a", "0")
        client.enqueue("PING")
        try client.flush()
        try waitForBlocked(1, other)
        try other.command("CLIENT", "PAUSE", "50")
        #expect(try other.command("PING") == .status("PONG"))
        try waitForBlocked(1, other)
        #expect(!client.hasInput(withinMilliseconds: 0))
        try other.command("RPUSH", "a", "x")
        #expect(try client.receive(2) == [.bulks("a", "x"), .status("PONG")])
        try server.stop()
    }

    @Test("what was popped for those who waited stays popped after kill -9")
    func killed() throws {
        let server = try TestServer()
        let waiting = try (0..<10).map { _ in try server.connect() }
        for client in waiting {
            client.enqueue("BRPOPLPUSH", "a", "b", "0")
            try client.flush()
        }
        let other = try server.connect()
        try waitForBlocked(10, other)
        for number in 0..<15 { other.enqueue("LPUSH", "a", "\(number)") }
        try other.flush()
        _ = try other.receive(15)
        for client in waiting { #expect(try client.receive().bytes != nil) }
        try server.kill()
        try server.start()
        let reader = try server.connect()
        #expect(try reader.command("LLEN", "a") == .integer(5))
        #expect(try reader.command("LLEN", "b") == .integer(10))
        try server.stop()
    }
}
