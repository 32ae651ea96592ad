// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import CLMDB
internal import Glibc

/// The size of a huge page of the processors that we know, in bytes.
private let hugePageBytes = 2 << 20

/// An LMDB environment: one data file, mapped writable, whose commits are not synced by LMDB.
///
/// The environment is opened with `MDB_WRITEMAP | MDB_NOMEMINIT | MDB_NOTLS | MDB_NOSYNC | MDB_NORDAHEAD`. Its owner
/// makes a commit durable by syncing `fileDescriptor` and saving `metaPage(ofTransaction:)` elsewhere; see `Keyspace`.
/// A page that is not in memory is read alone; whoever wants more of them calls `fetch(_:)` first.
///
/// `@unchecked Sendable`: LMDB's environment handle may be shared between threads (lmdb.h, `mdb_env_open`). The write
/// transaction stays with the thread that began it; that is for the caller to keep.
@safe
public final class Environment: @unchecked Sendable {
    let handle: OpaquePointer

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
        var statistics = MDB_stat()
        unsafe mdb_env_stat(environment, &statistics)
        pageSize = Int(statistics.ms_psize)
    }

    deinit {
        unsafe mdb_env_close(handle)
    }

    /// The descriptor of the data file, for `fdatasync`; it closes with the environment.
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
    /// They come as huge pages where the file system knows these: then one fault of the thread that writes the map
    /// opens 2 MiB of it, and the write-back of a checkpoint does not interrupt that thread for each 4 KiB. Pages
    /// behind the end of the data are filled with zeros.
    public func fetch(_ pages: Range<Int>) {
        let start = pages.lowerBound * pageSize / hugePageBytes * hugePageBytes
        // How long the file is the system says: what LMDB knows lies in the map, which its thread may be replacing.
        var status = stat()
        guard unsafe fstat(fileDescriptor, &status) == 0 else { return }
        let end = min(pages.upperBound * pageSize, Int(status.st_size))
        guard start < end else { return }
        // By way of a second map, because in the first the kernel is to bring in nothing that nobody asked for.
        let found = unsafe mmap(nil, end - start, PROT_READ, MAP_SHARED, fileDescriptor, off_t(start))
        guard let map = unsafe found, unsafe map != MAP_FAILED else { return }
        defer { unsafe munmap(map, end - start) }
        unsafe madvise(map, end - start, MADV_HUGEPAGE)
        // One huge page at a time, since the kernel does not let go of a core while it fills one.
        unsafe madvise(map, end - start, MADV_RANDOM)
        for offset in stride(from: 0, to: end - start, by: hugePageBytes) {
            let length = min(hugePageBytes, end - start - offset)
            if unsafe madvise(map + offset, length, MADV_POPULATE_READ) != 0 {
                // Linux before 5.14 cannot do it.
                posix_fadvise(fileDescriptor, off_t(start + offset), off_t(length), POSIX_FADV_WILLNEED)
            }
        }
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

    /// Changes the map's size; no transaction may be open in this process (`mdb_env_set_mapsize`).
    public func setMapSize(bytes: Int) throws(LMDBError) {
        try unsafe LMDBError.check(mdb_env_set_mapsize(handle, bytes))
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
        let transaction = try Transaction(environment: self, flags: 0)
        guard transaction.isLayoutKnown(lastPage: information.lastPage) else { throw .versionMismatch }
        return transaction
    }

    /// Begins a read transaction of the last commit; it may be used by any one thread at a time.
    public func beginReading() throws(LMDBError) -> Transaction {
        try Transaction(environment: self, flags: UInt32(MDB_RDONLY))
    }
}
