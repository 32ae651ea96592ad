// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import Keyspace
internal import RDB
internal import RESP

/// The DUMP payload of a value, made in steps between which the value does not change.
final class SteppedPayload {
    private let encoder: DumpEncoder
    private let keyspace: Keyspace
    private var position = ElementPosition()
    private var isBegun = false
    /// How much of a long string was taken.
    private var taken = 0

    /// Strings up to this length are compressed where they can be; longer ones would hold others up.
    private static let longestWhole = 128 << 10
    private static let stepBytes = 128 << 10

    init(_ keyspace: Keyspace, compresses: Bool) {
        self.keyspace = keyspace
        encoder = DumpEncoder(compresses: compresses)
    }

    /// Goes on with `record`, looked up anew; lends the payload when it is complete.
    func advance(_ record: Record) throws -> ByteView? {
        if !isBegun { try encoder.begin(record.shape) }
        if record.type == .string, record.count > SteppedPayload.longestWhole {
            if !isBegun { try encoder.beginPieces(count: record.count) }
            isBegun = true
            try appendPiece(of: record)
            encoder.addToChecksum()
            return taken < record.count ? nil : try encoder.finish()
        }
        isBegun = true
        _ = try ValueExport(keyspace.reader, to: encoder).step(record, from: &position)
        encoder.addToChecksum()
        return position.isAtEnd ? try encoder.finish() : nil
    }

    private func appendPiece(of record: Record) throws {
        let count = min(SteppedPayload.stepBytes, record.count - taken)
        var failure: RDBError?
        keyspace.reader.forEachPiece(of: record.stringBytes, from: taken, count: count) { piece in
            do throws(RDBError) {
                if failure == nil { try encoder.append(piece: piece) }
            } catch {
                failure = error
            }
        }
        if let failure { throw failure }
        if let failure = keyspace.reader.failure { throw failure }
        taken += count
    }
}

/// The elements of a large value in batches, as arguments of the command that adds them.
struct ValuePieces {
    private var position = ElementPosition()
    private var taken = 0
    /// How many elements were taken so far, or bytes of a string.
    private(set) var count = 0
    /// Whether all were.
    private(set) var isAtEnd = false

    /// The next batch of `record`, looked up anew.
    mutating func next(of record: Record, _ keyspace: Keyspace) -> ElementBatch {
        var batch = ElementBatch()
        if record.type == .string {
            let length = min(64 << 10, record.count - taken)
            var bytes: [UInt8] = []
            keyspace.reader.forEachPiece(of: record.stringBytes, from: taken, count: length) {
                bytes.append(contentsOf: $0)
            }
            ByteView.with(bytes) { batch.append($0) }
            taken += length
            count = taken
            isAtEnd = taken >= record.count
            return batch
        }
        var added = 0
        keyspace.reader.forEachElement(of: record, from: &position) { element in
            batch.append(element, keyspace.reader)
            added += 1
            return !batch.isFull
        }
        count += added
        isAtEnd = position.isAtEnd
        return batch
    }
}

extension ElementBatch {
    /// Adds an element of a stored value.
    fileprivate mutating func append(_ element: ValueElement, _ reader: RowReader) {
        switch element {
        case .string(let bytes), .element(let bytes), .member(let bytes): append(bytes, reader)
        case .field(let name, let value):
            append(name, reader)
            append(value, reader)
        case .scored(let name, let score):
            Score.withText(score) { append($0) }
            append(name, reader)
        }
    }

    private mutating func append(_ bytes: ElementBytes, _ reader: RowReader) {
        if let inline = bytes.inline { return append(inline) }
        ByteView.with(reader.bytes(of: bytes)) { append($0) }
    }
}
