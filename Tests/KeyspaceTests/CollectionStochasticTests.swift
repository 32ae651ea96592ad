// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import Bytes
import CodisTesting
import Keyspace
import Testing

@Suite("Hashes and sets against a model")
struct CollectionStochasticTests {
    @Test(
        "Any sequence of changes, commits and reopenings leaves what dictionaries would hold",
        arguments: KeyspaceStochasticTests.seeds
    )
    func randomOperations(seed: UInt64) throws {
        print("seed \(seed): CODIS_TEST_SEED=\(seed) swift test --filter CollectionStochasticTests")
        var run = try CollectionRun(seed: seed)
        try run.perform(KeyspaceStochasticTests.operations / 4)
    }
}

/// One run of random operations on hashes and sets, and on their model.
private struct CollectionRun {
    /// A value: a hash, or a set, whose members have empty values.
    struct Value: Equatable {
        var isHash: Bool
        var elements: [[UInt8]: [UInt8]] = [:]
        var expiry: Int64 = 0
    }

    private var generator: SeededGenerator
    private let directory: TemporaryDirectory
    private var opened: Keyspace?
    private var keyspace: Keyspace { opened! }
    private var model: [[UInt8]: Value] = [:]
    private var offset: UInt64 = 0

    init(seed: UInt64) throws {
        generator = SeededGenerator(seed: seed)
        directory = try TemporaryDirectory()
        opened = try CollectionRun.open(directory)
    }

    private static func open(_ directory: TemporaryDirectory) throws -> Keyspace {
        var options = KeyspaceOptions()
        options.dirtyPages = 2000
        return try Keyspace(directory: directory.path + "/keyspace", options: options)
    }

    mutating func perform(_ count: Int) throws {
        for step in 1...count {
            try operate()
            if keyspace.commitIsDue { try commit() }
            if step % 3000 == 0 || step == count {
                compare()
                try commit()
                if generator.oneIn(2) { try reopen() }
                let problems = keyspace.check()
                #expect(problems == [])
                if !problems.isEmpty { return }
            }
        }
    }

    private mutating func key() -> [UInt8] {
        let number = generator.number(0...40)
        return Array("key:\(number)".utf8) + (number % 9 == 0 ? [UInt8](repeating: 120, count: 400 + number * 10) : [])
    }

    private mutating func name() -> [UInt8] {
        let number = generator.number(0...generator.pick([10, 1000]))
        switch number % 50 {
        case 0: return []
        case 1: return Array("name:\(number)".utf8) + [UInt8](repeating: 110, count: 465 + number % 20)
        case 2: return [UInt8](repeating: 110, count: 600 + number % 7)
        case 3: return [UInt8](repeating: UInt8(number & 255), count: 4000 + number * 5)
        default: return Array("name:\(number)".utf8)
        }
    }

    private mutating func value() -> [UInt8] {
        let length =
            switch generator.number(0...50) {
            case 0: generator.number(0...20_000)
            case 1: 300_000
            case 2...5: generator.number(1300...2100)
            default: generator.number(0...40)
            }
        return [UInt8](repeating: UInt8(generator.number(0...255)), count: length)
    }

    private mutating func operate() throws {
        let key = key()
        let current = model[key]
        switch generator.number(0...99) {
        case 0..<30:
            if current?.isHash ?? generator.oneIn(2) { try setFields(key) } else { try addMembers(key) }
        case 30..<45: try remove(key)
        case 45..<55: try pop(key)
        case 55..<60:
            let removed = try ByteView.with(key) { try keyspace.remove($0, in: 0) }
            #expect(removed == (model.removeValue(forKey: key) != nil))
        case 60..<65: try rename(key)
        case 65..<70:
            let expiry = Int64(generator.number(0...1_000_000))
            let found = try ByteView.with(key) { try keyspace.setExpiry($0, in: 0, atMilliseconds: expiry) }
            #expect(found == (current != nil))
            model[key]?.expiry = expiry
        case 70..<73: try copy(key)
        case 73..<90: lookUp(key)
        case 90..<99: try keyspace.reclaim(maximumRows: generator.number(1...200))
        default: try commit()
        }
    }

    private mutating func setFields(_ key: [UInt8]) throws {
        let pairs = (0..<generator.pick([1, 1, 1, 2, 30])).map { _ in (name(), value()) }
        var expected = model[key] ?? Value(isHash: true)
        let before = expected.elements.count
        for (name, value) in pairs { expected.elements[name] = value }
        let added = try ByteView.with(key) { key in
            try withViews(pairs.flatMap { [$0.0, $0.1] }) { views throws(KeyspaceError) in
                try keyspace.setFields(
                    key,
                    in: 0,
                    count: pairs.count,
                    limits: EncodingLimits(entries: 20, bytes: 64)
                ) { (views[2 * $0], views[2 * $0 + 1]) }
            }
        }
        #expect(added == expected.elements.count - before)
        model[key] = expected
    }

    private mutating func addMembers(_ key: [UInt8]) throws {
        let names = (0..<generator.pick([1, 1, 1, 2, 30])).map { _ in name() }
        var expected = model[key] ?? Value(isHash: false)
        let before = expected.elements.count
        for name in names { expected.elements[name] = [] }
        let added = try ByteView.with(key) { key in
            try withViews(names) { views throws(KeyspaceError) in
                try keyspace.addMembers(key, in: 0, count: names.count, mostIntegers: 20) { (views[$0], false) }
            }
        }
        #expect(added == expected.elements.count - before)
        model[key] = expected
    }

    private mutating func remove(_ key: [UInt8]) throws {
        guard var expected = model[key] else { return }
        var names = (0..<generator.pick([1, 1, 3, 40])).map { _ in name() }
        if generator.oneIn(20) { names = Array(expected.elements.keys) }
        let before = expected.elements.count
        for name in names { expected.elements[name] = nil }
        let removed = try ByteView.with(key) { key in
            try withViews(names) { views throws(KeyspaceError) in
                try keyspace.removeElements(
                    key,
                    in: 0,
                    type: expected.isHash ? .hash : .set,
                    count: names.count
                ) { views[$0] }
            }
        }
        #expect(removed == before - expected.elements.count)
        model[key] = expected.elements.isEmpty ? nil : expected
    }

    private mutating func pop(_ key: [UInt8]) throws {
        guard var expected = model[key], !expected.isHash else { return }
        var popped: [UInt8]?
        let left = try ByteView.with(key) { key in
            try keyspace.popMember(key, in: 0) { popped = keyspace.reader.bytes(of: $0) }
        }
        #expect(left == expected.elements.count - 1)
        #expect(popped.flatMap { expected.elements.removeValue(forKey: $0) } != nil)
        model[key] = expected.elements.isEmpty ? nil : expected
    }

    private mutating func rename(_ key: [UInt8]) throws {
        let newKey = self.key()
        guard newKey != key else { return }
        let renamed = try ByteView.with(key) { key in
            try ByteView.with(newKey) { try keyspace.rename(key, in: 0, to: $0, in: 0) }
        }
        let value = model.removeValue(forKey: key)
        #expect(renamed == (value != nil))
        if let value { model[newKey] = value }
    }

    /// Builds the value of a key again under another.
    private mutating func copy(_ key: [UInt8]) throws {
        guard let expected = model[key] else { return }
        let newKey = self.key()
        let builder = ByteView.with(newKey) {
            ValueBuilder(keyspace, key: $0, in: 0, type: expected.isHash ? .hash : .set)
        }
        for (name, value) in expected.elements {
            try ByteView.with(name) { name in
                try ByteView.with(value) { value in
                    let (name, value) = (ElementBytes(name), ElementBytes(value))
                    try builder.append(expected.isHash ? .field(name, value: value) : .member(name))
                }
            }
        }
        if generator.oneIn(3) { return try builder.abandon() }
        #expect(try builder.finish(expireAtMilliseconds: expected.expiry, encoding: 1))
        model[newKey] = expected
    }

    private mutating func lookUp(_ key: [UInt8]) {
        let record = ByteView.with(key) { keyspace.find($0, in: 0) }
        let expected = model[key]
        #expect(record?.count == expected?.elements.count)
        guard let record, let expected else { return }
        let name = generator.oneIn(2) ? self.name() : expected.elements.keys.first ?? []
        let found = ByteView.with(name) { name in
            keyspace.reader.value(of: name, in: record).map { keyspace.reader.bytes(of: $0) }
        }
        #expect(found == expected.elements[name])
        switch keyspace.randomElement(of: record) {
        case .member(let member)?: #expect(expected.elements[keyspace.reader.bytes(of: member)] != nil)
        case .field(let field, let value)?:
            #expect(expected.elements[keyspace.reader.bytes(of: field)] == keyspace.reader.bytes(of: value))
        default: Issue.record("there is no element at random")
        }
    }

    private func compare() {
        #expect(keyspace.keyCount(in: 0) == model.count)
        for (key, expected) in model {
            guard let record = ByteView.with(key, { keyspace.find($0, in: 0) }) else {
                Issue.record("a key is missing")
                continue
            }
            #expect(record.type == (expected.isHash ? .hash : .set))
            #expect(record.expireAtMilliseconds == expected.expiry)
            var walked = Value(isHash: expected.isHash, expiry: expected.expiry)
            keyspace.reader.forEachElement(of: record) { add($0, to: &walked) }
            #expect(walked == expected)
            var scanned = Value(isHash: expected.isHash, expiry: expected.expiry)
            var cursor: UInt64 = 0
            repeat {
                cursor = keyspace.reader.scan(cursor, of: record, count: 7) { add($0, to: &scanned) }
            } while cursor != 0
            #expect(scanned == expected)
        }
    }

    private func add(_ element: ValueElement, to value: inout Value) {
        switch element {
        case .member(let name):
            #expect(value.elements.updateValue([], forKey: keyspace.reader.bytes(of: name)) == nil)
        case .field(let name, let bytes):
            let bytes = keyspace.reader.bytes(of: bytes)
            #expect(value.elements.updateValue(bytes, forKey: keyspace.reader.bytes(of: name)) == nil)
        default: Issue.record("an element of another type")
        }
    }

    private mutating func commit() throws {
        offset += 1
        if let checkpoint = try keyspace.commit(at: LogPosition(offset: offset)) {
            try checkpoint.makeDurable()
            keyspace.finish(checkpoint)
        }
    }

    private mutating func reopen() throws {
        opened = nil
        opened = try CollectionRun.open(directory)
        #expect(keyspace.position.offset == offset)
    }
}
