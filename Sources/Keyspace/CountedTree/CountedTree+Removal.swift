// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import LMDB

extension CountedTree where Store: TreeStore {
    /// Nodes with fewer bytes are put together with a neighbour, if both have at most `mergedBytes` then.
    private static var fewBytes: Int { TreeNode.length / 4 }
    private static var mergedBytes: Int { TreeNode.length * 3 / 4 }

    /// Takes the element with just this key out of a sorted set; O(log n).
    ///
    /// - Throws: `LMDBError.corrupted` if it is not there.
    mutating func remove(_ key: TreeKey) throws(LMDBError) {
        guard root.node != 0 else { throw .corrupted }
        root.count -= 1
        var number = root.node
        for level in stride(from: root.height, to: 0, by: -1) {
            let node = try store.edit(number)
            let index = try childIndex(node) { entry throws(LMDBError) in try compare(entry, key) <= 0 }
            scratch[level] = TreeScratch.Step(node: number, index: index)
            guard node.childCount(at: index) > 0 else { throw .corrupted }
            node.setChildCount(node.childCount(at: index) - 1, at: index)
            number = node.child(at: index)
        }
        let leaf = try store.edit(number)
        let index = try entryIndex(leaf) { entry throws(LMDBError) in try compare(entry, key) < 0 }
        guard index < leaf.count, try compare(leaf.entry(at: index), key) == 0 else { throw .corrupted }
        try remove(index..<(index + 1), leaf: number)
    }

    /// Takes `count` elements from `position` on out of the tree; there must be so many.
    ///
    /// O(count + log n a leaf). `removed` is called with each when it is no longer there, in order, and may change the
    /// table, but not this tree.
    mutating func remove(
        at position: Int,
        count: Int = 1,
        _ removed: (TreeEntry) throws(LMDBError) -> Void
    ) throws(LMDBError) {
        precondition(position >= 0 && count >= 0 && position + count <= root.count, "positions out of range")
        var left = count
        while left > 0 {
            let (number, index) = try enter(position)
            let leaf = try store.node(number)
            guard index < leaf.count else { throw .corrupted }
            let here = min(left, leaf.count - index)
            let copy = scratch.node(0)
            copy.copy(leaf)
            try addToCounts(-here)
            root.count -= here
            try remove(index..<(index + here), leaf: number)
            left -= here
            for place in index..<(index + here) { try removed(copy.entry(at: place)) }
        }
    }

    /// Puts `entry` in the place of the element at `position` of a list; O(log n).
    mutating func replace(at position: Int, with entry: TreeEntry) throws(LMDBError) {
        precondition(layout == .list && position >= 0 && position < root.count, "a position out of range")
        let (number, index) = try enter(position)
        let leaf = try store.edit(number)
        guard index < leaf.count else { throw .corrupted }
        if leaf.freeBytes + leaf.bytes(at: index) >= leaf.bytes(of: entry) {
            leaf.remove(index..<(index + 1))
            leaf.insert(entry, at: index)
        } else {
            try remove(at: position) { _ in }
            try insert(entry, at: position)
        }
    }

    // MARK: Whole leaves

    /// Makes an empty leaf that belongs to no tree yet and returns its number.
    mutating func makeLeaf() throws(LMDBError) -> UInt64 {
        let number = root.takeNumber()
        _ = try make(number, level: 0)
        return number
    }

    /// Deletes a leaf that belongs to no tree (any more).
    mutating func deleteLeaf(_ number: UInt64) throws(LMDBError) {
        try store.delete(number)
        nodeBalance -= 1
    }

    /// Takes a leaf, which belongs to no tree yet and is not empty, as the last (or the first) of a list; O(log n).
    mutating func attach(leaf number: UInt64, atEnd: Bool) throws(LMDBError) {
        precondition(layout == .list, "only lists take leaves")
        let count = try store.node(number).count
        precondition(count > 0, "a leaf in a tree has elements")
        if root.node == 0 {
            root.node = number
            root.height = 0
            root.count = count
            return
        }
        let (last, _) = try enter(atEnd ? root.count - 1 : 0)
        root.count += count
        if root.height > 1 {
            for level in 2...root.height {
                let step = scratch[level]
                let node = try store.edit(step.node)
                node.setChildCount(node.childCount(at: step.index) + count, at: step.index)
            }
        }
        let lastCount = try store.node(last).count
        if atEnd {
            try insertChild(
                number,
                count: count,
                separator: nil,
                behind: last,
                count: lastCount,
                level: 1,
                isLast: true
            )
        } else if root.height == 0 {
            scratch[1] = TreeScratch.Step()
            try insertChild(
                last,
                count: lastCount,
                separator: nil,
                behind: number,
                count: count,
                level: 1,
                isLast: false
            )
        } else {
            // The new one takes the place of the first child, which then is put behind it.
            let step = scratch[1]
            let node = try store.edit(step.node)
            node.setChild(number, at: step.index)
            try insertChild(
                last,
                count: lastCount,
                separator: nil,
                behind: number,
                count: count,
                level: 1,
                isLast: false
            )
        }
    }

    /// Takes the last (or the first) leaf out of a list, which must not be empty, and returns its number: it belongs
    /// to no tree then, but its row stays.
    ///
    /// O(log n).
    mutating func detach(atEnd: Bool) throws(LMDBError) -> UInt64 {
        precondition(layout == .list && root.node != 0, "only lists give leaves")
        let (number, _) = try enter(atEnd ? root.count - 1 : 0)
        let count = try store.node(number).count
        try addToCounts(-count)
        root.count -= count
        try leave(level: 0)
        return number
    }

    // MARK: Parts

    /// Goes down to the element at `position`, noting the way; returns the leaf and the index there.
    private func enter(_ position: Int) throws(LMDBError) -> (leaf: UInt64, index: Int) {
        guard root.node != 0 else { throw .corrupted }
        var number = root.node
        var rest = position
        for level in stride(from: root.height, to: 0, by: -1) {
            let node = try store.node(number)
            let (index, before) = childIndex(node, position: rest)
            rest -= before
            scratch[level] = TreeScratch.Step(node: number, index: index)
            number = node.child(at: index)
        }
        return (number, rest)
    }

    /// Adds `difference` to the counts on the way, but not to the tree's own.
    private func addToCounts(_ difference: Int) throws(LMDBError) {
        guard root.height > 0 else { return }
        for level in 1...root.height {
            let step = scratch[level]
            let node = try store.edit(step.node)
            let count = node.childCount(at: step.index) + difference
            guard count >= 0 else { throw .corrupted }
            node.setChildCount(count, at: step.index)
        }
    }

    /// Takes the entries in `range` out of the leaf at the end of the way, whose counts are without them already.
    private mutating func remove(_ range: Range<Int>, leaf number: UInt64) throws(LMDBError) {
        if layout == .sortedSet, range.lowerBound == 0 { try releaseSeparator(range.count, leaf: number) }
        let leaf = try store.edit(number)
        leaf.remove(range)
        if leaf.count == 0 {
            try deleteLeaf(number)
            try leave(level: 0)
        } else if root.height > 0, leaf.usedBytes < Self.fewBytes {
            try merge(number, level: 0)
        }
    }

    /// A separator that refers to the first entry of the leaf at the end of the way becomes the first entry that is
    /// left after `count` have gone, because the blob that it names may go with the entry.
    private func releaseSeparator(_ count: Int, leaf number: UInt64) throws(LMDBError) {
        let first = try store.node(number).entry(at: 0)
        guard first.isReference else { return }
        // The one place where the leaf's first entry can have become a separator.
        var level = 1
        while level <= root.height, scratch[level].index == 0 { level += 1 }
        guard level <= root.height else { return }
        let step = scratch[level]
        let above = try store.node(step.node)
        let separator = above.entry(at: step.index)
        guard separator.isReference, try LongMember(separator.body).blob == LongMember(first.body).blob else { return }
        // Without elements the child goes, and its separator with it.
        guard above.childCount(at: step.index) > 0 else { return }
        let leaf = try store.node(number)
        var next: TreeEntry
        if count < leaf.count {
            next = leaf.entry(at: count)
        } else {
            guard let following = try firstBehind(below: level) else { throw .corrupted }
            next = following
        }
        next = scratch.keep(next)
        try store.edit(step.node).setSeparator(next, at: step.index)
    }

    /// The first entry behind the leaf at the end of the way, within the child at `level` of the way.
    private func firstBehind(below level: Int) throws(LMDBError) -> TreeEntry? {
        for lower in 1..<level {
            let step = scratch[lower]
            let node = try store.node(step.node)
            guard step.index + 1 < node.count else { continue }
            var below = try store.node(node.child(at: step.index + 1))
            while below.level > 0 { below = try store.node(below.child(at: 0)) }
            return below.entry(at: 0)
        }
        return nil
    }

    /// Takes the child on the way out of the node above `level`; the child itself is gone already.
    private mutating func leave(level: Int) throws(LMDBError) {
        if level == root.height {
            guard root.count == 0 else { throw .corrupted }
            root.node = 0
            root.height = 0
            return
        }
        let step = scratch[level + 1]
        let node = try store.edit(step.node)
        node.removeChild(at: step.index)
        if node.count == 0 {
            try deleteLeaf(step.node)
            try leave(level: level + 1)
        } else {
            try shrink(node, step.node, level: level + 1)
        }
    }

    /// After an inner node has lost a child.
    private mutating func shrink(_ node: TreeNode, _ number: UInt64, level: Int) throws(LMDBError) {
        if level < root.height {
            if node.usedBytes < Self.fewBytes { try merge(number, level: level) }
        } else {
            while root.height > 0 {
                let top = try store.node(root.node)
                guard top.count == 1 else { break }
                let child = top.child(at: 0)
                try deleteLeaf(root.node)
                root.node = child
                root.height -= 1
            }
        }
    }

    /// Puts a node that has few bytes left together with a neighbour, if there is room.
    private mutating func merge(_ number: UInt64, level: Int) throws(LMDBError) {
        let step = scratch[level + 1]
        let parent = try store.node(step.node)
        let rightIndex = step.index + 1 < parent.count ? step.index + 1 : step.index
        guard rightIndex > 0 else { return }
        let leftNumber = parent.child(at: rightIndex - 1)
        let rightNumber = parent.child(at: rightIndex)
        let separator = parent.separator(at: rightIndex)
        let together =
            try store.node(leftNumber).usedBytes + store.node(rightNumber).usedBytes - TreeNode.headLength
            + (level > 0 ? separator.map { 10 + $0.body.count } ?? 0 : 0)
        guard together <= Self.mergedBytes else { return }

        let left = try store.edit(leftNumber)
        let right = try store.node(rightNumber)
        if level == 0 {
            left.append(right, 0..<right.count)
        } else {
            // The parent was not written to since, so the separator still stands where it was read.
            left.appendChildren(right, 0..<right.count, separator: try store.node(step.node).separator(at: rightIndex))
        }
        let count = left.elements
        try deleteLeaf(rightNumber)
        let above = try store.edit(step.node)
        above.removeChild(at: rightIndex)
        above.setChildCount(count, at: rightIndex - 1)
        try shrink(above, step.node, level: level + 1)
    }
}
