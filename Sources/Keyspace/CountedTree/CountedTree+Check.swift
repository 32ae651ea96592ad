// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import LMDB

/// What a check of a counted tree found.
struct TreeCheck {
    /// Each broken invariant, as a sentence.
    private(set) var problems: [String] = []
    /// The numbers of all nodes that the tree has.
    private(set) var nodes: Set<UInt64> = []

    fileprivate mutating func report(_ problem: String) {
        if problems.count < 20 { problems.append(problem) }
    }

    fileprivate mutating func visit(_ number: UInt64) -> Bool { nodes.insert(number).inserted }
}

extension CountedTree {
    /// Walks the whole tree and checks every node: its bytes, its place, the counts, the order, and the separators.
    ///
    /// O(n). `visit` is called with each element in order, for what the caller knows of them.
    func check(_ visit: (TreeEntry) throws(LMDBError) -> Void = { _ in }) throws(LMDBError) -> TreeCheck {
        var check = TreeCheck()
        if root.node == 0 {
            if root.count != 0 || root.height != 0 { check.report("an empty tree counts \(root.count)") }
            return check
        }
        var last: KeptEntry?
        let sum = try walkDown(root.node, root.height, nil, &last, &check, visit)
        if sum != root.count { check.report("the tree has \(sum) elements, its root counts \(root.count)") }
        if root.height > 0, try store.node(root.node).count < 2 { check.report("the top node has one child only") }
        for number in check.nodes where number >> 48 != 0 || number ^ 1 >= root.next {
            check.report("node \(number) is from the future")
        }
        return check
    }

    /// An entry whose bytes are kept.
    private struct KeptEntry {
        var score: UInt64
        var body: [UInt8]
        var isReference: Bool

        init(_ entry: TreeEntry) {
            score = entry.score
            body = Array(entry.body)
            isReference = entry.isReference
        }
    }

    /// Checks a node and what is below it, and returns how many elements that are.
    private func walkDown(
        _ number: UInt64,
        _ level: Int,
        _ separator: KeptEntry?,
        _ last: inout KeptEntry?,
        _ check: inout TreeCheck,
        _ visit: (TreeEntry) throws(LMDBError) -> Void
    ) throws(LMDBError) -> Int {
        guard check.visit(number) else {
            check.report("node \(number) is in the tree twice")
            return 0
        }
        let node = try store.node(number)
        guard node.level == level, node.layout == layout else {
            check.report("node \(number) is of level \(node.level), not \(level)")
            return 0
        }
        if let problem = node.problem {
            check.report("node \(number): \(problem)")
            return 0
        }
        if node.count == 0 { check.report("node \(number) is empty") }
        guard level > 0 else {
            for index in 0..<node.count {
                let entry = node.entry(at: index)
                if layout == .sortedSet {
                    try checkOrder(entry, number, last, &check)
                    if index == 0, let separator { try checkSeparator(separator, entry, number, last, &check) }
                    last = KeptEntry(entry)
                }
                try visit(entry)
            }
            return node.count
        }
        var sum = 0
        for index in 0..<node.count {
            let node = try store.node(number)
            let own = node.separator(at: index).map { KeptEntry($0) }
            if (own == nil) != (index == 0 || layout == .list) {
                check.report("node \(number): separator \(index) is missing, or should not be")
            }
            let below = try walkDown(
                node.child(at: index),
                level - 1,
                index == 0 ? separator : own,
                &last,
                &check,
                visit
            )
            let counted = try store.node(number).childCount(at: index)
            if below != counted { check.report("node \(number): child \(index) has \(below), counted \(counted)") }
            sum += below
        }
        return sum
    }

    private func checkOrder(
        _ entry: TreeEntry,
        _ number: UInt64,
        _ last: KeptEntry?,
        _ check: inout TreeCheck
    ) throws(LMDBError) {
        if OrderedScore.score(entry.score).isNaN { check.report("node \(number) has a score that is no number") }
        if entry.isReference { _ = try LongMember(entry.body) }
        guard let last else { return }
        if try order(last, entry) >= 0 { check.report("node \(number): entries are out of order") }
    }

    private func checkSeparator(
        _ separator: KeptEntry,
        _ first: TreeEntry,
        _ number: UInt64,
        _ last: KeptEntry?,
        _ check: inout TreeCheck
    ) throws(LMDBError) {
        if separator.isReference {
            if !first.isReference || !(first.body == separator.body) || first.score != separator.score {
                check.report("node \(number): its separator refers to another member than its first")
            }
            return
        }
        if try order(separator, first) > 0 { check.report("node \(number): its separator is too great") }
        guard let last else { return }
        let isGreater = try ByteView.with(separator.body) { body throws(LMDBError) in
            try order(last, TreeEntry(score: separator.score, body: body)) < 0
        }
        if !isGreater { check.report("node \(number): its separator is too small") }
    }

    /// How two entries compare, as far as references can be told apart by their heads or lengths.
    private func order(_ left: KeptEntry, _ right: TreeEntry) throws(LMDBError) -> Int {
        let scores = (OrderedScore.comparable(left.score), OrderedScore.comparable(right.score))
        if scores.0 != scores.1 { return scores.0 < scores.1 ? -1 : 1 }
        return try ByteView.with(left.body) { body throws(LMDBError) in
            let entry = TreeEntry(score: left.score, body: body, isReference: left.isReference)
            guard left.isReference || right.isReference else { return body.compare(right.body) }
            // Only one of the two may be compared through its blob; the other's bytes are read from it.
            if !right.isReference { return try compareMember(entry, right.body) }
            if !left.isReference { return -(try compareMember(right, body)) }
            let (leftLong, rightLong) = (try LongMember(body), try LongMember(right.body))
            let order = leftLong.head.compare(rightLong.head)
            if order != 0 { return order }
            return try store.compare(leftLong, rightLong)
        }
    }
}

extension TreeNode {
    /// What is wrong with the bytes of the node, if anything.
    var problem: String? {
        let slotBytes = level == 0 ? 2 : 14
        let slotsEnd = TreeNode.headLength + count * slotBytes
        guard slotsEnd <= heapStart, heapStart <= TreeNode.length else { return "slots and heap overlap" }
        var taken = 0
        for index in 0..<count {
            let bytes = self.bytes(at: index) - slotBytes
            if level == 0 && bytes == 0 { return "an entry is missing" }
            taken += bytes
        }
        if taken + deadBytes != TreeNode.length - heapStart { return "its heap does not add up" }
        return nil
    }
}
