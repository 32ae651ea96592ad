// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import LMDB

/// A list in rows while it is changed.
///
/// After a change, what `root` and `nodeBalance` say goes back to the record. Blobs are for the caller, who is told of
/// the entries that go.
struct ListRows<Store: TreeStore> {
    private var tree: CountedTree<Store>
    private var head: ListRoot.Leaf
    private var tail: ListRoot.Leaf

    init(_ store: Store, _ root: ListRoot) {
        tree = CountedTree(store, .list, root: root.tree)
        head = root.head
        tail = root.tail
    }

    /// Where everything is now.
    var root: ListRoot {
        @inline(__always) get {
            var root = ListRoot()
            root.head = head
            root.tail = tail
            root.tree = tree.root
            return root
        }
    }

    /// How many nodes were made since the beginning, less those deleted.
    var nodeBalance: Int { tree.nodeBalance }

    // MARK: At the ends

    /// Adds `entry` at an end; O(1), and O(log n) each time that a leaf is full.
    @inline(__always)
    mutating func push(_ entry: TreeEntry, at end: ListEnd) throws(LMDBError) {
        switch end {
        case .head: head = try push(entry, head, atEnd: false)
        case .tail: tail = try push(entry, tail, atEnd: true)
        }
    }

    @inline(__always)
    private mutating func push(
        _ entry: TreeEntry,
        _ leaf: ListRoot.Leaf,
        atEnd: Bool
    ) throws(LMDBError) -> ListRoot.Leaf {
        if leaf.node != 0 {
            let node = try tree.store.edit(leaf.node)
            if node.fits(entry) {
                node.insert(entry, at: atEnd ? node.count : 0)
                return ListRoot.Leaf(node: leaf.node, count: leaf.count + 1)
            }
        }
        return try replaceFullLeaf(leaf, entry, atEnd: atEnd)
    }

    /// Gives a full leaf to the tree, and begins another one with `entry`.
    @inline(never)
    private mutating func replaceFullLeaf(
        _ leaf: ListRoot.Leaf,
        _ entry: TreeEntry,
        atEnd: Bool
    ) throws(LMDBError) -> ListRoot.Leaf {
        if leaf.node != 0 { try tree.attach(leaf: leaf.node, atEnd: atEnd) }
        let number = try tree.makeLeaf()
        try tree.store.edit(number).insert(entry, at: 0)
        return ListRoot.Leaf(node: number, count: 1)
    }

    /// Takes the entry at an end off; there must be one.
    ///
    /// `body` gets it before it goes, and must not change the table. O(1), and O(log n) each time that a leaf is empty.
    @inline(__always)
    mutating func pop(from end: ListEnd, _ body: (TreeEntry) throws(LMDBError) -> Void) throws(LMDBError) {
        switch end {
        case .head:
            if head.count == 0 { head = try takeLeaf(head, atEnd: false) }
            if head.count > 0 {
                head.count = try pop(head, atEnd: false, body)
            } else {
                tail.count = try pop(tail, atEnd: false, body)
            }
        case .tail:
            if tail.count == 0 { tail = try takeLeaf(tail, atEnd: true) }
            if tail.count > 0 {
                tail.count = try pop(tail, atEnd: true, body)
            } else {
                head.count = try pop(head, atEnd: true, body)
            }
        }
    }

    /// Takes an entry off the leaf, and returns how many are left there.
    @inline(__always)
    private func pop(
        _ leaf: ListRoot.Leaf,
        atEnd: Bool,
        _ body: (TreeEntry) throws(LMDBError) -> Void
    ) throws(LMDBError) -> Int {
        let node = try tree.store.edit(leaf.node)
        let count = node.count
        guard count > 0, count == leaf.count else { throw .corrupted }
        let index = atEnd ? count - 1 : 0
        try body(node.entry(at: index))
        node.remove(index..<(index + 1))
        return count - 1
    }

    /// The tree's leaf at that end instead of an empty one, if the tree has any.
    private mutating func takeLeaf(_ leaf: ListRoot.Leaf, atEnd: Bool) throws(LMDBError) -> ListRoot.Leaf {
        guard tree.count > 0 else { return leaf }
        // An empty leaf was kept for the next push, so that pushes and pops in turn need not make and delete rows.
        if leaf.node != 0 { try tree.deleteLeaf(leaf.node) }
        let number = try tree.detach(atEnd: atEnd)
        return ListRoot.Leaf(node: number, count: try tree.store.node(number).count)
    }

    // MARK: Anywhere

    /// Adds `entry` before the element at `position`, which is at most the number of elements; O(log n).
    mutating func insert(_ entry: TreeEntry, at position: Int) throws(LMDBError) {
        if position <= head.count, head.node != 0 {
            let node = try tree.store.edit(head.node)
            if node.fits(entry) {
                node.insert(entry, at: position)
                head.count += 1
                return
            }
            try attachHead()
        } else if position >= head.count + tree.count, tail.node != 0 {
            let node = try tree.store.edit(tail.node)
            if node.fits(entry) {
                node.insert(entry, at: position - head.count - tree.count)
                tail.count += 1
                return
            }
            try attachTail()
        }
        try tree.insert(entry, at: position - head.count)
    }

    /// Puts `entry` in the place of the one at `position`, which `body` gets before it goes; O(log n).
    mutating func replace(
        at position: Int,
        with entry: TreeEntry,
        _ body: (TreeEntry) throws(LMDBError) -> Void
    ) throws(LMDBError) {
        let (part, place) = root.part(of: position)
        if part != .tree {
            let node = try tree.store.edit(part == .head ? head.node : tail.node)
            guard place < node.count else { throw .corrupted }
            if node.freeBytes + node.bytes(at: place) >= node.bytes(of: entry) {
                try body(node.entry(at: place))
                node.remove(place..<(place + 1))
                node.insert(entry, at: place)
                return
            }
            if part == .head { try attachHead() } else { try attachTail() }
        }
        let inTree = position - head.count
        try body(try tree.entry(at: inTree))
        try tree.replace(at: inTree, with: entry)
    }

    private mutating func attachHead() throws(LMDBError) {
        try tree.attach(leaf: head.node, atEnd: false)
        head = ListRoot.Leaf()
    }

    private mutating func attachTail() throws(LMDBError) {
        try tree.attach(leaf: tail.node, atEnd: true)
        tail = ListRoot.Leaf()
    }

    /// Takes the elements in `range` out; O(log n + elements).
    ///
    /// `body` gets each entry and must not change this list, in no order that matters.
    mutating func remove(
        _ range: Range<Int>,
        _ body: (TreeEntry) throws(LMDBError) -> Void
    ) throws(LMDBError) {
        let treeEnd = head.count + tree.count
        let inTail = max(range.lowerBound, treeEnd)..<max(range.upperBound, treeEnd)
        tail = try remove(inTail.lowerBound - treeEnd..<inTail.upperBound - treeEnd, tail, body)
        let first = min(max(range.lowerBound, head.count), treeEnd)
        let end = min(max(range.upperBound, head.count), treeEnd)
        if first < end { try tree.remove(at: first - head.count, count: end - first, body) }
        head = try remove(min(range.lowerBound, head.count)..<min(range.upperBound, head.count), head, body)
    }

    private mutating func remove(
        _ range: Range<Int>,
        _ leaf: ListRoot.Leaf,
        _ body: (TreeEntry) throws(LMDBError) -> Void
    ) throws(LMDBError) -> ListRoot.Leaf {
        guard !range.isEmpty else { return leaf }
        let node = try tree.store.edit(leaf.node)
        guard range.upperBound <= node.count else { throw .corrupted }
        // The entries are copied, because whoever hears of them may write rows.
        let copy = tree.scratch.node(0)
        copy.copy(node)
        node.remove(range)
        var left = ListRoot.Leaf(node: leaf.node, count: leaf.count - range.count)
        if left.count == 0 {
            try tree.deleteLeaf(leaf.node)
            left.node = 0
        }
        for index in range { try body(copy.entry(at: index)) }
        return left
    }
}
