// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import Bytes
import CodisTesting
import Keyspace
import Testing

@Suite("Sorted sets in the keyspace")
struct SortedSetTests {
    @Test("Any sequence of changes leaves what a dictionary would hold, in order", arguments: 0..<3)
    func randomChanges(run: Int) throws {
        var changes = try SortedSetChanges(SeededGenerator(), most: [20, 400, 3000][run])
        print("sorted sets: CODIS_TEST_SEED=\(changes.random.seed)")
        for step in 0..<3000 {
            try changes.change()
            if step % 500 == 499 { try changes.compare() }
        }
        try changes.compare()
        try changes.empty()
    }

    @Test("A hundred thousand members find their places, and the key goes at once")
    func large() throws {
        var changes = try SortedSetChanges(SeededGenerator(seed: 7), most: 100_000)
        for start in stride(from: 0, to: 100_000, by: 1000) {
            try changes.set(
                0,
                (start..<(start + 1000)).map { (Double(($0 &* 7919) % 50_021), Array("member:\($0)".utf8)) }
            )
        }
        try changes.compare()
        try changes.remove(0, positions: 40_000..<90_000)
        try changes.compare()
        try changes.remove(0, positions: 0..<50_000)
        try changes.compare()
    }

    @Test("What is built element by element, in any order, is what was given", arguments: [1, 30, 5000])
    func building(count: Int) throws {
        let directory = try TemporaryDirectory()
        let keyspace = try Keyspace(directory: directory.path + "/keyspace")
        defer { keyspace.close() }
        let builder = ByteView.with("key") { ValueBuilder(keyspace, key: $0, in: 0, type: .sortedSet) }
        var model: [Int: Double] = [:]
        var random = SeededGenerator()
        for index in 0..<count {
            let number = random.number(0...count)
            model[number] = Double(index)
            try ByteView.with("member \(number)") {
                try builder.append(.scored(ElementBytes($0), score: Double(index)))
            }
        }
        #expect(builder.count == model.count)
        #expect(try builder.finish())
        let record = try #require(ByteView.with("key") { keyspace.find($0, in: 0) })
        var found: [Int] = []
        keyspace.reader.forEachElement(of: record) { element in
            guard case .scored(let member, let score) = element, let text = member.inline else { return }
            let number = Int(String(text.dropFirst(7))) ?? -1
            if model[number] == score { found.append(number) }
        }
        #expect(found == model.sorted { $0.value < $1.value }.map(\.key))
        #expect(keyspace.check() == [])
    }

    @Test("A walk over the elements goes on where it stopped", arguments: [30, 3000])
    func resuming(count: Int) throws {
        var changes = try SortedSetChanges(SeededGenerator(seed: 3), most: count)
        try changes.set(0, (0..<count).map { (Double($0 / 3), Array("m\($0)".utf8)) })
        let keyspace = changes.keyspace
        let record = try #require(ByteView.with("key0") { keyspace.find($0, in: 0) })
        var position = ElementPosition()
        var scores: [Double] = []
        var steps = 0
        while !position.isAtEnd {
            var left = 7
            keyspace.reader.forEachElement(of: record, from: &position) { element in
                if case .scored(_, let score) = element { scores.append(score) }
                left -= 1
                return left > 0
            }
            steps += 1
        }
        #expect(scores == (0..<count).map { Double($0 / 3) })
        #expect(steps >= count / 7)
    }
}

/// Random changes of sorted sets in a keyspace, and the same of dictionaries.
struct SortedSetChanges {
    var random: SeededGenerator
    let keyspace: Keyspace
    private let directory: TemporaryDirectory
    private let most: Int
    private var model: [[[UInt8]: Double]] = [[:], [:], [:]]
    private var offset: UInt64 = 0

    init(_ random: SeededGenerator, most: Int) throws {
        self.random = random
        self.most = most
        directory = try TemporaryDirectory()
        keyspace = try Keyspace(directory: directory.path + "/keyspace")
    }

    private func key(_ number: Int) -> String { "key\(number)" }

    private mutating func member() -> [UInt8] {
        let number = random.number(0...(most * 3 / 2))
        switch number % 20 {
        case 0:
            // Long ones, of which many differ at their end only.
            let length = random.pick([460, 461, 476, 477, 478, 700, 5000])
            return filledBytes(UInt8(ascii: "l"), count: length) + Array("\(number % 400)".utf8)
        case 1: return number < 100 ? [] : filledBytes(UInt8(number & 255), count: number % 300)
        default: return Array("member \(number)".utf8)
        }
    }

    private mutating func score() -> Double {
        switch random.number(0...9) {
        case 0: random.pick([0, -0.0, .infinity, -.infinity])
        case 1...4: Double(random.number(0...3))
        default: Double(random.number(-1000...1000)) / 8
        }
    }

    mutating func change() throws {
        let number = random.number(0...2)
        let count = model[number].count
        switch random.number(0...20) {
        case 0...9:
            var pairs: [(Double, [UInt8])] = []
            for _ in 0..<(random.oneIn(10) ? random.number(1...60) : 1) { pairs.append((score(), member())) }
            try set(number, pairs)
        case 10...12: try increment(number, score(), member())
        case 13...16: try remove(number, known(number))
        case 17 where count > 0:
            let first = random.number(0...(count - 1))
            try remove(number, positions: first..<(first + random.number(0...min(count - first, most / 4 + 1))))
        case 18 where random.oneIn(20): try commit()
        default: try ask(number)
        }
        if model[number].count > most { try remove(number, positions: 0..<(most / 2)) }
    }

    private mutating func known(_ number: Int) -> [[UInt8]] {
        var members = model[number].isEmpty ? [] : [model[number].randomElement(using: &random)!.key]
        if random.oneIn(4) { members.append(member()) }
        return members.isEmpty ? [member()] : members
    }

    mutating func set(_ number: Int, _ pairs: [(Double, [UInt8])]) throws {
        var added: Set<[UInt8]> = []
        for (score, member) in pairs {
            if let old = model[number][member] {
                if old != score { model[number][member] = score }
            } else {
                model[number][member] = score
                added.insert(member)
            }
        }
        let change = try ByteView.with(key(number)) { key in
            try withViews(pairs.map { $0.1 }) { views throws(KeyspaceError) in
                try keyspace.setScores(key, in: 0, count: pairs.count, limits: EncodingLimits(entries: 128, bytes: 64))
                {
                    (pairs[$0].0, views[$0])
                }
            }
        }
        #expect(change.added == added.count)
    }

    private mutating func increment(_ number: Int, _ score: Double, _ member: [UInt8]) throws {
        let sum = (model[number][member] ?? 0) + score
        let change = try ByteView.with(key(number)) { key in
            try ByteView.with(member) { member in
                try keyspace.setScores(
                    key,
                    in: 0,
                    count: 1,
                    increments: true,
                    limits: EncodingLimits(entries: 128, bytes: 64)
                ) { _ in (score, member) }
            }
        }
        #expect(change.isNotANumber == sum.isNaN)
        guard !sum.isNaN else { return }
        #expect(change.score == sum)
        if model[number][member] != sum { model[number][member] = model[number][member] == nil ? score : sum }
    }

    private mutating func remove(_ number: Int, _ members: [[UInt8]]) throws {
        var expected = 0
        for member in members where model[number].removeValue(forKey: member) != nil { expected += 1 }
        let removed = try ByteView.with(key(number)) { key in
            try withViews(members) { views throws(KeyspaceError) in
                try keyspace.removeScored(key, in: 0, count: views.count) { views[$0] }
            }
        }
        #expect(removed == expected)
    }

    mutating func remove(_ number: Int, positions: Range<Int>) throws {
        for (_, member) in sorted(number)[positions] { model[number][member] = nil }
        try ByteView.with(key(number)) { try keyspace.removeScored($0, in: 0, positions: positions) }
    }

    private func sorted(_ number: Int) -> [(Double, [UInt8])] {
        model[number].map { ($0.value, $0.key) }.sorted { left, right in
            if left.0 != right.0 { return left.0 < right.0 }
            return ByteView.with(left.1) { left in
                ByteView.with(right.1) { right in
                    for index in 0..<min(left.count, right.count) where left[index] != right[index] {
                        return left[index] < right[index]
                    }
                    return left.count < right.count
                }
            }
        }
    }

    private mutating func ask(_ number: Int) throws {
        guard let record = ByteView.with(key(number), { keyspace.find($0, in: 0) }) else {
            #expect(model[number].isEmpty)
            return
        }
        let members = sorted(number)
        #expect(record.count == members.count)
        let position = random.number(0...(members.count - 1))
        let (score, member) = members[position]
        let reader = keyspace.reader
        ByteView.with(member) { member in
            #expect(reader.score(of: member, in: record)?.bitPattern == score.bitPattern)
            #expect(reader.position(of: member, score: score, in: record) == position)
        }
        var range = ScoreRange(score, members[random.number(position...(members.count - 1))].0)
        range.excludesMinimum = random.oneIn(2)
        range.excludesMaximum = random.oneIn(2)
        let positions = reader.positions(of: range, in: record)
        let expected = members.filter { score, _ in
            (range.excludesMinimum ? score > range.minimum : score >= range.minimum)
                && (range.excludesMaximum ? score < range.maximum : score <= range.maximum)
        }
        #expect(positions.count == expected.count)
        var found: [[UInt8]] = []
        let backwards = random.oneIn(2)
        reader.forEachScored(of: record, from: position, backwards: backwards) { member, _ in
            found.append(reader.bytes(of: member))
            return found.count < 20
        }
        let wanted = backwards ? members[...position].suffix(20).reversed() : Array(members[position...].prefix(20))
        #expect(found == wanted.map { $0.1 })
    }

    private mutating func commit() throws {
        offset += 1
        if let checkpoint = try keyspace.commit(at: LogPosition(offset: offset)) {
            try checkpoint.makeDurable()
            keyspace.finish(checkpoint)
        }
        while try keyspace.reclaim(maximumRows: 100_000) {}
    }

    mutating func compare() throws {
        for number in 0..<3 {
            let members = sorted(number)
            var found: [(Double, [UInt8])] = []
            if let record = ByteView.with(key(number), { keyspace.find($0, in: 0) }) {
                keyspace.reader.forEachElement(of: record) { element in
                    guard case .scored(let member, let score) = element else { return }
                    found.append((score, keyspace.reader.bytes(of: member)))
                }
            }
            #expect(found.count == members.count)
            let isSame = zip(found, members).allSatisfy {
                $0.0.bitPattern == $1.0.bitPattern && sameBytes($0.1, $1.1)
            }
            #expect(isSame)
        }
        #expect(keyspace.check() == [])
    }

    mutating func empty() throws {
        for number in 0..<3 {
            while !model[number].isEmpty { try remove(number, Array(model[number].keys.prefix(50))) }
        }
        try commit()
        #expect(keyspace.keyCount(in: 0) == 0)
        #expect(keyspace.check() == [])
        keyspace.close()
    }
}
