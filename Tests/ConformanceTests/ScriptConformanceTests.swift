// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisTesting
import Testing

@Suite("Scripts against redis-server", .enabled(if: RedisPeer.isInstalled, "redis-server is not installed"))
struct ScriptConformanceTests {
    @Test(
        "the libraries of scripts give the same results and errors for random arguments",
        arguments: ScriptGenerator.Subject.allCases
    )
    func libraries(subject: ScriptGenerator.Subject) throws {
        let seed = SeededGenerator().seed
        print("scripts, \(subject): CODIS_TEST_SEED=\(seed)")
        var generator = ScriptGenerator(random: SeededGenerator(seed: seed))
        let pair = try ServerPair()
        for start in stride(from: 0, to: ConformanceTests.commands / 20, by: 100) {
            let batch = (0..<100).map { _ in generator.next(subject) }
            if let first = try pair.compare(batch).first {
                let words = batch[first.index].map { printable($0, limit: 3000) }.joined(separator: "\n")
                Issue.record("seed \(seed), script \(start + first.index): \(first.text)\n\(words)")
                return
            }
        }
        try pair.ours.stop()
    }
}

/// Random scripts that use the libraries of scripts.
///
/// Errors are caught within the script, since what is told of where they happened is of another form in 7.0. The order
/// of the fields of a table is nobody's, so one that is written has one field at most; where what was written is read
/// again there may be more. Numbers of chance are others in 7.0.
struct ScriptGenerator {
    /// What a script tries.
    enum Subject: String, CaseIterable, Sendable {
        case jsonEncoding, jsonDecoding, messagePacking, messageUnpacking, structPacking, structUnpacking, bits,
            conversions
    }

    private var random: SeededGenerator

    init(random: SeededGenerator) { self.random = random }

    /// The next EVAL.
    mutating func next(_ subject: Subject) -> [[UInt8]] {
        switch subject {
        case .jsonEncoding: return encoding("cjson.encode", "cjson.decode", depth: random.number(0...5))
        case .jsonDecoding: return eval("return attempt(cjson.decode, ARGV[1])", jsonText())
        case .messagePacking:
            let depth = random.oneIn(10) ? 18 : random.number(0...4)
            if random.oneIn(2) { return encoding("cmsgpack.pack", "cmsgpack.unpack", depth: depth) }
            let count = random.number(0...3)
            let values = (0..<count).map { _ in value(depth: depth) }.joined(separator: ", ")
            return eval("return attempt(cmsgpack.pack\(values.isEmpty ? "" : ", " + values))")
        case .messageUnpacking: return messageUnpacking()
        case .structPacking:
            let (format, values) = structFormat()
            return eval("return attempt(struct.pack, \(quoted(format))\(values.map { ", " + $0 }.joined()))")
        case .structUnpacking:
            let format = structFormat().format
            if random.oneIn(5) { return eval("return attempt(struct.size, \(quoted(format)))") }
            let place = random.oneIn(4) ? ", \(random.number(0...20))" : ""
            return eval("return attempt(struct.unpack, \(quoted(format)), ARGV[1]\(place))", bytes(0...40))
        case .bits: return eval("return attempt(bit.\(bitOperation()))")
        case .conversions: return conversion()
        }
    }

    /// What every script begins with: `show` writes a value so that the order of a table does not count.
    private static let prelude = """
        local function show(v, depth)
          local kind = type(v)
          if kind == 'table' then
            if depth > 40 then return 'deep' end
            local parts = {}
            for k, e in pairs(v) do parts[#parts + 1] = show(k, depth + 1) .. '=' .. show(e, depth + 1) end
            table.sort(parts)
            return '{' .. table.concat(parts, ',') .. '}'
          elseif kind == 'number' then return string.format('%.17g', v)
          elseif kind == 'string' then return string.format('%q', v)
          elseif kind == 'userdata' then return 'null'
          else return tostring(v) end
        end
        local function attempt(f, ...)
          local all = {pcall(f, ...)}
          local parts = {}
          for i = 1, table.maxn(all) do parts[i] = show(all[i], 0) end
          return table.concat(parts, ' ')
        end

        """

    private func eval(_ body: String, _ argument: [UInt8] = []) -> [[UInt8]] {
        [Array("EVAL".utf8), Array((Self.prelude + body).utf8), Array("0".utf8), argument]
    }

    /// Writes a value, or writes it and reads it again.
    private mutating func encoding(_ encode: String, _ decode: String, depth: Int) -> [[UInt8]] {
        isReadAgain = random.oneIn(2)
        defer { isReadAgain = false }
        let value = value(depth: depth)
        guard isReadAgain else { return eval("return attempt(\(encode), \(value))") }
        // Which of two errors comes first may depend on the order, too.
        return eval(
            "local ok, text = pcall(\(encode), \(value)) if not ok then return 'error' end "
                + "return attempt(\(decode), text)"
        )
    }

    // MARK: Values

    /// Whether the order of fields makes no difference.
    private var isReadAgain = false

    /// An expression of Lua.
    private mutating func value(depth: Int) -> String {
        if depth > 0, !random.oneIn(4) { return table(depth: depth - 1) }
        switch random.number(1...10) {
        case 1: return random.pick(["true", "false", "nil", "cjson.null"])
        case 2...5: return number()
        default: return quoted(text())
        }
    }

    private mutating func number() -> String {
        switch random.number(1...12) {
        case 1: random.pick(["1/0", "-1/0", "0/0", "-0", "1e308", "5e-324", "2^63", "-2^63", "2^64", "2^53", "2^31"])
        case 2: random.pick(["127", "128", "255", "256", "65535", "65536", "4294967295", "4294967296", "2147483647"])
        case 3: random.pick(["-1", "-32", "-33", "-128", "-129", "-32768", "-32769", "-2147483648", "-2147483649"])
        case 4, 5: "\(Double(random.number(-100_000...100_000)) / 128)"
        case 6: "\(random.number(-9_000_000_000_000_000...9_000_000_000_000_000))"
        default: "\(random.number(-300...300))"
        }
    }

    private mutating func text() -> [UInt8] {
        switch random.number(1...12) {
        case 1: filledBytes(UInt8(ascii: "x"), count: random.pick([31, 32, 255, 256, 300]))
        case 2: (0..<random.number(0...8)).map { _ in UInt8(random.number(0...255)) }
        case 3: Array(random.pick(["\"", "\\", "/", "\n\t\r\u{8}\u{c}", "\u{7f}", "ü€😀", "\u{0}"]).utf8)
        default: Array(random.pick(["", "a", "b", "key", "ok", "1", "2", "-1", "name", "value"]).utf8)
        }
    }

    /// The text as a string of Lua, each byte by its number.
    private func quoted(_ text: [UInt8]) -> String {
        "\"" + text.map { $0 >= 0x30 && $0 < 0x7F && $0 != 0x5C ? String(UnicodeScalar($0)) : escaped($0) }.joined()
            + "\""
    }

    private func escaped(_ byte: UInt8) -> String {
        let digits = String(byte)
        return "\\" + String(repeating: "0", count: 3 - digits.count) + digits
    }

    private mutating func table(depth: Int) -> String {
        // What is deep is narrow.
        let isWide = depth < 4 && random.oneIn(12)
        let count = isWide ? random.pick([15, 16, 17, 40]) : random.number(0...(depth > 4 ? 1 : 5))
        let inner = isWide ? 0 : depth
        let kind = random.number(1...(isReadAgain ? 3 : 4))
        let most = kind > 2 && !isReadAgain ? min(count, 1) : count
        let entries = (1...max(1, most)).map { index -> String in
            switch kind {
            case 1, 2: return value(depth: inner)
            case 3: return "[\(quoted(Array("f\(index)".utf8)))]=\(value(depth: inner))"
            default:
                let key = random.oneIn(2) ? "\(random.number(1...12))" : quoted(text())
                let name = random.oneIn(20) ? random.pick(["1.5", "true", "-3", "0", "300"]) : key
                return "[\(name)]=\(value(depth: inner))"
            }
        }
        return "{" + entries.prefix(most).joined(separator: ",") + "}"
    }

    // MARK: Texts and messages

    private mutating func jsonText() -> [UInt8] {
        var text = Array(json(depth: random.number(0...4)).utf8)
        if random.oneIn(3), !text.isEmpty {
            for _ in 0..<random.number(1...2) {
                let place = random.number(0...text.count - 1)
                switch random.number(1...3) {
                case 1: text.remove(at: place)
                case 2: text[place] = random.pick(Array("{}[]\",:0e.-tnf\\ ".utf8))
                default: text.insert(random.pick(Array("{}[]\",:0e.-tnf\\ u".utf8)), at: place)
                }
                if text.isEmpty { break }
            }
        }
        return text
    }

    private mutating func json(depth: Int) -> String {
        guard depth > 0, !random.oneIn(4) else {
            return random.pick([
                "true", "false", "null", "0", "-1", "1.5", "1e10", "1E-3", "-0", "123456789012345678", "0x10", "nan",
                "Infinity", "01", "\"text\"", "\"\"", "\"\\u00e4\\ud83d\\ude00\"", "\"\\n\\/\\\\\"", "\"ü\"", " 7 ",
                "\"\\ud800\"", "\"\\x\"", "1.", ".5", "+1", "\"\u{1}\"",
            ])
        }
        let parts = (0..<random.number(0...4)).map { _ in json(depth: depth - 1) }
        if random.oneIn(2) { return "[" + parts.joined(separator: random.pick([",", " , "])) + "]" }
        return "{" + parts.enumerated().map { "\"k\(random.oneIn(9) ? 0 : $0)\":\($1)" }.joined(separator: ",") + "}"
    }

    private mutating func messageUnpacking() -> [[UInt8]] {
        let message = random.oneIn(3) ? bytes(0...12) : message(depth: random.number(0...4))
        let cut = random.oneIn(5) ? Array(message.dropLast(random.number(1...3))) : message
        switch random.number(1...8) {
        case 1: return eval("return attempt(cmsgpack.unpack_one, ARGV[1]\(limits(1)))", cut)
        case 2: return eval("return attempt(cmsgpack.unpack_limit, ARGV[1]\(limits(2)))", cut)
        case 3:
            return eval("return attempt(function(m) return cmsgpack.pack(cmsgpack.unpack(m)) end, ARGV[1])", message)
        default: return eval("return attempt(cmsgpack.unpack, ARGV[1])", cut)
        }
    }

    private mutating func limits(_ most: Int) -> String {
        (0..<random.number(0...most)).map { _ in ", \(random.number(-1...9))" }.joined()
    }

    private mutating func message(depth: Int) -> [UInt8] {
        guard depth > 0, !random.oneIn(3) else {
            switch random.number(1...12) {
            case 1: return [random.pick([0xC0, 0xC2, 0xC3, 0xC1, 0xD4, 0xC7])]
            case 2: return [UInt8(random.number(0...127))]
            case 3: return [UInt8(random.number(0xE0...0xFF))]
            case 4: return [0xCA] + bytes(4...4)
            case 5: return [0xCB] + bytes(8...8)
            case 6: return [0xCC] + bytes(1...1)
            case 7: return [random.pick([0xCD, 0xD1])] + bytes(2...2)
            case 8: return [random.pick([0xCE, 0xD2])] + bytes(4...4)
            case 9: return [random.pick([0xCF, 0xD3])] + bytes(8...8)
            case 10:
                let text = bytes(0...40)
                return [random.pick([0xC4, 0xD9]), UInt8(text.count)] + text
            case 11: return [random.pick([0xDA, 0xC5]), 0, 3] + bytes(3...3)
            default:
                let text = bytes(0...31)
                return [0xA0 | UInt8(text.count)] + text
            }
        }
        let count = random.number(0...4)
        if random.oneIn(2) {
            let head: [UInt8] = random.oneIn(4) ? [0xDC, 0, UInt8(count)] : [0x90 | UInt8(count)]
            return head + (0..<count).flatMap { _ in message(depth: depth - 1) }
        }
        let head: [UInt8] = random.oneIn(4) ? [0xDE, 0, UInt8(count)] : [0x80 | UInt8(count)]
        // A name that is nil or not a number makes a table fail, so it is mostly text.
        return head + (0..<count).flatMap { [0xA2, 0x6B, 0x30 + UInt8($0)] + message(depth: depth - 1) }
    }

    private mutating func bytes(_ count: ClosedRange<Int>) -> [UInt8] {
        (0..<random.number(count)).map { _ in UInt8(random.number(0...255)) }
    }

    // MARK: Formats

    private mutating func structFormat() -> (format: [UInt8], values: [String]) {
        var format = ""
        var values: [String] = []
        for _ in 0..<random.number(0...6) {
            switch random.number(1...14) {
            case 1: format += random.pick(["<", ">", "=", "!", "!1", "!2", "!4", "!8", "!3", "!16", "!32", " "])
            case 2...5:
                format += random.pick(["b", "B", "h", "H", "l", "L", "T", "i", "I"])
                values.append(number())
            case 6, 7:
                format += random.pick(["i", "I"]) + random.pick(["1", "2", "3", "4", "8", "16", "32", "33", "0"])
                values.append(number())
            case 8: format += "x"
            case 9, 10:
                format += random.pick(["f", "d"])
                values.append(number())
            case 11:
                format += "s"
                values.append(quoted(text()))
            case 12:
                // Not c0: what a number before it that is no count comes to is up to the processor.
                format += "c\(random.pick(["", "1", "3", "40"]))"
                values.append(quoted(text()))
            case 13:
                format += "Bc0"
                values += ["3", quoted(Array("abc".utf8))]
            default: format += random.pick(["X", "z", "%", "(", "i99999999999"])
            }
        }
        if random.oneIn(8) { values = values.dropLast() }
        if random.oneIn(12) { values.append(random.pick(["nil", "{}", "'x'", "true"])) }
        return (Array(format.utf8), values)
    }

    private mutating func bitOperation() -> String {
        let unary = ["tobit", "bnot", "bswap"]
        let any = ["band", "bor", "bxor"]
        let shifts = ["lshift", "rshift", "arshift", "rol", "ror"]
        // Beyond 2^51 the library is free to give anything.
        func operand() -> String {
            switch random.number(1...8) {
            case 1: random.pick(["0xffffffff", "2^31", "-2^31", "2^32", "2^40+7", "-2^40", "'12'", "'x'", "nil"])
            case 2: "\(Double(random.number(-1000...1000)) / 8)"
            default: "\(random.number(-5_000_000_000...5_000_000_000))"
            }
        }
        switch random.number(1...4) {
        case 1: return random.pick(unary) + ", " + operand()
        case 2: return random.pick(any) + (0..<random.number(0...4)).map { _ in ", " + operand() }.joined()
        case 3: return random.pick(shifts) + ", " + operand() + ", \(random.number(-40...70))"
        default:
            return "tohex, " + operand() + (random.oneIn(2) ? ", \(random.number(-10...10))" : "")
        }
    }

    // MARK: Conversions

    private mutating func conversion() -> [[UInt8]] {
        switch random.number(1...8) {
        case 1: eval("return \(number())")
        case 2: eval("return redis.call('ECHO', \(number()))")
        case 3: eval("return {\((0..<random.number(0...5)).map { _ in plainValue() }.joined(separator: ","))}")
        case 4: eval("return redis.sha1hex(\(random.oneIn(4) ? number() : quoted(text())))")
        case 5: eval("return redis.status_reply(\(quoted(Array(random.pick(["FINE", "a b", ""]).utf8))))")
        case 6, 7: eval("return attempt(tonumber, \(quoted(text())))")
        default:
            eval(
                "return attempt(function() return redis.call('SET', 'k', "
                    + "\(random.oneIn(2) ? number() : quoted(text()))), redis.call('GET', 'k') end)"
            )
        }
    }

    /// A value without fields, whose names mean something to later versions.
    private mutating func plainValue() -> String {
        switch random.number(1...8) {
        case 1: random.pick(["true", "false", "nil"])
        case 2: "{\(number()),\(quoted(text()))}"
        case 3, 4: quoted(text())
        default: number()
        }
    }
}
