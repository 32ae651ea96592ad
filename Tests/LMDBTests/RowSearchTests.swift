// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import Bytes
import CodisTesting
import Foundation
import LMDB
import Testing

@Suite("Searching the pages of a write transaction without LMDB")
struct RowSearchTests {
    private let directory: TemporaryDirectory
    private let environment: Environment

    init() throws {
        directory = try TemporaryDirectory()
        environment = try Environment(in: directory)
    }

    /// Keys as the keyspace has them (hashed behind two bytes that few have), and others that resemble each other.
    private func key(_ generator: inout SeededGenerator, _ range: Int) -> [UInt8] {
        let number = Int.random(in: 0..<range, using: &generator)
        let bytes = UInt64.spread(number).bigEndianBytes
        switch number % 8 {
        case 0...3: return [0, UInt8(number % 3)] + bytes + Array("key:\(number)".utf8)
        case 4: return [0xFE, 0, 0, 0, 0, 0, 0, 0, UInt8(number % 5), 1] + bytes
        case 5: return [0xFE, 0, 0, 0, 0, 0, 0, 0, 9, 1] + Array("\(number)".utf8)
        case 6: return [UInt8](repeating: UInt8(number % 2) * 0xFF, count: 10 + number % 60)
        default: return Array(("a common beginning " + String(number % 1000)).utf8)
        }
    }

    private func expect(_ search: RowSearch, _ expected: ByteView?, mayBeUnknown: Bool) {
        switch search {
        case .found(let value, _): #expect(expected == value)
        case .missing: #expect(expected == nil)
        case .unknown: #expect(mayBeUnknown, "a plain row was not searched")
        }
    }

    private func expectAlike(
        _ transaction: Transaction,
        _ cursor: Cursor,
        _ key: [UInt8],
        _ table: Table,
        wasLong: Bool
    ) throws {
        try ByteView.with(key) { key in
            let expected = try cursor.find(key)
            for number in [RowNumber.behindTwoBytes, .behindTenBytes] {
                // LMDB leaves a short value where a long one was.
                let isShort = number == .behindTenBytes && key.count < 18
                expect(
                    transaction.search(key, in: table, by: number),
                    expected,
                    mayBeUnknown: isShort || expected != nil && wasLong
                )
            }
            #expect(try transaction.get(key, in: table) == expected)
        }
    }

    @Test(
        "What is found is what LMDB finds, in trees of any size, while they grow and shrink",
        arguments: [50, 3000, 60_000]
    )
    func alike(range: Int) throws {
        var generator = SeededGenerator()
        print("row search: CODIS_TEST_SEED=\(generator.seed)")
        var (transaction, table) = try environment.beginWithTable()
        var long: Set<[UInt8]> = []
        for round in 0..<6 {
            for _ in 0..<min(range * 2, 20_000) {
                let key = key(&generator, range)
                let isPut = Int.random(in: 0..<10, using: &generator) < (round.isMultiple(of: 2) ? 8 : 3)
                // Some values are so long that LMDB keeps them on pages of their own.
                let isLong = Int.random(in: 0..<100, using: &generator) == 0
                let length = isLong ? 3000 : 20 + key.count % 40
                if isLong { long.insert(key) }
                try ByteView.with(key) { key in
                    if isPut {
                        try ByteView.with([UInt8](repeating: UInt8(key.count & 255), count: length)) {
                            try transaction.put(key, $0, in: table)
                        }
                    } else {
                        try transaction.delete(key, in: table)
                    }
                }
            }
            let cursor = try transaction.cursor(table)
            for _ in 0..<5000 {
                let key = key(&generator, range + range / 4)
                try expectAlike(transaction, cursor, key, table, wasLong: long.contains(key))
            }
            cursor.close()
            guard round.isMultiple(of: 2) else { continue }
            try transaction.commit()
            transaction = try environment.beginWriting()
            // LMDB has not looked at the table yet.
            guard case .unknown = transaction.search(ByteView("0123456789"), in: table) else {
                Issue.record("a table was searched before its root was known")
                return
            }
            _ = try transaction.get(ByteView("0123456789"), in: table)
        }
        transaction.abort()
    }

    @Test(
        "A row that was found before is found again where it is now, whatever came and went",
        arguments: [200, 3000, 60_000]
    )
    func again(range: Int) throws {
        var generator = SeededGenerator()
        print("row search: CODIS_TEST_SEED=\(generator.seed)")
        var (transaction, first) = try environment.beginWithTable()
        let second = try #require(try transaction.openTable("second", create: true))
        for round in 0..<12 {
            // Rounds in which rows only come, change in place or go tell what remembers too much of each.
            let putsOfTen = [10, 9, 2, 10, 0, 5][round % 6]
            for step in 0..<20_000 {
                let table = Bool.random(using: &generator) ? first : second
                let number = Int.random(in: 0..<range, using: &generator)
                let bytes = UInt64(number).bigEndianBytes
                let key = [0xFE, 0, 0, 0, 0, 0, 0, 0, UInt8(number % 3), 1] + bytes
                try ByteView.with(key) { key in
                    if step.isMultiple(of: 4) {
                        if Int.random(in: 0..<10, using: &generator) < putsOfTen {
                            let length = 50 + Int.random(in: 0..<3, using: &generator) * 300
                            let value = [UInt8](repeating: UInt8(step & 255), count: length)
                            try ByteView.with(value) { try transaction.put(key, $0, in: table) }
                        } else {
                            try transaction.delete(key, in: table)
                        }
                    } else {
                        let cursor = try transaction.cursor(table)
                        defer { cursor.close() }
                        let expected = try cursor.find(key)
                        let search = transaction.search(key, in: table, by: .behindTenBytes)
                        expect(search, expected, mayBeUnknown: expected == nil)
                        guard expected != nil,
                            case .found(let value, _) = transaction.search(key, in: table, by: .behindTenBytes)
                        else { return }
                        // Not only as long, but the very same bytes.
                        let start = unsafe expected?.rawBuffer.baseAddress
                        #expect(unsafe value.rawBuffer.baseAddress == start)
                    }
                }
            }
            guard round.isMultiple(of: 3) else { continue }
            try transaction.commit()
            transaction = try environment.beginWriting()
        }
        transaction.abort()
    }

    @Test("A row is writable when its page is the transaction's own, and what is written there is committed")
    func writable() throws {
        var (transaction, table) = try environment.beginWithTable()
        for number in 0..<1000 {
            try ByteView.with("key:\(number + 100_000)") { try transaction.put($0, ByteView("old value"), in: table) }
        }
        try transaction.commit()
        transaction = try environment.beginWriting()
        try ByteView.with("key:100500") { key in
            #expect(try transaction.get(key, in: table) == ByteView("old value"))
            guard case .found(_, isWritable: false) = transaction.search(key, in: table) else {
                Issue.record("a page of the last commit is said to be writable")
                return
            }
            try transaction.put(key, ByteView("new value"), in: table)
            guard case .found(let value, isWritable: true) = transaction.search(key, in: table) else {
                Issue.record("a page that was changed is not writable")
                return
            }
            unsafe UnsafeMutableRawBufferPointer(mutating: value.rawBuffer).copyBytes(from: "in place!".utf8)
            try transaction.commit()
            #expect(try environment.beginReading().get(key, in: table) == ByteView("in place!"))
        }
    }

    @Test("Keys that are too short, and readers, are left to LMDB")
    func leftToLMDB() throws {
        let (transaction, table) = try environment.beginWithTable()
        try transaction.put(ByteView("short"), ByteView("value"), in: table)
        guard case .unknown = transaction.search(ByteView("short"), in: table) else {
            Issue.record("a short key was searched")
            return
        }
        #expect(try transaction.get(ByteView("short"), in: table) == ByteView("value"))
        // Rows with long keys beside it are LMDB's too where they would be compared with it.
        #expect(try transaction.get(ByteView("0123456789"), in: table) == ByteView("x"))
        try transaction.commit()
        let reader = try environment.beginReading()
        guard case .unknown = reader.search(ByteView("0123456789"), in: table) else {
            Issue.record("a reader was searched")
            return
        }
        #expect(try reader.get(ByteView("0123456789"), in: table) == ByteView("x"))
    }
}
