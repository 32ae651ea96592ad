// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import Glibc
internal import Keyspace
internal import NIOCore
internal import RESP

/// The commands on the server as a whole (Redis 2.8: `redis.c`, `db.c`, `rdb.c`, `aof.c`).
enum ServerCommands {
    static let table: [Command] = [
        Command("bgrewriteaof", arity: .exactly(1), flags: [.readOnly, .admin], keys: .none, bgrewriteaof),
        Command("bgsave", arity: .exactly(1), flags: [.readOnly, .admin], keys: .none, bgsave),
        Command("dbsize", arity: .exactly(1), flags: [.readOnly, .fast], keys: .none, dbsize),
        Command("flushall", arity: .exactly(1), flags: [.write], keys: .none, flushall),
        Command("flushdb", arity: .exactly(1), flags: [.write], keys: .none, flushdb),
        Command("lastsave", arity: .exactly(1), flags: [.readOnly, .random, .fast], keys: .none, lastsave),
        Command("monitor", arity: .exactly(1), flags: [.readOnly, .admin, .noScript], keys: .none, monitor),
        Command("save", arity: .exactly(1), flags: [.readOnly, .admin, .noScript], keys: .none, save),
        Command(
            "shutdown",
            arity: .atLeast(1),
            flags: [.readOnly, .admin, .loading, .stale],
            keys: .none,
            shutdown
        ),
        Command("time", arity: .exactly(1), flags: [.readOnly, .random, .fast], keys: .none, time),
    ]

    // MARK: Keys

    /// `DBSIZE` in O(1).
    ///
    /// Keys that have expired count until they are deleted.
    static func dbsize(_ server: Server, _ call: CommandCall) throws(CommandError) {
        call.reply.writeReplyInteger(server.keyspace.keyCount(in: call.database))
    }

    /// `FLUSHDB` in O(1).
    ///
    /// Propagated only if there were keys.
    static func flushdb(_ server: Server, _ call: CommandCall) throws(CommandError) {
        let count = server.keyspace.keyCount(in: call.database)
        if count > 0 {
            try server.change { keyspace throws(KeyspaceError) in try keyspace.removeAll(in: call.database) }
            call.dirty += count
            server.scheduleReclaim()
        }
        call.reply.writeReplyOK()
    }

    /// `FLUSHALL` in O(databases).
    ///
    /// Propagated always.
    static func flushall(_ server: Server, _ call: CommandCall) throws(CommandError) {
        for database in 0..<server.databaseCount where server.keyspace.keyCount(in: database) > 0 {
            call.dirty += server.keyspace.keyCount(in: database)
            try server.change { keyspace throws(KeyspaceError) in try keyspace.removeAll(in: database) }
        }
        call.dirty += 1
        server.scheduleReclaim()
        if !server.isLoading, !server.config.savePoints.isEmpty {
            // The dump is to be empty as well, at once; what is being written has the keys that are gone.
            server.stopBackgroundSave()
            _ = server.saveNow(resettingDirty: false)
        }
        call.reply.writeReplyOK()
    }

    // MARK: Durability

    /// `LASTSAVE`: when the last dump was written, in seconds since 1970.
    static func lastsave(_ server: Server, _ call: CommandCall) throws(CommandError) {
        call.reply.writeReplyInteger(server.saves.lastSeconds)
    }

    /// `SAVE` in O(data): a dump before the reply; nothing else is served meanwhile.
    static func save(_ server: Server, _ call: CommandCall) throws(CommandError) {
        guard !server.effects.isInUnit else { throw .message("ERR SAVE is not possible within a transaction") }
        guard server.saves.running == nil else { throw .message("ERR Background save already in progress") }
        guard server.saveNow() else { throw .message("ERR") }
        call.reply.writeReplyOK()
    }

    /// `BGSAVE`: a dump in the background, of the state at the end of this turn of the event loop.
    static func bgsave(_ server: Server, _ call: CommandCall) throws(CommandError) {
        guard server.saves.running == nil else { throw .message("ERR Background save already in progress") }
        guard server.saves.rewriting == nil else {
            throw .message("ERR Can't BGSAVE while AOF log rewriting is in progress")
        }
        server.startBackgroundSave()
        call.reply.writeReplyStatus("Background saving started")
    }

    /// `BGREWRITEAOF`: an append-only file in the background, of the state at the end of this turn of the event loop.
    ///
    /// What a rewrite is for in Redis, a shorter log, comes of the checkpoint that goes with it.
    static func bgrewriteaof(_ server: Server, _ call: CommandCall) throws(CommandError) {
        guard server.saves.rewriting == nil else {
            throw .message("ERR Background append only file rewriting already in progress")
        }
        if server.saves.running != nil {
            server.saves.isRewriteScheduled = true
            return call.reply.writeReplyStatus("Background append only file rewriting scheduled")
        }
        server.startRewrite()
        call.reply.writeReplyStatus("Background append only file rewriting started")
    }

    /// `SHUTDOWN [NOSAVE|SAVE]`: no reply when it works.
    static func shutdown(_ server: Server, _ call: CommandCall) throws(CommandError) {
        var saving: Bool?
        switch call.arguments.count {
        case 1: break
        case 2 where call.arguments[1].equalsIgnoringCase("nosave"): saving = false
        case 2 where call.arguments[1].equalsIgnoringCase("save"): saving = true
        default: throw .syntax
        }
        let session = call.session
        server.shutDownAfterReplicas(saving: saving) { [weak session] in
            session?.reply { $0.writeReplyError("ERR Errors trying to SHUTDOWN. Check logs.") }
        }
    }

    // MARK: Others

    /// `TIME`: seconds since 1970, and microseconds.
    static func time(_ server: Server, _ call: CommandCall) throws(CommandError) {
        let microseconds = server.clock.microseconds
        call.reply.writeReplyArrayHeader(2)
        call.reply.writeReplyBulk(microseconds / 1_000_000)
        call.reply.writeReplyBulk(microseconds % 1_000_000)
    }

    /// `MONITOR`: from now on the client is shown what all clients ask for.
    static func monitor(_ server: Server, _ call: CommandCall) throws(CommandError) {
        guard !call.session.isMonitor else { return }
        call.session.isMonitor = true
        server.monitors.append(call.session)
        server.configurationChanged()
        call.reply.writeReplyOK()
    }
}
