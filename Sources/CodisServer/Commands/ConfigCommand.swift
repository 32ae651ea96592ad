// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import Keyspace
internal import RESP

/// CONFIG (Redis 2.8: `config.c`, configCommand).
enum ConfigCommand {
    static let table: [Command] = [
        Command("config", arity: .atLeast(2), flags: [.readOnly, .admin, .stale], keys: .none, config)
    ]

    /// `CONFIG GET pattern`, `SET name value`, `RESETSTAT`, `REWRITE`.
    static func config(_ server: Server, _ call: CommandCall) throws(CommandError) {
        let subcommand = call.arguments[1]
        if subcommand.equalsIgnoringCase("set") {
            try checkCount(4, call)
            try set(server, call)
        } else if subcommand.equalsIgnoringCase("get") {
            try checkCount(3, call)
            let found = server.config.get(call.arguments[2])
            call.reply.writeReplyArrayHeader(found.count * 2)
            for (name, value) in found {
                call.reply.writeReplyBulk(name)
                call.reply.writeReplyBulk(value)
            }
        } else if subcommand.equalsIgnoringCase("resetstat") {
            try checkCount(2, call)
            server.statistics.reset()
            server.commandStatistics.reset()
            server.keyspace.traffic.reset()
            call.reply.writeReplyOK()
        } else if subcommand.equalsIgnoringCase("rewrite") {
            try checkCount(2, call)
            do throws(ConfigError) {
                try ConfigRewriter.rewrite(server.config)
            } catch {
                server.log.warning("CONFIG REWRITE failed: \(String(decoding: error.errorLine, as: UTF8.self))")
                throw .bytes(error.errorLine)
            }
            server.log.warning("CONFIG REWRITE executed with success.")
            call.reply.writeReplyOK()
        } else {
            throw .message("ERR CONFIG subcommand must be one of GET, SET, RESETSTAT, REWRITE")
        }
    }

    private static func checkCount(_ count: Int, _ call: CommandCall) throws(CommandError) {
        guard call.arguments.count == count else {
            throw .bytes(Array("ERR Wrong number of arguments for CONFIG ".utf8) + Array(call.arguments[1]))
        }
    }

    private static func set(_ server: Server, _ call: CommandCall) throws(CommandError) {
        let clientsBefore = server.config.maximumClients
        let wasAppendOnly = server.config.appendOnly
        do throws(ConfigError) {
            try server.config.set(call.arguments[2], call.arguments[3])
        } catch {
            throw .bytes(error.errorLine)
        }
        if server.config.maximumClients > clientsBefore {
            let possible = OpenFileLimit.raise(forClients: server.config.maximumClients)
            if possible < server.config.maximumClients {
                server.config.maximumClients = clientsBefore
                throw .message(
                    "ERR The operating system is not able to handle the specified number of clients, "
                        + "try with \(possible)"
                )
            }
        }
        if wasAppendOnly, !server.config.appendOnly { server.stopRewrite() }
        server.configurationChanged()
        call.reply.writeReplyOK()
    }
}
