// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisTesting

/// Random commands on sorted sets.
///
/// Left out is the negative zero, which 7.0 forgets in small sorted sets, what only 7.0 has (options of ZADD and
/// ZRANGE), what has no one order (ZSCAN of large ones, ranges by member where scores differ), and two mistakes in one
/// command, of which either may be told first.
extension CommandGenerator {
    /// A command on sorted sets, right or wrong.
    mutating func sortedSetCommand() -> [[UInt8]] {
        switch random.number(1...36) {
        case 1...7: return words("ZADD") + [sortedSet()] + scoredMembers(random.oneIn(6) ? 1...60 : 1...3)
        case 8: return words("ZADD", lexSet()) + (0..<random.number(1...9)).flatMap { _ in [words("0")[0], member()] }
        case 9, 10: return words("ZINCRBY") + [sortedSet()] + words(score()) + [member()]
        case 11, 12: return words("ZREM") + [sortedSet()] + (0..<random.number(1...3)).map { _ in member() }
        case 13: return words("ZCARD") + [sortedSet()]
        case 14, 15: return words("ZSCORE") + [sortedSet(), member()]
        case 16, 17: return words(random.pick(["ZRANK", "ZREVRANK"])) + [sortedSet(), member()]
        case 18...20: return rangeByPosition()
        case 21...23: return rangeByScore()
        case 24: return words("ZCOUNT") + [sortedSet()] + words(scoreBound(), scoreBound())
        case 25, 26: return rangeByMember()
        case 27: return words("ZLEXCOUNT", lexSet(), memberBound(), memberBound())
        case 28: return words("ZREMRANGEBYSCORE") + [sortedSet()] + words(scoreBound(), scoreBound())
        case 29:
            return words("ZREMRANGEBYRANK") + [sortedSet()] + words(position(), position())
        case 30: return words("ZREMRANGEBYLEX", lexSet(), memberBound(), memberBound())
        case 31...33: return storedCombination()
        case 34: return words("OBJECT", "ENCODING") + [sortedSet()]
        case 35:
            return words(random.pick(["TYPE", "DEL", "PERSIST", "EXISTS"])) + [sortedSet()]
        default:
            return random.oneIn(2)
                ? words("ZSCAN", "no such key", random.pick(["0", "x", "5"]))
                : words("RENAME") + [sortedSet(), sortedSet()]
        }
    }

    private func words(_ words: String...) -> [[UInt8]] { words.map { Array($0.utf8) } }

    private mutating func sortedSet() -> [UInt8] {
        random.oneIn(30) ? Array("key:\(random.number(1...40))".utf8) : Array("zset:\(random.number(1...8))".utf8)
    }

    private mutating func lexSet() -> String { "lexset:\(random.number(1...3))" }

    private mutating func member() -> [UInt8] {
        switch random.number(1...30) {
        case 1: []
        case 2: filledBytes(UInt8(ascii: "m"), count: random.pick([63, 64, 65, 500])) + [UInt8(random.number(0...3))]
        case 3...12: Array(String(random.number(-20...200)).utf8)
        default: Array("member \(random.number(0...150))".utf8)
        }
    }

    private mutating func score() -> String {
        switch random.number(1...40) {
        case 1: random.pick(["x", "nan", "", " 1", "1 ", "1e400", "--1", "0x", "1.5.2"].filter { !$0.isEmpty })
        case 2: random.pick(["inf", "-inf", "+inf", "Infinity"])
        case 3: random.pick(["1e3", "0x10", "3.14", "1e-7", "1e17", "12345678901234567", "-1.7e308", "5e-324"])
        case 4...20: String(random.number(0...5))
        default: String(Double(random.number(-800...800)) / 8)
        }
    }

    private mutating func scoredMembers(_ counts: ClosedRange<Int>) -> [[UInt8]] {
        var all: [[UInt8]] = []
        for _ in 0..<random.number(counts) { all += words(score()) + [member()] }
        // A score without its member.
        if random.oneIn(60) { all.removeLast() }
        return all
    }

    private mutating func position() -> String {
        random.oneIn(40) ? random.pick(["x", "1.5", "-"]) : String(random.number(-60...60))
    }

    private mutating func scoreBound() -> String {
        if random.oneIn(40) { return random.pick(["x", "(x", "nan", "(nan"]) }
        let bound =
            random.oneIn(6) ? random.pick(["-inf", "+inf", "inf"]) : String(Double(random.number(-400...400)) / 8)
        return random.oneIn(3) ? "(" + bound : bound
    }

    private mutating func memberBound() -> String {
        switch random.number(1...20) {
        case 1: return random.pick(["x", "-x", "+x", "member"])
        case 2...6: return random.pick(["-", "+"])
        default: return random.pick(["[", "("]) + random.pick(["member \(random.number(0...150))", "1", "", "n"])
        }
    }

    private mutating func rangeByPosition() -> [[UInt8]] {
        var all = words(random.pick(["ZRANGE", "ZREVRANGE"])) + [sortedSet()]
        let isMistaken = random.oneIn(30)
        all += isMistaken ? words("0", "5") : words(position(), position())
        if isMistaken {
            all += words("SCORES")
        } else if random.oneIn(2) {
            all += words(random.pick(["WITHSCORES", "withscores"]))
        }
        return all
    }

    private mutating func limit() -> [[UInt8]] {
        words("LIMIT", String(random.number(-1...6)), String(random.number(-1...10)))
    }

    private mutating func rangeByScore() -> [[UInt8]] {
        var all = words(random.pick(["ZRANGEBYSCORE", "ZREVRANGEBYSCORE"])) + [sortedSet()]
        if random.oneIn(30) {
            return all + words("0", "5") + random.pick([words("LIMIT", "1"), words("LIMIT", "x", "1"), words("OTHER")])
        }
        all += words(scoreBound(), scoreBound())
        if random.oneIn(3) { all += words("WITHSCORES") }
        if random.oneIn(3) { all += limit() }
        return all
    }

    private mutating func rangeByMember() -> [[UInt8]] {
        let all = words(random.pick(["ZRANGEBYLEX", "ZREVRANGEBYLEX"]), lexSet())
        if random.oneIn(30) { return all + words("-", "+") + words("LIMIT", "x", "1") }
        return all + words(memberBound(), memberBound()) + (random.oneIn(3) ? limit() : [])
    }

    private mutating func storedCombination() -> [[UInt8]] {
        let name = random.pick(["ZUNIONSTORE", "ZINTERSTORE"])
        if random.oneIn(30) {
            let wrong = [
                words("0", "zset:1"), words("x", "zset:1"), words("3", "zset:1"), words("1", "zset:1", "WEIGHTS", "x"),
                words("1", "zset:1", "AGGREGATE", "avg"), words("1", "zset:1", "WEIGHTS"),
                words("1", "zset:1", "zset:2"),
            ]
            return words(name) + [sortedSet()] + random.pick(wrong)
        }
        let count = random.number(1...3)
        var all = words(name) + [sortedSet()] + words("\(count)") + (0..<count).map { _ in sortedSet() }
        if random.oneIn(3) {
            all += words("WEIGHTS") + (0..<count).map { _ in Array(random.pick(["1", "2", "0.5", "4"]).utf8) }
        }
        if random.oneIn(2) { all += words("AGGREGATE", random.pick(["SUM", "min", "MAX"])) }
        return all
    }
}
