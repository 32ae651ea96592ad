// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

public import Bytes
internal import LMDB

/// A range of scores, as ZRANGEBYSCORE has it.
public struct ScoreRange: Sendable {
    /// The lowest score.
    public var minimum: Double
    /// The highest score.
    public var maximum: Double
    /// Whether the lowest score itself is left out.
    public var excludesMinimum = false
    /// Whether the highest score itself is left out.
    public var excludesMaximum = false

    /// The range from `minimum` to `maximum`, both included.
    public init(_ minimum: Double, _ maximum: Double) {
        self.minimum = minimum
        self.maximum = maximum
    }
}

/// An end of a range of members, as ZRANGEBYLEX has it.
public enum MemberBound {
    /// Before all members.
    case lowest
    /// Behind all members.
    case highest
    /// At this member, which belongs to the range.
    case including(ByteView)
    /// At this member, which does not.
    case excluding(ByteView)
}

/// What is asked of sorted sets; all of it O(log n), or O(length) for a small one.
extension RowReader {
    private func tree(_ record: Record) throws(LMDBError) -> CountedTree<TreeRowReader> {
        let rows = TreeRowReader(reader: self, object: record.object, home: record.home)
        guard record.object != 0 else { return CountedTree(rows, .sortedSet, root: TreeRoot()) }
        guard let root = TreeRoot(record.payload) else { throw .corrupted }
        return CountedTree(rows, .sortedSet, root: root)
    }

    /// The score of `member`, if it is there.
    @inline(__always)
    public func score(of member: ByteView, in record: Record) -> Double? {
        if record.object == 0 { return PackedReader.findScored(member, in: record.payload)?.score }
        return namedRow(member, in: record)?.score
    }

    /// How many members are before `member`, which is there with `score`.
    public func position(of member: ByteView, score: Double, in record: Record) -> Int {
        let key = TreeKey(score, member)
        return positions(record) { tree, entry throws(LMDBError) in try tree.compare(entry, key) < 0 }
    }

    /// The positions of the members whose scores are in `range`.
    public func positions(of range: ScoreRange, in record: Record) -> Range<Int> {
        guard range.minimum <= range.maximum else { return 0..<0 }
        let first = positions(record) { _, entry in
            let score = OrderedScore.score(entry.score)
            return range.excludesMinimum ? score <= range.minimum : score < range.minimum
        }
        let end = positions(record) { _, entry in
            let score = OrderedScore.score(entry.score)
            return range.excludesMaximum ? score < range.maximum : score <= range.maximum
        }
        return first..<max(first, end)
    }

    /// The positions of the members from `first` to `last`, when all have the same score.
    public func positions(from first: MemberBound, to last: MemberBound, in record: Record) -> Range<Int> {
        let start = position(of: first, isEnd: false, in: record)
        let end = position(of: last, isEnd: true, in: record)
        return start..<max(start, end)
    }

    private func position(of bound: MemberBound, isEnd: Bool, in record: Record) -> Int {
        switch bound {
        case .lowest: return 0
        case .highest: return record.count
        case .including(let member), .excluding(let member):
            // What is equal is before the end of a range that has it, and before the start of one that has it not.
            let limit =
                if case .including = bound { isEnd ? 0 : -1 } else { isEnd ? -1 : 0 }
            return positions(record) { tree, entry throws(LMDBError) in
                let order = try tree.compareMember(entry, member)
                return order < 0 || order == 0 && limit == 0
            }
        }
    }

    /// How many entries there are before the first for which `isBefore` does not hold.
    @inline(__always)
    private func positions(
        _ record: Record,
        where isBefore: (borrowing CountedTree<TreeRowReader>, TreeEntry) throws(LMDBError) -> Bool
    ) -> Int {
        reading { () throws(LMDBError) -> Int? in
            let tree = try tree(record)
            guard record.object == 0 else {
                return try tree.position { entry throws(LMDBError) in try isBefore(tree, entry) }
            }
            var reader = PackedReader(record.payload)
            var position = 0
            while let (score, member) = reader.nextScored(),
                try isBefore(tree, TreeEntry(score: OrderedScore.number(score), body: member))
            {
                position += 1
            }
            return position
        } ?? 0
    }

    /// Calls `body` with members and their scores from `position` on, in order or backwards, until it returns false.
    ///
    /// O(log n + members). `body` must not change the keyspace.
    public func forEachScored(
        of record: Record,
        from position: Int,
        backwards: Bool = false,
        _ body: (ElementBytes, Double) -> Bool
    ) {
        if record.object == 0 { return forEachPackedScored(record, position, backwards, body) }
        _ = reading { () throws(LMDBError) -> Bool? in
            let tree = try tree(record)
            if backwards {
                try tree.walkBackwards(from: position) { entry throws(LMDBError) in
                    body(try bytes(of: entry, record), OrderedScore.score(entry.score))
                }
            } else {
                try tree.walk(from: position) { entry throws(LMDBError) in
                    body(try bytes(of: entry, record), OrderedScore.score(entry.score))
                }
            }
            return nil
        }
    }

    @inline(__always)
    private func bytes(of entry: TreeEntry, _ record: Record) throws(LMDBError) -> ElementBytes {
        guard entry.isReference else { return ElementBytes(entry.body) }
        let long = try LongMember(entry.body)
        return ElementBytes(count: long.length, object: record.object, blob: long.blob, home: record.home)
    }

    private func forEachPackedScored(
        _ record: Record,
        _ position: Int,
        _ backwards: Bool,
        _ body: (ElementBytes, Double) -> Bool
    ) {
        var reader = PackedReader(record.payload)
        if !backwards {
            for _ in 0..<position { _ = reader.nextScored() }
            while let (score, member) = reader.nextScored(), body(ElementBytes(member), score) {}
            return
        }
        var found: [(score: Double, member: ByteView)] = []
        found.reserveCapacity(record.count)
        while found.count <= position, let next = reader.nextScored() { found.append(next) }
        while let (score, member) = found.popLast(), body(ElementBytes(member), score) {}
    }

    // MARK: The check

    /// Compares the tree of a sorted set in rows with the rows of its members; returns what is wrong, and how many
    /// nodes there are.
    func checkSortedSet(_ record: Record) throws(LMDBError) -> (problems: [String], nodes: Int) {
        guard TreeRoot(record.payload) != nil, record.payload.count == TreeRoot.length else {
            return (["has no root of a tree"], 0)
        }
        let tree = try tree(record)
        var strangers = 0
        let checked = try tree.check { entry throws(LMDBError) in
            let member = try bytes(of: entry, record)
            let row = ByteView.with(self.bytes(of: member)) { self.namedRow($0, in: record) }
            let score = row?.score?.bitPattern
            if score != OrderedScore.score(entry.score).bitPattern { strangers += 1 }
            if entry.isReference, try LongMember(entry.body).blob != row?.nameBlob { strangers += 1 }
        }
        var problems = checked.problems
        if strangers > 0 { problems.append("\(strangers) entries of its tree are not as its members' rows") }
        if tree.count != record.count { problems.append("its tree has \(tree.count) entries") }
        return (problems, checked.nodes.count)
    }
}
