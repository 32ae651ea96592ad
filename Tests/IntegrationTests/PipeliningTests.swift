// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisTesting
import Testing

@Suite("Pipelining")
struct PipeliningTests {
    @Test("100,000 SETs and GETs are sent before the first reply is read")
    func withoutLimit() throws {
        let server = try TestServer()
        let client = try server.connect(timeoutSeconds: 60)
        for number in 0..<100_000 {
            client.enqueue("SET", "key:\(number)", "value:\(number)")
            client.enqueue("GET", "key:\(number)")
        }
        try client.flush()
        for number in 0..<100_000 {
            try #require(try client.receive() == .ok)
            try #require(try client.receive() == .bulk("value:\(number)"))
        }
        #expect(try client.command("DBSIZE") == .integer(100_000))
        try server.kill()
    }

    @Test("clients that pipeline do not disturb each other")
    func manyClients() throws {
        let server = try TestServer()
        let clients = try (0..<50).map { _ in try server.connect() }
        for (index, client) in clients.enumerated() {
            for number in 0..<200 {
                client.enqueue("SELECT", "\(index % 16)")
                client.enqueue("SET", "k\(index)", "\(index):\(number)")
                client.enqueue("GET", "k\(index)")
                client.enqueue("NOSUCH")
            }
            try client.flush()
        }
        for (index, client) in clients.enumerated() {
            for number in 0..<200 {
                try #require(try client.receive() == .ok)
                try #require(try client.receive() == .ok)
                try #require(try client.receive() == .bulk("\(index):\(number)"))
                try #require(try client.receive() == .error("ERR unknown command 'NOSUCH'"))
            }
        }
        try server.stop()
    }

    @Test("requests that take longer together than a tick are all run, those of each client in their order")
    func longTicks() throws {
        let server = try TestServer()
        let clients = try (0..<20).map { _ in try server.connect() }
        let filling = String(repeating: ".", count: 60)
        for round in 0..<5 {
            for (index, client) in clients.enumerated() {
                // Every other one sends little.
                for number in 0..<(index % 2 == 0 ? 10 : 1) {
                    client.enqueue("DEBUG", "SLEEP", "0.0005")
                    client.enqueue("APPEND", "client:\(index)", "\(round):\(number)\(filling) ")
                    client.enqueue("INCR", "all")
                }
                try client.flush()
            }
            for (index, client) in clients.enumerated() {
                for number in 0..<(index % 2 == 0 ? 10 : 1) {
                    try #require(try client.receive() == .ok)
                    let length = (round * (index % 2 == 0 ? 10 : 1) + number + 1) * 64
                    try #require(try client.receive() == .integer(Int64(length)))
                    _ = try #require(try client.receive().number)
                }
            }
        }
        #expect(try server.command("GET", "all") == .bulk("\(5 * (10 * 10 + 10))"))
        let texts = (0..<5).flatMap { round in (0..<10).map { "\(round):\($0)\(filling) " } }
        #expect(try server.command("GET", "client:0") == .bulk(texts.joined()))
        try server.stop()
    }

    @Test("a client that goes away with replies unread hurts nobody")
    func abandoned() throws {
        let server = try TestServer()
        let witness = try server.connect()
        try witness.command([Array("SET".utf8), Array("large".utf8), filledBytes(1, count: 1_000_000)])
        for _ in 0..<20 {
            let client = try server.connect()
            for _ in 0..<20 { client.enqueue("GET", "large") }
            try client.flush()
            client.close()
        }
        #expect(try witness.command("PING") == .status("PONG"))
        #expect(waitUntil { (try? server.info("connected_clients")) == "2" })
        try server.stop()
    }

    @Test("what a client sent before it closed its connection is run, whatever it does not wait for")
    func sentAndClosed() throws {
        let server = try TestServer()
        let witness = try server.connect()
        for round in 0..<50 {
            let client = try server.connect()
            for number in 0..<40 { client.enqueue("RPUSH", "list:\(round)", "\(number)") }
            try client.flush()
            client.close()
        }
        for round in 0..<50 {
            let deadline = ContinuousClock.now + .seconds(10)
            while try witness.command("LLEN", "list:\(round)") != .integer(40) {
                try #require(ContinuousClock.now < deadline, "list:\(round) is not complete")
            }
        }
        try server.stop()
    }

    @Test("what a client sent and ended its side behind is answered")
    func sentAndFinished() throws {
        let server = try TestServer()
        for round in 0..<50 {
            let client = try server.connect()
            for number in 0..<20 { client.enqueue("INCRBY", "sum:\(round)", "\(number)") }
            try client.flush()
            client.finishSending()
            var sum = 0
            for number in 0..<20 {
                sum += number
                try #require(try client.receive() == .integer(Int64(sum)))
            }
            #expect(try client.receiveUntilClosed() == [])
        }
        try server.stop()
    }

    @Test("clients that kill each other while all of them send are gone or served, and the server goes on")
    func killingEachOther() throws {
        let server = try TestServer()
        for round in 0..<20 {
            let clients = try (0..<10).map { _ in try server.connect() }
            for client in clients { try #require(try client.command("CLIENT", "SETNAME", "fighter") == .ok) }
            let list = try #require(try server.command("CLIENT", "LIST").text)
            let addresses = list.split(separator: "\n").filter { $0.contains(" name=fighter ") }
                .compactMap { $0.split(separator: " ").first { $0.hasPrefix("addr=") }?.dropFirst(5) }
            try #require(addresses.count == clients.count)
            for (index, client) in clients.enumerated() {
                client.enqueue("INCR", "begun:\(round)")
                client.enqueue("CLIENT", "KILL", String(addresses[(index + 1) % addresses.count]))
                client.enqueue("INCR", "ended:\(round)")
                try client.flush()
            }
            // Whoever was not killed before its turn has replies; a killed one sees the end of its connection.
            for client in clients { _ = try? client.receive(3) }
            let witness = try server.connect()
            let begun = try #require(try witness.command("GET", "begun:\(round)").text.flatMap(Int.init))
            let ended = try #require(try witness.command("GET", "ended:\(round)").text.flatMap(Int.init))
            #expect((1...10).contains(begun) && ended == begun)
            for client in clients { client.close() }
        }
        try server.stop()
    }
}
