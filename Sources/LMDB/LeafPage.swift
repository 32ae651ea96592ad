// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

public import Bytes

/// A leaf in the map (`PageFormat`), to read its rows by their numbers; it is good until the next change of the table.
@safe
struct LeafPage {
    private let base: UnsafeRawPointer
    private let pageSize: Int
    /// How many rows there are.
    let count: Int

    /// The page on which `key` lies, which LMDB has lent; nil if it does not look like a leaf.
    init?(holding key: ByteView, pageSize: Int) {
        guard let address = unsafe key.rawBuffer.baseAddress else { return nil }
        // The map and its pages begin at multiples of the page size, which is a power of two.
        let offset = Int(bitPattern: address) & (pageSize - 1)
        unsafe base = address - offset
        self.pageSize = pageSize
        let flags = unsafe base.load(fromByteOffset: 10, as: UInt16.self)
        let slotsEnd = Int(unsafe base.load(fromByteOffset: 12, as: UInt16.self))
        guard flags & PageFormat.isLeaf != 0, flags & PageFormat.isOther == 0 else { return nil }
        guard slotsEnd >= PageFormat.slotsStart, slotsEnd <= pageSize else { return nil }
        count = (slotsEnd - PageFormat.slotsStart) / 2
    }

    /// The number of the page in the file.
    var number: Int { unsafe base.load(as: Int.self) }

    /// Where the map begins that this page is of.
    var mapAddress: UnsafeRawPointer { unsafe base - number * pageSize }

    @inline(__always)
    private func rowStart(_ index: Int) -> Int {
        Int(unsafe base.load(fromByteOffset: PageFormat.slotsStart + 2 * index, as: UInt16.self))
    }

    /// The number of the row whose key is `key`, which lies on this page; nil if there is none.
    ///
    /// O(rows), in the order in which they are, without a look at them.
    func index(of key: ByteView) -> Int? {
        guard let address = unsafe key.rawBuffer.baseAddress else { return nil }
        let start = unsafe address - base - PageFormat.keyStart
        for index in 0..<count where rowStart(index) == start { return index }
        return nil
    }

    /// The key of the row with the number `index`; nil if it does not lie on the page.
    func key(at index: Int) -> ByteView? {
        guard index >= 0, index < count else { return nil }
        let start = rowStart(index) + PageFormat.keyStart
        guard start <= pageSize else { return nil }
        let length = Int(unsafe base.loadUnaligned(fromByteOffset: start - 2, as: UInt16.self))
        guard start + length <= pageSize else { return nil }
        return unsafe ByteView(UnsafeRawBufferPointer(start: base + start, count: length))
    }
}

extension Cursor {
    /// Goes from `row`, on which the cursor stands, over `count` rows and returns the one behind them, if `isWithin`
    /// holds for its key; `isWithin` must hold for the first ones of all rows from `row` on and for no other.
    ///
    /// O(pages): what lies on one page is not looked at. Where the cursor stands when it returns nil is not said.
    public func skip(
        _ count: Int,
        from row: Row,
        pageSize: Int,
        while isWithin: (ByteView) -> Bool
    ) throws(LMDBError) -> Row? {
        var key = row.key
        var left = count
        while true {
            guard let page = LeafPage(holding: key, pageSize: pageSize), let index = page.index(of: key),
                let last = page.key(at: page.count - 1)
            else { throw .corrupted }
            if index + left < page.count {
                guard let wanted = page.key(at: index + left), isWithin(wanted) else { return nil }
                return try find(wanted).map { Row(key: wanted, value: $0) }
            }
            guard isWithin(last) else { return nil }
            left -= page.count - index
            // On its own page a key is found without a search from the root.
            guard try find(last) != nil, let next = try next() else { return nil }
            key = next.key
        }
    }
}
