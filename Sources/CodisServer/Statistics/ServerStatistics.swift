// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

/// What INFO tells under `# Stats`, and what the cron keeps for it.
struct ServerStatistics {
    var connectionsReceived = 0
    var connectionsRejected = 0
    var commandsProcessed = 0
    var networkInputBytes = 0
    var networkOutputBytes = 0
    var expiredKeys = 0
    var evictedKeys = 0
    var keyspaceHits = 0
    var keyspaceMisses = 0
    var fullSyncs = 0
    var partialSyncs = 0
    var partialSyncsRefused = 0
    var delayedSyncs = 0

    var commandsPerSecond = RateSampler()
    var inputBytesPerSecond = RateSampler()
    var outputBytesPerSecond = RateSampler()

    /// Takes a sample of the rates, each 100 ms.
    mutating func sample(atNanoseconds now: Int64) {
        commandsPerSecond.sample(commandsProcessed, atNanoseconds: now)
        inputBytesPerSecond.sample(networkInputBytes, atNanoseconds: now)
        outputBytesPerSecond.sample(networkOutputBytes, atNanoseconds: now)
    }

    /// Zeroes what CONFIG RESETSTAT zeroes.
    mutating func reset() { self = ServerStatistics() }
}

/// The mean of the last 16 samples of a rate (Redis 2.8: redis.c, trackInstantaneousMetric).
struct RateSampler {
    private var samples = [Int](repeating: 0, count: 16)
    private var next = 0
    private var lastCount = 0
    private var lastNanoseconds: Int64 = 0

    mutating func sample(_ count: Int, atNanoseconds now: Int64) {
        let elapsed = now - lastNanoseconds
        if lastNanoseconds != 0, elapsed > 0 {
            samples[next] = Int(Int64(count - lastCount) * 1000 / max(1, elapsed / 1_000_000))
            next = (next + 1) % samples.count
        }
        lastCount = count
        lastNanoseconds = now
    }

    var perSecond: Int { samples.reduce(0, +) / samples.count }
}

/// How often each command ran, and for how long, by the number of its row.
@safe
final class CommandStatistics {
    struct Entry {
        var calls = 0
        var nanoseconds: Int64 = 0
    }

    private let entries: UnsafeMutablePointer<Entry>
    let count: Int

    init(count: Int) {
        self.count = count
        unsafe entries = .allocate(capacity: count)
        unsafe entries.initialize(repeating: Entry(), count: count)
    }

    deinit {
        unsafe entries.deallocate()
    }

    subscript(row: Int) -> Entry {
        precondition(row >= 0 && row < count, "no such row")
        return unsafe entries[row]
    }

    @inline(__always)
    func note(row: Int, nanoseconds: Int64) {
        precondition(row >= 0 && row < count, "no such row")
        unsafe entries[row].calls += 1
        unsafe entries[row].nanoseconds += nanoseconds
    }

    /// Adds time to the last call of a command that ran others within it.
    func add(row: Int, nanoseconds: Int64) {
        precondition(row >= 0 && row < count, "no such row")
        unsafe entries[row].nanoseconds += nanoseconds
    }

    /// Counts the last call of `row` as one of another.
    func moveCall(from row: Int, to other: Int, nanoseconds: Int64) {
        precondition(row >= 0 && row < count && other >= 0 && other < count, "no such row")
        unsafe entries[row].calls = max(0, entries[row].calls - 1)
        note(row: other, nanoseconds: nanoseconds)
    }

    func reset() { unsafe entries.update(repeating: Entry(), count: count) }
}
