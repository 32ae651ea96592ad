// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import RESP

/// The commands of transactions (Redis 2.8: `multi.c`).
enum TransactionCommands {
    static let table: [Command] = [
        Command("discard", arity: .exactly(1), flags: [.readOnly, .noScript, .fast], keys: .none, discard),
        Command("exec", arity: .exactly(1), flags: [.noScript, .skipMonitor], keys: .none, exec),
        Command("multi", arity: .exactly(1), flags: [.readOnly, .noScript, .fast], keys: .none, multi),
        Command("unwatch", arity: .exactly(1), flags: [.readOnly, .noScript, .fast], keys: .none, unwatch),
        Command("watch", arity: .atLeast(2), flags: [.readOnly, .noScript, .fast], keys: .all, watch),
    ]

    /// Whether the command runs at once even between MULTI and EXEC.
    static func runsInTransaction(_ command: Command) -> Bool {
        switch command.name {
        case "exec", "discard", "multi", "watch": true
        default: false
        }
    }

    /// `MULTI`: from now on commands are queued.
    static func multi(_ server: Server, _ call: CommandCall) throws(CommandError) {
        guard !call.session.modes.contains(.transaction) else {
            throw .message("ERR MULTI calls can not be nested")
        }
        call.session.modes.insert(.transaction)
        call.reply.writeReplyOK()
    }

    /// `EXEC`: runs what was queued, all of it with nothing between, or nothing.
    ///
    /// Nothing, if a command was refused when it was queued (an error) or a watched key was changed (null).
    static func exec(_ server: Server, _ call: CommandCall) throws(CommandError) {
        let session = call.session
        guard session.modes.contains(.transaction) else { throw .message("ERR EXEC without MULTI") }
        let name = call.arguments[0]
        let transaction = session.transaction
        if transaction.isAborted || transaction.isTouched {
            server.discardTransaction(session)
            show(server, call)
            if transaction.isAborted { throw .executionAborted }
            return call.reply.writeReplyNullArray()
        }
        let exec = call.command
        let hasEnded = server.runTransaction(call)
        // The command that ends now is EXEC again, which itself changes nothing.
        call.arguments.take([name])
        call.command = exec
        call.dirty = 0
        session.lastCommand = exec
        if hasEnded { show(server, call) }
    }

    /// Shows EXEC to who monitors, after what it ran.
    private static func show(_ server: Server, _ call: CommandCall) {
        if server.gates.contains(.monitored) { server.showToMonitors(call) }
    }

    /// `DISCARD`: forgets what was queued, and what is watched.
    static func discard(_ server: Server, _ call: CommandCall) throws(CommandError) {
        guard call.session.modes.contains(.transaction) else { throw .message("ERR DISCARD without MULTI") }
        server.discardTransaction(call.session)
        call.reply.writeReplyOK()
    }

    /// `WATCH key [key …]`: EXEC will do nothing if one of the keys is changed before.
    static func watch(_ server: Server, _ call: CommandCall) throws(CommandError) {
        guard !call.session.modes.contains(.transaction) else {
            throw .message("ERR WATCH inside MULTI is not allowed")
        }
        for index in 1..<call.arguments.count {
            server.watch(call.arguments[index], in: call.database, call.session)
        }
        call.reply.writeReplyOK()
    }

    /// `UNWATCH`: forgets what is watched.
    static func unwatch(_ server: Server, _ call: CommandCall) throws(CommandError) {
        server.unwatchAll(call.session)
        call.reply.writeReplyOK()
    }
}
