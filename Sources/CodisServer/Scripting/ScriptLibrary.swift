// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import CLua

/// What scripts find beside Lua's own libraries: the table `redis`, a math.random that is the same everywhere, struct
/// and cmsgpack (Redis 2.8: scripting.c, scriptingInit).
enum ScriptLibrary {
    /// Puts everything into the globals, which are at 2 of the stack.
    static func install(_ lua: LuaStack) {
        lua.pushTable(fields: 12)
        let table = lua.top
        unsafe lua.push { unsafe ScriptEngine.of($0).callCommand(LuaStack($0.unsafelyUnwrapped), isRaising: true) }
        lua.setField("call", of: table)
        unsafe lua.push { unsafe ScriptEngine.of($0).callCommand(LuaStack($0.unsafelyUnwrapped), isRaising: false) }
        lua.setField("pcall", of: table)
        unsafe lua.push { unsafe Int32(ScriptLibrary.log(LuaStack($0.unsafelyUnwrapped))) }
        lua.setField("log", of: table)
        for (level, name) in ["LOG_DEBUG", "LOG_VERBOSE", "LOG_NOTICE", "LOG_WARNING"].enumerated() {
            lua.push(name)
            lua.push(Double(level))
            lua.setPair(of: table)
        }
        unsafe lua.push { unsafe Int32(ScriptLibrary.sha1hex(LuaStack($0.unsafelyUnwrapped))) }
        lua.setField("sha1hex", of: table)
        unsafe lua.push { unsafe Int32(ScriptLibrary.reply("err", LuaStack($0.unsafelyUnwrapped))) }
        lua.setField("error_reply", of: table)
        unsafe lua.push { unsafe Int32(ScriptLibrary.reply("ok", LuaStack($0.unsafelyUnwrapped))) }
        lua.setField("status_reply", of: table)
        lua.setField("redis", of: 2)
        lua.pushField("math", of: 2)
        let math = lua.top
        unsafe lua.push { unsafe LuaStack($0.unsafelyUnwrapped).run(ScriptLibrary.random) }
        lua.setField("random", of: math)
        unsafe lua.push { unsafe LuaStack($0.unsafelyUnwrapped).run(ScriptLibrary.randomSeed) }
        lua.setField("randomseed", of: math)
        lua.pop()
        LuaStruct.push(to: lua)
        lua.setField("struct", of: 2)
        LuaMessagePack.push(to: lua)
        lua.setField("cmsgpack", of: 2)
    }

    /// `redis.log(level, text...)`.
    private static func log(_ lua: LuaStack) -> Int {
        let count = lua.count
        guard count >= 2 else {
            ScriptReply.pushError("redis.log() requires two arguments or more.", to: lua)
            return 1
        }
        guard unsafe lua_isnumber(lua.state, 1) != 0 else {
            ScriptReply.pushError("First argument must be a number (log level).", to: lua)
            return 1
        }
        let level = LuaStack.truncated(lua.number(at: 1))
        guard level >= 0, level <= 3 else {
            ScriptReply.pushError("Invalid debug level.", to: lua)
            return 1
        }
        let texts = (2...count).compactMap { lua.string(at: $0).map { String($0) } }
        let text = texts.joined(separator: " ")
        let log = unsafe ScriptEngine.of(lua.state).server.log
        switch level {
        case 0: log.debug(text)
        case 1: log.verbose(text)
        case 2: log.notice(text)
        default: log.warning(text)
        }
        return 0
    }

    /// `redis.sha1hex(text)`.
    private static func sha1hex(_ lua: LuaStack) -> Int {
        guard lua.count == 1 else {
            ScriptReply.pushError("wrong number of arguments", to: lua)
            return 1
        }
        lua.push(SHA1.digits(of: lua.string(at: 1) ?? ByteView()))
        return 1
    }

    /// `redis.error_reply(text)` and `redis.status_reply(text)`: a table with the text as its one field.
    private static func reply(_ name: StaticString, _ lua: LuaStack) -> Int {
        guard lua.count == 1, lua.kind(at: 1) == .string else {
            ScriptReply.pushError("wrong number or type of arguments", to: lua)
            return 1
        }
        lua.pushTable(fields: 1)
        lua.push(name)
        lua.pushCopy(of: 1)
        lua.setPair(of: -3)
        return 1
    }

    /// `math.random([from,] [to])`: each script sees the same numbers.
    private static func random(_ lua: LuaStack) throws(LuaFailure) -> Int {
        let greatest = 0x7FFF_FFFF
        let fraction = Double(unsafe ScriptEngine.of(lua.state).nextRandom() % greatest) / Double(greatest)
        switch lua.count {
        case 0: lua.push(fraction)
        case 1:
            let upper = try lua.checkInteger(1)
            guard upper >= 1 else { throw .argument(1, "interval is empty") }
            lua.push((fraction * Double(upper)).rounded(.down) + 1)
        case 2:
            let lower = try lua.checkInteger(1)
            let upper = try lua.checkInteger(2)
            guard lower <= upper else { throw .argument(2, "interval is empty") }
            // The width is a C int, and wraps as one.
            let width = Int32(truncatingIfNeeded: upper - lower + 1)
            lua.push((fraction * Double(width)).rounded(.down) + Double(lower))
        default: throw .here("wrong number of arguments")
        }
        return 1
    }

    /// `math.randomseed(seed)`.
    private static func randomSeed(_ lua: LuaStack) throws(LuaFailure) -> Int {
        let seed = try lua.checkInteger(1)
        unsafe ScriptEngine.of(lua.state).seedRandom(Int32(truncatingIfNeeded: seed))
        return 0
    }
}
