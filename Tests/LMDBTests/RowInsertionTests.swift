// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import Bytes
import CodisTesting
import Foundation
import LMDB
import Testing

@Suite("Putting rows on pages of a write transaction without LMDB")
struct RowInsertionTests {
    private let directory: TemporaryDirectory
    private let environment: Environment

    init() throws {
        directory = try TemporaryDirectory()
        environment = try Environment(in: directory)
    }

    /// Hashed keys of many lengths, and some that have their first bytes in common.
    private func key(_ generator: inout SeededGenerator, _ range: Int) -> [UInt8] {
        let number = Int.random(in: 0..<range, using: &generator)
        let bytes = UInt64.spread(number).bigEndianBytes
        let rest = [UInt8](repeating: 0x6B, count: number % 97 == 0 ? 400 : number % 40)
        return number % 10 == 0 ? [0, 1, 2, 3, 4, 5, 6, 7, 8, 9] + bytes : [0, 2] + bytes + rest
    }

    private func insert(_ key: [UInt8], _ value: [UInt8], _ transaction: Transaction, _ table: Table) -> Bool {
        ByteView.with(key) { key in
            // Those with their first ten bytes in common are spread by what stands behind.
            let number = key[0] == 0 && key[1] == 1 ? RowNumber.behindTenBytes : .behindTwoBytes
            guard case .missing(let gap?) = transaction.search(key, in: table, by: number),
                let memory = unsafe transaction.insert(key, count: value.count, in: table, at: gap)
            else { return false }
            unsafe memory.copyBytes(from: value)
            return true
        }
    }

    private func expect(_ model: [[UInt8]: [UInt8]], in transaction: Transaction, _ table: Table) throws {
        #expect(try transaction.statistics(of: table).entries == model.count)
        let cursor = try transaction.cursor(table)
        defer { cursor.close() }
        var row = try cursor.first()
        for key in model.keys.sorted(by: { $0.lexicographicallyPrecedes($1) }) {
            let found = try #require(row)
            try #require(found.key.elementsEqual(key))
            #expect(found.value.elementsEqual(try #require(model[key])))
            row = try cursor.next()
        }
        #expect(row == nil)
    }

    @Test(
        "What is put there is what LMDB finds, in order and counted, among rows that it puts and deletes",
        arguments: [300, 5000, 50_000]
    )
    func alike(range: Int) throws {
        var generator = SeededGenerator()
        print("row insertion: CODIS_TEST_SEED=\(generator.seed)")
        var (transaction, table) = try environment.beginWithTable()
        _ = try transaction.delete(ByteView("0123456789"), in: table)
        var model: [[UInt8]: [UInt8]] = [:]
        var inserted = 0
        for round in 0..<6 {
            for step in 0..<min(range * 3, 12_000) {
                let key = key(&generator, range)
                // Some are too long for a leaf.
                let length = Int.random(in: 0..<60, using: &generator) == 0 ? 3000 : step % 150
                let value = [UInt8](repeating: UInt8(truncatingIfNeeded: step), count: length)
                switch Int.random(in: 0..<10, using: &generator) {
                case 0..<7:
                    if insert(key, value, transaction, table) {
                        // There was no such row.
                        try #require(model[key] == nil)
                        inserted += 1
                    } else {
                        try ByteView.with(key) { key in
                            try ByteView.with(value) { try transaction.put(key, $0, in: table) }
                        }
                    }
                    model[key] = value
                default:
                    let wasThere = try ByteView.with(key) { try transaction.delete($0, in: table) }
                    #expect(wasThere == (model.removeValue(forKey: key) != nil))
                }
            }
            try expect(model, in: transaction, table)
            try transaction.commit()
            let reader = try environment.beginReading()
            try expect(model, in: reader, table)
            reader.abort()
            transaction = try environment.beginWriting()
            guard round < 5 else { break }
            // LMDB takes the page with the first change of a row there.
            _ = try transaction.get(ByteView("0123456789"), in: table)
        }
        transaction.abort()
        // With few keys most are there already.
        #expect(inserted > (range > 1000 ? 3000 : 100), "seed \(generator.seed)")
    }

    @Test("Cursors stay on their rows, whatever rows are put before and behind them", arguments: [50, 5000])
    func cursors(range: Int) throws {
        var generator = SeededGenerator()
        print("cursors: CODIS_TEST_SEED=\(generator.seed)")
        let (transaction, table) = try environment.beginWithTable()
        _ = try transaction.delete(ByteView("0123456789"), in: table)
        var places: [(cursor: Cursor, key: [UInt8])] = []
        var inserted = 0
        for step in 0..<range * 2 {
            let key = key(&generator, range)
            if insert(key, [1], transaction, table) {
                inserted += 1
            } else {
                try ByteView.with(key) { try transaction.put($0, ByteView("x"), in: table) }
            }
            if step % 10 == 0 {
                if places.count == 5 { places.removeFirst().cursor.close() }
                let cursor = try transaction.cursor(table)
                #expect(try ByteView.with(key) { try cursor.find($0) } != nil)
                places.append((cursor, key))
            }
            for place in places {
                let row = try #require(try place.cursor.currentRow())
                try #require(row.key.elementsEqual(place.key), "seed \(generator.seed)")
            }
        }
        // One that has been nowhere, and those that have looked for what is not there, go on all the same.
        let idle = try transaction.cursor(table)
        #expect(try places[0].cursor.find(ByteView("no such row")) == nil)
        while !insert(key(&generator, range * 10), [1], transaction, table) {}
        #expect(try idle.currentRow() == nil)
        idle.close()
        #expect(inserted > range / 3)
        var count = 0
        var row = try places[0].cursor.first()
        while row != nil {
            count += 1
            row = try places[0].cursor.next()
        }
        #expect(try transaction.statistics(of: table).entries == count)
        for place in places { place.cursor.close() }
        transaction.abort()
    }

    @Test("A row is LMDB's where the page is of the last commit, and where there is one already")
    func leftToLMDB() throws {
        var (transaction, table) = try environment.beginWithTable()
        let keys = (0..<4).map { Array("a key of a row \($0)".utf8) }
        #expect(!insert(keys[0], [1], transaction, table))
        try transaction.put(ByteView("0123456789"), ByteView("y"), in: table)
        #expect(insert(keys[0], [1], transaction, table))
        #expect(!insert(keys[0], [1], transaction, table))
        #expect(insert(keys[1], [1], transaction, table))
        try transaction.commit()
        transaction = try environment.beginWriting()
        #expect(!insert(keys[2], [1], transaction, table))
        _ = try transaction.get(ByteView("0123456789"), in: table)
        #expect(!insert(keys[2], [1], transaction, table))
        try ByteView.with(keys[3]) { try transaction.put($0, ByteView("x"), in: table) }
        #expect(insert(keys[2], [1], transaction, table))
        #expect(!insert(Array("short".utf8), [1], transaction, table))
        #expect(!insert([UInt8](repeating: 0x61, count: 512), [1], transaction, table))
        // One that would have to be compared with a short one.
        try transaction.put(ByteView("short"), ByteView("x"), in: table)
        #expect(!insert(Array("short, and longer".utf8), [1], transaction, table))
        #expect(try transaction.statistics(of: table).entries == 6)
        transaction.abort()
    }

    @Test("A gap is void once another row was put or deleted, and is filled only once")
    func gapsBecomeVoid() throws {
        let (transaction, table) = try environment.beginWithTable()
        try transaction.put(ByteView("0123456789"), ByteView("y"), in: table)
        let key = ByteView("a key of a row")
        func gap() throws -> RowGap {
            guard case .missing(let gap?) = transaction.search(key, in: table) else { throw NoGap() }
            return gap
        }
        func fills(_ gap: RowGap) -> Bool {
            guard let memory = unsafe transaction.insert(key, count: 1, in: table, at: gap) else { return false }
            unsafe memory.copyBytes(from: [1])
            return true
        }
        var old = try gap()
        try transaction.put(ByteView("0123456788"), ByteView("z"), in: table)
        #expect(!fills(old))
        old = try gap()
        #expect(try transaction.delete(ByteView("0123456788"), in: table))
        #expect(!fills(old))
        old = try gap()
        #expect(fills(old))
        #expect(!fills(old))
        #expect(try transaction.statistics(of: table).entries == 2)
        transaction.abort()
    }

    private struct NoGap: Error {}

    @Test("In an empty table a row is missing, and there is no gap for it")
    func emptyTable() throws {
        let (transaction, table) = try environment.beginWithTable()
        try transaction.clear(table)
        guard case .missing(nil) = transaction.search(ByteView("a key of a row"), in: table) else {
            Issue.record("LMDB was to be asked, or a gap was found")
            return
        }
        transaction.abort()
    }

    @Test("Rows fill a page to its last byte, and no further")
    func full() throws {
        let (transaction, table) = try environment.beginWithTable()
        _ = try transaction.delete(ByteView("0123456789"), in: table)
        // An empty table has no page; this row has one of 4,096 bytes made.
        var model = [Array("key:000000".utf8): [UInt8](repeating: 1, count: 20)]
        for (key, value) in model {
            try ByteView.with(key) { key in
                try ByteView.with(value) { try transaction.put(key, $0, in: table) }
            }
        }
        var number = 1
        while true {
            let key = Array("key:\(String(number + 1_000_000).dropFirst())".utf8)
            let value = [UInt8](repeating: 2, count: 20)
            guard insert(key, value, transaction, table) else { break }
            model[key] = value
            number += 1
        }
        // [head: 16], and for each row [slot: 2][head: 8][key: 10][value: 20].
        #expect(number == (environment.pageSize - 16) / 40)
        #expect(try transaction.statistics(of: table).pages == 1)
        try expect(model, in: transaction, table)
        let longest = (environment.pageSize - 16) / 2 - 2
        #expect(!insert(Array("longer:000".utf8), [UInt8](repeating: 3, count: longest), transaction, table))
        transaction.abort()
    }
}
