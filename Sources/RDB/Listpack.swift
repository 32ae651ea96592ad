// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes

/// The packed list of Redis 7.
///
/// listpack.c of Redis 7.0.
///
/// Little-endian: u32 bytes in all, u16 number of entries (65535: not known), the entries, `FF`. An entry ends with
/// its own length, in one to five bytes of seven bits.
enum Listpack {
    static let headerLength = 6
    static let end: UInt8 = 0xFF
    static let unknownCount = 0xFFFF
}

/// Walks a listpack from head to tail and believes nothing in it.
struct ListpackReader {
    private let bytes: ByteView
    private var position = Listpack.headerLength
    private var entries = 0

    /// The view is lent until the last call of `next`.
    init(_ bytes: ByteView) throws(PackedError) {
        guard bytes.count > Listpack.headerLength else { throw PackedError(reason: "listpack: too short", offset: 0) }
        guard Int(bytes.littleEndian(UInt32.self, at: 0)) == bytes.count else {
            throw PackedError(reason: "listpack: its length is not that of its bytes", offset: 0)
        }
        guard bytes[bytes.count - 1] == Listpack.end else {
            throw PackedError(reason: "listpack: no end", offset: bytes.count - 1)
        }
        self.bytes = bytes
    }

    /// The number of entries, where the header says it.
    var declaredCount: Int? {
        let count = Int(bytes.littleEndian(UInt16.self, at: 4))
        return count == Listpack.unknownCount ? nil : count
    }

    /// The next entry, or nil at the end.
    mutating func next() throws(PackedError) -> PackedEntry? {
        let limit = bytes.count - 1
        let start = position
        if start == limit {
            if let declaredCount, declaredCount != entries {
                throw PackedError(reason: "listpack: its count is not that of its entries", offset: 4)
            }
            return nil
        }
        var cursor = start
        let entry = try content(at: &cursor, limit: limit)
        try checkBackLength(of: cursor - start, at: &cursor, limit: limit)
        position = cursor
        entries += 1
        return entry
    }

    private func content(at cursor: inout Int, limit: Int) throws(PackedError) -> PackedEntry {
        let start = cursor
        let encoding = bytes[cursor]
        cursor += 1
        let length: Int
        switch encoding {
        case 0x00...0x7F:
            return .integer(Int64(encoding))
        case 0x80...0xBF:
            length = Int(encoding & 0x3F)
        case 0xC0...0xDF:
            guard limit - cursor >= 1 else { throw beyondEnd(start) }
            let raw = Int64(encoding & 0x1F) << 8 | Int64(bytes[cursor])
            cursor += 1
            return .integer(raw >= 4096 ? raw - 8192 : raw)
        case 0xE0...0xEF:
            guard limit - cursor >= 1 else { throw beyondEnd(start) }
            length = Int(encoding & 0x0F) << 8 | Int(bytes[cursor])
            cursor += 1
        case 0xF0:
            guard limit - cursor >= 4 else { throw beyondEnd(start) }
            length = Int(bytes.littleEndian(UInt32.self, at: cursor))
            cursor += 4
        default:
            return .integer(try integer(encoding, at: &cursor, limit: limit))
        }
        guard length <= limit - cursor else { throw beyondEnd(start) }
        defer { cursor += length }
        return .bytes(bytes[cursor..<cursor + length])
    }

    private func integer(_ encoding: UInt8, at cursor: inout Int, limit: Int) throws(PackedError) -> Int64 {
        let start = cursor - 1
        let size =
            switch encoding {
            case 0xF1: 2
            case 0xF2: 3
            case 0xF3: 4
            case 0xF4: 8
            default: throw PackedError(reason: "listpack: unknown encoding", offset: start)
            }
        guard size <= limit - cursor else { throw beyondEnd(start) }
        defer { cursor += size }
        return switch size {
        case 2: Int64(bytes.littleEndian(Int16.self, at: cursor))
        case 3: bytes.littleEndian24(at: cursor)
        case 4: Int64(bytes.littleEndian(Int32.self, at: cursor))
        default: bytes.littleEndian(Int64.self, at: cursor)
        }
    }

    /// The length of the entry, its most significant seven bits first; all bytes but the first have their top bit set.
    private func checkBackLength(of length: Int, at cursor: inout Int, limit: Int) throws(PackedError) {
        let size =
            switch length {
            case ...127: 1
            case ..<16_383: 2
            case ..<2_097_151: 3
            case ..<268_435_455: 4
            default: 5
            }
        guard size <= limit - cursor else { throw beyondEnd(cursor) }
        for index in 0..<size {
            let digit = UInt8(length >> (7 * (size - 1 - index)) & 0x7F)
            guard bytes[cursor + index] == (index == 0 ? digit : digit | 0x80) else {
                throw PackedError(reason: "listpack: an entry does not know its length", offset: cursor)
            }
        }
        cursor += size
    }

    private func beyondEnd(_ offset: Int) -> PackedError {
        PackedError(reason: "listpack: an entry reaches beyond the end", offset: offset)
    }
}
