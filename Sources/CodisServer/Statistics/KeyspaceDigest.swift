// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import Keyspace
internal import RDB

/// The digest of a keyspace, independent of the order of its keys (Redis 2.8: `debug.c`, computeDatasetDigest).
struct KeyspaceDigest {
    private(set) var bytes = [UInt8](repeating: 0, count: 20)

    init() {}

    /// The digest of all that `reader` reads; O(data).
    init(_ reader: KeyspaceReader) throws {
        let walk = reader.walk()
        var database = -1
        while let entry = try walk.next() {
            if entry.database != database {
                database = entry.database
                mix(number: UInt32(database))
            }
            let digest = KeyspaceDigest(entry.key, entry.record, reader.rows)
            xor(digest.bytes)
            if let failure = reader.rows.failure { throw failure }
        }
    }

    /// The digest of a key and its value.
    private init(_ key: ByteView, _ record: Record, _ rows: RowReader) {
        mix(Array(key))
        mix(number: UInt32(record.type.rawValue))
        var elements = KeyspaceDigest()
        var position = ElementPosition()
        rows.forEachElement(of: record, from: &position) { element in
            switch element {
            case .string(let value), .element(let value):
                mix(rows.bytes(of: value))
            case .member(let name):
                elements.xor(rows.bytes(of: name))
            case .field(let name, let value):
                var pair = KeyspaceDigest()
                pair.mix(rows.bytes(of: name))
                pair.mix(rows.bytes(of: value))
                elements.xor(pair.bytes)
            case .scored(let name, let score):
                var pair = KeyspaceDigest()
                pair.mix(rows.bytes(of: name))
                pair.mix(ScoreText.bytes(of: score))
                elements.xor(pair.bytes)
            }
            return true
        }
        for index in 0..<20 { bytes[index] ^= elements.bytes[index] }
        if record.expireAtMilliseconds != 0 { xor(Array("!!expire!!".utf8)) }
    }

    /// `d ⊕ S(x)`: what is added in any order.
    mutating func xor(_ added: [UInt8]) {
        for (index, byte) in SHA1.digest(of: added).enumerated() { bytes[index] ^= byte }
    }

    /// `S(d ⊕ S(x))`: what is added in an order that counts.
    mutating func mix(_ added: [UInt8]) {
        xor(added)
        bytes = SHA1.digest(of: bytes)
    }

    /// Adds a number as four bytes, the highest first.
    mutating func mix(number: UInt32) {
        mix([24, 16, 8, 0].map { UInt8(truncatingIfNeeded: number >> UInt32($0)) })
    }

    /// The 40 digits.
    var text: String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }
}
