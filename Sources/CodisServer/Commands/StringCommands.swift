// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import Keyspace
internal import NIOCore
internal import RESP

/// The commands on strings, but for those on bits (Redis 2.8: `t_string.c`).
enum StringCommands {
    static let table: [Command] = [
        Command("append", arity: .exactly(3), flags: [.write, .denyOutOfMemory], keys: .first, append),
        Command("decr", arity: .exactly(2), flags: [.write, .denyOutOfMemory, .fast], keys: .first, decr),
        Command("decrby", arity: .exactly(3), flags: [.write, .denyOutOfMemory, .fast], keys: .first, decrby),
        Command("get", arity: .exactly(2), flags: [.readOnly, .fast], keys: .first, get),
        Command("getrange", arity: .exactly(4), flags: [.readOnly], keys: .first, getrange),
        Command("getset", arity: .exactly(3), flags: [.write, .denyOutOfMemory], keys: .first, getset),
        Command("incr", arity: .exactly(2), flags: [.write, .denyOutOfMemory, .fast], keys: .first, incr),
        Command("incrby", arity: .exactly(3), flags: [.write, .denyOutOfMemory, .fast], keys: .first, incrby),
        Command(
            "incrbyfloat",
            arity: .exactly(3),
            flags: [.write, .denyOutOfMemory, .fast],
            keys: .first,
            incrbyfloat
        ),
        Command("mget", arity: .atLeast(2), flags: [.readOnly], keys: .all, mget),
        Command("mset", arity: .atLeast(3), flags: [.write, .denyOutOfMemory], keys: .everySecond, mset),
        Command("msetnx", arity: .atLeast(3), flags: [.write, .denyOutOfMemory], keys: .everySecond, msetnx),
        Command("psetex", arity: .exactly(4), flags: [.write, .denyOutOfMemory], keys: .first, psetex),
        Command("set", arity: .atLeast(3), flags: [.write, .denyOutOfMemory], keys: .first, set),
        Command("setex", arity: .exactly(4), flags: [.write, .denyOutOfMemory], keys: .first, setex),
        Command("setnx", arity: .exactly(3), flags: [.write, .denyOutOfMemory, .fast], keys: .first, setnx),
        Command("setrange", arity: .exactly(4), flags: [.write, .denyOutOfMemory], keys: .first, setrange),
        Command("strlen", arity: .exactly(2), flags: [.readOnly, .fast], keys: .first, strlen),
        Command("substr", arity: .exactly(4), flags: [.readOnly], keys: .first, getrange),
    ]

    /// The longest string: 512 MB.
    static let longestStringBytes = 512 << 20

    // MARK: Reading

    /// `GET key` in O(length).
    static func get(_ server: Server, _ call: CommandCall) throws(CommandError) {
        guard let record = try server.findString(1, call, .read) else { return call.reply.writeReplyNullBulk() }
        server.writeReplyBulk(record, to: call)
    }

    /// `STRLEN key` in O(1).
    static func strlen(_ server: Server, _ call: CommandCall) throws(CommandError) {
        guard let record = try server.findString(1, call, .read) else { return call.reply.writeReplyZero() }
        call.reply.writeReplyInteger(record.count)
    }

    /// `MGET key [key …]` in O(keys and their lengths): null for what is missing or no string.
    static func mget(_ server: Server, _ call: CommandCall) throws(CommandError) {
        call.reply.writeReplyArrayHeader(call.arguments.count - 1)
        for index in 1..<call.arguments.count {
            if let record = server.lookupRead(call.arguments[index], call), record.type == .string {
                server.writeReplyBulk(record, to: call)
            } else {
                call.reply.writeReplyNullBulk()
            }
        }
    }

    /// `GETRANGE key start end`, also `SUBSTR`, in O(length of the range).
    static func getrange(_ server: Server, _ call: CommandCall) throws(CommandError) {
        let start = try call.arguments.integer(at: 2)
        let end = try call.arguments.integer(at: 3)
        guard let record = try server.findString(1, call, .read),
            let range = StringRange.clamped(start, end, length: record.count)
        else { return call.reply.writeReplyEmptyBulk() }
        server.writeReplyBulk(record, range, to: call)
    }

    // MARK: Setting

    /// `SET key value [EX seconds] [PX milliseconds] [NX|XX]` in O(log n + length).
    ///
    /// Propagated as `SET key value`, followed by `PEXPIREAT` if it expires.
    static func set(_ server: Server, _ call: CommandCall) throws(CommandError) {
        if call.arguments.count == 3 {
            try setAlways(server, call, key: call.arguments[1], value: call.arguments[2])
            return call.reply.writeReplyOK()
        }
        let options = try SetOptions(call.arguments)
        let expiry = try options.expiry.map { expiry throws(CommandError) in
            try call.expiry(after: expiry.argument, expiry.unit, command: "set")
        }
        if options.onlyIfMissing || options.onlyIfThere {
            let isThere = server.lookupWriteString(call.arguments[1], call) != nil
            if isThere ? options.onlyIfMissing : options.onlyIfThere { return call.reply.writeReplyNullBulk() }
        }
        if let expiry {
            try setExpiring(server, call, value: call.arguments[2], expireAtMilliseconds: expiry)
        } else {
            // The options are settled here: what is replayed is the plain form.
            try setAlways(server, call, key: call.arguments[1], value: call.arguments[2])
        }
        call.reply.writeReplyOK()
    }

    /// `SETNX key value` in O(log n + length).
    static func setnx(_ server: Server, _ call: CommandCall) throws(CommandError) {
        guard server.lookupWriteString(call.arguments[1], call) == nil else { return call.reply.writeReplyZero() }
        try setAlways(server, call, key: call.arguments[1], value: call.arguments[2])
        call.reply.writeReplyOne()
    }

    /// `SETEX key seconds value` in O(log n + length).
    ///
    /// Propagated as `SET key value` and `PEXPIREAT key milliseconds`.
    static func setex(_ server: Server, _ call: CommandCall) throws(CommandError) {
        let expiry = try call.expiry(after: 2, .seconds, command: "setex")
        try setExpiring(server, call, value: call.arguments[3], expireAtMilliseconds: expiry)
        call.reply.writeReplyOK()
    }

    /// `PSETEX key milliseconds value` in O(log n + length).
    ///
    /// Propagated as `SET key value` and `PEXPIREAT key milliseconds`.
    static func psetex(_ server: Server, _ call: CommandCall) throws(CommandError) {
        let expiry = try call.expiry(after: 2, .milliseconds, command: "psetex")
        try setExpiring(server, call, value: call.arguments[3], expireAtMilliseconds: expiry)
        call.reply.writeReplyOK()
    }

    /// `GETSET key value` in O(log n + lengths).
    static func getset(_ server: Server, _ call: CommandCall) throws(CommandError) {
        let start = call.reply.writerIndex
        // The old value is replied before the new one takes its place.
        if let record = try server.findString(1, call, .read) {
            server.writeReplyBulk(record, to: call)
        } else {
            call.reply.writeReplyNullBulk()
        }
        do throws(CommandError) {
            try setAlways(server, call, key: call.arguments[1], value: call.arguments[2])
        } catch {
            call.reply.moveWriterIndex(to: start)
            throw error
        }
    }

    /// `MSET key value [key value …]` in O(keys · log n + lengths).
    static func mset(_ server: Server, _ call: CommandCall) throws(CommandError) {
        try checkPairs(call)
        try setPairs(server, call)
        call.reply.writeReplyOK()
    }

    /// `MSETNX key value [key value …]` in O(keys · log n + lengths): all, or none if one of them exists.
    static func msetnx(_ server: Server, _ call: CommandCall) throws(CommandError) {
        try checkPairs(call)
        for index in stride(from: 1, to: call.arguments.count, by: 2)
        where server.lookupWriteString(call.arguments[index], call) != nil {
            return call.reply.writeReplyZero()
        }
        try setPairs(server, call)
        call.reply.writeReplyOne()
    }

    private static func checkPairs(_ call: CommandCall) throws(CommandError) {
        guard call.arguments.count % 2 == 1 else { throw .message("ERR wrong number of arguments for MSET") }
    }

    private static func setPairs(_ server: Server, _ call: CommandCall) throws(CommandError) {
        for index in stride(from: 1, to: call.arguments.count, by: 2) {
            try setAlways(server, call, key: call.arguments[index], value: call.arguments[index + 1])
        }
    }

    @inline(__always)
    private static func setAlways(
        _ server: Server,
        _ call: CommandCall,
        key: ByteView,
        value: ByteView
    ) throws(CommandError) {
        try server.change { keyspace throws(KeyspaceError) in
            try keyspace.setString(key, in: call.database, to: value)
        }
        call.dirty += 1
        server.notify(.string, "set", key, call)
    }

    private static func setExpiring(
        _ server: Server,
        _ call: CommandCall,
        value: ByteView,
        expireAtMilliseconds: Int64
    ) throws(CommandError) {
        let key = call.arguments[1]
        do throws(KeyspaceError) {
            try server.keyspace.setString(
                key,
                in: call.database,
                to: value,
                expireAtMilliseconds: expireAtMilliseconds
            )
        } catch {
            throw CommandError(error)
        }
        call.dirty += 1
        server.notify(.string, "set", key, call)
        server.notify(.generic, "expire", key, call)
        call.propagateSet(key, value, expireAtMilliseconds: expireAtMilliseconds)
    }

    // MARK: Changing

    /// `APPEND key value` in O(log n + what is appended).
    static func append(_ server: Server, _ call: CommandCall) throws(CommandError) {
        let key = call.arguments[1]
        let value = call.arguments[2]
        let length: Int
        if let record = try server.findString(1, call, .write) {
            let offset = record.count
            try checkLength(offset, plus: value.count)
            length = try server.change { keyspace throws(KeyspaceError) in
                try keyspace.writeString(key, in: call.database, at: offset, value)
            }
        } else {
            // A string made by APPEND is as if SET: it may count as an integer.
            try server.change { keyspace throws(KeyspaceError) in
                try keyspace.setString(key, in: call.database, to: value)
            }
            length = value.count
        }
        call.dirty += 1
        server.notify(.string, "append", key, call)
        call.reply.writeReplyInteger(length)
    }

    /// `SETRANGE key offset value` in O(log n + length of the value).
    static func setrange(_ server: Server, _ call: CommandCall) throws(CommandError) {
        let key = call.arguments[1]
        let offset = try call.arguments.integer(at: 2)
        let value = call.arguments[3]
        guard offset >= 0 else { throw .message("ERR offset is out of range") }
        let record = try server.findString(1, call, .write)
        // Nothing written is no change: the key is neither made nor padded.
        guard !value.isEmpty else { return call.reply.writeReplyInteger(record?.count ?? 0) }
        try checkLength(Int(offset), plus: value.count)
        let length = try server.change { keyspace throws(KeyspaceError) in
            try keyspace.writeString(key, in: call.database, at: Int(offset), value)
        }
        call.dirty += 1
        server.notify(.string, "setrange", key, call)
        call.reply.writeReplyInteger(length)
    }

    private static func checkLength(_ offset: Int, plus count: Int) throws(CommandError) {
        let (length, overflow) = offset.addingReportingOverflow(count)
        guard !overflow, length <= longestStringBytes else {
            throw .message("ERR string exceeds maximum allowed size (512MB)")
        }
    }

    /// `INCR key` in O(log n).
    static func incr(_ server: Server, _ call: CommandCall) throws(CommandError) {
        try count(server, call) { $0.addingReportingOverflow(1) }
    }

    /// `DECR key` in O(log n).
    static func decr(_ server: Server, _ call: CommandCall) throws(CommandError) {
        try count(server, call) { $0.subtractingReportingOverflow(1) }
    }

    /// `INCRBY key increment` in O(log n).
    static func incrby(_ server: Server, _ call: CommandCall) throws(CommandError) {
        let increment = try call.arguments.integer(at: 2)
        try count(server, call) { $0.addingReportingOverflow(increment) }
    }

    /// `DECRBY key decrement` in O(log n).
    static func decrby(_ server: Server, _ call: CommandCall) throws(CommandError) {
        let decrement = try call.arguments.integer(at: 2)
        try count(server, call) { $0.subtractingReportingOverflow(decrement) }
    }

    /// Puts the integer of the command's key, 0 if there is none, through `step`.
    @inline(__always)
    private static func count(
        _ server: Server,
        _ call: CommandCall,
        _ step: (Int64) -> (partialValue: Int64, overflow: Bool)
    ) throws(CommandError) {
        var value: Int64 = 0
        if let record = try server.findString(1, call, .write) {
            // What does not lie in the row is far longer than an integer.
            guard let stored = record.inlineValue.flatMap(DecimalNumber.lenient) else { throw .notAnInteger }
            value = stored
        }
        let (sum, overflow) = step(value)
        guard !overflow else { throw .message("ERR increment or decrement would overflow") }
        try storeInteger(server, call, sum)
        call.dirty += 1
        server.notify(.string, "incrby", call.arguments[1], call)
        call.reply.writeReplyInteger(sum)
    }

    @inline(__always)
    private static func storeInteger(_ server: Server, _ call: CommandCall, _ value: Int64) throws(CommandError) {
        var failure: KeyspaceError?
        // The digits live on the stack: INCR allocates nothing.
        unsafe withUnsafeTemporaryAllocation(byteCount: DecimalNumber.maximumLength, alignment: 1) { digits in
            let start = unsafe digits.baseAddress.unsafelyUnwrapped
            let count = unsafe DecimalNumber.write(value, to: start)
            do throws(KeyspaceError) {
                try server.withKeyspace { keyspace throws(KeyspaceError) in
                    try keyspace.updateString(
                        call.arguments[1],
                        in: call.database,
                        to: unsafe ByteView(start: start, count: count)
                    )
                }
            } catch {
                failure = error
            }
        }
        if let failure { throw CommandError(failure) }
    }

    /// `INCRBYFLOAT key increment` in O(log n).
    ///
    /// Propagated as `SET key value`, followed by `PEXPIREAT` if it expires: another processor might round otherwise.
    static func incrbyfloat(_ server: Server, _ call: CommandCall) throws(CommandError) {
        let key = call.arguments[1]
        let record = try server.findString(1, call, .write)
        var value: LongDouble = 0
        if let record {
            guard let stored = record.inlineValue.flatMap(LongDouble.init(parsing:)) else { throw .notAFloat }
            value = stored
        }
        guard let increment = LongDouble(parsing: call.arguments[2]) else { throw .notAFloat }
        value += increment
        guard value.isFinite else { throw .message("ERR increment would produce NaN or Infinity") }
        let expiry = record?.expireAtMilliseconds ?? 0
        try value.withDecimal { decimal throws(CommandError) in
            try server.change { keyspace throws(KeyspaceError) in
                try keyspace.updateString(key, in: call.database, to: decimal, encoding: StringEncoding.raw)
            }
            call.propagateSet(key, decimal, expireAtMilliseconds: expiry)
            call.reply.writeReplyBulk(decimal)
        }
        call.dirty += 1
        server.notify(.string, "incrbyfloat", key, call)
    }
}

/// The options of SET, in any order and repeated; of several expiries the last counts.
private struct SetOptions {
    var onlyIfMissing = false
    var onlyIfThere = false
    var expiry: (argument: Int, unit: ExpiryUnit)?

    init(_ arguments: borrowing Arguments) throws(CommandError) {
        var index = 3
        while index < arguments.count {
            let option = arguments[index]
            if option.equalsIgnoringCase("nx") {
                onlyIfMissing = true
            } else if option.equalsIgnoringCase("xx") {
                onlyIfThere = true
            } else if option.equalsIgnoringCase("ex"), index + 1 < arguments.count {
                index += 1
                expiry = (index, .seconds)
            } else if option.equalsIgnoringCase("px"), index + 1 < arguments.count {
                index += 1
                expiry = (index, .milliseconds)
            } else {
                throw .syntax
            }
            index += 1
        }
    }
}
