// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

public import Bytes
internal import CLMDB
internal import Glibc

/// A named table of an environment: its handle.
public struct Table: Equatable, Sendable {
    let handle: UInt32
}

/// A transaction; dropping it without `commit()` aborts it.
///
/// One that writes can be begun again when it has ended.
///
/// Values are views into the map: those of a write transaction live until its next change, those of a read transaction
/// until its end. A write transaction stays on the thread that began it. `@unchecked Sendable` is for read
/// transactions, which LMDB lets wander between threads under `MDB_NOTLS` as long as one uses them at a time.
@safe
public final class Transaction: @unchecked Sendable {
    private let environment: Environment
    private var handle: OpaquePointer?
    /// To search without LMDB; only in write transactions.
    var searchedPages: PageSearch?
    /// What `search` and `RowPrefetch` remember; only write transactions do.
    let foundRows: FoundRows
    private let changes: UnsafeMutablePointer<TransactionChanges>

    /// A transaction that has not begun.
    init(environment: Environment, writes: Bool) {
        self.environment = environment
        unsafe changes = .allocate(capacity: 1)
        unsafe changes.initialize(to: TransactionChanges())
        foundRows = unsafe FoundRows(changes: changes, isUsed: writes)
    }

    /// Begins a transaction that has not begun, or has ended.
    func begin(flags: UInt32) throws(LMDBError) {
        guard unsafe handle == nil else { preconditionFailure("the transaction has not ended") }
        var begun: OpaquePointer?
        try unsafe LMDBError.check(mdb_txn_begin(environment.handle, nil, flags, &begun))
        unsafe handle = begun
        // Nothing that was found before holds: no page is the transaction's own.
        unsafe changes.pointee.noteDeletion()
    }

    deinit {
        abort()
        unsafe changes.deallocate()
    }

    private var open: OpaquePointer {
        guard let handle = unsafe handle else { preconditionFailure("the transaction has ended") }
        return unsafe handle
    }

    /// The handle, for `search`.
    var writing: OpaquePointer { unsafe open }

    /// Prepares for `search`, where the map begins at `map`, if what that reads looks as expected.
    func prepareSearch(map: UnsafeRawPointer?) {
        searchedPages = nil
        if let map = unsafe map, unsafe codis_lmdb_tables_are_known(open) != 0 {
            unsafe searchedPages = PageSearch(map: map, pageSize: environment.pageSize)
        }
    }

    /// The bytes of a page.
    public var pageSize: Int { environment.pageSize }

    /// The number of the commit that is read, or that this transaction will be.
    public var number: Int { unsafe mdb_txn_id(open) }

    /// How many pages a write transaction has taken so far, those it copied and those it added; O(1).
    ///
    /// LMDB's manual has no call for it, so it is read where LMDB 0.9 keeps it; `Environment.beginWriting` makes sure
    /// that it does.
    @inline(__always)
    public var dirtyPages: Int { unsafe codis_lmdb_dirty_pages(open) }

    /// The pages that a write transaction has taken so far, those of a large value as one range, in no order that is
    /// promised; O(pages).
    ///
    /// A commit itself takes some more, see `Environment.pagesOfOwnTrees(in:)`.
    public var takenPages: [Range<Int>] {
        let count = dirtyPages
        return unsafe [Range<Int>](unsafeUninitializedCapacity: count) { buffer, initialized in
            for index in 0..<count {
                // Their heads are in no cache.
                unsafe codis_lmdb_prefetch_dirty_page(open, min(index + 16, count - 1))
                let page = unsafe codis_lmdb_dirty_page(open, index)
                let end = unsafe page + codis_lmdb_dirty_page_count(open, index)
                unsafe buffer.baseAddress.unsafelyUnwrapped.advanced(by: index).initialize(to: page..<end)
            }
            initialized = count
        }
    }

    /// Whether a write transaction has let go of pages that it has taken, so that `takenPages` lacks them; O(1).
    ///
    /// It does so when there are more than 131,071.
    public var hasSpilledPages: Bool { unsafe codis_lmdb_has_spilled(open) != 0 }

    /// How many pages of the last commit a write transaction does not need any more; O(1), as `dirtyPages`.
    ///
    /// The commit writes a list of them, in one piece.
    @inline(__always)
    public var freedPages: Int { unsafe codis_lmdb_freed_pages(open) }

    /// The number of the first page behind the file as a write transaction has made it; O(1), as `dirtyPages`.
    @inline(__always)
    public var nextPage: Int { unsafe codis_lmdb_next_page(open) }

    /// Whether a write transaction that has just begun is laid out in memory as `dirtyPages` expects.
    func isLayoutKnown(lastPage: Int) -> Bool { unsafe codis_lmdb_layout_is_known(open, lastPage) != 0 }

    /// Makes the changes visible to later transactions.
    ///
    /// Nothing is synced. Cursors of the transaction end with it.
    public func commit() throws(LMDBError) {
        let ending = unsafe open
        sortFreedPages()
        unsafe handle = nil
        try unsafe LMDBError.check(mdb_txn_commit(ending))
    }

    /// Sorts the list of freed pages, which LMDB writes in its order: it would take milliseconds for that.
    private func sortFreedPages() {
        var list: UnsafeMutablePointer<Int>?
        let count = unsafe codis_lmdb_freed_list(open, &list)
        unsafe PageNumberSort.sortDescending(UnsafeMutableBufferPointer(start: list, count: count))
    }

    /// Ends the transaction without its changes; no effect on one that has ended.
    public func abort() {
        if let ending = unsafe handle {
            unsafe mdb_txn_abort(ending)
            unsafe handle = nil
        }
    }

    /// Opens the table called `name`, or nil when it is not there and `create` is false.
    public func openTable(_ name: String, create: Bool) throws(LMDBError) -> Table? {
        var table: UInt32 = 0
        if create { noteChange() }
        let code = unsafe mdb_dbi_open(open, name, create ? UInt32(MDB_CREATE) : 0, &table)
        if code == MDB_NOTFOUND { return nil }
        try LMDBError.check(code)
        return Table(handle: table)
    }

    /// The pages and entries of a table.
    public struct TableStatistics {
        /// How many levels the tree has.
        public var depth: Int
        /// Pages of branches, leaves and overflow together.
        public var pages: Int
        /// Rows.
        public var entries: Int
    }

    /// The pages and entries of `table`, in O(1).
    public func statistics(of table: Table) throws(LMDBError) -> TableStatistics {
        var statistics = MDB_stat()
        try unsafe LMDBError.check(mdb_stat(open, table.handle, &statistics))
        return TableStatistics(
            depth: Int(statistics.ms_depth),
            pages: statistics.ms_branch_pages + statistics.ms_leaf_pages + statistics.ms_overflow_pages,
            entries: statistics.ms_entries
        )
    }

    /// LMDB's table of free pages: key, the commit that freed them; value, a count and the page numbers.
    public static let freePages = Table(handle: 0)

    /// LMDB's table of named tables.
    public static let names = Table(handle: 1)

    /// The value under `key`, if there is one; O(log n).
    @inline(__always)
    public func get(
        _ key: ByteView,
        in table: Table,
        by number: RowNumber = .behindTwoBytes
    ) throws(LMDBError) -> ByteView? {
        switch search(key, in: table, by: number) {
        case .found(let value, _): value
        case .missing: nil
        case .unknown: try getFromLMDB(key, in: table)
        }
    }

    private func getFromLMDB(_ key: ByteView, in table: Table) throws(LMDBError) -> ByteView? {
        var key = unsafe MDB_val(key)
        var value = unsafe MDB_val()
        let code = unsafe mdb_get(open, table.handle, &key, &value)
        if code == MDB_NOTFOUND { return nil }
        try LMDBError.check(code)
        return unsafe ByteView(value)
    }

    /// Counts a change.
    @inline(__always)
    func noteChange() { unsafe changes.pointee.noteChange() }

    /// How many changes there were.
    @inline(__always)
    var changeCount: UInt64 { unsafe changes.pointee.all }

    /// Sets the value under `key`; O(log n).
    public func put(_ key: ByteView, _ value: ByteView, in table: Table) throws(LMDBError) {
        var key = unsafe MDB_val(key)
        var value = unsafe MDB_val(value)
        noteChange()
        try unsafe LMDBError.check(mdb_put(open, table.handle, &key, &value, 0))
    }

    /// Makes room for a value of `count` bytes under `key` and returns where to write it, at once; O(log n).
    @unsafe
    public func reserve(
        _ key: ByteView,
        count: Int,
        in table: Table
    ) throws(LMDBError) -> UnsafeMutableRawBufferPointer {
        var key = unsafe MDB_val(key)
        var value = unsafe MDB_val(mv_size: count, mv_data: nil)
        noteChange()
        try unsafe LMDBError.check(mdb_put(open, table.handle, &key, &value, UInt32(MDB_RESERVE)))
        return unsafe UnsafeMutableRawBufferPointer(start: value.mv_data, count: value.mv_size)
    }

    /// Deletes the row under `key`; false if there is none.
    ///
    /// O(log n).
    @discardableResult
    public func delete(_ key: ByteView, in table: Table) throws(LMDBError) -> Bool {
        var key = unsafe MDB_val(key)
        unsafe changes.pointee.noteDeletion()
        let code = unsafe mdb_del(open, table.handle, &key, nil)
        if code == MDB_NOTFOUND { return false }
        try LMDBError.check(code)
        return true
    }

    /// Deletes every row of `table`, in time linear in its branch pages (and its leaves, if it has overflow pages).
    public func clear(_ table: Table) throws(LMDBError) {
        unsafe changes.pointee.noteDeletion()
        try unsafe LMDBError.check(mdb_drop(open, table.handle, 0))
    }

    /// A new cursor on `table`, which lives at most as long as this transaction.
    public func cursor(_ table: Table) throws(LMDBError) -> Cursor {
        var cursor: OpaquePointer?
        try unsafe LMDBError.check(mdb_cursor_open(open, table.handle, &cursor))
        guard let cursor = unsafe cursor else { throw .system(ENOMEM) }
        return unsafe Cursor(handle: cursor, changes: changes)
    }
}

extension MDB_val {
    /// The bytes of `view`, which LMDB only reads.
    @inline(__always)
    init(_ view: ByteView) {
        let buffer = unsafe view.rawBuffer
        unsafe self.init(mv_size: buffer.count, mv_data: UnsafeMutableRawPointer(mutating: buffer.baseAddress))
    }
}

extension ByteView {
    /// The bytes that LMDB lends.
    @inline(__always)
    init(_ value: MDB_val) {
        unsafe self.init(UnsafeRawBufferPointer(start: value.mv_data, count: value.mv_size))
    }
}
