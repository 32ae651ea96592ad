// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import Glibc

extension Environment {
    /// The pages of the two trees that LMDB keeps for itself, the list of free pages and the table of tables, in the
    /// commit whose meta page is `metaPage`.
    ///
    /// A commit changes these when it is no more to be seen which pages it takes. They are read from the file, so any
    /// thread may call it, as long as a reader keeps the commit's pages. O(pages of these trees), which are some dozens
    /// unless very many pages are free.
    ///
    /// - Returns: nil if the pages do not look as LMDB 0.9 lays them out.
    public func pagesOfOwnTrees(in metaPage: [UInt8]) -> [Range<Int>]? {
        var walk = OwnTrees(descriptor: fileDescriptor, pageSize: pageSize)
        return walk.add(treesOf: metaPage) ? walk.pages : nil
    }
}

/// A walk over the pages of LMDB's own trees in its file (`PageFormat`).
private struct OwnTrees {
    let descriptor: Int32
    let pageSize: Int
    private(set) var pages: [Range<Int>] = []

    /// Where a meta page has the roots of the two.
    private static let rootOffsets = [80, 128]
    private static let noPage = UInt64.max
    /// The flag of a row of a leaf that has the number of the value's first page in its place.
    private static let isOnOtherPages: UInt16 = 0x01
    /// What a branch has room for.
    private static let mostPages = 1 << 48

    init(descriptor: Int32, pageSize: Int) {
        self.descriptor = descriptor
        self.pageSize = pageSize
    }

    mutating func add(treesOf metaPage: [UInt8]) -> Bool {
        for offset in OwnTrees.rootOffsets {
            guard metaPage.count >= offset + 8 else { return false }
            let root = ByteView.with(metaPage) { $0.littleEndian(UInt64.self, at: offset) }
            if root != OwnTrees.noPage, !add(Int(truncatingIfNeeded: root), level: 0) { return false }
        }
        return true
    }

    private mutating func add(_ number: Int, level: Int) -> Bool {
        var page = [UInt8](repeating: 0, count: pageSize)
        guard level < PageFormat.mostLevels, number > 1, number < OwnTrees.mostPages,
            unsafe pread(descriptor, &page, pageSize, off_t(number * pageSize)) == pageSize
        else { return false }
        pages.append(number..<number + 1)
        return ByteView.with(page) { add(rowsOf: $0, number, level) }
    }

    private mutating func add(rowsOf page: ByteView, _ number: Int, _ level: Int) -> Bool {
        let flags = page.littleEndian(UInt16.self, at: 10) & ~PageFormat.isDirty
        let slotsEnd = Int(page.littleEndian(UInt16.self, at: 12))
        guard page.littleEndian(UInt64.self, at: 0) == UInt64(number), slotsEnd <= pageSize,
            flags == PageFormat.isBranch || flags == PageFormat.isLeaf
        else { return false }
        for slot in stride(from: PageFormat.slotsStart, to: slotsEnd, by: 2) {
            let row = Int(page.littleEndian(UInt16.self, at: slot))
            guard row + 8 <= pageSize else { return false }
            if flags == PageFormat.isBranch {
                let low = page.littleEndian(UInt32.self, at: row)
                let child = Int(low) | Int(page.littleEndian(UInt16.self, at: row + 4)) << 32
                guard add(child, level: level + 1) else { return false }
            } else if page.littleEndian(UInt16.self, at: row + 4) & OwnTrees.isOnOtherPages != 0 {
                let value = row + 8 + Int(page.littleEndian(UInt16.self, at: row + 6))
                guard value + 8 <= pageSize else { return false }
                let first = Int(truncatingIfNeeded: page.littleEndian(UInt64.self, at: value))
                let bytes = Int(page.littleEndian(UInt32.self, at: row)) + PageFormat.slotsStart
                guard first > 1, first < OwnTrees.mostPages else { return false }
                pages.append(first..<first + (bytes + pageSize - 1) / pageSize)
            }
        }
        return true
    }
}
