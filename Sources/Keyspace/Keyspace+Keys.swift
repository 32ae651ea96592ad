// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

public import Bytes
internal import LMDB

extension Keyspace {
    /// Deletes `key`; O(log n) whatever its size: the rows of a large value are deleted in the background.
    ///
    /// - Returns: false if there is no such key.
    public func remove(_ key: ByteView, in database: Int) throws(KeyspaceError) -> Bool {
        setTarget(key, database)
        return try removeTarget(database)
    }

    func removeTarget(_ database: Int) throws(KeyspaceError) -> Bool {
        // A look-up first: to delete nothing is no change.
        if case .unknown = placement {
            do throws(LMDBError) {
                _ = try placeOnTarget()
            } catch {
                throw KeyspaceError(error, while: "reading the keyspace")
            }
        }
        if case .missing = placement { return false }
        return try change { () throws(LMDBError) in
            guard let (record, rowLength) = try findTarget() else { return false }
            let old = OldRow(record, rowLength: rowLength)
            try deleteRow(old, longKeyLength: record.longKeyLength, database: database)
            return true
        }
    }

    /// Sets when `key` expires, in ms since 1970, or 0 for never; O(log n).
    ///
    /// - Returns: false if there is no such key.
    public func setExpiry(
        _ key: ByteView,
        in database: Int,
        atMilliseconds: Int64
    ) throws(KeyspaceError) -> Bool {
        setTarget(key, database)
        return try change { () throws(LMDBError) in
            guard let (found, rowLength) = try findTarget() else { return false }
            guard found.expireAtMilliseconds != atMilliseconds else { return true }
            try rewriteHead(found, rowLength, key, database) { $0.expireAtMilliseconds = atMilliseconds }
            return true
        }
    }

    /// Has the collection `key` count as one in Redis's larger form from now on, which is no change of the value.
    public func leaveCompactEncoding(_ key: ByteView, in database: Int) throws(KeyspaceError) {
        setTarget(key, database)
        try change { () throws(LMDBError) in
            guard let (found, rowLength) = try findTarget(), found.encoding == 0 else { return }
            // What is reserved in the place of a row of the same length keeps its bytes.
            let memory = unsafe try cursor(target.slot).reserveCurrent(target.view, count: rowLength)
            unsafe memory.storeBytes(of: 1, toByteOffset: 1, as: UInt8.self)
        }
    }

    /// Writes the row of `target` again with a changed head and the same payload.
    private func rewriteHead(
        _ found: Record,
        _ rowLength: Int,
        _ key: ByteView,
        _ database: Int,
        _ edit: (inout Record) -> Void
    ) throws(LMDBError) {
        let old = OldRow(found, rowLength: rowLength)
        var record = found
        edit(&record)
        let payload = Array(found.payload)
        record.payload = ByteView()
        try ByteView.with(payload) { payload throws(LMDBError) in
            if !payload.isEmpty, !fits(record, payloadLength: payload.count) {
                // The longer head leaves no room for a value that just fitted: it moves to rows of its own.
                precondition(record.type == .string, "only a string may fill its row")
                record.object = takeObjectNumber()
                record.home = UInt16(target.slot)
                record.count = payload.count
                record.objectBytes = payload.count + ElementKind.chunkKeyLength
                try writeChunks(payload, object: record.object, home: target.slot)
                try placeCursor(expecting: true)
                try writeRow(record, payload: ByteView(), replacing: old, database: database)
            } else {
                try writeRow(record, payload: payload, replacing: old, database: database)
            }
        }
    }

    /// Gives the value of `key` to `newKey` in `newDatabase`, with its expiry; what was there is replaced.
    ///
    /// O(log n) whatever its size: the rows of a large value stay where they are.
    ///
    /// - Returns: false if there is no such key. The two must differ.
    public func rename(
        _ key: ByteView,
        in database: Int,
        to newKey: ByteView,
        in newDatabase: Int
    ) throws(KeyspaceError) -> Bool {
        setTarget(key, database)
        return try change { () throws(LMDBError) in
            guard let (found, rowLength) = try findTarget() else { return false }
            var record = found
            let payload = Array(found.payload)
            record.payload = ByteView()
            // The old row goes, but not its object: that now belongs to the new row.
            let moved = OldRow(found, rowLength: rowLength)
            try deleteRow(moved, longKeyLength: found.longKeyLength, database: database, keepingObject: true)

            setTarget(newKey, newDatabase)
            let existing = try findTarget()
            let replaced = existing.map { OldRow($0.record, rowLength: $0.rowLength) }
            record.longKeyLength = 0
            record.keyObject = 0
            if target.isLong { try nameLongKey(&record, newKey, existing: existing?.record) }
            try ByteView.with(payload) { payload throws(LMDBError) in
                var rest = payload
                if !payload.isEmpty, !fits(record, payloadLength: payload.count) {
                    precondition(record.type == .string, "only a string may fill its row")
                    record.object = takeObjectNumber()
                    record.home = UInt16(target.slot)
                    record.count = payload.count
                    record.objectBytes = payload.count + ElementKind.chunkKeyLength
                    try writeChunks(payload, object: record.object, home: target.slot)
                    rest = ByteView()
                }
                try placeCursor(expecting: replaced != nil)
                try writeRow(record, payload: rest, replacing: replaced, database: newDatabase)
            }
            return true
        }
    }

    /// Deletes all keys of `database`, in time that does not follow from their number: the database gets another
    /// space, and the rows of the old one are deleted in the background.
    public func removeAll(in database: Int) throws(KeyspaceError) {
        guard counts[database].total.keys > 0 else { return }
        if let onRemoveAll { onRemoveAll(database) }
        try change { () throws(LMDBError) in
            let space = state.spaces[database]
            let total = counts[database].total
            try letGo(space: space, isPlain: total.expiring == 0 && total.objects == 0)
            databaseOfSpace[Int(space)] = -1
            state.spaces[database] = try unusedSpace()
            databaseOfSpace[Int(state.spaces[database])] = Int16(database)
            counts[database].removeAll()
        }
    }

    /// Exchanges the keys of two databases, in O(slots) whatever their number: each gets the space of the other.
    public func swapDatabases(_ one: Int, _ other: Int) throws(KeyspaceError) {
        guard one != other else { return }
        try change { () throws(LMDBError) in
            state.spaces.swapAt(one, other)
            databaseOfSpace[Int(state.spaces[one])] = Int16(one)
            databaseOfSpace[Int(state.spaces[other])] = Int16(other)
            counts.swapAt(one, other)
            counts[one].noteChanges(from: counts[other])
            counts[other].noteChanges(from: counts[one])
        }
    }

    /// A space that neither a database nor the reclaim table has.
    private func unusedSpace() throws(LMDBError) -> UInt16 {
        for _ in 0..<Int(RowKeyLayout.spaceLimit) {
            let space = state.nextSpace
            state.nextSpace = (space + 1) % RowKeyLayout.spaceLimit
            if databaseOfSpace[Int(space)] < 0, reclaimedSpaces[space] == nil { return space }
        }
        throw .other(0)
    }
}
