// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import Bytes
import CodisTesting
import LMDB
import SlotHash
import Testing

@testable import Keyspace

@Suite("Checking slots")
struct SlotCheckTests {
    private let directory: TemporaryDirectory
    private let keyspace: Keyspace

    init() throws {
        directory = try TemporaryDirectory()
        keyspace = try Keyspace(directory: directory.path + "/keyspace")
        for number in 0..<20 {
            try ByteView.with("{a}\(number)") { key throws(KeyspaceError) in
                try ByteView.with("v") { value throws(KeyspaceError) in
                    try keyspace.setString(key, in: 0, to: value, expireAtMilliseconds: number < 5 ? 1000 : 0)
                }
            }
        }
    }

    private func check(rows: Int = 7) -> SlotCheck.Outcome { check(rows: rows) {} }

    private func check(rows: Int, between: () throws -> Void) rethrows -> SlotCheck.Outcome {
        var check = SlotCheck(of: 0)
        while true {
            let outcome = keyspace.advance(&check, rows: rows)
            guard outcome == .goesOn else { return outcome }
            try between()
        }
    }

    private func rowKey(of key: String) -> RowKey {
        let row = RowKey()
        ByteView.with(key) { row.set($0, space: keyspace.state.spaces[0], hashKey: keyspace.state.hashKey) }
        return row
    }

    @Test("whatever the size of the steps, a sound database is sound", arguments: [1, 2, 7, 10_000])
    func sound(rows: Int) { #expect(check(rows: rows) == .sound) }

    @Test("a row in the slot of another key is found")
    func misplaced() throws {
        let row = rowKey(of: "{a}1")
        let value = Array(try #require(try keyspace.transaction.get(row.view, in: keyspace.slotTables[579])))
        try ByteView.with(value) { try keyspace.transaction.put(row.view, $0, in: keyspace.slotTables[3]) }
        #expect(check() == .notFound(key: Array("{a}1".utf8)))
        #expect(try keyspace.transaction.delete(row.view, in: keyspace.slotTables[3]))
        #expect(check() == .sound)
    }

    @Test("a count that is wrong is found, but not while the slot is changed")
    func miscounted() throws {
        let row = rowKey(of: "{a}7")
        let value = Array(try #require(try keyspace.transaction.get(row.view, in: keyspace.slotTables[579])))
        #expect(try keyspace.transaction.delete(row.view, in: keyspace.slotTables[579]))
        #expect(check() == .miscounted(slot: 579, counted: 20, found: 19))
        var steps = 0
        let outcome = try check(rows: 5) {
            steps += 1
            _ = try ByteView.with("{a}8") { key throws(KeyspaceError) in
                try keyspace.setExpiry(key, in: 0, atMilliseconds: Int64(1000 + steps))
            }
        }
        #expect(outcome == .sound)
        try ByteView.with(value) { try keyspace.transaction.put(row.view, $0, in: keyspace.slotTables[579]) }
        #expect(check() == .sound)
    }

    @Test("a key of the expiry index without a row is found")
    func expiring() throws {
        let row = rowKey(of: "{a}77")
        let entry = RowKey()
        entry.setExpiry(atMilliseconds: 1000, rowKey: row.view)
        try keyspace.transaction.put(entry.view, ByteView(), in: keyspace.expiryTable)
        #expect(check() == .notInSlot(key: Array("{a}77".utf8)))
        #expect(try keyspace.transaction.delete(entry.view, in: keyspace.expiryTable))
        #expect(check() == .sound)
    }
}
