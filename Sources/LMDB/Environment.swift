// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import CGlibc
internal import CLMDB
internal import Glibc
internal import Synchronization

/// An LMDB environment: one data file, mapped writable, whose commits are not synced by LMDB.
///
/// The environment is opened with `MDB_WRITEMAP | MDB_NOMEMINIT | MDB_NOTLS | MDB_NOSYNC | MDB_NORDAHEAD`. Its owner
/// makes a commit durable by syncing its pages and saving `metaPage(ofTransaction:)` elsewhere; see `Keyspace`.
/// A page that is not in memory is read alone; whoever wants more of them calls `fetch(_:)` first.
///
/// `@unchecked Sendable`: LMDB's environment handle may be shared between threads (lmdb.h, `mdb_env_open`). The write
/// transaction stays with the thread that began it; that is for the caller to keep.
@safe
public final class Environment: @unchecked Sendable {
    let handle: OpaquePointer
    private let map: Mutex<Map>

    /// The map, as far as it is known.
    private struct Map {
        /// 0 if it was not looked up yet, or cannot be found.
        var address: UInt = 0
        var length: Int
    }

    /// The size of a page, in bytes.
    public let pageSize: Int

    /// Opens the environment in `directory`, which must exist.
    ///
    /// - Parameters:
    ///   - mapSizeBytes: the size of the map, a multiple of the page size; the data file is made that long, sparsely.
    ///   - maximumTables: how many named tables there can be.
    /// - Throws: `LMDBError.invalid`, `.versionMismatch`, or what the system said of the files.
    public init(
        directory: String,
        mapSizeBytes: Int,
        maximumTables: Int
    ) throws(LMDBError) {
        var created: OpaquePointer?
        try unsafe LMDBError.check(mdb_env_create(&created))
        guard let environment = unsafe created else { throw .system(ENOMEM) }
        let flags = UInt32(MDB_WRITEMAP | MDB_NOMEMINIT | MDB_NOTLS | MDB_NOSYNC | MDB_NORDAHEAD)
        do throws(LMDBError) {
            try unsafe LMDBError.check(mdb_env_set_mapsize(environment, mapSizeBytes))
            try unsafe LMDBError.check(mdb_env_set_maxdbs(environment, UInt32(maximumTables)))
            try unsafe LMDBError.check(mdb_env_open(environment, directory, flags, 0o644))
        } catch {
            unsafe mdb_env_close(environment)
            throw error
        }
        unsafe handle = environment
        map = Mutex(Map(length: mapSizeBytes))
        var statistics = MDB_stat()
        unsafe mdb_env_stat(environment, &statistics)
        pageSize = Int(statistics.ms_psize)
    }

    deinit {
        unsafe mdb_env_close(handle)
    }

    /// The descriptor of the data file, to sync it; it closes with the environment.
    public var fileDescriptor: Int32 {
        var descriptor: Int32 = -1
        unsafe mdb_env_get_fd(handle, &descriptor)
        return descriptor
    }

    /// Gives `pages` of the data file blocks on the disk, those that have none, at the cost of the file system's work.
    ///
    /// Never by writing to them, so another thread may write to the map meanwhile.
    ///
    /// - Returns: 0, or the number of the system's error: `EOPNOTSUPP` where the file system cannot do it.
    public func allocate(_ pages: Range<Int>) -> Int32 {
        guard !pages.isEmpty else { return 0 }
        repeat {
            let start = off_t(pages.lowerBound * pageSize)
            if fallocate(fileDescriptor, 0, start, off_t(pages.count * pageSize)) == 0 { return 0 }
        } while errno == EINTR
        return errno
    }

    /// Has the kernel bring `pages` of the data file into memory, those that are not there; for any thread.
    ///
    /// They come as pages of the smallest size: a write to a larger one through the map makes all of it dirty, and a
    /// checkpoint of rows here and there would write the whole file. Pages behind the end of the data are filled with
    /// zeros.
    public func fetch(_ pages: Range<Int>) {
        // The kernel does no more at once than the device reads ahead, mostly 128 KiB.
        let step = (128 << 10) / pageSize
        for start in stride(from: pages.lowerBound, to: pages.upperBound, by: step) {
            let count = min(step, pages.upperBound - start)
            posix_fadvise(fileDescriptor, off_t(start * pageSize), off_t(count * pageSize), POSIX_FADV_WILLNEED)
        }
    }

    /// Closes `pages` of the map to writes, until the next write to each; for any thread.
    ///
    /// A page that is open for writing when the kernel writes it to the disk has to be closed on every core, one by
    /// one. Where there are many, this is far cheaper. All are taken from the process; if they are in memory they can
    /// be given back for reading, `forReading`, else they come back as they are touched, which may have to wait until
    /// they are written.
    public func closePages(_ pages: Range<Int>, forReading: Bool) {
        // In parts, so that nobody waits long for the kernel's locks.
        let part = (64 << 20) / pageSize
        for start in stride(from: pages.lowerBound, to: pages.upperBound, by: part) {
            let end = min(start + part, pages.upperBound)
            map.withLock { map in
                guard let address = unsafe startAddress(&map) else { return }
                let bytes = (start * pageSize..<end * pageSize).clamped(to: 0..<map.length)
                unsafe madvise(address + bytes.lowerBound, bytes.count, MADV_DONTNEED)
                // Linux before 5.14 cannot do it.
                if forReading { unsafe madvise(address + bytes.lowerBound, bytes.count, MADV_POPULATE_READ) }
            }
        }
    }

    /// Opens `pages` of the map to writes, those that are closed; for any thread.
    ///
    /// The first write to a page that is closed costs its thread microseconds. What is in the pages stays as it is, but
    /// the kernel takes them to be changed, and writes them sooner or later. O(n log n) for n ranges.
    public func openPages(_ pages: [Range<Int>]) {
        let ranges = pages.joined(upTo: 0)
        // In parts, so that nobody waits long for the map.
        for start in stride(from: 0, to: ranges.count, by: 256) {
            map.withLock { map in
                guard let address = unsafe startAddress(&map) else { return }
                for range in ranges[start..<min(start + 256, ranges.count)] {
                    let bytes = (range.lowerBound * pageSize..<range.upperBound * pageSize).clamped(to: 0..<map.length)
                    // Linux before 5.14 cannot do it.
                    unsafe madvise(address + bytes.lowerBound, bytes.count, MADV_POPULATE_WRITE)
                }
            }
        }
    }

    private func startAddress(_ map: inout Map) -> UnsafeMutableRawPointer? {
        if map.address == 0 { map.address = mapAddress() }
        return unsafe UnsafeMutableRawPointer(bitPattern: map.address)
    }

    /// Where the map begins, which LMDB keeps to itself: a page that holds a row begins with its own number.
    private func mapAddress() -> UInt {
        guard let reader = try? beginReading() else { return 0 }
        defer { reader.abort() }
        guard let cursor = try? reader.cursor(Transaction.names) else { return 0 }
        defer { cursor.close() }
        guard let first = try? cursor.first(), let page = LeafPage(holding: first.key, pageSize: pageSize),
            (0...information.lastPage).contains(page.number)
        else { return 0 }
        let address = unsafe page.mapAddress
        // The first page is a meta page: its number is zero, and this stands behind its head.
        let magic: UInt32 = 0xBEEF_C0DE
        guard unsafe address.load(as: Int.self) == 0, unsafe address.load(fromByteOffset: 16, as: UInt32.self) == magic
        else { return 0 }
        return UInt(bitPattern: address)
    }

    /// What LMDB says of its map and its last commit (`mdb_env_info`).
    public struct Information {
        /// The size of the map, in bytes.
        public var mapSizeBytes: Int
        /// The number of the last page in use at the last commit.
        public var lastPage: Int
        /// The number of the last commit.
        public var lastTransaction: Int
        /// How many places for readers are taken.
        public var readers: Int
    }

    /// What LMDB says of its map and its last commit, in O(1); only for the thread that may change the map's size.
    public var information: Information {
        var information = unsafe MDB_envinfo()
        unsafe mdb_env_info(handle, &information)
        return unsafe Information(
            mapSizeBytes: information.me_mapsize,
            lastPage: information.me_last_pgno,
            lastTransaction: information.me_last_txnid,
            readers: Int(information.me_numreaders)
        )
    }

    /// Changes the map's size, which moves the map.
    ///
    /// No write transaction may be open, and no read transaction may be used any more to read (`mdb_env_set_mapsize`).
    /// But one that does not read goes on to keep the pages of its commit from being used again: for that it has a
    /// place in the lock file, not in the map.
    public func setMapSize(bytes: Int) throws(LMDBError) {
        let code = map.withLock { map in
            let code = unsafe mdb_env_set_mapsize(handle, bytes)
            map = Map(length: information.mapSizeBytes)
            return code
        }
        try LMDBError.check(code)
    }

    /// A copy of the meta page that commit number `transaction` wrote; call it before the next commit but one.
    ///
    /// - Throws: `LMDBError.system` if the data file cannot be read.
    public func metaPage(ofTransaction transaction: Int) throws(LMDBError) -> [UInt8] {
        var page = [UInt8](repeating: 0, count: pageSize)
        // The file and the map are the same pages of the kernel's, so what was just written through the map is read.
        let count = unsafe pread(fileDescriptor, &page, pageSize, off_t((transaction & 1) * pageSize))
        guard count == pageSize else { throw .system(count < 0 ? errno : EIO) }
        return page
    }

    /// Begins the one write transaction; it belongs to the calling thread.
    ///
    /// - Throws: `LMDBError.versionMismatch` if the library is not one of LMDB 0.9, whose transactions are known.
    public func beginWriting() throws(LMDBError) -> Transaction {
        let transaction = Transaction(environment: self, writes: true)
        try beginWriting(again: transaction)
        return transaction
    }

    /// Begins `transaction` again, a write transaction of this environment that has ended; throws as `beginWriting()`.
    public func beginWriting(again transaction: Transaction) throws(LMDBError) {
        try transaction.begin(flags: 0)
        guard transaction.isLayoutKnown(lastPage: information.lastPage) else {
            transaction.abort()
            throw .versionMismatch
        }
        unsafe transaction.prepareSearch(map: UnsafeRawPointer(map.withLock { unsafe startAddress(&$0) }))
    }

    /// Begins a read transaction of the last commit; it may be used by any one thread at a time.
    public func beginReading() throws(LMDBError) -> Transaction {
        let transaction = Transaction(environment: self, writes: false)
        try transaction.begin(flags: UInt32(MDB_RDONLY))
        return transaction
    }
}
