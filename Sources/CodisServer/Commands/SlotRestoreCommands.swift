// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import Keyspace
internal import RDB
internal import RESP

/// The commands by which keys arrive from another server (Codis 2.0: `slots.c`).
enum SlotRestoreCommands {
    static let table: [Command] = [
        Command(
            "slotsrestore",
            arity: .atLeast(4),
            flags: [.write, .denyOutOfMemory, .admin],
            keys: .first,
            slotsrestore
        ),
        Command(
            "slotsrestore-part",
            arity: .atLeast(3),
            flags: [.write, .denyOutOfMemory, .admin, .noScript],
            keys: .none,
            part
        ),
        Command(
            "slotsrestore-end",
            arity: .atLeast(5),
            flags: [.write, .denyOutOfMemory, .admin, .noScript],
            keys: .none,
            end
        ),
    ]

    /// `SLOTSRESTORE key ttl-in-ms payload [key ttl payload …]` in O(log n + size) each: all keys arrive, or none.
    ///
    /// Propagated as it is; if something expires, with ttl 0 and `PEXPIREAT` behind it.
    static func slotsrestore(_ server: Server, _ call: CommandCall) throws(CommandError) {
        try restore(server, call, stride: 3)
    }

    /// `SLOTSRESTORE-END key ttl-in-ms payload DUMP|count name [key …]`: as SLOTSRESTORE, for keys whose values have
    /// arrived in pieces under another name, and others of the same batch.
    ///
    /// Not in Codis: our servers use it between each other, see ``StagedValue``.
    static func end(_ server: Server, _ call: CommandCall) throws(CommandError) {
        try restore(server, call, stride: 4)
    }

    private static func restore(_ server: Server, _ call: CommandCall, stride: Int) throws(CommandError) {
        let count = call.arguments.count
        guard count > stride, (count - 1) % stride == 0 else {
            throw .message("ERR wrong number of arguments for '\(call.command.name)' command")
        }
        let isLarge =
            (count - 1) / stride > SlotRestore.mostKeysAtOnce || call.arguments.byteCount > SlotRestore.mostBytesAtOnce
        if isLarge, server.canSuspend(call), !server.isReplica {
            let restore = SlotRestore(server, call, stride: stride)
            return try server.runInSteps(call) { reply throws(CommandError) in try restore.step(&reply) }
        }
        for index in Swift.stride(from: 1, to: count, by: stride) {
            try server.check(try arrivingKey(server, call, index, stride), in: call.database)
        }
        var restored: [RestoredKey] = []
        defer {
            if stride == 3, restored.count * 3 == count - 1, isVerbatim(restored) {
                call.dirty += restored.count
            } else {
                server.record(restored, in: call.database)
            }
        }
        call.session.hasWritten = true
        for index in Swift.stride(from: 1, to: count, by: stride) {
            try server.restore(try arrivingKey(server, call, index, stride), in: call.database, &restored)
        }
        call.reply.writeReplyOK()
    }

    /// Whether the request leads to the same at any time, and on a slave of version 2.8.
    private static func isVerbatim(_ restored: [RestoredKey]) -> Bool {
        restored.allSatisfy {
            $0.expireAtMilliseconds == 0
                && DumpPayload.hasVersion($0.payload, among: DumpPayload.versionsOfRedis28)
        }
    }

    private static func arrivingKey(
        _ server: Server,
        _ call: CommandCall,
        _ index: Int,
        _ stride: Int
    ) throws(CommandError) -> ArrivingKey {
        try server.arrivingKey(
            call.arguments[index],
            call.arguments[index + 1],
            (call.arguments[index + 2], stride == 4 ? call.arguments[index + 3] : nil)
        )
    }

    /// `SLOTSRESTORE-PART name command [argument …]`: adds to a value that arrives in pieces.
    ///
    /// It adds what `command name argument …` would, now or with later pieces; the command is APPEND, RPUSH, SADD,
    /// ZADD or HMSET. Without arguments it adds what waits; for a name that is not known it does nothing, but tells
    /// that this server knows the command.
    ///
    /// The value goes when the connection does.
    static func part(_ server: Server, _ call: CommandCall) throws(CommandError) {
        guard let type = StagedValue.type(ofCommand: call.arguments[2]) else { throw .syntax }
        let name = Array(call.arguments[1])
        let known = server.stagedValues[name]
        if call.arguments.count == 3, known == nil { return call.reply.writeReplyOK() }
        guard known == nil || known?.session === call.session else {
            throw .message("ERR the value arrives over another connection")
        }
        let staged = known?.value ?? StagedValue(server, name: name, in: call.database)
        guard staged.database == call.database else { throw .message("ERR the value arrives in another database") }
        server.stagedValues[name] = (staged, call.session)
        call.session.hasWritten = true
        let session = call.session
        let elements = (3..<call.arguments.count).map { call.arguments[$0] }
        let waits = elements.isEmpty ? false : try staged.take(elements, type: type)
        if waits ? !staged.isFull : !staged.hasWaiting {
            if !waits, !elements.isEmpty { try staged.append(elements, type: type, for: session) }
            call.reply.writeReplyOK()
            return session.yieldIfLong()
        }
        let rest = waits ? nil : RetainedArguments(call)
        try server.runInSteps(call) { reply throws(CommandError) in
            try server.checkIsStillMaster()
            server.checkpoints.isWelcome = true
            if staged.hasWaiting { try staged.addSomeWaiting(for: session) }
            guard !staged.hasWaiting else { return false }
            // Nothing is added to what was abandoned meanwhile.
            if let rest, rest.count > 3, server.stagedValues[name]?.value === staged {
                try staged.append((3..<rest.count).map { rest[$0] }, type: type, for: session)
            }
            reply.writeReplyOK()
            return true
        }
    }
}

extension Server {
    /// Drops what has arrived in pieces over a connection that is gone.
    func abandonStagedValues(of session: Session) {
        guard !stagedValues.isEmpty else { return }
        for (name, staged) in stagedValues where staged.session === session {
            stagedValues[name] = nil
            staged.value.abandon()
        }
    }
}
