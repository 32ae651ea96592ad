// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import Keyspace
internal import RESP

/// The commands on the time that keys have left (Redis 2.8: `db.c`, `expireGenericCommand` and its like).
enum ExpireCommands {
    static let table: [Command] = [
        Command("expire", arity: .exactly(3), flags: [.write, .fast], keys: .first, expire),
        Command("expireat", arity: .exactly(3), flags: [.write, .fast], keys: .first, expireat),
        Command("persist", arity: .exactly(2), flags: [.write, .fast], keys: .first, persist),
        Command("pexpire", arity: .exactly(3), flags: [.write, .fast], keys: .first, pexpire),
        Command("pexpireat", arity: .exactly(3), flags: [.write, .fast], keys: .first, pexpireat),
        Command("pttl", arity: .exactly(2), flags: [.readOnly, .fast], keys: .first, pttl),
        Command("ttl", arity: .exactly(2), flags: [.readOnly, .fast], keys: .first, ttl),
    ]

    // MARK: Setting

    /// `EXPIRE key seconds` in O(log n).
    ///
    /// Propagated as `PEXPIREAT`, or as `DEL` when the time is over already; so are the three others.
    static func expire(_ server: Server, _ call: CommandCall) throws(CommandError) {
        try expire(server, call, .seconds, after: call.now)
    }

    /// `PEXPIRE key milliseconds` in O(log n).
    static func pexpire(_ server: Server, _ call: CommandCall) throws(CommandError) {
        try expire(server, call, .milliseconds, after: call.now)
    }

    /// `EXPIREAT key seconds-since-1970` in O(log n).
    static func expireat(_ server: Server, _ call: CommandCall) throws(CommandError) {
        try expire(server, call, .seconds, after: 0)
    }

    /// `PEXPIREAT key milliseconds-since-1970` in O(log n).
    static func pexpireat(_ server: Server, _ call: CommandCall) throws(CommandError) {
        try expire(server, call, .milliseconds, after: 0)
    }

    private static func expire(
        _ server: Server,
        _ call: CommandCall,
        _ unit: ExpiryUnit,
        after base: Int64
    ) throws(CommandError) {
        let key = call.arguments[1]
        let amount = try call.arguments.integer(at: 2)
        guard let when = unit.milliseconds(amount, after: base) else {
            throw .message("ERR invalid expire time in \(call.command.name)")
        }
        guard server.lookupRead(key, call) != nil else { return call.reply.writeReplyZero() }
        if when <= call.now, server.expiresKeys {
            try server.removeKey(key, call)
            call.propagateDelete(key)
        } else {
            // Where keys do not expire by themselves, one whose time is over waits for the DEL.
            try server.change { keyspace throws(KeyspaceError) in
                _ = try keyspace.setExpiry(key, in: call.database, atMilliseconds: max(1, when))
            }
            call.dirty += 1
            // Also when the time stays the same.
            server.touchWatched(key, in: call.database)
            server.notify(.generic, "expire", key, call)
            call.propagateExpiry(key, atMilliseconds: max(1, when))
        }
        call.reply.writeReplyOne()
    }

    /// `PERSIST key` in O(log n): 1 if the key had an expiry.
    ///
    /// For who watches the key it is no change, as in Redis 2.8.
    static func persist(_ server: Server, _ call: CommandCall) throws(CommandError) {
        let key = call.arguments[1]
        guard let record = server.lookupWrite(key, call), record.expireAtMilliseconds != 0 else {
            return call.reply.writeReplyZero()
        }
        server.watches.isSuspended = true
        defer { server.watches.isSuspended = false }
        try server.change { keyspace throws(KeyspaceError) in
            _ = try keyspace.setExpiry(key, in: call.database, atMilliseconds: 0)
        }
        call.dirty += 1
        call.reply.writeReplyOne()
    }

    // MARK: Reading

    /// `TTL key` in O(log n): seconds, to the nearest; -1 without expiry, -2 without key.
    static func ttl(_ server: Server, _ call: CommandCall) throws(CommandError) {
        let left = timeLeft(server, call)
        call.reply.writeReplyInteger(left < 0 ? left : (left + 500) / 1000)
    }

    /// `PTTL key` in O(log n): milliseconds; -1 without expiry, -2 without key.
    static func pttl(_ server: Server, _ call: CommandCall) throws(CommandError) {
        call.reply.writeReplyInteger(timeLeft(server, call))
    }

    private static func timeLeft(_ server: Server, _ call: CommandCall) -> Int64 {
        guard let record = server.lookupRead(call.arguments[1], call) else { return -2 }
        guard record.expireAtMilliseconds != 0 else { return -1 }
        return max(0, record.expireAtMilliseconds - call.now)
    }
}

/// What a command counts time in.
enum ExpiryUnit: Int64 {
    case milliseconds = 1
    case seconds = 1000

    /// The point in time `amount` units after `base`, in ms; nil when it is beyond what 64 bits can tell.
    ///
    /// What lies too far back is the beginning of time: over in any case.
    func milliseconds(_ amount: Int64, after base: Int64) -> Int64? {
        let (product, productOverflows) = amount.multipliedReportingOverflow(by: rawValue)
        let (sum, sumOverflows) = product.addingReportingOverflow(base)
        guard productOverflows || sumOverflows else { return sum }
        return amount < 0 ? .min : nil
    }
}

extension CommandCall {
    /// When a key set by this command expires, in ms since 1970: the amount at `index`, which must be above 0, from
    /// now.
    func expiry(after index: Int, _ unit: ExpiryUnit, command: StaticString) throws(CommandError) -> Int64 {
        let amount = try arguments.integer(at: index)
        guard amount > 0, let when = unit.milliseconds(amount, after: now) else {
            throw .message("ERR invalid expire time in \(command)")
        }
        return when
    }
}
