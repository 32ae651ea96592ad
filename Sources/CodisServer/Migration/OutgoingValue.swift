// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import Keyspace
internal import NIOCore
internal import RESP

/// How values are cut into messages.
struct PieceLimits {
    /// A message has about so many elements at most; a field and its value are two.
    var mostBulks: Int
    /// A message with elements ends when it has so many bytes; and sending rests while so much waits to be sent.
    var mostBytes: Int
    /// The time in which the target must acknowledge something, in ms.
    ///
    /// What the target has of an unfinished value lives three times as long.
    var timeoutMilliseconds: Int64
}

/// A key on its way to another server: which messages it still takes (Codis 3.2: `slots_async.c`).
///
/// First `delete`; then `string` or `object` with all of a small value, or pieces of a large one and `expire`. Between
/// two messages the keyspace may change, but not the value.
struct OutgoingValue {
    /// Where it stands, with the numbers that SLOTSMGRT-ASYNC-STATUS tells.
    enum Stage: Int {
        case prepare = 0
        case whole = 1
        case pieces = 2
        case expiry = 3
        case done = 4
    }

    let key: [UInt8]
    let database: Int
    private(set) var stage = Stage.prepare
    /// The type of the value, once it was looked at; nil as long as it was not, or if there is none.
    private(set) var type: ValueType?
    /// When the key expires, in ms since 1970; 0 for never.
    private(set) var expireAtMilliseconds: Int64 = 0
    /// How many pieces the value is about to take, 0 if it goes as a whole.
    private(set) var pieceCount = 0
    /// How many elements were passed.
    var passed: Int { type == .list || type == .sortedSet ? index : position.passed }
    /// The bytes of the string that goes in the message that is not complete yet; nil if there is no such message.
    private(set) var restOfString: Int?
    /// Whether the value was no longer there when its turn came, or in the middle of it.
    private(set) var isLost = false

    private var position = ElementPosition()
    private var index = 0

    init(_ key: [UInt8], in database: Int) {
        self.key = key
        self.database = database
    }

    /// How many pieces a value takes: 1 if it goes as a whole.
    static func pieceCount(of record: Record, _ limits: PieceLimits) -> Int {
        let bulks =
            switch record.type {
            case .string: 0
            case .list: record.count
            case .set: record.encoding == 0 ? 0 : record.count
            case .hash, .sortedSet: record.encoding == 0 ? 0 : 2 * record.count
            }
        let pieces = (bulks + limits.mostBulks - 1) / limits.mostBulks
        guard record.type != .string, record.count > 1 else { return max(1, pieces) }
        // The original counts elements only; what has few but long ones is better cut as well.
        return max(1, pieces, (record.storedBytes + limits.mostBytes - 1) / limits.mostBytes)
    }

    /// Writes the next message; `room` is how many bytes may wait to be sent before sending rests.
    ///
    /// A long string is a message that is not complete after a call: `restOfString` tells.
    ///
    /// - Returns: how many messages were completed, which are to be acknowledged.
    mutating func writeNext(to output: inout ByteBuffer, room: Int, _ limits: PieceLimits, _ server: Server) -> Int {
        ByteView.with(key) { key in
            if restOfString != nil { return writeRestOfString(key, to: &output, room: room, server) }
            guard stage != .done else { return 0 }
            guard !isLost, let record = server.current(key, in: database) else { return end(key, to: &output) }
            switch stage {
            case .prepare:
                type = record.type
                expireAtMilliseconds = record.expireAtMilliseconds
                OutgoingValue.writeDelete(key, to: &output)
                let pieces = OutgoingValue.pieceCount(of: record, limits)
                pieceCount = pieces > 1 ? pieces : 0
                stage = pieces > 1 ? .pieces : .whole
                return 1
            case .whole:
                guard record.type != .string else { return begin(record, key, to: &output, room: room, server) }
                writeObject(record, key, to: &output, server)
                stage = .done
                return 1
            case .pieces:
                writePiece(record, key, to: &output, room: room, limits, server)
                return 1
            case .expiry:
                output.writeRequestHeader(argumentCount: 4)
                output.writeRequestArgument("SLOTSRESTORE-ASYNC")
                output.writeRequestArgument("expire")
                output.writeRequestArgument(key)
                output.writeRequestArgument(lifetime(server))
                stage = .done
                return 1
            case .done:
                return 0
            }
        }
    }

    /// The value has changed under way: what was sent of it in pieces is of no use.
    mutating func abandon() {
        if stage == .pieces || stage == .expiry || restOfString != nil { isLost = true }
    }

    /// Writes `SLOTSRESTORE-ASYNC delete key`.
    static func writeDelete(_ key: ByteView, to output: inout ByteBuffer) {
        output.writeRequestHeader(argumentCount: 3)
        output.writeRequestArgument("SLOTSRESTORE-ASYNC")
        output.writeRequestArgument("delete")
        output.writeRequestArgument(key)
    }

    /// The value is gone, or was never there: what the target has of it goes as well.
    private mutating func end(_ key: ByteView, to output: inout ByteBuffer) -> Int {
        isLost = true
        defer { stage = .done }
        guard stage == .pieces || stage == .expiry else { return 0 }
        OutgoingValue.writeDelete(key, to: &output)
        return 1
    }

    /// The time to live in ms as it is sent: 0 for ever.
    private func lifetime(_ server: Server) -> Int64 {
        expireAtMilliseconds == 0 ? 0 : max(1, expireAtMilliseconds - server.clock.milliseconds)
    }

    // MARK: Whole values

    private func writeObject(_ record: Record, _ key: ByteView, to output: inout ByteBuffer, _ server: Server) {
        output.writeRequestHeader(argumentCount: 5)
        output.writeRequestArgument("SLOTSRESTORE-ASYNC")
        output.writeRequestArgument("object")
        output.writeRequestArgument(key)
        output.writeRequestArgument(lifetime(server))
        // What fails has made the keyspace fail, and then the process ends before anything is sent.
        try? server.withPayload(of: record) { output.writeRequestArgument($0) }
    }

    private mutating func begin(
        _ record: Record,
        _ key: ByteView,
        to output: inout ByteBuffer,
        room: Int,
        _ server: Server
    ) -> Int {
        output.writeRequestHeader(argumentCount: 5)
        output.writeRequestArgument("SLOTSRESTORE-ASYNC")
        output.writeRequestArgument("string")
        output.writeRequestArgument(key)
        output.writeRequestArgument(lifetime(server))
        if let value = record.inlineValue {
            output.writeRequestArgument(value)
            stage = .done
            return 1
        }
        output.writeReplyBulkHeader(record.count)
        restOfString = record.count
        return writeRestOfString(key, to: &output, room: room, server)
    }

    /// Writes more of a string, so that neither its length nor a slow target makes the server hold all of it.
    private mutating func writeRestOfString(
        _ key: ByteView,
        to output: inout ByteBuffer,
        room: Int,
        _ server: Server
    ) -> Int {
        guard let rest = restOfString else { return 0 }
        let count = min(rest, max(OutgoingValue.leastStep, min(room, OutgoingValue.longestStep)))
        let record = isLost ? nil : server.current(key, in: database)
        if let record, record.type == .string, record.count >= rest {
            server.keyspace.forEachPiece(of: record, from: record.count - rest, count: count) { piece in
                _ = unsafe output.writeBytes(piece.rawBuffer)
            }
        } else {
            // It is gone. The message must have the length that it began with; then it is taken back.
            isLost = true
            output.writeRepeatingByte(0, count: count)
        }
        restOfString = rest - count
        guard rest == count else { return 0 }
        restOfString = nil
        stage = .done
        output.writeReplyLineEnd()
        guard isLost else { return 1 }
        OutgoingValue.writeDelete(key, to: &output)
        return 2
    }

    private static let leastStep = 4080
    private static let longestStep = 256 << 10

    // MARK: Pieces

    private mutating func writePiece(
        _ record: Record,
        _ key: ByteView,
        to output: inout ByteBuffer,
        room: Int,
        _ limits: PieceLimits,
        _ server: Server
    ) {
        var elements = ByteBuffer()
        var count = 0
        let mostBytes = min(limits.mostBytes, room)
        func isFull() -> Bool { count >= limits.mostBulks || elements.readableBytes >= mostBytes }
        let reader = server.keyspace.reader
        switch record.type {
        case .list:
            reader.forEachListElement(of: record, in: min(index, record.count)..<record.count) { element in
                server.writeReplyBulk(element, to: &elements)
                count += 1
                index += 1
                return !isFull()
            }
        case .sortedSet:
            // From the highest on, as the original sends them, so that its target always inserts at the head.
            if index < record.count {
                reader.forEachScored(of: record, from: record.count - 1 - index, backwards: true) { member, score in
                    server.writeReplyBulk(member, to: &elements)
                    elements.writeReplyBulkHeader(8)
                    elements.writeInteger(score.bitPattern, endianness: .little)
                    elements.writeReplyLineEnd()
                    count += 2
                    index += 1
                    return !isFull()
                }
            }
        case .set, .hash:
            reader.forEachElement(of: record, from: &position) { element in
                switch element {
                case .member(let name):
                    server.writeReplyBulk(name, to: &elements)
                    count += 1
                case .field(let name, let value):
                    server.writeReplyBulk(name, to: &elements)
                    server.writeReplyBulk(value, to: &elements)
                    count += 2
                case .string, .element, .scored: break
                }
                return !isFull()
            }
        case .string: break
        }
        output.writeRequestHeader(argumentCount: 5 + count)
        output.writeRequestArgument("SLOTSRESTORE-ASYNC")
        output.writeRequestArgument(record.type.asynchronousName)
        output.writeRequestArgument(key)
        output.writeRequestArgument(limits.timeoutMilliseconds * 3)
        output.writeRequestArgument(Int64(record.count))
        output.writeBuffer(&elements)
        if passed >= record.count || position.isAtEnd { stage = .expiry }
    }
}

extension ValueType {
    /// The word for pieces of such a value.
    fileprivate var asynchronousName: StaticString {
        switch self {
        case .string: "string"
        case .list: "list"
        case .set: "dict"
        case .sortedSet: "zset"
        case .hash: "hash"
        }
    }
}

extension Server {
    /// The record of `key` outside of a command; what has expired is deleted.
    func current(_ key: ByteView, in database: Int) -> Record? {
        guard let record = keyspace.find(key, in: database) else { return nil }
        guard record.isExpired(at: clock.milliseconds), expiresKeys else { return record }
        expire(key, in: database)
        return nil
    }
}
