// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import LMDB

/// The elements of a value one after another: what DUMP, snapshots, replication and digests read.
extension RowReader {
    /// Calls `body` with each element of `record` from `position` on until it returns false.
    ///
    /// A string is one element. A list comes in its order, a sorted set by score; hashes and sets in the order of
    /// insertion while they are small, else in an order of their own. `body` must not change the keyspace; between two
    /// calls it may change, as long as the value does not, with `record` looked up again.
    ///
    /// - Returns: whether the end was reached.
    @discardableResult
    public func forEachElement(
        of record: Record,
        from position: inout ElementPosition,
        _ body: (ValueElement) -> Bool
    ) -> Bool {
        guard !position.isAtEnd else { return true }
        if record.type == .string {
            position.passed = 1
            position.isAtEnd = true
            _ = body(.string(record.stringBytes))
        } else if record.object == 0 {
            forEachPacked(record, &position, body)
        } else {
            forEachRow(record, &position, body)
        }
        return position.isAtEnd
    }

    /// Calls `body` with each element of `record`.
    public func forEachElement(of record: Record, _ body: (ValueElement) -> Void) {
        var position = ElementPosition()
        forEachElement(of: record, from: &position) {
            body($0)
            return true
        }
    }

    private func forEachPacked(_ record: Record, _ position: inout ElementPosition, _ body: (ValueElement) -> Bool) {
        var reader = PackedReader(record.payload)
        var index = 0
        while let element = reader.nextElement(of: record.type) {
            index += 1
            if index <= position.passed { continue }
            position.passed = index
            guard body(element) else {
                position.isAtEnd = reader.isAtEnd
                return
            }
        }
        position.isAtEnd = true
    }

    private func forEachRow(_ record: Record, _ position: inout ElementPosition, _ body: (ValueElement) -> Bool) {
        switch record.type {
        case .string: position.isAtEnd = true
        case .list: forEachListRow(record, &position, body)
        case .sortedSet:
            var passed = position.passed
            forEachScored(of: record, from: passed) { member, score in
                passed += 1
                return body(.scored(member, score: score))
            }
            position.passed = passed
            position.isAtEnd = passed >= record.count
        case .set, .hash: forEachNamed(record, &position, body)
        }
    }

    private func forEachNamed(_ record: Record, _ position: inout ElementPosition, _ body: (ValueElement) -> Bool) {
        var isAtEnd = true
        var passed = position.passed
        var lastRowKey: [UInt8] = []
        if position.lastRowKey.isEmpty {
            scratch.setElementPrefix(object: record.object, kind: ElementKind.named)
        } else {
            ByteView.with(position.lastRowKey) { scratch.set(copying: $0) }
        }
        walkNamed(record, from: scratch.view, skippingFirst: !position.lastRowKey.isEmpty) { key, row in
            guard let element = row.element(rowKey: key, of: record) else { return false }
            passed += 1
            if body(element) { return true }
            isAtEnd = false
            lastRowKey = Array(key)
            return false
        }
        position.passed = passed
        position.isAtEnd = isAtEnd
        position.lastRowKey = lastRowKey
    }

    /// Calls `body` with the rows of named elements from `start` on, which is in `scratch`, until it returns false.
    ///
    /// `skippingFirst` leaves out a row that has just this key.
    func walkNamed(
        _ record: Record,
        from start: ByteView,
        skippingFirst: Bool = false,
        _ body: (ByteView, NamedRow) -> Bool
    ) {
        _ = reading { () throws(LMDBError) -> Bool? in
            let cursor = try transaction.cursor(slotTables[Int(record.home)])
            defer { cursor.close() }
            var row = try cursor.seek(start)
            if skippingFirst, let found = row, found.key == start { row = try cursor.next() }
            while let found = row, found.key.isElement(of: record.object, kind: ElementKind.named) {
                guard let named = NamedRow(found.value) else { throw .corrupted }
                guard body(found.key, named) else { break }
                row = try cursor.next()
            }
            return nil
        }
    }

    // MARK: Scanning

    /// Calls `body` with about `count` elements of a hash, set or sorted set from the place `cursor` on, and returns
    /// the next place, or 0 at the end.
    ///
    /// A place is the upper 63 bits of the hash of a name, so an element that stays is met exactly once. A small
    /// collection comes as a whole. `body` must not change the keyspace.
    public func scan(_ cursor: UInt64, of record: Record, count: Int, _ body: (ValueElement) -> Void) -> UInt64 {
        if record.object == 0 {
            forEachElement(of: record, body)
            return 0
        }
        guard cursor < 1 << 63 else { return 0 }
        var wanted = max(1, count)
        var last = cursor
        var next: UInt64 = 0
        scratch.setNamedPosition(object: record.object, hash: cursor << 1)
        walkNamed(record, from: scratch.view) { key, row in
            let place = key.bigEndian(UInt64.self, at: RowKeyLayout.elementPrefixLength) >> 1
            if wanted <= 0, place != last {
                next = last + 1
                return false
            }
            guard let element = row.element(rowKey: key, of: record) else { return false }
            last = place
            wanted -= 1
            body(element)
            return true
        }
        return next
    }

    // MARK: Choosing at random

    /// How many elements an interval has on average, and how many are looked at of one; a collection of no more than
    /// those is one interval.
    ///
    /// Those beyond would never be chosen, but of intervals with so many there is one in 10^10.
    private static let meanOfInterval = 64
    private static let mostOfInterval = 128

    /// An element of a hash, set or sorted set, each as likely as any other; nil if there is none.
    ///
    /// Expected O(log n).
    public func randomElement(
        of record: Record,
        using generator: inout some RandomNumberGenerator
    ) -> ValueElement? {
        guard record.count > 0 else { return nil }
        if record.object == 0 { return element(Int.random(in: 0..<record.count, using: &generator), of: record) }
        return reading { () throws(LMDBError) in
            let cursor = try transaction.cursor(slotTables[Int(record.home)])
            defer { cursor.close() }
            guard let row = try randomRow(of: record, cursor, using: &generator), let named = NamedRow(row.value)
            else { throw .corrupted }
            return named.element(rowKey: row.key, of: record)
        }
    }

    /// Places `cursor`, which is on the table of the record's rows, on one of those of its named elements, each as
    /// likely as any other, and returns it; nil if there is none.
    ///
    /// The hashes of names are spread evenly, so of intervals of equal width one is chosen at random, and of its
    /// elements one with the same chance for each, or none, and then another interval: every second time on average.
    func randomRow(
        of record: Record,
        _ cursor: Cursor,
        using generator: inout some RandomNumberGenerator
    ) throws(LMDBError) -> Cursor.Row? {
        let isWhole = record.count <= RowReader.mostOfInterval
        let most = isWhole ? record.count : RowReader.mostOfInterval
        let intervals = isWhole ? 1 : UInt64(record.count / RowReader.meanOfInterval + 1)
        let width = UInt64.max / intervals
        for _ in 0..<10_000 {
            let number = UInt64.random(in: 0..<intervals, using: &generator)
            let last = number == intervals - 1 ? UInt64.max : (number + 1) * width - 1
            let skipped = Int.random(in: 0..<most, using: &generator)
            if let row = try row(skipped, of: record, in: number * width...last, cursor) { return row }
        }
        return try row(0, of: record, in: 0...UInt64.max, cursor)
    }

    /// The row of the named element that `skipped` others precede of those whose hashes are in `hashes`.
    private func row(
        _ skipped: Int,
        of record: Record,
        in hashes: ClosedRange<UInt64>,
        _ cursor: Cursor
    ) throws(LMDBError) -> Cursor.Row? {
        scratch.setNamedPosition(object: record.object, hash: hashes.lowerBound)
        guard let first = try cursor.seek(scratch.view) else { return nil }
        return try cursor.skip(skipped, from: first, pageSize: pageSize) { key in
            key.isElement(of: record.object, kind: ElementKind.named)
                && key.bigEndian(UInt64.self, at: RowKeyLayout.elementPrefixLength) <= hashes.upperBound
        }
    }

    /// The element that `index` others precede in the order of the walk.
    private func element(_ index: Int, of record: Record) -> ValueElement? {
        var left = index
        var chosen: ValueElement?
        var position = ElementPosition()
        forEachElement(of: record, from: &position) {
            if left == 0 { chosen = $0 }
            left -= 1
            return left >= 0
        }
        return chosen
    }
}

extension PackedReader {
    /// The next element of a collection of `type`.
    mutating func nextElement(of type: ValueType) -> ValueElement? {
        switch type {
        case .string: return nil
        case .list: return next().map { .element(ElementBytes($0)) }
        case .set: return next().map { .member(ElementBytes($0)) }
        case .hash:
            guard let field = next(), let value = next() else { return nil }
            return .field(ElementBytes(field), value: ElementBytes(value))
        case .sortedSet:
            guard let score = nextNumber(), let member = next() else { return nil }
            return .scored(ElementBytes(member), score: Double(bitPattern: score))
        }
    }
}

extension NamedRow {
    /// The element whose row this is under `rowKey`; nil if it cannot be one of the record's type.
    func element(rowKey: ByteView, of record: Record) -> ValueElement? {
        let name = name(rowKey: rowKey, object: record.object, home: record.home)
        switch record.type {
        case .set: return .member(name)
        case .hash: return .field(name, value: value(object: record.object, home: record.home))
        case .sortedSet: return score.map { .scored(name, score: $0) }
        case .string, .list: return nil
        }
    }
}

extension ByteView {
    /// Whether a row key is that of an element row of `object` and `kind`.
    @inline(__always)
    func isElement(of object: UInt64, kind: UInt8) -> Bool {
        count >= RowKeyLayout.elementPrefixLength && self[0] == RowKeyLayout.elementMark
            && bigEndian(UInt64.self, at: 1) == object && self[9] == kind
    }
}
