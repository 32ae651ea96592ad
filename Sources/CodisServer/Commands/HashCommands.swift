// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import Keyspace
internal import NIOCore
internal import RESP

/// The commands on hashes (Redis 2.8: `t_hash.c`).
enum HashCommands {
    static let table: [Command] = [
        Command("hdel", arity: .atLeast(3), flags: [.write, .fast], keys: .first, hdel),
        Command("hexists", arity: .exactly(3), flags: [.readOnly, .fast], keys: .first, hexists),
        Command("hget", arity: .exactly(3), flags: [.readOnly, .fast], keys: .first, hget),
        Command("hgetall", arity: .exactly(2), flags: [.readOnly], keys: .first, hgetall),
        Command("hincrby", arity: .exactly(4), flags: [.write, .denyOutOfMemory, .fast], keys: .first, hincrby),
        Command(
            "hincrbyfloat",
            arity: .exactly(4),
            flags: [.write, .denyOutOfMemory, .fast],
            keys: .first,
            hincrbyfloat
        ),
        Command("hkeys", arity: .exactly(2), flags: [.readOnly, .sortForScript], keys: .first, hkeys),
        Command("hlen", arity: .exactly(2), flags: [.readOnly, .fast], keys: .first, hlen),
        Command("hmget", arity: .atLeast(3), flags: [.readOnly], keys: .first, hmget),
        Command("hmset", arity: .atLeast(4), flags: [.write, .denyOutOfMemory], keys: .first, hmset),
        Command("hscan", arity: .atLeast(3), flags: [.readOnly, .random], keys: .first, hscan),
        Command("hset", arity: .exactly(4), flags: [.write, .denyOutOfMemory, .fast], keys: .first, hset),
        Command("hsetnx", arity: .exactly(4), flags: [.write, .denyOutOfMemory, .fast], keys: .first, hsetnx),
        Command("hvals", arity: .exactly(2), flags: [.readOnly, .sortForScript], keys: .first, hvals),
    ]

    // MARK: Reading

    /// `HGET key field` in O(log n).
    static func hget(_ server: Server, _ call: CommandCall) throws(CommandError) {
        guard let record = try server.find(.hash, 1, call, .read),
            let value = server.withKeyspace({ $0.reader.value(of: call.arguments[2], in: record) })
        else { return call.reply.writeReplyNullBulk() }
        server.writeReplyBulk(value, to: call)
    }

    /// `HMGET key field [field …]` in O(fields · log n): null for what is missing.
    static func hmget(_ server: Server, _ call: CommandCall) throws(CommandError) {
        let record = try server.find(.hash, 1, call, .read)
        call.reply.writeReplyArrayHeader(call.arguments.count - 2)
        for index in 2..<call.arguments.count {
            if let record, let value = server.keyspace.reader.value(of: call.arguments[index], in: record) {
                server.writeReplyBulk(value, to: call)
            } else {
                call.reply.writeReplyNullBulk()
            }
        }
    }

    /// `HEXISTS key field` in O(log n).
    static func hexists(_ server: Server, _ call: CommandCall) throws(CommandError) {
        if let record = try server.find(.hash, 1, call, .read),
            server.keyspace.reader.contains(call.arguments[2], in: record)
        {
            call.reply.writeReplyOne()
        } else {
            call.reply.writeReplyZero()
        }
    }

    /// `HLEN key` in O(1).
    static func hlen(_ server: Server, _ call: CommandCall) throws(CommandError) {
        call.reply.writeReplyInteger(try server.find(.hash, 1, call, .read)?.count ?? 0)
    }

    /// `HGETALL key` in O(n).
    static func hgetall(_ server: Server, _ call: CommandCall) throws(CommandError) {
        try writeAll(server, call, fields: true, values: true)
    }

    /// `HKEYS key` in O(n).
    static func hkeys(_ server: Server, _ call: CommandCall) throws(CommandError) {
        try writeAll(server, call, fields: true, values: false)
    }

    /// `HVALS key` in O(n).
    static func hvals(_ server: Server, _ call: CommandCall) throws(CommandError) {
        try writeAll(server, call, fields: false, values: true)
    }

    private static func writeAll(
        _ server: Server,
        _ call: CommandCall,
        fields: Bool,
        values: Bool
    ) throws(CommandError) {
        guard let record = try server.find(.hash, 1, call, .read) else { return call.reply.writeReplyEmptyArray() }
        call.reply.writeReplyArrayHeader(record.count * (fields && values ? 2 : 1))
        server.keyspace.reader.forEachElement(of: record) { element in
            guard case .field(let field, let value) = element else { return }
            if fields { server.writeReplyBulk(field, to: call) }
            if values { server.writeReplyBulk(value, to: call) }
        }
    }

    /// `HSCAN key cursor [MATCH pattern] [COUNT count]` in O(count): fields and values.
    static func hscan(_ server: Server, _ call: CommandCall) throws(CommandError) {
        try server.scanElements(call, .hash, width: 2) { element, reply in
            guard case .field(let field, let value) = element else { return }
            server.writeReplyBulk(field, to: &reply)
            server.writeReplyBulk(value, to: &reply)
        }
    }

    // MARK: Setting

    /// `HSET key field value` in O(log n): 1 if the field is new.
    static func hset(_ server: Server, _ call: CommandCall) throws(CommandError) {
        _ = try server.find(.hash, 1, call, .write)
        let added = try setField(server, call, call.arguments[2], call.arguments[3])
        if added { call.reply.writeReplyOne() } else { call.reply.writeReplyZero() }
        changed(server, call, "hset")
    }

    /// `HSETNX key field value` in O(log n): only if there is no such field.
    static func hsetnx(_ server: Server, _ call: CommandCall) throws(CommandError) {
        if let record = try server.find(.hash, 1, call, .write),
            server.keyspace.reader.contains(call.arguments[2], in: record)
        {
            return call.reply.writeReplyZero()
        }
        _ = try setField(server, call, call.arguments[2], call.arguments[3])
        call.reply.writeReplyOne()
        changed(server, call, "hset")
    }

    /// `HMSET key field value [field value …]` in O(fields · log n).
    static func hmset(_ server: Server, _ call: CommandCall) throws(CommandError) {
        guard call.arguments.count % 2 == 0 else { throw .message("ERR wrong number of arguments for HMSET") }
        _ = try server.find(.hash, 1, call, .write)
        let count = (call.arguments.count - 2) / 2
        _ = try server.change { keyspace throws(KeyspaceError) in
            try keyspace.setFields(
                call.arguments[1],
                in: call.database,
                count: count,
                limits: server.hashLimits
            ) { (call.arguments[2 + 2 * $0], call.arguments[3 + 2 * $0]) }
        }
        call.reply.writeReplyOK()
        changed(server, call, "hset")
    }

    /// `HINCRBY key field increment` in O(log n).
    static func hincrby(_ server: Server, _ call: CommandCall) throws(CommandError) {
        let increment = try call.arguments.integer(at: 3)
        var value: Int64 = 0
        if let record = try server.find(.hash, 1, call, .write),
            let stored = server.keyspace.reader.value(of: call.arguments[2], in: record)
        {
            guard let number = stored.inline.flatMap(DecimalNumber.lenient) else {
                throw .message("ERR hash value is not an integer")
            }
            value = number
        }
        let (sum, overflow) = value.addingReportingOverflow(increment)
        guard !overflow else { throw .message("ERR increment or decrement would overflow") }
        try ByteView.with(DecimalNumber.digits(of: sum)) { digits throws(CommandError) in
            _ = try setField(server, call, call.arguments[2], digits, limitsBytes: false)
        }
        call.reply.writeReplyInteger(sum)
        changed(server, call, "hincrby")
    }

    /// `HINCRBYFLOAT key field increment` in O(log n).
    ///
    /// Propagated as `HSET key field value`: another processor might round otherwise.
    static func hincrbyfloat(_ server: Server, _ call: CommandCall) throws(CommandError) {
        guard let increment = LongDouble(parsing: call.arguments[3]) else { throw .notAFloat }
        var value: LongDouble = 0
        if let record = try server.find(.hash, 1, call, .write),
            let stored = server.keyspace.reader.value(of: call.arguments[2], in: record)
        {
            guard let number = stored.inline.flatMap(LongDouble.init(parsing:)) else {
                throw .message("ERR hash value is not a valid float")
            }
            value = number
        }
        value += increment
        try value.withDecimal { decimal throws(CommandError) in
            _ = try setField(server, call, call.arguments[2], decimal, limitsBytes: false)
            call.propagate([ByteView("HSET"), call.arguments[1], call.arguments[2], decimal])
            call.reply.writeReplyBulk(decimal)
        }
        changed(server, call, "hincrbyfloat")
    }

    /// Sets a field; the lengths of what is counted do not change the encoding.
    @inline(__always)
    private static func setField(
        _ server: Server,
        _ call: CommandCall,
        _ field: ByteView,
        _ value: ByteView,
        limitsBytes: Bool = true
    ) throws(CommandError) -> Bool {
        var limits = server.hashLimits
        if !limitsBytes { limits.bytes = .max }
        do throws(KeyspaceError) {
            return try server.keyspace.setFields(call.arguments[1], in: call.database, count: 1, limits: limits) { _ in
                (field, value)
            } > 0
        } catch {
            throw CommandError(error)
        }
    }

    @inline(__always)
    private static func changed(_ server: Server, _ call: CommandCall, _ event: StaticString) {
        call.dirty += 1
        server.notify(.hash, event, call.arguments[1], call)
    }

    // MARK: Deleting

    /// `HDEL key field [field …]` in O(fields · log n): how many there were.
    static func hdel(_ server: Server, _ call: CommandCall) throws(CommandError) {
        guard let record = try server.find(.hash, 1, call, .write) else { return call.reply.writeReplyZero() }
        let before = record.count
        let removed = try server.change { keyspace throws(KeyspaceError) in
            try keyspace.removeElements(
                call.arguments[1],
                in: call.database,
                type: .hash,
                count: call.arguments.count - 2
            ) { call.arguments[2 + $0] }
        }
        if removed > 0 {
            call.dirty += removed
            server.notify(.hash, "hdel", call.arguments[1], call)
            if removed == before { server.notify(.generic, "del", call.arguments[1], call) }
        }
        call.reply.writeReplyInteger(removed)
    }
}

extension Server {
    /// What a hash may have as a ziplist.
    @inline(__always)
    var hashLimits: EncodingLimits {
        EncodingLimits(entries: config.hashMaximumZiplistEntries, bytes: config.hashMaximumZiplistValue)
    }
}
