// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import LMDB

/// The long arguments of a command that were written as blobs ahead of the change that uses them.
///
/// The change itself must be one transaction, and a transaction holds only so much. So what is long is written first,
/// in as many transactions as it takes, under notes in the reclaim table by which the next opening lets go of it if
/// the change never came.
struct StagedBlobs {
    /// The object whose rows they are.
    let object: UInt64
    /// Its slot table.
    let home: UInt16
    /// Whether the object is yet to be given to the key.
    let isNewObject: Bool
    /// The blob of each argument that was staged, by its number.
    var blobs: [Int: UInt64] = [:]

    /// The blob of argument `number`, or 0.
    func blob(_ number: Int) -> UInt64 { blobs[number] ?? 0 }
}

extension Keyspace {
    /// Bytes longer than this are staged.
    static let longestUnstaged = 256 << 10

    /// The bytes of the rows of a blob, keys included.
    static func blobBytes(_ length: Int) -> Int {
        length + (length + chunkLength - 1) / chunkLength * ElementKind.blobKeyLength
    }

    /// Writes `bytes` as a new blob of `record`'s object, and counts it.
    func writeBlob(_ bytes: ByteView, _ record: inout Record) throws(LMDBError) -> UInt64 {
        let blob = takeObjectNumber()
        try writeBlob(bytes, blob: blob, object: record.object, home: record.home)
        record.objectBytes += Keyspace.blobBytes(bytes.count)
        return blob
    }

    private func writeBlob(_ bytes: ByteView, blob: UInt64, object: UInt64, home: UInt16) throws(LMDBError) {
        var offset = 0
        while offset < bytes.count {
            let end = min(offset + Keyspace.chunkLength, bytes.count)
            let index = UInt32(offset / Keyspace.chunkLength)
            try writeBlobChunk(bytes[offset..<end], blob: blob, object: object, home: home, index: index)
            offset = end
        }
    }

    /// As `writeChunk`.
    @discardableResult
    private func writeBlobChunk(
        _ bytes: ByteView,
        blob: UInt64,
        object: UInt64,
        home: UInt16,
        index: UInt32
    ) throws(LMDBError) -> Int {
        auxiliary.setBlob(object: object, blob: blob, index: index)
        let memory = unsafe try transaction.reserve(auxiliary.view, count: bytes.count, in: slotTables[Int(home)])
        var writer = unsafe RowWriter(memory)
        writer.append(bytes)
        return writer.length
    }

    /// Lets go of a blob of `length` bytes of `record`'s object, and counts it off; O(log n) whatever its length.
    func letGo(blob: UInt64, length: Int, _ record: inout Record) throws(LMDBError) {
        try letGo(blob: blob, object: record.object, home: record.home)
        record.objectBytes -= Keyspace.blobBytes(length)
    }

    // MARK: Staging

    /// Begins to stage blobs for `key`: under its value's object, or under one that it will get.
    func beginStaging(_ key: ByteView, in database: Int) throws(KeyspaceError) -> StagedBlobs {
        if let record = find(key, in: database), record.object != 0 {
            return StagedBlobs(object: record.object, home: record.home, isNewObject: false)
        }
        let object = takeObjectNumber()
        let home = UInt16(target.slot)
        try change { () throws(LMDBError) in try noteUnfinished(object: object, home: home) }
        return StagedBlobs(object: object, home: home, isNewObject: true)
    }

    /// Writes `bytes`, which are argument `number`, as a blob, in as many transactions as it takes.
    func stage(_ bytes: ByteView, number: Int, _ staged: inout StagedBlobs) throws(KeyspaceError) {
        let blob = try stageBlob(object: staged.object, home: staged.home)
        try append(bytes, toStaged: blob, at: 0, object: staged.object, home: staged.home)
        staged.blobs[number] = blob
    }

    /// A new blob that is noted as unfinished.
    func stageBlob(object: UInt64, home: UInt16) throws(KeyspaceError) -> UInt64 {
        let blob = takeObjectNumber()
        try change { () throws(LMDBError) in try noteUnfinished(blob: blob, object: object, home: home) }
        return blob
    }

    /// Writes `bytes` behind the first `length` ones of a staged blob, which must be whole chunks.
    func append(
        _ bytes: ByteView,
        toStaged blob: UInt64,
        at length: Int,
        object: UInt64,
        home: UInt16
    ) throws(KeyspaceError) {
        precondition(length % Keyspace.chunkLength == 0, "a blob goes on behind whole chunks")
        var offset = 0
        while offset < bytes.count {
            try relievePressure()
            let end = min(offset + Keyspace.chunkLength, bytes.count)
            let index = UInt32((length + offset) / Keyspace.chunkLength)
            _ = try change { () throws(LMDBError) in
                try writeBlobChunk(bytes[offset..<end], blob: blob, object: object, home: home, index: index)
            }
            offset = end
        }
    }

    /// Makes a staged blob of `length` bytes a part of `record`'s value.
    func adoptStaged(blob: UInt64, length: Int, _ record: inout Record) throws(LMDBError) {
        try noteFinished(blob: blob)
        record.objectBytes += Keyspace.blobBytes(length)
    }

    /// Lets go of a staged blob that was not needed after all.
    func abandonStaged(blob: UInt64, object: UInt64, home: UInt16) throws(LMDBError) {
        try noteFinished(blob: blob)
        try letGo(blob: blob, object: object, home: home)
    }

    /// Commits if the transaction has grown so large that the rest of a long write should not join it.
    func relievePressure() throws(KeyspaceError) {
        guard commitIsDue, let onPressure else { return }
        try onPressure()
    }
}
