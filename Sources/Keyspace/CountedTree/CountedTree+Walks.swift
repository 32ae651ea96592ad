// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import LMDB

extension CountedTree {
    /// Calls `body` with the elements from `position` on, in order, until it returns false.
    ///
    /// O(log n + elements). `body` must not change the table.
    @inline(__always)
    func walk(
        from position: Int,
        _ body: (TreeEntry) throws(LMDBError) -> Bool
    ) throws(LMDBError) {
        guard position >= 0, position < root.count else { return }
        var way = TreeWay()
        var (leaf, index) = try go(to: position, &way)
        while true {
            let count = leaf.count
            while index < count {
                guard try body(leaf.entry(at: index)) else { return }
                index += 1
            }
            guard let next = try step(1, &way) else { return }
            leaf = next
            index = 0
        }
    }

    /// Calls `body` with the elements from `position` on backwards until it returns false.
    ///
    /// O(log n + elements). `body` must not change the table.
    @inline(__always)
    func walkBackwards(
        from position: Int,
        _ body: (TreeEntry) throws(LMDBError) -> Bool
    ) throws(LMDBError) {
        guard position >= 0, position < root.count else { return }
        var way = TreeWay()
        var (leaf, index) = try go(to: position, &way)
        while true {
            while index >= 0 {
                guard try body(leaf.entry(at: index)) else { return }
                index -= 1
            }
            guard let next = try step(-1, &way) else { return }
            leaf = next
            index = leaf.count - 1
        }
    }

    /// Goes down to the element at `position`.
    private func go(to position: Int, _ way: inout TreeWay) throws(LMDBError) -> (TreeNode, Int) {
        var rest = position
        var number = root.node
        for level in stride(from: root.height, to: 0, by: -1) {
            let node = try store.node(number)
            let (index, before) = childIndex(node, position: rest)
            rest -= before
            way[level] = TreeScratch.Step(node: number, index: index)
            number = node.child(at: index)
        }
        let leaf = try store.node(number)
        guard rest < leaf.count else { throw .corrupted }
        return (leaf, rest)
    }

    /// Goes on to the leaf behind (1) or before (-1), if there is one.
    private func step(_ direction: Int, _ way: inout TreeWay) throws(LMDBError) -> TreeNode? {
        var level = 1
        while level <= root.height {
            let node = try store.node(way[level].node)
            let index = way[level].index + direction
            if index >= 0, index < node.count {
                way[level].index = index
                var number = node.child(at: index)
                while level > 1 {
                    level -= 1
                    let below = try store.node(number)
                    let end = direction > 0 ? 0 : below.count - 1
                    way[level] = TreeScratch.Step(node: number, index: end)
                    number = below.child(at: end)
                }
                return try store.node(number)
            }
            level += 1
        }
        return nil
    }
}

/// The way from the root to a leaf, by level.
private struct TreeWay {
    /// Enough for any tree but one of huge entries, which goes into the array.
    private var near: (TreeScratch.Step, TreeScratch.Step, TreeScratch.Step, TreeScratch.Step, TreeScratch.Step) =
        (.init(), .init(), .init(), .init(), .init())
    private var far: [TreeScratch.Step] = []

    @inline(__always)
    subscript(level: Int) -> TreeScratch.Step {
        get {
            switch level {
            case 1: near.0
            case 2: near.1
            case 3: near.2
            case 4: near.3
            case 5: near.4
            default: far[level - 6]
            }
        }
        set {
            switch level {
            case 1: near.0 = newValue
            case 2: near.1 = newValue
            case 3: near.2 = newValue
            case 4: near.3 = newValue
            case 5: near.4 = newValue
            default:
                while far.count <= level - 6 { far.append(TreeScratch.Step()) }
                far[level - 6] = newValue
            }
        }
    }
}
