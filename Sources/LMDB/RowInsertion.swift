// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

public import Bytes
internal import CLMDB
internal import Glibc

extension Transaction {
    /// Makes room for a new row of `count` bytes on the page where it belongs, and returns where to write them, at
    /// once; nil if there is such a row, or if LMDB has to be asked.
    ///
    /// If the page is the transaction's own and has room, LMDB would do no more, after a search of its own. Cursors
    /// stay on their rows. O(log n).
    @unsafe @inline(__always)
    public func insert(
        _ key: ByteView,
        count: Int,
        in table: Table,
        by number: RowNumber = .behindTwoBytes
    ) -> UnsafeMutableRawBufferPointer? {
        guard let pages = searchedPages, unsafe codis_lmdb_takes_rows(writing, table.handle) != 0 else { return nil }
        var root = 0
        let levels = Int(unsafe codis_lmdb_root(writing, table.handle, &root))
        guard key.count >= (number == .behindTenBytes ? PageSearch.deepLength : PageSearch.numberLength),
            key.count <= PageFormat.longestKey
        else { return nil }
        let wanted = PageSearch.Wanted(key, isDeep: number == .behindTenBytes)
        guard let row = unsafe pages.insert(wanted, count: count, root: root, levels: levels, pages: nextPage) else {
            return nil
        }
        unsafe codis_lmdb_count_row(writing, table.handle, row.page, Int32(levels), Int32(row.index))
        noteChange()
        return unsafe row.value
    }
}

extension PageSearch {
    /// As `mdb_node_add` does it: the row goes below the others, and its slot between theirs.
    @unsafe
    fileprivate func insert(_ wanted: Wanted, count: Int, root: Int, levels: Int, pages: Int) -> InsertedRow? {
        let key = wanted.key
        var (low, high) = (UInt64(0), UInt64.max)
        guard let leaf = unsafe leaf(wanted, root, levels, pages, &low, &high),
            unsafe leaf.load(fromByteOffset: 10, as: UInt16.self) == PageFormat.isLeaf | PageFormat.isDirty,
            case .missing(let index) = unsafe findInLeaf(leaf, wanted, low, high)
        else { return nil }
        let page = unsafe UnsafeMutableRawPointer(mutating: leaf)
        let slotsEnd = Int(unsafe page.load(fromByteOffset: 12, as: UInt16.self))
        let rowsStart = Int(unsafe page.load(fromByteOffset: 14, as: UInt16.self))
        let length = (PageFormat.keyStart + key.count + count + 1) & ~1
        // A longer row goes to pages of its own.
        guard length <= PageFormat.longestRow(pageSize), rowsStart <= pageSize, rowsStart - slotsEnd >= length + 2
        else { return nil }

        let start = rowsStart - length
        let slot = PageFormat.slotsStart + 2 * index
        unsafe _ = memmove(page + slot + 2, page + slot, slotsEnd - slot)
        unsafe page.storeBytes(of: UInt16(start), toByteOffset: slot, as: UInt16.self)
        unsafe page.storeBytes(of: UInt16(slotsEnd + 2), toByteOffset: 12, as: UInt16.self)
        unsafe page.storeBytes(of: UInt16(start), toByteOffset: 14, as: UInt16.self)
        let row = unsafe page + start
        unsafe row.storeBytes(of: UInt32(count), as: UInt32.self)
        unsafe row.storeBytes(of: 0, toByteOffset: 4, as: UInt16.self)
        unsafe row.storeBytes(of: UInt16(key.count), toByteOffset: 6, as: UInt16.self)
        let bytes = unsafe row + PageFormat.keyStart
        unsafe bytes.copyMemory(from: key.rawBuffer.baseAddress.unsafelyUnwrapped, byteCount: key.count)
        return unsafe InsertedRow(
            page: leaf,
            index: index,
            value: UnsafeMutableRawBufferPointer(start: bytes + key.count, count: count)
        )
    }

    /// Where a row was put.
    @unsafe
    fileprivate struct InsertedRow {
        let page: UnsafeRawPointer
        let index: Int
        /// Its value, which is to be written.
        let value: UnsafeMutableRawBufferPointer
    }
}
