// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import CLua

/// The library `cmsgpack`: values as MessagePack.
///
/// As in Redis 2.8, tables with the keys 1...n are arrays, the empty one too; numbers without a fraction are
/// integers, others floats where that loses nothing, else doubles; tables nested more than 16 deep are nil.
enum LuaMessagePack {
    /// Pushes the library.
    static func push(to lua: LuaStack) {
        lua.pushTable(fields: 6)
        let table = lua.top
        unsafe lua.push { unsafe LuaStack($0.unsafelyUnwrapped).run(LuaMessagePack.pack) }
        lua.setField("pack", of: table)
        unsafe lua.push { unsafe LuaStack($0.unsafelyUnwrapped).run(LuaMessagePack.unpackAll) }
        lua.setField("unpack", of: table)
        unsafe lua.push { unsafe LuaStack($0.unsafelyUnwrapped).run(LuaMessagePack.unpackOne) }
        lua.setField("unpack_one", of: table)
        unsafe lua.push { unsafe LuaStack($0.unsafelyUnwrapped).run(LuaMessagePack.unpackLimited) }
        lua.setField("unpack_limit", of: table)
        lua.push("cmsgpack" as StaticString)
        lua.setField("_NAME", of: table)
        lua.push("lua-cmsgpack 0.4.0" as StaticString)
        lua.setField("_VERSION", of: table)
    }

    private static let deepestTable = 16
    /// How deep unpacked tables may be nested, which the C stack must bear.
    private static let deepestInput = 2_000

    // MARK: Packing

    /// `cmsgpack.pack(value...)`: one after the other.
    private static func pack(_ lua: LuaStack) throws(LuaFailure) -> Int {
        let count = lua.count
        guard count > 0 else { throw .argument(0, "MessagePack pack needs input.") }
        guard lua.ensureRoom(3 * deepestTable + 8) else { throw .here("stack overflow (in function mp_check)") }
        var bytes: [UInt8] = []
        for index in 1...count {
            lua.pushCopy(of: index)
            try append(lua, depth: 0, to: &bytes)
        }
        lua.push(bytes)
        return 1
    }

    /// What a packed value may take at most.
    private static let mostBytes = 1 << 30

    /// Pops a value and appends it.
    private static func append(_ lua: LuaStack, depth: Int, to bytes: inout [UInt8]) throws(LuaFailure) {
        guard bytes.count < mostBytes else { throw .here("the packed value is too long") }
        switch lua.kind(at: -1) {
        case .string:
            if let string = lua.string(at: -1) { append(string, to: &bytes) }
        case .boolean:
            bytes.append(lua.boolean(at: -1) ? 0xC3 : 0xC2)
        case .number:
            append(lua.number(at: -1), to: &bytes)
        case .table where depth < deepestTable:
            if let count = arrayCount(lua) {
                try appendArray(lua, count: count, depth: depth, to: &bytes)
            } else {
                try appendMap(lua, depth: depth, to: &bytes)
            }
        case .none, .null, .lightUserdata, .table, .function, .userdata, .thread:
            bytes.append(0xC0)
        }
        lua.pop()
    }

    private static func append(_ string: ByteView, to bytes: inout [UInt8]) {
        let count = string.count
        if count < 32 {
            bytes.append(0xA0 | UInt8(count))
        } else if count <= 0xFF {
            bytes.append(contentsOf: [0xD9, UInt8(count)])
        } else {
            append(size: count, short: 0xDA, long: 0xDB, to: &bytes)
        }
        unsafe bytes.append(contentsOf: string.rawBuffer)
    }

    private static func append(_ number: Double, to bytes: inout [UInt8]) {
        if number >= -0x1p63, number < 0x1p63, number == number.rounded(.towardZero) {
            append(Int64(number), to: &bytes)
        } else if Double(Float(number)) == number {
            append(0xCA, UInt64(Float(number).bitPattern), size: 4, to: &bytes)
        } else {
            append(0xCB, number.bitPattern, size: 8, to: &bytes)
        }
    }

    private static func append(_ number: Int64, to bytes: inout [UInt8]) {
        let word = UInt64(bitPattern: number)
        switch number {
        case 0...0x7F, -32..<0: bytes.append(UInt8(truncatingIfNeeded: number))
        case 0x80...0xFF: append(0xCC, word, size: 1, to: &bytes)
        case 0x100...0xFFFF: append(0xCD, word, size: 2, to: &bytes)
        case 0x1_0000...0xFFFF_FFFF: append(0xCE, word, size: 4, to: &bytes)
        case 0x1_0000_0000...: append(0xCF, word, size: 8, to: &bytes)
        case -0x80..<0: append(0xD0, word, size: 1, to: &bytes)
        case -0x8000..<0: append(0xD1, word, size: 2, to: &bytes)
        case -0x8000_0000..<0: append(0xD2, word, size: 4, to: &bytes)
        default: append(0xD3, word, size: 8, to: &bytes)
        }
    }

    /// Appends `type` and the lowest `size` bytes of `word`, the highest of them first.
    private static func append(_ type: UInt8, _ word: UInt64, size: Int, to bytes: inout [UInt8]) {
        bytes.append(type)
        for index in (0..<size).reversed() { bytes.append(UInt8(truncatingIfNeeded: word >> UInt64(index * 8))) }
    }

    private static func append(size: Int, short: UInt8, long: UInt8, to bytes: inout [UInt8]) {
        if size <= 0xFFFF {
            append(short, UInt64(size), size: 2, to: &bytes)
        } else {
            append(long, UInt64(size), size: 4, to: &bytes)
        }
    }

    /// How many elements the topmost table has if its keys are 1...n, else nil.
    private static func arrayCount(_ lua: LuaStack) -> Int? {
        var count = 0
        var greatest = 0.0
        let table = lua.top
        lua.pushNil()
        while lua.pushNext(of: table) {
            lua.pop()
            let key = lua.kind(at: -1) == .number ? lua.number(at: -1) : 0
            guard key > 0, key <= Double(Int32.max), key == key.rounded(.towardZero) else {
                lua.setCount(table)
                return nil
            }
            greatest = max(greatest, key)
            count += 1
        }
        return greatest == Double(count) ? count : nil
    }

    private static func appendArray(
        _ lua: LuaStack,
        count: Int,
        depth: Int,
        to bytes: inout [UInt8]
    ) throws(LuaFailure) {
        if count <= 15 {
            bytes.append(0x90 | UInt8(count))
        } else {
            append(size: count, short: 0xDC, long: 0xDD, to: &bytes)
        }
        let table = lua.top
        for position in 0..<count {
            lua.pushElement(position + 1, of: table)
            try append(lua, depth: depth + 1, to: &bytes)
        }
    }

    private static func appendMap(_ lua: LuaStack, depth: Int, to bytes: inout [UInt8]) throws(LuaFailure) {
        let table = lua.top
        var count = 0
        lua.pushNil()
        while lua.pushNext(of: table) {
            lua.pop()
            count += 1
        }
        if count <= 15 {
            bytes.append(0x80 | UInt8(count))
        } else {
            append(size: count, short: 0xDE, long: 0xDF, to: &bytes)
        }
        lua.pushNil()
        while lua.pushNext(of: table) {
            lua.pushCopy(of: -2)
            try append(lua, depth: depth + 1, to: &bytes)
            try append(lua, depth: depth + 1, to: &bytes)
        }
    }

    // MARK: Unpacking

    /// `cmsgpack.unpack(string)`: all values.
    private static func unpackAll(_ lua: LuaStack) throws(LuaFailure) -> Int {
        try unpack(lua, limit: 0, offset: 0)
    }

    /// `cmsgpack.unpack_one(string, [offset])`: the offset of the rest, or -1, and a value.
    private static func unpackOne(_ lua: LuaStack) throws(LuaFailure) -> Int {
        let offset = try optionalInteger(lua, 2)
        return try unpack(lua, limit: 1, offset: offset)
    }

    /// `cmsgpack.unpack_limit(string, limit, [offset])`: the offset of the rest, or -1, and up to `limit` values.
    private static func unpackLimited(_ lua: LuaStack) throws(LuaFailure) -> Int {
        let limit = try lua.checkInteger(2)
        let offset = try optionalInteger(lua, 3)
        return try unpack(lua, limit: limit, offset: offset)
    }

    private static func optionalInteger(_ lua: LuaStack, _ index: Int) throws(LuaFailure) -> Int {
        lua.kind(at: index).rawValue <= 0 ? 0 : try lua.checkInteger(index)
    }

    /// Without limit and offset it is all that there is, and no offset comes back.
    private static func unpack(_ lua: LuaStack, limit: Int, offset: Int) throws(LuaFailure) -> Int {
        let string = try lua.checkString(1)
        guard offset >= 0, limit >= 0 else {
            throw .here("Invalid request to unpack with offset of \(offset) and limit of \(string.count).")
        }
        guard offset <= string.count else {
            throw .here("Start offset \(offset) greater than input length \(string.count).")
        }
        let isWhole = limit == 0 && offset == 0
        var input = Input(bytes: string, position: offset)
        lua.setCount(1)
        var count = 0
        while input.position < string.count, isWhole || count < limit {
            guard lua.ensureRoom(8) else {
                throw .here(
                    "stack overflow (too many return values at once; use unpack_one or unpack_limit instead.)"
                )
            }
            try input.pushValue(to: lua, depth: 0)
            count += 1
        }
        guard !isWhole else { return count }
        lua.push(input.position == string.count ? -1 : Double(input.position))
        lua.insert(at: 2)
        return count + 1
    }

    private struct Input {
        let bytes: ByteView
        var position: Int

        private mutating func take(_ count: Int) throws(LuaFailure) -> ByteView {
            guard bytes.count - position >= count else { throw .here("Missing bytes in input.") }
            defer { position += count }
            return bytes[position..<position + count]
        }

        private mutating func word(_ count: Int) throws(LuaFailure) -> UInt64 {
            try take(count).reduce(0) { $0 << 8 | UInt64($1) }
        }

        private mutating func size(_ count: Int) throws(LuaFailure) -> Int { Int(try word(count)) }

        /// Pushes the next value.
        mutating func pushValue(to lua: LuaStack, depth: Int) throws(LuaFailure) {
            let type = UInt8(try word(1))
            switch type {
            case 0x00...0x7F, 0xE0...0xFF: lua.push(Double(Int8(bitPattern: type)))
            case 0xA0...0xBF: lua.push(try take(Int(type & 0x1F)))
            case 0x90...0x9F: try pushArray(to: lua, count: Int(type & 0x0F), depth: depth)
            case 0x80...0x8F: try pushMap(to: lua, count: Int(type & 0x0F), depth: depth)
            case 0xC0: lua.pushNil()
            case 0xC2: lua.push(false)
            case 0xC3: lua.push(true)
            case 0xCA: lua.push(Double(Float(bitPattern: UInt32(truncatingIfNeeded: try word(4)))))
            case 0xCB: lua.push(Double(bitPattern: try word(8)))
            case 0xCC: lua.push(Double(try word(1)))
            case 0xCD: lua.push(Double(try word(2)))
            case 0xCE: lua.push(Double(try word(4)))
            // With a sign, as lua_cmsgpack has it: it pushes each integer as one of Lua, which are signed.
            case 0xCF: lua.push(Double(Int64(bitPattern: try word(8))))
            case 0xD0: lua.push(Double(Int8(truncatingIfNeeded: try word(1))))
            case 0xD1: lua.push(Double(Int16(truncatingIfNeeded: try word(2))))
            case 0xD2: lua.push(Double(Int32(truncatingIfNeeded: try word(4))))
            case 0xD3: lua.push(Double(Int64(bitPattern: try word(8))))
            case 0xD9: lua.push(try take(try size(1)))
            case 0xDA: lua.push(try take(try size(2)))
            case 0xDB: lua.push(try take(try size(4)))
            case 0xDC: try pushArray(to: lua, count: try size(2), depth: depth)
            case 0xDD: try pushArray(to: lua, count: try size(4), depth: depth)
            case 0xDE: try pushMap(to: lua, count: try size(2), depth: depth)
            case 0xDF: try pushMap(to: lua, count: try size(4), depth: depth)
            default: throw .here("Bad data format in input.")
            }
        }

        private mutating func pushArray(to lua: LuaStack, count: Int, depth: Int) throws(LuaFailure) {
            guard depth < deepestInput, lua.ensureRoom(4) else {
                throw .here("stack overflow (in function mp_decode_to_lua_array)")
            }
            lua.pushTable()
            let table = lua.top
            var index = 1
            while index <= count {
                try pushValue(to: lua, depth: depth + 1)
                lua.setElement(index, of: table)
                index += 1
            }
        }

        private mutating func pushMap(to lua: LuaStack, count: Int, depth: Int) throws(LuaFailure) {
            guard depth < deepestInput, lua.ensureRoom(4) else {
                throw .here("stack overflow (in function mp_decode_to_lua_hash)")
            }
            lua.pushTable()
            let table = lua.top
            for _ in 0..<count {
                try pushValue(to: lua, depth: depth + 1)
                let kind = lua.kind(at: -1)
                try pushValue(to: lua, depth: depth + 1)
                if kind == .null { throw .plain("table index is nil") }
                if kind == .number, lua.number(at: -2).isNaN { throw .plain("table index is NaN") }
                lua.setPair(of: table)
            }
        }
    }
}
