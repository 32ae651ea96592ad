// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import CLMDB

/// Rows that are about to be looked up: what their searches will read is brought into the processor's caches.
///
/// A search waits for memory half a dozen times, each time for an address that it has only just read: the head of each
/// page on the way, the rows there that it compares with, the row itself. The searches of several rows wait at the
/// same time here, and nothing is left to wait for when they are made; the places of deep rows are remembered besides,
/// as of those that a search has found. Nothing but speed follows from it.
@safe
public final class RowPrefetch {
    /// So many rows are walked to at a time: fewer wait for each other, and what more of them need does not fit into
    /// the nearest cache.
    public static let most = 16

    /// A search on its way down.
    private struct Walk {
        /// The page where it has come to.
        var number: Int
        /// How many levels there are from this page on; 0 for a walk that was given up.
        var levels: Int
        let table: UInt32
        var low: UInt64 = 0
        var high = UInt64.max
        let wanted: PageSearch.Wanted

        /// The levels of a walk to a deep row that has come to its leaf.
        static let atLeaf = -1
    }

    private let walks: UnsafeMutablePointer<Walk>
    /// The transaction of the rows that were added, and how many changes it had seen: the roots are of then.
    private var transactionNumber = 0
    private var changeCount: UInt64 = 0
    /// How many rows were added since the last walk.
    public private(set) var count = 0

    /// With no rows yet.
    public init() {
        unsafe walks = .allocate(capacity: RowPrefetch.most)
    }

    deinit {
        unsafe walks.deallocate()
    }

    /// Whether a walk is due before more rows can be added.
    public var isFull: Bool { count == RowPrefetch.most }

    /// Adds the row of `table` whose key begins with the two bytes of `head` and the eight of `number`, both
    /// big-endian, unless the table is empty; there must be room.
    @inline(__always)
    public func add(head: UInt16, number: UInt64, in table: Table, of transaction: Transaction) {
        add(PageSearch.Wanted(head: head, number: number), in: table, of: transaction)
    }

    /// Adds a row whose key begins with these 18 bytes, and is searched by `number`, which stands behind ten of them.
    @inline(__always)
    public func add(head: UInt16, middle: UInt64, number: UInt64, in table: Table, of transaction: Transaction) {
        add(PageSearch.Wanted(head: head, middle: middle, number: number), in: table, of: transaction)
    }

    @inline(__always)
    private func add(_ wanted: PageSearch.Wanted, in table: Table, of transaction: Transaction) {
        precondition(!isFull)
        var root = 0
        var levels = Int(unsafe codis_lmdb_root(transaction.writing, table.handle, &root))
        if levels < 0 {
            // A transaction that has just begun has to look each table up; a search would do it otherwise.
            var statistics = MDB_stat()
            unsafe mdb_stat(transaction.writing, table.handle, &statistics)
            levels = Int(unsafe codis_lmdb_root(transaction.writing, table.handle, &root))
        }
        guard levels > 0 else { return }
        if count == 0 {
            transactionNumber = transaction.number
            changeCount = transaction.changeCount
        }
        unsafe (walks + count).initialize(to: Walk(number: root, levels: levels, table: table.handle, wanted: wanted))
        count += 1
    }

    /// Where the last walk came to with the row that was added as the one with this index.
    func lastPage(_ index: Int) -> Int { unsafe walks[index].number }

    /// Forgets the rows.
    public func removeAll() { count = 0 }

    /// Walks to all rows that were added, and forgets them.
    ///
    /// If the transaction is another one than when the first was added, or something has changed since, there is no
    /// walk: it might come to pages that belong to the tree no more.
    public func walk(in transaction: Transaction) {
        defer { count = 0 }
        guard let pages = transaction.searchedPages, transaction.number == transactionNumber,
            transaction.changeCount == changeCount
        else { return }
        let limit = transaction.nextPage
        var isBelow = true
        while isBelow {
            // Each step reads what the one before has asked for, for all rows. The heads come by themselves, so that
            // the processor looks several pages up in its tables at a time.
            for index in 0..<count where unsafe walks[index].levels > 0 {
                if let page = unsafe pages.page(walks[index].number, of: limit) { unsafe pages.prefetchHead(page) }
            }
            for index in 0..<count { guess(index, pages, limit) }
            for index in 0..<count { guessAgain(index, pages, limit) }
            isBelow = false
            for index in 0..<count where unsafe walks[index].levels > 1 {
                unsafe descend(&walks[index], pages, limit)
                isBelow = true
            }
        }
        for index in 0..<count { remember(index, pages, limit, transaction.foundRows) }
    }

    @inline(__always)
    private func guess(_ index: Int, _ pages: PageSearch, _ limit: Int) {
        let walk = unsafe walks[index]
        guard walk.levels > 0, let page = unsafe pages.page(walk.number, of: limit) else { return }
        unsafe pages.prefetchGuess(page, walk.wanted, walk.low, walk.high)
    }

    /// A second guess, which is mostly right; in a branch it is not worth it, as the way down compares there anyway.
    @inline(__always)
    private func guessAgain(_ index: Int, _ pages: PageSearch, _ limit: Int) {
        let walk = unsafe walks[index]
        guard walk.levels == 1, let page = unsafe pages.page(walk.number, of: limit) else { return }
        unsafe pages.prefetchSecondGuess(page, walk.wanted, walk.low, walk.high)
        // A leaf is the end.
        unsafe walks[index].levels = walk.wanted.isDeep ? Walk.atLeaf : 0
    }

    @inline(__always)
    private func remember(_ index: Int, _ pages: PageSearch, _ limit: Int, _ foundRows: FoundRows) {
        let walk = unsafe walks[index]
        guard walk.levels == Walk.atLeaf, let page = unsafe pages.page(walk.number, of: limit) else { return }
        unsafe pages.remember(walk.wanted, in: page, walk.low, walk.high, table: walk.table, in: foundRows)
    }

    @inline(__always)
    private func descend(_ walk: inout Walk, _ pages: PageSearch, _ limit: Int) {
        guard let page = unsafe pages.page(walk.number, of: limit),
            let child = unsafe pages.child(page, walk.wanted, &walk.low, &walk.high)
        else {
            walk.levels = 0
            return
        }
        walk.number = child
        walk.levels -= 1
    }
}
