// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import LMDB

/// What nobody refers to any more is noted in the reclaim table and deleted in the background, in bounded steps.
///
/// Rows: `[kind: 1][sequence: 8][id: 8]`. An object has its home slot (2 bytes) as value, a blob also its object (8), a
/// space how far it is done (2) and whether its rows are plain (1): none has an expiry or an object. Only what was let
/// go of before the last commit is taken up: pages that the running transaction wrote are dear to free, as LMDB then
/// searches its list of dirty pages for each.
enum ReclaimKind {
    static let object: UInt8 = 0
    static let space: UInt8 = 1
    /// An object that is being built; it is let go of at opening.
    static let unfinished: UInt8 = 2
    /// A blob of an object that goes on to live.
    static let blob: UInt8 = 3
    /// A blob that is being built; it is let go of at opening.
    static let unfinishedBlob: UInt8 = 4
}

extension Keyspace {
    func letGo(object: UInt64, home: UInt16) throws(LMDBError) {
        auxiliary.setReclaim(kind: ReclaimKind.object, sequence: state.sequence, id: object)
        try putReclaim(count: 2) { $0.append(littleEndian: home) }
    }

    func letGo(blob: UInt64, object: UInt64, home: UInt16) throws(LMDBError) {
        auxiliary.setReclaim(kind: ReclaimKind.blob, sequence: state.sequence, id: blob)
        try putReclaim(count: 10) {
            $0.append(littleEndian: home)
            $0.append(littleEndian: object)
        }
    }

    func letGo(space: UInt16, isPlain: Bool) throws(LMDBError) {
        auxiliary.setReclaim(kind: ReclaimKind.space, sequence: state.sequence, id: UInt64(space))
        try putReclaim(count: 3) {
            $0.append(littleEndian: UInt16(0))
            $0.append(isPlain ? 1 : 0)
        }
        reclaimedSpaces[space] = isPlain
    }

    func noteUnfinished(object: UInt64, home: UInt16) throws(LMDBError) {
        auxiliary.setReclaim(kind: ReclaimKind.unfinished, sequence: 0, id: object)
        try putReclaim(count: 2) { $0.append(littleEndian: home) }
    }

    func noteUnfinished(blob: UInt64, object: UInt64, home: UInt16) throws(LMDBError) {
        auxiliary.setReclaim(kind: ReclaimKind.unfinishedBlob, sequence: 0, id: blob)
        try putReclaim(count: 10) {
            $0.append(littleEndian: home)
            $0.append(littleEndian: object)
        }
    }

    func noteFinished(object: UInt64) throws(LMDBError) {
        auxiliary.setReclaim(kind: ReclaimKind.unfinished, sequence: 0, id: object)
        try transaction.delete(auxiliary.view, in: reclaimTable)
    }

    func noteFinished(blob: UInt64) throws(LMDBError) {
        auxiliary.setReclaim(kind: ReclaimKind.unfinishedBlob, sequence: 0, id: blob)
        try transaction.delete(auxiliary.view, in: reclaimTable)
    }

    private func putReclaim(count: Int, _ fill: (inout RowWriter) -> Void) throws(LMDBError) {
        let memory = unsafe try transaction.reserve(auxiliary.view, count: count, in: reclaimTable)
        var writer = unsafe RowWriter(memory)
        fill(&writer)
        hasReclaimRows = true
    }

    /// Lets go of the objects and blobs that were being built when the keyspace was last open, and learns what is to
    /// reclaim.
    func adoptUnfinishedObjects() throws(LMDBError) {
        let cursor = try transaction.cursor(reclaimTable)
        defer { cursor.close() }
        var unfinished: [(object: UInt64, home: UInt16)] = []
        var unfinishedBlobs: [(blob: UInt64, object: UInt64, home: UInt16)] = []
        var row = try cursor.first()
        while let found = row {
            guard found.key.count == 17, found.value.count >= 2 else { throw .corrupted }
            hasReclaimRows = true
            let id = found.key.bigEndian(UInt64.self, at: 9)
            switch found.key[0] {
            case ReclaimKind.unfinished: unfinished.append((id, found.value.littleEndian(UInt16.self, at: 0)))
            case ReclaimKind.unfinishedBlob:
                guard found.value.count == 10 else { throw .corrupted }
                let object = found.value.littleEndian(UInt64.self, at: 2)
                unfinishedBlobs.append((id, object, found.value.littleEndian(UInt16.self, at: 0)))
            case ReclaimKind.space:
                reclaimedSpaces[UInt16(truncatingIfNeeded: id)] = found.value.count > 2 && found.value[2] != 0
            default: break
            }
            row = try cursor.next()
        }
        for (object, home) in unfinished {
            try noteFinished(object: object)
            try letGo(object: object, home: home)
        }
        for (blob, object, home) in unfinishedBlobs {
            try noteFinished(blob: blob)
            try letGo(blob: blob, object: object, home: home)
        }
        if !unfinished.isEmpty || !unfinishedBlobs.isEmpty { hasUncommittedChanges = true }
    }

    /// Whether `reclaim(maximumRows:)` has something to do now.
    public var hasReclaimWork: Bool { hasReclaimRows && failure == nil && !reclaimWaitsForCommit }

    /// Whether the reclaim table has anything, be it now or after the next commit.
    public var hasReclaimBacklog: Bool { hasReclaimRows }

    /// Deletes at most about `maximumRows` rows that nobody refers to any more.
    ///
    /// - Returns: whether there is more to do at once.
    /// - Throws: `KeyspaceError.failed`.
    @discardableResult
    public func reclaim(maximumRows: Int) throws(KeyspaceError) -> Bool {
        guard hasReclaimWork else { return false }
        return try change { () throws(LMDBError) in
            var budget = maximumRows
            while budget > 0 {
                guard let next = try nextReclaim() else {
                    reclaimWaitsForCommit = true
                    return false
                }
                switch next.kind {
                case ReclaimKind.space:
                    try reclaimSpace(next, &budget)
                case ReclaimKind.blob:
                    auxiliary.setBlob(object: next.object, blob: next.id)
                    try reclaimRows(next, &budget)
                default:
                    auxiliary.setElementPrefix(object: next.id)
                    try reclaimRows(next, &budget)
                }
            }
            return true
        }
    }

    private struct Reclaim {
        var key: [UInt8]
        var kind: UInt8
        var id: UInt64
        /// The object of a blob.
        var object: UInt64
        var home: Int
        var isPlain: Bool
    }

    /// The first row that was noted before the last commit: objects first, then blobs and spaces.
    private func nextReclaim() throws(LMDBError) -> Reclaim? {
        let cursor = try transaction.cursor(reclaimTable)
        defer { cursor.close() }
        var anything = false
        for kind in [ReclaimKind.object, ReclaimKind.blob, ReclaimKind.space] {
            auxiliary.setReclaim(kind: kind, sequence: 0, id: 0)
            guard let row = try cursor.seek(auxiliary.view), row.key[0] == kind else { continue }
            anything = true
            guard row.key.bigEndian(UInt64.self, at: 1) < state.sequence else { continue }
            return Reclaim(
                key: Array(row.key),
                kind: kind,
                id: row.key.bigEndian(UInt64.self, at: 9),
                object: kind == ReclaimKind.blob ? row.value.littleEndian(UInt64.self, at: 2) : 0,
                home: Int(row.value.littleEndian(UInt16.self, at: 0)),
                isPlain: kind == ReclaimKind.space && row.value.count > 2 && row.value[2] != 0
            )
        }
        if !anything { hasReclaimRows = false }
        return nil
    }

    private func finish(_ reclaim: Reclaim) throws(LMDBError) {
        try ByteView.with(reclaim.key) { key throws(LMDBError) in
            _ = try transaction.delete(key, in: reclaimTable)
        }
        if reclaim.kind == ReclaimKind.space { reclaimedSpaces[UInt16(truncatingIfNeeded: reclaim.id)] = nil }
    }

    /// Deletes the rows whose keys begin as `auxiliary` does.
    private func reclaimRows(_ reclaim: Reclaim, _ budget: inout Int) throws(LMDBError) {
        let cursor = try cursor(reclaim.home)
        while budget > 0 {
            guard let row = try cursor.seek(auxiliary.view), row.key.hasPrefix(auxiliary.view) else {
                try finish(reclaim)
                return
            }
            budget -= 1
            try cursor.deleteCurrent()
        }
    }

    private func reclaimSpace(_ reclaim: Reclaim, _ budget: inout Int) throws(LMDBError) {
        let space = UInt16(truncatingIfNeeded: reclaim.id)
        var slot = reclaim.home
        while budget > 0, slot < 1024 {
            if try clearSlot(slot, of: space, &budget) { slot += 1 }
        }
        if slot == 1024 {
            try finish(reclaim)
        } else if slot != reclaim.home {
            try ByteView.with(reclaim.key) { key throws(LMDBError) in auxiliary.set(copying: key) }
            try putReclaim(count: 3) {
                $0.append(littleEndian: UInt16(slot))
                $0.append(reclaim.isPlain ? 1 : 0)
            }
        }
    }

    /// Deletes the rows of `space` in a slot table; true when none is left.
    private func clearSlot(
        _ slot: Int,
        of space: UInt16,
        _ budget: inout Int
    ) throws(LMDBError) -> Bool {
        let cursor = try cursor(slot)
        // A table in which no database has a key and no object has a row holds only rows of dead spaces; if
        // they are plain, it is cleared as a whole.
        if reclaimedSpaces.values.allSatisfy({ $0 }),
            counts[0..<options.databases].allSatisfy({ $0.slots[slot].keys == 0 })
        {
            auxiliary.setElementPrefix(object: nil)
            if try cursor.seek(auxiliary.view) == nil {
                let pages = try transaction.statistics(of: slotTables[slot]).pages
                guard room.ensure(pages: pages, for: transaction, reserve: RoomReserve.leastReservedPages) else {
                    budget = 0
                    return false
                }
                try transaction.clear(slotTables[slot])
                budget -= 1 + pages / 8
                return true
            }
        }
        while budget > 0 {
            other.setPosition(space: space)
            guard let row = try cursor.seek(other.view), row.key.isKeyRow(of: space) else {
                budget -= 1
                return true
            }
            guard let record = Record(row.value) else { throw .corrupted }
            budget -= 2
            let (object, home, keyObject) = (record.object, record.home, record.keyObject)
            let expiry = record.expireAtMilliseconds
            if expiry != 0 { auxiliary.setExpiry(atMilliseconds: expiry, rowKey: row.key) }
            try cursor.deleteCurrent()
            if expiry != 0 { try transaction.delete(auxiliary.view, in: expiryTable) }
            if object != 0 { try letGo(object: object, home: home) }
            if keyObject != 0 { try letGo(object: keyObject, home: UInt16(slot)) }
        }
        return false
    }
}
