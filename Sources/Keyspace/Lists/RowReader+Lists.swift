// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import LMDB

extension RowReader {
    /// The element of a list at `position`, nil if it is beyond an end.
    ///
    /// O(log n), or O(length) for a small list.
    public func listElement(of record: Record, at position: Int) -> ElementBytes? {
        guard position >= 0, position < record.count else { return nil }
        var found: ElementBytes?
        forEachListElement(of: record, in: position..<(position + 1)) {
            found = $0
            return false
        }
        return found
    }

    /// Calls `body` with the elements in `range` of a list, which must lie within it, until it returns false.
    ///
    /// O(log n + elements). `body` must not change the keyspace.
    @inline(__always)
    public func forEachListElement(of record: Record, in range: Range<Int>, _ body: (ElementBytes) -> Bool) {
        precondition(record.type == .list, "only lists have places")
        guard record.object != 0 else { return forEachPackedElement(of: record, in: range, body) }
        _ = reading { () throws(LMDBError) -> Bool? in
            try forEachEntry(of: record, in: range) { entry throws(LMDBError) in
                body(try entry.listElement(object: record.object, home: record.home))
            }
            return nil
        }
    }

    private func forEachPackedElement(of record: Record, in range: Range<Int>, _ body: (ElementBytes) -> Bool) {
        var packed = PackedReader(record.payload)
        for _ in 0..<range.lowerBound { _ = packed.next() }
        for _ in range {
            guard let element = packed.next(), body(ElementBytes(element)) else { return }
        }
    }

    /// Calls `body` with the entries in `range` of a list in rows until it returns false.
    @inline(__always)
    func forEachEntry(
        of record: Record,
        in range: Range<Int>,
        _ body: (TreeEntry) throws(LMDBError) -> Bool
    ) throws(LMDBError) {
        guard let root = ListRoot(record.payload), root.count == record.count, range.upperBound <= root.count else {
            throw .corrupted
        }
        let nodes = TreeRowReader(reader: self, object: record.object, home: record.home)
        let treeEnd = root.head.count + root.tree.count
        if range.lowerBound < root.head.count {
            let leaf = try nodes.node(root.head.node)
            guard leaf.count == root.head.count else { throw .corrupted }
            for index in range.lowerBound..<min(range.upperBound, leaf.count) {
                guard try body(leaf.entry(at: index)) else { return }
            }
        }
        let first = max(range.lowerBound, root.head.count)
        let end = min(range.upperBound, treeEnd)
        if first < end {
            var left = end - first
            var goesOn = true
            let tree = CountedTree(nodes, .list, root: root.tree)
            try tree.walk(from: first - root.head.count) { entry throws(LMDBError) in
                goesOn = try body(entry)
                left -= 1
                return goesOn && left > 0
            }
            guard goesOn else { return }
        }
        if range.upperBound > treeEnd {
            let leaf = try nodes.node(root.tail.node)
            guard leaf.count == root.tail.count else { throw .corrupted }
            for index in max(range.lowerBound, treeEnd) - treeEnd..<range.upperBound - treeEnd {
                guard try body(leaf.entry(at: index)) else { return }
            }
        }
    }

    /// The walk of `forEachElement` over a list in rows.
    func forEachListRow(_ record: Record, _ position: inout ElementPosition, _ body: (ValueElement) -> Bool) {
        var passed = position.passed
        var goesOn = true
        forEachListElement(of: record, in: passed..<record.count) { element in
            passed += 1
            goesOn = body(.element(element))
            return goesOn
        }
        position.passed = passed
        position.isAtEnd = goesOn || passed == record.count
    }

    /// Calls `body` with the elements of a list and their places, from the last one on, until it returns false.
    func forEachListElementBackwards(of record: Record, _ body: (Int, ElementBytes) -> Bool) {
        guard record.object != 0 else {
            var elements: [ElementBytes] = []
            var packed = PackedReader(record.payload)
            while let element = packed.next() { elements.append(ElementBytes(element)) }
            for place in elements.indices.reversed() {
                guard body(place, elements[place]) else { return }
            }
            return
        }
        _ = reading { () throws(LMDBError) -> Bool? in
            try forEachEntryBackwards(of: record) { place, entry throws(LMDBError) in
                body(place, try entry.listElement(object: record.object, home: record.home))
            }
            return nil
        }
    }

    private func forEachEntryBackwards(
        of record: Record,
        _ body: (Int, TreeEntry) throws(LMDBError) -> Bool
    ) throws(LMDBError) {
        guard let root = ListRoot(record.payload), root.count == record.count else { throw .corrupted }
        let nodes = TreeRowReader(reader: self, object: record.object, home: record.home)
        var place = root.count - 1
        if root.tail.count > 0 {
            let leaf = try nodes.node(root.tail.node)
            guard leaf.count == root.tail.count else { throw .corrupted }
            for index in (0..<leaf.count).reversed() {
                guard try body(place, leaf.entry(at: index)) else { return }
                place -= 1
            }
        }
        var goesOn = true
        let tree = CountedTree(nodes, .list, root: root.tree)
        try tree.walkBackwards(from: root.tree.count - 1) { entry throws(LMDBError) in
            goesOn = try body(place, entry)
            place -= 1
            return goesOn
        }
        guard goesOn, root.head.count > 0 else { return }
        let leaf = try nodes.node(root.head.node)
        guard leaf.count == root.head.count else { throw .corrupted }
        for index in (0..<leaf.count).reversed() {
            guard try body(place, leaf.entry(at: index)) else { return }
            place -= 1
        }
    }

    /// Whether the bytes of an element are `bytes`.
    func equals(_ element: ElementBytes, _ bytes: ByteView) -> Bool {
        guard element.count == bytes.count else { return false }
        if let inline = element.inline { return inline == bytes }
        var offset = 0
        var isEqual = true
        forEachPiece(of: element) { piece in
            if isEqual { isEqual = bytes[offset..<(offset + piece.count)] == piece }
            offset += piece.count
        }
        return isEqual
    }
}
