// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import Bytes
import CodisTesting
import Foundation
import Testing

@testable import Keyspace

/// Power losses, simulated: images of the data file in which each page is the one that a checkpoint last had to bring
/// to the disk, or the one of now.
@Suite("The keyspace after a power loss")
struct PowerLossTests {
    private static let seed: UInt64 =
        ProcessInfo.processInfo.environment["CODIS_TEST_SEED"].flatMap(UInt64.init) ?? UInt64.random(in: 0...UInt64.max)

    @Test("Every mixture of synced and unsynced pages opens with all that was durable", arguments: 0..<20)
    func mixedPages(round: Int) throws {
        print("round \(round): CODIS_TEST_SEED=\(PowerLossTests.seed)")
        var loss = try PowerLoss(seed: PowerLossTests.seed &+ UInt64(round))
        try loss.changeDurably(operations: 1_500)
        for _ in 0..<2 {
            try loss.changeDurably(operations: 500)
            // Commits after the sync move LMDB's own meta pages on and let it reuse what pages it may.
            for _ in 0..<Int.random(in: 0...3, using: &loss.generator) { try loss.changeAndCommit(operations: 400) }
            try loss.change(operations: 400)
            for _ in 0..<13 { try loss.checkImage() }
        }
    }

    @Test("What was loaded and committed provisionally is durable with the checkpoint at the end", arguments: 0..<6)
    func provisionalCommits(round: Int) throws {
        print("round \(round): CODIS_TEST_SEED=\(PowerLossTests.seed)")
        var loss = try PowerLoss(seed: PowerLossTests.seed &+ UInt64(round))
        for _ in 0..<3 {
            for _ in 0..<Int.random(in: 1...3, using: &loss.generator) { try loss.changeProvisionally(operations: 600) }
            try loss.changeDurably(operations: 300)
        }
        for _ in 0..<10 { try loss.checkImage() }
    }
}

/// A keyspace whose files can be lost in part.
private struct PowerLoss {
    var generator: SeededGenerator
    private let directory: TemporaryDirectory
    private let keyspace: Keyspace
    private var model: [[UInt8]: [UInt8]] = [:]
    private var durableModel: [[UInt8]: [UInt8]] = [:]
    private var offset: UInt64 = 0
    private var durableOffset: UInt64 = 0
    private var synced: [UInt8] = []
    private var syncedMeta: [UInt8] = []
    private var pending: Checkpoint?
    private let page = 4096

    init(seed: UInt64) throws {
        generator = SeededGenerator(seed: seed)
        directory = try TemporaryDirectory()
        keyspace = try Keyspace(directory: directory.path + "/keyspace")
        // A keyspace is made durably.
        synced = try read("data.mdb", keyspace.storageStatistics.usedBytes)
        syncedMeta = try read("durable", 16384)
    }

    mutating func change(operations: Int) throws {
        for _ in 0..<operations {
            let key = Array("key:\(Int.random(in: 0..<1200, using: &generator))".utf8)
            if Int.random(in: 0..<4, using: &generator) == 0 {
                model[key] = nil
                _ = try ByteView.with(key) { try keyspace.remove($0, in: 0) }
            } else {
                let long = Int.random(in: 0..<30, using: &generator) == 0
                let length = Int.random(in: 0..<(long ? 20_000 : 120), using: &generator)
                let value = [UInt8](repeating: UInt8.random(in: 0...255, using: &generator), count: length)
                model[key] = value
                try ByteView.with(key) { key in
                    try ByteView.with(value) { try keyspace.setString(key, in: 0, to: $0) }
                }
            }
            if Int.random(in: 0..<50, using: &generator) == 0 { try keyspace.reclaim(maximumRows: 20) }
        }
    }

    mutating func changeAndCommit(operations: Int) throws {
        try change(operations: operations)
        offset += 1
        // The checkpoint is not made durable: the disk is slow, and then the power is lost.
        if let checkpoint = try keyspace.commit(at: LogPosition(offset: offset)) { pending = checkpoint }
    }

    mutating func changeProvisionally(operations: Int) throws {
        try change(operations: operations)
        try keyspace.commitProvisionally()
    }

    mutating func changeDurably(operations: Int) throws {
        try change(operations: operations)
        offset += 1
        // One that is under way stands in the way of the next.
        if let checkpoint = pending {
            pending = nil
            try makeDurable(checkpoint)
        }
        if let checkpoint = try keyspace.commit(at: LogPosition(offset: offset)) { try makeDurable(checkpoint) }
        durableModel = model
        durableOffset = offset
    }

    /// Keeps of the files what is on the disk for certain: of the data only the pages that the checkpoint has synced.
    private mutating func makeDurable(_ checkpoint: Checkpoint) throws {
        try checkpoint.makeDurable()
        keyspace.finish(checkpoint)
        let now = try read("data.mdb", keyspace.storageStatistics.usedBytes)
        if synced.count < now.count { synced += [UInt8](repeating: 0, count: now.count - synced.count) }
        for pages in checkpoint.pages {
            let bytes = (pages.lowerBound * page..<pages.upperBound * page).clamped(to: 0..<now.count)
            synced.replaceSubrange(bytes, with: now[bytes])
        }
        syncedMeta = try read("durable", 16384)
    }

    private func read(_ name: String, _ length: Int) throws -> [UInt8] {
        let file = try FileHandle(forReadingFrom: URL(fileURLWithPath: directory.path + "/keyspace" + "/" + name))
        defer { try? file.close() }
        return Array(try file.read(upToCount: length) ?? Data())
    }

    /// Builds an image, opens it, and expects to find the durable state.
    mutating func checkImage() throws {
        // Pages of the open transaction may lie beyond what the last commit uses.
        var image = try read("data.mdb", keyspace.storageStatistics.usedBytes + 4096 * page)
        let share = Int.random(in: 0...4, using: &generator)
        for number in 0..<(synced.count / page) where Int.random(in: 0..<4, using: &generator) < share {
            let range = number * page..<(number + 1) * page
            image.replaceSubrange(range, with: synced[range])
        }
        let copy = try TemporaryDirectory()
        try FileManager.default.createDirectory(atPath: copy.path + "/keyspace", withIntermediateDirectories: true)
        try Data(image).write(to: URL(fileURLWithPath: copy.path + "/keyspace" + "/data.mdb"))
        try Data(tornMeta()).write(to: URL(fileURLWithPath: copy.path + "/keyspace" + "/durable"))

        let opened = try Keyspace(directory: copy.path + "/keyspace")
        #expect(opened.position.offset == durableOffset)
        #expect(opened.check() == [])
        #expect(opened.keyCount(in: 0) == durableModel.count)
        let wrong = durableModel.filter { key, value in
            ByteView.with(key) { opened.find($0, in: 0) }.map { opened.bytes(of: $0) } != value
        }
        #expect(wrong.count == 0)
    }

    /// The saved meta pages, of which the next to be written is torn in some images.
    private mutating func tornMeta() -> [UInt8] {
        var meta = syncedMeta
        guard Bool.random(using: &generator) else { return meta }
        let slot = 1 - newestSlot(meta)
        for sector in 0..<16 where Bool.random(using: &generator) {
            let start = slot * 8192 + sector * 512
            meta.replaceSubrange(start..<(start + 512), with: repeatElement(0xAA, count: 512))
        }
        return meta
    }

    /// The slot that holds the newest saved page.
    private func newestSlot(_ meta: [UInt8]) -> Int {
        func commit(_ slot: Int) -> UInt64 {
            meta[(slot * 8192 + 8)..<(slot * 8192 + 16)].reversed().reduce(0) { $0 << 8 | UInt64($1) }
        }
        return commit(0) > commit(1) ? 0 : 1
    }
}
