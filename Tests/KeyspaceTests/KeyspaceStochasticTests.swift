// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import Bytes
import CodisTesting
import Foundation
import Keyspace
import Testing

/// The keyspace as a dictionary, for comparison.
struct ModelKeyspace {
    struct Value {
        var bytes: [UInt8]
        var expiry: Int64
    }

    var databases = [[[UInt8]: Value]](repeating: [:], count: 4)
}

@Suite("The keyspace against a model")
struct KeyspaceStochasticTests {
    /// `CODIS_TEST_SEED` replays one seed, `CODIS_TEST_OPERATIONS` sets how many operations each seed gets.
    static let seeds: [UInt64] = {
        let environment = ProcessInfo.processInfo.environment
        if let seed = environment["CODIS_TEST_SEED"].flatMap(UInt64.init) { return [seed] }
        let count = environment["CODIS_TEST_SEEDS"].flatMap(Int.init) ?? 2
        return (0..<count).map { _ in UInt64.random(in: 0...UInt64.max) }
    }()

    static let operations =
        ProcessInfo.processInfo.environment["CODIS_TEST_OPERATIONS"].flatMap(Int.init) ?? 60_000

    @Test("Any sequence of changes, commits and reopenings leaves what a dictionary would hold", arguments: seeds)
    func randomOperations(seed: UInt64) throws {
        print("seed \(seed): CODIS_TEST_SEED=\(seed) swift test --filter KeyspaceStochasticTests")
        var run = try StochasticRun(seed: seed)
        try run.perform(KeyspaceStochasticTests.operations)
    }
}

/// One run of random operations on a keyspace and on its model.
struct StochasticRun {
    private var generator: SeededGenerator
    private let directory: TemporaryDirectory
    private var opened: Keyspace?
    private var keyspace: Keyspace { opened! }
    private var model = ModelKeyspace()
    private var offset: UInt64 = 0

    init(seed: UInt64) throws {
        generator = SeededGenerator(seed: seed)
        directory = try TemporaryDirectory()
        opened = try StochasticRun.open(directory)
    }

    private static func open(_ directory: TemporaryDirectory) throws -> Keyspace {
        var options = KeyspaceOptions()
        options.databases = 4
        options.dirtyPages = 2000
        return try Keyspace(directory: directory.path + "/keyspace", options: options)
    }

    mutating func perform(_ count: Int) throws {
        for step in 1...count {
            try operate()
            if keyspace.commitIsDue { try commit() }
            if step % 10_000 == 0 || step == count {
                try compare()
                try commit()
                if Bool.random(using: &generator) { try reopen() }
                #expect(keyspace.check() == [])
            }
        }
    }

    private mutating func key() -> [UInt8] {
        let number = Int.random(in: 0..<1500, using: &generator)
        var bytes = Array("k\(number)".utf8)
        switch number % 20 {
        case 0: bytes = Array("{tag\(number % 7)}\(number)".utf8)
        case 1: bytes.append(contentsOf: repeatElement(UInt8(number & 255), count: number % 500))
        case 2: bytes.append(contentsOf: repeatElement(120, count: 480 + number % 30))
        case 3: bytes.append(contentsOf: repeatElement(UInt8(number & 255), count: 500 + number * 7))
        case 4 where number < 10: bytes = []
        default: break
        }
        return bytes
    }

    private mutating func value() -> [UInt8] {
        let length: Int
        switch Int.random(in: 0..<40, using: &generator) {
        case 0: length = Int.random(in: 0..<60_000, using: &generator)
        case 1...4: length = Int.random(in: 0..<5_000, using: &generator)
        case 5...8: length = Int.random(in: 1_900..<2_100, using: &generator)
        default: length = Int.random(in: 0..<200, using: &generator)
        }
        let byte = UInt8.random(in: 0...255, using: &generator)
        return (0..<length).map { UInt8(truncatingIfNeeded: $0) ^ byte }
    }

    private mutating func operate() throws {
        let database = Int.random(in: 0..<4, using: &generator)
        let key = key()
        let view = key
        // Commands look a key up before they change it; what that leaves behind must not lead the change astray.
        if Bool.random(using: &generator) {
            let looked = Bool.random(using: &generator) ? key : self.key()
            let found = ByteView.with(looked) { keyspace.findForChange($0, in: database)?.count }
            #expect(found == model.databases[database][looked]?.bytes.count)
        }
        switch Int.random(in: 0..<1000, using: &generator) {
        case 0..<450:
            let value = value()
            let expiry = Bool.random(using: &generator) ? Int64.random(in: 1...1_000_000, using: &generator) : 0
            try ByteView.with(view) { key in
                try ByteView.with(value) { value in
                    try keyspace.setString(key, in: database, to: value, expireAtMilliseconds: expiry)
                }
            }
            model.databases[database][key] = .init(bytes: value, expiry: expiry)
        case 450..<650:
            let removed = try ByteView.with(view) { try keyspace.remove($0, in: database) }
            #expect(removed == (model.databases[database].removeValue(forKey: key) != nil))
        case 650..<750:
            try write(key, database)
        case 750..<820:
            let expiry = Int64.random(in: 0...1_000_000, using: &generator)
            let found = try ByteView.with(view) { try keyspace.setExpiry($0, in: database, atMilliseconds: expiry) }
            #expect(found == (model.databases[database][key] != nil))
            model.databases[database][key]?.expiry = expiry
        case 820..<900:
            try rename(key, database)
        case 900..<950:
            try expire()
        case 950..<998:
            try keyspace.reclaim(maximumRows: Int.random(in: 1...200, using: &generator))
        case 998:
            try keyspace.removeAll(in: database)
            model.databases[database] = [:]
        default:
            try commit()
        }
        if Int.random(in: 0..<4, using: &generator) == 0 {
            lookUp(self.key(), Int.random(in: 0..<4, using: &generator))
        }
    }

    private mutating func write(_ key: [UInt8], _ database: Int) throws {
        var expected = model.databases[database][key] ?? .init(bytes: [], expiry: 0)
        let piece = value()
        guard !piece.isEmpty else { return }
        let position =
            Bool.random(using: &generator)
            ? expected.bytes.count : Int.random(in: 0...(expected.bytes.count + 9_000), using: &generator)
        if expected.bytes.count < position + piece.count {
            let missing = position + piece.count - expected.bytes.count
            expected.bytes.append(contentsOf: repeatElement(0, count: missing))
        }
        expected.bytes.replaceSubrange(position..<(position + piece.count), with: piece)
        guard expected.bytes.count < 200_000 else { return }
        let length = try ByteView.with(key) { key in
            try ByteView.with(piece) { try keyspace.writeString(key, in: database, at: position, $0) }
        }
        #expect(length == expected.bytes.count)
        model.databases[database][key] = expected
    }

    private mutating func rename(_ key: [UInt8], _ database: Int) throws {
        let newKey = self.key()
        let newDatabase = Int.random(in: 0..<4, using: &generator)
        guard newKey != key || newDatabase != database else { return }
        let renamed = try ByteView.with(key) { key in
            try ByteView.with(newKey) { try keyspace.rename(key, in: database, to: $0, in: newDatabase) }
        }
        let value = model.databases[database].removeValue(forKey: key)
        #expect(renamed == (value != nil))
        if let value { model.databases[newDatabase][newKey] = value }
    }

    private mutating func expire() throws {
        let now = Int64.random(in: 0..<2_000, using: &generator)
        while let (database, key) = try keyspace.nextExpired(at: now) {
            let value = model.databases[database].removeValue(forKey: key)
            #expect(value.map { $0.expiry < now && $0.expiry > 0 } == true)
            #expect(try ByteView.with(key) { try keyspace.remove($0, in: database) })
        }
    }

    private func lookUp(_ key: [UInt8], _ database: Int) {
        let expected = model.databases[database][key]
        let record = ByteView.with(key) { keyspace.find($0, in: database) }
        #expect((record == nil) == (expected == nil))
        guard let record, let expected else { return }
        #expect(record.count == expected.bytes.count)
        #expect(record.expireAtMilliseconds == expected.expiry)
        #expect(keyspace.bytes(of: record) == expected.bytes)
    }

    /// Compares everything, by a full scan and by the walk.
    private mutating func compare() throws {
        for database in 0..<4 {
            #expect(keyspace.keyCount(in: database) == model.databases[database].count)
            #expect(
                keyspace.expiringKeyCount(in: database) == model.databases[database].values.count { $0.expiry != 0 }
            )
            var seen: Set<[UInt8]> = []
            var cursor: UInt64 = 0
            repeat {
                cursor = keyspace.scan(cursor, in: database, count: 17) { key, _ in
                    #expect(seen.insert(Array(key)).inserted)
                }
            } while cursor != 0
            #expect(seen == Set(model.databases[database].keys))
            for key in model.databases[database].keys { lookUp(key, database) }
            let random = keyspace.randomKey(in: database)
            #expect((random == nil) == model.databases[database].isEmpty)
            if let random { #expect(model.databases[database][random] != nil) }
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
        opened = try StochasticRun.open(directory)
        #expect(keyspace.position.offset == offset)
    }
}
