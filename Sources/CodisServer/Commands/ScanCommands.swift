// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import Keyspace
internal import NIOCore
internal import RESP
internal import SlotHash

/// The commands that walk the keys in steps (Redis 2.8: `db.c`, `scanGenericCommand`; Codis 3: `slots.c`).
enum ScanCommands {
    static let table: [Command] = [
        Command("scan", arity: .atLeast(2), flags: [.readOnly, .random], keys: .none, scan),
        Command("slotsscan", arity: .atLeast(3), flags: [.readOnly, .random], keys: .none, slotsscan),
    ]

    /// `SCAN cursor [MATCH pattern] [COUNT count]` in O(count): the next cursor, and keys.
    ///
    /// A cursor is a place in the order of the keys, so no state is kept, and a key that stays comes exactly once.
    static func scan(_ server: Server, _ call: CommandCall) throws(CommandError) {
        guard let cursor = cursor(call.arguments[1]) else { throw .message("ERR invalid cursor") }
        let options = try ScanOptions(call.arguments, from: 2)
        var found = BulkList()
        let next = server.keyspace.scan(cursor, in: call.database, count: options.count) { key, record in
            if !record.isExpired(at: call.now), !ArrivingValue.isName(key), options.matches(key) { found.append(key) }
        }
        write(next, found, to: call)
    }

    /// `SLOTSSCAN slot cursor [COUNT count]` in O(count): `SCAN` of one slot.
    static func slotsscan(_ server: Server, _ call: CommandCall) throws(CommandError) {
        let number = try call.arguments.integer(at: 1)
        guard let slot = Slot(number) else {
            throw .message("ERR invalid slot number = \(number)")
        }
        guard let cursor = cursor(call.arguments[2]) else { throw .message("ERR invalid cursor") }
        var count: Int64 = 10
        if call.arguments.count == 5 {
            guard call.arguments[3].equalsIgnoringCase("count") else { throw .syntax }
            guard let given = call.arguments.optionalInteger(at: 4), given >= 1 else { throw .syntax }
            count = given
        } else if call.arguments.count != 3 {
            throw .message("ERR wrong number of arguments for 'slotsscan' command")
        }
        var found = BulkList()
        let next = server.keyspace.scan(cursor, slot: slot, in: call.database, count: Int(count)) { key, record in
            if !record.isExpired(at: call.now), !ArrivingValue.isName(key) { found.append(key) }
        }
        write(next, found, to: call)
    }

    /// Reads a cursor as `strtoul` does; nil for what is no number, or beyond 64 bits.
    ///
    /// A sign and leading zeros are accepted, no bytes are 0, and a negative number counts from the top.
    static func cursor(_ text: ByteView) -> UInt64? {
        var index = 0
        var isNegative = false
        guard text.count > 0, text[0] != 0 else { return 0 }
        if text[0] == UInt8(ascii: "-") || text[0] == UInt8(ascii: "+") {
            isNegative = text[0] == UInt8(ascii: "-")
            index = 1
        }
        guard index < text.count else { return nil }
        var value: UInt64 = 0
        while index < text.count {
            let digit = text[index] &- UInt8(ascii: "0")
            guard digit <= 9 else { return nil }
            let (product, tooLarge) = value.multipliedReportingOverflow(by: 10)
            let (sum, carried) = product.addingReportingOverflow(UInt64(digit))
            guard !tooLarge, !carried else { return nil }
            value = sum
            index += 1
        }
        return isNegative ? 0 &- value : value
    }

    private static func write(_ next: UInt64, _ found: BulkList, to call: CommandCall) {
        call.reply.writeReplyArrayHeader(2)
        // Cursors stay below 2^63.
        call.reply.writeReplyBulk(Int64(bitPattern: next))
        found.write(to: &call.reply)
    }
}

/// The options of the SCAN family, in any order and repeated.
struct ScanOptions {
    /// About how many elements to visit.
    var count = 10
    /// What they must match; nil for anything.
    private var pattern: ByteView?

    init(_ arguments: borrowing Arguments, from start: Int) throws(CommandError) {
        for index in stride(from: start, to: arguments.count, by: 2) {
            guard index + 1 < arguments.count else { throw .syntax }
            if arguments[index].equalsIgnoringCase("count") {
                let given = try arguments.integer(at: index + 1)
                guard given >= 1 else { throw .syntax }
                count = Int(given)
            } else if arguments[index].equalsIgnoringCase("match") {
                let text = arguments[index + 1]
                pattern = text == ByteView("*") ? nil : text
            } else {
                throw .syntax
            }
        }
    }

    /// Whether every element is asked for.
    var matchesAll: Bool { pattern == nil }

    /// Whether an element is asked for.
    func matches(_ element: ByteView) -> Bool { pattern.map { Glob.matches($0, element) } ?? true }
}

/// Bulks whose number is not known before the last: they are written apart, and go behind the header then.
struct BulkList {
    private var count = 0
    private var bytes = ByteBuffer()

    mutating func append(_ bulk: ByteView) {
        bytes.writeReplyBulk(bulk)
        count += 1
    }

    func write(to reply: inout ByteBuffer) {
        reply.writeReplyArrayHeader(count)
        reply.writeImmutableBuffer(bytes)
    }
}
