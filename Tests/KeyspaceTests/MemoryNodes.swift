// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import Bytes
import Testing

@testable import Keyspace

/// Nodes of a counted tree in memory, which move whenever they may: who uses one for too long reads nonsense.
final class MemoryNodes: TreeStore {
    let scratch = TreeScratch()
    private var nodes: [UInt64: TreeBuilderNode] = [:]
    private var buried: [TreeBuilderNode] = []
    /// The bytes of long members, as long as they are in the set.
    var blobs: [UInt64: [UInt8]] = [:]

    var numbers: Set<UInt64> { Set(nodes.keys) }

    func node(_ number: UInt64) -> TreeNode {
        guard let node = nodes[number] else { preconditionFailure("node \(number) is not there") }
        return node.node
    }

    func edit(_ number: UInt64) -> TreeNode {
        move(number ^ 1)
        move(number)
        return node(number)
    }

    func make(_ number: UInt64) -> TreeNode {
        precondition(nodes[number] == nil, "node \(number) is there already")
        moveSome()
        let node = TreeBuilderNode(level: 77, layout: .list)
        nodes[number] = node
        return node.node
    }

    func delete(_ number: UInt64) {
        guard let node = nodes.removeValue(forKey: number) else {
            preconditionFailure("node \(number) is not there")
        }
        bury(node)
        moveSome()
    }

    private func moveSome() {
        for number in nodes.count < 40 ? Array(nodes.keys) : Array(nodes.keys.prefix(10)) { move(number) }
    }

    private func move(_ number: UInt64) {
        guard let old = nodes[number] else { return }
        let new = TreeBuilderNode(level: 0, layout: .list)
        new.node.copy(old.node)
        nodes[number] = new
        bury(old)
    }

    private func bury(_ node: TreeBuilderNode) {
        node.node.clear(level: 99, layout: .list)
        if buried.count > 500 { buried.removeFirst(250) }
        buried.append(node)
    }

    func compare(blob: UInt64, length: Int, from offset: Int, with bytes: ByteView) -> Int {
        guard let stored = blobs[blob] else { preconditionFailure("blob \(blob) is not there") }
        precondition(stored.count == length, "blob \(blob) has another length")
        return ByteView.with(stored) { $0.dropFirst(offset).compare(bytes) }
    }

    func compare(_ left: LongMember, _ right: LongMember) -> Int {
        ByteView.with(blobs[right.blob] ?? []) { compare(blob: left.blob, length: left.length, from: 0, with: $0) }
    }
}
