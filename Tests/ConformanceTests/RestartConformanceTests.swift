// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisTesting
import Testing

@Suite("Restarts against redis-server", .enabled(if: RedisPeer.isInstalled, "redis-server is not installed"))
struct RestartConformanceTests {
    /// How often our server ends in the middle of the commands.
    private static let restarts = 24

    @Test("random commands of all types are answered as by a server that never ends", arguments: [false, true])
    func randomCommands(isKilled: Bool) throws {
        let seed = SeededGenerator().seed
        print("restarts: CODIS_TEST_SEED=\(seed)")
        var random = SeededGenerator(seed: seed)
        var generator = AllTypesGenerator(seed: seed)
        let pair = try ServerPair()
        for restart in 1...Self.restarts {
            var history: [String] = []
            for _ in 0..<random.number(1...4) {
                let batch = (0..<random.number(1...ConformanceTests.commands / 100)).map { _ in
                    isKilled ? Self.withoutEncodingOfCounters(generator.next()) : generator.next()
                }
                history += batch.map { $0.map { printable($0, limit: 60) }.joined(separator: " ") }
                if let first = try pair.compare(batch).first {
                    let told = history.suffix(batch.count - first.index + 30).prefix(31).joined(separator: "\n")
                    Issue.record("seed \(seed), after \(restart - 1) restarts: \(first.text)\n\(told)")
                    return
                }
            }
            try pair.restartOurs(isKilled: isKilled)
        }
        try pair.compareData(databases: 0..<4, isKept: !isKilled)
        for database in 0..<4 { try pair.compareElements(database: database) }
        try pair.ours.stop()
    }
}

extension RestartConformanceTests {
    /// INCRBYFLOAT leaves a text, also where it is a whole number; a log has it as SET, which makes that an integer, in
    /// Redis as in ours.
    fileprivate static func withoutEncodingOfCounters(_ words: [[UInt8]]) -> [[UInt8]] {
        let isOfCounter =
            words.count == 3 && words[0] == Array("OBJECT".utf8)
            && words[2].starts(with: Array("counter:".utf8))
        return isOfCounter ? [Array("GET".utf8), words[2]] : words
    }
}

/// Random commands of all types.
struct AllTypesGenerator {
    private var random: SeededGenerator
    private var stringsAndSortedSets: CommandGenerator
    private var hashesAndSets: HashAndSetCommands
    private var lists: ListCommandGenerator

    init(seed: UInt64) {
        random = SeededGenerator(seed: seed &+ 1)
        stringsAndSortedSets = CommandGenerator(random: SeededGenerator(seed: seed &+ 2))
        hashesAndSets = HashAndSetCommands(random: SeededGenerator(seed: seed &+ 3))
        lists = ListCommandGenerator(random: SeededGenerator(seed: seed &+ 4))
    }

    /// The next command.
    mutating func next() -> [[UInt8]] {
        if stringsAndSortedSets.isInTransaction { return stringsAndSortedSets.next() }
        switch random.number(1...6) {
        case 1, 2: return stringsAndSortedSets.next()
        case 3, 4: return hashesAndSets.next()
        case 5: return lists.next()
        default: return hyperLogLog()
        }
    }

    private mutating func hyperLogLog() -> [[UInt8]] {
        let key = "pf:\(random.number(1...4))"
        let words: [String] =
            switch random.number(1...8) {
            case 1: ["GET", key]
            case 2: ["PFDEBUG", "ENCODING", key]
            case 3: ["DEL", key]
            default: ["PFADD", key] + (0..<random.number(1...60)).map { _ in "e\(random.number(0...20_000))" }
            }
        return words.map { Array($0.utf8) }
    }
}
