// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisTesting
import Foundation
import Glibc
import Synchronization
import Testing

@Suite("SLOTSMGRT under fire")
struct SlotMigrationFireTests {
    /// How often a server is killed.
    static let cycles = environmentNumber("CODIS_MIGRATION_KILLS") ?? 20
    private static let clients = 4
    /// Keys that nobody changes, in the slot of all others: so there is enough to move for a loop of calls.
    private static let bystanders = SlotLoopTests.words.dropFirst(clients).dropLast()

    @Test("whoever is killed when, what clients that follow their keys were told is there, once")
    func killedAtRandomMoments() throws {
        var random = SeededGenerator()
        print("kill -9 while keys move: CODIS_TEST_SEED=\(random.seed)")
        let servers = [try TestServer(), try TestServer()]
        for server in servers { server.keepsPort = true }
        for word in Self.bystanders { #expect(try servers[0].command("SET", word, word) == .ok) }
        let field = BattleField(ports: servers.map(\.port))
        let clients = (0..<Self.clients).map { FollowingClient($0, field, seed: random.next()) }
        field.clients = clients
        let mover = Mover(field, seed: random.next())
        for client in clients { client.start() }
        mover.start()
        for _ in 0..<Self.cycles {
            usleep(UInt32(random.number(20_000...200_000)))
            let server = random.pick(servers)
            try server.kill()
            try server.start()
            guard field.complaints.isEmpty else { break }
        }
        field.stop()
        #expect(waitUntil(timeoutSeconds: 120) { mover.hasEnded && clients.allSatisfy(\.hasEnded) })
        #expect(field.complaints == [], "seed \(random.seed)")
        // Everything on one side.
        try mover.moveEverything(deadline: monotonicSeconds() + 60)
        for client in clients {
            let complaint = try client.compare()
            #expect(complaint == nil, "seed \(random.seed)")
        }
        let target = servers[field.target]
        for word in Self.bystanders { #expect(try target.command("GET", word) == .bulk(word), "seed \(random.seed)") }
        #expect(try servers[field.source].command("DBSIZE") == .integer(0))
        let count = clients.reduce(0) { $0 + $1.acknowledged }
        print("kill -9 while keys move: \(Self.cycles) kills, \(mover.moved) keys moved, \(count) changes, none lost")
        #expect(count > 0 && mover.moved > 0)
        for server in servers {
            #expect(try server.command("SLOTSCHECK") == .ok)
            try server.stop()
        }
    }
}

/// Two servers, and which of them is the source at the moment.
private final class BattleField: @unchecked Sendable {
    // Unchecked: `clients` is set before any thread begins.
    let ports: [Int]
    var clients: [FollowingClient] = []
    private let state = Mutex((source: 0, complaints: [String]()))
    private let isOver = Atomic(false)

    init(ports: [Int]) { self.ports = ports }

    var complaints: [String] { state.withLock { $0.complaints } }
    var isStopped: Bool { isOver.load(ordering: .acquiring) }
    var source: Int { state.withLock { $0.source } }
    var target: Int { 1 - source }

    func stop() { isOver.store(true, ordering: .releasing) }
    func complain(_ text: String) { state.withLock { $0.complaints.append(text) } }

    /// Lets keys move the other way from now on, while no client is in the middle of something.
    func turn() { turn(after: 0) }

    private func turn(after index: Int) {
        guard index < clients.count else { return state.withLock { $0.source = 1 - $0.source } }
        clients[index].turn.withLock { _ in turn(after: index + 1) }
    }

    /// A connection to a server, once it is up.
    func connect(_ index: Int, deadline: Double) -> TestClient? {
        while monotonicSeconds() < deadline {
            if let client = try? TestClient(port: ports[index], timeoutSeconds: 30) {
                if let reply = try? client.command("PING"), reply.text == "PONG" { return client }
            }
            usleep(5_000)
        }
        complain("no connection to server \(index)")
        return nil
    }
}

/// Connections of one thread to both servers.
private final class Connections {
    private let field: BattleField
    private var clients: [TestClient?] = [nil, nil]

    init(_ field: BattleField) { self.field = field }

    /// The reply, nil if the connection broke: then nobody knows whether the command was done.
    func command(_ server: Int, _ line: String) -> TestReply? {
        run(server, [line])?.last
    }

    /// The replies to commands that change nothing, on a new connection if the server was killed since the last use.
    func look(_ server: Int, _ lines: [String]) -> [TestReply]? {
        run(server, lines) ?? run(server, lines)
    }

    /// The replies to several commands at once.
    func run(_ server: Int, _ lines: [String]) -> [TestReply]? {
        if clients[server] == nil {
            clients[server] = field.connect(server, deadline: monotonicSeconds() + 60)
        }
        guard let client = clients[server] else { return nil }
        for line in lines { client.enqueue(line.split(separator: " ").map { Array($0.utf8) }) }
        do {
            try client.flush()
            return try client.receive(lines.count)
        } catch {
            clients[server] = nil
            return nil
        }
    }
}

/// Moves everything from one server to the other, and then back.
private final class Mover: @unchecked Sendable {
    // Unchecked: one thread at a time uses it.
    private let field: BattleField
    private let connections: Connections
    private var random: SeededGenerator
    private let ended = Atomic(false)
    private(set) var moved = 0

    init(_ field: BattleField, seed: UInt64) {
        self.field = field
        connections = Connections(field)
        random = SeededGenerator(seed: seed)
    }

    var hasEnded: Bool { ended.load(ordering: .acquiring) }

    func start() {
        Thread { [self] in
            while !field.isStopped {
                if moveSome() { field.turn() }
            }
            ended.store(true, ordering: .releasing)
        }.start()
    }

    /// Moves one tag, or calls for many in a row; true if nothing is left at the source.
    private func moveSome() -> Bool {
        let (source, target) = (field.source, field.target)
        guard let slots = connections.command(source, "SLOTSINFO")?.elements else { return false }
        guard let slot = slots.randomElement(using: &random)?.elements?.first?.number else { return true }
        let command = random.pick(["SLOTSMGRTTAGSLOT", "SLOTSMGRTTAGSLOT", "SLOTSMGRTSLOT", "SLOTSMGRT"])
        let line = "\(command) 127.0.0.1 \(field.ports[target]) 5000 \(slot)"
        let replies = connections.run(source, Array(repeating: line, count: random.pick([1, 30])))
        moved += Int(replies?.reduce(0) { $0 + ($1.elements?.first?.number ?? 0) } ?? 0)
        return false
    }

    /// Moves until the source is empty.
    func moveEverything(deadline: Double) throws {
        while !moveSome() { try #require(monotonicSeconds() < deadline) }
    }
}

/// A client with keys of its own that knows what they must hold, and looks for them as a proxy does: it has the source
/// send them on and works at the target; or it asks the source and then the target for a key that is there.
private final class FollowingClient: @unchecked Sendable {
    // Unchecked: the client's thread uses it, and another when that has ended.
    private let number: Int
    private let field: BattleField
    private let connections: Connections
    private var random: SeededGenerator
    private let ended = Atomic(false)
    /// Held while the client is in the middle of something.
    let turn = Mutex(())
    private(set) var acknowledged = 0
    private var expected = [0, 0, 0, 0]

    init(_ number: Int, _ field: BattleField, seed: UInt64) {
        self.number = number
        self.field = field
        connections = Connections(field)
        random = SeededGenerator(seed: seed)
    }

    var hasEnded: Bool { ended.load(ordering: .acquiring) }

    // A counter, a string that grows, a list that grows, a field of a hash.
    private func key(_ kind: Int) -> String { "{\(SlotLoopTests.words[number])}:\(kind)" }
    private static let changes = ["INCR", "APPEND", "LPUSH", "HINCRBY"]

    private func change(_ kind: Int) -> String {
        "\(Self.changes[kind]) \(key(kind))" + ["", " x", " element", " field 1"][kind]
    }

    private func size(_ kind: Int) -> String {
        ["GET \(key(kind))", "STRLEN \(key(kind))", "LLEN \(key(kind))", "HGET \(key(kind)) field"][kind]
    }

    private func number(in reply: TestReply) -> Int? {
        if reply == .nullBulk { return 0 }
        return reply.number.map { Int($0) } ?? reply.text.flatMap { Int($0) }
    }

    func start() {
        Thread { [self] in
            while !field.isStopped { turn.withLock { _ in doSomething() } }
            ended.store(true, ordering: .releasing)
        }.start()
    }

    private func doSomething() {
        switch random.number(0...3) {
        case 0, 1: atTarget()
        case 2: transaction()
        default: whereItIs()
        }
    }

    /// Has the source send on what has the client's tag; false if it could not.
    private func sendOn() -> Bool {
        let line = "SLOTSMGRTTAGONE 127.0.0.1 \(field.ports[field.target]) 5000 \(key(0))"
        guard let reply = connections.command(field.source, line) else { return false }
        return reply.number != nil
    }

    private func atTarget() {
        guard sendOn() else { return }
        let kind = random.number(0...3)
        guard let replies = connections.run(field.target, [change(kind), "EXPIRE \(key(kind)) 100000"]) else {
            return settle()
        }
        expected[kind] += 1
        acknowledged += 1
        check(kind, replies[0])
        if replies[1] != .integer(1) { field.complain("\(key(kind)): EXPIRE replied \(replies[1])") }
    }

    private func transaction() {
        guard sendOn() else { return }
        let lines = ["MULTI"] + (0..<4).map { change($0) } + ["EXEC"]
        guard let replies = connections.run(field.target, lines), let last = replies.last?.elements else {
            return settle()
        }
        for kind in 0..<4 {
            expected[kind] += 1
            acknowledged += 1
            check(kind, last[kind])
        }
    }

    /// Changes a key that is there, at the source or else at the target.
    private func whereItIs() {
        let kind = random.number(0...3)
        guard expected[kind] > 0 else { return }
        let line = change(kind)
        let words = line.split(separator: " ").dropFirst(2).map { "'\($0)'" }
        let arguments = (["'\(Self.changes[kind])'", "KEYS[1]"] + words).joined(separator: ",")
        let script = "if(redis.call('exists',KEYS[1])==0)then(error)('gone')end;return(redis.call(\(arguments)))"
        for server in [field.source, field.target] {
            guard let reply = connections.command(server, "EVAL \(script) 1 \(key(kind))") else { return settle() }
            if reply.isError, reply.text?.contains("gone") ?? false { continue }
            expected[kind] += 1
            acknowledged += 1
            return check(kind, reply)
        }
        field.complain("\(key(kind)) is on neither side")
    }

    private func check(_ kind: Int, _ reply: TestReply) {
        if number(in: reply) != expected[kind] {
            field.complain("\(key(kind)): replied \(reply) instead of \(expected[kind])")
        }
    }

    /// Finds out whether what was under way when a server died was done.
    private func settle() {
        var found = [0, 0, 0, 0]
        for kind in 0..<4 {
            // The source counts as long as it has the key.
            var value: Int?
            for server in [field.source, field.target] where value == nil {
                guard let replies = connections.look(server, ["EXISTS \(key(kind))", size(kind)]) else {
                    return field.complain("\(key(kind)): no connection twice")
                }
                if replies[0] == .integer(1) { value = number(in: replies[1]) }
            }
            found[kind] = value ?? 0
        }
        let differences = (0..<4).map { found[$0] - expected[$0] }
        if !differences.allSatisfy({ $0 == 0 || $0 == 1 }) || ![0, 1, 4].contains(differences.reduce(0, +)) {
            field.complain("client \(number): found \(found) instead of \(expected)")
        }
        expected = found
    }

    /// What is wrong when everything is at rest, on the side that is the target.
    func compare() throws -> String? {
        for kind in 0..<4 {
            let reply = try #require(connections.look(field.target, [size(kind)])?.first)
            if number(in: reply) != expected[kind] { return "\(key(kind)): \(reply) instead of \(expected[kind])" }
        }
        return nil
    }
}
