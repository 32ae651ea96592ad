// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import Bytes
import CodisTesting
import Foundation
import Keyspace
import SlotHash
import Testing

@Suite("The keyspace")
struct KeyspaceTests {
    private let directory: TemporaryDirectory
    private var path: String { directory.path + "/keyspace" }

    init() throws { directory = try TemporaryDirectory() }

    private func open(_ options: KeyspaceOptions = KeyspaceOptions()) throws -> Keyspace {
        try Keyspace(directory: path, options: options)
    }

    private func checkpoint(_ keyspace: Keyspace, offset: UInt64) throws {
        let checkpoint = try #require(try keyspace.commit(at: LogPosition(offset: offset)))
        try checkpoint.makeDurable()
        keyspace.finish(checkpoint)
    }

    @Test("A directory that is open cannot be opened again, and the message says by whom it is used")
    func lock() throws {
        let keyspace = try open()
        do throws(KeyspaceError) {
            _ = try Keyspace(directory: path)
            Issue.record("it was opened twice")
        } catch {
            guard case .locked(let text) = error else {
                Issue.record("\(error)")
                return
            }
            #expect(text.contains("process \(getpid())"))
        }
        #expect(keyspace.failure == nil)
    }

    @Test("What was not made durable is gone after opening, and the position tells from where to replay")
    func durability() throws {
        do {
            let keyspace = try open()
            try keyspace.setString(ByteView("kept"), in: 0, to: ByteView("1"))
            try checkpoint(keyspace, offset: 7)
            try keyspace.setString(ByteView("lost"), in: 0, to: ByteView("1"))
            _ = try keyspace.commit(at: LogPosition(offset: 8))
        }
        let keyspace = try open()
        #expect(keyspace.position.offset == 7)
        #expect(keyspace.find(ByteView("kept"), in: 0) != nil)
        #expect(keyspace.find(ByteView("lost"), in: 0) == nil)
        #expect(keyspace.check() == [])
    }

    @Test(
        "The map grows without a sync, however many commits are not durable, and what was durable stays whole",
        arguments: [1, 4]
    )
    func growthWithoutSync(commits: Int) throws {
        var options = KeyspaceOptions()
        options.mapSizeBytes = 64 << 20
        let keyspace = try open(options)
        func fill(_ keys: Range<Int>, _ byte: UInt8) throws {
            let value = [UInt8](repeating: byte, count: 700)
            for number in keys {
                try ByteView.with("key:\(number)") { key in
                    try ByteView.with(value) { try keyspace.setString(key, in: 0, to: $0) }
                }
            }
        }
        try fill(0..<10_000, 1)
        try checkpoint(keyspace, offset: 1)
        #expect(keyspace.storageStatistics.mapBytes == 64 << 20)
        // None of these commits is made durable; the last one grows the map.
        for number in 0..<commits {
            let keys = 15_000 / commits
            try fill(10_000 + number * keys..<10_000 + (number + 1) * keys, 2)
            let checkpoint = try keyspace.commit(at: LogPosition(offset: 2))
            #expect((checkpoint != nil) == (number == 0))
        }
        #expect(keyspace.storageStatistics.mapBytes > 64 << 20)
        // These free many of the durable one's pages.
        for round in 0..<2 {
            try fill(0..<2000, UInt8(3 + round))
            for number in 2000..<4000 { _ = try ByteView.with("key:\(number)") { try keyspace.remove($0, in: 0) } }
            _ = try keyspace.commit(at: LogPosition(offset: UInt64(3 + round)))
        }

        // As it would be after a power loss.
        let copy = path + "-copy"
        try FileManager.default.createDirectory(atPath: copy, withIntermediateDirectories: true)
        for name in ["data.mdb", "durable"] {
            try FileManager.default.copyItem(atPath: "\(path)/\(name)", toPath: "\(copy)/\(name)")
        }
        let found = try Keyspace(directory: copy)
        #expect(found.position.offset == 1)
        #expect(found.keyCount(in: 0) == 10_000)
        #expect(found.check() == [])
        for number in 0..<10_000 {
            let value = ByteView.with("key:\(number)") { found.find($0, in: 0)?.inlineValue.map { Array($0) } }
            #expect(value == [UInt8](repeating: 1, count: 700))
        }
    }

    @Test("A checkpoint that was begun before the map grew is made durable after it")
    func growthDuringCheckpoint() throws {
        var options = KeyspaceOptions()
        options.mapSizeBytes = 64 << 20
        let value = [UInt8](repeating: 7, count: 4 << 20)
        do {
            let keyspace = try open(options)
            var begun: Checkpoint?
            for number in 0..<16 {
                try ByteView.with(value) { try keyspace.setString(ByteView("key"), in: number, to: $0) }
                let checkpoint = try keyspace.commit(at: LogPosition(offset: UInt64(number)))
                if begun == nil { begun = checkpoint }
            }
            #expect(keyspace.storageStatistics.mapBytes > 64 << 20)
            let checkpoint = try #require(begun)
            try checkpoint.makeDurable()
            keyspace.finish(checkpoint)
            #expect(keyspace.storageStatistics.commitsNotDurable == 15)
            #expect(keyspace.check() == [])
        }
        let keyspace = try open(options)
        #expect(keyspace.position.offset == 0)
        #expect(keyspace.keyCount(in: 0) == 1)
        #expect(keyspace.keyCount(in: 1) == 0)
        #expect(keyspace.check() == [])
    }

    @Test("A directory without its durable state, or with a damaged one, is refused")
    func damaged() throws {
        do {
            let keyspace = try open()
            try checkpoint(keyspace, offset: 1)
        }
        let durable = URL(fileURLWithPath: path + "/durable")
        let saved = try Data(contentsOf: durable)
        try Data(repeating: 9, count: saved.count).write(to: durable)
        #expect(throws: KeyspaceError.format("\(path)/durable is damaged: neither of its copies is valid")) {
            _ = try Keyspace(directory: path)
        }
        try FileManager.default.removeItem(at: durable)
        #expect(throws: KeyspaceError.self) { _ = try Keyspace(directory: path) }
        try saved.write(to: durable)
        #expect(try open().check() == [])
    }

    @Test("Keys in a database beyond the configured number are refused, not hidden")
    func databases() throws {
        do {
            let keyspace = try open()
            try keyspace.setString(ByteView("key"), in: 9, to: ByteView("1"))
            try checkpoint(keyspace, offset: 1)
        }
        var options = KeyspaceOptions()
        options.databases = 4
        #expect(throws: KeyspaceError.format("database 9 has keys, but there are only 4 databases")) {
            _ = try Keyspace(directory: path, options: options)
        }
    }

    @Test("A string of 40 MB is written in several transactions, read in pieces, and deleted in the background")
    func longString() throws {
        var options = KeyspaceOptions()
        options.dirtyPages = 2000
        let keyspace = try open(options)
        var commits = 0
        keyspace.onPressure = { () throws(KeyspaceError) in
            commits += 1
            if let checkpoint = try keyspace.commit(at: LogPosition(offset: 0)) {
                try checkpoint.makeDurable()
                keyspace.finish(checkpoint)
            }
        }
        defer { keyspace.onPressure = nil }
        var value = [UInt8](repeating: 0, count: 40_000_000)
        for index in stride(from: 0, to: value.count, by: 997) { value[index] = UInt8(truncatingIfNeeded: index) }
        try ByteView.with(value) { try keyspace.setString(ByteView("long"), in: 0, to: $0) }
        #expect(commits > 3)
        let record = try #require(keyspace.find(ByteView("long"), in: 0))
        #expect(record.count == value.count)
        var offset = 0
        var wrong = 0
        keyspace.forEachPiece(of: record) { piece in
            let same = ByteView.with(value) { $0[offset..<(offset + piece.count)] == piece }
            wrong += same ? 0 : 1
            offset += piece.count
        }
        #expect(offset == value.count && wrong == 0)
        #expect(try keyspace.remove(ByteView("long"), in: 0))
        try checkpoint(keyspace, offset: 2)
        while try keyspace.reclaim(maximumRows: 500) {}
        #expect(!keyspace.hasReclaimBacklog)
        #expect(keyspace.storedBytes == 0)
        try checkpoint(keyspace, offset: 3)
        #expect(keyspace.check() == [])
    }

    @Test("A string that is being built when the server dies leaves nothing behind")
    func unfinishedString() throws {
        do {
            var options = KeyspaceOptions()
            options.dirtyPages = 500
            let keyspace = try open(options)
            try keyspace.setString(ByteView("long"), in: 0, to: ByteView("before"))
            var calls = 0
            keyspace.onPressure = { () throws(KeyspaceError) in
                if let checkpoint = try keyspace.commit(at: LogPosition(offset: 1)) {
                    try checkpoint.makeDurable()
                    keyspace.finish(checkpoint)
                }
                calls += 1
                if calls == 5 { throw .failed("the power is lost") }
            }
            defer { keyspace.onPressure = nil }
            #expect(throws: KeyspaceError.self) {
                try ByteView.with([UInt8](repeating: 1, count: 30 << 20)) {
                    try keyspace.setString(ByteView("long"), in: 0, to: $0)
                }
            }
        }
        let keyspace = try open()
        #expect(keyspace.find(ByteView("long"), in: 0)?.count == 6)
        #expect(keyspace.hasReclaimBacklog)
        try checkpoint(keyspace, offset: 2)
        while try keyspace.reclaim(maximumRows: 500) {}
        #expect(!keyspace.hasReclaimBacklog)
        #expect(keyspace.check() == [])
    }

    @Test("A far offset in a string takes no room, and reads as zeros")
    func holes() throws {
        let keyspace = try open()
        let length = try keyspace.writeString(ByteView("sparse"), in: 0, at: 500_000_000, ByteView("end"))
        #expect(length == 500_000_003)
        #expect(keyspace.storedBytes < 10_000)
        let record = try #require(keyspace.find(ByteView("sparse"), in: 0))
        var tail: [UInt8] = []
        keyspace.forEachPiece(of: record, from: 499_999_998, count: 100) { tail.append(contentsOf: $0) }
        #expect(tail == [0, 0] + Array("end".utf8))
        #expect(keyspace.check() == [])
    }

    @Test("FLUSHDB takes no time that follows from the number of keys, and other databases stay")
    func flush() throws {
        let keyspace = try open()
        for number in 0..<3000 {
            try ByteView.with("key:\(number)") { key in
                try keyspace.setString(key, in: 0, to: ByteView("value"), expireAtMilliseconds: Int64(number % 3))
                try keyspace.setString(key, in: 1, to: ByteView("value"))
            }
        }
        try keyspace.removeAll(in: 0)
        #expect(keyspace.keyCount(in: 0) == 0 && keyspace.keyCount(in: 1) == 3000)
        #expect(keyspace.expiringKeyCount(in: 0) == 0)
        try keyspace.setString(ByteView("key:1"), in: 0, to: ByteView("new"))
        try checkpoint(keyspace, offset: 1)
        while try keyspace.reclaim(maximumRows: 100) {}
        #expect(!keyspace.hasReclaimBacklog)
        #expect(keyspace.keyCount(in: 0) == 1 && keyspace.keyCount(in: 1) == 3000)
        try checkpoint(keyspace, offset: 2)
        #expect(keyspace.check() == [])
    }

    @Test("Per-slot counts add up to the database's")
    func counts() throws {
        let keyspace = try open()
        for number in 0..<500 {
            try ByteView.with("key:\(number)") { try keyspace.setString($0, in: 0, to: ByteView("value")) }
        }
        let slots = (0..<1024).map { keyspace.counts(of: Slot($0)!, in: 0) }
        #expect(slots.reduce(0) { $0 + $1.keys } == 500)
        #expect(slots.reduce(0) { $0 + $1.bytes } == keyspace.storedBytes)
        let slot = ByteView.with("key:7") { Slot(forKey: $0) }
        let before = keyspace.counts(of: slot, in: 0).keys
        #expect(try ByteView.with("key:7") { try keyspace.remove($0, in: 0) })
        #expect(keyspace.counts(of: slot, in: 0).keys == before - 1)
    }

    @Test("The map grows when half of it is used, and nothing is lost")
    func growth() throws {
        var options = KeyspaceOptions()
        options.mapSizeBytes = 64 << 20
        options.dirtyPages = 1000
        let keyspace = try open(options)
        let value = [UInt8](repeating: 1, count: 4000)
        for number in 0..<20_000 {
            try ByteView.with("key:\(number)") { key in
                #expect(keyspace.ensureRoom(bytes: 4000))
                try ByteView.with(value) { try keyspace.setString(key, in: 0, to: $0) }
            }
            if keyspace.commitIsDue, let checkpoint = try keyspace.commit(at: LogPosition(offset: UInt64(number))) {
                try checkpoint.makeDurable()
                keyspace.finish(checkpoint)
            }
        }
        try checkpoint(keyspace, offset: 30_000)
        #expect(keyspace.storageStatistics.mapBytes >= 256 << 20)
        #expect(keyspace.keyCount(in: 0) == 20_000)
        #expect(keyspace.check() == [])
    }

    @Test("RANDOMKEY chooses every key of a small database")
    func randomKeys() throws {
        let keyspace = try open()
        for number in 0..<20 {
            try ByteView.with("key:\(number)") { try keyspace.setString($0, in: 0, to: ByteView("value")) }
        }
        var seen: Set<[UInt8]> = []
        for _ in 0..<2000 { if let key = keyspace.randomKey(in: 0) { seen.insert(key) } }
        #expect(seen.count == 20)
        #expect(keyspace.randomKey(in: 1) == nil)
    }

    @Test("random keys of a slot are different ones, and all of them if it has no more", arguments: [5, 16, 17, 400])
    func randomKeysOfSlot(size: Int) throws {
        let keyspace = try open()
        for number in 0..<size {
            try ByteView.with("{tag}\(number)") { try keyspace.setString($0, in: 0, to: ByteView("value")) }
        }
        let slot = try #require(Slot(899))
        for _ in 0..<200 {
            #expect(Set(keyspace.randomKeys(in: 0, slot: slot, count: 16)).count == min(16, size))
        }
        #expect(keyspace.randomKeys(in: 1, slot: slot, count: 16).isEmpty)
    }
}
