// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

public import Bytes

/// What kind of value a key holds; the raw values are those of the format on disk.
public enum ValueType: UInt8, Sendable, CaseIterable {
    /// A string of bytes.
    case string = 0
    /// A list.
    case list = 1
    /// A set.
    case set = 2
    /// A sorted set.
    case sortedSet = 3
    /// A hash.
    case hash = 4

    /// The name that TYPE replies (Redis 2.8: `db.c`, `typeCommand`).
    public var name: StaticString {
        switch self {
        case .string: "string"
        case .list: "list"
        case .set: "set"
        case .sortedSet: "zset"
        case .hash: "hash"
        }
    }
}

/// What a look-up found: the head of a key's row and a view of the rest, which lives until the next change of the
/// keyspace.
///
/// On disk: `[type and flags: 1][encoding: 1]`, then what the flags announce: `[expiry in ms: 8]`,
/// `[object id: 8][home slot: 2][count: 8][bytes: 8]`, `[key length: 4]` and the key or `[key object id: 8]`; then the
/// value while it is small. Numbers are little-endian.
public struct Record {
    /// The type of the value.
    public internal(set) var type: ValueType
    /// A byte of the type's own, such as a string that must not count as an integer any more (1).
    public internal(set) var encoding: UInt8
    /// When the key expires, in ms since 1970; 0 for never.
    public internal(set) var expireAtMilliseconds: Int64 = 0
    /// The string's length in bytes, or the number of elements.
    public internal(set) var count = 0
    /// The object whose element rows hold the value; 0 for a value within the row.
    var object: UInt64 = 0
    /// The slot table that holds those rows: the slot of the key when the object was made.
    var home: UInt16 = 0
    /// The bytes of those rows, keys included.
    var objectBytes = 0
    /// The length of the Redis key when it is too long for the row key, else 0.
    var longKeyLength = 0
    /// The object whose rows hold that key, or 0 when it lies in the row.
    var keyObject: UInt64 = 0
    /// The long key, when it lies in the row.
    var longKey = ByteView()
    /// The value, when it lies in the row.
    var payload = ByteView()

    /// The whole value, when it is a string that lies in the row; nil when it lies in rows of its own.
    @inline(__always)
    public var inlineValue: ByteView? { object == 0 ? payload : nil }

    enum Flag {
        static let type: UInt8 = 0x07
        static let expiry: UInt8 = 0x08
        static let object: UInt8 = 0x10
        static let longKey: UInt8 = 0x20
        static let all: UInt8 = 0x3F
    }

    /// The longest key that is kept in its row rather than in rows of its own.
    static let longestInlineLongKey = 1024

    init(type: ValueType, encoding: UInt8 = 0, expireAtMilliseconds: Int64 = 0) {
        self.type = type
        self.encoding = encoding
        self.expireAtMilliseconds = expireAtMilliseconds
    }

    /// Reads a row's value; nil if its bytes cannot be one.
    @inline(__always)
    init?(_ row: ByteView) {
        guard row.count >= 2 else { return nil }
        let flags = row[0]
        guard flags & ~Flag.all == 0, let type = ValueType(rawValue: flags & Flag.type) else { return nil }
        self.type = type
        encoding = row[1]
        var offset = 2
        if flags & ~Flag.type != 0 {
            guard row.count >= Record.headLength(flags) else { return nil }
            if flags & Flag.expiry != 0 {
                expireAtMilliseconds = row.littleEndian(Int64.self, at: offset)
                offset += 8
            }
            if flags & Flag.object != 0 {
                object = row.littleEndian(UInt64.self, at: offset)
                home = row.littleEndian(UInt16.self, at: offset + 8)
                count = Int(truncatingIfNeeded: row.littleEndian(UInt64.self, at: offset + 10))
                objectBytes = Int(truncatingIfNeeded: row.littleEndian(UInt64.self, at: offset + 18))
                offset += 26
            }
            if flags & Flag.longKey != 0 {
                longKeyLength = Int(row.littleEndian(UInt32.self, at: offset))
                offset += 4
                if longKeyLength > Record.longestInlineLongKey {
                    guard row.count >= offset + 8 else { return nil }
                    keyObject = row.littleEndian(UInt64.self, at: offset)
                    offset += 8
                } else {
                    guard row.count >= offset + longKeyLength else { return nil }
                    longKey = row[offset..<(offset + longKeyLength)]
                    offset += longKeyLength
                }
            }
        }
        payload = row.dropFirst(offset)
        if object == 0 { count = payload.count }
    }

    private static func headLength(_ flags: UInt8) -> Int {
        2 + (flags & Flag.expiry != 0 ? 8 : 0) + (flags & Flag.object != 0 ? 26 : 0)
            + (flags & Flag.longKey != 0 ? 4 : 0)
    }

    private var flags: UInt8 {
        type.rawValue | (expireAtMilliseconds != 0 ? Flag.expiry : 0) | (object != 0 ? Flag.object : 0)
            | (longKeyLength != 0 ? Flag.longKey : 0)
    }

    /// The bytes that the row takes with the value in `payloadLength` bytes.
    @inline(__always)
    func rowLength(payloadLength: Int) -> Int {
        var length = 2 + payloadLength
        if expireAtMilliseconds != 0 { length += 8 }
        if object != 0 { length += 26 }
        if longKeyLength != 0 { length += 4 + (keyObject != 0 ? 8 : longKeyLength) }
        return length
    }

    /// Writes the row's head; the value follows.
    @inline(__always)
    func writeHead(to writer: inout RowWriter, longKey: ByteView) {
        writer.append(flags)
        writer.append(encoding)
        if expireAtMilliseconds != 0 { writer.append(littleEndian: expireAtMilliseconds) }
        if object != 0 {
            writer.append(littleEndian: object)
            writer.append(littleEndian: home)
            writer.append(littleEndian: UInt64(count))
            writer.append(littleEndian: UInt64(objectBytes))
        }
        if longKeyLength != 0 {
            writer.append(littleEndian: UInt32(longKeyLength))
            if keyObject != 0 {
                writer.append(littleEndian: keyObject)
            } else {
                writer.append(longKey)
            }
        }
    }
}
