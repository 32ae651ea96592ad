// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import Bytes
import CodisTesting
import Testing

@testable import Keyspace

@Suite("The counted tree")
struct CountedTreeTests {
    @Test("A list keeps every element at its place, whatever is put in, taken out and replaced", arguments: 0..<3)
    func list(run: Int) throws {
        var list = ListRun(SeededGenerator())
        print("counted tree, list: CODIS_TEST_SEED=\(list.random.seed)")
        for _ in 0..<(run == 0 ? 3000 : 1500) { try list.change() }
        try list.compare()
        try list.empty()
    }

    @Test("A sorted set keeps its order, and knows each position and each member", arguments: 0..<4)
    func sortedSet(run: Int) throws {
        var set = SortedSetRun(SeededGenerator(), hasLongMembers: run % 2 == 1)
        print("counted tree, sorted set: CODIS_TEST_SEED=\(set.random.seed)")
        for _ in 0..<2500 { try set.change() }
        try set.compare()
        try set.empty()
    }

    @Test("Leaves can be given to a list and taken from it at either end")
    func wholeLeaves() throws {
        var random = SeededGenerator()
        let nodes = MemoryNodes()
        var tree = CountedTree(nodes, .list, root: TreeRoot())
        var model: [[Int]] = []
        for step in 0..<1500 {
            let atEnd = random.oneIn(2)
            if random.number(0...9) < (step < 900 ? 7 : 3) || model.isEmpty {
                let leaf = try tree.makeLeaf()
                let numbers = (0..<random.number(1...40)).map { _ in random.number(0...999_999) }
                for number in numbers {
                    ByteView.with("\(number)") { text in
                        let node = nodes.edit(leaf)
                        node.insert(TreeEntry(body: text), at: node.count)
                    }
                }
                try tree.attach(leaf: leaf, atEnd: atEnd)
                model.insert(numbers, at: atEnd ? model.count : 0)
            } else {
                let leaf = try tree.detach(atEnd: atEnd)
                let numbers = atEnd ? model.removeLast() : model.removeFirst()
                let node = nodes.node(leaf)
                #expect((0..<node.count).map { Int(String(node.entry(at: $0).body)) } == numbers)
                try tree.deleteLeaf(leaf)
            }
            if step % 100 == 0 || step == 1499 {
                var found: [Int] = []
                let check = try tree.check { found.append(Int(String($0.body)) ?? -1) }
                #expect(check.problems == [])
                #expect(check.nodes == nodes.numbers)
                #expect(found == model.flatMap { $0 })
            }
        }
    }

    @Test("A tree built from a stream has the elements of the stream", arguments: [0, 1, 2, 50, 200, 20_000])
    func building(count: Int) throws {
        let nodes = MemoryNodes()
        var builder = TreeBuilder(nodes, .sortedSet)
        let members = (0..<count).map { Array("member \(String(1_000_000 + $0)) of it".utf8) }
        for (index, member) in members.enumerated() {
            let score = OrderedScore.number(Double(index / 7))
            try ByteView.with(member) { try builder.append(TreeEntry(score: score, body: $0)) }
        }
        let tree = try builder.finish()
        var found: [[UInt8]] = []
        let check = try tree.check { found.append(Array($0.body)) }
        #expect(check.problems == [])
        #expect(check.nodes == nodes.numbers && check.nodes.count == tree.nodeBalance)
        #expect(found == members)
        // Full nodes: no more than a quarter beyond what the bytes need.
        #expect(tree.nodeBalance <= 2 + count * 38 / 1500)
    }

    @Test("A tree that grows at its end fills its nodes")
    func appending() throws {
        let nodes = MemoryNodes()
        var tree = CountedTree(nodes, .sortedSet, root: TreeRoot())
        for index in 0..<5000 {
            try ByteView.with("member:\(1_000_000 + index)") { member in
                let entry = TreeEntry(score: OrderedScore.number(Double(index)), body: member)
                try tree.insert(entry, key: TreeKey(Double(index), member))
            }
        }
        #expect(try tree.check().problems == [])
        #expect(tree.nodeBalance <= 5000 * 26 / 1900 + 4)
    }

    @Test("Scores keep their order as numbers, and the two zeros are one score")
    func scores() {
        let scores = [-Double.infinity, -1e300, -1.5, -1e-300, -0.0, 0.0, 1e-300, 1, 2, 1e300, .infinity]
        let numbers = scores.map { OrderedScore.number($0) }
        #expect(numbers == numbers.sorted())
        #expect(numbers.map { OrderedScore.score($0).bitPattern } == scores.map(\.bitPattern))
        #expect(OrderedScore.comparable(numbers[4]) == OrderedScore.comparable(numbers[5]))
        #expect(OrderedScore.comparable(numbers[3]) < OrderedScore.comparable(numbers[4]))
    }
}

/// Random changes of a list, and the same changes of an array.
struct ListRun {
    var random: SeededGenerator
    private let nodes = MemoryNodes()
    private var tree: CountedTree<MemoryNodes>
    private var model: [[UInt8]] = []

    init(_ random: SeededGenerator) {
        self.random = random
        tree = CountedTree(nodes, .list, root: TreeRoot())
    }

    private mutating func element() -> [UInt8] {
        let length = random.oneIn(10) ? random.number(0...TreeNode.longestBody) : random.number(0...30)
        return filledBytes(UInt8(random.number(0...255)), count: length)
    }

    mutating func change() throws {
        switch random.number(0...20) {
        case 0...9: try insert(at: random.number(0...model.count))
        case 10, 11: for _ in 0..<random.number(1...30) { try insert(at: model.count) }
        case 12: for _ in 0..<random.number(1...30) { try insert(at: 0) }
        case 13...16 where !model.isEmpty: try remove(at: random.number(0...(model.count - 1)), count: 1)
        case 17 where !model.isEmpty:
            let position = random.number(0...(model.count - 1))
            try remove(at: position, count: random.number(0...min(model.count - position, random.pick([20, 1000]))))
        default:
            guard !model.isEmpty else { return }
            let position = random.number(0...(model.count - 1))
            let element = element()
            try ByteView.with(element) { try tree.replace(at: position, with: TreeEntry(body: $0)) }
            model[position] = element
        }
        if random.oneIn(40) { try compare() }
    }

    private mutating func insert(at position: Int) throws {
        let element = element()
        try ByteView.with(element) { try tree.insert(TreeEntry(body: $0), at: position) }
        model.insert(element, at: position)
    }

    private mutating func remove(at position: Int, count: Int) throws {
        var removed: [[UInt8]] = []
        try tree.remove(at: position, count: count) { removed.append(Array($0.body)) }
        #expect(removed == Array(model[position..<(position + count)]))
        model.removeSubrange(position..<(position + count))
    }

    mutating func compare() throws {
        #expect(tree.count == model.count)
        var index = 0
        var isSame = true
        let check = try tree.check { entry in
            isSame = isSame && index < model.count && entry.body == model[index]
            index += 1
        }
        #expect(isSame && check.problems == [])
        #expect(check.nodes == nodes.numbers && check.nodes.count == tree.nodeBalance)
        guard !model.isEmpty else { return }
        let position = random.number(0...(model.count - 1))
        #expect(try tree.entry(at: position).body == model[position])
        var rest = model[position...].prefix(200)
        try tree.walk(from: position) { entry in
            #expect(rest.popFirst().map { entry.body == $0 } == true)
            return !rest.isEmpty
        }
        var before = model[...position].suffix(200)
        try tree.walkBackwards(from: position) { entry in
            #expect(before.popLast().map { entry.body == $0 } == true)
            return !before.isEmpty
        }
    }

    mutating func empty() throws {
        while !model.isEmpty {
            try remove(at: random.number(0...(model.count - 1)), count: 1)
            if !model.isEmpty { try remove(at: 0, count: random.number(0...min(20, model.count))) }
        }
        try compare()
    }
}

/// Random changes of a sorted set, and the same changes of a sorted array.
struct SortedSetRun {
    struct Member {
        var score: Double
        var bytes: [UInt8]
        var blob: UInt64?
    }

    var random: SeededGenerator
    let hasLongMembers: Bool
    private let nodes = MemoryNodes()
    private var tree: CountedTree<MemoryNodes>
    private var model: [Member] = []
    private var nextBlob: UInt64 = 1

    init(_ random: SeededGenerator, hasLongMembers: Bool) {
        self.random = random
        self.hasLongMembers = hasLongMembers
        tree = CountedTree(nodes, .sortedSet, root: TreeRoot())
    }

    private mutating func member() -> [UInt8] {
        if hasLongMembers, random.oneIn(2) {
            // Many have the same head, and differ behind it only.
            let length = random.pick([460, 461, 462, 476, 477, 478, 700])
            return filledBytes(UInt8(ascii: "m"), count: length) + Array("\(random.number(0...300))".utf8)
        }
        return Array("\(random.oneIn(3) ? "a common beginning of " : "")\(random.number(0...5_000))".utf8)
    }

    private mutating func score() -> Double {
        random.oneIn(2) ? random.pick([0, -0.0, 1, 2]) : Double(random.number(-500...500)) / 4
    }

    /// Where a member of this score would be.
    private func place(_ score: Double, _ bytes: [UInt8]) -> Int {
        ByteView.with(bytes) { bytes in
            var low = 0
            var high = model.count
            while low < high {
                let middle = (low + high) / 2
                let other = model[middle]
                let isBefore =
                    other.score != score
                    ? other.score < score : ByteView.with(other.bytes) { $0.compare(bytes) < 0 }
                if isBefore { low = middle + 1 } else { high = middle }
            }
            return low
        }
    }

    mutating func change() throws {
        switch random.number(0...20) {
        case 0...13: try insert(score(), member())
        case 14...17 where !model.isEmpty: try remove(random.number(0...(model.count - 1)))
        case 18 where !model.isEmpty:
            let position = random.number(0...(model.count - 1))
            try remove(position, count: random.number(0...min(model.count - position, random.pick([20, 600]))))
        default:
            let score = score()
            let member = member()
            let position = try ByteView.with(member) { try tree.position(of: TreeKey(score, $0)) }
            #expect(position == place(score, member))
            let number = OrderedScore.comparable(OrderedScore.number(score))
            let first = try tree.position { OrderedScore.comparable($0.score) < number }
            let behind = try tree.position { OrderedScore.comparable($0.score) <= number }
            #expect(first == model.count { $0.score < score } && behind == model.count { $0.score <= score })
        }
        if random.oneIn(40) { try compare() }
    }

    private mutating func insert(_ score: Double, _ bytes: [UInt8]) throws {
        let place = place(score, bytes)
        if place < model.count, model[place].score == score, sameBytes(model[place].bytes, bytes) { return }
        var member = Member(score: score, bytes: bytes)
        var body = bytes
        if bytes.count > LongMember.longestPlainMember {
            member.blob = nextBlob
            nodes.blobs[nextBlob] = bytes
            body = ByteView.with(bytes) { LongMember.body(of: $0, blob: nextBlob) }
            nextBlob += 1
        }
        try ByteView.with(bytes) { bytes in
            try ByteView.with(body) { body in
                let number = OrderedScore.number(score)
                let entry = TreeEntry(score: number, body: body, isReference: member.blob != nil)
                try tree.insert(entry, key: TreeKey(score, bytes))
            }
        }
        model.insert(member, at: place)
    }

    private mutating func remove(_ position: Int) throws {
        let member = model.remove(at: position)
        try ByteView.with(member.bytes) { try tree.remove(TreeKey(member.score, $0)) }
        if let blob = member.blob { nodes.blobs[blob] = nil }
    }

    private mutating func remove(_ position: Int, count: Int) throws {
        var blobs: [UInt64?] = []
        try tree.remove(at: position, count: count) { entry in
            blobs.append(entry.isReference ? (try? LongMember(entry.body))?.blob : nil)
        }
        #expect(blobs == model[position..<(position + count)].map(\.blob))
        for case let blob? in blobs { nodes.blobs[blob] = nil }
        model.removeSubrange(position..<(position + count))
    }

    mutating func compare() throws {
        #expect(tree.count == model.count)
        var index = 0
        var isSame = true
        let check = try tree.check { entry in
            guard index < model.count else { return isSame = false }
            let member = model[index]
            index += 1
            isSame = isSame && OrderedScore.score(entry.score).bitPattern == member.score.bitPattern
            if let blob = member.blob {
                isSame = isSame && entry.isReference && (try? LongMember(entry.body))?.blob == blob
            } else {
                isSame = isSame && !entry.isReference && entry.body == member.bytes
            }
        }
        #expect(isSame && index == model.count && check.problems == [])
        #expect(check.nodes == nodes.numbers && check.nodes.count == tree.nodeBalance)
    }

    mutating func empty() throws {
        while !model.isEmpty { try remove(random.number(0...(model.count - 1))) }
        try compare()
    }
}
