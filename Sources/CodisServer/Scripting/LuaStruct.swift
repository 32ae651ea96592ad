// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import CLua

/// The library `struct`: values as the bytes of C structures, by a format.
///
/// Formats are those of the library that Redis 2.8 has: `<` and `>` byte order, `!n` alignment, `x` a zero byte,
/// `b h l T i[n]` integers and their unsigned capitals, `f d` floating point, `s` text with a zero byte behind, `c[n]`
/// bytes; `c0` is all bytes when packing, and as many as the number before says when unpacking.
enum LuaStruct {
    /// Pushes the library.
    static func push(to lua: LuaStack) {
        lua.pushTable(fields: 3)
        let table = lua.top
        unsafe lua.push { unsafe LuaStack($0.unsafelyUnwrapped).run(LuaStruct.pack) }
        lua.setField("pack", of: table)
        unsafe lua.push { unsafe LuaStack($0.unsafelyUnwrapped).run(LuaStruct.unpack) }
        lua.setField("unpack", of: table)
        unsafe lua.push { unsafe LuaStack($0.unsafelyUnwrapped).run(LuaStruct.size) }
        lua.setField("size", of: table)
    }

    // MARK: Formats

    private struct Format {
        private let text: ByteView
        private var position = 0
        var isBigEndian = false
        private var alignment = 1
        /// The option that was read last, and how many bytes it says.
        private(set) var option: UInt8 = 0
        private(set) var size = 0

        /// The format at argument 1, which ends at a zero byte.
        init(_ lua: LuaStack) throws(LuaFailure) {
            let whole = try lua.checkString(1)
            text = whole.firstIndex(of: 0).map { whole.prefix($0) } ?? whole
        }

        /// Reads the next option that stands for bytes or a value, and what only sets something on the way; false at
        /// the end.
        mutating func next() throws(LuaFailure) -> Bool {
            guard position < text.count else { return false }
            option = text[position]
            position += 1
            switch option {
            case UInt8(ascii: "b"), UInt8(ascii: "B"), UInt8(ascii: "x"): size = 1
            case UInt8(ascii: "h"), UInt8(ascii: "H"): size = 2
            case UInt8(ascii: "l"), UInt8(ascii: "L"), UInt8(ascii: "T"), UInt8(ascii: "d"): size = 8
            case UInt8(ascii: "f"): size = 4
            case UInt8(ascii: "c"): size = try number(otherwise: 1)
            case UInt8(ascii: "i"), UInt8(ascii: "I"):
                size = try number(otherwise: 4)
                guard size <= 32 else {
                    throw .here("integral size \(size) is larger than limit of 32")
                }
            default: size = 0
            }
            return true
        }

        /// Does what an option says that stands for no bytes.
        mutating func control() throws(LuaFailure) {
            switch option {
            case UInt8(ascii: " "): break
            case UInt8(ascii: ">"): isBigEndian = true
            case UInt8(ascii: "<"): isBigEndian = false
            case UInt8(ascii: "!"):
                alignment = try number(otherwise: 8)
                guard alignment > 0, alignment & (alignment - 1) == 0 else {
                    throw .here("alignment \(alignment) is not a power of 2")
                }
            default:
                throw .argument(1, "invalid format option '\(String(decoding: [option], as: UTF8.self))'")
            }
        }

        /// How many zero bytes come before the option's, so many bytes into the structure.
        func padding(after length: Int) -> Int {
            guard size > 0, option != UInt8(ascii: "c") else { return 0 }
            let unit = min(size, alignment)
            return (unit - (length & (unit - 1))) & (unit - 1)
        }

        private mutating func number(otherwise: Int) throws(LuaFailure) -> Int {
            guard position < text.count, isDigit(text[position]) else { return otherwise }
            var value = 0
            while position < text.count, isDigit(text[position]) {
                value = value * 10 + Int(text[position] - 0x30)
                guard value <= Int(Int32.max) else { throw .here("integral size overflow") }
                position += 1
            }
            return value
        }

        private func isDigit(_ byte: UInt8) -> Bool { byte >= 0x30 && byte <= 0x39 }

        var isSigned: Bool { option & 0x20 != 0 }
    }

    // MARK: Functions

    /// `struct.pack(format, value...)`.
    private static func pack(_ lua: LuaStack) throws(LuaFailure) -> Int {
        var format = try Format(lua)
        // The library puts it there, and so it is what it finds in the place of a value that is missing.
        lua.pushNil()
        var bytes: [UInt8] = []
        var argument = 2
        while try format.next() {
            bytes.append(contentsOf: repeatElement(0, count: format.padding(after: bytes.count)))
            switch format.option {
            case UInt8(ascii: "x"):
                bytes.append(0)
            case UInt8(ascii: "b"), UInt8(ascii: "B"), UInt8(ascii: "h"), UInt8(ascii: "H"), UInt8(ascii: "l"),
                UInt8(ascii: "L"), UInt8(ascii: "T"), UInt8(ascii: "i"), UInt8(ascii: "I"):
                append(integer: try lua.checkNumber(argument), format, to: &bytes)
                argument += 1
            case UInt8(ascii: "f"):
                let pattern = Float(try lua.checkNumber(argument)).bitPattern
                append(UInt64(pattern), size: 4, format, to: &bytes)
                argument += 1
            case UInt8(ascii: "d"):
                append(try lua.checkNumber(argument).bitPattern, size: 8, format, to: &bytes)
                argument += 1
            case UInt8(ascii: "c"), UInt8(ascii: "s"):
                let string = try lua.checkString(argument)
                argument += 1
                let count = format.size == 0 ? string.count : format.size
                // The number in the error is one too large in 2.8 as well.
                guard string.count >= count else { throw .argument(argument, "string too short") }
                unsafe bytes.append(contentsOf: string.prefix(count).rawBuffer)
                if format.option == UInt8(ascii: "s") { bytes.append(0) }
            default: try format.control()
            }
        }
        lua.push(bytes)
        return 1
    }

    private static func append(integer number: Double, _ format: Format, to bytes: inout [UInt8]) {
        let value: UInt64
        if number < 0 {
            value = UInt64(bitPattern: LuaStack.truncated(number))
        } else if number < 0x1p64 {
            value = UInt64(number)
        } else {
            // What the processor makes of no number, and of one that is too large.
            value = number.isNaN ? 1 << 63 : 0
        }
        append(value, size: format.size, format, to: &bytes)
    }

    /// Appends the lowest `size` bytes, with zeros where there are no more.
    private static func append(_ value: UInt64, size: Int, _ format: Format, to bytes: inout [UInt8]) {
        for index in 0..<size {
            let place = format.isBigEndian ? size - 1 - index : index
            bytes.append(place < 8 ? UInt8(truncatingIfNeeded: value >> UInt64(place * 8)) : 0)
        }
    }

    /// `struct.unpack(format, string, [position])`: the values, and the position behind them.
    private static func unpack(_ lua: LuaStack) throws(LuaFailure) -> Int {
        var format = try Format(lua)
        let data = try lua.checkString(2)
        var position = lua.kind(at: 3).rawValue <= 0 ? 0 : try lua.checkInteger(3) - 1
        // A negative place is taken for one far beyond the end.
        guard position != -1 else { throw .argument(3, "offset must be 1 or greater") }
        lua.setCount(2)
        var count = 0
        while try format.next() {
            position += format.padding(after: position)
            var size = format.size
            guard position >= 0, size <= data.count, position <= data.count - size else {
                throw .argument(2, "data string too short")
            }
            guard lua.ensureRoom(2) else { throw .here("stack overflow (too many results)") }
            switch format.option {
            case UInt8(ascii: "x"): break
            case UInt8(ascii: "b"), UInt8(ascii: "B"), UInt8(ascii: "h"), UInt8(ascii: "H"), UInt8(ascii: "l"),
                UInt8(ascii: "L"), UInt8(ascii: "T"), UInt8(ascii: "i"), UInt8(ascii: "I"):
                lua.push(integer(data[position..<position + size], format))
                count += 1
            case UInt8(ascii: "f"):
                let pattern = word(data[position..<position + 4], format)
                lua.push(Double(Float(bitPattern: UInt32(truncatingIfNeeded: pattern))))
                count += 1
            case UInt8(ascii: "d"):
                lua.push(Double(bitPattern: word(data[position..<position + 8], format)))
                count += 1
            case UInt8(ascii: "c"):
                if size == 0 {
                    guard count > 0, unsafe lua_isnumber(lua.state, -1) != 0 else {
                        throw .here("format `c0' needs a previous size")
                    }
                    let wanted = LuaStack.truncated(lua.number(at: -1))
                    lua.pop()
                    count -= 1
                    guard wanted >= 0, wanted <= data.count, position <= data.count - Int(wanted) else {
                        throw .argument(2, "data string too short")
                    }
                    size = Int(wanted)
                }
                lua.push(data[position..<position + size])
                count += 1
            case UInt8(ascii: "s"):
                guard let end = data.firstIndex(of: 0, from: position) else {
                    throw .here("unfinished string in data")
                }
                lua.push(data[position..<end])
                size = end - position + 1
                count += 1
            default: try format.control()
            }
            position += size
        }
        lua.push(Double(position + 1))
        return count + 1
    }

    /// The bytes as a number without a sign; of more than eight the most significant are dropped.
    private static func word(_ bytes: ByteView, _ format: Format) -> UInt64 {
        var value: UInt64 = 0
        for index in 0..<bytes.count {
            value = value << 8 | UInt64(bytes[format.isBigEndian ? index : bytes.count - 1 - index])
        }
        return value
    }

    private static func integer(_ bytes: ByteView, _ format: Format) -> Double {
        let value = word(bytes, format)
        guard format.isSigned else { return Double(value) }
        let mask = UInt64.max &<< UInt64(truncatingIfNeeded: bytes.count * 8 - 1)
        return Double(Int64(bitPattern: value & mask != 0 ? value | mask : value))
    }

    /// `struct.size(format)`.
    private static func size(_ lua: LuaStack) throws(LuaFailure) -> Int {
        var format = try Format(lua)
        var total = 0
        while try format.next() {
            total += format.padding(after: total)
            switch format.option {
            case UInt8(ascii: "s"): throw .argument(1, "option 's' has no fixed size")
            case UInt8(ascii: "c") where format.size == 0: throw .argument(1, "option 'c0' has no fixed size")
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"):
                break
            default: try format.control()
            }
            total += format.size
        }
        lua.push(Double(total))
        return 1
    }
}
