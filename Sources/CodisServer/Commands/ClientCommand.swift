// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import NIOCore
internal import RESP

/// CLIENT (Redis 2.8: `networking.c`, clientCommand).
enum ClientCommand {
    static let table: [Command] = [
        Command("client", arity: .atLeast(2), flags: [.readOnly, .noScript], keys: .none, client)
    ]

    /// `CLIENT LIST`, `KILL …`, `GETNAME`, `SETNAME name`, and of later versions `PAUSE milliseconds`.
    static func client(_ server: Server, _ call: CommandCall) throws(CommandError) {
        let subcommand = call.arguments[1]
        let count = call.arguments.count
        if subcommand.equalsIgnoringCase("list"), count == 2 {
            list(server, call)
        } else if subcommand.equalsIgnoringCase("kill") {
            try kill(server, call)
        } else if subcommand.equalsIgnoringCase("setname"), count == 3 {
            let name = call.arguments[2]
            guard name.allSatisfy({ $0 >= 0x21 && $0 <= 0x7E }) else {
                throw .message("ERR Client names cannot contain spaces, newlines or special characters.")
            }
            call.session.name = Array(name)
            call.reply.writeReplyOK()
        } else if subcommand.equalsIgnoringCase("getname"), count == 2 {
            if call.session.name.isEmpty {
                call.reply.writeReplyNullBulk()
            } else {
                call.reply.writeReplyBulk(call.session.name)
            }
        } else if subcommand.equalsIgnoringCase("pause"), count == 3 {
            guard let milliseconds = call.arguments.optionalInteger(at: 2) else {
                throw .message("ERR timeout is not an integer or out of range")
            }
            guard milliseconds >= 0 else { throw .message("ERR timeout is negative") }
            server.pauseClients(milliseconds: milliseconds)
            call.reply.writeReplyOK()
        } else {
            throw .message(
                "ERR Syntax error, try CLIENT (LIST | KILL ip:port | GETNAME | SETNAME connection-name)"
            )
        }
    }

    private static func list(_ server: Server, _ call: CommandCall) {
        let sessions = server.sessions.values.sorted { $0.identifier < $1.identifier }
        let text = sessions.reduce(into: "") { $0 += server.description(of: $1) + "\n" }
        call.reply.writeReplyBulk(text)
    }

    /// Which clients are to be closed; all that is given must hold.
    private struct Filter {
        var address: String?
        var identifier: Int64?
        var skipsSelf = true
        var type: SessionType?
    }

    private static func kill(_ server: Server, _ call: CommandCall) throws(CommandError) {
        var filter = Filter()
        let isOldForm = call.arguments.count == 3
        if isOldForm {
            filter.address = call.arguments.text(at: 2)
            filter.skipsSelf = false
        } else {
            filter = try self.filter(call)
        }
        var killed = 0
        for session in server.sessions.values {
            if let address = filter.address, session.address != address { continue }
            if let identifier = filter.identifier, Int64(session.identifier) != identifier { continue }
            // The way to the master is none of the three types, as in later versions: Sentinel, which has clients
            // killed when it promotes a replica, does not mean what the master has sent.
            if let type = filter.type, session.type != type || session.isMaster { continue }
            if filter.skipsSelf, session === call.session { continue }
            killed += 1
            if session === call.session {
                // The reply first.
                session.closesAfterReply = true
            } else {
                server.loop.execute { session.closeNow() }
                session.closesAfterReply = true
            }
        }
        if !isOldForm {
            call.reply.writeReplyInteger(killed)
        } else if killed > 0 {
            call.reply.writeReplyOK()
        } else {
            throw .message("ERR No such client")
        }
    }

    private static func filter(_ call: CommandCall) throws(CommandError) -> Filter {
        var filter = Filter()
        guard call.arguments.count > 3, call.arguments.count % 2 == 0 else { throw .syntax }
        for index in stride(from: 2, to: call.arguments.count, by: 2) {
            let option = call.arguments[index]
            let value = call.arguments[index + 1]
            if option.equalsIgnoringCase("id") {
                filter.identifier = try call.arguments.integer(at: index + 1)
            } else if option.equalsIgnoringCase("addr") {
                filter.address = String(value)
            } else if option.equalsIgnoringCase("type") {
                guard let type = SessionType.allCases.first(where: { value.equalsIgnoringCase($0.rawValue) }) else {
                    throw .bytes(Array("ERR Unknown client type '".utf8) + Array(value) + [0x27])
                }
                filter.type = type
            } else if option.equalsIgnoringCase("skipme") {
                if value.equalsIgnoringCase("yes") {
                    filter.skipsSelf = true
                } else if value.equalsIgnoringCase("no") {
                    filter.skipsSelf = false
                } else {
                    throw .syntax
                }
            } else {
                throw .syntax
            }
        }
        return filter
    }
}
