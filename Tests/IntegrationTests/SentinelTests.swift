// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisTesting
import Foundation
import Testing

@Suite("Sentinel", .enabled(if: RedisPeer.isInstalled))
struct SentinelTests {
    /// A redis-sentinel in a directory of its own.
    private final class Sentinel {
        let port = freePort()
        private let directory: TemporaryDirectory
        private let process: ChildProcess

        init(master: Int) throws {
            directory = try TemporaryDirectory()
            let configuration = directory.path + "/sentinel.conf"
            let lines = [
                "port \(port)", "bind 127.0.0.1", "dir \(directory.path)", "protected-mode no",
                "sentinel monitor pair 127.0.0.1 \(master) 2",
                "sentinel down-after-milliseconds pair 1000",
                "sentinel failover-timeout pair 5000",
            ]
            try Data((lines.joined(separator: "\n") + "\n").utf8).write(to: URL(fileURLWithPath: configuration))
            process = try ChildProcess(
                "redis-server",
                [configuration, "--sentinel"],
                directory: directory.path,
                output: directory.path + "/output",
                errors: directory.path + "/output"
            )
        }

        /// A field of what it knows of the master.
        func field(_ name: String) -> String? {
            guard let client = try? TestClient(port: port, timeoutSeconds: 5),
                let reply = try? client.command("SENTINEL", "MASTER", "pair"), let elements = reply.elements
            else { return nil }
            let texts = elements.map { $0.text ?? "" }
            return zip(texts, texts.dropFirst()).enumerated().first { $0.offset % 2 == 0 && $0.element.0 == name }?
                .element.1
        }

        /// Sends it a command.
        func command(_ words: String...) throws -> TestReply {
            try TestClient(port: port, timeoutSeconds: 20).command(words.map { Array($0.utf8) })
        }

        var output: String { textOfFile(directory.path + "/output") }

        func stop() throws {
            process.signal(15)
            try process.waitUntilEnded()
        }
    }

    @Test("Sentinel promotes the replica of a dead master, and the old master comes back as its replica")
    func failover() throws {
        let settings = ["checkpoint-interval 2"]
        let master = try TestServer(configuration: settings)
        let replica = try TestServer(configuration: settings)
        for server in [master, replica] { server.keepsPort = true }
        try replica.command("SLAVEOF", "127.0.0.1", "\(master.port)")
        try level(master, replica)
        for number in 0..<200 { try master.command("SET", "key:\(number)", "\(number)") }
        let sentinels = try (0..<3).map { _ in try Sentinel(master: master.port) }
        let isWatched = waitUntil(timeoutSeconds: 60) {
            sentinels.allSatisfy { $0.field("num-slaves") == "1" && $0.field("num-other-sentinels") == "2" }
        }
        try #require(isWatched, "\(sentinels[0].output)")
        try level(master, replica)
        try master.kill()
        let isPromoted = waitUntil(timeoutSeconds: 60) { (try? replica.info("role")) == "master" }
        try #require(isPromoted, "\(sentinels.map(\.output))")
        #expect(textOfFile(replica.configurationFile).contains("slaveof") == false)
        try replica.command("SET", "after", "failover")
        try master.start()
        let isBack = waitUntil(timeoutSeconds: 60) { (try? master.info("master_link_status")) == "up" }
        try #require(isBack, "\(sentinels.map(\.output)) \(master.output)")
        try level(replica, master)
        try expectSameDigest(replica, master)
        #expect(try master.command("GET", "after") == .bulk("failover"))
        #expect(try replica.number("sync_full") == 0, "it had nothing that the new master lacks")
        for sentinel in sentinels { try sentinel.stop() }
        try master.stop()
        try replica.stop()
    }

    @Test("a failover that Sentinel is asked for loses no write acknowledged with min-slaves-to-write 1")
    func orderlyFailover() throws {
        let settings = FailoverTests.needsReplica + ["checkpoint-interval 2"]
        let servers = try (0..<2).map { _ in try TestServer(configuration: settings) }
        try servers[1].command("SLAVEOF", "127.0.0.1", "\(servers[0].port)")
        try level(servers[0], servers[1])
        let sentinels = try (0..<3).map { _ in try Sentinel(master: servers[0].port) }
        let isWatched = waitUntil(timeoutSeconds: 60) {
            sentinels.allSatisfy { $0.field("num-slaves") == "1" && $0.field("num-other-sentinels") == "2" }
        }
        try #require(isWatched, "\(sentinels[0].output)")
        let writers = (0..<3).map { FailoverTests.OrderlyWriter("w\($0)", servers.map(\.port)) }
        try #require(waitUntil(timeoutSeconds: 60) { writers.allSatisfy { $0.acknowledged.count > 200 } })
        // Sentinel must know of the replica's state for it to be a candidate, which takes some seconds.
        let isAccepted = waitUntil(timeoutSeconds: 60) {
            (try? sentinels[0].command("SENTINEL", "FAILOVER", "pair")) == .ok
        }
        try #require(isAccepted, "\(sentinels[0].output)")
        let isPromoted = waitUntil(timeoutSeconds: 60) { (try? servers[1].info("role")) == "master" }
        try #require(isPromoted, "\(sentinels.map(\.output))")
        let isBack = waitUntil(timeoutSeconds: 60) { (try? servers[0].info("master_link_status")) == "up" }
        try #require(isBack, "\(sentinels.map(\.output)) \(servers[0].output)")
        let before = writers.map { $0.acknowledged.count }
        #expect(
            waitUntil(timeoutSeconds: 60) { zip(writers, before).allSatisfy { $0.acknowledged.count > $1 + 100 } },
            "writes go on"
        )
        let keys = writers.flatMap { $0.stop() }
        try level(servers[1], servers[0])
        try FailoverTests.expectAll(keys, on: servers[1])
        try expectSameDigest(servers[1], servers[0])
        #expect(try servers[1].number("sync_full") == 0, "the old master goes on where it stands")
        for sentinel in sentinels { try sentinel.stop() }
        for server in servers { try server.stop() }
    }
}
