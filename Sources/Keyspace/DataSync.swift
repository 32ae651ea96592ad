// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import CGlibc
internal import Glibc

/// Brings pages of the data file to the disk, not many at a time.
///
/// `fdatasync` gives the disk all that was changed at once. When it has arrived, the kernel takes note of thousands of
/// pages in one interrupt, for which a core stands still for milliseconds. And it also writes what the open transaction
/// has changed meanwhile: these pages are closed to writes for that, and written again by the next sync.
///
/// Any thread may call it.
@safe
final class DataSync: Sendable {
    private let descriptor: Int32
    /// The address of a mapping of the file's first page, for `msync`; 0 if the file system wants `fdatasync`.
    private let firstPage: UInt
    private static let firstPageBytes = 4096
    /// How much is on its way to the disk at a time.
    private static let mostUnderWay = 1 << 20

    /// - Parameter descriptor: that of the data file, for reading and writing; it stays the caller's.
    init(descriptor: Int32) {
        self.descriptor = descriptor
        firstPage = DataSync.commitsWholeFile(descriptor) ? DataSync.mapFirstPage(descriptor) : 0
    }

    deinit {
        if firstPage != 0 {
            unsafe munmap(UnsafeMutableRawPointer(bitPattern: firstPage), DataSync.firstPageBytes)
        }
    }

    /// Whether only what is asked for is synced.
    var syncsRanges: Bool { firstPage != 0 }

    /// Whether syncing one range of the file makes all durable that was written of it.
    ///
    /// What was written may still want a note in the file system's journal: where its blocks are, or that they hold
    /// data now. ext2 to ext4 and XFS bring all notes on a file to the disk with the sync of any range, and have the
    /// disk's own memory flushed then. Others may do so, but are not known to.
    private static func commitsWholeFile(_ descriptor: Int32) -> Bool {
        var statistics = statfs()
        guard unsafe fstatfs(descriptor, &statistics) == 0 else { return false }
        let ext: Int = 0xEF53
        let xfs: Int = 0x5846_5342
        return [ext, xfs].contains(Int(statistics.f_type))
    }

    private static func mapFirstPage(_ descriptor: Int32) -> UInt {
        let address = unsafe mmap(nil, firstPageBytes, PROT_READ, MAP_SHARED, descriptor, 0)
        return unsafe address == MAP_FAILED ? 0 : UInt(bitPattern: address)
    }

    /// Writes `ranges` of the file's bytes and makes them durable; blocks for as long as the disk takes.
    ///
    /// - Parameter prepare: is called with the index of each range before it is written.
    /// - Throws: `KeyspaceError.failed` if that fails, which must not be tried again: the kernel may have dropped what
    ///   it could not write.
    func sync(_ ranges: [Range<Int>], prepare: (Int) -> Void = { _ in }) throws(KeyspaceError) {
        var finished = 0
        var bytesUnderWay = 0
        for index in ranges.indices {
            prepare(index)
            guard write(ranges[index], SYNC_FILE_RANGE_WRITE) else {
                // Some sandboxes do not let it through.
                if errno == ENOSYS || errno == EPERM { return try syncAll() }
                throw failure("sync_file_range")
            }
            bytesUnderWay += ranges[index].count
            while bytesUnderWay > DataSync.mostUnderWay, finished < index {
                bytesUnderWay -= ranges[finished].count
                try finish(ranges[finished])
                finished += 1
            }
        }
        for range in ranges[finished...] { try finish(range) }
        try flush()
    }

    /// Waits until all of `range` that is changed has been written.
    private func finish(_ range: Range<Int>) throws(KeyspaceError) {
        // What the kernel was writing already may have been changed since; only the three together see to that.
        let all = SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER
        guard write(range, all) else { throw failure("sync_file_range") }
    }

    private func syncAll() throws(KeyspaceError) {
        guard fdatasync(descriptor) == 0 else { throw failure("fdatasync") }
    }

    private func write(_ range: Range<Int>, _ flags: Int32) -> Bool {
        sync_file_range(descriptor, off_t(range.lowerBound), off_t(range.count), UInt32(flags)) == 0
    }

    /// Makes durable what was written.
    private func flush() throws(KeyspaceError) {
        guard syncsRanges else { return try syncAll() }
        let address = unsafe UnsafeMutableRawPointer(bitPattern: firstPage)
        guard unsafe msync(address, DataSync.firstPageBytes, MS_SYNC) == 0 else { throw failure("msync") }
    }

    private func failure(_ call: String) -> KeyspaceError {
        .failed("\(call) of the keyspace: \(unsafe String(cString: strerror(errno)))")
    }
}
