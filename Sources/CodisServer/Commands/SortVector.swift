// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import Glibc
internal import Keyspace
internal import RESP

/// The elements that SORT sorts, copied, with what they are compared by.
struct SortVector {
    private struct Entry {
        /// Where the element is in `bytes`.
        var element: Range<Int>
        /// What it weighs as a number.
        var score = 0.0
        /// Where its weight is in `bytes`, if it has one that is a text.
        var weight: Range<Int>?
        /// Its place before the sorting.
        var place: Int
    }

    private var entries: [Entry] = []
    /// The elements, and the weights that are texts, one after another.
    private var bytes: [UInt8] = []

    /// How many elements there are.
    var count: Int { entries.count }

    /// Calls `body` with the element at `index`.
    func withElement<Failure: Error>(_ index: Int, _ body: (ByteView) throws(Failure) -> Void) throws(Failure) {
        try ByteView.with(bytes) { bytes throws(Failure) in try body(bytes[entries[index].element]) }
    }

    // MARK: Loading

    /// Takes the elements of `record`; only those in `range` if they stay in their order.
    mutating func load(_ record: Record, _ range: Range<Int>, _ options: SortOptions, _ reader: RowReader) {
        if record.type == .list {
            // The order of a list is not turned by DESC.
            reader.forEachListElement(of: record, in: options.keepsOrder ? range : 0..<record.count) { element in
                append(element, reader)
                return true
            }
            return
        }
        guard options.keepsOrder else {
            reader.forEachElement(of: record) { append($0, reader) }
            return
        }
        let isTurned = record.type == .sortedSet && options.isDescending
        let wanted = isTurned ? (record.count - range.upperBound)..<(record.count - range.lowerBound) : range
        var position = ElementPosition()
        var place = 0
        reader.forEachElement(of: record, from: &position) { element in
            if place >= wanted.lowerBound { append(element, reader) }
            place += 1
            return place < wanted.upperBound
        }
        if isTurned { entries.reverse() }
    }

    private mutating func append(_ element: ValueElement, _ reader: RowReader) {
        switch element {
        case .element(let bytes), .member(let bytes), .scored(let bytes, _): append(bytes, reader)
        case .string, .field: break
        }
    }

    private mutating func append(_ element: ElementBytes, _ reader: RowReader) {
        let start = bytes.count
        reader.forEachPiece(of: element) { bytes.append(contentsOf: $0) }
        entries.append(Entry(element: start..<bytes.count, place: entries.count))
    }

    // MARK: Weights

    /// Finds out what each element is compared by; false if one should be a number and is none.
    ///
    /// `lookup` returns what a pattern leads to, copied, because looking up may change what is stored.
    mutating func weigh(_ options: SortOptions, _ lookup: (SortPattern, ByteView) -> [UInt8]?) -> Bool {
        if options.isAlphabetic, options.weight == nil { return true }
        var areNumbers = true
        for index in entries.indices {
            guard let pattern = options.weight else {
                ByteView.with(bytes) { bytes in
                    if let score = SortNumber.parse(bytes[entries[index].element]) {
                        entries[index].score = score
                    } else {
                        areNumbers = false
                    }
                }
                continue
            }
            let weight = ByteView.with(bytes) { lookup(pattern, $0[entries[index].element]) }
            guard let weight else { continue }
            if options.isAlphabetic {
                entries[index].weight = bytes.count..<(bytes.count + weight.count)
                bytes.append(contentsOf: weight)
            } else if let score = ByteView.with(weight, { SortNumber.parse($0) }) {
                entries[index].score = score
            } else {
                areNumbers = false
            }
        }
        return areNumbers
    }

    // MARK: Order

    /// Sorts the elements: by number and then by their bytes, or by text.
    ///
    /// What is the same stays as it was.
    mutating func sort(_ options: SortOptions) {
        let isDescending = options.isDescending
        let isAlphabetic = options.isAlphabetic
        let hasWeights = options.weight != nil
        ByteView.with(bytes) { bytes in
            entries.sort { left, right in
                var order = 0
                if !isAlphabetic {
                    if left.score != right.score { return (left.score < right.score) != isDescending }
                    order = bytes[left.element].order(before: bytes[right.element])
                } else if hasWeights {
                    switch (left.weight, right.weight) {
                    case (nil, nil): order = 0
                    case (nil, _): order = -1
                    case (_, nil): order = 1
                    case (let first?, let second?): order = bytes[first].order(before: bytes[second])
                    }
                } else {
                    order = bytes[left.element].order(before: bytes[right.element])
                }
                return order == 0 ? left.place < right.place : (order < 0) != isDescending
            }
        }
    }

    /// Leaves out all but the elements in `range`.
    mutating func keep(_ range: Range<Int>) {
        entries = Array(entries[min(range.lowerBound, entries.count)..<min(range.upperBound, entries.count)])
    }
}

extension ByteView {
    /// Less than 0, 0 or more than 0, as `memcmp` tells it; of two that begin alike the shorter comes first.
    fileprivate func order(before other: ByteView) -> Int {
        let shared = Swift.min(count, other.count)
        if shared > 0 {
            let order = unsafe memcmp(
                rawBuffer.baseAddress.unsafelyUnwrapped,
                other.rawBuffer.baseAddress.unsafelyUnwrapped,
                shared
            )
            if order != 0 { return Int(order) }
        }
        return count - other.count
    }
}

/// Reads numbers as `strtod` does.
private enum SortNumber {
    /// The number that `bytes` spell: blanks before it, hexadecimal and `inf` are allowed, and no bytes at all are 0;
    /// nil for what is none, is NaN, or is too large or too small.
    static func parse(_ bytes: ByteView) -> Double? {
        if let integer = DecimalNumber.canonical(bytes) { return Double(integer) }
        return unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: bytes.count + 1) { text in
            for index in 0..<bytes.count { unsafe text[index] = CChar(bitPattern: bytes[index]) }
            unsafe text[bytes.count] = 0
            var end: UnsafeMutablePointer<CChar>?
            errno = 0
            let value = unsafe strtod(text.baseAddress.unsafelyUnwrapped, &end)
            // A zero byte ends the number, as it ends every text of C.
            guard errno != ERANGE, unsafe end.unsafelyUnwrapped.pointee == 0, !value.isNaN else { return nil }
            return value
        }
    }
}
