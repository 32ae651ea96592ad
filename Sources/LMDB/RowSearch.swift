// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

public import Bytes
internal import CLMDB
internal import Glibc

/// What a search of the open write transaction has found.
@frozen
public enum RowSearch {
    /// The row's value in its leaf, which may be written to in place if the leaf is the transaction's own.
    case found(ByteView, isWritable: Bool)
    /// There is no such row, and here it would be; nowhere yet in an empty table.
    case missing(RowGap?)
    /// LMDB has to be asked.
    case unknown
}

/// Where a row is missing, for `Transaction.insert` to put it there; void as soon as anything else is changed.
@safe
public struct RowGap {
    let page: UnsafeRawPointer
    let index: Int
    /// The levels of the tree.
    let levels: Int
    /// The changes before the search.
    let changeCount: UInt64
}

/// The pages of a write transaction in the map (`PageFormat`), to search them without LMDB.
///
/// LMDB compares with a dozen rows for a look-up in tables of our size, by calls, and each row is likely to lie in
/// another line of memory that is in no cache. Here rows are compared as numbers first, and in a leaf the search begins
/// where the row should be if rows are spread evenly, which hashed ones are.
@safe
struct PageSearch {
    private let map: UnsafeRawPointer
    let pageSize: Int

    /// Keys are compared by this many bytes as numbers, deep ones by more; shorter ones are LMDB's business.
    static let numberLength = 10
    static let deepLength = 18
    /// So often the place is guessed before the search goes on by halves.
    private static let guesses = 3

    init(map: UnsafeRawPointer, pageSize: Int) {
        unsafe self.map = map
        self.pageSize = pageSize
    }

    /// A key with its first bytes as numbers: two bytes, then eight, and if it is `isDeep` eight more.
    struct Wanted {
        let head: UInt16
        let middle: UInt64
        /// The last of them: by it rows are spread over the pages, behind what they all begin with.
        let number: UInt64
        let isDeep: Bool
        let key: ByteView

        /// Only the numbers of a key, of which `number` is the second.
        init(head: UInt16, number: UInt64) {
            self.head = head
            middle = number
            self.number = number
            isDeep = false
            key = ByteView()
        }

        /// Only the numbers of a deep key.
        init(head: UInt16, middle: UInt64, number: UInt64) {
            self.head = head
            self.middle = middle
            self.number = number
            isDeep = true
            key = ByteView()
        }

        /// `key` has as many bytes.
        @inline(__always)
        init(_ key: ByteView, isDeep: Bool) {
            head = unsafe UInt16(bigEndian: key.rawBuffer.loadUnaligned(as: UInt16.self))
            middle = unsafe UInt64(bigEndian: key.rawBuffer.loadUnaligned(fromByteOffset: 2, as: UInt64.self))
            number =
                isDeep
                ? unsafe UInt64(bigEndian: key.rawBuffer.loadUnaligned(fromByteOffset: 10, as: UInt64.self)) : middle
            self.isDeep = isDeep
            self.key = key
        }
    }

    /// The tree of a table.
    struct Tree {
        /// The page of its root.
        let root: Int
        let levels: Int
        /// How many pages the map has.
        let pages: Int
        /// How many changes there were, for a gap to know of later ones.
        let changeCount: UInt64
    }

    /// A row on a page, and how it compares.
    @safe
    private struct Compared {
        let start: UnsafeRawPointer
        /// Whether it begins with what stands before the number of what is wanted; and its own number then.
        let isAkin: Bool
        let number: UInt64
        /// Below zero if the row comes before what is wanted.
        let order: Int

        /// Takes the row, which is the one at `index`, and those beyond it out of `first..<end`, where the search goes
        /// on among rows between `low` and `high`.
        @inline(__always)
        func narrow(_ first: inout Int, _ end: inout Int, _ low: inout UInt64, _ high: inout UInt64, at index: Int) {
            if order > 0 {
                end = index
                if isAkin { high = number }
            } else {
                first = index + 1
                if isAkin { low = number }
            }
        }
    }

    /// The row under `key` in `tree`.
    @inline(__always)
    func find(_ key: ByteView, in tree: Tree) -> RowSearch {
        guard key.count >= PageSearch.numberLength else { return .unknown }
        return find(Wanted(key, isDeep: false), in: tree)
    }

    private func find(_ wanted: Wanted, in tree: Tree) -> RowSearch { find(wanted, in: tree) { _ in } }

    /// As `find`, for a deep key of `table`; the row is sought in `rows` first, and remembered there.
    @inline(__always)
    func find(_ key: ByteView, in tree: Tree, table: UInt32, rows: FoundRows) -> RowSearch {
        guard key.count >= PageSearch.deepLength else { return .unknown }
        let wanted = Wanted(key, isDeep: true)
        if let place = rows.place(of: wanted, in: table), let row = value(at: place, wanted) { return row }
        return find(wanted, in: tree, table, rows)
    }

    private func find(_ wanted: Wanted, in tree: Tree, _ table: UInt32, _ rows: FoundRows) -> RowSearch {
        find(wanted, in: tree) { place in
            unsafe rows.remember(place, isOwn: isOwn(place.page), of: wanted, in: table)
        }
    }

    /// Searches from the root on, and lends the place of what is found to `body`.
    @inline(__always)
    private func find(_ wanted: Wanted, in tree: Tree, _ body: (FoundRows.Place) -> Void) -> RowSearch {
        // What all rows of the page lie between, as far as their heads are what is wanted.
        var low: UInt64 = 0
        var high = UInt64.max
        guard let page = unsafe leaf(wanted, in: tree, &low, &high) else { return .unknown }
        switch unsafe findInLeaf(page, wanted, low, high) {
        case .found(let index):
            body(unsafe FoundRows.Place(page: page, index: index))
            return unsafe value(page, index)
        case .missing(let index):
            return unsafe .missing(
                RowGap(page: page, index: index, levels: tree.levels, changeCount: tree.changeCount)
            )
        case .unknown: return .unknown
        }
    }

    /// The row at `place`, if it still is the one that is wanted.
    @inline(__always)
    private func value(at place: FoundRows.Place, _ wanted: Wanted) -> RowSearch? {
        guard let count = unsafe count(place.page, of: PageFormat.isLeaf), place.index < count,
            let row = unsafe compare(place.page, place.index, wanted), row.order == 0
        else { return nil }
        return unsafe value(place.page, place.index)
    }

    /// The leaf where the key belongs, and the limits of what lies there.
    @inline(__always)
    private func leaf(_ wanted: Wanted, in tree: Tree, _ low: inout UInt64, _ high: inout UInt64) -> UnsafeRawPointer? {
        guard tree.levels > 0, tree.levels <= PageFormat.mostLevels else { return nil }
        var number = tree.root
        for _ in 1..<tree.levels {
            guard let page = unsafe page(number, of: tree.pages),
                let next = unsafe child(page, wanted, &low, &high)
            else { return nil }
            number = next
        }
        return unsafe page(number, of: tree.pages)
    }

    /// The page with this number in a map of `pages` pages; the first two are no pages of trees.
    @inline(__always)
    func page(_ number: Int, of pages: Int) -> UnsafeRawPointer? {
        guard number >= 2, number < pages else { return nil }
        return unsafe map + number * pageSize
    }

    /// The number of the page below a branch where the key belongs, and narrower limits of what lies there.
    @inline(__always)
    func child(_ page: UnsafeRawPointer, _ wanted: Wanted, _ low: inout UInt64, _ high: inout UInt64) -> Int? {
        guard let count = unsafe count(page, of: PageFormat.isBranch), count > 0 else { return nil }
        // The last row that is not behind the key; the first stands for everything before the second.
        var first = 1
        var end = count
        var guesses = 0
        while first < end {
            let index = unsafe step(page, first..<end, count, low, high, wanted, &guesses)
            guard let row = unsafe compare(page, index, wanted) else { return nil }
            row.narrow(&first, &end, &low, &high, at: index)
        }
        guard let start = unsafe rowStart(page, first - 1) else { return nil }
        return Int(
            unsafe UInt64(start.loadUnaligned(as: UInt32.self))
                | UInt64(start.loadUnaligned(fromByteOffset: 4, as: UInt16.self)) << 32
        )
    }

    /// Remembers the place of the row that begins with the numbers of `wanted`, a deep key, if it is in this leaf.
    @inline(__always)
    func remember(
        _ wanted: Wanted,
        in page: UnsafeRawPointer,
        _ low: UInt64,
        _ high: UInt64,
        table: UInt32,
        in rows: FoundRows
    ) {
        guard case .found(let index) = unsafe findInLeaf(page, wanted, low, high) else { return }
        unsafe rows.remember(FoundRows.Place(page: page, index: index), isOwn: isOwn(page), of: wanted, in: table)
    }

    /// Has the processor bring in what a search of the page begins with: its head and its slots.
    @inline(__always)
    func prefetchHead(_ page: UnsafeRawPointer) {
        unsafe codis_prefetch(page)
        unsafe codis_prefetch(page + 64)
        unsafe codis_prefetch(page + 128)
    }

    /// Has the processor bring in the rows that a search of the page is likely to compare with first.
    @inline(__always)
    func prefetchGuess(_ page: UnsafeRawPointer, _ wanted: Wanted, _ low: UInt64, _ high: UInt64) {
        guard let count = unsafe count(page), count > 0 else { return }
        var guesses = 0
        _ = unsafe step(page, 0..<count, count, low, high, wanted, &guesses)
    }

    /// Compares with the first of these rows, and has those brought in that are likely to come next.
    @inline(__always)
    func prefetchSecondGuess(_ page: UnsafeRawPointer, _ wanted: Wanted, _ low: UInt64, _ high: UInt64) {
        guard let count = unsafe count(page), count > 0 else { return }
        // No first guess, for which rows would be asked for.
        var guesses = 1
        var index = unsafe step(page, 0..<count, count, low, high, wanted, &guesses)
        guard let row = unsafe compare(page, index, wanted) else { return }
        var (first, end, low, high) = (0, count, low, high)
        row.narrow(&first, &end, &low, &high, at: index)
        guard first < end else { return }
        index = unsafe step(page, first..<end, count, low, high, wanted, &guesses)
        for near in max(0, index - 1)..<min(count, index + 2) {
            if let start = unsafe rowStart(page, near) {
                unsafe codis_prefetch(start)
                unsafe codis_prefetch(start + 64)
            }
        }
    }

    /// The number of rows of a page of a tree.
    @inline(__always)
    private func count(_ page: UnsafeRawPointer) -> Int? {
        let flags = unsafe page.load(fromByteOffset: 10, as: UInt16.self)
        return unsafe count(page, of: flags & (PageFormat.isBranch | PageFormat.isLeaf))
    }

    /// What there is of a row in the leaf where it belongs.
    private enum LeafSearch {
        case found(Int)
        /// It would be the one with this index.
        case missing(Int)
        case unknown
    }

    @inline(__always)
    private func findInLeaf(_ page: UnsafeRawPointer, _ wanted: Wanted, _ low: UInt64, _ high: UInt64) -> LeafSearch {
        // Its head and its slots come at once, instead of one after the other.
        unsafe codis_prefetch(page + 64)
        unsafe codis_prefetch(page + 128)
        guard let count = unsafe count(page, of: PageFormat.isLeaf) else { return .unknown }
        var (low, high) = (low, high)
        var first = 0
        var end = count
        var guesses = 0
        while first < end {
            let index = unsafe step(page, first..<end, count, low, high, wanted, &guesses)
            guard let row = unsafe compare(page, index, wanted) else { return .unknown }
            if row.order == 0 { return .found(index) }
            row.narrow(&first, &end, &low, &high, at: index)
        }
        return .missing(first)
    }

    /// Which of `rows`, all of which lie between `low` and `high`, to compare with next.
    @inline(__always)
    func step(
        _ page: UnsafeRawPointer,
        _ rows: Range<Int>,
        _ count: Int,
        _ low: UInt64,
        _ high: UInt64,
        _ wanted: Wanted,
        _ guesses: inout Int
    ) -> Int {
        guard guesses < PageSearch.guesses, low <= wanted.number, wanted.number < high else {
            return (rows.lowerBound + rows.upperBound) / 2
        }
        guesses += 1
        let share = Double(wanted.number - low) / Double(high - low)
        let index = min(rows.upperBound - 1, rows.lowerBound + Int(share * Double(rows.count)))
        if guesses == 1 { unsafe prefetchRows(page, around: index, count) }
        return index
    }

    /// Has those rows come that the next steps are likely to compare with.
    @inline(__always)
    private func prefetchRows(_ page: UnsafeRawPointer, around index: Int, _ count: Int) {
        for near in max(0, index - 2)..<min(count, index + 3) {
            if let start = unsafe rowStart(page, near) { unsafe codis_prefetch(start) }
        }
    }

    /// The number of rows of a page of this kind.
    @inline(__always)
    private func count(_ page: UnsafeRawPointer, of kind: UInt16) -> Int? {
        let flags = unsafe page.load(fromByteOffset: 10, as: UInt16.self)
        let slotsEnd = Int(unsafe page.load(fromByteOffset: 12, as: UInt16.self))
        guard flags & (kind | PageFormat.isOther) == kind, slotsEnd >= PageFormat.slotsStart, slotsEnd <= pageSize
        else { return nil }
        return (slotsEnd - PageFormat.slotsStart) / 2
    }

    @inline(__always)
    private func rowStart(_ page: UnsafeRawPointer, _ index: Int) -> UnsafeRawPointer? {
        let offset = Int(unsafe page.load(fromByteOffset: PageFormat.slotsStart + 2 * index, as: UInt16.self))
        guard offset + PageFormat.keyStart <= pageSize else { return nil }
        return unsafe page + offset
    }

    @inline(__always)
    private func compare(_ page: UnsafeRawPointer, _ index: Int, _ wanted: Wanted) -> Compared? {
        guard let start = unsafe rowStart(page, index) else { return nil }
        let length = Int(unsafe start.loadUnaligned(fromByteOffset: 6, as: UInt16.self))
        let key = unsafe start + PageFormat.keyStart
        guard length >= PageSearch.numberLength, unsafe key - page + length <= pageSize else { return nil }
        let head = UInt16(bigEndian: unsafe key.loadUnaligned(as: UInt16.self))
        let middle = UInt64(bigEndian: unsafe key.loadUnaligned(fromByteOffset: 2, as: UInt64.self))
        var number = middle
        var isAkin = head == wanted.head
        let order: Int
        if head != wanted.head {
            order = head < wanted.head ? -1 : 1
        } else if middle != wanted.middle {
            order = middle < wanted.middle ? -1 : 1
            if wanted.isDeep { isAkin = false }
        } else if wanted.isDeep, length >= PageSearch.deepLength {
            number = UInt64(bigEndian: unsafe key.loadUnaligned(fromByteOffset: 10, as: UInt64.self))
            if number != wanted.number {
                order = number < wanted.number ? -1 : 1
            } else {
                order = unsafe PageSearch.compareRest(key, length, wanted.key, from: PageSearch.deepLength)
            }
        } else {
            order = unsafe PageSearch.compareRest(key, length, wanted.key, from: PageSearch.numberLength)
            if wanted.isDeep { isAkin = false }
        }
        return unsafe Compared(start: start, isAkin: isAkin, number: number, order: order)
    }

    /// Compares what stands behind the numbers: as bytes, and then by the length.
    @inline(__always)
    private static func compareRest(_ key: UnsafeRawPointer, _ length: Int, _ wanted: ByteView, from start: Int) -> Int
    {
        // Of a key that is walked to only the numbers are known, and the row that has them is it.
        if wanted.isEmpty { return 0 }
        let common = min(length, wanted.count) - start
        if common > 0, let other = unsafe wanted.rawBuffer.baseAddress {
            let order = unsafe memcmp(key + start, other + start, common)
            if order != 0 { return Int(order) }
        }
        return length - wanted.count
    }

    /// Whether the open transaction has taken the page.
    @inline(__always)
    private func isOwn(_ page: UnsafeRawPointer) -> Bool {
        unsafe page.load(fromByteOffset: 10, as: UInt16.self) & PageFormat.isDirty != 0
    }

    @inline(__always)
    private func value(_ page: UnsafeRawPointer, _ index: Int) -> RowSearch {
        guard let start = unsafe rowStart(page, index) else { return .unknown }
        let length = Int(unsafe start.loadUnaligned(as: UInt32.self))
        let flags = unsafe start.loadUnaligned(fromByteOffset: 4, as: UInt16.self)
        let keyLength = Int(unsafe start.loadUnaligned(fromByteOffset: 6, as: UInt16.self))
        let value = unsafe start + PageFormat.keyStart + keyLength
        // A value with a flag lies elsewhere.
        guard flags == 0, unsafe value - page + length <= pageSize else { return .unknown }
        return unsafe .found(ByteView(UnsafeRawBufferPointer(start: value, count: length)), isWritable: isOwn(page))
    }
}

/// How the keys of a table begin: where in them the number stands by which rows are spread evenly over the table, or
/// over the part of it whose keys have all bytes before that number in common.
public enum RowNumber: Sendable {
    /// `[2 bytes][number: 8]`.
    case behindTwoBytes
    /// `[10 bytes][number: 8]`.
    case behindTenBytes
}

extension Transaction {
    /// The row under `key`, searched without LMDB; O(log n), and faster if `number` is what spreads the rows.
    ///
    /// By the number behind ten bytes, one that was found before or prefetched is found in O(1), until rows are
    /// deleted, or until any change if its page is not the transaction's own.
    ///
    /// A value that is writable may be overwritten where it lies, by as many bytes, until the next change: LMDB would
    /// do the same. Only a write transaction that has used the table finds anything.
    @inline(__always)
    public func search(_ key: ByteView, in table: Table, by number: RowNumber = .behindTwoBytes) -> RowSearch {
        guard let pages = searchedPages else { return .unknown }
        var root = 0
        let levels = Int(unsafe codis_lmdb_root(writing, table.handle, &root))
        guard levels > 0 else { return levels == 0 ? .missing(nil) : .unknown }
        let tree = PageSearch.Tree(root: root, levels: levels, pages: nextPage, changeCount: changeCount)
        return switch number {
        case .behindTwoBytes: pages.find(key, in: tree)
        case .behindTenBytes: pages.find(key, in: tree, table: table.handle, rows: foundRows)
        }
    }
}
