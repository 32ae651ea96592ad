// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

public import Bytes
internal import LMDB
public import SlotHash

/// A place in the order of a database's keys, as the number that SCAN gives its clients.
///
/// Keys are ordered by slot, then by the other 22 bits of their checksum, then by the upper 31 bits of their keyed
/// hash: 63 bits, so that clients with signed integers are safe. The cursor is the first place not yet seen; there is
/// no state in the server, and a key that stays is returned exactly once.
struct ScanPosition {
    var slot: Int
    var checksum: UInt32
    var hash: UInt32

    init(_ cursor: UInt64) {
        slot = Int(cursor >> 53 & 1023)
        checksum = UInt32(truncatingIfNeeded: cursor >> 31 & 0x3F_FFFF) << 10 | UInt32(slot)
        hash = UInt32(truncatingIfNeeded: cursor & 0x7FFF_FFFF) << 1
    }

    /// The place of the row with this key, as a cursor.
    static func cursor(of rowKey: ByteView) -> UInt64 {
        let checksum = rowKey.bigEndian(UInt32.self, at: 2)
        let hash = rowKey.bigEndian(UInt32.self, at: 6)
        return UInt64(checksum & 1023) << 53 | UInt64(checksum >> 10) << 31 | UInt64(hash >> 1)
    }

    static let end = UInt64(1) << 63
}

/// A walk over the keys whose tag has one checksum: they lie together.
public struct TagWalk {
    let checksum: UInt32
    let database: Int
    /// The row that comes next; empty at the beginning.
    var next: [UInt8] = []
    /// Whether all keys were met.
    public internal(set) var isAtEnd = false

    /// The walk over the tagged keys of `database` with this checksum.
    public init(checksum: UInt32, in database: Int) {
        self.checksum = checksum
        self.database = database
    }
}

extension Keyspace {
    /// Calls `body` with about `count` keys from the place `cursor` on, and returns the next place, or 0 at the end.
    ///
    /// `body` must not change the keyspace. O(count · log n), plus O(1) for each empty slot passed.
    public func scan(
        _ cursor: UInt64,
        in database: Int,
        count: Int,
        _ body: (ByteView, Record) -> Void
    ) -> UInt64 {
        guard cursor < ScanPosition.end else { return 0 }
        var wanted = max(1, count)
        var cursor = cursor
        while cursor < ScanPosition.end {
            let slot = ScanPosition(cursor).slot
            if counts[database].slots[slot].keys > 0 {
                cursor = scanSlot(cursor, database, &wanted, body)
            } else {
                cursor = UInt64(slot + 1) << 53
            }
            if wanted <= 0 { break }
        }
        return cursor < ScanPosition.end ? cursor : 0
    }

    /// `scan` within one slot, from a cursor of its own: 0 begins and ends.
    public func scan(
        _ cursor: UInt64,
        slot: Slot,
        in database: Int,
        count: Int,
        _ body: (ByteView, Record) -> Void
    ) -> UInt64 {
        guard cursor < 1 << 53 else { return 0 }
        var wanted = max(1, count)
        let next = scanSlot(UInt64(slot.number) << 53 | cursor, database, &wanted, body)
        return next >> 53 == UInt64(slot.number) ? next & (1 << 53 - 1) : 0
    }

    /// The cursor of a slot's `scan` before all keys that have this checksum; others with the same place may precede.
    public static func scanCursor(ofChecksum checksum: UInt32) -> UInt64 { UInt64(checksum >> 10) << 31 }

    /// Walks one slot from `cursor` until `wanted` keys were seen, and all that share the last one's place.
    private func scanSlot(
        _ cursor: UInt64,
        _ database: Int,
        _ wanted: inout Int,
        _ body: (ByteView, Record) -> Void
    ) -> UInt64 {
        let position = ScanPosition(cursor)
        let space = state.spaces[database]
        other.setPosition(space: space, checksum: position.checksum, hash: position.hash)
        var last = cursor
        var next = UInt64(position.slot + 1) << 53
        walk(slot: position.slot, from: other.view) { key, value in
            guard key.isKeyRow(of: space) else { return false }
            let place = ScanPosition.cursor(of: key)
            if wanted <= 0, place != last {
                next = last + 1
                return false
            }
            last = place
            wanted -= 1
            return self.withKey(key, value, body)
        }
        return next
    }

    /// The next keys of a tag, about `count` of them, copied, and whether they expire; O(count), and O(log n) to find
    /// the place.
    public func keys(of walk: inout TagWalk, count: Int) -> [(key: [UInt8], expires: Bool)] {
        var keys: [(key: [UInt8], expires: Bool)] = []
        let space = state.spaces[walk.database]
        if walk.next.isEmpty {
            other.setPosition(space: space, checksum: walk.checksum)
        } else {
            ByteView.with(walk.next) { other.set(copying: $0) }
        }
        var left = count
        var last: [UInt8]?
        let start = other.view
        self.walk(slot: Int(walk.checksum & 1023), from: start) { key, value in
            guard key.isKeyRow(of: space), key.bigEndian(UInt32.self, at: 2) == walk.checksum else { return false }
            guard left > 0 else {
                last = Array(key)
                return false
            }
            left -= 1
            return self.withKey(key, value) { key, record in
                if KeyHash(of: key).isTagged { keys.append((Array(key), record.expireAtMilliseconds != 0)) }
            }
        }
        walk.next = last ?? []
        walk.isAtEnd = last == nil
        return keys
    }

    /// Calls `body` with every key of `database` until it returns false.
    ///
    /// It must not change the keyspace.
    public func forEachKey(in database: Int, _ body: (ByteView, Record) -> Bool) {
        let space = state.spaces[database]
        var goesOn = true
        for slot in 0..<1024 where goesOn && counts[database].slots[slot].keys > 0 {
            other.setPosition(space: space)
            walk(slot: slot, from: other.view) { key, value in
                guard key.isKeyRow(of: space) else { return false }
                _ = self.withKey(key, value) { goesOn = body($0, $1) }
                return goesOn
            }
        }
    }

    /// A key of `database` chosen at random, copied, or nil if there is none.
    ///
    /// The slot is chosen by its share of the keys. In a slot of up to 256 keys each is as likely as any other; in a
    /// larger one the choice falls near a random place of the order, which is itself random.
    public func randomKey(in database: Int) -> [UInt8]? {
        let total = counts[database].total.keys
        guard total > 0 else { return nil }
        var rest = Int.random(in: 0..<total, using: &generator)
        var slot = 0
        while rest >= counts[database].slots[slot].keys {
            rest -= counts[database].slots[slot].keys
            slot += 1
        }
        return randomKeys(in: database, slot: slot, count: 1).first
    }

    /// As `randomKey(in:)`, of one slot.
    public func randomKey(in database: Int, slot: Slot) -> [UInt8]? {
        randomKeys(in: database, slot: slot, count: 1).first
    }

    /// Keys of a slot that lie together, `count` in all, from a random place on.
    ///
    /// The first is chosen as by `randomKey(in:slot:)`; after the last of the slot comes its first. If the slot has
    /// fewer keys, all of them. `count` is 64 at most.
    public func randomKeys(in database: Int, slot: Slot, count: Int) -> [[UInt8]] {
        randomKeys(in: database, slot: Int(slot.number), count: count)
    }

    /// The first key of a slot in the order of rows, copied, or nil if there is none.
    public func firstKey(in database: Int, slot: Slot) -> [UInt8]? {
        guard counts[database].slots[Int(slot.number)].keys > 0 else { return nil }
        let space = state.spaces[database]
        var first: [UInt8]?
        other.setPosition(space: space)
        walk(slot: Int(slot.number), from: other.view) { key, value in
            if key.isKeyRow(of: space), let record = Record(value) { first = reader.redisKey(rowKey: key, record) }
            return false
        }
        return first
    }

    private func randomKeys(in database: Int, slot: Int, count: Int) -> [[UInt8]] {
        precondition(count <= 64, "keys would come twice")
        let space = state.spaces[database]
        let keyCount = counts[database].slots[slot].keys
        let count = min(count, keyCount)
        guard count > 0 else { return [] }
        var skip: Int
        if keyCount <= 256 {
            skip = Int.random(in: 0..<keyCount, using: &generator)
            other.setPosition(space: space)
        } else {
            skip = Int.random(in: 0..<64, using: &generator)
            other.setPosition(
                space: space,
                checksum: UInt32.random(in: 0...UInt32.max, using: &generator) & ~1023 | UInt32(slot),
                hash: UInt32.random(in: 0...UInt32.max, using: &generator)
            )
        }
        var chosen: [[UInt8]] = []
        // At the end of the slot the walk goes on at its beginning.
        for _ in 0..<2 where chosen.count < count {
            walk(slot: slot, from: other.view) { key, value in
                guard key.isKeyRow(of: space) else { return false }
                skip -= 1
                guard skip < 0, let record = Record(value) else { return true }
                chosen.append(self.reader.redisKey(rowKey: key, record))
                return chosen.count < count
            }
            other.setPosition(space: space)
        }
        return chosen
    }

    /// Calls `body` with the rows of a slot table from `start` on until it returns false.
    func walk(slot: Int, from start: ByteView, _ body: (ByteView, ByteView) -> Bool) {
        do throws(LMDBError) {
            let cursor = try transaction.cursor(slotTables[slot])
            defer { cursor.close() }
            var row = try cursor.seek(start)
            while let found = row, body(found.key, found.value) { row = try cursor.next() }
        } catch {
            fail(KeyspaceError(error, while: "reading the keyspace"))
        }
    }

    /// Calls `body` with the Redis key and the record of a row.
    private func withKey(_ rowKey: ByteView, _ value: ByteView, _ body: (ByteView, Record) -> Void) -> Bool {
        guard let record = Record(value) else {
            fail(.failed("a row of the keyspace is damaged"))
            return false
        }
        if record.longKeyLength == 0 {
            body(rowKey.dropFirst(RowKeyLayout.prefixLength), record)
        } else {
            ByteView.with(reader.redisKey(rowKey: rowKey, record)) { body($0, record) }
        }
        return true
    }

    // MARK: Expiry

    /// The key that expires first, if its time is before `now` (in ms), copied; nil if none is due.
    ///
    /// O(log n).
    public func nextExpired(at now: Int64) throws(KeyspaceError) -> (database: Int, key: [UInt8])? {
        // What a flush left behind in the index is cleared away on the way, in bounded steps.
        for _ in 0..<256 {
            var due: ExpiryEntry?
            do throws(LMDBError) { due = try firstExpiry() } catch {
                throw KeyspaceError(error, while: "reading the expiry index")
            }
            guard let due, due.expireAtMilliseconds < now else { return nil }
            if let found = due.key { return (due.database, found) }
            try change { () throws(LMDBError) in
                auxiliary.set(copying: other.view)
                _ = try transaction.delete(auxiliary.view, in: expiryTable)
            }
        }
        return nil
    }

    /// The key of `database` that expires first, copied; nil if none of it has an expiry.
    ///
    /// O(log n) if no other database has keys that expire sooner, else it passes over at most some thousand of those
    /// and gives up, which the caller may take for nil.
    public func firstExpiring(in database: Int) -> [UInt8]? {
        guard counts[database].total.expiring > 0 else { return nil }
        let space = state.spaces[database]
        do throws(LMDBError) {
            let cursor = try transaction.cursor(expiryTable)
            defer { cursor.close() }
            var row = try cursor.first()
            var passed = 0
            while let found = row, passed < 4096 {
                guard found.key.count >= 8 + RowKeyLayout.prefixLength else { throw .corrupted }
                let rowKey = found.key.dropFirst(8)
                if rowKey.bigEndian(UInt16.self, at: 0) == space {
                    let slot = Int(rowKey.bigEndian(UInt32.self, at: 2) & 1023)
                    if let value = try transaction.get(rowKey, in: slotTables[slot]), let record = Record(value) {
                        return reader.redisKey(rowKey: rowKey, record)
                    }
                }
                passed += 1
                row = try cursor.next()
            }
        } catch {
            fail(KeyspaceError(error, while: "reading the expiry index"))
        }
        return nil
    }

    private struct ExpiryEntry {
        var expireAtMilliseconds: Int64
        var database = -1
        var key: [UInt8]?
    }

    /// The first entry of the expiry index, whose key is left in `other`.
    private func firstExpiry() throws(LMDBError) -> ExpiryEntry? {
        let cursor = try transaction.cursor(expiryTable)
        defer { cursor.close() }
        guard let row = try cursor.first() else { return nil }
        guard row.key.count >= 8 + RowKeyLayout.prefixLength else { throw .corrupted }
        other.set(copying: row.key)
        let rowKey = other.view.dropFirst(8)
        var entry = ExpiryEntry(expireAtMilliseconds: row.key.bigEndian(Int64.self, at: 0))
        let space = rowKey.bigEndian(UInt16.self, at: 0)
        guard space < RowKeyLayout.spaceLimit else { throw .corrupted }
        entry.database = Int(databaseOfSpace[Int(space)])
        if entry.database >= 0 {
            let slot = Int(rowKey.bigEndian(UInt32.self, at: 2) & 1023)
            if let value = try transaction.get(rowKey, in: slotTables[slot]), let record = Record(value) {
                entry.key = reader.redisKey(rowKey: rowKey, record)
            }
        }
        return entry
    }
}
