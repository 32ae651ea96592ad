// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes

/// A set of integers: u32 width of each (2, 4 or 8 bytes), u32 number, then the integers in ascending order, all
/// little-endian.
///
/// Redis 2.8: intset.c.
struct IntsetReader {
    private let bytes: ByteView
    private let width: Int
    private var index = 0
    private var previous: Int64?
    /// The number of integers, which the length of the bytes confirms.
    let count: Int

    /// The view is lent until the last call of `next`.
    init(_ bytes: ByteView) throws(PackedError) {
        guard bytes.count >= 8 else { throw PackedError(reason: "intset: too short", offset: 0) }
        width = Int(bytes.littleEndian(UInt32.self, at: 0))
        count = Int(bytes.littleEndian(UInt32.self, at: 4))
        guard width == 2 || width == 4 || width == 8 else {
            throw PackedError(reason: "intset: unknown width", offset: 0)
        }
        guard bytes.count - 8 == width * count else {
            throw PackedError(reason: "intset: its count is not that of its bytes", offset: 4)
        }
        self.bytes = bytes
    }

    /// The next integer, or nil at the end.
    mutating func next() throws(PackedError) -> Int64? {
        guard index < count else { return nil }
        let offset = 8 + index * width
        let value: Int64 =
            switch width {
            case 2: Int64(bytes.littleEndian(Int16.self, at: offset))
            case 4: Int64(bytes.littleEndian(Int32.self, at: offset))
            default: bytes.littleEndian(Int64.self, at: offset)
            }
        if let previous, previous >= value { throw PackedError(reason: "intset: not ascending", offset: offset) }
        previous = value
        index += 1
        return value
    }
}

/// Makes an intset of integers that come in any order.
struct IntsetWriter {
    private var values: [Int64] = []

    /// Adds a member, which must be the canonical spelling of an integer.
    mutating func append(_ bytes: ByteView) throws(RDBError) {
        guard let value = Decimal.canonicalInteger(bytes) else {
            throw .unencodable("a member that is no integer in a set of integers")
        }
        values.append(value)
    }

    /// Writes the intset into `store`, whose content is dropped, with the least width that holds all; O(n log n).
    mutating func finish(in store: ByteStore) throws(RDBError) {
        store.removeAll()
        values.sort()
        let ends = [values.first, values.last].compactMap { $0 }
        let width =
            ends.allSatisfy { Int16(exactly: $0) != nil } ? 2 : ends.allSatisfy { Int32(exactly: $0) != nil } ? 4 : 8
        guard values.count <= Int(UInt32.max) else { throw .unencodable("too many members for a set of integers") }
        store.append(littleEndian: UInt32(width))
        store.append(littleEndian: UInt32(values.count))
        store.reserve(width * values.count)
        var previous: Int64?
        for value in values {
            guard previous != value else { throw .unencodable("a member twice in a set of integers") }
            previous = value
            switch width {
            case 2: store.append(littleEndian: Int16(truncatingIfNeeded: value))
            case 4: store.append(littleEndian: Int32(truncatingIfNeeded: value))
            default: store.append(littleEndian: value)
            }
        }
    }
}
