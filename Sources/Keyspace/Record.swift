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
/// `[object id: 8][home slot: 2][count: 8][bytes: 8]`, `[key length: 4][key object id: 8]`; then the payload: the value
/// while it is small, or what a type needs to find its way in the rows of its object. Numbers are little-endian.
public struct Record {
    /// The type of the value.
    public internal(set) var type: ValueType
    /// How Redis would keep the value: 0 for the compact form of a collection, 1 for the other.
    ///
    /// For a string 1 says that it must not count as an integer any more. How the value lies in rows does not depend
    /// on it.
    public internal(set) var encoding: UInt8
    /// When the key expires, in ms since 1970; 0 for never.
    public internal(set) var expireAtMilliseconds: Int64 = 0
    /// The string's length in bytes, or the number of elements.
    public internal(set) var count = 0
    /// About how many bytes the value takes, rows of its own among them.
    public var valueBytes: Int { payload.count + objectBytes }
    /// The object whose element rows hold the value; 0 for a value within the row.
    var object: UInt64 = 0
    /// The slot table that holds those rows: the slot of the key when the object was made.
    var home: UInt16 = 0
    /// The bytes of those rows, keys included.
    var objectBytes = 0
    /// The length of the Redis key when it is too long for the row key, else 0.
    var longKeyLength = 0
    /// The object whose rows hold such a long key.
    var keyObject: UInt64 = 0
    /// The value, when it lies in the row, or the root of a value that lies in rows of its own.
    var payload = ByteView()

    /// The whole value, when it is a string that lies in the row; nil when it lies in rows of its own.
    @inline(__always)
    public var inlineValue: ByteView? { object == 0 ? payload : nil }

    /// About how many bytes the value takes, in the row or in rows of its own.
    public var storedBytes: Int { object == 0 ? payload.count : objectBytes }

    enum Flag {
        static let type: UInt8 = 0x07
        static let expiry: UInt8 = 0x08
        static let object: UInt8 = 0x10
        static let longKey: UInt8 = 0x20
        static let all: UInt8 = 0x3F
    }

    /// The longest payload of a collection: with any head and any key the row still fits its leaf, so that neither
    /// an expiry nor another name moves the value.
    static let longestCollectionPayload = 1400

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
                keyObject = row.littleEndian(UInt64.self, at: offset + 4)
                offset += 12
            }
        }
        payload = row.dropFirst(offset)
        guard object == 0 else { return }
        if type == .string {
            count = payload.count
        } else {
            guard payload.count >= PackedElements.headLength else { return nil }
            count = Int(payload.littleEndian(UInt16.self, at: 0))
        }
    }

    private static func headLength(_ flags: UInt8) -> Int {
        2 + (flags & Flag.expiry != 0 ? 8 : 0) + (flags & Flag.object != 0 ? 26 : 0)
            + (flags & Flag.longKey != 0 ? 12 : 0)
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
        if longKeyLength != 0 { length += 12 }
        return length
    }

    /// Writes the row's head; the value follows.
    @inline(__always)
    func writeHead(to writer: inout RowWriter) {
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
            writer.append(littleEndian: keyObject)
        }
    }
}
