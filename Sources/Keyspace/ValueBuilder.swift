// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

public import Bytes
internal import LMDB

/// Makes the value of a key from its elements, one after another, and puts it in the key's place at the end.
///
/// Until then the key is as it was. A large value is written in as many transactions as it takes, into an object that
/// the reclaim table holds as unfinished, so a crash leaves nothing behind. Other changes may come between. Each
/// builder ends with `finish` or `abandon`.
public final class ValueBuilder {
    /// Where the value is built.
    public let keyspace: Keyspace
    private let key: [UInt8]
    private let database: Int
    /// The head to be.
    var record: Record
    /// The elements while they are few.
    let packed = PackedElements()
    /// The tree of a sorted set in rows.
    private var root = TreeRoot()
    /// The elements of a list once they are many.
    private var list: ListRows<TreeRows>?
    /// The bytes of a string that were not yet written.
    private var pending: [UInt8] = []

    /// How many elements there are so far; of a string, bytes.
    public var count: Int { record.count }

    /// Bytes of a string that are written together.
    private static let stringStep = 64 * Keyspace.chunkLength

    /// Begins a value of `type` for `key`.
    public init(_ keyspace: Keyspace, key: ByteView, in database: Int, type: ValueType) {
        self.keyspace = keyspace
        self.key = Array(key)
        self.database = database
        record = Record(type: type)
    }

    /// Adds an element, which must be one of the value's type.
    ///
    /// Of fields and members that come again the last counts. Bytes that lie together must not be views of stored
    /// values, since rows are written.
    ///
    /// - Throws: `KeyspaceError.failed`; the builder must then be abandoned.
    public func append(_ element: ValueElement) throws(KeyspaceError) {
        try keyspace.relievePressure()
        switch element {
        case .string(let bytes): try appendString(bytes)
        case .member(let name): try withBytes(name) { name throws(KeyspaceError) in try appendNamed(name, ByteView()) }
        case .field(let name, let value):
            try withBytes(name) { name throws(KeyspaceError) in
                try withBytes(value) { value throws(KeyspaceError) in try appendNamed(name, value) }
            }
        case .scored(let name, let score):
            try withBytes(name) { name throws(KeyspaceError) in try appendScored(name, score) }
        case .element(let bytes):
            try withBytes(bytes) { bytes throws(KeyspaceError) in try appendElement(bytes) }
        }
    }

    /// The bytes of `bytes` in one piece; what lies in rows is copied.
    func withBytes(
        _ bytes: ElementBytes,
        _ body: (ByteView) throws(KeyspaceError) -> Void
    ) throws(KeyspaceError) {
        if let inline = bytes.inline { return try body(inline) }
        try ByteView.with(keyspace.reader.bytes(of: bytes), body)
    }

    // MARK: Strings

    private func appendString(_ bytes: ElementBytes) throws(KeyspaceError) {
        precondition(record.type == .string, "an element of another type")
        keyspace.reader.forEachPiece(of: bytes) { pending.append(contentsOf: $0) }
        record.count += bytes.count
        if pending.count >= ValueBuilder.stringStep { try writeChunks(all: false) }
    }

    /// Writes the pending bytes as chunks, without an incomplete one at the end unless `all` are to go.
    private func writeChunks(all: Bool) throws(KeyspaceError) {
        try takeObject()
        let written = record.count - pending.count
        var offset = 0
        while offset < pending.count, all || pending.count - offset >= Keyspace.chunkLength {
            try keyspace.relievePressure()
            let end = min(offset + Keyspace.chunkLength, pending.count)
            let index = (written + offset) / Keyspace.chunkLength
            try ByteView.with(pending) { pending throws(KeyspaceError) in
                try keyspace.change { () throws(LMDBError) in
                    let home = Int(record.home)
                    try keyspace.writeChunk(pending[offset..<end], object: record.object, home: home, index: index)
                }
            }
            record.objectBytes += end - offset + ElementKind.chunkKeyLength
            offset = end
        }
        pending.removeFirst(offset)
    }

    // MARK: Named elements

    private func appendNamed(_ name: ByteView, _ value: ByteView) throws(KeyspaceError) {
        let hasValues = record.type == .hash
        precondition(hasValues || record.type == .set, "an element of another type")
        if record.object == 0 {
            if appendPacked(name, value, hasValues) { return }
            try unpack()
        }
        let nameBlob = try stageIfLong(name)
        let valueBlob = try stageIfLong(value)
        let isNew = try keyspace.change { () throws(LMDBError) in
            try keyspace.putNamed(&record, name, value: value, nameBlob: nameBlob, valueBlob: valueBlob)
        }
        if isNew { record.count += 1 }
    }

    private func appendPacked(_ name: ByteView, _ value: ByteView, _ hasValues: Bool) -> Bool {
        let valueLength = hasValues ? PackedElements.packedLength(value.count) : 0
        if let found = PackedReader.find(name, in: packed.view, hasValues: hasValues) {
            guard PackedElements.fits(packed.length - found.value.count + valueLength) else { return false }
            if hasValues { packed.replace(found.value, packing: value) }
            return true
        }
        guard PackedElements.fits(packed.length + PackedElements.packedLength(name.count) + valueLength) else {
            return false
        }
        packed.append(name)
        if hasValues { packed.append(value) }
        record.count += 1
        return true
    }

    /// Moves the packed elements of a set or hash into rows.
    private func unpack() throws(KeyspaceError) {
        try takeObject()
        var reader = PackedReader(packed.view)
        while let name = reader.next() {
            let value = record.type == .hash ? reader.next() ?? ByteView() : ByteView()
            _ = try keyspace.change { () throws(LMDBError) in try keyspace.putNamed(&record, name, value: value) }
        }
    }

    // MARK: Sorted sets

    private func appendScored(_ member: ByteView, _ score: Double) throws(KeyspaceError) {
        precondition(record.type == .sortedSet, "an element of another type")
        var score = score
        if record.object == 0 {
            if let outcome = packed.setScore(&score, member, false) {
                if outcome == .added { record.count += 1 }
                return
            }
            try takeObject()
            try keyspace.change { () throws(LMDBError) in
                keyspace.packed.set(packed.view)
                try keyspace.unpackScored(&record, &root)
            }
        }
        let blob = try stageIfLong(member)
        let outcome = try keyspace.change { () throws(LMDBError) in
            try keyspace.setScore(&record, &root, &score, member, false, blob)
        }
        if outcome == .added { record.count += 1 }
    }

    // MARK: Lists

    private func appendElement(_ bytes: ByteView) throws(KeyspaceError) {
        precondition(record.type == .list, "an element of another type")
        if record.object == 0 {
            if PackedElements.fits(packed.length + PackedElements.packedLength(bytes.count)) {
                packed.append(bytes)
                record.count += 1
                return
            }
            try takeObject()
            list = ListRows(TreeRows(keyspace, record), ListRoot())
            var reader = PackedReader(packed.view)
            while let bytes = reader.next() { try pushElement(bytes) }
        }
        try pushElement(bytes)
        record.count += 1
    }

    /// Writes an element behind those that are in rows.
    private func pushElement(_ bytes: ByteView) throws(KeyspaceError) {
        let staged = try stageIfLong(bytes)
        guard var rows = list else { preconditionFailure("a list without rows") }
        try keyspace.change { () throws(LMDBError) in
            var edit = CollectionEdit(record, old: nil)
            try keyspace.withEntry(bytes, staged: staged, &edit) { entry throws(LMDBError) in
                try rows.push(entry, at: .tail)
            }
            record.objectBytes = edit.record.objectBytes
        }
        list = rows
    }

    /// Writes bytes that are too long for one step as a blob, and returns it; else 0.
    func stageIfLong(_ bytes: ByteView) throws(KeyspaceError) -> UInt64 {
        guard bytes.count > Keyspace.longestUnstaged else { return 0 }
        let blob = try keyspace.stageBlob(object: record.object, home: record.home)
        try keyspace.append(bytes, toStaged: blob, at: 0, object: record.object, home: record.home)
        return blob
    }

    // MARK: The object

    /// Gives the value an object of its own, unless it has one.
    func takeObject() throws(KeyspaceError) {
        guard record.object == 0 else { return }
        record.object = keyspace.takeObjectNumber()
        record.home = ByteView.with(key) { key in
            keyspace.setTarget(key, database)
            return UInt16(keyspace.target.slot)
        }
        try keyspace.change { () throws(LMDBError) in
            try keyspace.noteUnfinished(object: record.object, home: record.home)
        }
    }

    // MARK: The end

    /// Makes the key hold what was built, whatever it held; a collection without elements is no value, and the key is
    /// deleted.
    ///
    /// - Parameters:
    ///   - expireAtMilliseconds: when it expires, in ms since 1970; 0 for never.
    ///   - encoding: the record's byte of that name.
    ///   - load: what takes a small value, to write it with others.
    /// - Returns: whether the key is there now, or will be with the others.
    @discardableResult
    public func finish(
        expireAtMilliseconds: Int64 = 0,
        encoding: UInt8 = 0,
        through load: BulkLoad? = nil
    ) throws(KeyspaceError) -> Bool {
        record.expireAtMilliseconds = expireAtMilliseconds
        record.encoding = encoding
        return try ByteView.with(key) { key throws(KeyspaceError) in
            if let load, record.object == 0, record.type != .string, record.count > 0 {
                packed.count = record.count
                if try load.add(key, record, packed.view, in: database) { return true }
            }
            if record.type == .string, record.object == 0 {
                try ByteView.with(pending) { value throws(KeyspaceError) in
                    try keyspace.setString(
                        key,
                        in: database,
                        to: value,
                        expireAtMilliseconds: expireAtMilliseconds,
                        encoding: encoding
                    )
                }
                return true
            }
            if record.count == 0 {
                try abandon()
                _ = try keyspace.remove(key, in: database)
                return false
            }
            if record.type == .string { try writeChunks(all: true) }
            if let list {
                record.objectBytes += list.nodeBalance * TreeRows.bytes
                let root = list.root
                packed.write(length: ListRoot.length) { root.write(to: &$0) }
                try keyspace.store(record, payload: packed.view, key, database)
                return true
            }
            if record.object == 0 { packed.count = record.count }
            try keyspace.store(record, payload: record.object == 0 ? packed.view : payload, key, database)
            return true
        }
    }

    /// What the row holds of a value that has rows of its own.
    private var payload: ByteView {
        guard record.type == .sortedSet else { return ByteView() }
        let root = root
        packed.write(length: TreeRoot.length) { root.write(to: &$0) }
        return packed.view
    }

    /// Gives up: what was written is deleted in the background.
    public func abandon() throws(KeyspaceError) {
        guard record.object != 0 else { return }
        try keyspace.change { () throws(LMDBError) in
            try keyspace.noteFinished(object: record.object)
            try keyspace.letGo(object: record.object, home: record.home)
        }
        record.object = 0
    }
}

extension Keyspace {
    /// Writes the row of `key` for a value that was built, and takes its object out of the unfinished ones.
    func store(
        _ built: Record,
        payload: ByteView,
        _ key: ByteView,
        _ database: Int
    ) throws(KeyspaceError) {
        setTarget(key, database)
        try change { () throws(LMDBError) in
            let existing = try findTarget()
            let old = existing.map { OldRow($0.record, rowLength: $0.rowLength) }
            var record = built
            if target.isLong { try nameLongKey(&record, key, existing: existing?.record) }
            if record.object != 0 { try noteFinished(object: record.object) }
            try placeCursor(expecting: old != nil)
            try writeRow(record, payload: payload, replacing: old, database: database)
        }
    }
}
