// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisTesting
import Foundation
import Glibc
import Testing

@Suite("kill -9")
struct KillTests {
    /// How many times the server is killed in all; tools/soak sets more.
    static let cycles = environmentNumber("CODIS_KILL_CYCLES") ?? 51
    /// If set, the cycles end when this time is over, however many there were.
    static let seconds = environmentNumber("CODIS_KILL_SECONDS")

    @Test("nothing acknowledged is lost, whenever it happens", arguments: ["always", "everysec", "no"])
    func killedAtRandomMoments(policy: String) throws {
        var random = SeededGenerator()
        print("kill -9, appendfsync \(policy): CODIS_TEST_SEED=\(random.seed)")
        let server = try TestServer(configuration: ["appendonly yes", "appendfsync \(policy)"])
        var writers = [
            RecordingWriter(database: 0, largestValue: 2_000),
            RecordingWriter(database: 1, largestValue: 100_000),
            RecordingWriter(database: 15, largestValue: 8_000),
        ]
        let start = monotonicSeconds()
        var cycle = 0
        while Self.seconds.map({ monotonicSeconds() - start < Double($0) }) ?? (cycle < (Self.cycles + 2) / 3) {
            cycle += 1
            try writeUntilKilled(server, &writers, &random)
            server.configuration = settings(policy, &random)
            if random.oneIn(4) { try killWhileStarting(server, &random) }
            try server.start()
            for index in writers.indices {
                let complaint = try writers[index].settle(with: try server.connect())
                try #require(complaint == nil, "seed \(random.seed), cycle \(cycle), appendfsync \(policy)")
            }
            if random.oneIn(8) { try server.restart() }
        }
        let acknowledged = writers.map(\.acknowledgedChanges).reduce(0, +)
        print("kill -9, appendfsync \(policy): \(cycle) cycles, \(acknowledged) acknowledged changes, nothing lost")
        try server.stop()
    }

    /// Checkpoints and segments of other sizes after each start, so that kills fall into them and between them.
    private func settings(_ policy: String, _ random: inout SeededGenerator) -> [String] {
        [
            "appendonly yes",
            "appendfsync \(policy)",
            "checkpoint-log-size \(random.pick(["64kb", "1mb", "64mb"]))",
            "checkpoint-dirty-pages \(random.pick([100, 2_000, 65_536]))",
            "checkpoint-interval \(random.pick([1, 60]))",
            "log-segment-size \(random.pick(["64kb", "1mb", "64mb"]))",
        ]
    }

    /// Lets all writers write with many requests under way, until the server dies under them at a random moment.
    private func writeUntilKilled(
        _ server: TestServer,
        _ writers: inout [RecordingWriter],
        _ random: inout SeededGenerator
    ) throws {
        let clients = try writers.map { writer in
            let client = try server.connect()
            try client.command("SELECT", "\(writer.database)")
            return client
        }
        try server.killWithin(microseconds: random.number(1_000...500_000)) {
            while true {
                for index in writers.indices {
                    try writers[index].send(random.number(1...60), over: clients[index], &random)
                }
                for index in writers.indices { try writers[index].receive(over: clients[index]) }
            }
        }
    }

    /// Kills a server during its start, when it may be in the middle of its recovery.
    private func killWhileStarting(_ server: TestServer, _ random: inout SeededGenerator) throws {
        try server.launch()
        usleep(UInt32(random.number(0...60_000)))
        try server.kill()
    }
}

/// A client that knows after every reply what its database must hold.
struct RecordingWriter {
    let database: Int
    let largestValue: Int
    private(set) var acknowledgedChanges = 0
    /// The database after all changes whose replies came.
    private var acknowledged = StringModel()
    /// The database after all changes that were sent.
    private var predicted = StringModel()
    /// Changes sent without a reply so far, in order.
    private var underway: [StringModel.Change] = []

    init(database: Int, largestValue: Int) {
        self.database = database
        self.largestValue = largestValue
    }

    mutating func send(_ count: Int, over client: TestClient, _ random: inout SeededGenerator) throws {
        for _ in 0..<count {
            let change = StringModel.Change.random(&random, largestValue: largestValue, model: predicted)
            client.enqueue(change.arguments)
            underway.append(change)
            predicted.apply(change)
        }
        try client.flush()
    }

    mutating func receive(over client: TestClient) throws {
        while !underway.isEmpty {
            let reply = try client.receive()
            try #require(!reply.isError, "\(reply)")
            acknowledged.apply(underway.removeFirst())
            acknowledgedChanges += 1
        }
    }

    /// Compares the database after a restart with what was acknowledged, and goes on from what is there.
    ///
    /// It must hold the acknowledged changes and then none, some or all of the changes under way, in their order.
    /// Returns what differs.
    mutating func settle(with client: TestClient) throws -> String? {
        try client.command("SELECT", "\(database)")
        let found = try StringModel(readFrom: client)
        var expected = acknowledged
        var disagreements = expected.disagreements(with: found)
        for change in underway where !disagreements.isEmpty {
            expected.apply(change)
            if let keys = change.keys {
                for key in keys {
                    if expected.agrees(with: found, on: key) {
                        disagreements.remove(key)
                    } else {
                        disagreements.insert(key)
                    }
                }
            } else {
                disagreements = expected.disagreements(with: found)
            }
        }
        guard disagreements.isEmpty else { return describe(disagreements, in: found) }
        acknowledged = found
        predicted = found
        underway = []
        return nil
    }

    private func describe(_ keys: Set<[UInt8]>, in found: StringModel) -> String {
        func show(_ entry: StringModel.Entry?) -> String {
            entry.map { printable($0.value, limit: 40) + " until \($0.expireAtKiloseconds ?? 0)" } ?? "nothing"
        }
        let lines = keys.prefix(20).map { key in
            "\(printable(key, limit: 40)): \(show(acknowledged.entries[key])) -> \(show(found.entries[key]))"
        }
        let title = "database \(database), \(underway.count) changes under way, acknowledged -> found:"
        return ([title] + lines).joined(separator: "\n")
    }
}

extension StringModel {
    /// Reads everything in the database that `client` has selected.
    init(readFrom client: TestClient) throws {
        let keys = try #require(try client.command("KEYS", "*").elements).compactMap(\.bytes)
        let size = try client.command("DBSIZE")
        try #require(size == .integer(Int64(keys.count)), "DBSIZE against KEYS")
        for key in keys {
            client.enqueue([Array("GET".utf8), key])
            client.enqueue([Array("PTTL".utf8), key])
        }
        try client.flush()
        for key in keys {
            let value = try #require(try client.receive().bytes)
            let left = try #require(try client.receive().number)
            let expiry = left < 0 ? nil : Int((Date().timeIntervalSince1970 + Double(left) / 1_000 + 500) / 1_000)
            entries[key] = Entry(value: value, expireAtKiloseconds: expiry)
        }
    }
}
