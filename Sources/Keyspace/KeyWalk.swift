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
                    longKey.removeAll()
                    ByteView.with(reader.rows.redisKey(rowKey: row.key, record)) { longKey.append($0) }
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
            let opened = try reader.rows.transaction.cursor(reader.tables[slot])
            cursor = opened
            start.setPosition(space: reader.spaces[database])
            if let row = try opened.seek(start.view), row.key.isKeyRow(of: reader.spaces[database]) { return row }
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
