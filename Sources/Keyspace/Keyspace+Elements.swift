// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import LMDB

/// Rows of elements: what all collections are made of once they do not fit into the row of their key.
///
/// These functions change the rows and keep `Record.objectBytes` exact; the count and the row of the key are for their
/// callers, which end with `finishEdit`. The arguments must not be views of stored values.
extension Keyspace {
    // MARK: Named elements

    /// Writes the element `name` with `value`; the bytes of either may have been staged as a blob.
    ///
    /// `replaces` false leaves an element that is there as it is. O(log n).
    ///
    /// - Returns: whether it is new.
    @inline(__always)
    func putNamed(
        _ record: inout Record,
        _ name: ByteView,
        value: ByteView,
        nameBlob: UInt64 = 0,
        valueBlob: UInt64 = 0,
        replaces: Bool = true
    ) throws(LMDBError) -> Bool {
        element.setNamed(object: record.object, name: name, hashKey: state.hashKey)
        let length = 1 + value.count
        guard !element.isLong, valueBlob == 0, 8 + element.length + length <= Keyspace.longestNode else {
            return try putLargeNamed(&record, name, value, nameBlob, valueBlob, replaces)
        }
        let table = slotTables[Int(record.home)]
        switch transaction.search(element.view, in: table, by: .behindTenBytes) {
        case .found(let row, let isWritable):
            guard replaces else { return false }
            // A row of this length without flags has an inline value of the same length.
            if isWritable, row.count == length, row[0] == 0 {
                unsafe writeNamed(UnsafeMutableRawBufferPointer(mutating: row.rawBuffer), value)
                return false
            }
        case .missing(let gap):
            guard let gap, let memory = unsafe transaction.insert(element.view, count: length, in: table, at: gap)
            else { break }
            unsafe writeNamed(memory, value)
            record.objectBytes += element.length + length
            return true
        case .unknown: break
        }
        let cursor = try transaction.cursor(table)
        defer { cursor.close() }
        var existing = ByteView()
        if let memory = unsafe try cursor.insert(element.view, count: length, existing: &existing) {
            unsafe writeNamed(memory, value)
            record.objectBytes += element.length + length
            return true
        }
        guard replaces else { return false }
        guard let old = NamedRow(existing) else { throw .corrupted }
        unsafe writeNamed(try cursor.reserveCurrent(element.view, count: length), value)
        record.objectBytes += length - old.rowLength
        if old.valueBlob != 0 { try letGo(blob: old.valueBlob, length: old.valueLength, &record) }
        return false
    }

    @unsafe @inline(__always)
    private func writeNamed(_ memory: UnsafeMutableRawBufferPointer, _ value: ByteView) {
        var writer = unsafe RowWriter(memory)
        writer.append(0)
        writer.append(value)
    }

    /// `putNamed` for an element with a long name or a large value; its row key is in `element`.
    private func putLargeNamed(
        _ record: inout Record,
        _ name: ByteView,
        _ value: ByteView,
        _ stagedName: UInt64,
        _ stagedValue: UInt64,
        _ replaces: Bool
    ) throws(LMDBError) -> Bool {
        var nameBlob: UInt64 = 0
        var old: NamedRow?
        if let row = try transaction.get(element.view, in: slotTables[Int(record.home)], by: .behindTenBytes) {
            guard let found = NamedRow(row) else { throw .corrupted }
            nameBlob = found.nameBlob
            old = found
        }
        if old != nil, stagedName != 0 {
            try abandonStaged(blob: stagedName, object: record.object, home: record.home)
        }
        if old != nil, !replaces {
            if stagedValue != 0 {
                try abandonStaged(blob: stagedValue, object: record.object, home: record.home)
            }
            return false
        }
        if element.isLong, old == nil {
            if stagedName != 0 {
                nameBlob = stagedName
                try adoptStaged(blob: stagedName, length: name.count, &record)
            } else {
                nameBlob = try writeBlob(name, &record)
            }
        }
        var valueBlob = stagedValue
        if stagedValue != 0 {
            try adoptStaged(blob: stagedValue, length: value.count, &record)
        } else {
            let inline = NamedRow(nameBlob: nameBlob, nameLength: name.count, valueBlob: 0, value: value)
            if 8 + element.length + inline.rowLength > Keyspace.longestNode {
                valueBlob = try writeBlob(value, &record)
            }
        }
        let row = NamedRow(nameBlob: nameBlob, nameLength: name.count, valueBlob: valueBlob, value: value)
        let memory = unsafe try transaction.reserve(
            element.view,
            count: row.rowLength,
            in: slotTables[Int(record.home)]
        )
        var writer = unsafe RowWriter(memory)
        row.write(to: &writer)
        record.objectBytes += row.rowLength - (old?.rowLength ?? -element.length)
        if let old, old.valueBlob != 0 { try letGo(blob: old.valueBlob, length: old.valueLength, &record) }
        return old == nil
    }

    /// Deletes the element `name`, and lets go of its blobs; O(log n).
    ///
    /// - Returns: whether there was one.
    func removeNamed(_ record: inout Record, _ name: ByteView) throws(LMDBError) -> Bool {
        element.setNamed(object: record.object, name: name, hashKey: state.hashKey)
        return try removeNamedElement(&record)
    }

    /// Deletes the element whose row key is in `element`.
    func removeNamedElement(_ record: inout Record) throws(LMDBError) -> Bool {
        let cursor = try transaction.cursor(slotTables[Int(record.home)])
        defer { cursor.close() }
        guard let found = try cursor.find(element.view) else { return false }
        guard let row = NamedRow(found) else { throw .corrupted }
        try removeNamed(row, keyLength: element.length, at: cursor, &record)
        return true
    }

    /// Deletes the element's row on which `cursor` stands, and lets go of its blobs.
    func removeNamed(
        _ row: NamedRow,
        keyLength: Int,
        at cursor: Cursor,
        _ record: inout Record
    ) throws(LMDBError) {
        try cursor.deleteCurrent()
        record.objectBytes -= keyLength + row.rowLength
        if row.nameBlob != 0 { try letGo(blob: row.nameBlob, length: row.nameLength, &record) }
        if row.valueBlob != 0 { try letGo(blob: row.valueBlob, length: row.valueLength, &record) }
    }
}
