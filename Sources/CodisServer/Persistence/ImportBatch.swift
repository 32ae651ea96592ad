// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import Keyspace

/// Strings on their way into the keyspace, gathered so that they can be written in the order of its rows.
///
/// A dump has its keys in no order. Written as they come, each would touch another page, and every page would be
/// copied anew after each commit.
struct ImportBatch {
    private struct Entry {
        var place: UInt64
        var offset: Int
        var keyLength: Int
        var valueLength: Int
        var database: Int
        var expireAtMilliseconds: Int64
    }

    private var entries: [Entry] = []
    private var bytes: [UInt8] = []

    /// What is gathered at most.
    private static let mostBytes = 96 << 20
    private static let mostEntries = 1 << 20
    /// Longer values are written at once.
    static let longestValue = 64 << 10

    /// Whether it is to be written.
    var isFull: Bool { bytes.count >= ImportBatch.mostBytes || entries.count >= ImportBatch.mostEntries }

    /// Adds a string.
    mutating func add(
        _ key: ByteView,
        _ value: ByteView,
        in database: Int,
        expireAtMilliseconds: Int64,
        place: UInt64
    ) {
        entries.append(
            Entry(
                place: place,
                offset: bytes.count,
                keyLength: key.count,
                valueLength: value.count,
                database: database,
                expireAtMilliseconds: expireAtMilliseconds
            )
        )
        unsafe bytes.append(contentsOf: key.rawBuffer)
        unsafe bytes.append(contentsOf: value.rawBuffer)
    }

    /// Writes everything, and is empty then; `rest` is called after each string.
    mutating func write(to keyspace: Keyspace, rest: () throws(KeyspaceError) -> Void) throws(KeyspaceError) {
        // Of two that have one place the one that came last counts, if they are of one key.
        entries.sort { ($0.database, $0.place, $0.offset) < ($1.database, $1.place, $1.offset) }
        let entries = entries
        try ByteView.with(bytes) { bytes throws(KeyspaceError) in
            for entry in entries {
                guard keyspace.ensureRoom(bytes: 64 << 10) else { throw .outOfSpace }
                let middle = entry.offset + entry.keyLength
                try keyspace.setString(
                    bytes[entry.offset..<middle],
                    in: entry.database,
                    to: bytes[middle..<(middle + entry.valueLength)],
                    expireAtMilliseconds: entry.expireAtMilliseconds
                )
                try rest()
            }
        }
        self.entries.removeAll(keepingCapacity: true)
        bytes.removeAll(keepingCapacity: true)
    }
}
