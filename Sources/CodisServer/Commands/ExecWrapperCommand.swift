// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import RESP

/// SLOTSMGRT-EXEC-WRAPPER: a command for a key that may be on its way to another server (Codis 3.2: `slots_async.c`).
enum ExecWrapperCommand {
    static let table: [Command] = [
        Command(
            "slotsmgrt-exec-wrapper",
            arity: .atLeast(3),
            flags: [.write, .denyOutOfMemory],
            keys: .none,
            wrapper
        )
    ]

    /// `SLOTSMGRT-EXEC-WRAPPER key command [argument …]`: two elements, the first of which says what the second is.
    ///
    /// 2: the reply of the command. 1: it would change a key that is on its way. 0: there is no such key. -1: there is
    /// no such command, or it cannot be wrapped. Propagated as the command that was wrapped.
    static func wrapper(_ server: Server, _ call: CommandCall) throws(CommandError) {
        let name = Array(call.arguments[2])
        guard let command = server.commands.find(call.arguments[2]), canBeWrapped(command, call) else {
            return refuse(call, -1, Array("ERR invalid command specified (".utf8) + name + [0x29])
        }
        guard command.arity.accepts(call.arguments.count - 2) else {
            return refuse(call, -1, Array("ERR wrong number of arguments for command (".utf8) + name + [0x29])
        }
        guard server.lookupWrite(call.arguments[1], call) != nil else {
            return refuse(call, 0, Array("ERR the specified key doesn't exist".utf8))
        }
        if !command.flags.contains(.readOnly), namesMigrating(command, server, call) {
            return refuse(call, 1, Array("ERR the specified key is being migrated".utf8))
        }
        call.reply.writeReplyArrayHeader(2)
        call.reply.writeReplyInteger(2)
        run(command, server, call)
    }

    /// What is about a connection or the server itself is not wrapped, nor is a wrapped command, nor in a script what a
    /// script may not call.
    private static func canBeWrapped(_ command: Command, _ call: CommandCall) -> Bool {
        guard command.flags.isDisjoint(with: [.admin, .pubSub]), command !== call.command else { return false }
        guard command.flags.contains(.noScript) else { return true }
        return !call.isFromScript && (command.keys != .none || command.flags.contains(.movableKeys))
    }

    /// Whether the wrapper's key, or one of the command's, is on its way.
    private static func namesMigrating(_ command: Command, _ server: Server, _ call: CommandCall) -> Bool {
        guard server.isMigrating(call.database) else { return false }
        if server.isMigrating(call.arguments[1], in: call.database) { return true }
        var arguments = Arguments()
        arguments.take((2..<call.arguments.count).map { call.arguments[$0] })
        var isMigrating = false
        command.keyRule.forEachKey(arguments, call.database) { key, database in
            isMigrating = server.isMigrating(key, in: database)
            return !isMigrating
        }
        return isMigrating
    }

    private static func run(_ command: Command, _ server: Server, _ call: CommandCall) {
        let wrapper = call.command
        call.arguments.take((2..<call.arguments.count).map { call.arguments[$0] })
        // What stands in the log is made of the arguments.
        call.request = ByteView()
        server.run(command, call)
        // It was counted and propagated as itself.
        call.command = wrapper
        call.dirty = 0
        call.preventPropagation()
        server.isExecuting = true
    }

    private static func refuse(_ call: CommandCall, _ code: Int, _ text: [UInt8]) {
        call.reply.writeReplyArrayHeader(2)
        call.reply.writeReplyInteger(code)
        call.reply.writeReplyError(text)
    }
}
