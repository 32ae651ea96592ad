// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

public import Bytes
internal import CLMDB
internal import Glibc

extension Transaction {
    /// Makes room for a new row of `count` bytes in the gap that a search for `key` in `table` has found, and returns
    /// where to write them, at once; nil if LMDB has to be asked.
    ///
    /// If the page is the transaction's own and has room, LMDB would do no more, after a search of its own. Cursors
    /// stay on their rows, and the bytes of other rows where they are. O(1).
    @unsafe @inline(__always)
    public func insert(
        _ key: ByteView,
        count: Int,
        in table: Table,
        at gap: RowGap
    ) -> UnsafeMutableRawBufferPointer? {
        guard gap.changeCount == changeCount, let pages = searchedPages, key.count <= PageFormat.longestKey,
            unsafe codis_lmdb_takes_rows(writing, table.handle) != 0,
            let value = unsafe pages.insert(key, count: count, at: gap)
        else { return nil }
        unsafe codis_lmdb_count_row(writing, table.handle, gap.page, Int32(gap.levels), Int32(gap.index))
        noteChange()
        return unsafe value
    }
}

extension PageSearch {
    /// As `mdb_node_add` does it: the row goes below the others, and its slot between theirs.
    @unsafe
    fileprivate func insert(_ key: ByteView, count: Int, at gap: RowGap) -> UnsafeMutableRawBufferPointer? {
        guard unsafe gap.page.load(fromByteOffset: 10, as: UInt16.self) == PageFormat.isLeaf | PageFormat.isDirty else {
            return nil
        }
        let page = unsafe UnsafeMutableRawPointer(mutating: gap.page)
        let slotsEnd = Int(unsafe page.load(fromByteOffset: 12, as: UInt16.self))
        let rowsStart = Int(unsafe page.load(fromByteOffset: 14, as: UInt16.self))
        let length = (PageFormat.keyStart + key.count + count + 1) & ~1
        // A longer row goes to pages of its own.
        guard length <= PageFormat.longestRow(pageSize), rowsStart <= pageSize, rowsStart - slotsEnd >= length + 2
        else { return nil }

        let start = rowsStart - length
        let slot = PageFormat.slotsStart + 2 * gap.index
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
        return unsafe UnsafeMutableRawBufferPointer(start: bytes + key.count, count: count)
    }
}
