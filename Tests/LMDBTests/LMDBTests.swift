// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import Bytes
import CodisTesting
import Foundation
import LMDB
import Synchronization
import Testing
import Worker

@Suite("LMDB")
struct LMDBTests {
    private let directory: TemporaryDirectory
    private let environment: Environment

    init() throws {
        directory = try TemporaryDirectory()
        environment = try Environment(directory: directory.path, mapSizeBytes: 64 << 20, maximumTables: 4)
    }

    private func table() throws -> Table {
        let transaction = try environment.beginWriting()
        let table = try #require(try transaction.openTable("rows", create: true))
        try transaction.commit()
        return table
    }

    @Test("A reader sees the commit that it began with")
    func isolation() throws {
        let table = try table()
        let writer = try environment.beginWriting()
        try writer.put(ByteView("key"), ByteView("old"), in: table)
        try writer.commit()
        let reader = try environment.beginReading()
        let second = try environment.beginWriting()
        try second.put(ByteView("key"), ByteView("new"), in: table)
        try second.commit()
        #expect(try reader.get(ByteView("key"), in: table) == ByteView("old"))
        #expect(try environment.beginReading().get(ByteView("key"), in: table) == ByteView("new"))
    }

    @Test("What was not committed is not there")
    func abort() throws {
        let table = try table()
        do {
            let writer = try environment.beginWriting()
            try writer.put(ByteView("key"), ByteView("value"), in: table)
        }
        #expect(try environment.beginReading().get(ByteView("key"), in: table) == nil)
    }

    @Test("A table that is not there is nil, unless it is to be made")
    func tables() throws {
        let writer = try environment.beginWriting()
        #expect(try writer.openTable("missing", create: false) == nil)
        #expect(try writer.openTable("missing", create: true) != nil)
    }

    @Test("A cursor finds, walks, overwrites and deletes")
    func cursor() throws {
        let table = try table()
        let writer = try environment.beginWriting()
        for key: StaticString in ["b", "d", "a", "c"] { try writer.put(ByteView(key), ByteView("1"), in: table) }
        let cursor = try writer.cursor(table)
        #expect(try cursor.find(ByteView("c")) == ByteView("1"))
        #expect(try cursor.find(ByteView("x")) == nil)
        #expect(try cursor.seek(ByteView("bb"))?.key == ByteView("c"))
        let memory = try unsafe cursor.reserveCurrent(ByteView("c"), count: 3)
        unsafe memory.copyBytes(from: Array("new".utf8))
        #expect(try writer.get(ByteView("c"), in: table) == ByteView("new"))
        #expect(try cursor.find(ByteView("b")) != nil)
        try cursor.deleteCurrent()
        var keys: [String] = []
        var row = try cursor.first()
        while let found = row {
            keys.append(String(found.key))
            row = try cursor.next()
        }
        #expect(keys == ["a", "c", "d"])
        #expect(try cursor.last()?.key == ByteView("d"))
        #expect(try cursor.previous()?.key == ByteView("c"))
    }

    @Test("A full map is an error by its name")
    func mapFull() throws {
        let small = try TemporaryDirectory()
        let environment = try Environment(directory: small.path, mapSizeBytes: 1 << 20, maximumTables: 1)
        let writer = try environment.beginWriting()
        let table = try #require(try writer.openTable("rows", create: true))
        let value = [UInt8](repeating: 1, count: 4000)
        #expect(throws: LMDBError.mapFull) {
            for number in 0..<1000 {
                try ByteView.with("key \(number)") { key in
                    try ByteView.with(value) { try writer.put(key, $0, in: table) }
                }
            }
        }
    }

    @Test("Another thread brings pages into memory while the map is made larger")
    func fetchingWhileGrowing() throws {
        let isOver = Atomic<Bool>(false)
        let worker = try WorkerThread()
        worker.perform { [environment] in
            while !isOver.load(ordering: .relaxed) { environment.fetch(0..<8) }
        }
        for round in 0..<20_000 { try environment.setMapSize(bytes: (65 + round % 2) << 20) }
        isOver.store(true, ordering: .relaxed)
        worker.stop()
    }

    @Test("A file that is not LMDB's is refused")
    func invalid() throws {
        let other = try TemporaryDirectory()
        try Data(repeating: 7, count: 8192).write(to: URL(fileURLWithPath: other.path + "/data.mdb"))
        #expect(throws: LMDBError.invalid) {
            _ = try Environment(directory: other.path, mapSizeBytes: 1 << 20, maximumTables: 1)
        }
    }

    @Test("Skipping rows ends where walking them does, on one page and over many")
    func skip() throws {
        let table = try table()
        let writer = try environment.beginWriting()
        var keys: [String] = []
        for number in 0..<1000 {
            let key = String(10_000 + number * 3) + String(repeating: "k", count: number % 90)
            keys.append(key)
            let value = [UInt8](repeating: 1, count: number % 50 == 0 ? 3000 : number % 70)
            try ByteView.with(key) { key throws(LMDBError) in
                try ByteView.with(value) { value throws(LMDBError) in try writer.put(key, value, in: table) }
            }
        }
        let cursor = try writer.cursor(table)
        for start in stride(from: 0, to: keys.count, by: 37) {
            for count in [0, 1, 2, 40, 200, 990] {
                let last = keys[min(keys.count - 1, start + 150)]
                let row = try #require(try ByteView.with(keys[start]) { try cursor.seek($0) })
                let found = try cursor.skip(count, from: row, pageSize: environment.pageSize) { String($0) <= last }
                let wanted = start + count < keys.count && count <= 150 ? keys[start + count] : nil
                #expect(found.map { String($0.key) } == wanted)
                if let wanted {
                    #expect(try cursor.currentRow()?.key == found?.key)
                    #expect(try ByteView.with(wanted) { try writer.get($0, in: table) } == found?.value)
                }
            }
        }
    }

    @Test("A cursor stays on its row, whatever else changes in the table")
    func tracking() throws {
        let table = try table()
        let writer = try environment.beginWriting()
        var generator = SystemRandomNumberGenerator()
        var lengths: [Int: Int] = [:]
        func key(_ number: Int) -> [UInt8] {
            Array("\(number * 7919 % 4000)-".utf8) + [UInt8](repeating: 0x6B, count: number * 31 % 80)
        }
        func put(_ number: Int, _ length: Int) throws {
            let bytes = [UInt8](repeating: UInt8(length & 0xFF), count: length)
            try ByteView.with(key(number)) { key throws(LMDBError) in
                try ByteView.with(bytes) { bytes throws(LMDBError) in try writer.put(key, bytes, in: table) }
            }
            lengths[number] = length
        }
        try put(0, 8)
        for round in 0..<200 {
            let held = try #require(lengths.keys.randomElement(using: &generator))
            let cursor = try writer.cursor(table)
            defer { cursor.close() }
            #expect(try ByteView.with(key(held)) { try cursor.find($0) } != nil)
            // The table grows and shrinks in turn, from nothing to some levels.
            for _ in 0..<300 {
                let number = Int.random(in: 0..<4000, using: &generator)
                if number == held { continue }
                if Int.random(in: 0..<10, using: &generator) < (round / 25 % 2 == 0 ? 8 : 2) {
                    try put(number, Int.random(in: 0..<1900, using: &generator))
                } else {
                    let others = lengths.keys.filter { $0 != held }.prefix(2)
                    for other in others {
                        _ = try ByteView.with(key(other)) { try writer.delete($0, in: table) }
                        lengths[other] = nil
                    }
                }
            }
            #expect(try ByteView.with(key(held)) { key in try cursor.currentRow()?.key == key })
            let length = Int.random(in: 0..<1900, using: &generator)
            try ByteView.with(key(held)) { key in
                let memory = try unsafe cursor.reserveCurrent(key, count: length)
                unsafe memory.initializeMemory(as: UInt8.self, repeating: UInt8(length & 0xFF))
            }
            lengths[held] = length
        }
        #expect(try writer.statistics(of: table).entries == lengths.count)
        for (number, length) in lengths {
            let value = try ByteView.with(key(number)) { try writer.get($0, in: table).map { Array($0) } }
            #expect(value == [UInt8](repeating: UInt8(length & 0xFF), count: length))
        }
    }
}
