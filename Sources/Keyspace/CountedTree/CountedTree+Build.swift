// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import LMDB

/// Builds a counted tree from its elements in order, in O(1) each and with full nodes.
///
/// `append` all elements, then take the tree from `finish()`. Nothing of it can be read before that. Between two calls
/// the transaction may be committed, since what is not in the store yet is in memory.
struct TreeBuilder<Store: TreeStore> {
    private let store: Store
    private let layout: TreeLayout
    private var root = TreeRoot()
    private var nodes = 0
    /// The node being filled at each level, the leaf first.
    private var levels: [Level] = []
    /// The entry last appended, from which the next separator follows.
    private var last: [UInt8] = []
    private var lastScore: UInt64 = 0
    private var lastIsReference = false

    /// A node that is being filled, outside of the store.
    private struct Level {
        var memory: TreeBuilderNode
        /// What goes into the parent with it.
        var separator: [UInt8] = []
        var score: UInt64 = 0
        var isReference = false
        var hasSeparator = false
    }

    init(_ store: Store, _ layout: TreeLayout) {
        self.store = store
        self.layout = layout
    }

    /// How many elements there are so far.
    var count: Int { root.count }

    /// How many nodes are in the store so far.
    var nodeBalance: Int { nodes }

    /// Adds an element behind the others; in a sorted set it must be greater than them.
    mutating func append(_ entry: TreeEntry) throws(LMDBError) {
        precondition(
            entry.body.count <= (layout == .list ? TreeNode.longestBody : LongMember.longestPlainMember),
            "an element is too long for its entry"
        )
        if levels.isEmpty { levels.append(Level(memory: TreeBuilderNode(level: 0, layout: layout))) }
        if !levels[0].memory.node.fits(entry) {
            try flush(level: 0)
            if layout == .sortedSet {
                ByteView.with(last) { bytes in
                    let left = TreeEntry(score: lastScore, body: bytes, isReference: lastIsReference)
                    let separator = TreeSplit.separator(between: left, and: entry)
                    levels[0].separator = Array(separator.body)
                    levels[0].score = separator.score
                    levels[0].isReference = separator.isReference
                    levels[0].hasSeparator = true
                }
            }
        }
        levels[0].memory.node.insert(entry, at: levels[0].memory.node.count)
        root.count += 1
        if layout == .sortedSet {
            last.removeAll(keepingCapacity: true)
            last.append(contentsOf: entry.body)
            lastScore = entry.score
            lastIsReference = entry.isReference
        }
    }

    /// Writes the node that is being filled at `level` into the store, and begins a new one.
    private mutating func flush(level: Int) throws(LMDBError) {
        let number = root.takeNumber()
        let node = try store.make(number)
        nodes += 1
        node.copy(levels[level].memory.node)
        let count = node.elements
        if level + 1 == levels.count {
            levels.append(Level(memory: TreeBuilderNode(level: level + 1, layout: layout)))
        }
        let full = levels[level]
        try ByteView.with(full.separator) { bytes throws(LMDBError) in
            let isFirst = levels[level + 1].memory.node.count == 0
            let separator =
                full.hasSeparator ? TreeEntry(score: full.score, body: bytes, isReference: full.isReference) : nil
            if !isFirst, !levels[level + 1].memory.node.fitsChild(separator) {
                try flush(level: level + 1)
            }
            let parent = levels[level + 1].memory.node
            if parent.count == 0 {
                // The first child gives its separator up to the parent.
                levels[level + 1].separator = full.separator
                levels[level + 1].score = full.score
                levels[level + 1].isReference = full.isReference
                levels[level + 1].hasSeparator = full.hasSeparator
            }
            parent.insertChild(
                number,
                count: count,
                separator: parent.count == 0 ? nil : separator,
                at: parent.count
            )
        }
        levels[level].memory.node.clear(level: level, layout: layout)
        levels[level].hasSeparator = false
    }

    /// The finished tree; its `nodeBalance` are all its nodes.
    mutating func finish() throws(LMDBError) -> CountedTree<Store> {
        var level = 0
        while level < levels.count {
            let node = levels[level].memory.node
            if level + 1 == levels.count, node.count == 1, level > 0 {
                // A top with one child is none.
                root.node = node.child(at: 0)
                root.height = level - 1
                break
            }
            if level + 1 == levels.count, node.count > 0 {
                let number = root.takeNumber()
                let top = try store.make(number)
                nodes += 1
                top.copy(node)
                root.node = number
                root.height = level
                break
            }
            if node.count > 0 { try flush(level: level) }
            level += 1
        }
        var tree = CountedTree(store, layout, root: root)
        tree.nodeBalance = nodes
        return tree
    }
}

/// Memory for a node outside of any store.
@safe
final class TreeBuilderNode {
    private let memory: UnsafeMutableRawBufferPointer

    init(level: Int, layout: TreeLayout) {
        unsafe memory = UnsafeMutableRawBufferPointer.allocate(byteCount: TreeNode.length, alignment: 16)
        node.clear(level: level, layout: layout)
    }

    deinit {
        unsafe memory.deallocate()
    }

    /// The node in it.
    var node: TreeNode { unsafe TreeNode(memory.baseAddress.unsafelyUnwrapped) }
}
