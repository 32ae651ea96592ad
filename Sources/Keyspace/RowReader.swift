// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

public import Bytes
internal import LMDB

/// Reads values in a transaction: the keyspace's own one, or a snapshot's on another thread.
///
/// What it returns are views into the map. In the keyspace's own transaction they live until its next change; in a
/// read transaction until its end. It belongs to one thread at a time.
public final class RowReader {
    /// The transaction that is read; the keyspace's own one goes on after each commit.
    let transaction: Transaction
    let slotTables: [Table]
    let hashKey: SipHash
    let pageSize: Int

    /// Why something could not be read, once it could not.
    public private(set) var failure: KeyspaceError?

    /// Scratch: the key of a row that is looked for.
    let scratch = RowKey()
    /// A chunk of zeros, for the holes of strings.
    private let zeros = [UInt8](repeating: 0, count: Keyspace.chunkLength)

    init(_ transaction: Transaction, slotTables: [Table], hashKey: SipHash) {
        self.transaction = transaction
        self.slotTables = slotTables
        self.hashKey = hashKey
        pageSize = transaction.pageSize
    }

    func fail(_ error: KeyspaceError) {
        if failure == nil { failure = error }
    }

    /// Runs something that reads; what fails is kept as `failure`, and nil comes back.
    @inline(__always)
    func reading<Result>(_ body: () throws(LMDBError) -> Result?) -> Result? {
        do throws(LMDBError) {
            return try body()
        } catch {
            fail(KeyspaceError(error, while: "reading the keyspace"))
            return nil
        }
    }

    // MARK: Bytes

    /// Calls `body` with the bytes `offset..<offset + count` in order, in pieces; what lies beyond the end is left
    /// out.
    ///
    /// `body` must not change the keyspace. O(log n) a piece of at most 4,080 bytes.
    public func forEachPiece(
        of bytes: ElementBytes,
        from offset: Int = 0,
        count: Int = .max,
        _ body: (ByteView) -> Void
    ) {
        let start = min(max(0, offset), bytes.count)
        let end = start + min(count, bytes.count - start)
        guard start < end else { return }
        if bytes.object == 0 {
            body(bytes.view[start..<end])
        } else {
            forEachChunk(of: bytes, start..<end, body)
        }
    }

    /// The bytes, copied.
    public func bytes(of bytes: ElementBytes) -> [UInt8] {
        if let inline = bytes.inline { return Array(inline) }
        var copy: [UInt8] = []
        copy.reserveCapacity(bytes.count)
        forEachPiece(of: bytes) { copy.append(contentsOf: $0) }
        return copy
    }

    private func forEachChunk(of bytes: ElementBytes, _ range: Range<Int>, _ body: (ByteView) -> Void) {
        var position = range.lowerBound
        while position < range.upperBound {
            let index = UInt32(position / Keyspace.chunkLength)
            let from = position % Keyspace.chunkLength
            let to = min(Keyspace.chunkLength, from + range.upperBound - position)
            if bytes.blob == 0 {
                scratch.setElement(object: bytes.object, kind: ElementKind.chunk, index: index)
            } else {
                scratch.setBlob(object: bytes.object, blob: bytes.blob, index: index)
            }
            let chunk =
                reading { () throws(LMDBError) in
                    try transaction.get(scratch.view, in: slotTables[Int(bytes.home)])
                } ?? ByteView()
            let stored = min(to, chunk.count)
            if from < stored { body(chunk[from..<stored]) }
            let zeros = to - max(from, stored)
            if zeros > 0 { ByteView.with(self.zeros) { body($0.prefix(zeros)) } }
            position += to - from
        }
    }

    /// The Redis key of a row, copied.
    func redisKey(rowKey: ByteView, _ record: Record) -> [UInt8] {
        if record.longKeyLength == 0 { return Array(rowKey.dropFirst(RowKeyLayout.prefixLength)) }
        let slot = UInt16(rowKey.bigEndian(UInt32.self, at: 2) & 1023)
        let count = record.longKeyLength
        return bytes(of: ElementBytes(count: count, object: record.keyObject, blob: 0, home: slot))
    }

    // MARK: Named elements

    /// The value of the field `name` of a hash, the score's bytes of a member of a sorted set, or nothing for a member
    /// of a set; nil if there is no such element.
    ///
    /// O(log n), or O(length) for a small collection.
    @inline(__always)
    public func value(of name: ByteView, in record: Record) -> ElementBytes? {
        if record.object == 0 { return packedValue(of: name, in: record) }
        guard let row = namedRow(name, in: record) else { return nil }
        return row.value(object: record.object, home: record.home)
    }

    /// Whether a set, sorted set or hash has the element `name`; as `value(of:in:)`.
    public func contains(_ name: ByteView, in record: Record) -> Bool { value(of: name, in: record) != nil }

    /// Whether a set, sorted set or hash has an element with this name.
    public func contains(_ name: ElementBytes, in record: Record) -> Bool {
        if let inline = name.inline { return contains(inline, in: record) }
        return ByteView.with(bytes(of: name)) { contains($0, in: record) }
    }

    private func packedValue(of name: ByteView, in record: Record) -> ElementBytes? {
        if record.type == .sortedSet {
            var reader = PackedReader(record.payload)
            while true {
                let start = reader.offset
                guard reader.nextNumber() != nil, let member = reader.next() else { return nil }
                if member == name { return ElementBytes(record.payload[start..<(start + 8)]) }
            }
        }
        let hasValues = record.type == .hash
        guard let found = PackedReader.find(name, in: record.payload, hasValues: hasValues) else { return nil }
        guard hasValues else { return ElementBytes(ByteView()) }
        let packed = record.payload[found.value]
        // The length before the value takes as many bytes as packing it would.
        return ElementBytes(packed.dropFirst(packed.count < 129 ? 1 : 2))
    }

    @inline(__always)
    func namedRow(_ name: ByteView, in record: Record) -> NamedRow? {
        scratch.setNamed(object: record.object, name: name, hashKey: hashKey)
        return scratchRow(record)
    }

    @inline(__always)
    private func scratchRow(_ record: Record) -> NamedRow? {
        reading { () throws(LMDBError) in
            let table = slotTables[Int(record.home)]
            guard let row = try transaction.get(scratch.view, in: table, by: .behindTenBytes) else { return nil }
            guard let named = NamedRow(row) else { throw .corrupted }
            return named
        }
    }
}
