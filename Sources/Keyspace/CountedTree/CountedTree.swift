// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import LMDB

/// A B+ tree whose inner nodes count the elements below each child, so that the element at a position and the position
/// of an element are found in O(log n).
///
/// The tree itself is a value: its root comes from the key's record and goes back there after a change, together with
/// what `nodeBalance` says. After an error of the store, the tree and the transaction are lost.
///
/// It is generic over where its nodes are, and specialised for it by the compiler: nothing is dispatched. A store that
/// can only be read makes a tree that can only be read.
struct CountedTree<Store: TreeReader> {
    let store: Store
    let layout: TreeLayout
    /// What goes back to the record after a change.
    var root: TreeRoot
    /// How many nodes were made since the beginning, less those deleted.
    var nodeBalance = 0

    @inline(__always)
    init(_ store: Store, _ layout: TreeLayout, root: TreeRoot) {
        self.store = store
        self.layout = layout
        self.root = root
    }

    /// How many elements there are; O(1).
    var count: Int { root.count }

    // MARK: Order

    /// How `entry` compares with `key`: less than 0, 0 or more than 0.
    @inline(__always)
    func compare(_ entry: TreeEntry, _ key: TreeKey) throws(LMDBError) -> Int {
        let score = OrderedScore.comparable(entry.score)
        if score != key.score { return score < key.score ? -1 : 1 }
        return try compareMember(entry, key.member)
    }

    /// How the member of `entry` compares with `member`, whatever the scores.
    @inline(__always)
    func compareMember(_ entry: TreeEntry, _ member: ByteView) throws(LMDBError) -> Int {
        if entry.isReference { return try compareLongMember(entry, member) }
        return entry.body.compare(member)
    }

    @inline(never)
    private func compareLongMember(_ entry: TreeEntry, _ member: ByteView) throws(LMDBError) -> Int {
        let long = try LongMember(entry.body)
        let order = long.head.compare(member.prefix(min(member.count, LongMember.headLength)))
        if order != 0 { return order }
        return try store.compare(
            blob: long.blob,
            length: long.length,
            from: LongMember.headLength,
            with: member.dropFirst(LongMember.headLength)
        )
    }

    // MARK: Search

    /// The number of elements for which `isBefore` holds, where it holds for the first ones and for no other; it is
    /// also asked of separators.
    ///
    /// O(log n). `isBefore` must not change the table.
    @inline(__always)
    func position(
        where isBefore: (TreeEntry) throws(LMDBError) -> Bool
    ) throws(LMDBError) -> Int {
        guard root.node != 0 else { return 0 }
        var position = 0
        var node = try store.node(root.node)
        for _ in 0..<root.height {
            let index = try childIndex(node, isBefore)
            position += node.elements(before: index)
            node = try store.node(node.child(at: index))
        }
        return position + (try entryIndex(node, isBefore))
    }

    /// The number of elements before `key`: its position, if it is there.
    ///
    /// O(log n).
    func position(of key: TreeKey) throws(LMDBError) -> Int {
        try position { entry throws(LMDBError) in try compare(entry, key) < 0 }
    }

    /// The last child of an inner node whose separator is before what is sought.
    @inline(__always)
    func childIndex(
        _ node: TreeNode,
        _ isBefore: (TreeEntry) throws(LMDBError) -> Bool
    ) throws(LMDBError) -> Int {
        var low = 1
        var high = node.count
        while low < high {
            let middle = (low + high) >> 1
            if try isBefore(node.entry(at: middle)) { low = middle + 1 } else { high = middle }
        }
        return low - 1
    }

    /// The first entry of a leaf that is not before what is sought.
    @inline(__always)
    func entryIndex(
        _ node: TreeNode,
        _ isBefore: (TreeEntry) throws(LMDBError) -> Bool
    ) throws(LMDBError) -> Int {
        var low = 0
        var high = node.count
        while low < high {
            let middle = (low + high) >> 1
            if try isBefore(node.entry(at: middle)) { low = middle + 1 } else { high = middle }
        }
        return low
    }

    /// The child of an inner node that holds the element at `position`, and how many elements there are before it.
    @inline(__always)
    func childIndex(_ node: TreeNode, position: Int) -> (index: Int, before: Int) {
        var before = 0
        var index = 0
        let last = node.count - 1
        while index < last {
            let here = node.childCount(at: index)
            if position < before + here { break }
            before += here
            index += 1
        }
        return (index, before)
    }

    /// The entry at `position`, which must be below `count`; O(log n).
    func entry(at position: Int) throws(LMDBError) -> TreeEntry {
        precondition(position >= 0 && position < root.count, "a position out of range")
        var rest = position
        var node = try store.node(root.node)
        for _ in 0..<root.height {
            let (index, before) = childIndex(node, position: rest)
            rest -= before
            node = try store.node(node.child(at: index))
        }
        guard rest < node.count else { throw .corrupted }
        return node.entry(at: rest)
    }
}

// MARK: - Insertion

extension CountedTree where Store: TreeStore {
    @inline(__always)
    var scratch: TreeScratch { store.scratch }

    /// Adds `entry` to a sorted set, in which its member with its score must not be; O(log n).
    ///
    /// - Parameter key: the entry's score, and all bytes of its member.
    mutating func insert(_ entry: TreeEntry, key: TreeKey) throws(LMDBError) {
        precondition(entry.body.count <= LongMember.longestPlainMember, "a member is too long for its entry")
        if root.node == 0 { return try insertFirst(entry) }
        var number = root.node
        var isFirst = true
        var isLast = true
        for level in stride(from: root.height, to: 0, by: -1) {
            let node = try store.edit(number)
            let index = try childIndex(node) { entry throws(LMDBError) in try compare(entry, key) <= 0 }
            enter(node, number, level, index, &isFirst, &isLast)
            number = node.child(at: index)
        }
        let leaf = try store.edit(number)
        let index = try entryIndex(leaf) { entry throws(LMDBError) in try compare(entry, key) < 0 }
        try insert(entry, leaf, number, index, isFirst, isLast)
    }

    /// Adds `entry` to a list before the element at `position`, which is at most `count`; O(log n).
    mutating func insert(_ entry: TreeEntry, at position: Int) throws(LMDBError) {
        precondition(position >= 0 && position <= root.count, "a position out of range")
        precondition(entry.body.count <= TreeNode.longestBody, "an element is too long for its entry")
        if root.node == 0 { return try insertFirst(entry) }
        var number = root.node
        var isFirst = true
        var isLast = true
        var rest = position
        for level in stride(from: root.height, to: 0, by: -1) {
            let node = try store.edit(number)
            let (index, before) = childIndex(node, position: rest)
            rest -= before
            enter(node, number, level, index, &isFirst, &isLast)
            number = node.child(at: index)
        }
        let leaf = try store.edit(number)
        guard rest <= leaf.count else { throw .corrupted }
        try insert(entry, leaf, number, rest, isFirst, isLast)
    }

    private mutating func insertFirst(_ entry: TreeEntry) throws(LMDBError) {
        let number = root.takeNumber()
        let leaf = try make(number, level: 0)
        leaf.insert(entry, at: 0)
        root.node = number
        root.height = 0
        root.count = 1
    }

    /// Notes the way down and counts the element that comes.
    @inline(__always)
    private func enter(
        _ node: TreeNode,
        _ number: UInt64,
        _ level: Int,
        _ index: Int,
        _ isFirst: inout Bool,
        _ isLast: inout Bool
    ) {
        scratch[level] = TreeScratch.Step(node: number, index: index)
        node.setChildCount(node.childCount(at: index) + 1, at: index)
        isFirst = isFirst && index == 0
        isLast = isLast && index == node.count - 1
    }

    @inline(__always)
    private mutating func insert(
        _ entry: TreeEntry,
        _ leaf: TreeNode,
        _ number: UInt64,
        _ index: Int,
        _ isFirst: Bool,
        _ isLast: Bool
    ) throws(LMDBError) {
        root.count += 1
        if leaf.fits(entry) {
            leaf.insert(entry, at: index)
        } else {
            try split(leaf, number, entry, index, isFirst, isLast)
        }
    }

    mutating func make(_ number: UInt64, level: Int) throws(LMDBError) -> TreeNode {
        let node = try store.make(number)
        nodeBalance += 1
        node.clear(level: level, layout: layout)
        return node
    }

    /// Divides a full leaf between itself and a new one behind it, with `entry` in its place.
    ///
    /// What grows at the end of the tree leaves full leaves behind, and so does what grows at its beginning.
    private mutating func split(
        _ leaf: TreeNode,
        _ number: UInt64,
        _ entry: TreeEntry,
        _ index: Int,
        _ isFirst: Bool,
        _ isLast: Bool
    ) throws(LMDBError) {
        let old = scratch.node(0)
        old.copy(leaf)
        let count = old.count
        let middle: Int
        if isLast, index == count {
            middle = count
        } else if isFirst, index == 0 {
            middle = 1
        } else {
            middle = TreeSplit.middle(old, bytes: old.bytes(of: entry), at: index)
        }
        let newNumber = root.takeNumber()
        let right = try make(newNumber, level: 0)
        if index >= middle {
            right.append(old, middle..<index)
            right.insert(entry, at: right.count)
            right.append(old, index..<count)
        } else {
            right.append(old, (middle - 1)..<count)
        }
        let left = try store.edit(number)
        left.clear(level: 0, layout: layout)
        if index < middle {
            left.append(old, 0..<index)
            left.insert(entry, at: index)
            left.append(old, index..<(middle - 1))
        } else {
            left.append(old, 0..<middle)
        }
        var separator: TreeEntry?
        if layout == .sortedSet {
            func combined(_ place: Int) -> TreeEntry {
                place == index ? entry : old.entry(at: place < index ? place : place - 1)
            }
            separator = TreeSplit.separator(between: combined(middle - 1), and: combined(middle))
        }
        try insertChild(
            newNumber,
            count: count + 1 - middle,
            separator: separator,
            behind: number,
            count: middle,
            level: 1,
            isLast: isLast
        )
    }

    /// Puts a child into the node at `level` of the way down, behind the one through which the way goes; that one now
    /// has `sibling` elements.
    ///
    /// The separator may lie in the scratch node of the level below.
    mutating func insertChild(
        _ child: UInt64,
        count: Int,
        separator: TreeEntry?,
        behind sibling: UInt64,
        count siblingCount: Int,
        level: Int,
        isLast: Bool
    ) throws(LMDBError) {
        if level > root.height {
            precondition(level < TreeScratch.levels, "a tree is too high")
            let number = root.takeNumber()
            let node = try make(number, level: level)
            node.insertChild(sibling, count: siblingCount, separator: nil, at: 0)
            node.insertChild(child, count: count, separator: separator, at: 1)
            root.node = number
            root.height = level
            return
        }
        let step = scratch[level]
        let node = try store.edit(step.node)
        node.setChildCount(siblingCount, at: step.index)
        let index = step.index + 1
        if node.fitsChild(separator) {
            node.insertChild(child, count: count, separator: separator, at: index)
            return
        }
        try splitInner(node, step.node, child, count, separator, index, level, isLast)
    }

    private mutating func splitInner(
        _ node: TreeNode,
        _ number: UInt64,
        _ child: UInt64,
        _ childCount: Int,
        _ separator: TreeEntry?,
        _ index: Int,
        _ level: Int,
        _ isLast: Bool
    ) throws(LMDBError) {
        let old = scratch.node(level)
        old.copy(node)
        let count = old.count
        let middle =
            isLast && index == count ? count : TreeSplit.middle(old, bytes: old.bytes(of: separator), at: index)
        let newNumber = root.takeNumber()
        // The first child of the right node gives its separator up to the parent.
        let right = try make(newNumber, level: level)
        if index >= middle {
            right.appendChildren(old, middle..<index, separator: nil)
            let own = index == middle ? nil : separator
            right.insertChild(child, count: childCount, separator: own, at: right.count)
            if index < count { right.appendChildren(old, index..<count, separator: old.separator(at: index)) }
        } else {
            right.appendChildren(old, (middle - 1)..<count, separator: nil)
        }
        let rightCount = right.elements
        let left = try store.edit(number)
        left.clear(level: level, layout: layout)
        if index < middle {
            left.appendChildren(old, 0..<index, separator: nil)
            left.insertChild(child, count: childCount, separator: separator, at: index)
            if index < middle - 1 {
                left.appendChildren(old, index..<(middle - 1), separator: old.separator(at: index))
            }
        } else {
            left.appendChildren(old, 0..<middle, separator: nil)
        }
        let up = middle == index ? separator : old.separator(at: middle < index ? middle : middle - 1)
        // The scratch nodes take turns, so it must not stay in the one of the level below.
        let kept = up.map { scratch.keep($0) }
        try insertChild(
            newNumber,
            count: rightCount,
            separator: kept,
            behind: number,
            count: left.elements,
            level: level + 1,
            isLast: isLast
        )
    }
}

/// How full nodes are divided.
enum TreeSplit {
    /// How many entries of a full node, with one of `bytes` at `index` among them, are to stay on the left, so that
    /// both halves have about as many bytes: at least one, and not all.
    static func middle(_ node: TreeNode, bytes: Int, at index: Int) -> Int {
        let count = node.count
        let total = node.usedBytes - TreeNode.headLength + bytes
        var left = 0
        for place in 0...count {
            let here = place == index ? bytes : node.bytes(at: place < index ? place : place - 1)
            let more = left + here
            // Here or before it, whichever leaves the larger half smaller.
            if more * 2 >= total {
                let middle = max(more, total - more) <= max(left, total - left) ? place + 1 : place
                return min(max(middle, 1), count)
            }
            left = more
        }
        return count
    }

    /// The shortest key that is greater than `left` and not greater than `right`, its neighbour.
    static func separator(between left: TreeEntry, and right: TreeEntry) -> TreeEntry {
        if OrderedScore.comparable(left.score) != OrderedScore.comparable(right.score) {
            return TreeEntry(score: right.score, body: ByteView())
        }
        let leftBytes = left.isReference ? left.body.prefix(LongMember.headLength) : left.body
        let rightBytes = right.isReference ? right.body.prefix(LongMember.headLength) : right.body
        let shared = leftBytes.commonPrefixLength(rightBytes)
        // Where the heads tell nothing, only the whole right one will do.
        let isDecided = shared < rightBytes.count && (shared < leftBytes.count || !left.isReference)
        return isDecided ? TreeEntry(score: right.score, body: rightBytes.prefix(shared + 1)) : right
    }
}
