// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import LMDB

extension KeyspaceCheck {
    /// Checks a list in rows: its leaves, its tree, that they are all the nodes there are, and that its blobs are those
    /// of its elements.
    mutating func checkList(_ record: Record, _ stored: Elements, _ name: String) {
        guard let root = ListRoot(record.payload) else { return report("\(name): the root of the list is damaged") }
        if root.count != record.count {
            report("\(name): its parts have \(root.count) elements, its head says \(record.count)")
        }
        let nodes = TreeRowReader(reader: keyspace.reader, object: record.object, home: record.home)
        var numbers: Set<UInt64> = []
        var blobs: [UInt64: Int] = [:]
        func visit(_ entry: TreeEntry) throws(LMDBError) {
            let element = try entry.listElement(object: record.object, home: record.home)
            if entry.isReference { blobs[element.blob] = Keyspace.blobBytes(element.count) }
        }
        do throws(LMDBError) {
            for leaf in [root.head, root.tail] where leaf.node != 0 {
                let node = try nodes.node(leaf.node)
                if node.level != 0 || node.layout != .list { report("\(name): node \(leaf.node) is no leaf of a list") }
                if node.count != leaf.count {
                    report("\(name): leaf \(leaf.node) has \(node.count) elements, not \(leaf.count)")
                }
                if !numbers.insert(leaf.node).inserted { report("\(name): leaf \(leaf.node) is at both ends") }
                for index in 0..<node.count { try visit(node.entry(at: index)) }
            }
            let tree = CountedTree(nodes, .list, root: root.tree)
            let check = try tree.check(visit)
            for problem in check.problems { report("\(name): \(problem)") }
            if !numbers.isDisjoint(with: check.nodes) { report("\(name): a leaf at an end is in the tree too") }
            numbers.formUnion(check.nodes)
        } catch {
            report("\(name): its nodes cannot be read: \(error)")
        }
        if numbers.count != stored.nodes {
            report("\(name): has \(stored.nodes) nodes, of which \(numbers.count) are used")
        }
        if stored.blobs != blobs { report("\(name): its blobs are not those of its elements") }
    }
}
