// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import Keyspace
internal import RESP

/// The commands that wait for an element of a list (Redis 2.8: `t_list.c`).
enum BlockingCommands {
    static let table: [Command] = [
        Command("blpop", arity: .atLeast(3), flags: [.write, .noScript], keys: .range(1, -2, 1), blpop),
        Command("brpop", arity: .atLeast(3), flags: [.write, .noScript], keys: .first, brpop),
        Command(
            "brpoplpush",
            arity: .exactly(4),
            flags: [.write, .denyOutOfMemory, .noScript],
            keys: .firstTwo,
            brpoplpush
        ),
    ]

    /// `BLPOP key [key …] timeout`: the head of the first list that there is, when there is one.
    ///
    /// Propagated as `LPOP key`.
    static func blpop(_ server: Server, _ call: CommandCall) throws(CommandError) {
        try pop(server, call, .leftPop, "LPOP", ListCommands.lpop)
    }

    /// `BRPOP key [key …] timeout`: the tail of the first list that there is, when there is one.
    ///
    /// Propagated as `RPOP key`.
    static func brpop(_ server: Server, _ call: CommandCall) throws(CommandError) {
        try pop(server, call, .rightPop, "RPOP", ListCommands.rpop)
    }

    private static func pop(
        _ server: Server,
        _ call: CommandCall,
        _ kind: BlockedCommand.Kind,
        _ name: StaticString,
        _ function: Command.Function
    ) throws(CommandError) {
        let last = call.arguments.count - 1
        let timeout = try timeoutSeconds(call, at: last)
        for index in 1..<last {
            let key = call.arguments[index]
            guard let record = server.lookupWrite(key, call) else { continue }
            guard record.type == .list else { throw .wrongType }
            call.reply.writeReplyArrayHeader(2)
            call.reply.writeReplyBulk(key)
            return try run(server, call, name, [key], function)
        }
        // A transaction does not wait: its time is over at once.
        guard !call.session.modes.contains(.transaction) else { return call.reply.writeReplyNullArray() }
        server.block(call, kind, keys: 1..<last, timeoutSeconds: timeout)
    }

    /// `BRPOPLPUSH source destination timeout`: moves the tail of a list to the head of another, when there is one.
    ///
    /// Propagated as `RPOPLPUSH source destination`.
    static func brpoplpush(_ server: Server, _ call: CommandCall) throws(CommandError) {
        let timeout = try timeoutSeconds(call, at: 3)
        let source = call.arguments[1]
        let destination = call.arguments[2]
        if let record = server.lookupWrite(source, call) {
            guard record.type == .list else { throw .wrongType }
            return try run(server, call, "RPOPLPUSH", [source, destination], ListCommands.rpoplpush)
        }
        guard !call.session.modes.contains(.transaction) else { return call.reply.writeReplyNullBulk() }
        server.block(call, .move(destination: Array(destination)), keys: 1..<2, timeoutSeconds: timeout)
    }

    /// Goes on as another command, which is also what enters the log.
    private static func run(
        _ server: Server,
        _ call: CommandCall,
        _ name: StaticString,
        _ keys: [ByteView],
        _ function: Command.Function
    ) throws(CommandError) {
        call.runsFor(name, keys)
        try function(server, call)
        if call.dirty != 0, !call.isPropagated { call.propagate([ByteView(name)] + keys) }
    }

    private static func timeoutSeconds(_ call: CommandCall, at index: Int) throws(CommandError) -> Int64 {
        guard let seconds = call.arguments.optionalInteger(at: index) else {
            throw .message("ERR timeout is not an integer or out of range")
        }
        guard seconds >= 0 else { throw .message("ERR timeout is negative") }
        return seconds
    }
}
