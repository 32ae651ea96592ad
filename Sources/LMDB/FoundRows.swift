// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

/// Where a write transaction has found rows of large values, or a `RowPrefetch` has: a search of one of them is the
/// comparison with one row.
///
/// The rows of keys need none of this: they are spread over many tables, so that their trees are low.
///
/// Whoever asks makes that comparison, so only a page that the tree has let go of would be a mistake:
///
/// - A page of the transaction's own is let go of only when rows are deleted (`mdb_rebalance`, `mdb_drop`). To put a
///   row may split it, but what stays there stays in the tree. LMDB may spill it, which with `MDB_WRITEMAP` leaves it
///   where it is; and there are no nested transactions, which would copy it.
/// - Another page is let go of when it is copied, which any change may do.
///
/// Both are counted (`TransactionChanges`) before LMDB is called. The beginning of a transaction counts as a deletion.
@safe
final class FoundRows {
    /// The slot of a row on a page.
    @safe
    struct Place {
        let page: UnsafeRawPointer
        let index: Int
    }

    private struct Entry {
        var place: Place?
        var table: UInt32 = 0
        var isOwn = false
        /// The deletions (own page) or all changes (other page) when it was remembered.
        var count: UInt64 = 0
    }

    private static let capacity = 1024

    private let entries: UnsafeMutablePointer<Entry>
    private let changes: UnsafePointer<TransactionChanges>

    /// One that is not `isUsed` takes no memory; `changes` must live as long.
    @unsafe
    init(changes: UnsafePointer<TransactionChanges>, isUsed: Bool) {
        unsafe self.changes = changes
        let count = isUsed ? FoundRows.capacity : 0
        unsafe entries = .allocate(capacity: count)
        unsafe entries.initialize(repeating: Entry(), count: count)
    }

    deinit {
        unsafe entries.deallocate()
    }

    /// Where the row may be.
    @inline(__always)
    func place(of wanted: PageSearch.Wanted, in table: UInt32) -> Place? {
        let entry = unsafe entries[FoundRows.index(of: wanted)]
        guard let place = entry.place, entry.table == table, entry.count == count(isOwn: entry.isOwn) else {
            return nil
        }
        return place
    }

    /// Remembers a row that was found; `isOwn` tells whether the transaction has taken its page.
    @inline(__always)
    func remember(_ place: Place, isOwn: Bool, of wanted: PageSearch.Wanted, in table: UInt32) {
        unsafe entries[FoundRows.index(of: wanted)] = Entry(
            place: place,
            table: table,
            isOwn: isOwn,
            count: count(isOwn: isOwn)
        )
    }

    @inline(__always)
    private func count(isOwn: Bool) -> UInt64 { unsafe isOwn ? changes.pointee.deletions : changes.pointee.all }

    /// Rows that are numbered one after another get entries of their own.
    @inline(__always)
    private static func index(of wanted: PageSearch.Wanted) -> Int {
        let number = wanted.number &+ (wanted.middle &* 0x9E37_79B9_7F4A_7C15) >> 40
        return Int(truncatingIfNeeded: number) & (capacity - 1)
    }
}

/// How often LMDB was told to change something in a transaction, and in those that it was before.
struct TransactionChanges {
    /// All calls.
    var all: UInt64 = 0
    /// Those that delete rows.
    var deletions: UInt64 = 0

    @inline(__always)
    mutating func noteChange() { all &+= 1 }

    @inline(__always)
    mutating func noteDeletion() {
        all &+= 1
        deletions &+= 1
    }
}
