// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisTesting
import Glibc
import Testing

@Suite("kill -9 with values of all types")
struct TypeKillTests {
    /// How many times the server is killed, unless `CODIS_KILL_SECONDS` says how long.
    static let cycles = environmentNumber("CODIS_KILL_CYCLES") ?? 24

    @Test("whatever was acknowledged is there, whole transactions and scripts too, and the check finds nothing")
    func killedAtRandomMoments() throws {
        var random = SeededGenerator()
        print("kill -9, all types: CODIS_TEST_SEED=\(random.seed)")
        let server = try TestServer(configuration: ["appendonly yes"])
        var writers = [0, 1, 7, 15].map { TypeWriter(database: $0) }
        let start = monotonicSeconds()
        var cycle = 0
        while KillTests.seconds.map({ monotonicSeconds() - start < Double($0) }) ?? (cycle < Self.cycles) {
            cycle += 1
            let clients = try writers.map { try $0.connect(to: server) }
            try server.killWithin(microseconds: random.number(1_000...250_000)) {
                while true {
                    for index in writers.indices {
                        try writers[index].send(random.number(1...30), over: clients[index], &random)
                    }
                    for index in writers.indices { try writers[index].receive(over: clients[index]) }
                }
            }
            server.configuration = [
                "appendonly yes",
                "appendfsync \(random.pick(["always", "everysec", "no"]))",
                "checkpoint-log-size \(random.pick(["64kb", "1mb"]))",
                "checkpoint-dirty-pages \(random.pick([100, 2_000]))",
            ]
            try server.start()
            for index in writers.indices {
                let complaint = try writers[index].settle(with: try writers[index].connect(to: server))
                try #require(complaint == nil, "seed \(random.seed), cycle \(cycle)")
            }
        }
        let count = writers.map(\.acknowledgedCount).reduce(0, +)
        print("kill -9, all types: \(cycle) cycles, \(count) acknowledged changes, nothing lost")
        #expect(count > 0)
        try server.stop()
    }
}

/// A client that knows after every reply what its database must hold.
private struct TypeWriter {
    let database: Int
    private(set) var acknowledgedCount = 0
    /// The database after all changes whose replies came.
    private var acknowledged = TypeModel()
    /// Changes sent without a reply so far, in order.
    private var underway: [TypeChange] = []

    init(database: Int) { self.database = database }

    func connect(to server: TestServer) throws -> TestClient {
        let client = try server.connect()
        try client.command("SELECT", "\(database)")
        return client
    }

    mutating func send(
        _ count: Int,
        over client: TestClient,
        _ random: inout SeededGenerator
    ) throws(TestClientError) {
        for _ in 0..<count {
            let change = TypeChange.random(&random)
            for command in change.commands { client.enqueue(command.map { Array($0.utf8) }) }
            underway.append(change)
        }
        try client.flush()
    }

    mutating func receive(over client: TestClient) throws(TestClientError) {
        while let change = underway.first {
            let replies = try client.receive(change.commands.count)
            let errors = (replies + replies.flatMap { $0.elements ?? [] }).filter(\.isError)
            #expect(errors.isEmpty, "\(errors) to \(change.commands)")
            change.apply(&acknowledged)
            acknowledgedCount += 1
            underway.removeFirst()
        }
    }

    /// Compares the database after a restart with what was acknowledged and then none, some or all of the changes under
    /// way, in their order, and goes on from what is there; returns what differs.
    mutating func settle(with client: TestClient) throws -> String? {
        let found = try TypeModel(readFrom: client)
        let atFirst = acknowledged
        var complaint: String?
        for change in [nil] + underway.map(Optional.some) {
            change?.apply(&acknowledged)
            guard found == acknowledged.withoutHyperLogLogs else { continue }
            complaint = try countsDiffer(client)
            guard complaint != nil else {
                underway = []
                return nil
            }
        }
        let difference = atFirst.withoutHyperLogLogs.difference(from: found)
        return "database \(database), \(underway.count) changes under way: \(complaint ?? "")\n\(difference)"
    }

    /// How a HyperLogLog differs from one to which the same is added.
    private func countsDiffer(_ client: TestClient) throws -> String? {
        let expected = acknowledged.hyperLogLogs
        let keys = try client.command("KEYS", "p*").elements?.compactMap(\.text) ?? []
        guard Set(keys) == Set(expected.keys) else { return "HyperLogLogs \(keys) instead of \(expected.keys)" }
        for (key, elements) in expected {
            try client.command((["PFADD", "fresh"] + elements).map { Array($0.utf8) })
            // As many together as alone: the one has nothing that the other has not.
            let counts = try ["fresh", key].map { try client.command("PFCOUNT", $0) }
            let both = try client.command("PFCOUNT", "fresh", key)
            try client.command("DEL", "fresh")
            guard counts == [both, both] else { return "\(key) counts \(counts[1]), and not \(counts[0])" }
        }
        return nil
    }
}
