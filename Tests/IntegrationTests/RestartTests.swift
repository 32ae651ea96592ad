// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisTesting
import Testing

@Suite("Restart")
struct RestartTests {
    /// The settings of persistence under which a clean end must keep everything.
    static let policies = [
        ["appendonly yes", "appendfsync always"],
        ["appendonly yes", "appendfsync everysec"],
        ["appendonly yes", "appendfsync no"],
        ["appendonly no", "save 900 1"],
    ]

    @Test("after SHUTDOWN everything is found again", arguments: policies)
    func shutdownKeepsEverything(policy: [String]) throws {
        let server = try TestServer(configuration: policy)
        let client = try server.connect()
        try fill(client)
        client.enqueue("SHUTDOWN")
        try client.flush()
        try server.waitUntilEnded()
        try server.start()
        try expectFilled(try server.connect())
        try server.stop()
    }

    @Test("after SIGTERM everything is found again, any number of times")
    func termination() throws {
        let server = try TestServer(configuration: ["appendonly yes"])
        try fill(try server.connect())
        for round in 0..<5 {
            try server.restart()
            let client = try server.connect()
            try expectFilled(client)
            #expect(try client.command("INCR", "rounds") == .integer(Int64(round + 1)))
        }
        try server.stop()
    }

    @Test("after SIGKILL everything acknowledged is found again", arguments: policies.dropLast())
    func killing(policy: [String]) throws {
        let server = try TestServer(configuration: policy)
        try fill(try server.connect())
        for _ in 0..<3 {
            try server.killAndRestart()
            try expectFilled(try server.connect())
        }
        try server.stop()
    }

    @Test("a key whose time ran out while the server was down is gone")
    func expiryWhileDown() throws {
        let server = try TestServer(configuration: ["appendonly yes"])
        let client = try server.connect()
        try client.command("SET", "brief", "1", "PX", "1")
        try client.command("SET", "brief2", "1", "PX", "300")
        try client.command("SET", "lasting", "1", "EX", "1000")
        let end = monotonicSeconds() + 0.3
        try server.kill()
        #expect(waitUntil { monotonicSeconds() > end })
        try server.start()
        let after = try server.connect()
        #expect(try after.command("GET", "brief") == .nullBulk)
        #expect(try after.command("GET", "brief2") == .nullBulk)
        #expect(try after.command("TTL", "brief2") == .integer(-2))
        let left = try #require(try after.command("TTL", "lasting").number)
        #expect((900...1000).contains(left))
        #expect(waitUntil { (try? after.command("DBSIZE")) == .integer(1) })
        try server.stop()
    }

    @Test("SHUTDOWN NOSAVE loses nothing that the log holds")
    func shutdownWithoutSave() throws {
        let server = try TestServer(configuration: ["appendonly yes"])
        let client = try server.connect()
        try client.command("SET", "key", "value")
        client.enqueue("SHUTDOWN", "NOSAVE")
        try client.flush()
        try server.waitUntilEnded()
        try server.start()
        #expect(try server.command("GET", "key") == .bulk("value"))
        try server.stop()
    }

    /// Writes something of every form that a string can have on disk.
    private func fill(_ client: TestClient) throws {
        for number in 0..<2_000 { client.enqueue("SET", "key:\(number)", "value of \(number)") }
        for number in 0..<200 {
            client.enqueue("SELECT", "\(number % 16)")
            client.enqueue("SET", "{tag\(number % 7)}:\(number)", "x")
        }
        client.enqueue("SELECT", "0")
        try client.flush()
        for reply in try client.receive(2_000 + 400 + 1) { try #require(reply == .ok) }
        #expect(try client.command("SET", "empty", "") == .ok)
        #expect(try client.command("SET", String(repeating: "k", count: 5_000), "long key") == .ok)
        #expect(try client.command(["SET", "large"].map { Array($0.utf8) } + [Self.largeValue]) == .ok)
        #expect(try client.command("SETRANGE", "sparse", "100000", "end") == .integer(100_003))
        #expect(try client.command("SET", "timed", "1", "EX", "5000") == .ok)
        #expect(try client.command("INCRBY", "counter", "41") == .integer(41))
        #expect(try client.command("INCRBYFLOAT", "float", "10.5") == .bulk("10.5"))
        #expect(try client.command("RENAME", "key:0", "renamed") == .ok)
        #expect(try client.command("DEL", "key:1", "key:2") == .integer(2))
        #expect(try client.command("MOVE", "key:3", "9") == .integer(1))
    }

    private func expectFilled(_ client: TestClient) throws {
        for number in 4..<2_000 { client.enqueue("GET", "key:\(number)") }
        try client.flush()
        for number in 4..<2_000 { try #require(try client.receive() == .bulk("value of \(number)")) }
        #expect(try client.command("GET", "empty") == .bulk(""))
        #expect(try client.command("GET", String(repeating: "k", count: 5_000)) == .bulk("long key"))
        #expect(try client.command("GET", "large") == .bulk(Self.largeValue))
        #expect(try client.command("STRLEN", "sparse") == .integer(100_003))
        #expect(try client.command("GETRANGE", "sparse", "99999", "-1") == .bulk([0] + Array("end".utf8)))
        let left = try #require(try client.command("TTL", "timed").number)
        #expect((4_000...5_000).contains(left))
        #expect(try client.command("GET", "counter") == .bulk("41"))
        #expect(try client.command("GET", "float") == .bulk("10.5"))
        #expect(try client.command("GET", "renamed") == .bulk("value of 0"))
        #expect(try client.command("EXISTS", "key:1") == .integer(0))
        #expect(try client.command("EXISTS", "key:3") == .integer(0))
        try client.command("SELECT", "9")
        #expect(try client.command("GET", "key:3") == .bulk("value of 3"))
        try client.command("SELECT", "5")
        // 200 keys over 16 databases: 13 in each of the first eight.
        #expect(try client.command("DBSIZE") == .integer(13))
        try client.command("SELECT", "0")
    }

    private static let largeValue = (0..<3_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) }
}
