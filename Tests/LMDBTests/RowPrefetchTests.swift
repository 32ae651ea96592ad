// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import Bytes
import CodisTesting
import Testing

@testable import LMDB

@Suite("Walking to rows that are about to be looked up")
struct RowPrefetchTests {
    private let directory: TemporaryDirectory
    private let environment: Environment

    init() throws {
        directory = try TemporaryDirectory()
        environment = try Environment(in: directory)
    }

    /// A table with a row, and a transaction that knows it.
    private func begin() throws -> (Transaction, Table) {
        let (transaction, table) = try environment.beginWithTable()
        _ = try transaction.get(ByteView("0123456789"), in: table)
        return (transaction, table)
    }

    /// The number by which a key is walked to, of which no two are alike.
    private func checksum(_ number: Int) -> UInt32 { UInt32(truncatingIfNeeded: number &* 0x9E37_79B1) }

    private func key(_ number: Int) -> [UInt8] {
        let checksum = checksum(number)
        let bytes = (0..<4).map { UInt8(truncatingIfNeeded: checksum >> (24 - 8 * $0)) }
        return [0, 3] + bytes + Array("key:\(number)".utf8)
    }

    @Test(
        "Each walk ends at the leaf where the row lies, in trees of one level and of several",
        arguments: [3, 500, 60_000]
    )
    func ends(count: Int) throws {
        let (transaction, table) = try begin()
        for number in 0..<count {
            try ByteView.with(key(number)) { try transaction.put($0, ByteView("some value"), in: table) }
        }
        // Rows that are not hashed lie beside them.
        for number in 0..<count / 10 {
            try ByteView.with(Array("\u{7F}an element \(number)".utf8)) {
                try transaction.put($0, ByteView("some value"), in: table)
            }
        }
        let cursor = try transaction.cursor(table)
        let prefetch = RowPrefetch()
        var generator = SeededGenerator()
        for _ in 0..<200 {
            let numbers = (0..<RowPrefetch.most).map { _ in Int.random(in: 0..<count, using: &generator) }
            for number in numbers {
                let wanted = UInt64(checksum(number)) << 32 | 0xFFFF_FFFF
                #expect(!prefetch.isFull)
                prefetch.add(head: 3, number: wanted, in: table, of: transaction)
            }
            #expect(prefetch.isFull)
            prefetch.walk(in: transaction)
            #expect(prefetch.count == 0)
            for (index, number) in numbers.enumerated() {
                try ByteView.with(key(number)) { key in
                    try #require(try cursor.find(key) != nil)
                    let row = try #require(try cursor.currentRow())
                    let leaf = try #require(LeafPage(holding: row.key, pageSize: environment.pageSize))
                    #expect(prefetch.lastPage(index) == leaf.number, "seed \(generator.seed)")
                }
            }
        }
        cursor.close()
    }

    @Test("A walk to an element remembers where its row is, and the search that follows finds it there")
    func elements() throws {
        let (transaction, table) = try begin()
        let foundRows = transaction.foundRows
        let count = 60_000
        func key(_ number: Int) -> [UInt8] {
            [0xFE, 0, 0, 0, 0, 0, 0, 0, 5, 2] + UInt64.spread(number).bigEndianBytes + Array("element:\(number)".utf8)
        }
        for number in 0..<count {
            try ByteView.with(key(number)) { key in try transaction.put(key, key, in: table) }
        }
        let prefetch = RowPrefetch()
        for first in stride(from: 0, to: count, by: 1000) {
            // The last one is not there.
            let numbers = (first..<first + 7).map { $0 } + [count + first]
            for number in numbers {
                prefetch.add(
                    head: 0xFE00,
                    middle: 5 << 8 | 2,
                    number: UInt64.spread(number),
                    in: table,
                    of: transaction
                )
            }
            prefetch.walk(in: transaction)
            for number in numbers {
                let wanted = PageSearch.Wanted(head: 0xFE00, middle: 5 << 8 | 2, number: UInt64.spread(number))
                let place = foundRows.place(of: wanted, in: table.handle)
                ByteView.with(key(number)) { key in
                    let search = transaction.search(key, in: table, by: .behindTenBytes)
                    if number < count {
                        #expect(place != nil)
                        guard case .found(let value, isWritable: true) = search, value == key else {
                            Issue.record("the row of \(number) was not found")
                            return
                        }
                    } else {
                        guard case .missing = search else {
                            Issue.record("a row was found that is not there")
                            return
                        }
                    }
                }
            }
        }
        transaction.abort()
    }

    @Test("There is no walk when something has changed since its rows were added, or in another transaction")
    func outOfDate() throws {
        var (transaction, table) = try begin()
        func fill(_ range: Range<Int>) throws {
            for number in range {
                try ByteView.with(key(number)) { try transaction.put($0, ByteView("some value"), in: table) }
            }
        }
        let prefetch = RowPrefetch()
        func add() {
            prefetch.add(head: 3, number: UInt64(checksum(7)) << 32 | 0xFFFF_FFFF, in: table, of: transaction)
        }
        try fill(0..<5000)
        // A walk that is made leaves the page of the root.
        add()
        let root = prefetch.lastPage(0)
        prefetch.walk(in: transaction)
        #expect(prefetch.lastPage(0) != root)
        add()
        try fill(5000..<5001)
        prefetch.walk(in: transaction)
        #expect(prefetch.lastPage(0) == root)
        #expect(prefetch.count == 0)
        add()
        try transaction.commit()
        transaction = try environment.beginWriting()
        prefetch.walk(in: transaction)
        #expect(prefetch.lastPage(0) == root)
        transaction.abort()
    }

    @Test("Empty tables are not walked in, and one that the transaction does not know yet is looked up")
    func unknown() throws {
        var transaction = try environment.beginWriting()
        let table = try #require(try transaction.openTable("rows", create: true))
        let prefetch = RowPrefetch()
        prefetch.add(head: 0, number: 0, in: table, of: transaction)
        #expect(prefetch.count == 0)
        try transaction.put(ByteView("0123456789"), ByteView("x"), in: table)
        try transaction.commit()
        transaction = try environment.beginWriting()
        prefetch.add(head: 0, number: 0, in: table, of: transaction)
        #expect(prefetch.count == 1)
        prefetch.walk(in: transaction)
        #expect(prefetch.count == 0)
        transaction.abort()
    }

    @Test("Rows of any kind may lie in the way, and a walk changes nothing")
    func anything() throws {
        let (transaction, table) = try begin()
        var generator = SeededGenerator()
        let prefetch = RowPrefetch()
        var kept: [[UInt8]: Int] = [:]
        for round in 0..<30_000 {
            let key = (0...Int.random(in: 0..<40, using: &generator)).map { _ in
                UInt8.random(in: 0..<3, using: &generator)
            }
            let length = round.isMultiple(of: 50) ? 5000 : Int.random(in: 0..<100, using: &generator)
            try ByteView.with(key) { key in
                try ByteView.with([UInt8](repeating: 7, count: length)) { try transaction.put(key, $0, in: table) }
            }
            kept[key] = length
            guard round.isMultiple(of: 8) else { continue }
            while !prefetch.isFull {
                let number = UInt64.random(in: 0..<1 << 20, using: &generator)
                let (head, middle) = (UInt16(number & 0x303), number &* 0x0100_0100_0010)
                if number.isMultiple(of: 2) {
                    prefetch.add(head: head, number: middle, in: table, of: transaction)
                } else {
                    prefetch.add(head: head, middle: middle, number: middle >> 8, in: table, of: transaction)
                }
            }
            prefetch.walk(in: transaction)
        }
        for (key, length) in kept {
            try ByteView.with(key) { key in
                let value = try transaction.get(key, in: table)
                #expect(value?.count == length)
            }
        }
        transaction.abort()
    }
}
