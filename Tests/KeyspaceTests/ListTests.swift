// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import Bytes
import CodisTesting
import Keyspace
import Testing

@Suite("Lists in the keyspace")
struct ListTests {
    private let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    private static let limits = EncodingLimits(entries: 512, bytes: 64)

    private func open() throws -> Keyspace {
        var options = KeyspaceOptions()
        options.dirtyPages = 2_000
        return try Keyspace(directory: directory.path + "/keyspace", options: options)
    }

    @Test("whatever is done to lists, they hold what arrays would", arguments: 0..<4)
    func model(run: Int) throws {
        let base = SeededGenerator()
        let seed = base.seed &+ UInt64(run)
        print("lists: CODIS_TEST_SEED=\(seed)")
        var run = ArrayRun(try open(), SeededGenerator(seed: seed), largest: [30, 400, 3_000, 20_000][run])
        for _ in 0..<15 {
            for _ in 0..<400 { try run.step() }
            #expect(run.keyspace.check() == [], "seed \(seed)")
            run.compare()
        }
    }

    @Test("a list of 100,000 elements is walked from any place, and trimmed from either end")
    func manyElements() throws {
        let keyspace = try open()
        let key = ByteView("list")
        var number = 0
        while number < 100_000 {
            let elements = (number..<(number + 100)).map { Array("element \($0)".utf8) }
            let length = try keyspace.push(elements, onto: key, at: .tail)
            number += 100
            #expect(length == number)
        }
        #expect(keyspace.check() == [])
        for place in [0, 1, 999, 50_000, 99_999] {
            let record = try #require(keyspace.find(key, in: 0))
            let element = try #require(keyspace.reader.listElement(of: record, at: place))
            #expect(keyspace.reader.bytes(of: element) == Array("element \(place)".utf8))
        }
        try keyspace.trimList(key, in: 0, to: 20_000..<90_000)
        #expect(keyspace.check() == [])
        #expect(keyspace.find(key, in: 0)?.count == 70_000)
        try keyspace.trimList(key, in: 0, to: 30_000..<30_200)
        #expect(keyspace.check() == [])
        #expect(keyspace.elements(of: key) == (50_000..<50_200).map { Array("element \($0)".utf8) })
        #expect(try keyspace.remove(key, in: 0))
        while keyspace.hasReclaimBacklog {
            _ = try keyspace.commit(at: LogPosition(offset: UInt64(number)))
            number += 1
            while try keyspace.reclaim(maximumRows: 1_000) {}
        }
        #expect(keyspace.check() == [])
    }

    @Test("elements that are long go to rows of their own, and their rows go with them")
    func longElements() throws {
        let keyspace = try open()
        let key = ByteView("list")
        let elements = [900, 901, 980, 981, 4_080, 4_081, 20_000, 262_144, 262_145, 1_000_000].map { length in
            (0..<length).map { UInt8(truncatingIfNeeded: $0 ^ length) }
        }
        for end in [ListEnd.head, .tail] {
            for element in elements { _ = try keyspace.push([element], onto: key, at: end) }
            #expect(keyspace.check() == [])
            #expect(keyspace.elements(of: key) == (end == .head ? elements.reversed() : elements))
            for (index, element) in elements.reversed().enumerated() {
                var popped: [UInt8] = []
                let left = try keyspace.popElement(key, in: 0, from: end) { popped = keyspace.reader.bytes(of: $0) }
                #expect(popped == element)
                #expect(left == elements.count - 1 - index)
            }
            #expect(keyspace.find(key, in: 0) == nil)
            #expect(keyspace.check() == [])
        }
    }

    @Test(
        "a walk over a list goes on where it stopped, and what it meets builds the same list",
        arguments: [50, 5_000]
    )
    func walkAndBuild(count: Int) throws {
        let keyspace = try open()
        let elements = (0..<count).map { Array(String(repeating: "\($0)", count: $0 % 50 == 7 ? 500 : 1).utf8) }
        _ = try keyspace.push(elements, onto: ByteView("a"), at: .tail)
        let builder = ValueBuilder(keyspace, key: ByteView("b"), in: 0, type: .list)
        var position = ElementPosition()
        while !position.isAtEnd {
            var piece: [[UInt8]] = []
            let record = try #require(keyspace.find(ByteView("a"), in: 0))
            keyspace.reader.forEachElement(of: record, from: &position) { element in
                guard case .element(let bytes) = element else { return false }
                piece.append(keyspace.reader.bytes(of: bytes))
                return piece.count < 17
            }
            for element in piece { try ByteView.with(element) { try builder.append(.element(ElementBytes($0))) } }
        }
        #expect(try builder.finish(encoding: 1))
        #expect(keyspace.elements(of: ByteView("b")) == elements)
        #expect(keyspace.find(ByteView("b"), in: 0)?.encoding == 1)
        #expect(keyspace.check() == [])
        let given = ValueBuilder(keyspace, key: ByteView("b"), in: 0, type: .list)
        for element in elements { try ByteView.with(element) { try given.append(.element(ElementBytes($0))) } }
        try given.abandon()
        #expect(keyspace.elements(of: ByteView("b")) == elements)
        #expect(keyspace.check() == [])
    }

    @Test("lists are found again after opening")
    func reopening() throws {
        let elements = (0..<3_000).map { Array("element \($0)".utf8) }
        do {
            let keyspace = try open()
            _ = try keyspace.push(elements, onto: ByteView("list"), at: .head)
            let checkpoint = try #require(try keyspace.commit(at: LogPosition(offset: 1)))
            try checkpoint.makeDurable()
            keyspace.finish(checkpoint)
        }
        let keyspace = try open()
        #expect(keyspace.elements(of: ByteView("list")) == elements.reversed())
        #expect(keyspace.check() == [])
    }
}

extension Keyspace {
    fileprivate func push(_ elements: [[UInt8]], onto key: ByteView, at end: ListEnd) throws -> Int {
        var bytes: [UInt8] = []
        var ranges: [Range<Int>] = []
        for element in elements {
            ranges.append(bytes.count..<(bytes.count + element.count))
            bytes += element
        }
        return try ByteView.with(bytes) { bytes in
            try pushElements(
                key,
                in: 0,
                at: end,
                limits: EncodingLimits(entries: 512, bytes: 64),
                count: elements.count
            ) { bytes[ranges[$0]] }
        }
    }

    fileprivate func elements(of key: ByteView) -> [[UInt8]] {
        guard let record = find(key, in: 0) else { return [] }
        var elements: [[UInt8]] = []
        reader.forEachListElement(of: record, in: 0..<record.count) {
            elements.append(reader.bytes(of: $0))
            return true
        }
        return elements
    }
}

/// Random changes of a few lists, and of arrays beside them.
private struct ArrayRun {
    let keyspace: Keyspace
    private var random: SeededGenerator
    /// The most elements that a list gets.
    private let largest: Int
    private var model: [[[UInt8]]] = [[], [], []]
    private var offset: UInt64 = 0

    init(_ keyspace: Keyspace, _ random: SeededGenerator, largest: Int) {
        self.keyspace = keyspace
        self.random = random
        self.largest = largest
    }

    private func withKey<Result>(_ list: Int, _ body: (ByteView) throws -> Result) rethrows -> Result {
        let bytes = list == 2 ? [UInt8](repeating: 107, count: 600) : Array("list \(list)".utf8)
        var result: Result?
        try ByteView.with(bytes) { result = try body($0) }
        return result!
    }

    private mutating func element() -> [UInt8] {
        switch random.number(1...200) {
        case 1: Array(repeating: UInt8(random.number(0...9)), count: random.number(900...9_000))
        case 2...12: Array(repeating: UInt8(random.number(0...9)), count: random.number(100...905))
        case 13...60: Array("some text of number \(random.number(0...20))".utf8)
        default: Array("\(random.number(0...30))".utf8)
        }
    }

    mutating func step() throws {
        let list = random.number(0...2)
        switch random.number(1...100) {
        case 1...30: try push(list)
        case 31...45: try pop(list)
        case 46...55: try set(list)
        case 56...70: try insert(list)
        case 71...82: try remove(list)
        case 83...88: try trim(list)
        case 89...92: lookUp(list)
        case 93: try expire(list)
        case 94: try rename(list)
        case 95...97: _ = try keyspace.reclaim(maximumRows: 50)
        default: try commit()
        }
        if keyspace.commitIsDue { try commit() }
    }

    private mutating func push(_ list: Int) throws {
        let room = largest - model[list].count
        guard room > 0 else { return }
        let elements = (0..<min(room, random.number(1...max(2, largest / 10)))).map { _ in element() }
        let end = random.oneIn(2) ? ListEnd.head : .tail
        let length = try withKey(list) { try keyspace.push(elements, onto: $0, at: end) }
        model[list] = end == .tail ? model[list] + elements : elements.reversed() + model[list]
        #expect(length == model[list].count)
    }

    private mutating func pop(_ list: Int) throws {
        let end = random.oneIn(2) ? ListEnd.head : .tail
        for _ in 0..<random.number(1...max(1, largest / 20)) {
            guard !model[list].isEmpty else { return }
            let expected = end == .head ? model[list].removeFirst() : model[list].removeLast()
            var popped: [UInt8] = []
            let left = try withKey(list) { key in
                try keyspace.popElement(key, in: 0, from: end) { popped = keyspace.reader.bytes(of: $0) }
            }
            #expect(popped == expected)
            #expect(left == model[list].count)
        }
    }

    private mutating func set(_ list: Int) throws {
        guard !model[list].isEmpty else { return }
        let place = random.number(0...(model[list].count - 1))
        let element = element()
        model[list][place] = element
        try withKey(list) { key in
            try ByteView.with(element) {
                try keyspace.setElement(
                    key,
                    in: 0,
                    at: place,
                    limits: EncodingLimits(entries: 512, bytes: 64),
                    to: $0
                )
            }
        }
    }

    private mutating func insert(_ list: Int) throws {
        guard model[list].count < largest else { return }
        let element = element()
        let pivot = random.oneIn(3) || model[list].isEmpty ? self.element() : random.pick(model[list])
        let place = random.oneIn(2) ? ListPlace.before : .after
        let length = try withKey(list) { key in
            try ByteView.with(element) { element in
                try ByteView.with(pivot) { pivot in
                    try keyspace.insertElement(
                        key,
                        in: 0,
                        place,
                        pivot: pivot,
                        limits: EncodingLimits(entries: 512, bytes: 64),
                        element
                    )
                }
            }
        }
        guard let found = model[list].firstIndex(of: pivot) else {
            #expect(length == nil)
            return
        }
        model[list].insert(element, at: place == .before ? found : found + 1)
        #expect(length == model[list].count)
    }

    private mutating func remove(_ list: Int) throws {
        let element = random.oneIn(3) || model[list].isEmpty ? self.element() : random.pick(model[list])
        let end = random.oneIn(2) ? ListEnd.head : .tail
        let limit = random.oneIn(3) ? Int.max : random.number(1...20)
        let places = model[list].indices.filter { model[list][$0] == element }
        let chosen = Set(end == .head ? places.prefix(limit) : places.suffix(limit))
        let removed = try withKey(list) { key in
            try ByteView.with(element) {
                try keyspace.removeElements(key, in: 0, equalTo: $0, from: end, limit: limit)
            }
        }
        #expect(removed == chosen.count)
        model[list] = model[list].indices.filter { !chosen.contains($0) }.map { model[list][$0] }
    }

    private mutating func trim(_ list: Int) throws {
        let count = model[list].count
        guard count > 0 else { return }
        let most = random.oneIn(6) ? count : max(1, count / 10)
        let first = random.number(0...min(most, count))
        let end = max(first, count - random.number(0...min(most, count)))
        try withKey(list) { try keyspace.trimList($0, in: 0, to: first..<end) }
        model[list] = Array(model[list][first..<end])
    }

    private mutating func lookUp(_ list: Int) {
        withKey(list) { key in
            guard let record = keyspace.find(key, in: 0) else { return #expect(model[list].isEmpty) }
            let place = random.number(-2...(model[list].count + 2))
            let element = keyspace.reader.listElement(of: record, at: place)
            #expect(
                element.map { keyspace.reader.bytes(of: $0) }
                    == (model[list].indices.contains(place) ? model[list][place] : nil)
            )
            let first = random.number(0...(model[list].count - 1))
            let end = random.number(first...(model[list].count))
            var found: [[UInt8]] = []
            keyspace.reader.forEachListElement(of: record, in: first..<end) {
                found.append(keyspace.reader.bytes(of: $0))
                return true
            }
            #expect(found == Array(model[list][first..<end]))
        }
    }

    private mutating func expire(_ list: Int) throws {
        let at = Int64(random.number(0...1_000_000))
        _ = try withKey(list) { try keyspace.setExpiry($0, in: 0, atMilliseconds: at) }
    }

    private mutating func rename(_ list: Int) throws {
        let other = (list + 1) % 3
        guard !model[list].isEmpty else { return }
        _ = try withKey(list) { key in
            try withKey(other) { try keyspace.rename(key, in: 0, to: $0, in: 0) }
        }
        model[other] = model[list]
        model[list] = []
    }

    private mutating func commit() throws {
        offset += 1
        if let checkpoint = try keyspace.commit(at: LogPosition(offset: offset)) {
            try checkpoint.makeDurable()
            keyspace.finish(checkpoint)
        }
    }

    /// Compares all lists with their arrays.
    func compare() {
        for list in 0..<3 {
            withKey(list) { #expect(keyspace.elements(of: $0) == model[list]) }
        }
    }
}
