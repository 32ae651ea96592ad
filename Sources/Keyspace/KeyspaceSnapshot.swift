// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Glibc
internal import LMDB
internal import Synchronization

/// Why a snapshot could not be read to its end.
public enum SnapshotError: Error, Equatable, CustomStringConvertible {
    /// The keyspace needed the snapshot to go: whoever reads begins anew with another one.
    case cut
    /// Reading failed.
    case failed(String)

    public var description: String {
        switch self {
        case .cut: "the snapshot was given up so that the keyspace could grow"
        case .failed(let text): text
        }
    }
}

/// The whole keyspace as of one commit, for a thread that reads it while the keyspace goes on changing.
///
/// It is a read transaction of LMDB. As long as it is open, pages that it can see are not used again, so the file grows
/// by what is rewritten meanwhile; INFO shows who holds one and for how long. When the keyspace has to enlarge its map
/// the snapshot is cut: its reader gets `SnapshotError.cut` and begins anew.
///
/// One thread reads at a time, within `read(_:)`. There it holds the snapshot's lock, which it lends out in
/// `KeyspaceReader.pause(_:)` at least once a millisecond or so: the thread of the keyspace may be waiting for it.
@safe
public final class KeyspaceSnapshot: @unchecked Sendable {
    // Unchecked: the transaction is used under the lock only, the rest never changes.

    /// The place in the log that it stands for: everything before is in it, and nothing behind.
    public let position: LogPosition
    /// What it is for, as INFO shows it.
    public let owner: String
    /// The keys of each database.
    public let keyCounts: [Int]
    /// When it was taken.
    public let takenAt = ContinuousClock.now

    /// The number of the commit that it reads.
    let commit: Int
    private let tables: [Table]
    private let spaces: [UInt16]
    private let hashKey: SipHash
    private let lock = ManualLock()
    private let isCut = Atomic<Bool>(false)
    private let isClosed = Atomic<Bool>(false)
    private var transaction: Transaction?

    init(_ transaction: Transaction, tables: [Table], state: StoredState, owner: String, keyCounts: [Int]) {
        self.transaction = transaction
        self.tables = tables
        self.owner = owner
        self.keyCounts = keyCounts
        position = state.position
        hashKey = state.hashKey
        spaces = Array(state.spaces[0..<keyCounts.count])
        commit = transaction.number
    }

    deinit {
        transaction?.abort()
    }

    /// How many keys there are in all databases.
    public var keyCount: Int { keyCounts.reduce(0, +) }

    /// Whether it still holds pages.
    public var isOpen: Bool { !isCut.load(ordering: .acquiring) && !isClosed.load(ordering: .acquiring) }

    /// Calls `body` with what reads the snapshot, on the calling thread.
    ///
    /// - Throws: what `body` throws, and `SnapshotError.cut` at once if it was cut before.
    public func read<Result>(_ body: (KeyspaceReader) throws -> Result) throws -> Result {
        lock.lock()
        defer { lock.unlock() }
        guard isOpen, let transaction else { throw SnapshotError.cut }
        let rows = RowReader(transaction, slotTables: tables, hashKey: hashKey)
        let reader = KeyspaceReader(rows, spaces: spaces, keyCounts: keyCounts, snapshot: self)
        defer { reader.end() }
        return try body(reader)
    }

    /// Lets go of it; no effect when that was done before.
    ///
    /// Not to be called within `read(_:)`.
    public func close() {
        isClosed.store(true, ordering: .releasing)
        lock.lock()
        transaction?.abort()
        transaction = nil
        lock.unlock()
    }

    /// Does `work` with the lock lent out.
    fileprivate func pause(_ work: () throws -> Void) throws {
        lock.unlock()
        defer { lock.lock() }
        try work()
    }

    fileprivate func checkOpen() throws(SnapshotError) {
        if !isOpen { throw .cut }
    }

    /// Takes the snapshot away from its reader; waits until that pauses, and returns when no page is in use.
    func cut() {
        isCut.store(true, ordering: .releasing)
        lock.lock()
        transaction?.abort()
        transaction = nil
        lock.unlock()
    }
}

/// Reads rows of keys: those of a snapshot, or of the keyspace as it is now.
///
/// What it lends lives as long as it says, and for a snapshot never beyond `KeyspaceSnapshot.read(_:)`.
@safe
public final class KeyspaceReader {
    /// Reads the values.
    public let rows: RowReader
    let spaces: [UInt16]
    /// The keys of each database.
    public let keyCounts: [Int]
    private let snapshot: KeyspaceSnapshot?
    private var walks: [KeyWalk] = []

    init(
        _ rows: RowReader,
        spaces: [UInt16],
        keyCounts: [Int],
        snapshot: KeyspaceSnapshot?
    ) {
        self.rows = rows
        self.spaces = spaces
        self.keyCounts = keyCounts
        self.snapshot = snapshot
    }

    var transaction: Transaction { rows.transaction }
    var tables: [Table] { rows.slotTables }

    /// How many keys there are in all databases.
    public var keyCount: Int { keyCounts.reduce(0, +) }

    /// A walk over all keys of all databases.
    ///
    /// It goes by database, slot and row.
    public func walk() -> KeyWalk {
        let walk = KeyWalk(self)
        walks.append(walk)
        return walk
    }

    /// Does `work`, which takes its time and touches no row, while the thread of the keyspace may have its way.
    ///
    /// - Throws: what `work` throws, and `SnapshotError.cut` when the snapshot is gone: then nothing that was lent may
    ///   be looked at any more.
    public func pause(_ work: () throws -> Void) throws {
        guard let snapshot else { return try work() }
        try snapshot.pause(work)
        try snapshot.checkOpen()
    }

    /// Ends the walks.
    func end() {
        for walk in walks { walk.close() }
    }
}

extension Keyspace {
    /// Takes a snapshot of the last commit, which must have been made just now: nothing was changed since.
    ///
    /// - Throws: `KeyspaceError.failed`.
    public func takeSnapshot(owner: String) throws(KeyspaceError) -> KeyspaceSnapshot {
        if let failure { throw failure }
        precondition(!hasUncommittedChanges && hasCommitted, "a snapshot is taken right after a commit")
        do throws(LMDBError) {
            let snapshot = KeyspaceSnapshot(
                try environment.beginReading(),
                tables: slotTables,
                state: state,
                owner: owner,
                keyCounts: (0..<options.databases).map { keyCount(in: $0) }
            )
            openSnapshots = openSnapshots.filter { $0.isOpen } + [WeakSnapshot(snapshot)]
            return snapshot
        } catch {
            throw KeyspaceError(error, while: "taking a snapshot")
        }
    }

    /// Reads the keyspace as it is, changes that were not committed among them; nothing may be changed meanwhile.
    public func readNow<Result, Failure: Error>(
        _ body: (KeyspaceReader) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        let reader = KeyspaceReader(
            RowReader(transaction, slotTables: slotTables, hashKey: state.hashKey),
            spaces: Array(state.spaces[0..<options.databases]),
            keyCounts: (0..<options.databases).map { keyCount(in: $0) },
            snapshot: nil
        )
        defer { reader.end() }
        return try body(reader)
    }

    /// The snapshots that are open, the oldest first.
    public var snapshots: [KeyspaceSnapshot] { openSnapshots.compactMap { $0.isOpen ? $0.snapshot : nil } }

    /// Takes all snapshots from their readers.
    func cutSnapshots() {
        for open in openSnapshots { open.snapshot?.cut() }
        openSnapshots = []
    }
}

/// A snapshot that its owner may drop.
struct WeakSnapshot {
    weak var snapshot: KeyspaceSnapshot?

    init(_ snapshot: KeyspaceSnapshot) { self.snapshot = snapshot }

    var isOpen: Bool { snapshot?.isOpen ?? false }
}

/// A lock that is taken in one place and given back in another.
@safe
private final class ManualLock: Sendable {
    // The mutex stays where it is, in memory of its own, as POSIX demands.
    private nonisolated(unsafe) let mutex: UnsafeMutablePointer<pthread_mutex_t>

    init() {
        unsafe mutex = .allocate(capacity: 1)
        unsafe mutex.initialize(to: pthread_mutex_t())
        unsafe pthread_mutex_init(mutex, nil)
    }

    deinit {
        unsafe pthread_mutex_destroy(mutex)
        unsafe mutex.deallocate()
    }

    func lock() { unsafe pthread_mutex_lock(mutex) }
    func unlock() { unsafe pthread_mutex_unlock(mutex) }
}
