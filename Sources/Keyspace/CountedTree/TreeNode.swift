// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import Glibc

/// A node of a counted tree: a row of a fixed size that is edited where it lies.
///
/// Bytes: `[level: 1][layout: 1][entries: 2][heap begins at: 2][dead bytes in the heap: 2]`, then the slots in order,
/// then free room, then the heap up to the end. A leaf has level 0; its slots are `[offset: 2]`. Slots of inner nodes
/// are `[elements below: 6][child: 6][offset of the separator: 2]`. At an offset stands
/// `[length of the body: 2, its highest bit set for a reference][score: 8, sorted sets only][body]`. A separator is not
/// greater than any entry below its slot, and greater than all entries below the slot before; the first slot's is
/// not needed and left out (offset 0), as are all in lists. A separator that is a reference is the same as the first
/// entry below its slot, so that it goes together with the blob that it names. All numbers are little-endian.
///
/// It is a bare pointer: it is good until another node is made or deleted, and for writing only until another node is
/// edited.
@safe
struct TreeNode {
    /// The bytes of a node: two fit in a page, with their row keys.
    static let length = 2000
    /// The bytes before the slots.
    static let headLength = 8
    /// The longest body of an entry: after a split each half has room for what it gets.
    static let longestBody = 980

    private static let leafSlot = 2
    private static let innerSlot = 14
    private static let referenceBit = 0x8000

    private let base: UnsafeMutableRawPointer

    /// The node at `base`, which must have `length` bytes.
    @unsafe @inline(__always)
    init(_ base: UnsafeMutableRawPointer) {
        unsafe self.base = base
    }

    // MARK: Head

    /// 0 for a leaf, else the height above the leaves.
    @inline(__always)
    var level: Int { Int(unsafe base.load(as: UInt8.self)) }

    /// What the entries are.
    @inline(__always)
    var layout: TreeLayout { unsafe base.load(fromByteOffset: 1, as: UInt8.self) == 0 ? .list : .sortedSet }

    /// How many entries or children there are.
    @inline(__always)
    var count: Int {
        get { load16(2) }
        nonmutating set { store16(newValue, 2) }
    }

    var heapStart: Int {
        @inline(__always) get { load16(4) }
        nonmutating set { store16(newValue, 4) }
    }

    var deadBytes: Int {
        @inline(__always) get { load16(6) }
        nonmutating set { store16(newValue, 6) }
    }

    /// Makes the node an empty one.
    func clear(level: Int, layout: TreeLayout) {
        unsafe base.storeBytes(of: UInt8(level), as: UInt8.self)
        unsafe base.storeBytes(of: layout.rawValue, toByteOffset: 1, as: UInt8.self)
        count = 0
        heapStart = TreeNode.length
        deadBytes = 0
        // What is never written to would stay in the file as whatever was in the page before.
        unsafe (base + TreeNode.headLength).initializeMemory(
            as: UInt8.self,
            repeating: 0,
            count: TreeNode.length - TreeNode.headLength
        )
    }

    /// Becomes a copy of `other`.
    func copy(_ other: TreeNode) {
        unsafe base.copyMemory(from: other.base, byteCount: TreeNode.length)
    }

    // MARK: Room

    @inline(__always)
    private var slotLength: Int { level == 0 ? TreeNode.leafSlot : TreeNode.innerSlot }

    @inline(__always)
    private var slotsEnd: Int { TreeNode.headLength + count * slotLength }

    /// The bytes that more slots and entries may take.
    @inline(__always)
    var freeBytes: Int { heapStart - slotsEnd + deadBytes }

    /// The bytes taken, with the head.
    var usedBytes: Int { TreeNode.length - freeBytes }

    /// The bytes that an entry takes in the heap.
    @inline(__always)
    func heapBytes(_ entry: TreeEntry) -> Int { 2 + layout.scoreLength + entry.body.count }

    /// Whether there is room for another entry of a leaf.
    @inline(__always)
    func fits(_ entry: TreeEntry) -> Bool { TreeNode.leafSlot + heapBytes(entry) <= freeBytes }

    /// Whether there is room for another child.
    func fitsChild(_ separator: TreeEntry?) -> Bool {
        TreeNode.innerSlot + (separator.map { heapBytes($0) } ?? 0) <= freeBytes
    }

    /// The bytes that the entry or child at `index` takes, with its slot.
    func bytes(at index: Int) -> Int {
        let offset = entryOffset(index)
        return slotLength + (offset == 0 ? 0 : heapBytes(at: offset))
    }

    /// The bytes that `entry` would take, with its slot; nil stands for a child without a separator.
    func bytes(of entry: TreeEntry?) -> Int { slotLength + (entry.map { heapBytes($0) } ?? 0) }

    // MARK: Entries

    /// The entry of a leaf, or the separator of a child, at `index`.
    @inline(__always)
    func entry(at index: Int) -> TreeEntry { entry(atOffset: entryOffset(index)) }

    /// The separator of the child at `index`, if it has one.
    @inline(__always)
    func separator(at index: Int) -> TreeEntry? {
        let offset = entryOffset(index)
        return offset == 0 ? nil : entry(atOffset: offset)
    }

    /// Puts `entry` into the leaf before the one at `index`; there must be room.
    func insert(_ entry: TreeEntry, at index: Int) {
        let bytes = heapBytes(entry)
        makeRoom(TreeNode.leafSlot + bytes)
        openSlot(index)
        store16(place(entry, bytes), TreeNode.headLength + index * TreeNode.leafSlot)
    }

    /// Takes the entries in `range` out of the leaf.
    func remove(_ range: Range<Int>) {
        precondition(range.lowerBound >= 0 && range.upperBound <= count, "entries out of range")
        for index in range { free(entryOffset(index)) }
        closeSlots(range)
    }

    /// Takes all entries of `other` from `range` behind its own.
    func append(_ other: TreeNode, _ range: Range<Int>) {
        for index in range { insert(other.entry(at: index), at: count) }
    }

    // MARK: Children

    /// The number of the child at `index`.
    @inline(__always)
    func child(at index: Int) -> UInt64 { load48(slot(index) + 6) }

    /// Puts another child in the place of the one at `index`.
    func setChild(_ child: UInt64, at index: Int) { store48(child, slot(index) + 6) }

    /// How many elements are below the child at `index`.
    @inline(__always)
    func childCount(at index: Int) -> Int { Int(load48(slot(index))) }

    /// Sets how many elements are below the child at `index`.
    @inline(__always)
    func setChildCount(_ count: Int, at index: Int) {
        precondition(count >= 0, "a count below zero")
        store48(UInt64(count), slot(index))
    }

    /// Puts a child before the one at `index`; there must be room.
    func insertChild(_ child: UInt64, count: Int, separator: TreeEntry?, at index: Int) {
        let bytes = separator.map { heapBytes($0) } ?? 0
        makeRoom(TreeNode.innerSlot + bytes)
        openSlot(index)
        setChildCount(count, at: index)
        store48(child, slot(index) + 6)
        store16(separator.map { place($0, bytes) } ?? 0, slot(index) + 12)
    }

    /// Takes out the child at `index`.
    ///
    /// The first child has no separator, so the one that becomes the first loses its own.
    func removeChild(at index: Int) {
        let offset = entryOffset(index)
        if offset != 0 { free(offset) }
        closeSlots(index..<(index + 1))
        if index == 0, count > 0 { setSeparator(nil, at: 0) }
    }

    /// Replaces the separator of the child at `index` by one that is not longer, or by none.
    func setSeparator(_ separator: TreeEntry?, at index: Int) {
        let offset = entryOffset(index)
        if offset != 0 { free(offset) }
        store16(0, slot(index) + 12)
        guard let separator else { return }
        let bytes = heapBytes(separator)
        makeRoom(bytes)
        store16(place(separator, bytes), slot(index) + 12)
    }

    /// Takes the children of `other` in `range` behind its own; the first of them gets `separator`.
    func appendChildren(_ other: TreeNode, _ range: Range<Int>, separator: TreeEntry?) {
        for index in range {
            insertChild(
                other.child(at: index),
                count: other.childCount(at: index),
                separator: index == range.lowerBound ? separator : other.separator(at: index),
                at: count
            )
        }
    }

    /// How many elements there are below the children before `index`, or all of them.
    @inline(__always)
    func elements(before index: Int) -> Int {
        var sum = 0
        for child in 0..<index { sum += childCount(at: child) }
        return sum
    }

    /// How many elements there are here and below.
    var elements: Int { level == 0 ? count : elements(before: count) }

    // MARK: Bytes

    @inline(__always)
    private func slot(_ index: Int) -> Int { TreeNode.headLength + index * TreeNode.innerSlot }

    @inline(__always)
    private func entryOffset(_ index: Int) -> Int {
        level == 0 ? load16(TreeNode.headLength + index * TreeNode.leafSlot) : load16(slot(index) + 12)
    }

    @inline(__always)
    private func heapBytes(at offset: Int) -> Int {
        2 + layout.scoreLength + load16(offset) & ~TreeNode.referenceBit
    }

    @inline(__always)
    private func entry(atOffset offset: Int) -> TreeEntry {
        let word = load16(offset)
        let length = word & ~TreeNode.referenceBit
        var start = offset + 2
        var score: UInt64 = 0
        if layout == .sortedSet {
            score = load64(start)
            start += 8
        }
        precondition(start + length <= TreeNode.length, "an entry goes beyond its node")
        return TreeEntry(
            score: score,
            body: unsafe ByteView(start: base + start, count: length),
            isReference: word & TreeNode.referenceBit != 0
        )
    }

    /// Writes `entry` at the front of the heap and returns its offset.
    @inline(__always)
    private func place(_ entry: TreeEntry, _ bytes: Int) -> Int {
        let offset = heapStart - bytes
        precondition(offset >= slotsEnd, "a node is too full")
        let length = entry.body.count
        store16(length | (entry.isReference ? TreeNode.referenceBit : 0), offset)
        var start = offset + 2
        if layout == .sortedSet {
            unsafe base.storeBytes(of: entry.score.littleEndian, toByteOffset: start, as: UInt64.self)
            start += 8
        }
        if length > 0 {
            let source = unsafe entry.body.rawBuffer.baseAddress.unsafelyUnwrapped
            unsafe (base + start).copyMemory(from: source, byteCount: length)
        }
        heapStart = offset
        return offset
    }

    private func free(_ offset: Int) {
        let bytes = heapBytes(at: offset)
        if offset == heapStart { heapStart += bytes } else { deadBytes += bytes }
    }

    /// Sees to it that `bytes` are free in one piece.
    @inline(__always)
    private func makeRoom(_ bytes: Int) {
        if heapStart - slotsEnd < bytes { compact() }
    }

    /// Moves the entries together at the end of the node.
    private func compact() {
        unsafe withUnsafeTemporaryAllocation(byteCount: TreeNode.length, alignment: 16) { buffer in
            let old = unsafe TreeNode(buffer.baseAddress.unsafelyUnwrapped)
            old.copy(self)
            heapStart = TreeNode.length
            deadBytes = 0
            for index in 0..<old.count {
                let offset = old.entryOffset(index)
                guard offset != 0 else { continue }
                let entry = old.entry(atOffset: offset)
                let moved = place(entry, heapBytes(entry))
                store16(moved, level == 0 ? TreeNode.headLength + index * TreeNode.leafSlot : slot(index) + 12)
            }
        }
    }

    private func openSlot(_ index: Int) {
        precondition(index >= 0 && index <= count, "an entry out of range")
        let start = TreeNode.headLength + index * slotLength
        let moved = slotsEnd - start
        if moved > 0 { unsafe _ = memmove(base + start + slotLength, base + start, moved) }
        count += 1
    }

    private func closeSlots(_ range: Range<Int>) {
        let start = TreeNode.headLength + range.lowerBound * slotLength
        let end = TreeNode.headLength + range.upperBound * slotLength
        let moved = slotsEnd - end
        if moved > 0 { unsafe _ = memmove(base + start, base + end, moved) }
        count -= range.count
        if count == 0 {
            heapStart = TreeNode.length
            deadBytes = 0
        }
    }

    @inline(__always)
    private func load16(_ offset: Int) -> Int {
        precondition(offset >= 0 && offset <= TreeNode.length - 2, "a node is damaged")
        return Int(UInt16(littleEndian: unsafe base.loadUnaligned(fromByteOffset: offset, as: UInt16.self)))
    }

    @inline(__always)
    private func store16(_ value: Int, _ offset: Int) {
        precondition(offset >= 0 && offset <= TreeNode.length - 2, "a node is damaged")
        unsafe base.storeBytes(of: UInt16(value).littleEndian, toByteOffset: offset, as: UInt16.self)
    }

    @inline(__always)
    private func load64(_ offset: Int) -> UInt64 {
        precondition(offset >= 0 && offset <= TreeNode.length - 8, "a node is damaged")
        return UInt64(littleEndian: unsafe base.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
    }

    /// Six bytes, of which a slot always has two more behind them.
    @inline(__always)
    private func load48(_ offset: Int) -> UInt64 { load64(offset) & 0xFFFF_FFFF_FFFF }

    @inline(__always)
    private func store48(_ value: UInt64, _ offset: Int) {
        precondition(offset >= 0 && offset <= TreeNode.length - 8 && value >> 48 == 0, "a node is damaged")
        let low = UInt32(truncatingIfNeeded: value).littleEndian
        unsafe base.storeBytes(of: low, toByteOffset: offset, as: UInt32.self)
        let high = UInt16(truncatingIfNeeded: value >> 32).littleEndian
        unsafe base.storeBytes(of: high, toByteOffset: offset + 4, as: UInt16.self)
    }
}
