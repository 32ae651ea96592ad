// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes

/// Walks a zipmap: the small hashes of Redis 2.4 and before.
///
/// Redis 2.8: zipmap.c.
///
/// A byte with the number of fields (254 or more: not known); for each the length and bytes of the field, the length
/// of the value, a byte with the number of unused bytes, the bytes of the value and the unused ones; at the end `FF`.
/// A length is a byte below 254, or 254 and u32 little-endian.
struct ZipmapReader {
    private let bytes: ByteView
    private var position = 1
    private var fields = 0

    /// The view is lent until the last call of `next`.
    init(_ bytes: ByteView) throws(PackedError) {
        guard bytes.count >= 2 else { throw PackedError(reason: "zipmap: too short", offset: 0) }
        guard bytes[bytes.count - 1] == 0xFF else {
            throw PackedError(reason: "zipmap: no end", offset: bytes.count - 1)
        }
        self.bytes = bytes
    }

    /// The number of fields, where the header says it.
    var declaredCount: Int? { bytes[0] < 254 ? Int(bytes[0]) : nil }

    /// The next field and its value, or nil at the end.
    mutating func next() throws(PackedError) -> (field: ByteView, value: ByteView)? {
        let limit = bytes.count - 1
        if position == limit {
            if let declaredCount, declaredCount != fields {
                throw PackedError(reason: "zipmap: its count is not that of its fields", offset: 0)
            }
            return nil
        }
        var cursor = position
        let fieldLength = try length(at: &cursor, limit: limit)
        guard fieldLength <= limit - cursor else { throw beyondEnd }
        let field = bytes[cursor..<cursor + fieldLength]
        cursor += fieldLength
        let valueLength = try length(at: &cursor, limit: limit)
        guard cursor < limit else { throw beyondEnd }
        let unused = Int(bytes[cursor])
        cursor += 1
        guard valueLength + unused <= limit - cursor else { throw beyondEnd }
        let value = bytes[cursor..<cursor + valueLength]
        position = cursor + valueLength + unused
        fields += 1
        return (field, value)
    }

    private func length(at cursor: inout Int, limit: Int) throws(PackedError) -> Int {
        guard cursor < limit else { throw beyondEnd }
        let first = bytes[cursor]
        cursor += 1
        if first < 254 { return Int(first) }
        guard first == 254 else { throw PackedError(reason: "zipmap: ends early", offset: cursor - 1) }
        guard limit - cursor >= 4 else { throw beyondEnd }
        defer { cursor += 4 }
        return Int(bytes.littleEndian(UInt32.self, at: cursor))
    }

    private var beyondEnd: PackedError {
        PackedError(reason: "zipmap: a field reaches beyond the end", offset: position)
    }
}
