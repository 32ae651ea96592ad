// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisTesting
import Foundation
import Testing

@Suite("Disk full", .enabled(if: LoopVolume.isPossible, "mounting a small file system needs root"), .serialized)
struct DiskFullTests {
    @Test("writes are refused, reads go on, deleting makes room, and nothing is lost")
    func deletingMakesRoom() throws {
        let volume = try LoopVolume(megabytes: 300)
        let server = try TestServer(configuration: ["appendonly yes"], directory: volume.path)
        let client = try server.connect(timeoutSeconds: 60)
        var written = try writeUntilRefused(client, prefix: "a")
        try expect(written, client)

        // Everything that reads goes on, and so does deleting.
        #expect(try client.command("PING").isError == false || client.command("GET", "a:0").isError == false)
        #expect(try client.command("DBSIZE") == .integer(Int64(written)))
        for number in written / 2..<written { client.enqueue("DEL", "a:\(number)") }
        try client.flush()
        for _ in written / 2..<written { #expect(try client.receive() == .integer(1)) }
        written /= 2
        #expect(waitUntil(timeoutSeconds: 60) { (try? client.command("SET", "again", "1")) == .ok })
        #expect(try client.command([Array("SET".utf8), Array("large".utf8), Self.value]) == .ok)
        try expect(written, client)

        try server.restart()
        let after = try server.connect(timeoutSeconds: 60)
        try expect(written, after)
        #expect(try after.command("GET", "again") == .bulk("1"))
        #expect(try after.command("DBSIZE") == .integer(Int64(written + 2)))
        try server.stop()
    }

    @Test(
        "everything can be deleted from a full disk, in any order, and then there is room again",
        arguments: [(megabytes: 150, bytes: 1000, segment: "1mb"), (200, 100, "64mb"), (300, 50_000, "64mb")]
    )
    func everythingCanBeDeleted(megabytes: Int, bytes: Int, segment: String) throws {
        let volume = try LoopVolume(megabytes: megabytes)
        let configuration = ["appendonly yes", "log-segment-size \(segment)"]
        let server = try TestServer(configuration: configuration, directory: volume.path)
        let client = try server.connect(timeoutSeconds: 60)
        let value = filledBytes(UInt8(ascii: "v"), count: bytes)
        var keys: [[UInt8]] = []
        var isFull = false
        while !isFull {
            let batch = (keys.count..<keys.count + 200).map { Array("a:\($0)".utf8) }
            for key in batch { client.enqueue([Array("SET".utf8), key, value]) }
            try client.flush()
            for (key, reply) in zip(batch, try client.receive(batch.count)) {
                if reply == .ok { keys.append(key) } else { isFull = true }
            }
        }
        var generator = SeededGenerator()
        print("disk full: CODIS_TEST_SEED=\(generator.seed)")
        keys.shuffle(using: &generator)
        for start in stride(from: 0, to: keys.count, by: 200) {
            let batch = keys[start..<min(start + 200, keys.count)]
            for key in batch { client.enqueue([Array("DEL".utf8), key]) }
            try client.flush()
            for reply in try client.receive(batch.count) { try #require(reply == .integer(1)) }
        }
        let words = [Array("SET".utf8), Array("again".utf8), value]
        #expect(waitUntil(timeoutSeconds: 60) { (try? client.command(words)) == .ok })
        #expect(try client.command("DBSIZE") == .integer(1))
        try server.stop()
    }

    @Test("a server killed on a full disk comes back with everything acknowledged")
    func killedWhileFull() throws {
        let volume = try LoopVolume(megabytes: 300)
        let server = try TestServer(configuration: ["appendonly yes"], directory: volume.path)
        let written = try writeUntilRefused(try server.connect(timeoutSeconds: 60), prefix: "a")
        try server.killAndRestart()
        let client = try server.connect(timeoutSeconds: 60)
        try expect(written, client)
        #expect(try client.command("FLUSHALL") == .ok)
        #expect(waitUntil(timeoutSeconds: 60) { (try? client.command("SET", "again", "1")) == .ok })
        try server.stop()
    }

    @Test("space taken and given back by somebody else is noticed by itself")
    func strangerMakesRoom() throws {
        let volume = try LoopVolume(megabytes: 300)
        let server = try TestServer(configuration: ["appendonly yes"], directory: volume.path)
        let client = try server.connect(timeoutSeconds: 60)
        #expect(try client.command("SET", "before", "1") == .ok)
        try volume.fill()
        let written = try writeUntilRefused(client, prefix: "a")
        #expect(try client.command("GET", "before") == .bulk("1"))
        try volume.empty()
        #expect(waitUntil(timeoutSeconds: 60) { (try? client.command("SET", "after", "1")) == .ok })
        try expect(written, client)
        try server.killAndRestart()
        let after = try server.connect(timeoutSeconds: 60)
        try expect(written, after)
        #expect(try after.command("GET", "after") == .bulk("1"))
        try server.stop()
    }

    @Test(
        "a full resync for which there is no room leaves the old data, which are served, and succeeds when there is",
        arguments: [1, 60]
    )
    func fullResync(leftMegabytes: Int) throws {
        let volume = try LoopVolume(megabytes: 400)
        // What is received has room in 60 MB, but what is made of it has not.
        let master = try TestServer(configuration: ["rdbcompression no"])
        let client = try master.connect(timeoutSeconds: 60)
        for number in 0..<40_000 { client.enqueue([Array("SET".utf8), Array("key:\(number)".utf8), Self.row]) }
        try client.flush()
        #expect(try client.receive(40_000).allSatisfy { $0 == .ok })
        let replica = try TestServer(directory: volume.path)
        #expect(try replica.command("SET", "old", "1") == .ok)
        try volume.fill(leavingKilobytes: leftMegabytes << 10)
        try replica.command("SLAVEOF", "127.0.0.1", "\(master.port)")
        let failures = ["Write error or short write", "Failed trying to load the MASTER", "Opening the temp file"]
        let failed = try Regex("(\(failures.joined(separator: "|"))).*[Nn]o space")
        #expect(
            waitUntil(timeoutSeconds: 90) { !replica.isRunning || replica.output.matches(of: failed).count >= 2 },
            "\(replica.output.suffix(3000))"
        )
        try #require(replica.isRunning, "\(replica.output.suffix(3000))")
        #expect(try replica.command("GET", "old") == .bulk("1"))
        #expect(try replica.command("DBSIZE") == .integer(1))
        try volume.empty()
        try #require(replica.isRunning, "\(replica.output.suffix(3000))")
        try level(master, replica, timeoutSeconds: 120)
        try expectSameDigest(master, replica)
        try replica.stop()
        try master.stop()
    }

    @Test("a server that has no room to make its files says so and exits with status 1")
    func noRoomToBegin() throws {
        let volume = try LoopVolume(megabytes: 150)
        for left in [0, 4, 12, 32, 96, 256, 1024] {
            try volume.fill(leavingKilobytes: left)
            do {
                let server = try TestServer(directory: volume.path)
                try server.kill()
                Issue.record("it started with \(left) KB left")
            } catch TestServerError.didNotStart(let ending, let output) {
                #expect(ending == "\(ChildProcess.Ending.exited(1))", "\(left) KB left: \(output.suffix(2000))")
                #expect(output.lowercased().contains("no space left on "), "\(left) KB left: \(output.suffix(2000))")
            }
            try volume.empty()
        }
        let server = try TestServer(directory: volume.path)
        #expect(try server.command("SET", "key", "value") == .ok)
        try server.stop()
    }

    private static let row = filledBytes(UInt8(ascii: "r"), count: 1_000)
    private static let value = filledBytes(UInt8(ascii: "v"), count: 50_000)

    /// Sets one numbered key after the other until an error comes; returns how many were accepted before it.
    private func writeUntilRefused(_ client: TestClient, prefix: String) throws -> Int {
        let batch = 50
        for start in stride(from: 0, to: 40_000, by: batch) {
            for number in start..<start + batch {
                client.enqueue([Array("SET".utf8), Array("\(prefix):\(number)".utf8), Self.value])
            }
            try client.flush()
            let replies = try client.receive(batch)
            guard let refused = replies.firstIndex(where: { $0 != .ok }) else { continue }
            let text = try #require(replies[refused].text)
            #expect(replies[refused].isError && text.hasPrefix("MISCONF"), "\(text)")
            // Some later ones of the batch may have been accepted; they are taken away to make counting simple.
            for number in start + refused..<start + batch { client.enqueue("DEL", "\(prefix):\(number)") }
            try client.flush()
            for reply in try client.receive(batch - refused) { #expect(!reply.isError, "\(reply)") }
            return start + refused
        }
        Issue.record("the disk never became full")
        return 40_000
    }

    private func expect(_ count: Int, _ client: TestClient) throws {
        for start in stride(from: 0, to: count, by: 100) {
            for number in start..<min(start + 100, count) { client.enqueue("GET", "a:\(number)") }
            try client.flush()
            for number in start..<min(start + 100, count) {
                let found = try client.receive()
                try #require(found.bytes.map { sameBytes($0, Self.value) } == true, "a:\(number) is \(found)")
            }
        }
    }
}
