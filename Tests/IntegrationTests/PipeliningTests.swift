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
}
