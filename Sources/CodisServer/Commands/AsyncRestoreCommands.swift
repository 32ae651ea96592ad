// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import NIOCore
internal import RESP

/// What a server that moves keys asynchronously says to this one (Codis 3.2: `slots_async.c`).
///
/// Each message is acknowledged by a command to the sender, `SLOTSRESTORE-ASYNC-ACK code text`: 0 and a result, or -1
/// and why not, whereupon the connection is closed.
enum AsyncRestoreCommands {
    static let table: [Command] = [
        Command(
            "slotsrestore-async",
            arity: .atLeast(2),
            flags: [.write, .denyOutOfMemory],
            keys: .none,
            restore
        ),
        Command("slotsrestore-async-ack", arity: .exactly(3), flags: [.write], keys: .none, acknowledgement),
        Command(
            "slotsrestore-async-auth",
            arity: .exactly(2),
            flags: [.noScript, .loading, .stale, .fast],
            keys: .none,
            auth
        ),
        Command("slotsrestore-async-select", arity: .exactly(2), flags: [.loading, .fast], keys: .none, select),
    ]

    /// `SLOTSRESTORE-ASYNC delete|expire|string|object|list|hash|dict|zset key …`: see `ArrivingPiece`.
    ///
    /// Propagated as what it does, in commands of Redis 2.8.
    static func restore(_ server: Server, _ call: CommandCall) throws(CommandError) {
        call.session.isSender = true
        do throws(CommandError) {
            acknowledge(call, 0, try ArrivingPiece(server, call).take())
            if !call.isFromScript { call.session.yieldIfLong() }
        } catch {
            refuse(call, error.line)
        }
    }

    /// `SLOTSRESTORE-ASYNC-ACK code text` from somebody that was sent nothing: the acknowledgements that are waited for
    /// come on connections that this server made.
    static func acknowledgement(_ server: Server, _ call: CommandCall) throws(CommandError) {
        if !call.isFromScript { call.session.closesAfterReply = true }
        throw .message("ERR invalid client, permission denied")
    }

    /// `SLOTSRESTORE-ASYNC-AUTH password`.
    static func auth(_ server: Server, _ call: CommandCall) throws(CommandError) {
        call.session.isSender = true
        guard let password = server.config.requiredPassword else {
            return refuse(call, "Client sent AUTH, but no password is set")
        }
        guard ConnectionCommands.isEqualInConstantTime(call.arguments[1], password) else {
            call.session.isAuthenticated = false
            return refuse(call, "invalid password")
        }
        call.session.isAuthenticated = true
        acknowledge(call, 0, "OK")
    }

    /// `SLOTSRESTORE-ASYNC-SELECT database`.
    static func select(_ server: Server, _ call: CommandCall) throws(CommandError) {
        call.session.isSender = true
        guard let index = call.arguments.optionalInteger(at: 1), index >= 0, index < Int64(server.databaseCount) else {
            return refuse(call, Array("invalid DB index (".utf8) + Array(call.arguments[1]) + [0x29])
        }
        call.session.database = Int(index)
        call.database = Int(index)
        acknowledge(call, 0, "OK")
    }

    // MARK: Acknowledgements

    private static func acknowledge(_ call: CommandCall, _ code: Int64, _ text: ByteView) {
        call.reply.writeRequestHeader(argumentCount: 3)
        call.reply.writeRequestArgument("SLOTSRESTORE-ASYNC-ACK")
        call.reply.writeRequestArgument(code)
        call.reply.writeRequestArgument(text)
    }

    private static func acknowledge(_ call: CommandCall, _ code: Int64, _ text: StaticString) {
        acknowledge(call, code, ByteView(text))
    }

    private static func acknowledge(_ call: CommandCall, _ code: Int64, _ number: Int) {
        ByteView.with(DecimalNumber.digits(of: Int64(number))) { acknowledge(call, code, $0) }
    }

    private static func refuse(_ call: CommandCall, _ text: String) { refuse(call, Array(text.utf8)) }

    private static func refuse(_ call: CommandCall, _ text: [UInt8]) {
        ByteView.with(text) { acknowledge(call, -1, $0) }
        if !call.isFromScript { call.session.closesAfterReply = true }
    }
}
