// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisTesting
import Foundation
import Glibc
import Synchronization
import Testing

@Suite("Moving slots asynchronously, under fire")
struct AsyncMigrationFireTests {
    private static let keyCount = 12

    /// The keys: counters, lists, and hashes large enough to move in pieces; some share a tag.
    private static let keys = (0..<keyCount).map { number in
        ["counter:\(number)", "{tag:\(number % 5)}list:\(number)", "{tag:\(number % 5)}hash:\(number)"][number % 3]
    }

    @Test("clients that follow their keys lose no write, whoever is killed", arguments: [false, true])
    func fire(kills: Bool) throws {
        var random = SeededGenerator()
        print("asynchronous moving\(kills ? " and kill -9" : ""): CODIS_TEST_SEED=\(random.seed)")
        let servers = try [TestServer(), TestServer()]
        for server in servers { server.keepsPort = true }
        try create(servers[0])
        let followers = (0..<3).map { Follower(Self.keys, seed: random.seed &+ UInt64($0)) }
        var killCount = 0
        for round in 0..<(kills ? 4 : 8) {
            let (source, target) = (servers[round % 2], servers[1 - round % 2])
            for follower in followers { follower.start(asking: [source.port, target.port]) }
            try moveAll(source, target, kills: kills, &random, &killCount)
            for follower in followers { follower.stop() }
            for follower in followers {
                let failure = follower.failure
                try #require(failure == nil, "seed \(random.seed), round \(round)")
            }
            try compare(target, followers, "seed \(random.seed), round \(round)")
        }
        let count = followers.reduce(0) { $0 + $1.acknowledgedCount }
        print("asynchronous moving: \(count) acknowledged changes, \(killCount) times kill -9, nothing lost")
        #expect(count > 100)
        for server in servers { try server.stop() }
    }

    private func create(_ server: TestServer) throws {
        let client = try server.connect()
        for key in Self.keys {
            if key.hasPrefix("counter") {
                try client.command("SET", key, "0")
            } else if key.contains("list") {
                try client.command("RPUSH", key, "first")
            } else {
                let pairs = (0..<1000).flatMap { ["field:\($0)", "value:\($0)"] }
                try client.command((["HMSET", key, "count", "0"] + pairs).map { Array($0.utf8) })
            }
        }
    }

    /// Moves all keys, some at a time, killing one server or the other now and then.
    private func moveAll(
        _ source: TestServer,
        _ target: TestServer,
        kills: Bool,
        _ random: inout SeededGenerator,
        _ killCount: inout Int
    ) throws {
        let deadline = monotonicSeconds() + 120
        var killsLeft = kills ? 2 : 0
        while try source.command("DBSIZE") != .integer(0) {
            try #require(
                monotonicSeconds() < deadline,
                "the source does not become empty:\n\(source.output.suffix(2000))"
            )
            var victim: TestServer?
            if killsLeft > 0, random.oneIn(3) {
                killsLeft -= 1
                killCount += 1
                victim = random.oneIn(2) ? source : target
                let processID = victim?.processID ?? 0
                let delay = UInt32(random.number(0...30_000))
                Thread {
                    usleep(delay)
                    _ = Glibc.kill(processID, SIGKILL)
                }.start()
            }
            let start = random.number(0...Self.keyCount - 1)
            let some = (0..<4).map { Self.keys[(start + $0) % Self.keyCount] }
            let limits = random.oneIn(2) ? ["0", "0"] : ["10", "1000"]
            let words = ["SLOTSMGRTTAGONE-ASYNC", "127.0.0.1", "\(target.port)", "20000"] + limits + some
            do {
                let reply = try source.connect(timeoutSeconds: 60).command(words.map { Array($0.utf8) })
                try #require(victim != nil || !reply.isError, "\(reply)")
            } catch let error as TestClientError {
                guard victim != nil else { throw error }
            }
            if let victim {
                // Wherever the signal has met it.
                try victim.kill()
                try victim.start()
            }
        }
    }

    /// Expects each key to have what was acknowledged, and nothing that was not asked for.
    private func compare(_ server: TestServer, _ followers: [Follower], _ comment: Comment) throws {
        let client = try server.connect()
        for key in Self.keys {
            let value: Int64?
            if key.hasPrefix("counter") {
                value = try client.command("GET", key).text.flatMap { Int64($0) }
            } else if key.contains("list") {
                value = try client.command("LLEN", key).number.map { $0 - 1 }
            } else {
                value = try client.command("HGET", key, "count").text.flatMap { Int64($0) }
                #expect(try client.command("HLEN", key) == .integer(1001), comment)
            }
            let acknowledged = followers.reduce(0) { $0 + $1.acknowledged(key) }
            let doubtful = followers.reduce(0) { $0 + $1.doubtful(key) }
            let found = try #require(value, "\(key), \(comment)")
            #expect(found >= acknowledged && found <= acknowledged + doubtful, "\(key), \(comment)")
        }
    }
}

/// A client that changes keys wherever they are: it asks the server that they come from, and where there is no such key
/// the one that they go to, by SLOTSMGRT-EXEC-WRAPPER, as a proxy of Codis 3.2 does.
private final class Follower: Sendable {
    private struct State {
        var acknowledged: [String: Int64] = [:]
        /// Changes that were asked for, and not answered.
        var doubtful: [String: Int64] = [:]
        var isStopping = false
        var isRunning = false
        var failure: String?
        var random: SeededGenerator
    }

    private let keys: [String]
    private let state: Mutex<State>

    init(_ keys: [String], seed: UInt64) {
        self.keys = keys
        state = Mutex(State(random: SeededGenerator(seed: seed)))
    }

    var failure: String? { state.withLock { $0.failure } }
    var acknowledgedCount: Int64 { state.withLock { $0.acknowledged.values.reduce(0, +) } }
    func acknowledged(_ key: String) -> Int64 { state.withLock { $0.acknowledged[key] ?? 0 } }
    func doubtful(_ key: String) -> Int64 { state.withLock { $0.doubtful[key] ?? 0 } }

    func start(asking ports: [Int]) {
        state.withLock {
            $0.isStopping = false
            $0.isRunning = true
        }
        Thread { [self] in
            run(ports)
            state.withLock { $0.isRunning = false }
        }.start()
    }

    func stop() {
        state.withLock { $0.isStopping = true }
        if !waitUntil(timeoutSeconds: 60, { state.withLock { !$0.isRunning } }) {
            state.withLock { $0.failure = "a client does not come to its end" }
        }
    }

    private var isStopping: Bool { state.withLock { $0.isStopping } }

    private func run(_ ports: [Int]) {
        var clients: [TestClient?] = [nil, nil]
        while !isStopping {
            let key = state.withLock { $0.random.pick(keys) }
            // Others want the processor, too.
            usleep(300)
            let outcome = change(key, ports, &clients)
            state.withLock {
                switch outcome {
                case .done: $0.acknowledged[key, default: 0] += 1
                case .doubtful: $0.doubtful[key, default: 0] += 1
                case .nothing: break
                case .failed(let text): $0.failure = $0.failure ?? "\(key): \(text)"
                }
            }
        }
    }

    private enum Outcome {
        case done
        case doubtful
        case nothing
        case failed(String)
    }

    private func change(_ key: String, _ ports: [Int], _ clients: inout [TestClient?]) -> Outcome {
        let command =
            if key.hasPrefix("counter") {
                ["INCR", key]
            } else if key.contains("list") {
                ["RPUSH", key, "x"]
            } else {
                ["HINCRBY", key, "count", "1"]
            }
        let words = (["SLOTSMGRT-EXEC-WRAPPER", key] + command).map { Array($0.utf8) }
        var missed = 0
        var side = 0
        while true {
            if clients[side] == nil { clients[side] = try? TestClient(port: ports[side], timeoutSeconds: 60) }
            guard let client = clients[side] else {
                // It was killed, and comes back.
                if isStopping { return .nothing }
                usleep(2000)
                continue
            }
            guard let reply = try? client.command(words) else {
                clients[side] = nil
                return .doubtful
            }
            guard let elements = reply.elements, elements.count == 2, let code = elements[0].number else {
                return .failed("\(reply)")
            }
            switch code {
            case 2: return elements[1].isError ? .failed("\(reply)") : .done
            case 1:
                if isStopping { return .nothing }
                side = 0
                usleep(1000)
            case 0:
                // It may have gone between two questions, but not again and again: keys go one way in a round.
                missed += 1
                if missed > 4 { return .failed("is on neither side") }
                side = 1 - side
            default: return .failed("\(reply)")
            }
        }
    }
}
