// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import LMDB

/// A walk over the keys of a database that compares the slot tables with the key space, as far as it has come.
///
/// The slot tables are the key space here, so what can differ is: a row that does not lie where its key is looked up;
/// a key in the expiry index without a row; and the number of keys that is counted for a slot.
public struct SlotCheck {
    /// What was found out in a step.
    public enum Outcome: Equatable, Sendable {
        case goesOn
        case sound
        /// A key is in a slot table, and a look-up does not find it.
        case notFound(key: [UInt8])
        /// A key is known elsewhere, and not in its slot table.
        case notInSlot(key: [UInt8])
        /// The slot's count of keys is wrong.
        case miscounted(slot: Int, counted: Int, found: Int)
    }

    let database: Int
    var slot = 0
    /// The last row that was looked at, in the slot's table or at last in the expiry index; empty at the beginning.
    var last: [UInt8] = []
    /// The rows of the slot so far, and its changes when they began to be counted.
    var found = 0
    var writes = 0
    /// The space of the database then: after a flush it is another.
    var space: UInt16?

    /// A check of `database`, at its beginning.
    public init(of database: Int) { self.database = database }
}

extension Keyspace {
    /// Looks at up to `rows` rows, from where `check` stands; a slot that is changed meanwhile is not counted.
    public func advance(_ check: inout SlotCheck, rows: Int) -> SlotCheck.Outcome {
        var budget = rows
        do throws(LMDBError) {
            while budget > 0, check.slot < 1024 {
                if let problem = try checkSlot(&check, &budget) { return problem }
            }
            guard budget > 0 else { return .goesOn }
            return try checkExpiries(&check, budget)
        } catch {
            fail(KeyspaceError(error, while: "reading the keyspace"))
            return .sound
        }
    }

    private func checkSlot(_ check: inout SlotCheck, _ budget: inout Int) throws(LMDBError) -> SlotCheck.Outcome? {
        let space = state.spaces[check.database]
        if check.space != space { check.last = [] }
        check.space = space
        if check.last.isEmpty {
            check.found = 0
            check.writes = traffic.writes(check.slot)
            other.setPosition(space: space)
        } else {
            ByteView.with(check.last) { other.set(copying: $0) }
        }
        let cursor = try transaction.cursor(slotTables[check.slot])
        defer { cursor.close() }
        var row = try cursor.seek(other.view)
        if !check.last.isEmpty, let found = row, found.key == other.view { row = try cursor.next() }
        while let found = row, found.key.isKeyRow(of: space) {
            guard let record = Record(found.value) else { throw .corrupted }
            let key = reader.redisKey(rowKey: found.key, record)
            ByteView.with(key) { auxiliary.set($0, space: space, hashKey: state.hashKey) }
            guard auxiliary.slot == check.slot, auxiliary.view == found.key else { return .notFound(key: key) }
            check.found += 1
            check.last = Array(found.key)
            budget -= 1
            if budget == 0 { return nil }
            row = try cursor.next()
        }
        // An empty slot is a step too.
        budget -= 1
        let counted = counts[check.database].slots[check.slot].keys
        if counted != check.found, traffic.writes(check.slot) == check.writes {
            return .miscounted(slot: check.slot, counted: counted, found: check.found)
        }
        check.slot += 1
        check.last = []
        return nil
    }

    /// The keys of the expiry index, in order of their expiry.
    private func checkExpiries(_ check: inout SlotCheck, _ rows: Int) throws(LMDBError) -> SlotCheck.Outcome {
        let space = state.spaces[check.database]
        let cursor = try transaction.cursor(expiryTable)
        defer { cursor.close() }
        ByteView.with(check.last) { other.set(copying: $0) }
        var row = check.last.isEmpty ? try cursor.first() : try cursor.seek(other.view)
        if !check.last.isEmpty, let found = row, found.key == other.view { row = try cursor.next() }
        var budget = rows
        while let found = row {
            guard budget > 0 else { return .goesOn }
            budget -= 1
            guard found.key.count >= 8 + RowKeyLayout.prefixLength else { throw .corrupted }
            let rowKey = found.key.dropFirst(8)
            if rowKey.isKeyRow(of: space) {
                let slot = Int(rowKey.bigEndian(UInt32.self, at: 2) & 1023)
                let record = try transaction.get(rowKey, in: slotTables[slot]).flatMap { Record($0) }
                guard let record, record.expireAtMilliseconds == found.key.bigEndian(Int64.self, at: 0) else {
                    return .notInSlot(key: Array(rowKey.dropFirst(RowKeyLayout.prefixLength)))
                }
            }
            check.last = Array(found.key)
            row = try cursor.next()
        }
        return .sound
    }
}
