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
}
