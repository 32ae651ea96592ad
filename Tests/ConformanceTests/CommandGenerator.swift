// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisTesting

/// Random commands that Redis 2.8 and 7.0 both have, right and wrong ones.
///
/// What only one of them understands is left out: SET's later options, EXISTS of several keys, options of EXPIRE and
/// FLUSHALL, BITCOUNT by bits; integers with a plus sign or leading zeros and empty ones, which 2.8 accepts (the empty
/// text counts as 0, and a text with a NUL for what is before it); ranges whose ends are both negative and in the
/// wrong order, which older versions clamp to the first byte; expire times near the limit of 64 bits, which later
/// versions refuse.
struct CommandGenerator {
    var random: SeededGenerator
    /// Whether MULTI was the last word on transactions.
    private(set) var isInTransaction = false
    private var isWatching = false

    init(random: SeededGenerator) { self.random = random }

    /// The next command.
    mutating func next() -> [[UInt8]] {
        if random.oneIn(isInTransaction ? 6 : 40) { return transaction() }
        if !isInTransaction, random.oneIn(4) { return sortedSetCommand() }
        let words = random.oneIn(40) ? mistaken() : wellFormed()
        let name = String(decoding: words[0], as: UTF8.self)
        // A scan goes on beyond the transaction. That PERSIST counts for WATCH is new in later versions, and so is that
        // a SETBIT that leaves the bit as it was does not.
        if name == "SCAN" && isInTransaction { return text("PING") }
        if isWatching, name == "PERSIST" || name == "SETBIT" { return text("PING") }
        return words
    }

    /// One of the commands around transactions, mostly where it belongs.
    private mutating func transaction() -> [[UInt8]] {
        let name =
            isInTransaction
            ? random.pick(["EXEC", "EXEC", "EXEC", "DISCARD", "MULTI", "WATCH", "UNWATCH"])
            : random.pick(["MULTI", "MULTI", "MULTI", "WATCH", "WATCH", "UNWATCH", "EXEC", "DISCARD"])
        switch name {
        case "MULTI": isInTransaction = true
        case "EXEC", "DISCARD":
            // Without MULTI they are errors, and what is watched stays so.
            if isInTransaction { isWatching = false }
            isInTransaction = false
        case "WATCH":
            if !isInTransaction { isWatching = true }
            // What counts as a change differs between the versions for several commands that counters never meet.
            return text(name) + [counter()]
        default: break
        }
        return text(name)
    }

    // MARK: Words

    private func text(_ words: String...) -> [[UInt8]] { words.map { Array($0.utf8) } }

    private mutating func key() -> [UInt8] {
        switch random.number(1...20) {
        case 1: Array("{tag}key\(random.number(1...5))".utf8)
        case 2: [0, 0xFF, UInt8(random.number(0...3))]
        case 3: Array(repeating: UInt8(ascii: "k"), count: random.pick([500, 511, 512, 2_000]))
        default: Array("key:\(random.number(1...40))".utf8)
        }
    }

    /// A key that counts, on which no command ever puts a NUL, and to which none appends: a number behind a 0 would be
    /// one with a leading zero.
    private mutating func counter() -> [UInt8] { Array("counter:\(random.number(1...8))".utf8) }

    /// A key of either kind.
    private mutating func anyKey() -> [UInt8] { random.oneIn(4) ? counter() : key() }

    private mutating func value() -> [UInt8] {
        switch random.number(1...12) {
        case 1...3: return Array(String(random.number(-1_000...1_000)).utf8)
        case 4: return Array(random.pick(["9223372036854775807", "-9223372036854775808", "9223372036854775808"]).utf8)
        case 5:
            return Array(random.pick(["3.0e3", "1.5", "-0.25", "nan", "inf", "1e400", "abc", " 1", "1 ", "-"]).utf8)
        case 6: return [UInt8(ascii: "x")] + (0..<random.number(1...40)).map { _ in UInt8(random.number(0...255)) }
        case 7: return filledBytes(UInt8(random.number(128...255)), count: random.number(1...9_000))
        default: return Array("value \(random.number(0...1_000_000))".utf8)
        }
    }

    private mutating func integer() -> String {
        switch random.number(1...15) {
        case 1: random.pick(["abc", "-", "1.0", " 1", "1 ", "--1", "99999999999999999999"])
        case 2: random.pick(["9223372036854775807", "-9223372036854775807", "4294967295", "-2147483648"])
        default: String(random.number(-50...50))
        }
    }

    private mutating func offset() -> String {
        // The greatest offset allowed would make a string of 512 MB; those just beyond it are errors.
        random.oneIn(12)
            ? random.pick(["abc", "-1", "-", "1.5", "4294967296", "9223372036854775807", "9223372036854775808"])
            : String(random.number(0...random.pick([10, 100, 20_000])))
    }

    private mutating func seconds() -> String {
        random.oneIn(10)
            ? random.pick(["0", "-1", "abc", "-5000", "1.5", "-"]) : String(random.number(1_000...1_000_000))
    }

    private mutating func milliseconds() -> String {
        let seconds = seconds()
        return Int(seconds) ?? 0 > 0 ? seconds + "000" : seconds
    }

    /// Two ends of a range; both negative only in the right order.
    private mutating func range() -> [String] {
        if random.oneIn(12) { return [integer(), integer()].map { Int($0) ?? 0 < 0 ? "0" : $0 } }
        let first = random.number(-30...30)
        let last = random.number(-30...30)
        return first < 0 && last < 0 ? [min(first, last), max(first, last)].map(String.init) : ["\(first)", "\(last)"]
    }

    private mutating func keys(_ range: ClosedRange<Int>) -> [[UInt8]] {
        (0..<random.number(range)).map { _ in key() }
    }

    // MARK: Commands

    private mutating func wellFormed() -> [[UInt8]] {
        switch random.number(1...52) {
        case 1...4: set()
        case 5...7: text("GET") + [anyKey()]
        case 8: text("SETNX") + [anyKey(), value()]
        case 9: text("SETEX") + [anyKey()] + text(seconds()) + [value()]
        case 10: text("PSETEX") + [key()] + text(milliseconds()) + [value()]
        case 11: text("GETSET") + [anyKey(), value()]
        case 12: text("MGET") + keys(1...6)
        case 13: text("MSET") + keys(1...6).flatMap { [$0, value()] }
        case 14: text("MSETNX") + keys(1...3).flatMap { [$0, value()] }
        case 15, 16: text("APPEND") + [key(), value()]
        case 17: text("STRLEN") + [anyKey()]
        case 18, 19:
            [random.oneIn(4) ? Array("SUBSTR".utf8) : Array("GETRANGE".utf8), key()] + range().flatMap { text($0) }
        case 20, 21: text("SETRANGE") + [key()] + text(offset()) + [value()]
        case 22: text(random.pick(["INCR", "DECR"])) + [counter()]
        case 23, 24: text("INCRBY") + [counter()] + text(integer())
        case 25: text("DECRBY") + [counter()] + text(integer())
        case 26:
            text("INCRBYFLOAT") + [counter()]
                + text(random.pick(["0.5", "-1.25", "3", "1e2", "inf", "nan", "x", "0.1"]))
        case 27, 28: text("SETBIT") + [key()] + text(offset(), random.pick(["0", "1", "1", "2", "x"]))
        case 29: text("GETBIT") + [key()] + text(offset())
        case 30: text("BITCOUNT") + [key()] + (random.oneIn(3) ? [] : range().flatMap { text($0) })
        case 31: bitPosition()
        case 32: bitOperation()
        case 33, 34: text("DEL") + keys(1...4)
        case 35: text("EXISTS") + [anyKey()]
        case 36: text("TYPE") + [anyKey()]
        case 37: text("EXPIRE") + [anyKey()] + text(seconds())
        case 38: text("PEXPIRE") + [anyKey()] + text(milliseconds())
        case 39: text("EXPIREAT") + [anyKey()] + text(random.pick(["4000000000", "1", "0", "-1", "x"]))
        case 40: text("PEXPIREAT") + [anyKey()] + text(random.pick(["4000000000000", "1", "0", "-1", "x"]))
        case 41: text(random.pick(["TTL", "PTTL"])) + [anyKey()]
        case 42: text("PERSIST") + [anyKey()]
        case 43: text("RENAME") + [key(), key()]
        case 44: text("RENAMENX") + [key(), key()]
        case 45: text("MOVE") + [key()] + text(random.pick(["0", "1", "2", "3", "15", "16", "-1", "x"]))
        case 46: text("SELECT", random.oneIn(8) ? random.pick(["16", "-1", "x", "-"]) : "\(random.number(0...3))")
        case 47: text("OBJECT", "ENCODING") + [anyKey()]
        case 48: text("DBSIZE")
        case 49:
            text(
                "KEYS",
                random.pick(["*", "key:*", "key:?", "key:[1-3]*", "key:[^1]", "*\\*", "{tag}*", "nothing", "", "k*2"])
            )
        case 50: text("SCAN", random.oneIn(3) ? random.pick(["x", "-1", "1 "]) : "0") + scanOptions()
        case 51: random.oneIn(6) ? text(random.pick(["FLUSHDB", "FLUSHALL"])) : text("RANDOMKEY")
        default: random.oneIn(2) ? text("PING") : text("ECHO") + [value()]
        }
    }

    private mutating func set() -> [[UInt8]] {
        var words = text("SET") + [anyKey(), value()]
        if random.oneIn(4) { words += text(random.pick(["NX", "XX", "nx", "xX"])) }
        if random.oneIn(4) { words += random.oneIn(2) ? text("EX", seconds()) : text("px", milliseconds()) }
        // NX with XX and a bad time: 7.0 complains of the options first, 2.8 of the time.
        if random.oneIn(30) {
            words += text(random.pick(words.count > 4 ? ["FOO", "EX"] : ["NX", "XX", "FOO", "EX"]))
        }
        return words
    }

    private mutating func scanOptions() -> [[UInt8]] {
        switch random.number(1...8) {
        case 1: text("COUNT", random.pick(["1", "5", "1000", "0", "-1", "x"]))
        case 2: text("MATCH", random.pick(["*", "key:1*", "nothing"]))
        case 3: text(random.pick(["COUNT", "FOO", "MATCH"]))
        case 4: text("MATCH", "key:*", "COUNT", "3")
        default: []
        }
    }

    private mutating func bitPosition() -> [[UInt8]] {
        let words = text("BITPOS") + [key()] + text(random.pick(["0", "1", "0", "1", "2", "x"]))
        return words + range().prefix(random.number(0...2)).flatMap { text($0) }
    }

    private mutating func bitOperation() -> [[UInt8]] {
        let operation = random.pick(["AND", "OR", "XOR", "NOT", "and", "NOP"])
        return text("BITOP", operation) + [key()] + keys(1...(operation == "NOT" ? 2 : 4))
    }

    /// A command with too few or too many words, or one that does not exist.
    private mutating func mistaken() -> [[UInt8]] {
        let names = [
            "GET", "SET", "SETNX", "SETEX", "APPEND", "STRLEN", "GETRANGE", "SETRANGE", "INCR", "DECRBY", "INCRBYFLOAT",
            "SETBIT", "GETBIT", "BITOP", "DEL", "TYPE", "TTL", "PERSIST", "RENAME", "MOVE", "SELECT", "DBSIZE", "KEYS",
            "RANDOMKEY", "ECHO", "MGET", "MSET", "MSETNX", "GETSET", "PSETEX", "PTTL", "nosuch", "NoSuch", "", "a\r\nb",
        ]
        let name = random.pick(names)
        // More words than two are an option or a further key to some of them in 7.0.
        let taken = ["MGET", "DEL", "SET", "EXISTS", "KEYS"].contains(name) ? 0 : random.pick([0, 0, 1, 5])
        return text(name) + (0..<taken).map { _ in value() }
    }
}
