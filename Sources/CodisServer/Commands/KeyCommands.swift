// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import Keyspace
internal import RESP

/// The commands on keys of any type (Redis 2.8: `db.c`).
enum KeyCommands {
    static let table: [Command] = [
        Command("del", arity: .atLeast(2), flags: [.write], keys: .all, del),
        Command("exists", arity: .exactly(2), flags: [.readOnly, .fast], keys: .first, exists),
        Command("keys", arity: .exactly(2), flags: [.readOnly, .sortForScript], keys: .none, keys),
        Command("move", arity: .exactly(3), flags: [.write, .fast], keys: .first, move),
        Command("randomkey", arity: .exactly(1), flags: [.readOnly, .random], keys: .none, randomkey),
        Command("rename", arity: .exactly(3), flags: [.write], keys: .firstTwo, rename),
        Command("renamenx", arity: .exactly(3), flags: [.write, .fast], keys: .firstTwo, renamenx),
        Command("type", arity: .exactly(2), flags: [.readOnly, .fast], keys: .first, type),
    ]

    // MARK: One by one

    /// `DEL key [key …]` in O(keys · log n), whatever their sizes: replies how many there were.
    static func del(_ server: Server, _ call: CommandCall) throws(CommandError) {
        var removed = 0
        for index in 1..<call.arguments.count {
            let key = call.arguments[index]
            // A key that has expired is gone already, and does not count.
            guard server.lookupWrite(key, call) != nil else { continue }
            try server.removeKey(key, call)
            removed += 1
        }
        call.reply.writeReplyInteger(removed)
    }

    /// `EXISTS key` in O(log n).
    static func exists(_ server: Server, _ call: CommandCall) throws(CommandError) {
        if server.lookupWrite(call.arguments[1], call) != nil {
            call.reply.writeReplyOne()
        } else {
            call.reply.writeReplyZero()
        }
    }

    /// `TYPE key` in O(log n).
    static func type(_ server: Server, _ call: CommandCall) throws(CommandError) {
        call.reply.writeReplyStatus(server.lookupRead(call.arguments[1], call)?.type.name ?? "none")
    }

    // MARK: Moving

    /// `RENAME key newkey` in O(log n), whatever the size: replaces `newkey`, takes the expiry along.
    static func rename(_ server: Server, _ call: CommandCall) throws(CommandError) {
        try checkSource(server, call)
        // Whether the target has expired or not, it goes.
        try renameChecked(server, call)
        call.reply.writeReplyOK()
    }

    /// `RENAMENX key newkey` in O(log n), whatever the size: 0 if `newkey` exists.
    static func renamenx(_ server: Server, _ call: CommandCall) throws(CommandError) {
        try checkSource(server, call)
        guard server.lookupWrite(call.arguments[2], call) == nil else { return call.reply.writeReplyZero() }
        try renameChecked(server, call)
        call.reply.writeReplyOne()
    }

    private static func checkSource(_ server: Server, _ call: CommandCall) throws(CommandError) {
        guard call.arguments[1] != call.arguments[2] else { throw .sameObject }
        guard server.lookupWrite(call.arguments[1], call) != nil else { throw .noSuchKey }
    }

    private static func renameChecked(_ server: Server, _ call: CommandCall) throws(CommandError) {
        let key = call.arguments[1]
        let newKey = call.arguments[2]
        _ = try server.change { keyspace throws(KeyspaceError) in
            try keyspace.rename(key, in: call.database, to: newKey, in: call.database)
        }
        call.dirty += 1
        server.notify(.generic, "rename_from", key, call)
        server.notify(.generic, "rename_to", newKey, call)
    }

    /// `MOVE key db` in O(log n), whatever the size: 0 if the key is missing here or exists there.
    ///
    /// The expiry goes along, as since Redis 2.8.23.
    static func move(_ server: Server, _ call: CommandCall) throws(CommandError) {
        guard let number = call.arguments.optionalInteger(at: 2), number >= 0, number < Int64(server.databaseCount)
        else { throw .message("ERR index out of range") }
        let destination = Int(number)
        guard destination != call.database else { throw .sameObject }
        let key = call.arguments[1]
        guard server.lookupWrite(key, call) != nil, server.lookupWrite(key, in: destination, call) == nil else {
            return call.reply.writeReplyZero()
        }
        _ = try server.change { keyspace throws(KeyspaceError) in
            try keyspace.rename(key, in: call.database, to: key, in: destination)
        }
        call.dirty += 1
        call.reply.writeReplyOne()
    }

    // MARK: Many

    /// `RANDOMKEY` in O(log n): a key that has not expired, null without keys.
    static func randomkey(_ server: Server, _ call: CommandCall) throws(CommandError) {
        // A replica may not delete the expired keys it meets, and must not look for ever where there is nothing else.
        for _ in 0..<1000 {
            guard let key = server.keyspace.randomKey(in: call.database) else { break }
            let isAlive = ByteView.with(key) { key in
                guard let record = server.lookupWrite(key, call) else { return false }
                return !record.isExpired(at: call.now) && !ArrivingValue.isName(key)
            }
            if isAlive { return call.reply.writeReplyBulk(key) }
        }
        call.reply.writeReplyNullBulk()
    }

    /// `KEYS pattern` in O(keys).
    static func keys(_ server: Server, _ call: CommandCall) throws(CommandError) {
        let pattern = call.arguments[1]
        var found = BulkList()
        server.keyspace.forEachKey(in: call.database) { key, record in
            if !record.isExpired(at: call.now), !ArrivingValue.isName(key), Glob.matches(pattern, key) {
                found.append(key)
            }
            return true
        }
        found.write(to: &call.reply)
    }
}

extension Server {
    /// Deletes a key that is there, on behalf of a command.
    func removeKey(_ key: ByteView, _ call: CommandCall) throws(CommandError) {
        _ = try change { keyspace throws(KeyspaceError) in try keyspace.remove(key, in: call.database) }
        call.dirty += 1
        notify(.generic, "del", key, call)
    }
}

extension Record {
    /// Whether the key's time is over at `now`, in ms since 1970; it still counts in the millisecond it names.
    @inline(__always)
    func isExpired(at now: Int64) -> Bool {
        expireAtMilliseconds != 0 && now > expireAtMilliseconds
    }
}
