// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import LMDB

/// What a change needs to know of the row that it replaces; unlike a `Record`, it holds no views.
struct OldRow {
    var rowLength: Int
    var expireAtMilliseconds: Int64
    var object: UInt64
    var home: UInt16
    var objectBytes: Int
    var keyObject: UInt64

    @inline(__always)
    init(_ record: Record, rowLength: Int) {
        self.rowLength = rowLength
        expireAtMilliseconds = record.expireAtMilliseconds
        object = record.object
        home = record.home
        objectBytes = record.objectBytes
        keyObject = record.keyObject
    }
}

extension Keyspace {
    /// LMDB keeps a row in its leaf while the node, `[head: 8][key][value]`, has at most this many bytes; a larger
    /// value goes to overflow pages.
    ///
    /// Rows of keys stay below, because freeing an overflow page that was written in the same transaction costs LMDB
    /// a walk over all its dirty pages.
    static let longestNode = 2030
    /// A chunk of a large value fills just one overflow page, so LMDB never has to find a run of free pages.
    static let chunkLength = 4080
    /// The row under `target`, if there is one, as a record.
    @inline(__always)
    func findTarget() throws(LMDBError) -> (record: Record, rowLength: Int)? {
        let row: ByteView
        switch placement {
        case .missing: return nil
        case .onRow: row = try cursor(target.slot).current()
        case .unknown, .found:
            guard let found = try placeOnTarget() else { return nil }
            row = found
        }
        guard let record = Record(row) else { throw .corrupted }
        return (record, row.count)
    }

    /// As `findTarget`, for a change that writes this one row and no other before it: the slot's cursor need not stand
    /// on the row.
    @inline(__always)
    func findTargetForString() throws(LMDBError) -> (record: Record, rowLength: Int)? {
        let row: ByteView
        switch placement {
        case .missing: return nil
        case .found: row = foundRow
        case .onRow: row = try cursor(target.slot).current()
        case .unknown:
            guard let found = try locateTarget() else { return nil }
            row = found
        }
        guard let record = Record(row) else { throw .corrupted }
        return (record, row.count)
    }

    /// Where the value of the row under `target` is to be written, of which there is one or not.
    @unsafe @inline(__always)
    private func reserveRow(_ length: Int, replacing old: OldRow?) throws(LMDBError) -> UnsafeMutableRawBufferPointer {
        guard let old else { return unsafe try insertRow(length) }
        if case .found = placement {
            if foundRowIsWritable, length == old.rowLength, length == foundRow.count {
                return unsafe UnsafeMutableRawBufferPointer(mutating: foundRow.rawBuffer)
            }
            try placeCursor(expecting: true)
        }
        return unsafe try cursor(target.slot).reserveCurrent(target.view, count: length)
    }

    /// Where the value of a new row under `target` is to be written.
    @unsafe @inline(__always)
    private func insertRow(_ length: Int) throws(LMDBError) -> UnsafeMutableRawBufferPointer {
        let table = slotTables[target.slot]
        if case .missing(let known) = placement, let gap = known ?? gapOfTarget(),
            let memory = unsafe transaction.insert(target.view, count: length, in: table, at: gap)
        {
            return unsafe memory
        }
        if let openCursor, openCursorSlot == target.slot {
            return unsafe try openCursor.reserve(target.view, count: length)
        }
        return unsafe try transaction.reserve(target.view, count: length, in: table)
    }

    private func gapOfTarget() -> RowGap? {
        guard case .missing(let gap) = transaction.search(target.view, in: slotTables[target.slot]) else { return nil }
        return gap
    }

    /// Whether a row of `target` with this head can hold `payloadLength` bytes itself.
    @inline(__always)
    func fits(_ record: Record, payloadLength: Int) -> Bool {
        8 + target.length + record.rowLength(payloadLength: payloadLength) <= Keyspace.longestNode
    }

    /// Writes the row under `target`, which was just looked for (`placement`), and brings
    /// everything that follows from rows up to date: counts, the expiry index, and objects that nobody holds any more.
    @inline(__always)
    func writeRow(
        _ record: Record,
        payload: ByteView,
        replacing old: OldRow?,
        database: Int
    ) throws(LMDBError) {
        let slot = target.slot
        let length = record.rowLength(payloadLength: payload.count)
        let memory = unsafe try reserveRow(length, replacing: old)
        var writer = unsafe RowWriter(memory)
        record.writeHead(to: &writer)
        writer.append(payload)

        if writeAccessSeconds != 0 { access.touch(target.hash, writeAccessSeconds) }
        var difference = SlotCounts()
        difference.bytes = length + record.objectBytes
        difference.objects = record.object != 0 ? 1 : 0
        if let old {
            difference.bytes -= old.rowLength + old.objectBytes
            if old.expireAtMilliseconds != record.expireAtMilliseconds {
                try replaceExpiry(old.expireAtMilliseconds, record.expireAtMilliseconds, &difference)
            }
            if old.object != 0 { difference.objects -= 1 }
            if old.object != 0, old.object != record.object {
                try letGo(object: old.object, home: old.home)
            }
        } else {
            difference.keys = 1
            difference.bytes += target.length
            if record.keyObject != 0 {
                difference.bytes += Keyspace.keyObjectBytes(record.longKeyLength)
                difference.objects += 1
            }
            if record.expireAtMilliseconds != 0 {
                try replaceExpiry(0, record.expireAtMilliseconds, &difference)
            }
        }
        counts[database].add(difference, to: slot)
        keyChanged(database)
    }

    /// Hears of every change of the key under `target`, whether its row was written or only rows of its elements.
    @inline(__always)
    func keyChanged(_ database: Int) {
        traffic.noteWrite(target.slot)
        if let onKeyChange { onKeyChange(database, target.hash, target.checksum) }
    }

    /// Makes `record` the head of the row for the long `key`; a key that has no row yet gets an object for its bytes.
    func nameLongKey(_ record: inout Record, _ key: ByteView, existing: Record?) throws(LMDBError) {
        record.longKeyLength = key.count
        if let existing {
            record.keyObject = existing.keyObject
        } else {
            record.keyObject = takeObjectNumber()
            try writeChunks(key, object: record.keyObject, home: target.slot)
        }
    }

    func takeObjectNumber() -> UInt64 {
        defer { state.nextObject += 1 }
        return state.nextObject
    }

    /// Writes all of `bytes` as chunks of a new object.
    func writeChunks(_ bytes: ByteView, object: UInt64, home: Int) throws(LMDBError) {
        var offset = 0
        while offset < bytes.count {
            let end = min(offset + Keyspace.chunkLength, bytes.count)
            try writeChunk(bytes[offset..<end], object: object, home: home, index: offset / Keyspace.chunkLength)
            offset = end
        }
    }

    /// Writes one of them, and returns its length: a function that throws must not end in a copy, see
    /// CONTRIBUTING.md.
    @discardableResult
    func writeChunk(_ bytes: ByteView, object: UInt64, home: Int, index: Int) throws(LMDBError) -> Int {
        auxiliary.setElement(object: object, kind: ElementKind.chunk, index: UInt32(index))
        let memory = unsafe try transaction.reserve(auxiliary.view, count: bytes.count, in: slotTables[home])
        var writer = unsafe RowWriter(memory)
        writer.append(bytes)
        return writer.length
    }

    /// The bytes of the rows of a key object: a key is written once and has no holes.
    static func keyObjectBytes(_ keyLength: Int) -> Int {
        keyLength + (keyLength + chunkLength - 1) / chunkLength * ElementKind.chunkKeyLength
    }

    /// Deletes the row under `target`, on which its slot's cursor was just placed, and lets go of its objects.
    ///
    /// `keepingObject` leaves the value's object to the caller, who gives it to another row.
    func deleteRow(
        _ old: OldRow,
        longKeyLength: Int,
        database: Int,
        keepingObject: Bool = false
    ) throws(LMDBError) {
        let hasObject = old.object != 0
        let slot = target.slot
        try cursor(slot).deleteCurrent()
        closeCursor()
        var difference = SlotCounts()
        difference.keys = -1
        difference.bytes = -(target.length + old.rowLength + old.objectBytes)
        if old.keyObject != 0 { difference.bytes -= Keyspace.keyObjectBytes(longKeyLength) }
        difference.objects = -(hasObject ? 1 : 0) - (old.keyObject != 0 ? 1 : 0)
        if old.expireAtMilliseconds != 0 { try replaceExpiry(old.expireAtMilliseconds, 0, &difference) }
        if hasObject, !keepingObject { try letGo(object: old.object, home: old.home) }
        if old.keyObject != 0 { try letGo(object: old.keyObject, home: UInt16(slot)) }
        counts[database].add(difference, to: slot)
        keyChanged(database)
    }

    /// Moves the row of `target` in the expiry index, and counts it.
    func replaceExpiry(_ old: Int64, _ new: Int64, _ difference: inout SlotCounts) throws(LMDBError) {
        if old != 0 {
            auxiliary.setExpiry(atMilliseconds: old, rowKey: target.view)
            try transaction.delete(auxiliary.view, in: expiryTable)
            difference.expiring -= 1
            difference.expirySum &-= UInt64(bitPattern: old)
        }
        if new != 0 {
            auxiliary.setExpiry(atMilliseconds: new, rowKey: target.view)
            try transaction.put(auxiliary.view, ByteView(), in: expiryTable)
            difference.expiring += 1
            difference.expirySum &+= UInt64(bitPattern: new)
        }
    }
}
