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
}
