// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import Keyspace
internal import NIOCore
internal import RESP

/// The commands on lists, but for those that wait for an element (Redis 2.8: `t_list.c`).
enum ListCommands {
    static let table: [Command] = [
        Command("lindex", arity: .exactly(3), flags: [.readOnly], keys: .first, lindex),
        Command("linsert", arity: .exactly(5), flags: [.write, .denyOutOfMemory], keys: .first, linsert),
        Command("llen", arity: .exactly(2), flags: [.readOnly, .fast], keys: .first, llen),
        Command("lpop", arity: .exactly(2), flags: [.write, .fast], keys: .first, lpop),
        Command("lpush", arity: .atLeast(3), flags: [.write, .denyOutOfMemory, .fast], keys: .first, lpush),
        Command("lpushx", arity: .exactly(3), flags: [.write, .denyOutOfMemory, .fast], keys: .first, lpushx),
        Command("lrange", arity: .exactly(4), flags: [.readOnly], keys: .first, lrange),
        Command("lrem", arity: .exactly(4), flags: [.write], keys: .first, lrem),
        Command("lset", arity: .exactly(4), flags: [.write, .denyOutOfMemory], keys: .first, lset),
        Command("ltrim", arity: .exactly(4), flags: [.write], keys: .first, ltrim),
        Command("rpop", arity: .exactly(2), flags: [.write, .fast], keys: .first, rpop),
        Command("rpoplpush", arity: .exactly(3), flags: [.write, .denyOutOfMemory], keys: .firstTwo, rpoplpush),
        Command("rpush", arity: .atLeast(3), flags: [.write, .denyOutOfMemory, .fast], keys: .first, rpush),
        Command("rpushx", arity: .exactly(3), flags: [.write, .denyOutOfMemory, .fast], keys: .first, rpushx),
    ]

    // MARK: Reading

    /// `LLEN key` in O(log n) of the keys.
    static func llen(_ server: Server, _ call: CommandCall) throws(CommandError) {
        guard let record = try server.findList(1, call, .read) else { return call.reply.writeReplyZero() }
        call.reply.writeReplyInteger(record.count)
    }

    /// `LINDEX key index` in O(log n).
    static func lindex(_ server: Server, _ call: CommandCall) throws(CommandError) {
        guard let record = try server.findList(1, call, .read) else { return call.reply.writeReplyNullBulk() }
        let index = try call.arguments.integer(at: 2)
        guard let position = ListRange.position(index, count: record.count),
            let element = server.keyspace.reader.listElement(of: record, at: position)
        else { return call.reply.writeReplyNullBulk() }
        server.writeReplyBulk(element, to: call)
    }

    /// `LRANGE key start stop` in O(log n + elements of the range).
    static func lrange(_ server: Server, _ call: CommandCall) throws(CommandError) {
        let start = try call.arguments.integer(at: 2)
        let stop = try call.arguments.integer(at: 3)
        guard let record = try server.findList(1, call, .read),
            let range = ListRange.clamped(start, stop, count: record.count)
        else { return call.reply.writeReplyEmptyArray() }
        call.reply.writeReplyArrayHeader(range.count)
        server.keyspace.reader.forEachListElement(of: record, in: range) { element in
            server.writeReplyBulk(element, to: call)
            return true
        }
    }

    // MARK: At the ends

    /// `LPUSH key element [element …]` in O(log n) an element.
    static func lpush(_ server: Server, _ call: CommandCall) throws(CommandError) {
        _ = try server.findList(1, call, .write)
        try push(server, call, at: .head, "lpush")
    }

    /// `RPUSH key element [element …]` in O(log n) an element.
    static func rpush(_ server: Server, _ call: CommandCall) throws(CommandError) {
        _ = try server.findList(1, call, .write)
        try push(server, call, at: .tail, "rpush")
    }

    /// `LPUSHX key element` in O(log n): 0 without a list.
    static func lpushx(_ server: Server, _ call: CommandCall) throws(CommandError) {
        guard try server.findList(1, call, .read) != nil else { return call.reply.writeReplyZero() }
        try push(server, call, at: .head, "lpush")
    }

    /// `RPUSHX key element` in O(log n): 0 without a list.
    static func rpushx(_ server: Server, _ call: CommandCall) throws(CommandError) {
        guard try server.findList(1, call, .read) != nil else { return call.reply.writeReplyZero() }
        try push(server, call, at: .tail, "rpush")
    }

    /// Pushes the arguments behind the key, whose type was checked.
    @inline(__always)
    private static func push(
        _ server: Server,
        _ call: CommandCall,
        at end: ListEnd,
        _ event: StaticString
    ) throws(CommandError) {
        let key = call.arguments[1]
        let count = call.arguments.count - 2
        let length = try server.change { keyspace throws(KeyspaceError) in
            try keyspace.pushElements(
                key,
                in: call.database,
                at: end,
                limits: server.listLimits,
                count: count
            ) { call.arguments[$0 + 2] }
        }
        call.dirty += count
        server.notify(.list, event, key, call)
        call.reply.writeReplyInteger(length)
    }

    /// `LPOP key` in O(log n).
    static func lpop(_ server: Server, _ call: CommandCall) throws(CommandError) {
        guard try server.findList(1, call, .write) != nil else { return call.reply.writeReplyNullBulk() }
        try server.popElement(call.arguments[1], from: .head, call) { server.writeReplyBulk($0, to: call) }
    }

    /// `RPOP key` in O(log n).
    static func rpop(_ server: Server, _ call: CommandCall) throws(CommandError) {
        guard try server.findList(1, call, .write) != nil else { return call.reply.writeReplyNullBulk() }
        try server.popElement(call.arguments[1], from: .tail, call) { server.writeReplyBulk($0, to: call) }
    }

    /// `RPOPLPUSH source destination` in O(log n); with the same list twice it is turned by one element.
    static func rpoplpush(_ server: Server, _ call: CommandCall) throws(CommandError) {
        guard let element = try server.moveElement(from: call.arguments[1], to: call.arguments[2], call) else {
            return call.reply.writeReplyNullBulk()
        }
        call.reply.writeReplyBulk(element)
    }

    // MARK: In the middle

    /// `LSET key index element` in O(log n).
    static func lset(_ server: Server, _ call: CommandCall) throws(CommandError) {
        let key = call.arguments[1]
        guard let record = try server.findList(1, call, .write) else { throw .noSuchKey }
        let index = try call.arguments.integer(at: 2)
        guard let position = ListRange.position(index, count: record.count) else { throw .indexOutOfRange }
        try server.change { keyspace throws(KeyspaceError) in
            try keyspace.setElement(
                key,
                in: call.database,
                at: position,
                limits: server.listLimits,
                to: call.arguments[3]
            )
        }
        call.dirty += 1
        server.notify(.list, "lset", key, call)
        call.reply.writeReplyOK()
    }

    /// `LINSERT key BEFORE|AFTER pivot element` in O(n): 0 without a list, -1 without the pivot.
    static func linsert(_ server: Server, _ call: CommandCall) throws(CommandError) {
        let key = call.arguments[1]
        let isAfter = call.arguments[2].equalsIgnoringCase("after")
        guard isAfter || call.arguments[2].equalsIgnoringCase("before") else { throw .syntax }
        guard try server.findList(1, call, .read) != nil else { return call.reply.writeReplyZero() }
        let length = try server.change { keyspace throws(KeyspaceError) in
            try keyspace.insertElement(
                key,
                in: call.database,
                isAfter ? .after : .before,
                pivot: call.arguments[3],
                limits: server.listLimits,
                call.arguments[4]
            )
        }
        guard let length else { return call.reply.writeReplyInteger(-1) }
        call.dirty += 1
        server.notify(.list, "linsert", key, call)
        call.reply.writeReplyInteger(length)
    }

    /// `LREM key count element` in O(n): removes the first `count` that are equal, the last ones if it is negative, or
    /// all if it is 0.
    ///
    /// There is no event for it, not even when the list is empty then.
    static func lrem(_ server: Server, _ call: CommandCall) throws(CommandError) {
        let count = try call.arguments.integer(at: 2)
        guard try server.findList(1, call, .write) != nil else { return call.reply.writeReplyZero() }
        let removed = try server.change { keyspace throws(KeyspaceError) in
            try keyspace.removeElements(
                call.arguments[1],
                in: call.database,
                equalTo: call.arguments[3],
                from: count < 0 ? .tail : .head,
                limit: count == 0 ? .max : Int(clamping: count.magnitude)
            )
        }
        call.dirty += removed
        call.reply.writeReplyInteger(removed)
    }

    /// `LTRIM key start stop` in O(log n + the lesser of what goes and what stays).
    static func ltrim(_ server: Server, _ call: CommandCall) throws(CommandError) {
        let key = call.arguments[1]
        let start = try call.arguments.integer(at: 2)
        let stop = try call.arguments.integer(at: 3)
        guard let record = try server.findList(1, call, .write) else { return call.reply.writeReplyOK() }
        let range = ListRange.clamped(start, stop, count: record.count) ?? 0..<0
        try server.change { keyspace throws(KeyspaceError) in
            try keyspace.trimList(key, in: call.database, to: range)
        }
        call.dirty += 1
        server.notify(.list, "ltrim", key, call)
        if range.isEmpty { server.notify(.generic, "del", key, call) }
        call.reply.writeReplyOK()
    }
}

/// The indexes that list commands take: negative ones count from the end.
enum ListRange {
    /// The place of the element `index` of a list of `count`; nil if it is beyond an end.
    static func position(_ index: Int64, count: Int) -> Int? {
        let position = index < 0 ? Int64(count) + index : index
        return position >= 0 && position < Int64(count) ? Int(position) : nil
    }

    /// The elements `start...stop` of a list of `count`, cut to what there is; nil if nothing is left.
    static func clamped(_ start: Int64, _ stop: Int64, count: Int) -> Range<Int>? {
        let count = Int64(count)
        let first = max(0, start < 0 ? start + count : start)
        let last = min(count - 1, stop < 0 ? stop + count : stop)
        guard first <= last else { return nil }
        return Int(first)..<Int(last) + 1
    }
}

/// Lists as commands use them, those that wait for an element among them.
extension Server {
    /// Up to where a list counts as a ziplist.
    @inline(__always)
    var listLimits: EncodingLimits {
        EncodingLimits(entries: config.listMaximumZiplistEntries, bytes: config.listMaximumZiplistValue)
    }

    /// The record of the key at `index` of the arguments, nil if there is none, or WRONGTYPE if it is no list.
    @inline(__always)
    func findList(_ index: Int, _ call: CommandCall, _ purpose: LookupPurpose) throws(CommandError) -> Record? {
        let key = call.arguments[index]
        guard let record = purpose == .read ? lookupRead(key, call) : lookupWrite(key, call) else { return nil }
        guard record.type == .list else { throw .wrongType }
        return record
    }

    /// Takes the element at `end` off the list `key`, which must be there, on behalf of a command; the key goes with
    /// its last element.
    ///
    /// `body` gets the element before it is gone, and must not change the keyspace.
    ///
    /// - Parameter isSilent: whether there are no events, as for a client that has waited.
    @inline(__always)
    func popElement(
        _ key: ByteView,
        from end: ListEnd,
        _ call: CommandCall,
        isSilent: Bool = false,
        _ body: (ElementBytes) -> Void
    ) throws(CommandError) {
        let left = try change { keyspace throws(KeyspaceError) in
            try keyspace.popElement(key, in: call.database, from: end, body)
        }
        call.dirty += 1
        guard !isSilent else { return }
        notify(.list, end == .head ? "lpop" : "rpop", key, call)
        if left == 0 { notify(.generic, "del", key, call) }
    }

    /// Pushes `element` onto the list `key`, whose type was checked, on behalf of a command; it is made if it is not
    /// there.
    ///
    /// `element` must not be a view of a stored value.
    func pushElement(_ key: ByteView, at end: ListEnd, _ element: ByteView, _ call: CommandCall) throws(CommandError) {
        _ = try change { keyspace throws(KeyspaceError) in
            try keyspace.pushElements(key, in: call.database, at: end, limits: listLimits, count: 1) { _ in element }
        }
        call.dirty += 1
        notify(.list, end == .head ? "lpush" : "rpush", key, call)
    }

    /// Moves the last element of the list `source` to the front of the list `destination`, as RPOPLPUSH does and
    /// BRPOPLPUSH that finds an element; returns it, or nil if there is no source.
    func moveElement(
        from source: ByteView,
        to destination: ByteView,
        _ call: CommandCall
    ) throws(CommandError) -> [UInt8]? {
        guard let record = lookupWrite(source, call) else { return nil }
        guard record.type == .list else { throw .wrongType }
        let reader = keyspace.reader
        guard let last = reader.listElement(of: record, at: record.count - 1) else { return nil }
        let element = reader.bytes(of: last)
        if let target = lookupWrite(destination, call), target.type != .list { throw .wrongType }
        var limits = listLimits
        // A list that is turned has one element less when the other comes.
        if source == destination { limits.entries += 1 }
        let left = try ByteView.with(element) { element throws(CommandError) in
            try change { keyspace throws(KeyspaceError) in
                // Pushed before it is taken off: so a list of one element that is turned stays, with its expiry.
                _ = try keyspace.pushElements(destination, in: call.database, at: .head, limits: limits, count: 1) {
                    _ in
                    element
                }
                return try keyspace.popElement(source, in: call.database, from: .tail) { _ in }
            }
        }
        call.dirty += 1
        notify(.list, "lpush", destination, call)
        notify(.list, "rpop", source, call)
        if left == 0 { notify(.generic, "del", source, call) }
        return element
    }
}
