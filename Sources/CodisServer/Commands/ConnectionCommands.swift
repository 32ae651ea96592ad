// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import RESP

/// The commands on the connection itself (Redis 2.8: `redis.c`, `db.c`).
///
/// QUIT is no row: see `Server.execute`.
enum ConnectionCommands {
    static let table: [Command] = [
        Command(
            "auth",
            arity: .exactly(2),
            flags: [.readOnly, .noScript, .loading, .stale, .fast],
            keys: .none,
            auth
        ),
        Command("echo", arity: .exactly(2), flags: [.readOnly, .fast], keys: .none, echo),
        Command("ping", arity: .atLeast(1), flags: [.readOnly, .stale, .fast], keys: .none, ping),
        Command("select", arity: .exactly(2), flags: [.readOnly, .loading, .fast], keys: .none, select),
    ]

    /// `PING [text]`.
    ///
    /// A client that has subscriptions gets the form of a message.
    static func ping(_ server: Server, _ call: CommandCall) throws(CommandError) {
        if call.session.modes.contains(.subscribed), call.arguments.count <= 2 {
            call.reply.writeReplyArrayHeader(2)
            call.reply.writeReplyBulk(ByteView("pong"))
            call.reply.writeReplyBulk(call.arguments.count == 2 ? call.arguments[1] : ByteView())
            return
        }
        switch call.arguments.count {
        case 1: call.reply.writeReplyPong()
        case 2: call.reply.writeReplyBulk(call.arguments[1])
        default: throw .message("ERR wrong number of arguments for 'ping' command")
        }
    }

    /// `ECHO text`.
    static func echo(_ server: Server, _ call: CommandCall) throws(CommandError) {
        call.reply.writeReplyBulk(call.arguments[1])
    }

    /// `AUTH password`.
    ///
    /// A wrong one takes back what a right one has given.
    static func auth(_ server: Server, _ call: CommandCall) throws(CommandError) {
        guard let password = server.config.requiredPassword else {
            throw .message("ERR Client sent AUTH, but no password is set")
        }
        guard isEqualInConstantTime(call.arguments[1], password) else {
            call.session.isAuthenticated = false
            throw .message("ERR invalid password")
        }
        call.session.isAuthenticated = true
        call.reply.writeReplyOK()
    }

    /// Compares without telling by the time it takes how much of the password was right.
    static func isEqualInConstantTime(_ given: ByteView, _ password: [UInt8]) -> Bool {
        var difference = given.count ^ password.count
        for index in 0..<given.count {
            difference |= Int(given[index] ^ (password.isEmpty ? 0 : password[index % password.count]))
        }
        return difference == 0
    }

    /// `SELECT index`.
    static func select(_ server: Server, _ call: CommandCall) throws(CommandError) {
        guard let index = call.arguments.optionalInteger(at: 1), index >= 0, index < Int64(server.databaseCount) else {
            throw .message("ERR invalid DB index")
        }
        call.session.database = Int(index)
        call.database = Int(index)
        call.reply.writeReplyOK()
    }
}
