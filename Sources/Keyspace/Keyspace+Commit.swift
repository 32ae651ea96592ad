// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import Glibc
internal import LMDB

/// A commit that is to be made durable, by another thread than the keyspace's.
public struct Checkpoint: Sendable {
    /// The place in the log that the commit stands for: the log must be synced up to it before `save()`.
    public let position: LogPosition
    let commit: Int
    let metaPage: [UInt8]
    let dataSync: DataSync
    let durable: DurableMeta
    let environment: Environment
    /// The last page in use by the commit.
    let lastPage: Int
    let changedPages: ChangedPages
    /// Whether all of the data is to stay in memory.
    let staysInMemory: Bool

    /// From so many pages in a row on, closing them together costs less than closing them one by one.
    private static let closedTogether = 8

    /// The pages that have to be on the disk for the commit, in their order.
    var pages: [Range<Int>] {
        let count = lastPage + 1
        return changedPages.ranges(with: environment.pagesOfOwnTrees(in: metaPage) ?? [0..<count], of: count)
    }

    /// Syncs the commit's pages; blocks for as long as the disk takes.
    ///
    /// - Throws: `KeyspaceError.failed`; it must not be tried again.
    public func syncPages() throws(KeyspaceError) {
        let pages = pages
        let size = environment.pageSize
        try dataSync.sync(pages.map { $0.lowerBound * size..<$0.upperBound * size }) { index in
            guard pages[index].count >= Checkpoint.closedTogether else { return }
            environment.closePages(pages[index], forReading: staysInMemory)
        }
    }

    /// Saves the commit's meta page, after `syncPages()`: from here on, the commit is what is found at opening.
    ///
    /// - Throws: `KeyspaceError.failed`; it must not be tried again.
    public func save() throws(KeyspaceError) {
        try durable.save(commit: commit, page: metaPage)
    }

    /// Syncs the commit's pages and saves its meta page, where there is no log.
    ///
    /// - Throws: `KeyspaceError.failed`; it must not be tried again.
    public func makeDurable() throws(KeyspaceError) {
        try syncPages()
        try save()
    }
}

extension Keyspace {
    /// The place in the log from which everything must be replayed after opening.
    public var position: LogPosition { state.position }

    /// Whether so many pages were changed since the last commit, or freed, that the next one is due.
    ///
    /// The list of those that were freed is sorted and written by the commit.
    public var commitIsDue: Bool { hasTaken(options.dirtyPages) }

    /// Whether a commit would be advisable, but that the one before is still being made durable.
    public var isAheadOfCheckpoint: Bool { isMakingDurable && isCommitAdvisable }

    private func hasTaken(_ pages: Int) -> Bool {
        transaction.dirtyPages >= pages || transaction.freedPages >= pages
    }

    /// Whether the open transaction has used up half of what it may change before a commit is due.
    public var isCommitAdvisable: Bool { hasTaken(options.dirtyPages / 2) }

    /// Whether the open transaction has used up a quarter of that: enough for a commit on behalf of who changes much in
    /// the background.
    public var isCommitWorthwhile: Bool { hasTaken(options.dirtyPages / 4) }

    /// Whether what must stay in the open transaction may change more.
    public var transactionHasRoom: Bool { transaction.dirtyPages < options.mostDirtyPages }

    /// Whether a checkpoint is still being made durable.
    public var isMakingDurable: Bool { pendingCheckpoint != nil }

    /// Whether the last commit stands for `position`, and nothing was changed since.
    public func isCommitted(at position: LogPosition) -> Bool {
        hasCommitted && !hasUncommittedChanges && state.position == position && failure == nil
    }

    /// Commits everything up to `position` of the log, without syncing; O(pages changed).
    ///
    /// - Returns: what another thread is to make durable and then `finish(_:)` is to hear of. Nil if nothing was
    ///   changed since the last commit, or if an earlier checkpoint is still being made durable; a later one will then
    ///   stand for this commit too.
    /// - Parameter evenIfUnchanged: whether there is a commit even if nothing was changed since the last one: pages
    ///   that a commit frees can be used only when a later one is durable.
    /// - Throws: `KeyspaceError.failed`.
    public func commit(
        at position: LogPosition,
        evenIfUnchanged: Bool = false
    ) throws(KeyspaceError) -> Checkpoint? {
        if let failure { throw failure }
        if hasUncommittedChanges || position != state.position || !hasCommitted || evenIfUnchanged {
            try commitTransaction(position)
        }
        let last = environment.information.lastTransaction
        guard pendingCheckpoint == nil, last > durableCommit else { return nil }
        do throws(LMDBError) {
            let page = try environment.metaPage(ofTransaction: last)
            let checkpoint = Checkpoint(
                position: state.position,
                commit: last,
                metaPage: page,
                dataSync: dataSync,
                durable: durable,
                environment: environment,
                lastPage: environment.information.lastPage,
                changedPages: changedPages,
                staysInMemory: room.residentPages > 0
            )
            changedPages = ChangedPages()
            pendingPin = try environment.beginReading()
            pendingCheckpoint = checkpoint
            return checkpoint
        } catch {
            throw failed(error)
        }
    }

    /// Commits what has been loaded so far into data that are thrown away if loading them does not come to its end.
    ///
    /// Nothing is synced: the checkpoint at the end syncs all of the file. O(pages changed).
    ///
    /// - Throws: `KeyspaceError.failed`.
    public func commitProvisionally() throws(KeyspaceError) {
        guard let checkpoint = try commit(at: LogPosition()) else { return }
        changedPages.addAny()
        finish(checkpoint)
    }

    private func failed(_ error: LMDBError) -> KeyspaceError {
        let failed = KeyspaceError(error, while: "committing the keyspace")
        fail(failed)
        return failed
    }

    private func commitTransaction(_ position: LogPosition) throws(KeyspaceError) {
        state.position = position
        state.sequence += 1
        do throws(LMDBError) {
            try storeCounts()
            let memory = unsafe try transaction.reserve(StoredState.key, count: StoredState.length, in: metaTable)
            var writer = unsafe RowWriter(memory)
            state.write(to: &writer)
            closeCursor()
            let taken = transaction.dirtyPages
            if transaction.hasSpilledPages { changedPages.addAny() } else { changedPages.add(transaction.takenPages) }
            hasPreparedCommit = false
            try transaction.commit()
            hasUncommittedChanges = false
            hasCommitted = true
            reclaimWaitsForCommit = false
            try growMapIfNeeded()
            try environment.beginWriting(again: transaction)
            measureRoom(takenPages: taken)
        } catch {
            throw failed(error)
        }
    }

    private func storeCounts() throws(LMDBError) {
        for database in 0..<options.databases {
            for slot in 0..<1024 where counts[database].changed[slot] {
                auxiliary.setCounts(database: database, slot: slot)
                let stored = counts[database].slots[slot]
                if stored == SlotCounts() {
                    try transaction.delete(auxiliary.view, in: countsTable)
                } else {
                    let length = SlotCounts.storedLength
                    let memory = unsafe try transaction.reserve(auxiliary.view, count: length, in: countsTable)
                    var writer = unsafe RowWriter(memory)
                    stored.write(to: &writer)
                }
                counts[database].wasStored(slot)
            }
        }
    }

    /// Whether the open transaction has taken so many pages that its commit would be long if they were closed to
    /// writes.
    public var hasTakenManyPages: Bool { failure == nil && transaction.dirtyPages >= 2048 }

    /// Has the pages that the open transaction has taken opened to writes on another thread; `completion` is called
    /// then, on some thread.
    ///
    /// The kernel writes them after half a minute and closes them for that; where `DataSync` has to sync all of the
    /// file, the sync of a checkpoint does.
    public func openTakenPages(completion: @escaping @Sendable () -> Void) {
        prefetcher.open(failure == nil ? transaction.takenPages : [], completion: completion)
    }

    /// Has them opened if a commit is soon due and they were not yet for it; O(1) otherwise.
    @inline(__always)
    public func openTakenPagesIfCommitIsNear() {
        guard !hasPreparedCommit, hasTaken(options.dirtyPages / 8 * 7) else { return }
        hasPreparedCommit = true
        openTakenPages {}
    }

    /// Hears that `checkpoint` is durable: the log before its position is not needed for recovery any more.
    public func finish(_ checkpoint: Checkpoint) {
        guard checkpoint.commit > durableCommit else { return }
        durableCommit = checkpoint.commit
        durablePin?.abort()
        durablePin = pendingPin
        pendingPin = nil
        pendingCheckpoint = nil
        // The pin has moved on, and the pages that it held can be used.
        room.freePages = countFreePages()
    }

    /// Doubles the map when half of it is used; snapshots are cut for that.
    private func growMapIfNeeded() throws(LMDBError) {
        let information = environment.information
        let used = (information.lastPage + 1) * environment.pageSize
        guard used > information.mapSizeBytes / 2 else { return }
        cutSnapshots()
        try environment.setMapSize(bytes: information.mapSizeBytes * 2)
    }

    /// Learns from the last commit how much room there is.
    func measureRoom(takenPages: Int = 0) {
        room.begin(
            lastPage: environment.information.lastPage,
            freePages: countFreePages(),
            takenPages: takenPages
        )
    }

    /// The pages that the last commit left free and that the pins let be used.
    private func countFreePages() -> Int {
        guard let reader = try? environment.beginReading() else { return 0 }
        defer { reader.abort() }
        guard let cursor = try? reader.cursor(Transaction.freePages) else { return 0 }
        defer { cursor.close() }
        var free = 0
        let oldest = UInt64(snapshots.reduce(durableCommit) { min($0, $1.commit) })
        var row = try? cursor.first()
        while let found = row ?? nil {
            guard found.key.count == 8, found.value.count >= 8 else { break }
            let count = Int(truncatingIfNeeded: found.value.littleEndian(UInt64.self, at: 0))
            if found.key.littleEndian(UInt64.self, at: 0) < oldest { free += count }
            row = try? cursor.next()
        }
        return free
    }

    /// Whether a command of `bytes` can be written for certain.
    ///
    /// False means that the disk is full: only what frees space may then go on, as long as `ensureRoomForDelete()`
    /// says so. A row may take a page of its own and split the one that it comes into, on every level.
    @inline(__always)
    public func ensureRoom(bytes: Int) -> Bool {
        let pages = min(bytes, 64 << 20) / 2000 + 16
        return room.ensure(pages: pages, for: transaction, reserve: RoomReserve.reservedPages)
    }

    /// Whether `rows` rows can be deleted or changed in place for certain, out of what is kept for that when the disk
    /// is full.
    public func ensureRoomForDelete(rows: Int = 32) -> Bool {
        room.ensure(pages: 2 * rows + 16, for: transaction, reserve: RoomReserve.leastReservedPages)
    }

    /// Ends the use of the keyspace; what was not committed is lost, as far as this object knows of it.
    public func close() {
        prefetcher.stop()
        closeCursor()
        cutSnapshots()
        transaction.abort()
        durablePin?.abort()
        pendingPin?.abort()
        if failure == nil { fail(.failed("the keyspace is closed")) }
    }

    // MARK: Figures

    /// Figures of the storage, for INFO.
    public struct StorageStatistics: Sendable {
        /// The size of the map, in bytes.
        public var mapBytes: Int
        /// What the data file uses, free pages among it, in bytes.
        public var usedBytes: Int
        /// Free pages that can be used again at once, in bytes.
        public var freeBytes: Int
        /// What has blocks on the disk, in bytes.
        public var allocatedBytes: Int
        /// Pages that were changed since the last commit.
        public var dirtyPages: Int
        /// Commits so far.
        public var commits: Int
        /// Commits since the durable one.
        public var commitsNotDurable: Int
        /// Places for readers that are taken.
        public var readers: Int
        /// Whether something waits to be deleted in the background.
        public var isReclaiming: Bool
    }

    /// Figures of the storage, in O(1).
    public var storageStatistics: StorageStatistics {
        let information = environment.information
        return StorageStatistics(
            mapBytes: information.mapSizeBytes,
            usedBytes: (information.lastPage + 1) * environment.pageSize,
            freeBytes: room.freePages * environment.pageSize,
            allocatedBytes: room.allocatedBytes,
            dirtyPages: failure == nil ? transaction.dirtyPages : 0,
            commits: information.lastTransaction,
            commitsNotDurable: information.lastTransaction - durableCommit,
            readers: information.readers,
            isReclaiming: hasReclaimRows
        )
    }
}
