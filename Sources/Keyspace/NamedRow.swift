// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes

/// The value of a named element's row.
///
/// `[flags: 1]`, then `[name length: 8][blob id: 8]` when the name lies in a blob, then the element's value, or
/// `[blob id: 8][length: 8]` when that lies in a blob. A set has no values, a sorted set has scores of 8 bytes.
struct NamedRow {
    enum Flag {
        static let longName: UInt8 = 1
        static let largeValue: UInt8 = 2
    }

    /// The blob of a long name, or 0.
    private(set) var nameBlob: UInt64 = 0
    /// The length of a long name.
    private(set) var nameLength = 0
    /// The blob of a large value, or 0.
    private(set) var valueBlob: UInt64 = 0
    /// The length of a large value.
    private(set) var valueLength = 0
    /// The value, when it lies in the row.
    private(set) var value = ByteView()
    /// The length of the whole row.
    let rowLength: Int

    /// Reads a row; nil if its bytes cannot be one.
    @inline(__always)
    init?(_ row: ByteView) {
        rowLength = row.count
        guard row.count >= 1 else { return nil }
        let flags = row[0]
        if flags == 0 {
            value = row.dropFirst(1)
            return
        }
        var offset = 1
        guard flags & ~(Flag.longName | Flag.largeValue) == 0 else { return nil }
        if flags & Flag.longName != 0 {
            guard row.count >= offset + 16 else { return nil }
            nameLength = Int(truncatingIfNeeded: row.littleEndian(UInt64.self, at: offset))
            nameBlob = row.littleEndian(UInt64.self, at: offset + 8)
            offset += 16
        }
        if flags & Flag.largeValue != 0 {
            guard row.count == offset + 16 else { return nil }
            valueBlob = row.littleEndian(UInt64.self, at: offset)
            valueLength = Int(truncatingIfNeeded: row.littleEndian(UInt64.self, at: offset + 8))
        } else {
            value = row.dropFirst(offset)
        }
    }

    /// Puts a row together.
    init(nameBlob: UInt64, nameLength: Int, valueBlob: UInt64, value: ByteView) {
        self.nameBlob = nameBlob
        self.nameLength = nameLength
        self.valueBlob = valueBlob
        valueLength = value.count
        self.value = value
        rowLength = 1 + (nameBlob != 0 ? 16 : 0) + (valueBlob != 0 ? 16 : value.count)
    }

    func write(to writer: inout RowWriter) {
        writer.append((nameBlob != 0 ? Flag.longName : 0) | (valueBlob != 0 ? Flag.largeValue : 0))
        if nameBlob != 0 {
            writer.append(littleEndian: UInt64(nameLength))
            writer.append(littleEndian: nameBlob)
        }
        if valueBlob != 0 {
            writer.append(littleEndian: valueBlob)
            writer.append(littleEndian: UInt64(valueLength))
        } else {
            writer.append(value)
        }
    }

    /// The bytes of the blobs that the row refers to.
    var blobBytes: Int {
        (nameBlob != 0 ? Keyspace.blobBytes(nameLength) : 0) + (valueBlob != 0 ? Keyspace.blobBytes(valueLength) : 0)
    }

    /// The name of the element whose row this is under `rowKey`.
    @inline(__always)
    func name(rowKey: ByteView, object: UInt64, home: UInt16) -> ElementBytes {
        nameBlob == 0
            ? ElementBytes(rowKey.dropFirst(RowKeyLayout.namedPrefixLength))
            : ElementBytes(count: nameLength, object: object, blob: nameBlob, home: home)
    }

    /// The value of the element.
    @inline(__always)
    func value(object: UInt64, home: UInt16) -> ElementBytes {
        valueBlob == 0
            ? ElementBytes(value) : ElementBytes(count: valueLength, object: object, blob: valueBlob, home: home)
    }

    /// The score of a member of a sorted set, if the value is one.
    var score: Double? {
        value.count == 8 ? Double(bitPattern: value.littleEndian(UInt64.self, at: 0)) : nil
    }
}
