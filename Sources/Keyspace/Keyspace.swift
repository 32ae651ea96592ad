// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

public import Bytes
internal import LMDB
public import SlotHash

/// How a keyspace is opened.
public struct KeyspaceOptions: Sendable {
    /// How many databases there are, 1...256.
    public var databases = 16
    /// The size that the map begins with, in bytes; 0 chooses by the size of the data.
    ///
    /// It grows as they do.
    public var mapSizeBytes = 0
    /// A commit is due when about this many pages were changed since the last one; after half of them in
    /// data of more than twice as many.
    public var dirtyPages = 32768
    /// Changes that must be committed together may change about this many pages.
    ///
    /// LMDB keeps a list of at most 131,071 changed pages; what is counted here is without branches and the like, and
    /// what was begun below the limit needs room above it.
    public var mostDirtyPages = 98_304
    /// Elements of values with fewer are not prefetched: those are in the processor's caches, mostly, and to look
    /// ahead would cost more than it saves.
    public var fewestPrefetchedElements = 65_536
    /// How much memory the data may count on, in bytes; 0 for what there is.
    public var memoryBytes = 0

    /// The options that suit most.
    public init() {}
}

/// The keyspace: databases × 1,024 slot tables × typed values, in one LMDB environment.
///
/// Every change goes into one write transaction, which stays open until `commit(at:)`. A commit is not synced: another
/// thread makes it durable (`Checkpoint.makeDurable`), and at opening the last durable commit is what is found; see
/// `DurableMeta`. What was done since is replayed from the log by the owner of the keyspace.
///
/// All methods belong to one thread, the one that opened the keyspace. Look-ups never expire anything by themselves.
@safe
public final class Keyspace {
    let environment: Environment
    let transaction: Transaction
    let directory: KeyspaceDirectory
    let dataSync: DataSync
    let durable: DurableMeta
    let options: KeyspaceOptions

    // The tables.
    let slotTables: [Table]
    let metaTable: Table
    let expiryTable: Table
    let reclaimTable: Table
    let countsTable: Table

    /// The cursor in use, and the slot whose table it is on.
    var openCursor: Cursor?
    var openCursorSlot = 0
    /// What is known of the row under `target`, while nothing was changed since that was found out.
    var placement = Placement.unknown
    /// There was none the last time that a cursor was to be placed.
    private var expectsMissing = false
    /// The value of the row under `target`, while it is `.found`, and whether it may be overwritten in place.
    var foundRow = ByteView()
    var foundRowIsWritable = false

    enum Placement {
        case unknown
        /// The slot's cursor stands on it.
        case onRow
        /// `foundRow` is its value, and no cursor stands on it.
        case found
        /// There is none; the gap is known if the row was searched for without LMDB.
        case missing(RowGap?)
    }

    var state: StoredState
    /// The database of each space in use, or -1.
    var databaseOfSpace: [Int16]
    var counts: [DatabaseCounts]
    let access: AccessClock
    /// How often slots are used.
    public let traffic = SlotTraffic()
    /// If not 0, what is written counts as used at this time, in seconds since 1970.
    public var writeAccessSeconds: UInt32 = 0
    var room: RoomReserve

    /// Reads values from the open transaction.
    public let reader: RowReader

    /// Scratch: the row key of the command's key, that of a second key, that of an element, and one for other rows.
    let target = RowKey()
    let other = RowKey()
    let element = RowKey()
    let auxiliary = RowKey()
    /// Scratch: the packed elements of a small collection that is being changed.
    let packed = PackedElements()
    /// The rows that were announced: see Keyspace+Prefetch.swift.
    let rowPrefetch = RowPrefetch()
    /// The checksum of the key that was announced last, and whether that was since they were last prefetched.
    var lastAnnounced: UInt32 = 0
    var hasAnnounced = false
    /// The objects of the values that were looked up lately.
    var knownObjects = KnownObjects()
    /// Scratch: what changes of trees need.
    let treeScratch = TreeScratch()

    /// Called after each change of a key with its database, the keyed hash of its bytes, and the checksum that places
    /// it, while somebody asks.
    public var onKeyChange: ((_ database: Int, _ keyHash: UInt64, _ checksum: UInt32) -> Void)?
    /// Called before all keys of a database go at once, while somebody asks; it may look keys up.
    public var onRemoveAll: ((_ database: Int) -> Void)?

    /// Why the engine cannot go on, once it cannot.
    public var failure: KeyspaceError? { reader.failure }

    /// Called in the middle of a very large write when the transaction must not grow further.
    ///
    /// It must commit, for the position of the log *before* the command that runs.
    public var onPressure: (() throws(KeyspaceError) -> Void)?

    // Commits: see Keyspace+Commit.swift.
    var durablePin: Transaction?
    var pendingPin: Transaction?
    var pendingCheckpoint: Checkpoint?
    var durableCommit: Int
    /// What commits have changed since the last checkpoint began.
    var changedPages = ChangedPages()
    /// Whether the open transaction's pages were opened because its commit is near.
    var hasPreparedCommit = false
    var hasUncommittedChanges = false
    let prefetcher: FilePrefetcher
    /// Whether this object has committed: the handles of its tables are good for readers from then on.
    var hasCommitted = false

    // Snapshots: see KeyspaceSnapshot.swift.
    var openSnapshots: [WeakSnapshot] = []

    // Reclaim: see Keyspace+Reclaim.swift.
    var hasReclaimRows = false
    var reclaimWaitsForCommit = false
    /// The spaces that are being reclaimed, and whether their rows are plain: without expiry and without object.
    var reclaimedSpaces: [UInt16: Bool] = [:]
    var generator = FastGenerator()

    /// Opens the keyspace in `directory`, or makes it.
    ///
    /// - Throws: `KeyspaceError.locked` if another process has it open, `.format` if it cannot be opened by this
    ///   version, `.failed` for what the system refuses.
    public init(directory path: String, options: KeyspaceOptions = KeyspaceOptions()) throws(KeyspaceError) {
        self.options = options
        let directory = try KeyspaceDirectory(path: path)
        self.directory = directory
        let opened = try OpenedEnvironment(directory, options)
        environment = opened.environment
        dataSync = opened.dataSync
        durable = opened.durable
        transaction = opened.transaction
        slotTables = opened.slotTables
        reader = RowReader(opened.transaction, slotTables: opened.slotTables, hashKey: opened.state.hashKey)
        metaTable = opened.metaTable
        expiryTable = opened.expiryTable
        reclaimTable = opened.reclaimTable
        countsTable = opened.countsTable
        state = opened.state
        databaseOfSpace = Array(repeating: -1, count: Int(RowKeyLayout.spaceLimit))
        counts = (0..<256).map { _ in DatabaseCounts.empty }
        access = AccessClock()
        prefetcher = try FilePrefetcher(opened.environment)
        room = RoomReserve(
            environment: opened.environment,
            prefetcher: prefetcher,
            memoryBytes: options.memoryBytes > 0 ? options.memoryBytes : AvailableMemory.bytes
        )
        durableCommit = opened.environment.information.lastTransaction
        for database in 0..<256 { databaseOfSpace[Int(state.spaces[database])] = Int16(database) }
        do throws(LMDBError) {
            try loadCounts()
            durablePin = try environment.beginReading()
            try adoptUnfinishedObjects()
            measureRoom()
        } catch {
            throw KeyspaceError(error, while: "opening the keyspace")
        }
        for database in options.databases..<256 where counts[database].total.keys > 0 {
            throw .format("database \(database) has keys, but there are only \(options.databases) databases")
        }
        guard ensureRoom(bytes: 0) || ensureRoomForDelete() else {
            throw .failed("no space left on the disk to open the keyspace")
        }
        room.leavesRoomForLog = true
        room.fetchUsed()
    }

    deinit {
        close()
    }

    private func loadCounts() throws(LMDBError) {
        let cursor = try transaction.cursor(countsTable)
        defer { cursor.close() }
        var row = try cursor.first()
        while let found = row {
            guard found.key.count == 4, let stored = SlotCounts(found.value) else { throw .corrupted }
            let database = Int(found.key.bigEndian(UInt16.self, at: 0))
            let slot = Int(found.key.bigEndian(UInt16.self, at: 2))
            guard database < 256, slot < 1024 else { throw .corrupted }
            counts[database].load(stored, slot: slot)
            row = try cursor.next()
        }
    }

    // MARK: Look-up

    /// The record of `key`, or nil if there is none.
    ///
    /// O(log n). It may have expired: that is for the caller to see.
    @inline(__always)
    public func find(_ key: ByteView, in database: Int) -> Record? {
        setTarget(key, database)
        do throws(LMDBError) {
            return record(in: try transaction.get(target.view, in: slotTables[target.slot]))
        } catch {
            return noRecord(error)
        }
    }

    /// As `find`, for a key that is about to be changed: a change of this key that follows at once does not search
    /// again.
    @inline(__always)
    public func findForChange(_ key: ByteView, in database: Int) -> Record? {
        setTarget(key, database)
        do throws(LMDBError) {
            return record(in: try placeOnTarget())
        } catch {
            return noRecord(error)
        }
    }

    /// As `findForChange`, for a key that is about to become another string: of values of other types nothing is known
    /// for the change.
    @inline(__always)
    public func findForString(_ key: ByteView, in database: Int) -> Record? {
        setTarget(key, database)
        do throws(LMDBError) {
            return record(in: try locateTarget())
        } catch {
            return noRecord(error)
        }
    }

    /// The record in the row of `target` that was found, if any; what is wrong with it ends the use of the keyspace.
    @inline(__always)
    private func record(in row: ByteView?) -> Record? {
        guard let row else { return nil }
        guard let record = Record(row) else {
            fail(.failed("a row of the keyspace is damaged"))
            return nil
        }
        if record.object != 0 { noteObject(of: record) }
        return record
    }

    /// Ends the use of the keyspace, which cannot be read.
    private func noRecord(_ error: LMDBError) -> Record? {
        fail(KeyspaceError(error, while: "reading the keyspace"))
        return nil
    }

    /// The value of the row of `target`, or nil if there is none; no cursor may stand on it afterwards.
    @inline(__always)
    func locateTarget() throws(LMDBError) -> ByteView? {
        switch transaction.search(target.view, in: slotTables[target.slot]) {
        case .found(let row, let isWritable):
            placement = .found
            foundRow = row
            foundRowIsWritable = isWritable
            return row
        case .missing(let gap):
            placement = .missing(gap)
            return nil
        case .unknown: return try placeOnTarget()
        }
    }

    /// Places the slot's cursor on the row of `target` and returns its value; if there is none, nil, and the cursor is
    /// anywhere.
    ///
    /// Where it stands there already nothing is searched: since the last command, or since other rows were written in
    /// this one. LMDB keeps a cursor of a write transaction on its row, whatever other cursors change.
    @inline(__always)
    func placeOnTarget() throws(LMDBError) -> ByteView? {
        if let openCursor, openCursorSlot == target.slot, let row = try openCursor.currentRow(),
            row.key == target.view
        {
            placement = .onRow
            return row.value
        }
        // A search tells sooner that there is none, but places no cursor: it is worth it if there was none before.
        if expectsMissing, case .missing(let gap) = transaction.search(target.view, in: slotTables[target.slot]) {
            placement = .missing(gap)
            return nil
        }
        let row = try newCursor(target.slot).find(target.view)
        expectsMissing = row == nil
        placement = row == nil ? .missing(nil) : .onRow
        return row
    }

    @inline(__always)
    func setTarget(_ key: ByteView, _ database: Int) {
        switch placement {
        case .unknown: break
        case .onRow, .found, .missing:
            if target.isRow(of: key, in: state.spaces[database]) { return }
            placement = .unknown
        }
        target.set(key, space: state.spaces[database], hashKey: state.hashKey)
        access.prefetch(target.hash)
    }

    /// A cursor on the slot's table: the one in use if it is that table's, else a new one.
    ///
    /// One is kept at a time. A cursor that stands somewhere first compares with the page that it stands on, which
    /// costs two cache misses and is nearly never the right page, so a change begins with a new one.
    @inline(__always)
    func cursor(_ slot: Int) throws(LMDBError) -> Cursor {
        if let openCursor, openCursorSlot == slot { return openCursor }
        return try newCursor(slot)
    }

    @inline(__always)
    func newCursor(_ slot: Int) throws(LMDBError) -> Cursor {
        closeCursor()
        let cursor = try transaction.cursor(slotTables[slot])
        openCursor = cursor
        openCursorSlot = slot
        return cursor
    }

    @inline(__always)
    func closeCursor() {
        placement = .unknown
        openCursor?.close()
        openCursor = nil
    }

    /// The keyed hash of a key, as `onKeyChange` is called with it.
    public func keyHash(_ key: ByteView) -> UInt64 { state.hashKey.hash(key) }

    /// Where the row of a key lies among those of its database: they lie slot by slot, and in each slot in the order of
    /// these numbers.
    public func rowOrder(_ key: ByteView) -> UInt64 {
        let checksum = KeyHash(of: key).checksum
        // The slot is in the lowest ten bits.
        return UInt64(checksum >> 10 | checksum << 22) << 32 | state.hashKey.hash(key) >> 32
    }

    /// Where a field or a member lies among those of its value: they lie in the order of these numbers.
    public func elementOrder(_ name: ByteView) -> UInt64 { state.hashKey.hash(name) }

    func fail(_ error: KeyspaceError) {
        reader.fail(error)
    }

    /// Runs a change, turning LMDB's error into ours; the transaction is then lost, and so is the keyspace until it is
    /// opened again.
    @inline(__always)
    func change<Result>(_ body: () throws(LMDBError) -> Result) throws(KeyspaceError) -> Result {
        if let failure { throw failure }
        hasUncommittedChanges = true
        defer { placement = .unknown }
        do throws(LMDBError) {
            return try body()
        } catch {
            let failed = KeyspaceError(error, while: "writing the keyspace")
            fail(failed)
            throw failed
        }
    }

    // MARK: Counts

    /// The number of keys of `database`; O(1).
    public func keyCount(in database: Int) -> Int { counts[database].total.keys }

    /// The number of keys of `database` that have an expiry; O(1).
    public func expiringKeyCount(in database: Int) -> Int { counts[database].total.expiring }

    /// The mean time that the expiring keys of `database` have left, in ms at `now`; 0 without such keys.
    ///
    /// O(1).
    public func averageTimeToLive(in database: Int, at now: Int64) -> Int64 {
        let total = counts[database].total
        guard total.expiring > 0, now > 0 else { return 0 }
        // The sum is known modulo 2^64; taking `now` off each term first keeps the rest small.
        let left = Int64(bitPattern: total.expirySum &- UInt64(bitPattern: now) &* UInt64(total.expiring))
        return max(0, left / Int64(total.expiring))
    }

    /// What `slot` holds of `database`; O(1).
    public func counts(of slot: Slot, in database: Int) -> SlotCounts {
        counts[database].slots[Int(slot.number)]
    }

    /// The bytes of all rows of all keys; O(databases).
    public var storedBytes: Int { counts[0..<options.databases].reduce(0) { $0 + $1.total.bytes } }

    /// Counts the look-up that was made last as one by a command that reads.
    @inline(__always)
    public func noteReadOfLastFound() { traffic.noteRead(target.slot) }

    // MARK: Access clock

    /// Notes that the key last looked up was used at `seconds`.
    @inline(__always)
    public func touchLastFound(seconds: UInt32) { access.touch(target.hash, seconds) }

    /// When `key` was last used, in seconds since 1970, as far as is known; nil if nothing is.
    public func lastUse(of key: ByteView, in database: Int) -> UInt32? {
        setTarget(key, database)
        return access.lastUse(target.hash)
    }

    /// How long ago `key` was used, as far as is known: in bounded memory keys share entries, and after a start
    /// nothing is known.
    public func idleSeconds(_ key: ByteView, in database: Int, now: UInt32) -> Int {
        setTarget(key, database)
        return access.idle(target.hash, now)
    }
}

extension DatabaseCounts {
    static let empty = DatabaseCounts()
}
