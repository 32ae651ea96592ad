// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

public import Bytes
internal import LMDB

/// What adding members to a sorted set came to.
public struct SortedSetChange: Sendable {
    /// How many members are new.
    public internal(set) var added = 0
    /// How many members got another score.
    public internal(set) var updated = 0
    /// The score of the member that was named last.
    public internal(set) var score = 0.0
    /// Whether a sum was no number, with which nothing was done.
    public internal(set) var isNotANumber = false
}

/// Sorted sets: packed in the order of scores while they are small; then each member has a named row with its score,
/// and an entry in a counted tree, whose root is in the row of the key.
extension Keyspace {
    /// Gives `count` members of the sorted set `key`, which is made if it is missing, their scores; all of them, or
    /// none after a crash.
    ///
    /// `pair` returns a member and its score, which is never NaN, and may be asked repeatedly. The caller has checked
    /// the type. O(log n) for each member.
    ///
    /// - Parameters:
    ///   - increments: whether the scores are added to those that there are. A sum that is no number changes nothing
    ///     and ends it.
    ///   - limits: beyond them the sorted set counts as a skip list.
    /// - Throws: `KeyspaceError.failed`.
    public func setScores(
        _ key: ByteView,
        in database: Int,
        count: Int,
        increments: Bool = false,
        limits: EncodingLimits,
        _ pair: (Int) -> (score: Double, member: ByteView)
    ) throws(KeyspaceError) -> SortedSetChange {
        let staged = try stageElements(key, database, count) { pair($0).member }
        setTarget(key, database)
        return try change { () throws(LMDBError) in
            var result = SortedSetChange()
            var edit = try beginEdit(.sortedSet, staged: staged)
            // What begins beyond the limits does so even if its first member then turns out not to be needed.
            if edit.old == nil, limits.entries == 0 || pair(0).member.count > limits.bytes { edit.record.encoding = 1 }
            var root = TreeRoot()
            if !edit.isPacked { root = try storedRoot() }
            let before = root
            for number in 0..<count {
                let (score, member) = pair(number)
                result.score = score
                switch try setScore(&edit, &root, &result.score, member, increments, number) {
                case .added:
                    result.added += 1
                    edit.record.count += 1
                    if member.count > limits.bytes || edit.record.count > limits.entries { edit.record.encoding = 1 }
                case .updated: result.updated += 1
                case .same: break
                case .notANumber: result.isNotANumber = true
                }
                if result.isNotANumber { break }
            }
            if result.added + result.updated > 0 || edit.staged != nil {
                try finishSortedSet(&edit, root, isChanged: root != before, key, database)
            }
            return result
        }
    }

    /// Takes `count` members out of the sorted set `key`, and deletes the key with the last of them.
    ///
    /// The caller has checked the type. O(log n) for each.
    ///
    /// - Returns: how many of them there were.
    /// - Throws: `KeyspaceError.failed`.
    public func removeScored(
        _ key: ByteView,
        in database: Int,
        count: Int,
        _ member: (Int) -> ByteView
    ) throws(KeyspaceError) -> Int {
        setTarget(key, database)
        return try change { () throws(LMDBError) in
            var edit = try beginEdit(.sortedSet)
            let before = edit.record.count
            var root = TreeRoot()
            if !edit.isPacked { root = try storedRoot() }
            let stored = root
            for number in 0..<count where edit.record.count > 0 {
                try removeScored(&edit, &root, member(number))
            }
            let removed = before - edit.record.count
            if removed > 0 { try finishSortedSet(&edit, root, isChanged: root != stored, key, database) }
            return removed
        }
    }

    /// Takes the members at `positions`, which must be within the sorted set `key`, out of it, and deletes the key with
    /// the last of them.
    ///
    /// O(log n + positions), or O(1) if nothing is left.
    ///
    /// - Throws: `KeyspaceError.failed`.
    public func removeScored(
        _ key: ByteView,
        in database: Int,
        positions: Range<Int>
    ) throws(KeyspaceError) {
        guard !positions.isEmpty else { return }
        setTarget(key, database)
        try change { () throws(LMDBError) in
            var edit = try beginEdit(.sortedSet)
            precondition(positions.upperBound <= edit.record.count, "positions out of range")
            var root = TreeRoot()
            var isChanged = true
            if positions.count == edit.record.count {
                // The object goes as a whole.
            } else if edit.isPacked {
                var reader = PackedReader(packed.view)
                for _ in 0..<positions.lowerBound { _ = reader.nextScored() }
                let start = reader.offset
                for _ in positions { _ = reader.nextScored() }
                packed.remove(start..<reader.offset)
            } else {
                root = try storedRoot()
                let stored = root
                try remove(positions, &edit.record, &root)
                isChanged = root != stored
            }
            edit.record.count -= positions.count
            try finishSortedSet(&edit, root, isChanged: isChanged, key, database)
        }
    }

    // MARK: Both forms

    enum ScoreOutcome {
        case added
        case updated
        case same
        case notANumber
    }

    /// The root of the tree whose bytes are in `packed`.
    private func storedRoot() throws(LMDBError) -> TreeRoot {
        guard let root = TreeRoot(packed.view) else { throw .corrupted }
        return root
    }

    private func finishSortedSet(
        _ edit: inout CollectionEdit,
        _ root: TreeRoot,
        isChanged: Bool,
        _ key: ByteView,
        _ database: Int
    ) throws(LMDBError) {
        if isChanged { edit.isChanged = true }
        if edit.isPacked { return try finishEdit(&edit, key, database) }
        packed.write(length: TreeRoot.length) { root.write(to: &$0) }
        try finishEdit(&edit, key, database, payload: packed.view)
    }

    @inline(__always)
    private func setScore(
        _ edit: inout CollectionEdit,
        _ root: inout TreeRoot,
        _ score: inout Double,
        _ member: ByteView,
        _ increments: Bool,
        _ number: Int
    ) throws(LMDBError) -> ScoreOutcome {
        if edit.isPacked {
            if let outcome = packed.setScore(&score, member, increments) {
                if outcome == .added || outcome == .updated { edit.isChanged = true }
                return outcome
            }
            takeObject(&edit)
            try unpackScored(&edit.record, &root)
        }
        return try setScore(&edit.record, &root, &score, member, increments, edit.staged?.blob(number) ?? 0)
    }

    /// Moves the packed members, which are in `packed`, into rows of the record's new object.
    func unpackScored(_ record: inout Record, _ root: inout TreeRoot) throws(LMDBError) {
        var builder = TreeBuilder(TreeRows(self, record), .sortedSet)
        var reader = PackedReader(packed.view)
        while let (score, member) = reader.nextScored() {
            try withScoreBytes(score) { value throws(LMDBError) in _ = try putNamed(&record, member, value: value) }
            if member.count > LongMember.longestPlainMember {
                guard let row = self.reader.namedRow(member, in: record) else { throw .corrupted }
                let body = LongMember.body(of: member, blob: row.nameBlob)
                try ByteView.with(body) { body throws(LMDBError) in
                    let score = OrderedScore.number(score)
                    try builder.append(TreeEntry(score: score, body: body, isReference: true))
                }
            } else {
                try builder.append(TreeEntry(score: OrderedScore.number(score), body: member))
            }
        }
        let tree = try builder.finish()
        root = tree.root
        record.objectBytes += tree.nodeBalance * TreeRows.bytes
    }

    private func removeScored(
        _ edit: inout CollectionEdit,
        _ root: inout TreeRoot,
        _ member: ByteView
    ) throws(LMDBError) {
        if edit.isPacked {
            guard let found = PackedReader.findScored(member, in: packed.view) else { return }
            packed.remove(found.entry)
            edit.isChanged = true
        } else {
            guard let row = reader.namedRow(member, in: edit.record) else { return }
            guard let score = row.score else { throw .corrupted }
            try changeTree(&edit.record, &root) { tree throws(LMDBError) in try tree.remove(TreeKey(score, member)) }
            guard try removeNamed(&edit.record, member) else { throw .corrupted }
        }
        edit.record.count -= 1
    }

    // MARK: Rows

    @inline(__always)
    private func changeTree(
        _ record: inout Record,
        _ root: inout TreeRoot,
        _ body: (inout CountedTree<TreeRows>) throws(LMDBError) -> Void
    ) throws(LMDBError) {
        var tree = CountedTree(TreeRows(self, record), .sortedSet, root: root)
        try body(&tree)
        root = tree.root
        record.objectBytes += tree.nodeBalance * TreeRows.bytes
    }

    /// Sets the score of `member` in a sorted set in rows, or adds to it; `score` is the one that it has then.
    ///
    /// - Parameter staged: the blob of a long member that was written ahead, or 0.
    @inline(__always)
    func setScore(
        _ record: inout Record,
        _ root: inout TreeRoot,
        _ score: inout Double,
        _ member: ByteView,
        _ increments: Bool,
        _ staged: UInt64
    ) throws(LMDBError) -> ScoreOutcome {
        element.setNamed(object: record.object, name: member, hashKey: state.hashKey)
        guard !element.isLong else {
            return try setLongScore(&record, &root, &score, member, increments, staged)
        }
        var old: Double?
        let table = slotTables[Int(record.home)]
        let found = transaction.search(element.view, in: table, by: .behindTenBytes)
        if case .found(let stored, let isWritable) = found, let row = NamedRow(stored), row.rowLength == 9,
            let current = row.score, isWritable || !increments && score == current
        {
            old = current
            if increments { score += current }
            if score.isNaN { return .notANumber }
            if score == current { return .same }
            unsafe writeScore(UnsafeMutableRawBufferPointer(mutating: stored.rawBuffer), score)
        } else if case .missing(let gap?) = found,
            let memory = unsafe transaction.insert(element.view, count: 9, in: table, at: gap)
        {
            unsafe writeScore(memory, score)
            record.objectBytes += element.length + 9
        } else {
            let cursor = try transaction.cursor(table)
            defer { cursor.close() }
            var existing = ByteView()
            if let memory = unsafe try cursor.insert(element.view, count: 9, existing: &existing) {
                unsafe writeScore(memory, score)
                record.objectBytes += element.length + 9
            } else {
                guard let row = NamedRow(existing), row.rowLength == 9, let found = row.score else { throw .corrupted }
                old = found
                if increments { score += found }
                if score.isNaN { return .notANumber }
                if score == found { return .same }
                unsafe writeScore(try cursor.reserveCurrent(element.view, count: 9), score)
            }
        }
        let (new, key) = (OrderedScore.number(score), TreeKey(score, member))
        try changeTree(&record, &root) { tree throws(LMDBError) in
            if let old { try tree.remove(TreeKey(old, member)) }
            try tree.insert(TreeEntry(score: new, body: member), key: key)
        }
        return old == nil ? .added : .updated
    }

    @unsafe @inline(__always)
    private func writeScore(_ memory: UnsafeMutableRawBufferPointer, _ score: Double) {
        var writer = unsafe RowWriter(memory)
        writer.append(0)
        writer.append(littleEndian: score.bitPattern)
    }

    /// `setScore` for a member whose bytes are in a blob.
    private func setLongScore(
        _ record: inout Record,
        _ root: inout TreeRoot,
        _ score: inout Double,
        _ member: ByteView,
        _ increments: Bool,
        _ staged: UInt64
    ) throws(LMDBError) -> ScoreOutcome {
        let row = reader.namedRow(member, in: record)
        let old = row?.score
        if row != nil, old == nil { throw .corrupted }
        if increments, let old { score += old }
        if score.isNaN || score == old {
            if staged != 0 { try abandonStaged(blob: staged, object: record.object, home: record.home) }
            return score.isNaN ? .notANumber : .same
        }
        try withScoreBytes(score) { value throws(LMDBError) in
            _ = try putNamed(&record, member, value: value, nameBlob: staged)
        }
        guard let blob = reader.namedRow(member, in: record)?.nameBlob, blob != 0 else { throw .corrupted }
        let (new, key) = (OrderedScore.number(score), TreeKey(score, member))
        try ByteView.with(LongMember.body(of: member, blob: blob)) { body throws(LMDBError) in
            try changeTree(&record, &root) { tree throws(LMDBError) in
                if let old { try tree.remove(TreeKey(old, member)) }
                try tree.insert(TreeEntry(score: new, body: body, isReference: true), key: key)
            }
        }
        return old == nil ? .added : .updated
    }

    private func withScoreBytes(
        _ score: Double,
        _ body: (ByteView) throws(LMDBError) -> Void
    ) throws(LMDBError) {
        let bits = score.bitPattern
        try ByteView.with((0..<8).map { UInt8(truncatingIfNeeded: bits >> ($0 * 8)) }, body)
    }

    private func remove(
        _ positions: Range<Int>,
        _ record: inout Record,
        _ root: inout TreeRoot
    ) throws(LMDBError) {
        var tree = CountedTree(TreeRows(self, record), .sortedSet, root: root)
        try tree.remove(at: positions.lowerBound, count: positions.count) { entry throws(LMDBError) in
            if entry.isReference {
                let long = try LongMember(entry.body)
                let whole = ElementBytes(count: long.length, object: record.object, blob: long.blob, home: record.home)
                try ByteView.with(reader.bytes(of: whole)) { name throws(LMDBError) in
                    guard try removeNamed(&record, name) else { throw .corrupted }
                }
            } else {
                guard try removeNamed(&record, entry.body) else { throw .corrupted }
            }
        }
        root = tree.root
        record.objectBytes += tree.nodeBalance * TreeRows.bytes
    }
}

extension PackedReader {
    /// The next member of a sorted set and its score.
    @inline(__always)
    mutating func nextScored() -> (score: Double, member: ByteView)? {
        guard let bits = nextNumber(), let member = next() else { return nil }
        return (Double(bitPattern: bits), member)
    }

    /// The range of the entry of `member`, and its score.
    static func findScored(_ member: ByteView, in payload: ByteView) -> (entry: Range<Int>, score: Double)? {
        var reader = PackedReader(payload)
        while true {
            let start = reader.offset
            guard let found = reader.nextScored() else { return nil }
            if found.member == member { return (start..<reader.offset, found.score) }
        }
    }

    /// Where a member with this score belongs.
    static func place(_ score: Double, _ member: ByteView, in payload: ByteView) -> Int {
        var reader = PackedReader(payload)
        while true {
            let start = reader.offset
            guard let found = reader.nextScored() else { return start }
            if found.score > score || found.score == score && found.member.compare(member) > 0 { return start }
        }
    }
}

extension PackedElements {
    /// Sets the score of `member`, or adds to it; `score` is the one that it has then.
    ///
    /// - Returns: nil, with nothing changed, if there is no room for a new member.
    func setScore(_ score: inout Double, _ member: ByteView, _ increments: Bool) -> Keyspace.ScoreOutcome? {
        if let found = PackedReader.findScored(member, in: view) {
            if increments { score += found.score }
            if score.isNaN { return .notANumber }
            if score == found.score { return .same }
            remove(found.entry)
            insert(score.bitPattern, packing: member, at: PackedReader.place(score, member, in: view))
            return .updated
        }
        guard PackedElements.fits(length + 8 + PackedElements.packedLength(member.count)) else { return nil }
        insert(score.bitPattern, packing: member, at: PackedReader.place(score, member, in: view))
        return .added
    }
}
