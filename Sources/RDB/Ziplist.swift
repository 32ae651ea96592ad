// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes

/// The packed list of Redis 2.0 to 6.2: small lists, hashes and sorted sets.
///
/// Redis 2.8: ziplist.c.
///
/// All numbers little-endian: u32 bytes in all, u32 offset of the last entry, u16 number of entries (65535: not known),
/// the entries, `FF`. An entry begins with the length of the one before it: a byte below `FE`, or `FE` and u32.
enum Ziplist {
    static let headerLength = 10
    static let end: UInt8 = 0xFF
    static let longLength: UInt8 = 0xFE
    static let unknownCount = 0xFFFF
    /// Longer strings are not tried as integers.
    ///
    /// Redis 2.8: ziplist.c, zipTryEncoding.
    static let longestInteger = 31
}

/// Walks a ziplist from head to tail and believes nothing in it.
struct ZiplistReader {
    private let bytes: ByteView
    private var position = Ziplist.headerLength
    private var previousLength = 0
    private var entries = 0

    /// The view is lent until the last call of `next`.
    init(_ bytes: ByteView) throws(PackedError) {
        guard bytes.count > Ziplist.headerLength else { throw PackedError(reason: "ziplist: too short", offset: 0) }
        guard Int(bytes.littleEndian(UInt32.self, at: 0)) == bytes.count else {
            throw PackedError(reason: "ziplist: its length is not that of its bytes", offset: 0)
        }
        guard bytes[bytes.count - 1] == Ziplist.end else {
            throw PackedError(reason: "ziplist: no end", offset: bytes.count - 1)
        }
        self.bytes = bytes
    }

    /// The number of entries, where the header says it.
    var declaredCount: Int? {
        let count = Int(bytes.littleEndian(UInt16.self, at: 8))
        return count == Ziplist.unknownCount ? nil : count
    }

    /// The next entry, or nil at the end.
    mutating func next() throws(PackedError) -> PackedEntry? {
        // The last byte is the end, so that an entry may use those before it only.
        let limit = bytes.count - 1
        let start = position
        if start == limit {
            try checkEnd()
            return nil
        }
        guard bytes[start] != Ziplist.end else { throw PackedError(reason: "ziplist: ends early", offset: start) }
        var cursor = start
        if bytes[cursor] == Ziplist.longLength {
            guard limit - cursor >= 5 else { throw beyondEnd(start) }
            guard Int(bytes.littleEndian(UInt32.self, at: cursor + 1)) == previousLength else { throw wrongLink(start) }
            cursor += 5
        } else {
            guard Int(bytes[cursor]) == previousLength else { throw wrongLink(start) }
            cursor += 1
        }
        guard cursor < limit else { throw beyondEnd(start) }
        let entry = try content(at: &cursor, limit: limit)
        previousLength = cursor - start
        position = cursor
        entries += 1
        return entry
    }

    private func content(at cursor: inout Int, limit: Int) throws(PackedError) -> PackedEntry {
        let start = cursor
        let encoding = bytes[cursor]
        cursor += 1
        // Strings have their length in the rest of the byte and up to four more.
        let length: Int
        switch encoding {
        case 0x00...0x3F:
            length = Int(encoding)
        case 0x40...0x7F:
            guard limit - cursor >= 1 else { throw beyondEnd(start) }
            length = Int(encoding & 0x3F) << 8 | Int(bytes[cursor])
            cursor += 1
        case 0x80:
            guard limit - cursor >= 4 else { throw beyondEnd(start) }
            length = Int(bytes.bigEndian(UInt32.self, at: cursor))
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
            case 0xC0: 2
            case 0xD0: 4
            case 0xE0: 8
            case 0xF0: 3
            case 0xFE: 1
            case 0xF1...0xFD: 0
            default: throw PackedError(reason: "ziplist: unknown encoding", offset: start)
            }
        guard size <= limit - cursor else { throw beyondEnd(start) }
        defer { cursor += size }
        return switch size {
        case 0: Int64(encoding & 15) - 1
        case 1: Int64(Int8(bitPattern: bytes[cursor]))
        case 2: Int64(bytes.littleEndian(Int16.self, at: cursor))
        case 3: bytes.littleEndian24(at: cursor)
        case 4: Int64(bytes.littleEndian(Int32.self, at: cursor))
        default: bytes.littleEndian(Int64.self, at: cursor)
        }
    }

    private func checkEnd() throws(PackedError) {
        if let declaredCount, declaredCount != entries {
            throw PackedError(reason: "ziplist: its count is not that of its entries", offset: 8)
        }
        // The tail is the offset of the last entry, and that of the end in an empty one.
        guard Int(bytes.littleEndian(UInt32.self, at: 4)) == position - previousLength else {
            throw PackedError(reason: "ziplist: its tail is not the last entry", offset: 4)
        }
    }

    private func beyondEnd(_ offset: Int) -> PackedError {
        PackedError(reason: "ziplist: an entry reaches beyond the end", offset: offset)
    }

    private func wrongLink(_ offset: Int) -> PackedError {
        PackedError(reason: "ziplist: an entry does not know the length of the one before", offset: offset)
    }
}

/// Makes a ziplist, byte for byte as Redis 2.8 makes it by appending.
struct ZiplistWriter {
    private let store: ByteStore
    private var count = 0
    private var tail = Ziplist.headerLength
    private var previousLength = 0

    /// Begins in `store`, whose content is dropped.
    init(in store: ByteStore) {
        self.store = store
        store.removeAll()
        store.append(littleEndian: UInt64(0))
        store.append(littleEndian: UInt16(0))
    }

    /// Appends a string, as an integer if it is the canonical spelling of one.
    mutating func append(_ bytes: ByteView) throws(RDBError) {
        if bytes.count <= Ziplist.longestInteger, let integer = Decimal.canonicalInteger(bytes) {
            beginEntry()
            appendInteger(integer)
            return endEntry()
        }
        guard bytes.count <= Int(UInt32.max) else { throw .unencodable("a string too long for a ziplist") }
        beginEntry()
        if bytes.count <= 0x3F {
            store.append(UInt8(bytes.count))
        } else if bytes.count <= 0x3FFF {
            store.append(bigEndian: UInt16(0x4000 | bytes.count))
        } else {
            store.append(0x80)
            store.append(bigEndian: UInt32(bytes.count))
        }
        store.append(bytes)
        endEntry()
    }

    /// Ends the ziplist, which is then all that is in the store.
    func finish() throws(RDBError) {
        store.append(Ziplist.end)
        guard store.count <= Int(UInt32.max) else { throw .unencodable("a value too large for a ziplist") }
        store.set(littleEndian: UInt32(store.count), at: 0)
        store.set(littleEndian: UInt32(tail), at: 4)
        store.set(littleEndian: UInt16(min(count, Ziplist.unknownCount)), at: 8)
    }

    private mutating func beginEntry() {
        tail = store.count
        if previousLength < Int(Ziplist.longLength) {
            store.append(UInt8(previousLength))
        } else {
            store.append(Ziplist.longLength)
            store.append(littleEndian: UInt32(truncatingIfNeeded: previousLength))
        }
    }

    private mutating func endEntry() {
        previousLength = store.count - tail
        count += 1
    }

    private func appendInteger(_ value: Int64) {
        if value >= 0, value <= 12 {
            store.append(0xF1 + UInt8(value))
        } else if let small = Int8(exactly: value) {
            store.append(0xFE)
            store.append(littleEndian: small)
        } else if let short = Int16(exactly: value) {
            store.append(0xC0)
            store.append(littleEndian: short)
        } else if value >= -0x80_0000, value <= 0x7F_FFFF {
            store.append(0xF0)
            store.append(littleEndian: UInt16(truncatingIfNeeded: value))
            store.append(UInt8(truncatingIfNeeded: value >> 16))
        } else if let long = Int32(exactly: value) {
            store.append(0xD0)
            store.append(littleEndian: long)
        } else {
            store.append(0xE0)
            store.append(littleEndian: value)
        }
    }
}
