// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisTesting
import Foundation
import Testing

@Suite("Failover")
struct FailoverTests {
    static let needsReplica = ["min-slaves-to-write 1", "min-slaves-max-lag 10"]

    @Test("a replica that is promoted first takes what its master has acknowledged and is still on its way")
    func drain() throws {
        let pair = try ReplicationPair(masterConfiguration: Self.needsReplica)
        try pair.master.command("SET", "first", "1")
        try pair.waitUntilLevel()
        pair.proxy.freeze()
        let client = try pair.master.connect()
        for number in 0..<5_000 { client.enqueue("SET", "key:\(number)", "\(number)") }
        try client.flush()
        #expect(try client.receive(5_000).allSatisfy { $0 == .ok })
        #expect(try pair.replica.command("DBSIZE") == .integer(1))
        #expect(try pair.replica.command("SLAVEOF", "NO", "ONE") == .ok)
        let other = try pair.replica.connect(timeoutSeconds: 60)
        other.enqueue("DBSIZE")
        try other.flush()
        pair.proxy.thaw()
        #expect(try other.receive() == .integer(5_001), "commands wait until all is there")
        #expect(try pair.replica.info("role") == "master")
        #expect(try pair.replica.command("SET", "own", "1") == .ok)
        // The old master has lost its replica, and takes no writes that would be lost.
        #expect(waitUntil { (try? pair.master.command("SET", "late", "1").isError) == true })
        try pair.master.command("SLAVEOF", "127.0.0.1", "\(pair.replica.port)")
        try level(pair.replica, pair.master)
        try expectSameDigest(pair.replica, pair.master)
        #expect(try pair.replica.number("sync_full") == 0, "it has nothing that the new master lacks")
        try pair.stop()
    }

    @Test("a master that is shut down first sends its replica what it has acknowledged")
    func shutdown() throws {
        let pair = try ReplicationPair()
        try pair.master.command("SET", "first", "1")
        try pair.waitUntilLevel()
        pair.proxy.freeze()
        // More than the buffers of the connections hold.
        let client = try pair.master.connect(timeoutSeconds: 60)
        let value = filledBytes(UInt8(ascii: "v"), count: 64 << 10)
        for number in 0..<400 { client.enqueue([Array("SET".utf8), Array("key:\(number)".utf8), value]) }
        try client.flush()
        #expect(try client.receive(400).allSatisfy { $0 == .ok })
        client.enqueue("SHUTDOWN")
        client.enqueue("SET", "late", "1")
        try client.flush()
        #expect(!client.hasInput(withinMilliseconds: 200), "it waits for the replica")
        pair.proxy.thaw()
        try pair.master.waitUntilEnded()
        #expect(try pair.replica.command("SLAVEOF", "NO", "ONE") == .ok)
        #expect(try pair.replica.command("DBSIZE") == .integer(401))
        try pair.replica.command("SET", "own", "1")
        // It comes back as a replica and goes on where it stood.
        try pair.master.start()
        try pair.master.command("SLAVEOF", "127.0.0.1", "\(pair.replica.port)")
        try level(pair.replica, pair.master)
        try expectSameDigest(pair.replica, pair.master)
        #expect(try pair.replica.number("sync_full") == 0)
        try pair.stop()
    }

    @Test("the master's silence does not keep a replica from being promoted")
    func silentMaster() throws {
        let pair = try ReplicationPair()
        try pair.master.command("SET", "a", "1")
        try pair.waitUntilLevel()
        pair.proxy.freeze()
        #expect(try pair.replica.command("SLAVEOF", "NO", "ONE") == .ok)
        #expect(try pair.replica.command("SET", "own", "1") == .ok)
        #expect(try pair.replica.info("role") == "master")
        pair.proxy.thaw()
        try pair.stop()
    }

    @Test("a promotion can be taken back while it waits")
    func changeOfMind() throws {
        let pair = try ReplicationPair()
        pair.proxy.freeze()
        let client = try pair.replica.connect(timeoutSeconds: 60)
        client.enqueue("MULTI")
        client.enqueue("SLAVEOF", "NO", "ONE")
        client.enqueue("SLAVEOF", "127.0.0.1", "\(pair.master.port)")
        client.enqueue("EXEC")
        client.enqueue("PING")
        try client.flush()
        #expect(try client.receive(5).last == .status("PONG"))
        pair.proxy.thaw()
        try pair.waitUntilLevel()
        #expect(try pair.replica.command("SET", "a", "1").isError)
        try pair.stop()
    }

    /// Writes numbered keys, one after the other, to whichever of two servers takes them.
    final class OrderlyWriter: @unchecked Sendable {
        private let servers: [Int]
        private let lock = NSLock()
        private var isStopped = false
        private var acknowledgedKeys: [String] = []
        private let done = DispatchSemaphore(value: 0)
        private let name: String

        init(_ name: String, _ ports: [Int]) {
            servers = ports
            self.name = name
            Thread { [self] in run() }.start()
        }

        var acknowledged: [String] { lock.withLock { acknowledgedKeys } }

        func stop() -> [String] {
            lock.withLock { isStopped = true }
            done.wait()
            return acknowledged
        }

        private func run() {
            var number = 0
            var current = 0
            var client: TestClient?
            while !lock.withLock({ isStopped }) {
                let keys = (0..<10).map { "\(name):\(number + $0)" }
                number += 10
                do {
                    let connection = try client ?? TestClient(port: servers[current], timeoutSeconds: 20)
                    client = connection
                    for key in keys { connection.enqueue("SET", key, key) }
                    try connection.flush()
                    var isRefused = false
                    for key in keys {
                        if try connection.receive() == .ok {
                            lock.withLock { acknowledgedKeys.append(key) }
                        } else {
                            isRefused = true
                        }
                    }
                    if isRefused {
                        client = nil
                        current = 1 - current
                        usleep(5_000)
                    }
                } catch {
                    client = nil
                    current = 1 - current
                    usleep(5_000)
                }
            }
            done.signal()
        }
    }

    static func expectAll(_ keys: [String], on server: TestServer) throws {
        let client = try server.connect()
        var missing: [String] = []
        for start in stride(from: 0, to: keys.count, by: 500) {
            let part = Array(keys[start..<min(start + 500, keys.count)])
            let reply = try client.command((["MGET"] + part).map { Array($0.utf8) })
            for (key, value) in zip(part, reply.elements ?? []) where value.text != key { missing.append(key) }
        }
        #expect(missing.isEmpty, "\(missing.count) of \(keys.count) are lost, such as \(missing.prefix(3))")
    }

    @Test("no write that was acknowledged with min-slaves-to-write 1 is lost when operators change roles")
    func operators() throws {
        let servers = try (0..<2).map { _ in try TestServer(configuration: Self.needsReplica) }
        try servers[1].command("SLAVEOF", "127.0.0.1", "\(servers[0].port)")
        try level(servers[0], servers[1])
        let writers = (0..<4).map { OrderlyWriter("w\($0)", servers.map(\.port)) }
        for round in 0..<6 {
            let (master, replica) = (servers[round % 2], servers[1 - round % 2])
            let before = writers.reduce(0) { $0 + $1.acknowledged.count }
            try #require(
                waitUntil(timeoutSeconds: 60) { writers.reduce(0) { $0 + $1.acknowledged.count } > before + 400 },
                "\(master.output.suffix(2000))"
            )
            try replica.command("SLAVEOF", "NO", "ONE")
            try master.command("SLAVEOF", "127.0.0.1", "\(replica.port)")
            try #require(waitUntil(timeoutSeconds: 60) { (try? master.info("master_link_status")) == "up" })
        }
        let keys = writers.flatMap { $0.stop() }
        try level(servers[0], servers[1])
        try expectSameDigest(servers[0], servers[1])
        try Self.expectAll(keys, on: servers[0])
        for server in servers { #expect(try server.number("sync_full") <= 1) }
        for server in servers { try server.stop() }
    }
}
