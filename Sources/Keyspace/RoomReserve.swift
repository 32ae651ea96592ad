// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Glibc
internal import LMDB

/// Sees to it that every page that LMDB may take has blocks on the disk.
///
/// A page of the map without a block that is written when the disk is full would end the process with SIGBUS. So the
/// blocks ahead of the file's last used page are allocated before they can be needed: at any time there are at least
/// as many pages, free ones and allocated ones, as the open transaction can have taken and a margin.
@safe
struct RoomReserve {
    private let environment: Environment
    private let pageSize: Int
    private var mapPages: Int
    /// A bit for each page of the map that the open transaction wrote to, as far as it was seen.
    ///
    /// LMDB does not tell where its map begins, so pages are counted from the one seen first, which has its bit in
    /// the middle.
    private var touched: UnsafeMutablePointer<UInt64>
    private var touchedWords: Int
    private var firstPage: UInt?
    private var lowestWord = Int.max
    private var highestWord = -1
    /// How many pages the open transaction changed, at most, branches aside.
    private(set) var touchedPages = 0
    /// Pages that the open transaction can take before the file grows.
    private var freePages = 0
    /// The last page in use at the last commit.
    private var lastPage = 0
    /// The pages of the file that have blocks.
    private var allocatedPages = 0
    private var allocationFailedAt: time_t = 0

    /// Pages kept for deletes, background work and commits when the disk is full: 8 MiB.
    static let reservedPages = 2048
    /// The least and most that the file's blocks grow by: 16 and 256 MiB.
    private static let leastStep = 4096
    private static let largestStep = 65536

    init(environment: Environment) {
        self.environment = environment
        pageSize = environment.pageSize
        let information = environment.information
        mapPages = information.mapSizeBytes / pageSize
        touchedWords = (2 * mapPages + 63) / 64 + 1
        unsafe touched = UnsafeMutablePointer<UInt64>.allocate(capacity: touchedWords)
        unsafe touched.initialize(repeating: 0, count: touchedWords)
        allocatedPages = 0
    }

    func deallocate() {
        unsafe touched.deallocate()
    }

    /// Notes that the page at `address` was written.
    @unsafe @inline(__always)
    mutating func touch(_ address: UnsafeMutableRawPointer) {
        let page = UInt(bitPattern: address) >> 12
        let first = firstPage ?? page
        firstPage = first
        let index = Int(bitPattern: page &- first) &+ mapPages
        let word = index >> 6
        precondition(word >= 0 && word < touchedWords, "a row was written outside of the map")
        let bit = UInt64(1) << UInt64(index & 63)
        if unsafe touched[word] & bit == 0 {
            unsafe touched[word] |= bit
            touchedPages += 1
            lowestWord = min(lowestWord, word)
            highestWord = max(highestWord, word)
        }
    }

    /// Notes a delete, whose page is not known.
    @inline(__always)
    mutating func touchForDelete() {
        deletes += 1
        if deletes & 7 == 0 { touchedPages += 1 }
    }
    private var deletes = 0

    /// Begins counting anew after a commit, with what it left.
    mutating func begin(lastPage: Int, freePages: Int) {
        if lowestWord <= highestWord {
            unsafe (touched + lowestWord).update(repeating: 0, count: highestWord - lowestWord + 1)
        }
        lowestWord = Int.max
        highestWord = -1
        touchedPages = 0
        self.lastPage = lastPage
        self.freePages = freePages
        allocatedPages = max(allocatedPages, lastPage + 1)
    }

    /// Pages that the open transaction may have taken, with branches, the free list and the tables' own rows.
    private var pagesTaken: Int { touchedPages + touchedPages / 8 + 256 }

    /// Whether the transaction has changed so many pages that a long write should let it be committed.
    func isUnderPressure(limit: Int) -> Bool { touchedPages >= limit }

    /// Whether `bytes` more can be written for certain, after growing the file's blocks if need be.
    ///
    /// O(1) when there is room already. `reserve` pages are left untouched.
    @inline(__always)
    mutating func ensure(bytes: Int, reserve: Int) -> Bool {
        let needed = pagesTaken + bytes / 4000 + reserve
        if needed <= freePages + allocatedPages - lastPage - 1 { return true }
        return allocate(needed - freePages + lastPage + 1)
    }

    /// Allocates blocks up to page `wanted`, generously if the disk has room.
    private mutating func allocate(_ wanted: Int) -> Bool {
        guard wanted <= mapPages else { return false }
        let now = time(nil)
        if now == allocationFailedAt { return false }
        let step = min(RoomReserve.largestStep, max(RoomReserve.leastStep, lastPage / 8))
        for end in [min(mapPages, wanted + step), wanted] {
            let start = off_t(allocatedPages) * off_t(pageSize)
            let length = off_t(end - allocatedPages) * off_t(pageSize)
            if posix_fallocate(environment.fileDescriptor, start, length) == 0 {
                allocatedPages = end
                return true
            }
        }
        allocationFailedAt = now
        return false
    }

    /// Pages of the file with blocks, for INFO.
    var allocatedBytes: Int { allocatedPages * pageSize }

    /// Pages that no row uses, at the last commit.
    var freePagesAtCommit: Int { freePages }
}
