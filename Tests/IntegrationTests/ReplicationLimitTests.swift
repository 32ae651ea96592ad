// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisTesting
import Foundation
import Testing

@Suite("Limits of replication")
struct ReplicationLimitTests {
    /// A client that has become a replica by hand, and stands behind its snapshot.
    private final class HandReplica {
        let client: TestClient
        /// The name of the master's history.
        let identifier: String
        var offset: Int

        init(_ master: TestServer, timeoutSeconds: Int = 30) throws {
            client = try master.connect(timeoutSeconds: timeoutSeconds)
            #expect(try client.command("REPLCONF", "listening-port", "1234") == .ok)
            try client.sendRaw("*3\r\n$5\r\nPSYNC\r\n$1\r\n?\r\n$2\r\n-1\r\n")
            let words = try Self.line(client).split(separator: " ")
            #expect(words.first == "+FULLRESYNC")
            identifier = String(words[1])
            offset = try #require(Int(words[2]))
            let header = try Self.line(client)
            _ = try client.receiveRaw(#require(Int(header.dropFirst())))
        }

        /// The next line that is not empty.
        private static func line(_ client: TestClient) throws -> String {
            var bytes: [UInt8] = []
            while true {
                let byte = try client.receiveRaw(1)
                if byte != [0x0A] {
                    bytes += byte
                } else if !bytes.isEmpty {
                    return String(decoding: bytes.dropLast(), as: UTF8.self)
                }
            }
        }

        func acknowledge() throws {
            client.enqueue("REPLCONF", "ACK", "\(offset)")
            try client.flush()
        }
    }

    /// The name of a server's history.
    private func identifier(_ server: TestServer) throws -> String {
        let replica = try HandReplica(server)
        defer { replica.client.close() }
        return replica.identifier
    }

    private func write(_ server: TestServer, megabytes: Int, prefix: String = "key") throws {
        let client = try server.connect(timeoutSeconds: 120)
        let value = filledBytes(UInt8(ascii: "v"), count: 64 << 10)
        for number in 0..<(megabytes * 16) {
            client.enqueue([Array("SET".utf8), Array("\(prefix):\(number)".utf8), value])
        }
        try client.flush()
        #expect(try client.receive(megabytes * 16).allSatisfy { $0 == .ok })
    }

    // MARK: Slow and silent replicas

    @Test("what waits for a replica that does not read lies in the log, and it gets all of it in the end")
    func slowReplica() throws {
        let master = try TestServer(configuration: ["rdbcompression no"])
        let replica = try HandReplica(master, timeoutSeconds: 120)
        try write(master, megabytes: 24)
        let list = try #require(try master.command("CLIENT", "LIST").text)
        let line = try #require(list.split(separator: "\n").first { $0.contains(" flags=S ") })
        let waiting = try #require(line.firstMatch(of: /omem=([0-9]+)/).flatMap { Int($0.1) })
        #expect(waiting < 4 << 20, "\(line)")
        var bytes = 0
        for number in 0..<(24 * 16) {
            var reply = try replica.client.receive()
            while reply.elements?.first?.text != "SET" { reply = try replica.client.receive() }
            #expect(reply.elements?[1].text == "key:\(number)")
            bytes += reply.elements?[2].bytes?.count ?? 0
        }
        #expect(bytes == 24 << 20)
        replica.client.close()
        try master.stop()
    }

    @Test("a replica that does not read is closed when more waits than its limit allows")
    func outputLimit() throws {
        let master = try TestServer(configuration: ["client-output-buffer-limit slave 200kb 0 0"])
        let replica = try HandReplica(master)
        #expect(try master.info("connected_slaves") == "1")
        try write(master, megabytes: 16)
        try master.waitFor("connected_slaves", "0")
        #expect(master.output.contains("scheduled to be closed ASAP for overcoming of output buffer limits"))
        replica.client.close()
        try master.stop()
    }

    @Test("a replica that does not acknowledge for repl-timeout is closed")
    func silentReplica() throws {
        let master = try TestServer(configuration: ["repl-timeout 2", "repl-ping-slave-period 1"])
        let replica = try HandReplica(master)
        // What a replica that speaks SYNC never does is not asked of it.
        let old = try master.connect(timeoutSeconds: 60)
        try old.sendRaw("SYNC\r\n")
        #expect(waitUntil { master.output.contains("Disconnecting timedout slave: 127.0.0.1:1234") })
        try master.waitFor("connected_slaves", "1")
        #expect(try master.info("slave0")?.contains("port=0,state=online") == true)
        replica.client.close()
        old.close()
        try master.stop()
    }

    @Test("writes are refused while too few replicas have acknowledged lately, and taken again when they have")
    func maximumLag() throws {
        let master = try TestServer(configuration: ["min-slaves-to-write 1", "min-slaves-max-lag 2"])
        let refused = TestReply.error("NOREPLICAS Not enough good slaves to write.")
        #expect(try master.command("SET", "a", "1") == refused)
        let replica = try HandReplica(master)
        for _ in 0..<2 {
            try replica.acknowledge()
            #expect(waitUntil { (try? master.command("SET", "a", "1")) == .ok })
            #expect(try master.info("min_slaves_good_slaves") == "1")
            // It does not acknowledge any more.
            #expect(waitUntil { (try? master.command("SET", "a", "2")) == refused })
            #expect(try master.command("GET", "a").isError == false)
            #expect(try master.info("connected_slaves") == "1")
        }
        replica.client.close()
        try master.stop()
    }

    // MARK: Slow and silent masters

    @Test(
        "a replica leaves a master that is silent for repl-timeout, in every state",
        arguments: [
            (0, "Timeout connecting to the MASTER..."), (1, "Timeout receiving bulk data from MASTER..."),
            (2, "MASTER timeout: no data nor PING received..."),
        ]
    )
    func silentMaster(stage: Int, message: String) throws {
        let answers: [StubMaster.Answers] = [
            .init(partialResync: nil), .fullResync(Array("$1000\r\nREDIS0006".utf8)), .fullResync(StubMaster.snapshot),
        ]
        let master = try StubMaster(answers[stage])
        let replica = try TestServer(configuration: ["repl-timeout 2", "slaveof 127.0.0.1 \(master.port)"])
        #expect(waitUntil { replica.output.contains(message) }, "\(replica.output)")
        if stage == 2 { #expect(try replica.command("GET", "key") == .bulk("value")) }
        // It tries again.
        let attempts = replica.output.matches(of: /MASTER <-> SLAVE sync started/).count
        #expect(waitUntil { replica.output.matches(of: /MASTER <-> SLAVE sync started/).count > attempts })
        try replica.stop()
        master.end()
    }

    @Test("a master that knows SYNC only is followed too, anew after each loss, and gets no acknowledgements")
    func oldMaster() throws {
        let change = Array("*3\r\n$3\r\nSET\r\n$5\r\nafter\r\n$1\r\n1\r\n".utf8)
        let master = try StubMaster(
            .init(
                partialResync: Array("-ERR unknown command 'PSYNC'\r\n".utf8),
                sync: StubMaster.snapshot + change
            )
        )
        let replica = try TestServer()
        try replica.command("SET", "old", "1")
        try replica.command("SLAVEOF", "127.0.0.1", "\(master.port)")
        #expect(waitUntil { (try? replica.command("GET", "after")) == .bulk("1") }, "\(replica.output)")
        #expect(try replica.command("GET", "key") == .bulk("value"))
        #expect(try replica.command("GET", "old") == .nullBulk)
        #expect(try replica.info("master_link_status") == "up")
        #expect(replica.output.contains("Retrying with SYNC..."))
        #expect(!master.received.contains("ACK"))
        // Others can follow it.
        let third = try TestServer(configuration: ["slaveof 127.0.0.1 \(replica.port)"])
        try level(replica, third)
        try expectSameDigest(replica, third)
        try third.stop()
        try replica.killAndRestart()
        #expect(try replica.command("GET", "after") == .bulk("1"))
        try replica.stop()
        master.end()
    }

    @Test("REPLCONF GETACK is answered at once with the offset that was reached")
    func acknowledgementOnRequest() throws {
        let request = "*3\r\n$8\r\nREPLCONF\r\n$6\r\nGETACK\r\n$1\r\n*\r\n"
        let stream = String(repeating: request, count: 40)
        let master = try StubMaster(.fullResync(StubMaster.snapshot + Array(stream.utf8)))
        let replica = try TestServer(configuration: ["slaveof 127.0.0.1 \(master.port)"])
        // One a second comes unasked, so that so many soon are answers.
        let count = { master.received.matches(of: /\$3\r\nACK\r\n/).count }
        #expect(waitUntil(timeoutSeconds: 20) { count() >= 40 }, "\(count())")
        let length = stream.utf8.count
        #expect(waitUntil { master.received.contains("ACK\r\n$\("\(length)".utf8.count)\r\n\(length)\r\n") })
        try replica.stop()
        master.end()
    }

    // MARK: Histories

    @Test("a history gets another name at a promotion and after a reboot, and keeps it otherwise")
    func identifiers() throws {
        let pair = try ReplicationPair(masterConfiguration: ["appendonly yes"])
        let first = try identifier(pair.master)
        #expect(try identifier(pair.replica) == first, "a replica goes on in its master's history")
        try pair.master.command("SET", "a", "1")
        try pair.master.killAndRestart()
        #expect(try identifier(pair.master) == first)
        pair.proxy.setTarget(port: pair.master.port)
        try pair.waitUntilLevel()
        try pair.replica.command("SLAVEOF", "NO", "ONE")
        let second = try identifier(pair.replica)
        #expect(second != first)
        try pair.replica.restart()
        #expect(try identifier(pair.replica) == second)
        // What was written last before a reboot may be lost, so replicas that have it must not go on with other bytes.
        try pair.master.stop()
        let file = URL(fileURLWithPath: pair.master.directory + "/log/replication")
        let text = textOfFile(file.path).replacing(/boot [^\n]*/, with: "boot another")
        try Data(text.utf8).write(to: file)
        try pair.master.start()
        #expect(try identifier(pair.master) != first)
        try pair.stop()
    }

    @Test("replicas of a replica come back after it was killed, and get everything anew when it did")
    func chain() throws {
        let pair = try ReplicationPair()
        pair.replica.keepsPort = true
        pair.replica.configuration.append("slaveof 127.0.0.1 \(pair.proxy.port)")
        let third = try TestServer()
        try third.command("SLAVEOF", "127.0.0.1", "\(pair.replica.port)")
        try pair.master.command("SET", "a", "1")
        try pair.waitUntilLevel()
        try level(pair.replica, third)
        try pair.replica.killAndRestart()
        try pair.master.command("SET", "a", "2")
        try pair.waitUntilLevel()
        try level(pair.replica, third)
        #expect(try pair.replica.number("sync_full") == 0)
        #expect(try pair.replica.number("sync_partial_ok") == 1)
        // Another master with other data.
        let other = try TestServer()
        try other.command("SET", "b", "3")
        try pair.replica.command("SLAVEOF", "127.0.0.1", "\(other.port)")
        try level(other, pair.replica)
        try level(pair.replica, third)
        try expectSameDigest(other, third)
        #expect(try third.command("GET", "a") == .nullBulk)
        #expect(try pair.replica.number("sync_full") == 1)
        try third.stop()
        try other.stop()
        try pair.stop()
    }

    @Test("when no replica has been there for repl-backlog-ttl, nothing is kept for them any more")
    func backlogLifetime() throws {
        let pair = try ReplicationPair(
            masterConfiguration: ["repl-backlog-ttl 1", "repl-backlog-size 100mb", "log-segment-size 1mb"]
        )
        try write(pair.master, megabytes: 6)
        try pair.waitUntilLevel()
        #expect(try pair.master.command("BGREWRITEAOF").isError == false)
        #expect(try pair.master.info("repl_backlog_active") == "1")
        #expect(try pair.master.number("repl_backlog_histlen") > 6 << 20)
        try pair.replica.command("SLAVEOF", "NO", "ONE")
        try pair.master.waitFor("repl_backlog_active", "0")
        #expect(try pair.master.info("repl_backlog_histlen") == "0")
        #expect(
            waitUntil {
                // Each of these makes a checkpoint, after which the log before it goes.
                _ = try? pair.master.command("SET", "a", "1")
                _ = try? pair.master.command("BGREWRITEAOF")
                return logBytes(pair.master) < 5 << 20
            },
            "\(logBytes(pair.master))"
        )
        try pair.attach()
        #expect(try pair.master.info("repl_backlog_active") == "1")
        try pair.stop()
    }

    /// The bytes of the log's segments.
    private func logBytes(_ server: TestServer) -> Int {
        let folder = server.directory + "/log"
        let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
        return names.reduce(0) { sum, name in
            let attributes = try? FileManager.default.attributesOfItem(atPath: "\(folder)/\(name)")
            return sum + (attributes?[.size] as? Int ?? 0)
        }
    }

    // MARK: Writable replicas

    @Test("what is written on a replica itself stays there, over restarts, until a full resync")
    func localWrites() throws {
        let pair = try ReplicationPair(replicaConfiguration: ["slave-read-only no"])
        let third = try TestServer()
        try third.command("SLAVEOF", "127.0.0.1", "\(pair.replica.port)")
        try level(pair.replica, third)
        let offset = try pair.replica.info("slave_repl_offset")
        #expect(try pair.replica.command("SET", "local", "1") == .ok)
        #expect(try pair.replica.command("RPUSH", "list", "a", "b") == .integer(2))
        #expect(try pair.replica.info("slave_repl_offset") == offset, "it does not enter the stream")
        try pair.master.command("SET", "a", "1")
        try pair.waitUntilLevel()
        try level(pair.replica, third)
        #expect(try third.command("GET", "a") == .bulk("1"))
        #expect(try third.command("GET", "local") == .nullBulk)
        #expect(try pair.master.command("GET", "local") == .nullBulk)
        pair.replica.configuration.append("slaveof 127.0.0.1 \(pair.proxy.port)")
        try pair.replica.restart()
        try pair.waitUntilLevel()
        #expect(try pair.replica.command("GET", "local") == .bulk("1"))
        #expect(try pair.replica.command("LRANGE", "list", "0", "-1") == .bulks("a", "b"))
        #expect(try pair.master.number("sync_full") == 1)
        // One that goes its own way gets everything anew when it comes back.
        try pair.replica.command("SLAVEOF", "NO", "ONE")
        try pair.replica.command("SET", "own", "1")
        try pair.attach()
        try pair.expectSame()
        #expect(try pair.replica.command("GET", "local") == .nullBulk)
        try third.stop()
        try pair.stop()
    }
}
