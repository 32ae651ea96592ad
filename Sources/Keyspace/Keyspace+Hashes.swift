// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

public import Bytes
internal import LMDB

extension Keyspace {
    /// Sets `count` fields of the hash `key`, which is made if it is missing; all of them, or none after a crash.
    ///
    /// `pair` returns a field and its value, and may be asked repeatedly. The caller has checked the type. O(log n) for
    /// each field.
    ///
    /// - Parameters:
    ///   - limits: beyond them the hash counts as a hash table.
    /// - Returns: how many of the fields are new.
    /// - Throws: `KeyspaceError.failed`.
    public func setFields(
        _ key: ByteView,
        in database: Int,
        count: Int,
        limits: EncodingLimits,
        _ pair: (Int) -> (field: ByteView, value: ByteView)
    ) throws(KeyspaceError) -> Int {
        let staged = try stageFields(key, database, count, pair)
        setTarget(key, database)
        return try change { () throws(LMDBError) in
            var edit = try beginEdit(.hash, staged: staged)
            let before = edit.record.count
            for number in 0..<count {
                let (field, value) = pair(number)
                if field.count > limits.bytes || value.count > limits.bytes { edit.record.encoding = 1 }
                try setField(&edit, field, value, number)
            }
            edit.applyLimit(limits)
            try finishEdit(&edit, key, database)
            return edit.record.count - before
        }
    }

    @inline(__always)
    private func setField(
        _ edit: inout CollectionEdit,
        _ field: ByteView,
        _ value: ByteView,
        _ number: Int
    ) throws(LMDBError) {
        if edit.isPacked {
            if try setPackedField(&edit, field, value) { return }
            try unpackNamed(&edit)
        }
        let isNew = try putNamed(
            &edit.record,
            field,
            value: value,
            nameBlob: edit.staged?.blob(2 * number) ?? 0,
            valueBlob: edit.staged?.blob(2 * number + 1) ?? 0
        )
        if isNew { edit.record.count += 1 }
    }

    /// Sets a field of a small hash; false if it has no room.
    private func setPackedField(
        _ edit: inout CollectionEdit,
        _ field: ByteView,
        _ value: ByteView
    ) throws(LMDBError) -> Bool {
        let valueLength = PackedElements.packedLength(value.count)
        if let found = PackedReader.find(field, in: packed.view, hasValues: true) {
            guard PackedElements.fits(packed.length - found.value.count + valueLength) else { return false }
            packed.replace(found.value, packing: value)
        } else {
            let length = packed.length + PackedElements.packedLength(field.count) + valueLength
            guard PackedElements.fits(length) else { return false }
            packed.append(field)
            packed.append(value)
            edit.record.count += 1
        }
        edit.isChanged = true
        return true
    }

    /// Writes the long ones of a command's fields and values ahead.
    private func stageFields(
        _ key: ByteView,
        _ database: Int,
        _ count: Int,
        _ pair: (Int) -> (field: ByteView, value: ByteView)
    ) throws(KeyspaceError) -> StagedBlobs? {
        var staged: StagedBlobs?
        for number in 0..<count {
            let (field, value) = pair(number)
            guard field.count > Keyspace.longestUnstaged || value.count > Keyspace.longestUnstaged else { continue }
            var blobs: StagedBlobs
            if let begun = staged { blobs = begun } else { blobs = try beginStaging(key, in: database) }
            if field.count > Keyspace.longestUnstaged { try stage(field, number: 2 * number, &blobs) }
            if value.count > Keyspace.longestUnstaged { try stage(value, number: 2 * number + 1, &blobs) }
            staged = blobs
        }
        return staged
    }

    /// Deletes `count` elements of the hash or set `key`, and the key with the last of them.
    ///
    /// The caller has checked the type. O(log n) for each.
    ///
    /// - Returns: how many of them there were.
    /// - Throws: `KeyspaceError.failed`.
    public func removeElements(
        _ key: ByteView,
        in database: Int,
        type: ValueType,
        count: Int,
        _ name: (Int) -> ByteView
    ) throws(KeyspaceError) -> Int {
        setTarget(key, database)
        return try change { () throws(LMDBError) in
            var edit = try beginEdit(type)
            let before = edit.record.count
            for number in 0..<count where edit.record.count > 0 {
                try removeElement(&edit, name(number))
            }
            let removed = before - edit.record.count
            if removed > 0 { try finishEdit(&edit, key, database) }
            return removed
        }
    }

    private func removeElement(_ edit: inout CollectionEdit, _ name: ByteView) throws(LMDBError) {
        if edit.isPacked {
            guard let found = PackedReader.find(name, in: packed.view, hasValues: edit.record.type == .hash) else {
                return
            }
            packed.remove(found.entry)
            edit.isChanged = true
            edit.record.count -= 1
        } else if try removeNamed(&edit.record, name) {
            edit.record.count -= 1
        }
    }
}
