// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import NIOCore
internal import RESP

/// EVAL and its family (Redis 2.8: `scripting.c`).
enum ScriptCommands {
    static let table: [Command] = [
        Command("eval", arity: .atLeast(3), flags: [.noScript, .movableKeys], keys: .none, eval),
        Command("evalsha", arity: .atLeast(3), flags: [.noScript, .movableKeys], keys: .none, evalsha),
        Command("script", arity: .atLeast(2), flags: [.readOnly, .noScript], keys: .none, script),
    ]

    /// `EVAL script number-of-keys key... argument...`.
    ///
    /// Propagated as what the script did.
    static func eval(_ server: Server, _ call: CommandCall) throws(CommandError) {
        let scripts = server.scripts
        let body = call.arguments[1]
        try scripts.evaluate(call, name: scripts.name(of: body), body: body)
    }

    /// `EVALSHA sha1 number-of-keys key... argument...`.
    ///
    /// Propagated as what the script did.
    static func evalsha(_ server: Server, _ call: CommandCall) throws(CommandError) {
        guard let name = name(ofDigits: call.arguments[1]) else {
            throw .message("NOSCRIPT No matching script. Please use EVAL.")
        }
        try server.scripts.evaluate(call, name: name, body: nil)
    }

    /// The name of the script with these 40 digits, whose case does not count; nil if there are not 40.
    private static func name(ofDigits digits: ByteView) -> [UInt8]? {
        guard digits.count == 40 else { return nil }
        return [0x66, 0x5F] + digits.map { $0 >= 65 && $0 <= 90 ? $0 | 0x20 : $0 }
    }

    /// `SCRIPT FLUSH`, `EXISTS sha1...`, `LOAD script`, `KILL`.
    ///
    /// FLUSH and LOAD are propagated as they are, always.
    static func script(_ server: Server, _ call: CommandCall) throws(CommandError) {
        let subcommand = call.arguments[1]
        let count = call.arguments.count
        if subcommand.equalsIgnoringCase("flush"), count == 2 {
            server.resetScripts()
            try propagate(server, call)
            call.reply.writeReplyOK()
        } else if subcommand.equalsIgnoringCase("exists"), count >= 2 {
            call.reply.writeReplyArrayHeader(count - 2)
            for index in 2..<count {
                let name = name(ofDigits: call.arguments[index])
                call.reply.writeReplyInteger(name.map { server.scripts.knows($0) } ?? false ? 1 : 0)
            }
        } else if subcommand.equalsIgnoringCase("load"), count == 3 {
            let name = server.scripts.name(of: call.arguments[2])
            if !server.scripts.knows(name) { try server.scripts.define(name, call.arguments[2]) }
            try propagate(server, call)
            call.reply.writeReplyBulk(Array(name.dropFirst(2)))
        } else if subcommand.equalsIgnoringCase("kill"), count == 2 {
            try server.scripts.kill()
            call.reply.writeReplyOK()
        } else {
            throw .message("ERR Unknown SCRIPT subcommand or wrong # of args.")
        }
    }

    private static func propagate(_ server: Server, _ call: CommandCall) throws(CommandError) {
        guard server.effects.ensureRoom(bytes: call.arguments.byteCount + 256) else { throw .outOfSpace }
        server.effects.append(call.arguments, name: "script", database: call.database)
        call.session.hasWritten = true
        server.needsTickEnd()
    }
}

extension Server {
    /// The interpreter of scripts, made when it is first asked for.
    var scripts: ScriptEngine {
        if let scriptEngine { return scriptEngine }
        let engine = ScriptEngine(self)
        scriptEngine = engine
        return engine
    }

    /// SCRIPT FLUSH: forgets all scripts and what they left behind.
    func resetScripts() { scriptEngine?.reset() }

    /// Whether `command` may run while a script overruns its time.
    func mayRunDuringScript(_ command: Command, _ call: CommandCall) -> Bool {
        switch command.name {
        case "auth", "slotsrestore-async-auth", "replconf": true
        case "shutdown": call.arguments.count == 2 && begins(call.arguments[1], with: "n")
        case "script": call.arguments.count == 2 && begins(call.arguments[1], with: "k")
        default: false
        }
    }

    private func begins(_ argument: ByteView, with letter: Unicode.Scalar) -> Bool {
        argument.count > 0 && argument[0] | 0x20 == UInt8(ascii: letter)
    }
}
