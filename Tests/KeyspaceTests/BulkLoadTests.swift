// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import Bytes
import CodisTesting
import Keyspace
import Testing

@Suite("Loading in bulk")
struct BulkLoadTests {
    private struct Item: Hashable {
        var key: [UInt8]
        var database: Int
    }

    /// Writes what `load` does not take as a dump's loader does.
    private func add(
        _ load: BulkLoad,
        _ keyspace: Keyspace,
        _ item: Item,
        _ value: [UInt8],
        expireAtMilliseconds: Int64 = 0
    ) throws {
        try ByteView.with(item.key) { key in
            try ByteView.with(value) { value in
                let isTaken = try load.add(
                    key,
                    value,
                    in: item.database,
                    expireAtMilliseconds: expireAtMilliseconds
                )
                guard !isTaken else { return }
                try keyspace.setString(
                    key,
                    in: item.database,
                    to: value,
                    expireAtMilliseconds: expireAtMilliseconds
                )
            }
        }
    }

    private func keyspace(_ directory: String) throws -> Keyspace {
        var options = KeyspaceOptions()
        // So few that there are many commits.
        options.dirtyPages = 300
        let keyspace = try Keyspace(directory: directory, options: options)
        keyspace.onPressure = { [unowned keyspace] () throws(KeyspaceError) in
            if let checkpoint = try keyspace.commit(at: LogPosition()) { keyspace.finish(checkpoint) }
        }
        return keyspace
    }

    private func expect(_ model: [Item: (value: [UInt8], expiry: Int64)], in keyspace: Keyspace) {
        for (item, expected) in model {
            let found = ByteView.with(item.key) { keyspace.find($0, in: item.database) }
            guard let found else {
                Issue.record("\(item) is missing")
                return
            }
            #expect(found.expireAtMilliseconds == expected.expiry)
            #expect(found.count == expected.value.count)
            if let inline = found.inlineValue { #expect(inline == expected.value) }
        }
        for database in 0..<16 {
            #expect(keyspace.keyCount(in: database) == model.keys.count { $0.database == database })
        }
    }

    @Test("what was added is there when the load has finished, in several databases, with its expiry")
    func random() throws {
        var random = SeededGenerator()
        print("bulk load: CODIS_TEST_SEED=\(random.seed)")
        let directory = try TemporaryDirectory()
        let path = directory.path + "/keyspace"
        var model: [Item: (value: [UInt8], expiry: Int64)] = [:]
        do {
            let keyspace = try keyspace(path)
            let load = try BulkLoad(keyspace, directory: path)
            for number in 0..<60_000 {
                // Some lengths are those around which a value gets rows of its own, or a key does not fit its row.
                let length = random.oneIn(50) ? random.pick([480, 492, 493, 700, 2_000]) : random.number(1...40)
                let tag = random.oneIn(3) ? "{tag}" : ""
                let name = Array("\(tag)\(number):".utf8)
                let key = name + filledBytes(UInt8(ascii: "k"), count: max(0, length - name.count))
                let item = Item(key: key, database: random.pick([0, 0, 0, 3, 15]))
                let count = random.oneIn(100) ? random.pick([1_500, 1_990, 2_030, 9_000]) : random.number(0...200)
                let value = filledBytes(UInt8(truncatingIfNeeded: number), count: count)
                let expiry: Int64 = random.oneIn(4) ? Int64(random.number(1...1_000_000)) : 0
                model[item] = (value, expiry)
                try add(load, keyspace, item, value, expireAtMilliseconds: expiry)
            }
            try load.finish()
            expect(model, in: keyspace)
            let checkpoint = try #require(try keyspace.commit(at: LogPosition()))
            try checkpoint.makeDurable()
            keyspace.finish(checkpoint)
            keyspace.close()
        }
        #expect(try Keyspace.check(directory: path) == [])
        let again = try Keyspace(directory: path)
        expect(model, in: again)
        again.close()
    }

    @Test("of a key that comes again the last counts, also when it was written meanwhile")
    func again() throws {
        let directory = try TemporaryDirectory()
        let path = directory.path + "/keyspace"
        let keyspace = try keyspace(path)
        for round in 1...2 {
            let load = try BulkLoad(keyspace, directory: path)
            for value in ["a", "b", "c"] {
                for number in 0..<500 {
                    let item = Item(key: Array("key:\(number)".utf8), database: 0)
                    try add(load, keyspace, item, Array("\(value)\(round)".utf8))
                }
            }
            try load.finish()
            #expect(keyspace.keyCount(in: 0) == 500)
            for number in 0..<500 {
                let found = ByteView.with("key:\(number)") { keyspace.find($0, in: 0)?.inlineValue.map { Array($0) } }
                #expect(found == Array("c\(round)".utf8))
            }
        }
        #expect(keyspace.check() == [])
        keyspace.close()
    }

    @Test("two databases exchange their keys, which a restart finds exchanged")
    func swapping() throws {
        let directory = try TemporaryDirectory()
        let path = directory.path + "/keyspace"
        for round in 1...2 {
            let keyspace = try Keyspace(directory: path)
            if round == 1 {
                for number in 0..<300 {
                    let expiry: Int64 = number % 2 == 0 ? 5_000 : 0
                    try ByteView.with("key:\(number)") { key in
                        try keyspace.setString(key, in: 0, to: ByteView("zero"), expireAtMilliseconds: expiry)
                        if number < 10 { try keyspace.setString(key, in: 3, to: ByteView("three")) }
                    }
                }
                try keyspace.swapDatabases(0, 3)
                try keyspace.swapDatabases(2, 2)
            }
            #expect(keyspace.keyCount(in: 0) == 10)
            #expect(keyspace.keyCount(in: 3) == 300)
            #expect(keyspace.expiringKeyCount(in: 0) == 0)
            #expect(keyspace.expiringKeyCount(in: 3) == 150)
            #expect(ByteView.with("key:1") { keyspace.find($0, in: 0)?.inlineValue == ByteView("three") })
            #expect(ByteView.with("key:1") { keyspace.find($0, in: 3)?.inlineValue == ByteView("zero") })
            #expect(try keyspace.nextExpired(at: 6_000)?.database == 3)
            #expect(keyspace.check() == [])
            if let checkpoint = try keyspace.commit(at: LogPosition()) {
                try checkpoint.makeDurable()
                keyspace.finish(checkpoint)
            }
            keyspace.close()
        }
    }
}
