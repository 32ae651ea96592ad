// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import CLua
internal import NIOCore
internal import RESP

/// `redis.call` and `redis.pcall` (Redis 2.8: scripting.c, luaRedisGenericCommand).
extension ScriptEngine {
    /// Runs the command that the arguments on `lua` are; gives the number of results, or what the shim is to raise.
    func callCommand(_ lua: LuaStack, isRaising: Bool) -> Int32 {
        let count = lua.count
        // Of these two errors the first is returned, not raised, whoever calls.
        guard count > 0 else {
            return refuse(lua, "Please specify at least one argument for redis.call()", isRaising: false)
        }
        guard takeArguments(lua, count) else {
            return refuse(lua, "Lua redis() command arguments must be strings or integers", isRaising: false)
        }
        guard let command = server.commands.find(call.arguments[0]) else {
            return refuse(lua, "Unknown Redis command called from Lua script", isRaising: isRaising)
        }
        guard command.arity.accepts(count) else {
            return refuse(lua, "Wrong number of args calling Redis command From Lua script", isRaising: isRaising)
        }
        if let reason = reasonToRefuse(command) { return refuse(lua, reason, isRaising: isRaising) }
        run(command)
        defer { clearReply() }
        return unsafe call.reply.withUnsafeReadableBytes { bytes in
            let reply = unsafe ByteView(bytes)
            if isRaising, reply.count > 0, reply[0] == 0x2D {
                lua.push(reply[1..<(reply.firstIndex(of: 0x0D) ?? reply.count)])
                return Int32(CODIS_RAISE)
            }
            ScriptReply.push(reply, to: lua, isSorted: command.flags.contains(.sortForScript))
            return 1
        }
    }

    /// Takes the arguments as views of Lua's strings, which stay on the stack; false if one is neither text nor number.
    @inline(__always)
    private func takeArguments(_ lua: LuaStack, _ count: Int) -> Bool {
        digits.ensure(count: count)
        call.arguments.begin(count: count)
        for index in 0..<count {
            switch lua.kind(at: index + 1) {
            case .string:
                guard let string = lua.string(at: index + 1) else { return false }
                call.arguments.set(index, string)
            case .number:
                call.arguments.set(index, digits.digits(of: lua.number(at: index + 1), index: index))
            case .none, .null, .boolean, .lightUserdata, .table, .function, .userdata, .thread:
                return false
            }
        }
        return true
    }

    /// Why a script may not call `command` now, if it may not.
    @inline(__always)
    private func reasonToRefuse(_ command: Command) -> String? {
        if refusedRows[command.row] { return "This Redis command is not allowed from scripts" }
        if isOutOfMemory { return "not enough memory" }
        if command.flags.contains(.write) {
            if let reason = reasonToRefuseWrite(command) { return reason }
            hasWritten = true
        }
        if command.flags.contains(.random) { hasCalledRandom = true }
        return nil
    }

    /// The texts that clients get elsewhere stand here with all of their line, as in 2.8.
    private func reasonToRefuseWrite(_ command: Command) -> String? {
        if hasCalledRandom { return "Write commands not allowed after non deterministic commands" }
        if server.isReplica, server.config.replicaIsReadOnly, !session.isMaster {
            return "-READONLY You can't write against a read only slave.\r\n"
        }
        if let refusal = server.writeRefusal { return "-\(refusal)\r\n" }
        if server.gates.contains(.saveFailed) { return "-\(Server.saveRefusal)\r\n" }
        if server.gates.contains(.memory), command.flags.contains(.denyOutOfMemory), !hasWritten,
            !server.evictIfNeeded()
        {
            return "-OOM command not allowed when used memory > 'maxmemory'.\r\n"
        }
        // haveRoom looks at the request's bytes.
        call.request = ByteView()
        guard server.haveRoom(for: command, call) else {
            return "-\(String(decoding: CommandError.outOfSpace.line, as: UTF8.self))\r\n"
        }
        if server.effects.isInUnit, !server.unitHasRoom(bytes: call.arguments.byteCount) {
            return String(decoding: CommandError.unitTooLarge.line, as: UTF8.self)
        }
        return nil
    }

    @inline(__always)
    private func run(_ command: Command) {
        call.begin(session)
        call.request = ByteView()
        if server.gates.contains(.monitored), command.flags.isDisjoint(with: [.admin, .skipMonitor]) {
            server.showToMonitors(call)
        }
        server.run(command, call, at: now)
        server.isExecuting = true
        noteTime()
    }

    /// Forgets the reply, and what room a large one took.
    @inline(__always)
    private func clearReply() {
        if call.reply.capacity > 64 << 10 { call.reply = ByteBuffer() } else { call.reply.clear() }
    }

    /// Pushes `{err = text}`, or raises the text.
    private func refuse(_ lua: LuaStack, _ text: String, isRaising: Bool) -> Int32 {
        ScriptReply.pushError(text, to: lua)
        guard isRaising else { return 1 }
        lua.pushField("err", of: lua.top)
        return Int32(CODIS_RAISE)
    }
}
