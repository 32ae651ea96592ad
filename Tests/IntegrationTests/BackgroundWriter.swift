// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisTesting
import Foundation
import Glibc
import Synchronization

/// What a writer does under faults.
struct FaultLoad: Sendable {
    /// Whether the server has commands of later versions.
    var hasLaterForms = false
    /// Whether a redis-server is on either side, which keeps some values in other bytes.
    var hasRedis = false
    /// Whether it takes elements out, and waits for some that are not there yet.
    var takesOut = false

    /// Takes elements out of the lists that others fill.
    static let pops = FaultLoad(takesOut: true)

    private static let scripts = [
        ("redis.call('SET', KEYS[1], 'x'); return redis.call('INCR', KEYS[2])", 2),
        ("for i = 1, 20 do redis.call('HINCRBY', KEYS[1], 'f' .. i % 7, i) end; return redis.call('HLEN', KEYS[1])", 1),
        ("local m = redis.call('SPOP', KEYS[1]); if m then redis.call('SADD', KEYS[2], m) end; return m", 2),
        (
            "redis.call('RPUSH', KEYS[1], 'a', 'b'); redis.call('EXPIRE', KEYS[1], 1); "
                + "return redis.call('RPOPLPUSH', KEYS[1], KEYS[2])", 2
        ),
    ]

    /// Commands to be sent in one go, and whether they are a transaction.
    func commands(_ random: inout SeededGenerator) -> (commands: [[String]], isTransaction: Bool) {
        if takesOut { return ([taking(&random)], false) }
        let commands = (0..<random.number(1...40)).map { _ in command(&random) }
        return (commands, random.oneIn(4))
    }

    private func taking(_ random: inout SeededGenerator) -> [String] {
        let keys = (0..<3).map { _ in "q\(random.number(0...5))" }
        switch random.number(0...2) {
        case 0: return ["BLPOP"] + keys + ["1"]
        case 1: return ["BRPOP"] + keys + ["1"]
        default: return ["BRPOPLPUSH", keys[0], keys[1], "1"]
        }
    }

    /// A command that changes something, or tries to.
    private func command(_ random: inout SeededGenerator) -> [String] {
        let number = random.number(0...60)
        let value = String(repeating: random.pick(["a", "bc", "1"]), count: random.pick([1, 5, 40, 300, 5_000]))
        if hasLaterForms, random.oneIn(4) { return laterCommand(&random, number, value) }
        switch random.number(0...5) {
        case 0: return strings(&random, number, value)
        case 1: return hashes(&random, number, value)
        case 2: return sets(&random, number)
        case 3: return lists(&random, number, value)
        case 4: return sortedSets(&random, number)
        default: return general(&random, number)
        }
    }

    private func strings(_ random: inout SeededGenerator, _ number: Int, _ value: String) -> [String] {
        switch random.number(0...9) {
        case 0...2: return ["SET", "s\(number)", value]
        case 3: return ["SET", "s\(number)", value, "PX", "\(random.number(1...400))"]
        case 4: return ["APPEND", "s\(number)", value]
        case 5: return ["INCRBY", "n\(number)", "\(random.number(-5...500))"]
        case 6: return ["INCRBYFLOAT", "n\(number)", "0.5"]
        case 7: return ["SETRANGE", "s\(number)", "\(random.number(0...9_000))", "x"]
        case 8: return ["SETBIT", "b\(number)", "\(random.number(0...3_000))", random.pick(["0", "1"])]
        default: return ["BITOP", random.pick(["AND", "OR", "XOR"]), "b\(number)", "b\(random.number(0...60))", "b1"]
        }
    }

    private func hashes(_ random: inout SeededGenerator, _ number: Int, _ value: String) -> [String] {
        let field = "m\(random.number(0...200))"
        switch random.number(0...5) {
        case 0, 1: return ["HSET", "h\(number)", field, value]
        case 2: return ["HMSET", "h\(number)", field, value, "counter", "\(number)"]
        case 3: return ["HDEL", "h\(number)", field]
        case 4: return ["HINCRBY", "h\(number)", "counter", "3"]
        default: return ["HINCRBYFLOAT", "h\(number)", "float", "0.25"]
        }
    }

    private func sets(_ random: inout SeededGenerator, _ number: Int) -> [String] {
        let member = "m\(random.number(0...200))"
        switch random.number(0...6) {
        case 0, 1: return ["SADD", "t\(number)", member, "\(random.number(0...500))"]
        case 2: return ["SADD", "t\(number)"] + (0..<30).map { _ in "\(random.number(0...10_000))" }
        case 3: return ["SPOP", "t\(number)"]
        case 4: return ["SMOVE", "t\(number)", "t\(random.number(0...60))", member]
        case 5: return ["SINTERSTORE", "t\(number)", "t\(random.number(0...60))", "t1"]
        default: return ["SUNIONSTORE", "t\(number)", "t\(random.number(0...60))", "t2"]
        }
    }

    private func lists(_ random: inout SeededGenerator, _ number: Int, _ value: String) -> [String] {
        switch random.number(0...7) {
        case 0, 1: return [random.pick(["LPUSH", "RPUSH"]), "l\(number)", value, "m\(number)"]
        case 2: return [random.pick(["LPOP", "RPOP"]), "l\(number)"]
        case 3: return ["LTRIM", "l\(number)", "1", "50"]
        case 4: return ["LINSERT", "l\(number)", random.pick(["BEFORE", "AFTER"]), "m\(number)", value]
        case 5: return ["RPOPLPUSH", "l\(number)", "l\(random.number(0...60))"]
        // Somebody may wait for these.
        default: return [random.pick(["LPUSH", "RPUSH"]), "q\(random.number(0...5))", value, "e"]
        }
    }

    private func sortedSets(_ random: inout SeededGenerator, _ number: Int) -> [String] {
        let member = "m\(random.number(0...200))"
        switch random.number(0...6) {
        case 0, 1: return ["ZADD", "z\(number)", "\(random.number(-100...100))", member]
        case 2:
            let pairs = (0..<20).flatMap { _ in ["\(random.number(-9...9)).5", "m\(random.number(0...900))"] }
            return ["ZADD", "z\(number)"] + pairs
        case 3: return ["ZINCRBY", "z\(number)", "0.25", member]
        case 4: return ["ZREMRANGEBYRANK", "z\(number)", "0", "1"]
        case 5: return ["ZREMRANGEBYSCORE", "z\(number)", "(90", "+inf"]
        default: return ["ZUNIONSTORE", "z\(number)", "2", "z\(random.number(0...60))", "z3", "AGGREGATE", "MAX"]
        }
    }

    private func general(_ random: inout SeededGenerator, _ number: Int) -> [String] {
        switch random.number(0...11) {
        case 0: return ["SELECT", "\(random.pick([0, 0, 1, 9]))"]
        case 1: return ["DEL", "s\(number)", "h\(number)", "l\(random.number(0...60))"]
        case 2, 3:
            return ["PEXPIRE", "\(random.pick(["s", "h", "t", "l", "z", "q"]))\(number)", "\(random.number(1...800))"]
        case 4: return ["PERSIST", "\(random.pick(["s", "h", "t", "l", "z"]))\(number)"]
        case 5: return ["RENAME", "s\(number)", "s\(random.number(0...60))"]
        case 6: return ["MOVE", "\(random.pick(["s", "h", "z"]))\(number)", "\(random.pick([0, 1, 9]))"]
        case 7: return ["SORT", "t\(number)", "ALPHA", "STORE", "sorted\(number)"]
        case 8 where !hasRedis: return ["PFADD", "p\(number)", "\(random.number(0...100_000))"]
        case 9 where random.oneIn(20): return ["FLUSHDB"]
        default:
            let (script, keyCount) = random.pick(Self.scripts)
            let prefix =
                script.contains("HINCRBY") ? "h" : script.contains("SPOP") ? "t" : script.contains("RPUSH") ? "l" : "e"
            return ["EVAL", script, "\(keyCount)"] + (0..<keyCount).map { _ in "\(prefix)\(random.number(0...60))" }
        }
    }

    private func laterCommand(_ random: inout SeededGenerator, _ number: Int, _ value: String) -> [String] {
        let other = random.number(0...60)
        switch random.number(0...13) {
        case 0: return ["SET", "s\(number)", value, "KEEPTTL"]
        case 1: return ["GETEX", "s\(number)", "PX", "\(random.number(1...600))"]
        case 2: return ["GETDEL", "s\(number)"]
        case 3: return ["HSET", "h\(number)", "a", value, "b", "2", "c", "3"]
        case 4: return [random.pick(["LPOP", "RPOP"]), "l\(number)", "\(random.number(1...4))"]
        case 5:
            return [
                "LMOVE", "l\(number)", "l\(other)", random.pick(["LEFT", "RIGHT"]), random.pick(["LEFT", "RIGHT"]),
            ]
        case 6: return ["SPOP", "t\(number)", "\(random.number(1...20))"]
        case 7: return ["ZADD", "z\(number)", random.pick(["GT", "LT", "NX", "XX"]), "\(other)", "m\(other)"]
        case 8: return [random.pick(["ZPOPMIN", "ZPOPMAX"]), "z\(number)", "2"]
        case 9: return ["ZRANGESTORE", "z\(number)", "z\(other)", "1", "-1"]
        case 10: return ["COPY", "\(random.pick(["s", "h", "z", "l", "t"]))\(number)", "copy\(other)", "REPLACE"]
        case 11: return ["BITFIELD", "b\(number)", "OVERFLOW", "SAT", "INCRBY", "i7", "\(other)", "9"]
        case 12: return ["UNLINK", "copy\(number)"]
        default: return ["SWAPDB", "1", "9"]
        }
    }
}

/// A thread that writes as fast as it can.
final class BackgroundWriter: Sendable {
    private struct State {
        var port: Int
        var isPaused = false
        var isIdle = false
        var isStopped = false
        var count = 0
    }

    private let state: Mutex<State>
    private let load: FaultLoad

    init(port: Int, seed: UInt64, _ load: FaultLoad = FaultLoad()) {
        state = Mutex(State(port: port))
        self.load = load
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
                let (commands, isTransaction) = load.commands(&random)
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
}
