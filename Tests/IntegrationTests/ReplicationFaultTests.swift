// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisTesting
import Foundation
import Glibc
import Synchronization
import Testing

@Suite("Replication under faults")
struct ReplicationFaultTests {
    /// How many faults there are in all; a soak sets more.
    static let cycles = environmentNumber("CODIS_REPLICATION_CYCLES") ?? 20
    /// If set, the faults end when this time is over, however many there were.
    static let seconds = environmentNumber("CODIS_REPLICATION_SECONDS")

    /// Who replicates whom.
    struct Pairing: Sendable, CustomTestStringConvertible {
        let master: TestServer.Program
        let replica: TestServer.Program

        var testDescription: String { "\(master) to \(replica)" }
        var isOwn: Bool { master == .codis && replica == .codis }
    }

    static let pairings =
        [Pairing(master: .codis, replica: .codis)]
        + (RedisPeer.isInstalled
            ? [Pairing(master: .redis, replica: .codis), Pairing(master: .codis, replica: .redis)] : [])

    @Test("whatever link is cut and whoever is killed, the replica becomes the same as its master", arguments: pairings)
    func faults(pairing: Pairing) throws {
        var random = SeededGenerator()
        print("replication under faults, \(pairing.testDescription): CODIS_TEST_SEED=\(random.seed)")
        let settings = ["checkpoint-interval 2", "log-segment-size 1mb", "checkpoint-log-size 2mb"]
        let pair = try ReplicationPair(
            masterConfiguration: pairing.master == .codis ? settings : [],
            replicaConfiguration: pairing.replica == .codis ? settings : [],
            masterProgram: pairing.master,
            replicaProgram: pairing.replica
        )
        pair.replica.configuration.append("slaveof 127.0.0.1 \(pair.proxy.port)")
        let load = FaultLoad(hasLaterForms: pairing.master == .redis, hasRedis: !pairing.isOwn)
        let writers = (0..<2).map { _ in BackgroundWriter(port: pair.master.port, seed: random.next(), load) }
        let poppers = (0..<2).map { _ in BackgroundWriter(port: pair.master.port, seed: random.next(), .pops) }
        defer { for writer in writers + poppers { writer.stop() } }
        func pause() { for writer in writers + poppers { writer.pause() } }
        func resume() { for writer in writers + poppers { writer.resume(port: pair.master.port) } }
        // The pairs with redis-server have fewer faults: what it does is not what is tested.
        let wanted = pairing.isOwn ? Self.cycles : max(5, Self.cycles / 3)
        let start = monotonicSeconds()
        var cycle = 0
        while Self.seconds.map({ monotonicSeconds() - start < Double($0) }) ?? (cycle < wanted) {
            cycle += 1
            usleep(UInt32(random.number(1_000...250_000)))
            switch random.number(0...9) {
            case 0...3: pair.proxy.cut()
            case 4...5:
                pair.proxy.block()
                usleep(UInt32(random.number(1_000...250_000)))
                pair.proxy.open()
            case 6...7: try pair.replica.killAndRestart()
            default:
                pause()
                try pair.master.killAndRestart()
                pair.proxy.setTarget(port: pair.master.port)
                resume()
            }
            if cycle % 5 == 0 {
                pause()
                try expectSameInTheEnd(pair, "cycle \(cycle), seed \(random.seed)")
                resume()
            }
        }
        pause()
        try expectSameInTheEnd(pair, "the end, seed \(random.seed)")
        let counts = (writers + poppers).map(\.count)
        print("replication under faults, \(pairing.testDescription): \(cycle) faults, \(counts) commands")
        #expect(counts[0] + counts[1] > 100)
        #expect(counts[2] + counts[3] > 0)
        for server in [pair.master, pair.replica] {
            #expect(!server.output.contains("that is answered with"), "\(server.output.suffix(2000))")
        }
        try pair.stop()
    }

    /// Keys may still expire, so the two are looked at until they are the same.
    private func expectSameInTheEnd(_ pair: ReplicationPair, _ comment: Comment) throws {
        try pair.waitUntilLevel(timeoutSeconds: 90)
        let isSame = waitUntil(timeoutSeconds: 60) {
            guard let one = try? pair.master.command("DEBUG", "DIGEST").text else { return false }
            return (try? pair.replica.command("DEBUG", "DIGEST").text) == one
        }
        let differences = isSame ? "" : try differences(pair)
        try #require(isSame, "\(comment): \(differences)")
    }

    /// The keys that are not the same on both sides.
    private func differences(_ pair: ReplicationPair) throws -> String {
        var texts: [String] = []
        let clients = try [pair.master, pair.replica].map { try $0.connect() }
        for database in [0, 1, 9] {
            var names: Set<[UInt8]> = []
            for client in clients {
                try client.command("SELECT", "\(database)")
                names.formUnion((try client.command("KEYS", "*").elements ?? []).compactMap(\.bytes))
            }
            for name in names {
                let read = [Array("DUMP".utf8), name]
                let (one, other) = (try clients[0].command(read), try clients[1].command(read))
                let types = try clients.map { try $0.command([Array("TYPE".utf8), name]).text ?? "" }
                if one != other { texts.append("\(database):\(String(decoding: name, as: UTF8.self)) \(types)") }
            }
        }
        return "\(texts.prefix(20))"
    }
}
