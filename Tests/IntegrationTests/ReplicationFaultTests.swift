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

    @Test("whatever link is cut and whoever is killed, the replica becomes the same as its master")
    func faults() throws {
        var random = SeededGenerator()
        print("replication under faults: CODIS_TEST_SEED=\(random.seed)")
        let settings = ["checkpoint-interval 2", "log-segment-size 1mb", "checkpoint-log-size 2mb"]
        let pair = try ReplicationPair(masterConfiguration: settings, replicaConfiguration: settings)
        pair.replica.configuration.append("slaveof 127.0.0.1 \(pair.proxy.port)")
        let writer = BackgroundWriter(port: pair.master.port, seed: random.next())
        defer { writer.stop() }
        let start = monotonicSeconds()
        var cycle = 0
        while Self.seconds.map({ monotonicSeconds() - start < Double($0) }) ?? (cycle < Self.cycles) {
            cycle += 1
            usleep(UInt32(random.number(1_000...300_000)))
            switch random.number(0...9) {
            case 0...3: pair.proxy.cut()
            case 4...5:
                pair.proxy.block()
                usleep(UInt32(random.number(1_000...300_000)))
                pair.proxy.open()
            case 6...7: try pair.replica.killAndRestart()
            default:
                writer.pause()
                try pair.master.killAndRestart()
                pair.proxy.setTarget(port: pair.master.port)
                writer.resume(port: pair.master.port)
            }
            if cycle % 4 == 0 {
                writer.pause()
                try expectSameInTheEnd(pair, "cycle \(cycle), seed \(random.seed)")
                writer.resume(port: pair.master.port)
            }
        }
        writer.pause()
        try expectSameInTheEnd(pair, "the end, seed \(random.seed)")
        print("replication under faults: \(cycle) faults, \(writer.count) commands")
        #expect(writer.count > 100)
        try pair.stop()
    }

    /// Keys may still expire, so the two are looked at until they are the same.
    private func expectSameInTheEnd(_ pair: ReplicationPair, _ comment: Comment) throws {
        try pair.waitUntilLevel()
        let isSame = waitUntil(timeoutSeconds: 60) {
            guard let one = try? pair.master.command("DEBUG", "DIGEST").text else { return false }
            return (try? pair.replica.command("DEBUG", "DIGEST").text) == one
        }
        try #require(isSame, comment)
    }
}

/// A thread that writes values of all types as fast as it can.
final class BackgroundWriter: Sendable {
    private struct State {
        var port: Int
        var isPaused = false
        var isIdle = false
        var isStopped = false
        var count = 0
    }

    private let state: Mutex<State>

    init(port: Int, seed: UInt64) {
        state = Mutex(State(port: port))
        Thread { [self] in run(seed: seed) }.start()
    }

    /// How many commands were answered.
    var count: Int { state.withLock { $0.count } }

    /// Stops writing, and waits until nothing is under way.
    func pause() {
        state.withLock { $0.isPaused = true }
        _ = waitUntil { state.withLock { $0.isIdle || $0.isStopped } }
    }

    /// Writes again, to the server on `port`.
    func resume(port: Int) {
        state.withLock { state in
            state.port = port
            state.isPaused = false
            state.isIdle = false
        }
    }

    func stop() { state.withLock { $0.isStopped = true } }

    private func run(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var client: TestClient?
        while true {
            let (port, isPaused, isStopped) = state.withLock { ($0.port, $0.isPaused, $0.isStopped) }
            if isStopped { return }
            if isPaused {
                client = nil
                state.withLock { $0.isIdle = true }
                usleep(1_000)
                continue
            }
            do {
                let connection = try client ?? TestClient(port: port, timeoutSeconds: 10)
                client = connection
                let commands = (0..<random.number(1...40)).map { _ in Self.command(&random) }
                let isTransaction = random.oneIn(4)
                if isTransaction { connection.enqueue("MULTI") }
                for command in commands { connection.enqueue(command.map { Array($0.utf8) }) }
                if isTransaction { connection.enqueue("EXEC") }
                try connection.flush()
                _ = try connection.receive(commands.count + (isTransaction ? 2 : 0))
                state.withLock { $0.count += commands.count }
            } catch {
                client = nil
                usleep(2_000)
            }
        }
    }

    /// A command that changes something; not every server knows every one.
    private static func command(_ random: inout SeededGenerator) -> [String] {
        let number = random.number(0...60)
        let value = String(repeating: random.pick(["a", "bc", "1"]), count: random.pick([1, 5, 40, 300, 5_000]))
        let member = "m\(random.number(0...200))"
        switch random.number(0...27) {
        case 0: return ["SELECT", "\(random.pick([0, 0, 1, 9]))"]
        case 1...4: return ["SET", "s\(number)", value]
        case 5: return ["SET", "s\(number)", value, "PX", "\(random.number(1...400))"]
        case 6: return ["APPEND", "s\(number)", value]
        case 7: return ["INCRBY", "n\(number)", "\(random.number(-5...500))"]
        case 8: return ["INCRBYFLOAT", "n\(number)", "0.5"]
        case 9: return ["DEL", "s\(number)", "h\(number)", "l\(random.number(0...60))"]
        case 10: return ["PEXPIRE", "\(random.pick(["s", "h", "t", "l", "z"]))\(number)", "\(random.number(1...800))"]
        case 11: return ["SETRANGE", "s\(number)", "\(random.number(0...9_000))", "x"]
        case 12, 13: return ["HSET", "h\(number)", member, value]
        case 14: return ["HDEL", "h\(number)", member]
        case 15: return ["HINCRBY", "h\(number)", "counter", "3"]
        case 16, 17: return ["SADD", "t\(number)", member, "\(random.number(0...500))"]
        case 18: return ["SPOP", "t\(number)"]
        case 19, 20: return [random.pick(["LPUSH", "RPUSH"]), "l\(number)", value, member]
        case 21: return [random.pick(["LPOP", "RPOP"]), "l\(number)"]
        case 22: return ["LTRIM", "l\(number)", "1", "50"]
        case 23, 24: return ["ZADD", "z\(number)", "\(random.number(-100...100))", member]
        case 25: return ["ZINCRBY", "z\(number)", "0.25", member]
        case 26:
            return ["EVAL", "redis.call('SET', KEYS[1], 'x'); return redis.call('INCR', KEYS[2])", "2", "e1", "e2"]
        default: return ["RENAME", "s\(number)", "s\(random.number(0...60))"]
        }
    }
}
