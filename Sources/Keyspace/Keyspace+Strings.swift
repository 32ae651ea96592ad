// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

public import Bytes
internal import LMDB

extension Keyspace {
    /// A string that is written whole and is longer than this is built as an object of its own first, in as many
    /// transactions as it takes, and named at the end.
    static let longestSingleWrite = 8 << 20

    /// Makes `key` the string `value`, whatever it was; O(log n + length).
    ///
    /// - Parameters:
    ///   - expireAtMilliseconds: when it expires, in ms since 1970; 0 for never.
    ///   - encoding: the record's byte of that name.
    /// - Throws: `KeyspaceError.failed`.
    @inline(__always)
    public func setString(
        _ key: ByteView,
        in database: Int,
        to value: ByteView,
        expireAtMilliseconds: Int64 = 0,
        encoding: UInt8 = 0
    ) throws(KeyspaceError) {
        if value.count > Keyspace.longestSingleWrite {
            let record = Record(type: .string, encoding: encoding, expireAtMilliseconds: expireAtMilliseconds)
            try setLongString(key, in: database, record, length: value.count) { range, buffer in
                buffer.append(contentsOf: value[range])
            }
            return
        }
        setTarget(key, database)
        try change { () throws(LMDBError) in
            let existing = try findTargetForString()
            let record = Record(type: .string, encoding: encoding, expireAtMilliseconds: expireAtMilliseconds)
            try putString(key, record, value, existing, database)
        }
    }

    /// As `setString`, but the key keeps its expiry.
    public func updateString(
        _ key: ByteView,
        in database: Int,
        to value: ByteView,
        encoding: UInt8 = 0
    ) throws(KeyspaceError) {
        if value.count > Keyspace.longestSingleWrite {
            let expiry = find(key, in: database)?.expireAtMilliseconds ?? 0
            try setString(key, in: database, to: value, expireAtMilliseconds: expiry, encoding: encoding)
            return
        }
        setTarget(key, database)
        try change { () throws(LMDBError) in
            let existing = try findTargetForString()
            let expiry = existing?.record.expireAtMilliseconds ?? 0
            let record = Record(type: .string, encoding: encoding, expireAtMilliseconds: expiry)
            try putString(key, record, value, existing, database)
        }
    }

    @inline(__always)
    private func putString(
        _ key: ByteView,
        _ head: Record,
        _ value: ByteView,
        _ existing: (record: Record, rowLength: Int)?,
        _ database: Int
    ) throws(LMDBError) {
        var record = head
        let old = existing.map { OldRow($0.record, rowLength: $0.rowLength) }
        if target.isLong || !fits(record, payloadLength: value.count) {
            try putLargeString(key, &record, value, existing?.record, old, database)
        } else {
            try writeRow(record, payload: value, replacing: old, database: database)
        }
    }

    private func putLargeString(
        _ key: ByteView,
        _ record: inout Record,
        _ value: ByteView,
        _ existing: Record?,
        _ old: OldRow?,
        _ database: Int
    ) throws(LMDBError) {
        if target.isLong { try nameLongKey(&record, key, existing: existing) }
        if fits(record, payloadLength: value.count) {
            try placeCursor(expecting: old != nil)
            try writeRow(record, payload: value, replacing: old, database: database)
            return
        }
        record.object = takeObjectNumber()
        record.home = UInt16(target.slot)
        record.count = value.count
        try writeChunks(value, object: record.object, home: target.slot)
        let chunks = (value.count + Keyspace.chunkLength - 1) / Keyspace.chunkLength
        record.objectBytes = value.count + chunks * ElementKind.chunkKeyLength
        try placeCursor(expecting: old != nil)
        try writeRow(record, payload: ByteView(), replacing: old, database: database)
    }

    /// Looks for the row of `target` again, after other rows of the table were written; the cursor is then on it.
    func placeCursor(expecting isThere: Bool) throws(LMDBError) {
        let row = try placeOnTarget()
        precondition((row != nil) == isThere, "a row came or went while its value was written")
    }

    /// Makes `key` a string of `length` bytes in as many transactions as it takes; `fill` appends those of a range to
    /// an empty buffer.
    ///
    /// The chunks belong to an object that the reclaim table holds as unfinished, so a crash leaves nothing behind and
    /// the key as it was; the last step names it.
    private func setLongString(
        _ key: ByteView,
        in database: Int,
        _ head: Record,
        length: Int,
        fill: (Range<Int>, inout [UInt8]) -> Void
    ) throws(KeyspaceError) {
        setTarget(key, database)
        let home = target.slot
        let object = takeObjectNumber()
        try change { () throws(LMDBError) in try noteUnfinished(object: object, home: UInt16(home)) }
        var buffer: [UInt8] = []
        var offset = 0
        while offset < length {
            try relievePressure()
            let end = min(offset + Keyspace.chunkLength, length)
            try change { () throws(LMDBError) in
                buffer.removeAll(keepingCapacity: true)
                fill(offset..<end, &buffer)
                _ = try ByteView.with(buffer) { bytes throws(LMDBError) in
                    try writeChunk(bytes, object: object, home: home, index: offset / Keyspace.chunkLength)
                }
            }
            offset = end
        }
        setTarget(key, database)
        try change { () throws(LMDBError) in
            let existing = try findTarget()
            let old = existing.map { OldRow($0.record, rowLength: $0.rowLength) }
            var record = head
            if target.isLong { try nameLongKey(&record, key, existing: existing?.record) }
            record.object = object
            record.home = UInt16(home)
            record.count = length
            let chunks = (length + Keyspace.chunkLength - 1) / Keyspace.chunkLength
            record.objectBytes = length + chunks * ElementKind.chunkKeyLength
            try placeCursor(expecting: old != nil)
            try writeRow(record, payload: ByteView(), replacing: old, database: database)
            try noteFinished(object: object)
        }
    }

    /// Writes `bytes` into the string `key` at `offset`, in time that follows from what is written.
    ///
    /// A missing key is made; a gap between the string's end and `offset` reads as zeros and takes no room in a large
    /// string. The expiry stays. The caller has checked that the key, if there is one, is a string, and the new length.
    ///
    /// - Returns: the string's new length.
    /// - Throws: `KeyspaceError.failed`.
    public func writeString(
        _ key: ByteView,
        in database: Int,
        at offset: Int,
        _ bytes: ByteView
    ) throws(KeyspaceError) -> Int {
        if bytes.count > Keyspace.longestSingleWrite {
            return try rewriteString(key, in: database, at: offset, bytes)
        }
        setTarget(key, database)
        return try change { () throws(LMDBError) in
            let existing = try findTarget()
            let old = existing.map { OldRow($0.record, rowLength: $0.rowLength) }
            var record = existing?.record ?? Record(type: .string)
            let length = max(record.count, offset + bytes.count)
            record.encoding = 1
            let payload = Array(record.payload)
            record.payload = ByteView()
            if target.isLong { try nameLongKey(&record, key, existing: existing?.record) }
            if record.object == 0, fits(record, payloadLength: length) {
                var value = payload
                if value.count < length { value.append(contentsOf: repeatElement(0, count: length - value.count)) }
                value.replaceSubrange(offset..<(offset + bytes.count), with: Array(bytes))
                try placeCursor(expecting: old != nil)
                try ByteView.with(value) { value throws(LMDBError) in
                    try writeRow(record, payload: value, replacing: old, database: database)
                }
                return length
            }
            if record.object == 0 {
                record.object = takeObjectNumber()
                record.home = UInt16(target.slot)
                record.objectBytes = 0
                try ByteView.with(payload) { payload throws(LMDBError) in try writeInto(&record, at: 0, payload) }
            }
            try writeInto(&record, at: offset, bytes)
            record.count = length
            try placeCursor(expecting: old != nil)
            try writeRow(record, payload: ByteView(), replacing: old, database: database)
            return length
        }
    }

    /// Writes `bytes` at `offset` of the object's chunks and counts what they grow by.
    private func writeInto(_ record: inout Record, at offset: Int, _ bytes: ByteView) throws(LMDBError) {
        var written = 0
        let home = Int(record.home)
        while written < bytes.count {
            let index = (offset + written) / Keyspace.chunkLength
            let start = (offset + written) % Keyspace.chunkLength
            let count = min(Keyspace.chunkLength - start, bytes.count - written)
            let piece = bytes[written..<(written + count)]
            written += count
            auxiliary.setElement(object: record.object, kind: ElementKind.chunk, index: UInt32(index))
            let stored = try transaction.get(auxiliary.view, in: slotTables[home])
            let storedCount = stored?.count ?? 0
            if stored == nil { record.objectBytes += ElementKind.chunkKeyLength }
            record.objectBytes += max(storedCount, start + count) - storedCount
            // The piece may lie in the map, but not in the row that is written: arguments and values of other keys.
            var chunk = stored.map { Array($0) } ?? []
            if chunk.count < start + count {
                chunk.append(contentsOf: repeatElement(0, count: start + count - chunk.count))
            }
            chunk.replaceSubrange(start..<(start + count), with: Array(piece))
            _ = try ByteView.with(chunk) { chunk throws(LMDBError) in
                try writeChunk(chunk, object: record.object, home: home, index: index)
            }
        }
    }

    /// `writeString` for a long piece: the whole string is built anew.
    private func rewriteString(
        _ key: ByteView,
        in database: Int,
        at offset: Int,
        _ bytes: ByteView
    ) throws(KeyspaceError) -> Int {
        let existing = find(key, in: database)
        let length = max(existing?.count ?? 0, offset + bytes.count)
        let head = Record(type: .string, encoding: 1, expireAtMilliseconds: existing?.expireAtMilliseconds ?? 0)
        try setLongString(key, in: database, head, length: length) { range, buffer in
            // The old value is looked up for each chunk: a commit may have come between, and moved its pages.
            if let old = find(key, in: database) {
                forEachPiece(of: old, from: range.lowerBound, count: range.count) { buffer.append(contentsOf: $0) }
            }
            if buffer.count < range.count {
                buffer.append(contentsOf: repeatElement(0, count: range.count - buffer.count))
            }
            let from = max(range.lowerBound, offset)
            let to = min(range.upperBound, offset + bytes.count)
            if from < to {
                let place = (from - range.lowerBound)..<(to - range.lowerBound)
                buffer.replaceSubrange(place, with: Array(bytes[(from - offset)..<(to - offset)]))
            }
        }
        return length
    }

    // MARK: Reading

    /// Calls `body` with the bytes `offset..<offset + count` of a string in order, in pieces; what lies beyond its
    /// end is left out.
    ///
    /// `body` must not change the keyspace. O(log n) a piece of at most 4,080 bytes.
    public func forEachPiece(of record: Record, from offset: Int = 0, count: Int = .max, _ body: (ByteView) -> Void) {
        reader.forEachPiece(of: record.stringBytes, from: offset, count: count, body)
    }

    /// The whole string, copied.
    public func bytes(of record: Record) -> [UInt8] { reader.bytes(of: record.stringBytes) }
}
