// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

public import Bytes
internal import LMDB

/// A walk over the keys of all databases: by database, then by slot, then in the order of rows.
///
/// It goes at the pace of who asks for the next key, who may pause between any two (`KeyspaceReader.pause`).
public final class KeyWalk {
    /// A key and what is known of its value; both are lent until the walk goes on.
    public struct Entry {
        /// The database.
        public let database: Int
        /// The slot, 0..<1024.
        public let slot: Int
        /// The key.
        public let key: ByteView
        /// Its record.
        public let record: Record
    }

    private unowned let reader: KeyspaceReader
    private let start = RowKey()
    private let longKey = LentBytes()
    private var cursor: Cursor?
    private var database = 0
    private var slot = -1

    init(_ reader: KeyspaceReader) { self.reader = reader }

    /// The next key, or nil at the end; those that have expired are among them.
    ///
    /// - Throws: `KeyspaceError.failed`.
    public func next() throws(KeyspaceError) -> Entry? {
        do throws(LMDBError) {
            while let row = try nextRow() {
                guard let record = Record(row.value) else { throw .corrupted }
                var key = row.key.dropFirst(RowKeyLayout.prefixLength)
                if record.longKeyLength != 0 {
                    try fillLongKey(record)
                    key = longKey.view
                }
                return Entry(database: database, slot: slot, key: key, record: record)
            }
            return nil
        } catch {
            throw KeyspaceError(error, while: "reading the keyspace")
        }
    }

    /// The next row of a key, in this slot or one that follows.
    private func nextRow() throws(LMDBError) -> Cursor.Row? {
        if let cursor, let row = try cursor.next(), row.key.isKeyRow(of: reader.spaces[database]) { return row }
        while true {
            close()
            slot += 1
            if slot == 1024 || reader.keyCounts[database] == 0 {
                database += 1
                slot = -1
                guard database < reader.spaces.count else {
                    // Whoever asks again at the end stays there.
                    database -= 1
                    slot = 1023
                    return nil
                }
                continue
            }
            let opened = try reader.transaction.cursor(reader.tables[slot])
            cursor = opened
            start.setPosition(space: reader.spaces[database])
            if let row = try opened.seek(start.view), row.key.isKeyRow(of: reader.spaces[database]) { return row }
        }
    }

    private func fillLongKey(_ record: Record) throws(LMDBError) {
        longKey.removeAll()
        try reader.forEachChunk(object: record.keyObject, home: UInt16(slot), 0..<record.longKeyLength) {
            longKey.append($0)
        }
    }

    /// Ends the walk.
    func close() {
        cursor?.close()
        cursor = nil
    }
}

/// Bytes that are gathered and then lent, in memory that is used again.
@safe
final class LentBytes {
    private var bytes: UnsafeMutableRawBufferPointer
    private var count = 0

    init() {
        unsafe bytes = .allocate(byteCount: 4096, alignment: 16)
    }

    deinit {
        unsafe bytes.deallocate()
    }

    /// What was gathered, until something is added or removed.
    var view: ByteView { unsafe ByteView(UnsafeRawBufferPointer(rebasing: bytes[0..<count])) }

    func removeAll() { count = 0 }

    func append(_ piece: ByteView) {
        let room = unsafe bytes.count
        if count + piece.count > room {
            let larger = UnsafeMutableRawBufferPointer.allocate(
                byteCount: max(2 * room, count + piece.count),
                alignment: 16
            )
            unsafe larger.copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[0..<count]))
            unsafe bytes.deallocate()
            unsafe bytes = larger
        }
        unsafe UnsafeMutableRawBufferPointer(rebasing: bytes[count...]).copyMemory(from: piece.rawBuffer)
        count += piece.count
    }
}

extension KeyspaceReader {
    /// Calls `body` with the bytes of a string in order, in pieces of at most 4,080; they are lent for the call.
    ///
    /// - Throws: what `body` throws, or `KeyspaceError.failed`.
    public func forEachPiece(of record: Record, _ body: (ByteView) throws -> Void) throws {
        guard record.object != 0 else {
            if record.count > 0 { try body(record.payload) }
            return
        }
        var position = 0
        let row = RowKey()
        while position < record.count {
            let index = UInt32(position / Keyspace.chunkLength)
            row.setElement(object: record.object, kind: ElementKind.chunk, index: index)
            let chunk: ByteView
            do throws(LMDBError) {
                chunk = try transaction.get(row.view, in: tables[Int(record.home)]) ?? ByteView()
            } catch {
                throw KeyspaceError(error, while: "reading the keyspace")
            }
            let length = min(Keyspace.chunkLength, record.count - position)
            let stored = chunk.prefix(min(length, chunk.count))
            if stored.count > 0 { try body(stored) }
            let zeros = length - stored.count
            if zeros > 0 { try ByteView.with(KeyspaceReader.zeros) { try body($0.prefix(zeros)) } }
            position += length
        }
    }

    private static let zeros = [UInt8](repeating: 0, count: Keyspace.chunkLength)

    /// Calls `body` with the pieces of an object's chunks, which have no holes.
    func forEachChunk(
        object: UInt64,
        home: UInt16,
        _ range: Range<Int>,
        _ body: (ByteView) -> Void
    ) throws(LMDBError) {
        let row = RowKey()
        var position = range.lowerBound
        while position < range.upperBound {
            row.setElement(object: object, kind: ElementKind.chunk, index: UInt32(position / Keyspace.chunkLength))
            guard let chunk = try transaction.get(row.view, in: tables[Int(home)]) else { throw .corrupted }
            body(chunk.prefix(min(chunk.count, range.upperBound - position)))
            position += Keyspace.chunkLength
        }
    }
}
