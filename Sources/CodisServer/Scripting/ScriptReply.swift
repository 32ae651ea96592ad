// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import CLua
internal import NIOCore
internal import RESP

/// Replies as values of Lua, and values of Lua as replies (Redis 2.8: scripting.c, redisProtocolToLuaType and
/// luaReplyToRedisReply).
enum ScriptReply {
    // MARK: Redis to Lua

    /// Pushes the value that `reply`, a whole reply as it would go to a client, is to a script.
    ///
    /// `isSorted`: the elements of an array are put in the order of their bytes, null ones first.
    @inline(__always)
    static func push(_ reply: ByteView, to lua: LuaStack, isSorted: Bool = false) {
        var reader = Reader(bytes: reply)
        guard lua.ensureRoom(16), !reply.isEmpty else { return lua.push(false) }
        if isSorted, reply[0] == 0x2A { reader.pushSorted(to: lua) } else { reader.push(to: lua, depth: 0) }
    }

    private struct Reader {
        let bytes: ByteView
        var position = 0

        /// The line at `position` without its type and its end; the reader goes on behind it.
        @inline(__always)
        private mutating func line() -> ByteView {
            let start = position + 1
            let end = bytes.firstIndex(of: 0x0D, from: start) ?? bytes.count
            position = min(end + 2, bytes.count)
            return bytes[start..<end]
        }

        private mutating func number() -> Int { Int(DecimalNumber.canonical(line()) ?? 0) }

        /// The bulk at `position`; nil if it is null.
        @inline(__always)
        private mutating func bulk() -> ByteView? {
            let count = number()
            guard count >= 0 else { return nil }
            defer { position += count + 2 }
            return bytes[position..<position + count]
        }

        mutating func push(to lua: LuaStack, depth: Int) {
            switch position < bytes.count ? bytes[position] : 0 {
            case 0x24:
                if let bulk = bulk() { lua.push(bulk) } else { lua.push(false) }
            case 0x3A: lua.push(Double(number()))
            case 0x2B: pushField("ok", to: lua)
            case 0x2D: pushField("err", to: lua)
            case 0x2A: pushArray(to: lua, depth: depth)
            default: lua.push(false)
            }
        }

        private mutating func pushField(_ name: StaticString, to lua: LuaStack) {
            lua.pushTable(fields: 1)
            lua.push(name)
            lua.push(line())
            lua.setPair(of: -3)
        }

        private mutating func pushArray(to lua: LuaStack, depth: Int) {
            let count = number()
            guard count >= 0, lua.ensureRoom(4) else { return lua.push(false) }
            lua.pushTable(elements: count)
            for index in 0..<count {
                push(to: lua, depth: depth + 1)
                lua.setElement(index + 1, of: -2)
            }
        }

        /// The array at `position`, whose elements are bulks, in order.
        mutating func pushSorted(to lua: LuaStack) {
            let count = number()
            guard count >= 0 else { return lua.push(false) }
            var elements: [ByteView?] = []
            elements.reserveCapacity(count)
            for _ in 0..<count {
                guard position < bytes.count, bytes[position] == 0x24 else {
                    // Something else than bulks has no order.
                    position = 0
                    return push(to: lua, depth: 0)
                }
                elements.append(bulk())
            }
            elements.sort { ScriptReply.precedes($0 ?? ByteView(), $1 ?? ByteView()) }
            lua.pushTable(elements: count)
            for (index, element) in elements.enumerated() {
                if let element { lua.push(element) } else { lua.push(false) }
                lua.setElement(index + 1, of: -2)
            }
        }
    }

    /// Whether the bytes of `left` come before those of `right`.
    private static func precedes(_ left: ByteView, _ right: ByteView) -> Bool {
        let common = min(left.count, right.count)
        if common > 0 {
            let order = unsafe memcmp(
                left.rawBuffer.baseAddress.unsafelyUnwrapped,
                right.rawBuffer.baseAddress.unsafelyUnwrapped,
                common
            )
            if order != 0 { return order < 0 }
        }
        return left.count < right.count
    }

    /// Pushes `{err = text}` with the place of the caller in front, as Redis does for errors of its own.
    static func pushError(_ text: String, to lua: LuaStack) {
        lua.pushTable(fields: 1)
        var bytes: [UInt8] = []
        if let place = lua.place(level: 1) {
            bytes += Array(place.source) + Array(": \(place.line): ".utf8)
        }
        lua.push("err" as StaticString)
        lua.push(bytes + Array(text.utf8))
        lua.setPair(of: -3)
    }

    // MARK: Lua to Redis

    /// Writes the topmost value as a reply; it stays where it is.
    ///
    /// A table that contains itself has no end as a reply: beyond a depth and beyond a size there is an error instead.
    static func write(_ lua: LuaStack, to reply: inout ByteBuffer) {
        let start = reply.writerIndex
        let top = lua.top
        guard writeValue(lua, to: &reply, start: start) else {
            lua.setCount(top)
            reply.moveWriterIndex(to: start)
            return reply.writeReplyError("ERR reached lua stack limit" as StaticString)
        }
    }

    private static let longestReply = 512 << 20

    /// Writes the topmost value; false if it goes too deep or is too long.
    private static func writeValue(_ lua: LuaStack, to reply: inout ByteBuffer, start: Int) -> Bool {
        switch lua.kind(at: -1) {
        case .string:
            if let string = lua.string(at: -1) { reply.writeReplyBulk(string) }
        case .number: reply.writeReplyInteger(LuaStack.truncated(lua.number(at: -1)))
        case .boolean:
            if lua.boolean(at: -1) { reply.writeReplyOne() } else { reply.writeReplyNullBulk() }
        case .table: return writeTable(lua, to: &reply, start: start)
        case .none, .null, .lightUserdata, .function, .userdata, .thread: reply.writeReplyNullBulk()
        }
        return true
    }

    private static func writeTable(_ lua: LuaStack, to reply: inout ByteBuffer, start: Int) -> Bool {
        guard lua.ensureRoom(4), reply.writerIndex - start < longestReply else { return false }
        let table = lua.top
        lua.pushField("err", of: table)
        if let text = line(lua) {
            ByteView.with([0x2D] + text + [0x0D, 0x0A]) { _ = unsafe reply.writeBytes($0.rawBuffer) }
            lua.setCount(table)
            return true
        }
        lua.pushField("ok", of: table)
        if let text = line(lua) {
            ByteView.with([0x2B] + text + [0x0D, 0x0A]) { _ = unsafe reply.writeBytes($0.rawBuffer) }
            lua.setCount(table)
            return true
        }
        lua.setCount(table)
        var count = 0
        lua.pushElement(1, of: table)
        while lua.kind(at: -1) != .null {
            count += 1
            lua.pop()
            lua.pushElement(count + 1, of: table)
        }
        lua.pop()
        reply.writeReplyArrayHeader(count)
        for index in 0..<count {
            lua.pushElement(index + 1, of: table)
            guard writeValue(lua, to: &reply, start: start) else { return false }
            lua.pop()
        }
        return true
    }

    /// The topmost value if it is a string, as the text of a line: up to a zero byte, with line ends turned to blanks.
    private static func line(_ lua: LuaStack) -> [UInt8]? {
        guard lua.kind(at: -1) == .string, let string = lua.string(at: -1) else { return nil }
        let text = string.firstIndex(of: 0).map { string.prefix($0) } ?? string
        return text.map { $0 == 0x0D || $0 == 0x0A ? 0x20 : $0 }
    }
}
