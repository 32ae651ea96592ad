// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import Keyspace

/// Eviction: keys go when the data are larger than `maxmemory` allows (Redis 2.8: redis.c, freeMemoryIfNeeded).
///
/// The limit is on the logical size of the data, which the keyspace counts exactly: keys, values and the heads of their
/// rows. Buffers of clients do not count towards it.
extension Server {
    /// How long one command may be kept waiting for evictions; the next goes on with them.
    private static let evictionBudgetNanoseconds: Int64 = 5_000_000
    /// How many keys are looked at in search of one with an expiry, for each that is wanted.
    private static let mostTries = 16

    /// Evicts keys until the data are within the limit, for a bounded time.
    ///
    /// - Returns: false if they are not and nothing can be evicted: then nothing may be added.
    func evictIfNeeded() -> Bool {
        guard keyspace.storedBytes > config.maximumMemory else { return true }
        guard config.maximumMemoryPolicy != .noEviction else { return false }
        // On a replica keys go when its master says so.
        guard !isLoading, !isReplica else { return true }
        var timer = Clock()
        var spent: Int64 = 0
        var evicted = 0
        while keyspace.storedBytes > config.maximumMemory {
            guard evictOneOfEachDatabase() else { break }
            evicted += 1
            spent += timer.readMonotonic()
            if spent > Server.evictionBudgetNanoseconds { break }
        }
        noteLatency("eviction-cycle", nanoseconds: spent)
        if evicted > 0 { scheduleReclaim() }
        return evicted > 0
    }

    /// Evicts a key of each database that has one to give; false if none had.
    private func evictOneOfEachDatabase() -> Bool {
        var found = false
        for database in 0..<databaseCount where keyspace.keyCount(in: database) > 0 {
            guard keyspace.ensureRoomForDelete(), let key = keyToEvict(in: database) else { continue }
            ByteView.with(key) { evict($0, in: database) }
            if keyspace.failure != nil { return false }
            found = true
        }
        return found
    }

    private func keyToEvict(in database: Int) -> [UInt8]? {
        switch config.maximumMemoryPolicy {
        case .noEviction: return nil
        case .allKeysRandom: return keyspace.randomKey(in: database)
        case .volatileRandom: return randomVolatileKey(in: database)
        case .volatileTTL: return keyspace.firstExpiring(in: database)
        case .allKeysLRU: return longestIdle(in: database) { keyspace.randomKey(in: database) }
        case .volatileLRU: return longestIdle(in: database) { randomVolatileKey(in: database) }
        }
    }

    /// A key of `database` with an expiry: one of those met at random, or where they are few the one to expire first.
    private func randomVolatileKey(in database: Int) -> [UInt8]? {
        guard keyspace.expiringKeyCount(in: database) > 0 else { return nil }
        for _ in 0..<Server.mostTries {
            guard let key = keyspace.randomKey(in: database) else { return nil }
            let record = ByteView.with(key) { keyspace.find($0, in: database) }
            if let record, record.expireAtMilliseconds != 0 { return key }
        }
        return keyspace.firstExpiring(in: database)
    }

    /// The one of `maxmemory-samples` keys that was used least recently, as far as is known.
    private func longestIdle(in database: Int, _ next: () -> [UInt8]?) -> [UInt8]? {
        // Of a key that was not used since the start nothing is known but that.
        let start = UInt32(truncatingIfNeeded: startedAtMilliseconds / 1000)
        var chosen: (key: [UInt8], lastUse: UInt32)?
        for _ in 0..<min(64, config.maximumMemorySamples) {
            guard let key = next() else { break }
            let lastUse = ByteView.with(key) { keyspace.lastUse(of: $0, in: database) } ?? start
            if chosen.map({ lastUse < $0.lastUse }) ?? true { chosen = (key, lastUse) }
        }
        return chosen?.key
    }

    /// Whether the policy must know when keys were used, writes among their uses.
    func noteWriteAccess() {
        let isLRU = config.maximumMemoryPolicy == .allKeysLRU || config.maximumMemoryPolicy == .volatileLRU
        let isNoted = config.maximumMemory > 0 && isLRU
        keyspace.writeAccessSeconds = isNoted ? UInt32(truncatingIfNeeded: clock.seconds) : 0
    }

    /// Deletes a key for the sake of others, and lets the log and everybody know.
    private func evict(_ key: ByteView, in database: Int) {
        do throws(KeyspaceError) {
            // As with expiry, that a key goes by itself is no change of a key that is watched.
            watches.isSuspended = true
            defer { watches.isSuspended = false }
            guard try keyspace.remove(key, in: database) else { return }
        } catch {
            // The end of the tick sees that the keyspace has failed.
            return
        }
        statistics.evictedKeys += 1
        effects.append("DEL", key, database: database)
        if !notifiedEvents.isEmpty { publishEvent(.evicted, "evicted", key, in: database) }
        needsTickEnd()
    }
}
