// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisTesting
import Testing

@Suite("Lists against redis-server", .enabled(if: RedisPeer.isInstalled, "redis-server is not installed"))
struct ListConformanceTests {
    @Test("random list commands and SORT are answered alike, byte for byte", arguments: 1...2)
    func randomCommands(run: Int) throws {
        let base = SeededGenerator()
        let seed = base.seed &+ UInt64(run)
        print("list conformance: CODIS_TEST_SEED=\(seed)")
        var generator = ListCommandGenerator(random: SeededGenerator(seed: seed))
        let pair = try ServerPair()
        var history: [[[UInt8]]] = []
        for start in stride(from: 0, to: ConformanceTests.commands / 2, by: 100) {
            let batch = (0..<100).map { _ in generator.next() }
            let complaints = try pair.compare(batch)
            history = (history + batch).suffix(200)
            if let first = complaints.first {
                let told = history.suffix(100 - first.index + 20).prefix(21).map { words in
                    words.map { printable($0, limit: 40) }.joined(separator: " ")
                }
                Issue.record(
                    "seed \(seed), command \(start + first.index): \(first.text)\n\(told.joined(separator: "\n"))"
                )
                return
            }
        }
        let lists = ListCommandGenerator.lists.flatMap { key in
            [["LRANGE", key, "0", "-1"], ["LLEN", key], ["PTTL", key], ["TYPE", key]].map { $0.map { Array($0.utf8) } }
        }
        for complaint in try pair.compare(lists) { Issue.record("seed \(seed): \(complaint.text)") }
        try pair.ours.stop()
    }
}

/// Random commands on lists that Redis 2.8 and 7.0 both have, right and wrong ones.
///
/// Left out is what the later version has made of them: counts for LPOP and RPOP, several elements for LPUSHX and
/// RPUSHX, DESC where nothing is sorted, and mistakes in SORT's options on a key of another type. OBJECT ENCODING knows
/// other words for lists since 3.2.
struct ListCommandGenerator {
    var random: SeededGenerator

    static let lists = (1...6).map { "list:\($0)" }

    /// The next command.
    mutating func next() -> [[UInt8]] {
        let list = list()
        switch random.number(1...44) {
        case 1...5: return text(random.pick(["LPUSH", "RPUSH"]), list) + elements(1...8)
        case 6, 7: return text(random.pick(["LPUSH", "RPUSH"]), list) + elements(50...200)
        case 8: return text(random.pick(["LPUSHX", "RPUSHX"]), list) + [element()]
        case 9...12: return text(random.pick(["LPOP", "RPOP", "lpop"]), list)
        case 13, 14: return text("RPOPLPUSH", list, self.list())
        case 15...17: return text("LINDEX", list, index())
        case 18, 19: return text("LRANGE", list, index(), index())
        case 20: return text("LRANGE", list, "0", "-1")
        case 21...23: return text("LSET", list, index()) + [element()]
        case 24...26:
            return text("LINSERT", list, random.pick(["BEFORE", "after", "AFTER", "BESIDE"])) + [element(), element()]
        case 27...29: return text("LREM", list, random.pick(["0", "1", "-1", "3", "-3", index()])) + [element()]
        case 30: return text("LTRIM", list, index(), index())
        case 31: return text("LTRIM", list, "\(random.number(0...20))", "\(-random.number(1...20))")
        case 32, 33: return text("LLEN", list)
        case 34: return random.oneIn(3) ? text("DEL", list) : text("EXPIRE", list, "100000")
        case 35: return text("RENAME", "list:\(random.number(1...6))", "list:\(random.number(1...6))x")
        case 36: return text("RENAME", "list:\(random.number(1...6))x", list)
        case 37: return text(random.pick(["TYPE", "PTTL", "EXISTS"]), list)
        case 38: return text("SET", "weight:\(random.number(0...30))", "\(random.number(-9...9))")
        case 39: return random.oneIn(20) ? text("SET", "text", "value") : text("DEL", list)
        default: return sort(list)
        }
    }

    private func text(_ words: String...) -> [[UInt8]] { words.map { Array($0.utf8) } }

    private mutating func list() -> String {
        switch random.number(1...30) {
        case 1: "text"
        case 2: "missing"
        default: random.pick(Self.lists)
        }
    }

    private mutating func element() -> [UInt8] {
        switch random.number(1...60) {
        // Without NUL, where ALPHA ends: what is equal up to there may come in any order.
        case 1: Array(repeating: UInt8(random.number(120...122)), count: random.number(850...9_000))
        case 2...8: Array(String(repeating: "word ", count: random.number(1...40)).utf8)
        case 9: []
        // No zero byte: for strcoll a text ends there.
        case 10: [0xFF, 0x0D, 0x0A]
        default: Array("\(random.number(0...30))".utf8)
        }
    }

    private mutating func elements(_ range: ClosedRange<Int>) -> [[UInt8]] {
        (0..<random.number(range)).map { _ in element() }
    }

    private mutating func index() -> String {
        switch random.number(1...12) {
        case 1: random.pick(["x", "9223372036854775807", "-9223372036854775807", "1.5"])
        case 2...4: "\(random.number(-500...500))"
        default: "\(random.number(-15...15))"
        }
    }

    private mutating func sort(_ list: String) -> [[UInt8]] {
        // A list of anything is sorted as texts; as numbers it is mostly an error.
        var words = text("SORT", list)
        let keepsOrder = random.oneIn(5)
        if keepsOrder {
            words += text("BY", "nosort")
        } else {
            if random.oneIn(3) { words += text("BY", "weight:*") } else if !random.oneIn(8) { words += text("ALPHA") }
            if random.oneIn(2) { words += text(random.pick(["ASC", "DESC"])) }
        }
        if random.oneIn(3) { words += text("GET", random.pick(["#", "weight:*", "fixed", "weight:*->f"])) }
        if random.oneIn(4) { words += text("GET", "#") }
        if random.oneIn(3) { words += text("LIMIT", "\(random.number(-3...20))", "\(random.number(-3...20))") }
        if random.oneIn(3) { words += text("STORE", random.pick(Self.lists)) }
        if random.oneIn(30), list != "text" { words += text(random.pick(["FOO", "LIMIT", "BY", "GET"])) }
        return words
    }
}
