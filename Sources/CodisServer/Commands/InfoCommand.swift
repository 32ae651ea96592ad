// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import RESP

/// INFO (Redis 2.8: `redis.c`, infoCommand); the text is made in `Info.swift`.
enum InfoCommand {
    static let table: [Command] = [
        Command("info", arity: .atLeast(1), flags: [.readOnly, .loading, .stale], keys: .none, info)
    ]

    /// `INFO [section]` in O(slots · databases + clients): an unknown section is empty.
    static func info(_ server: Server, _ call: CommandCall) throws(CommandError) {
        guard call.arguments.count <= 2 else { throw .syntax }
        let section = call.arguments.count == 2 ? call.arguments.text(at: 1) : "default"
        call.reply.writeReplyBulk(server.info(section))
    }
}
