// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes

/// A place in the log of effects: what a commit stands for.
public struct LogPosition: Equatable, Sendable {
    /// The replication id, 40 hexadecimal digits, or nothing before there is one.
    public var identity: [UInt8]
    /// The offset of the next byte of the stream.
    public var offset: UInt64
    /// The database that the stream has selected there, or -1.
    public var database: Int

    /// A place in the log.
    public init(identity: [UInt8] = [], offset: UInt64 = 0, database: Int = -1) {
        self.identity = identity
        self.offset = offset
        self.database = database
    }
}

/// The one row of the meta table, which every commit writes.
///
/// `[format version: 4][hash key: 16][next object id: 8][sequence: 8][next space: 2][log offset: 8]
/// [log database: 4][identity length: 1][identity: 40][space of each database: 256 × 2]`, little-endian.
struct StoredState {
    static let formatVersion: UInt32 = 1
    static var key: ByteView { ByteView("state") }
    static let length = 4 + 16 + 8 + 8 + 2 + 8 + 4 + 1 + 40 + 512

    var hashKey: SipHash
    var nextObject: UInt64 = 1
    /// Counts commits; reclaim rows carry it, so that only what an earlier commit let go of is taken up.
    var sequence: UInt64 = 1
    var nextSpace: UInt16 = 256
    var position = LogPosition()
    var spaces: [UInt16] = (0..<256).map { UInt16($0) }

    init(hashKey: SipHash) { self.hashKey = hashKey }

    /// Reads the row; the error is a sentence for the operator.
    init(_ row: ByteView) throws(KeyspaceError) {
        guard row.count >= 4 else { throw .format("the keyspace's state is damaged") }
        let version = row.littleEndian(UInt32.self, at: 0)
        guard version == StoredState.formatVersion else {
            throw .format("the keyspace has format version \(version); this server knows \(StoredState.formatVersion)")
        }
        guard row.count == StoredState.length else { throw .format("the keyspace's state is damaged") }
        hashKey = SipHash(key: (row.littleEndian(UInt64.self, at: 4), row.littleEndian(UInt64.self, at: 12)))
        nextObject = row.littleEndian(UInt64.self, at: 20)
        sequence = row.littleEndian(UInt64.self, at: 28)
        nextSpace = row.littleEndian(UInt16.self, at: 36)
        position.offset = row.littleEndian(UInt64.self, at: 38)
        position.database = Int(row.littleEndian(Int32.self, at: 46))
        position.identity = Array(row[51..<(51 + min(40, Int(row[50])))])
        spaces = (0..<256).map { row.littleEndian(UInt16.self, at: 91 + 2 * $0) }
        guard spaces.allSatisfy({ $0 < RowKeyLayout.spaceLimit }) else {
            throw .format("the keyspace's state is damaged")
        }
    }

    func write(to writer: inout RowWriter) {
        precondition(position.identity.count <= 40, "a replication id has 40 digits")
        writer.append(littleEndian: StoredState.formatVersion)
        writer.append(littleEndian: hashKey.key.0)
        writer.append(littleEndian: hashKey.key.1)
        writer.append(littleEndian: nextObject)
        writer.append(littleEndian: sequence)
        writer.append(littleEndian: nextSpace)
        writer.append(littleEndian: position.offset)
        writer.append(littleEndian: Int32(position.database))
        writer.append(UInt8(position.identity.count))
        for byte in position.identity { writer.append(byte) }
        writer.appendZeros(40 - position.identity.count)
        for space in spaces { writer.append(littleEndian: space) }
    }
}
