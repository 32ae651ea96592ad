// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import LMDB

/// A collection while a command changes it: the head to be, and what the row was.
///
/// While it is small its elements are in `Keyspace.packed`, where they are changed and from where they are written
/// back at the end; once it has rows of its own, these are changed at once and the head follows at the end.
struct CollectionEdit: ~Copyable {
    /// The head, without the payload.
    var record: Record
    /// The row that there is.
    let old: OldRow?
    /// Whether the packed elements were changed, or the payload of a value in rows must be written.
    var isChanged = false
    /// The head as it is stored.
    private let storedCount: Int
    private let storedEncoding: UInt8
    private let storedObjectBytes: Int
    /// Blobs that were written ahead, if any.
    var staged: StagedBlobs?

    init(_ record: Record, old: OldRow?) {
        self.record = record
        self.record.payload = ByteView()
        self.old = old
        storedCount = record.count
        storedEncoding = record.encoding
        storedObjectBytes = record.objectBytes
    }

    /// Whether the elements are packed into the row.
    @inline(__always)
    var isPacked: Bool { record.object == 0 }

    /// Whether the row must be written.
    @inline(__always)
    var needsWriting: Bool {
        old == nil || isChanged || storedCount != record.count || storedEncoding != record.encoding
            || storedObjectBytes != record.objectBytes
    }

    /// Puts the collection into the other form of Redis if it is beyond its limits.
    @inline(__always)
    mutating func applyLimit(_ limits: EncodingLimits) {
        if record.count > limits.entries { record.encoding = 1 }
    }
}

extension Keyspace {
    /// Begins to change the collection under `target`, which is of `type` if it is there.
    ///
    /// The packed elements, or for a value in rows its payload, are then in `packed`.
    func beginEdit(_ type: ValueType, staged: StagedBlobs? = nil) throws(LMDBError) -> CollectionEdit {
        var edit: CollectionEdit
        if let (found, rowLength) = try findTarget() {
            precondition(found.type == type, "the type of a value is checked before it is changed")
            packed.set(found.payload)
            edit = CollectionEdit(found, old: OldRow(found, rowLength: rowLength))
        } else {
            packed.set(ByteView())
            edit = CollectionEdit(Record(type: type), old: nil)
        }
        edit.staged = staged
        return edit
    }

    /// Ends a change: writes the key's row, or deletes the key when no element is left.
    ///
    /// `payload` is what the row holds of a value that has rows of its own.
    func finishEdit(
        _ edit: inout CollectionEdit,
        _ key: ByteView,
        _ database: Int,
        payload: ByteView = ByteView()
    ) throws(LMDBError) {
        if let staged = edit.staged, staged.isNewObject {
            try noteFinished(object: staged.object)
            // The value may have gone its way without: then nobody has the object.
            if edit.record.object != staged.object { try letGo(object: staged.object, home: staged.home) }
        }
        guard edit.record.count > 0 else {
            guard let old = edit.old else { return }
            let wasInRows = old.object != 0
            if wasInRows { try placeCursor(expecting: true) }
            return try deleteRow(old, longKeyLength: edit.record.longKeyLength, database: database)
        }
        guard edit.needsWriting else { return keyChanged(database) }
        if edit.old == nil, target.isLong { try nameLongKey(&edit.record, key, existing: nil) }
        if edit.isPacked {
            // No row of this table was written since the cursor was placed, but for those of a new long key.
            packed.count = edit.record.count
            try writeRow(edit.record, payload: packed.view, replacing: edit.old, database: database)
        } else {
            precondition(payload.count <= Record.longestCollectionPayload, "a payload outgrew its row")
            try placeCursor(expecting: edit.old != nil)
            try writeRow(edit.record, payload: payload, replacing: edit.old, database: database)
        }
    }

    /// Gives the collection an object, so that its elements can be written as rows of their own.
    ///
    /// The packed elements stay in `packed` for the caller to write them.
    func takeObject(_ edit: inout CollectionEdit) {
        if let staged = edit.staged, staged.isNewObject {
            edit.record.object = staged.object
            edit.record.home = staged.home
        } else {
            edit.record.object = takeObjectNumber()
            edit.record.home = UInt16(target.slot)
        }
        edit.record.objectBytes = 0
    }

    /// Moves the packed elements of a set or hash into rows of their own.
    func unpackNamed(_ edit: inout CollectionEdit) throws(LMDBError) {
        takeObject(&edit)
        var reader = PackedReader(packed.view)
        while let name = reader.next() {
            let value = edit.record.type == .hash ? reader.next() ?? ByteView() : ByteView()
            _ = try putNamed(&edit.record, name, value: value)
        }
        packed.set(ByteView())
    }
}
