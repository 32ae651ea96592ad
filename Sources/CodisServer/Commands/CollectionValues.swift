// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import Keyspace
internal import NIOCore
internal import RESP

/// What the commands on collections share.
extension Server {
    /// The record of the key at `index` of the arguments, nil if there is none, or WRONGTYPE if it is not of `type`.
    @inline(__always)
    func find(
        _ type: ValueType,
        _ index: Int,
        _ call: CommandCall,
        _ purpose: LookupPurpose
    ) throws(CommandError) -> Record? {
        let key = call.arguments[index]
        guard let record = purpose == .read ? lookupRead(key, call) : lookupWrite(key, call) else { return nil }
        guard record.type == type else { throw .wrongType }
        return record
    }

    /// Replies the bytes of an element as a bulk.
    @inline(__always)
    func writeReplyBulk(_ bytes: ElementBytes, to call: CommandCall) {
        writeReplyBulk(bytes, to: &call.reply)
    }

    /// Writes the bytes of an element as a bulk.
    @inline(__always)
    func writeReplyBulk(_ bytes: ElementBytes, to reply: inout ByteBuffer) {
        if let inline = bytes.inline { return reply.writeReplyBulk(inline) }
        writeLongReplyBulk(bytes, to: &reply)
    }

    private func writeLongReplyBulk(_ bytes: ElementBytes, to reply: inout ByteBuffer) {
        reply.reserveCapacity(minimumWritableBytes: bytes.count + 32)
        reply.writeReplyBulkHeader(bytes.count)
        keyspace.reader.forEachPiece(of: bytes) { piece in _ = unsafe reply.writeBytes(piece.rawBuffer) }
        reply.writeReplyLineEnd()
    }

    /// Whether `bytes` match what a command of the SCAN family asks for.
    func matches(_ options: ScanOptions, _ bytes: ElementBytes) -> Bool {
        if options.matchesAll { return true }
        if let inline = bytes.inline { return options.matches(inline) }
        return ByteView.with(keyspace.reader.bytes(of: bytes)) { options.matches($0) }
    }

    /// `HSCAN`, `SSCAN` or `ZSCAN key cursor [MATCH pattern] [COUNT count]` in O(count): the next cursor, and what
    /// `write` appends for each element, which is `width` bulks.
    func scanElements(
        _ call: CommandCall,
        _ type: ValueType,
        width: Int,
        _ write: (ValueElement, inout ByteBuffer) -> Void
    ) throws(CommandError) {
        guard let cursor = ScanCommands.cursor(call.arguments[2]) else { throw .message("ERR invalid cursor") }
        guard let record = try find(type, 1, call, .read) else {
            call.reply.writeReplyArrayHeader(2)
            call.reply.writeReplyBulk(ByteView("0"))
            return call.reply.writeReplyEmptyArray()
        }
        let options = try ScanOptions(call.arguments, from: 3)
        var found = ByteBuffer()
        var count = 0
        let next = keyspace.reader.scan(cursor, of: record, count: options.count) { element in
            guard let name = element.name, matches(options, name) else { return }
            write(element, &found)
            count += 1
        }
        call.reply.writeReplyArrayHeader(2)
        // Cursors stay below 2^63.
        call.reply.writeReplyBulk(Int64(bitPattern: next))
        call.reply.writeReplyArrayHeader(count * width)
        call.reply.writeImmutableBuffer(found)
    }
}

extension ValueElement {
    /// The field or member that an element of a hash, set or sorted set is found by.
    var name: ElementBytes? {
        switch self {
        case .member(let name), .field(let name, _), .scored(let name, _): name
        case .string, .element: nil
        }
    }
}
