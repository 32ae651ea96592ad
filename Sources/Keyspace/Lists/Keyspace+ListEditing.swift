// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

public import Bytes
internal import LMDB

/// Where an element is put with regard to another.
public enum ListPlace: Sendable {
    /// Towards the head.
    case before
    /// Towards the tail.
    case after
}

/// Lists anywhere but at their ends.
extension Keyspace {
    /// Puts `bytes` in the place of the element at `position`, which must be there.
    ///
    /// `bytes` must not be a view of a stored value. O(log n).
    ///
    /// - Throws: `KeyspaceError.failed`.
    public func setElement(
        _ key: ByteView,
        in database: Int,
        at position: Int,
        limits: EncodingLimits,
        to bytes: ByteView
    ) throws(KeyspaceError) {
        let staged = try stageElements(key, database, 1) { _ in bytes }
        setTarget(key, database)
        try change { () throws(LMDBError) in
            var edit = try beginEdit(.list, staged: staged)
            guard edit.old != nil, position < edit.record.count else { throw .corrupted }
            edit.note(bytes, limits)
            if edit.isPacked {
                let range = packed.element(at: position)
                if PackedElements.fits(packed.length - range.count + PackedElements.packedLength(bytes.count)) {
                    packed.replace(range, packing: bytes)
                    edit.isChanged = true
                    return try finishEdit(&edit, key, database)
                }
            }
            var rows = edit.isPacked ? try unpackList(&edit) : try listRows(edit)
            let (object, home) = (edit.record.object, edit.record.home)
            var long: ElementBytes?
            try withEntry(bytes, staged: staged?.blob(0) ?? 0, &edit) { entry throws(LMDBError) in
                try rows.replace(at: position, with: entry) { old throws(LMDBError) in
                    if old.isReference { long = try old.listElement(object: object, home: home) }
                }
            }
            if let long { try letGo(blob: long.blob, length: long.count, &edit.record) }
            try finishList(&edit, &rows, key, database)
        }
    }

    /// Puts `bytes` before or after the first element that equals `pivot`.
    ///
    /// Neither may be a view of a stored value. O(n) to find it, O(log n) to change the list.
    ///
    /// - Returns: how many elements the list has now, nil if there is no such element and nothing was changed.
    /// - Throws: `KeyspaceError.failed`.
    public func insertElement(
        _ key: ByteView,
        in database: Int,
        _ place: ListPlace,
        pivot: ByteView,
        limits: EncodingLimits,
        _ bytes: ByteView
    ) throws(KeyspaceError) -> Int? {
        guard let record = find(key, in: database) else { return nil }
        guard let found = places(of: pivot, in: record, from: .head, limit: 1).first else { return nil }
        let position = place == .before ? found : found + 1
        let staged = try stageElements(key, database, 1) { _ in bytes }
        setTarget(key, database)
        return try change { () throws(LMDBError) in
            var edit = try beginEdit(.list, staged: staged)
            edit.note(bytes, limits)
            edit.record.count += 1
            edit.applyLimit(limits)
            if edit.isPacked, PackedElements.fits(packed.length + PackedElements.packedLength(bytes.count)) {
                let start = position == edit.record.count - 1 ? packed.length : packed.element(at: position).lowerBound
                packed.replace(start..<start, packing: bytes)
                edit.isChanged = true
                try finishEdit(&edit, key, database)
                return edit.record.count
            }
            var rows = edit.isPacked ? try unpackList(&edit) : try listRows(edit)
            try withEntry(bytes, staged: staged?.blob(0) ?? 0, &edit) { entry throws(LMDBError) in
                try rows.insert(entry, at: position)
            }
            try finishList(&edit, &rows, key, database)
            return edit.record.count
        }
    }

    /// Takes elements that equal `bytes` out of the list `key`: the first `limit` ones seen from an end.
    ///
    /// The key must be there, and goes with its last element. O(n), and O(log n) for each run of neighbours that goes.
    ///
    /// - Returns: how many went.
    /// - Throws: `KeyspaceError.failed`.
    public func removeElements(
        _ key: ByteView,
        in database: Int,
        equalTo bytes: ByteView,
        from end: ListEnd,
        limit: Int
    ) throws(KeyspaceError) -> Int {
        guard let record = find(key, in: database) else { return 0 }
        let places = places(of: bytes, in: record, from: end, limit: limit)
        guard !places.isEmpty else { return 0 }
        try editRanges(key, database, PlaceRuns(places))
        return places.count
    }

    /// Takes everything but the elements in `range` out of the list `key`, which must be there and have those; with
    /// none of them the key goes.
    ///
    /// In time that follows from the lesser of what goes and what stays, as far as no long elements stay.
    ///
    /// - Throws: `KeyspaceError.failed`.
    public func trimList(_ key: ByteView, in database: Int, to range: Range<Int>) throws(KeyspaceError) {
        guard let record = find(key, in: database) else { return }
        guard !range.isEmpty else {
            _ = try remove(key, in: database)
            return
        }
        let going = record.count - range.count
        if record.object != 0, going > Keyspace.fewElements, range.count < going / 4,
            let kept = shortElements(of: record, in: range)
        {
            return try replaceElements(key, database, kept)
        }
        try editRanges(key, database, PlaceRuns(0..<range.lowerBound, range.upperBound..<record.count))
    }

    /// Up to so many elements are taken out rather than a list being built anew without them.
    private static let fewElements = 2000

    // MARK: Parts

    /// Where the first elements are, seen from an end, that equal `bytes`: at most `limit`, in the order met.
    private func places(of bytes: ByteView, in record: Record, from end: ListEnd, limit: Int) -> [Int] {
        var places: [Int] = []
        switch end {
        case .head:
            var place = 0
            reader.forEachListElement(of: record, in: 0..<record.count) { element in
                if reader.equals(element, bytes) { places.append(place) }
                place += 1
                return places.count < limit
            }
        case .tail:
            reader.forEachListElementBackwards(of: record) { place, element in
                if reader.equals(element, bytes) { places.append(place) }
                return places.count < limit
            }
        }
        return places
    }

    /// Takes the elements in `runs` out.
    private func editRanges(_ key: ByteView, _ database: Int, _ runs: PlaceRuns) throws(KeyspaceError) {
        setTarget(key, database)
        try change { () throws(LMDBError) in
            var edit = try beginEdit(.list)
            guard edit.old != nil else { throw .corrupted }
            edit.record.count -= runs.count
            if edit.isPacked {
                for run in runs.fromTheLast {
                    packed.remove(packed.elements(run))
                    edit.isChanged = true
                }
                return try finishEdit(&edit, key, database)
            }
            if edit.record.count == 0 { return try finishEdit(&edit, key, database) }
            var rows = try listRows(edit)
            let (object, home) = (edit.record.object, edit.record.home)
            var record = edit.record
            for run in runs.fromTheLast {
                try rows.remove(run) { entry throws(LMDBError) in
                    guard entry.isReference else { return }
                    let long = try entry.listElement(object: object, home: home)
                    try letGo(blob: long.blob, length: long.count, &record)
                }
            }
            edit.record = record
            try finishList(&edit, &rows, key, database)
        }
    }

    /// The elements in `range` one after another, each with its length before it; nil if one of them is long.
    private func shortElements(of record: Record, in range: Range<Int>) -> [[UInt8]]? {
        var elements: [[UInt8]] = []
        var areShort = true
        reader.forEachListElement(of: record, in: range) { element in
            guard let bytes = element.inline else {
                areShort = false
                return false
            }
            elements.append(Array(bytes))
            return true
        }
        return areShort ? elements : nil
    }

    /// Gives the list other rows with just these elements, and lets go of the old ones.
    private func replaceElements(_ key: ByteView, _ database: Int, _ elements: [[UInt8]]) throws(KeyspaceError) {
        setTarget(key, database)
        try change { () throws(LMDBError) in
            var edit = try beginEdit(.list)
            takeObject(&edit)
            edit.record.count = elements.count
            var rows = ListRows(TreeRows(self, edit.record), ListRoot())
            for element in elements {
                try ByteView.with(element) { bytes throws(LMDBError) in
                    try rows.push(TreeEntry(body: bytes), at: .tail)
                }
            }
            try finishList(&edit, &rows, key, database)
        }
    }
}

/// Places of a list as runs of neighbours.
private struct PlaceRuns {
    /// The runs in ascending order; some may be empty.
    private var runs: [Range<Int>] = []
    /// How many places there are.
    private(set) var count = 0

    /// The runs of places that ascend or descend.
    init(_ places: [Int]) {
        count = places.count
        let isAscending = places.count < 2 || places[0] < places[1]
        func add(_ place: Int) {
            if let last = runs.last, last.upperBound == place {
                runs[runs.count - 1] = last.lowerBound..<(place + 1)
            } else {
                runs.append(place..<(place + 1))
            }
        }
        if isAscending { places.forEach(add) } else { places.reversed().forEach(add) }
    }

    /// Two runs, the first before the second.
    init(_ first: Range<Int>, _ second: Range<Int>) {
        runs = [first, second].filter { !$0.isEmpty }
        count = first.count + second.count
    }

    /// The runs from the last to the first, so that taking one out moves none of those to come.
    var fromTheLast: some Sequence<Range<Int>> { runs.reversed() }
}

extension PackedElements {
    /// Where the element at `position` is packed, which must be there, with its length.
    func element(at position: Int) -> Range<Int> { elements(position..<(position + 1)) }

    /// Where the elements at `positions` are packed.
    func elements(_ positions: Range<Int>) -> Range<Int> {
        var reader = PackedReader(view)
        for _ in 0..<positions.lowerBound { _ = reader.next() }
        let start = reader.offset
        for _ in positions { _ = reader.next() }
        return start..<reader.offset
    }
}
