// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Glibc
internal import LMDB

/// Sees to it that every page that LMDB may take has blocks on the disk.
///
/// A page of the map without a block that is written when the disk is full would end the process with SIGBUS. So the
/// blocks behind the file's last used page are allocated before they can be needed: at any time there are at least as
/// many pages, free ones and allocated ones, as the open transaction has taken, what the next command and the commit
/// may take, and a reserve. Mostly another thread has allocated them already, and brought them into memory.
struct RoomReserve {
    private let environment: Environment
    private let prefetcher: FilePrefetcher
    private let pageSize: Int
    /// Pages of the map.
    private var mapPages = 0
    /// Pages that the open transaction found free when it began, as far as no reader pins them.
    var freePages = 0
    /// The last page in use at the last commit.
    private var lastPage = 0
    /// The pages of the file that have blocks.
    private var allocatedPages = 0
    /// The page up to which the open transaction is expected to come.
    private var expectedEnd = 0
    /// The page up to which the other thread was asked to bring pages behind the data into memory.
    private var fetchedEnd = 0
    /// As long as no page behind this one is needed, nothing needs to be allocated or brought into memory.
    private var comfortablePages = 0
    /// When blocks could last not be had, and up to which page they were wanted.
    private var allocationFailedAt: time_t = 0
    private var failedEnd = 0
    /// Up to which page the other thread was last asked to allocate blocks, and when it could not.
    private var growthEnd = 0
    private var growthFailedAt: time_t = 0
    /// How many pages the memory has.
    private let memoryPages: Int
    /// Whether growing leaves the last of the disk to the log; not at opening, when much of what is asked for may have
    /// its blocks already.
    var leavesRoomForLog = false

    /// Pages kept for deletes, background work and commits when the disk is full: 8 MiB.
    static let reservedPages = 2048
    /// Pages kept for what must always go on: a commit.
    static let leastReservedPages = 256
    /// The list of so many freed pages, and of those that writing it frees, fits into one page.
    private static let freedPagesInOnePage = 384
    /// What the tree leaves of the disk when it grows.
    private static let bytesForLog = 8 << 20
    /// Pages kept behind the file's end for a longer list.
    private static let leastRun = 32
    /// The kernel may handle 2 MiB of a file as one (a large folio of ext4 or XFS): a write to a page then wants blocks
    /// for all of them, so they are allocated together.
    private static let folioPages = 512
    /// How many pages behind the data are brought into memory before they are used: 64 MiB.
    ///
    /// The other thread must not be caught up with; but each page has to be filled with zeros, so no more are fetched
    /// than may be used soon.
    private static let fetchedAhead = 16_384
    /// The least and most that the file's blocks grow by: 16 and 256 MiB.
    private static let leastStep = 4096
    private static let largestStep = 65536

    /// - Parameter memoryBytes: the memory that there is. What is not used yet may take a sixteenth of it, and data
    ///   that take more than half of it are not brought into it at opening.
    init(environment: Environment, prefetcher: FilePrefetcher, memoryBytes: Int) {
        self.environment = environment
        self.prefetcher = prefetcher
        pageSize = environment.pageSize
        memoryPages = memoryBytes / environment.pageSize
    }

    /// Begins anew after a commit, with what it left; `takenPages` are those that it took.
    ///
    /// The next transaction is expected to take about as many. It may do so faster than the other thread can bring them
    /// into memory, so that begins now.
    mutating func begin(lastPage: Int, freePages: Int, takenPages: Int) {
        self.lastPage = lastPage
        self.freePages = freePages
        expectedEnd = lastPage + 1 + max(0, takenPages + takenPages / 4 - freePages)
        comfortablePages = 0
        mapPages = environment.information.mapSizeBytes / pageSize
        if allocatedPages <= lastPage {
            allocatedPages = (lastPage + 1) / RoomReserve.folioPages * RoomReserve.folioPages
        }
    }

    /// How many of the file's used pages are to stay in memory: all, or none.
    var residentPages: Int { lastPage < memoryPages / 2 ? lastPage + 1 : 0 }

    /// Has the file's used pages brought into memory, if they are to stay there.
    func fetchUsed() { prefetcher.fetch(0..<residentPages) }

    /// Whether pages behind the used ones are brought into memory.
    private var fetchesAhead: Bool { step <= memoryPages / 16 }

    /// Whether `transaction` can take `pages` pages more for certain, after growing the file's blocks if need be.
    ///
    /// `reserve` pages are left untouched. The commit writes the list of the pages that were freed, in one piece: when
    /// that takes more than a page, LMDB wants pages in a row for it, which for certain are only behind the file's
    /// end. O(1) when there is room already.
    @inline(__always)
    mutating func ensure(pages: Int, for transaction: Transaction, reserve: Int) -> Bool {
        let freed = transaction.freedPages + pages
        let needed = transaction.dirtyPages + pages + freed / 128 + reserve
        let wanted = needed - freePages + lastPage + 1
        var end = transaction.nextPage
        if freed > RoomReserve.freedPagesInOnePage { end += RoomReserve.leastRun + freed / 128 }
        return max(wanted, end) <= comfortablePages || grow(max(wanted, end))
    }

    /// Sees to it that there are blocks up to page `wanted`, and soon for a good deal more.
    private mutating func grow(_ wanted: Int) -> Bool {
        let growth = prefetcher.growth
        allocatedPages = max(allocatedPages, growth.end)
        if wanted > allocatedPages, !allocate(wanted) { return false }
        if growth.isUnderWay {
            comfortablePages = allocatedPages
        } else {
            growAhead(wanted, failed: growth.end < growthEnd)
        }
        if fetchesAhead { fetchAhead(of: wanted) }
        return true
    }

    /// Has the next pages behind `wanted` brought into memory by the other thread, of those that have blocks.
    private mutating func fetchAhead(of wanted: Int) {
        let end = min(allocatedPages, RoomReserve.roundedUp(wanted + RoomReserve.fetchedAhead))
        fetchedEnd = max(fetchedEnd, lastPage + 1)
        if end > fetchedEnd {
            prefetcher.fetch(fetchedEnd..<end)
            fetchedEnd = end
        }
        if fetchedEnd < allocatedPages {
            comfortablePages = min(comfortablePages, fetchedEnd - RoomReserve.fetchedAhead / 2)
        }
    }

    /// Has the file's blocks grow on the other thread when they come to an end, if the disk has room.
    private mutating func growAhead(_ wanted: Int, failed: Bool) {
        let now = time(nil)
        if failed { growthFailedAt = now }
        growthEnd = 0
        if max(wanted + step / 2, expectedEnd) <= allocatedPages {
            comfortablePages = allocatedPages - step / 2
            return
        }
        // What there is has to do meanwhile, and if more cannot be had.
        comfortablePages = allocatedPages
        let end = RoomReserve.roundedUp(max(wanted + step, expectedEnd))
        guard now != growthFailedAt, end <= mapPages else { return }
        guard isSpared(beside: (end - allocatedPages) * pageSize) else { return }
        growthEnd = end
        prefetcher.grow(allocatedPages..<end)
    }

    /// How far the file's blocks grow at once.
    private var step: Int { min(RoomReserve.largestStep, max(RoomReserve.leastStep, lastPage / 8)) }

    /// Allocates blocks up to page `wanted`, generously if the disk has room.
    private mutating func allocate(_ wanted: Int) -> Bool {
        guard RoomReserve.roundedUp(wanted) <= mapPages else { return false }
        let now = time(nil)
        // What there is no room for is not tried again in the same second; less may be had all the same.
        if now == allocationFailedAt, RoomReserve.roundedUp(wanted) >= failedEnd { return false }
        for pages in [wanted + step, wanted] {
            let end = RoomReserve.roundedUp(pages)
            guard end <= mapPages else { continue }
            let start = off_t(allocatedPages) * off_t(pageSize)
            let length = off_t(end - allocatedPages) * off_t(pageSize)
            // What is had before the disk is found to be full stays with the file, so more than is needed is not asked
            // for in vain.
            guard pages == wanted && !leavesRoomForLog || isSpared(beside: Int(length)) else { continue }
            // Where the file system cannot allocate, the C library writes to each block instead.
            if posix_fallocate(environment.fileDescriptor, start, length) == 0 {
                allocatedPages = end
                return true
            }
        }
        allocationFailedAt = now
        failedEnd = RoomReserve.roundedUp(wanted)
        return false
    }

    /// Whether the disk has what the log needs to go on, beside `length` bytes for the tree.
    ///
    /// The log gives room back when it goes on to its next segment and a checkpoint follows; were the tree to take the
    /// last of the disk, the log could not do that, and nothing could be deleted any more.
    private func isSpared(beside length: Int) -> Bool {
        var statistics = statvfs()
        guard unsafe fstatvfs(environment.fileDescriptor, &statistics) == 0 else { return true }
        return Int(statistics.f_bavail) * Int(statistics.f_frsize) >= length + RoomReserve.bytesForLog
    }

    private static func roundedUp(_ pages: Int) -> Int { (pages + folioPages - 1) / folioPages * folioPages }

    /// Pages of the file with blocks, for INFO.
    var allocatedBytes: Int { allocatedPages * pageSize }
}
