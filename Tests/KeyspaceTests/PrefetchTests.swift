// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import Bytes
import CodisTesting
import Foundation
import Keyspace
import Testing

@Suite("Bringing the data file into memory ahead of its use")
struct PrefetchTests {
    private let directory: TemporaryDirectory
    private var path: String { directory.path + "/keyspace" }
    private var file: String { path + "/data.mdb" }

    init() throws { directory = try TemporaryDirectory() }

    /// Whether the kernel was told to read the map of this test's data file at random: `rr` among its flags.
    private func isRandom() throws -> Bool {
        // Its size is told as 0, so it is read to its end.
        let file = try #require(FileHandle(forReadingAtPath: "/proc/self/smaps"))
        let text = String(decoding: try #require(try file.readToEnd()), as: UTF8.self)
        var isOurs = false
        for line in text.split(separator: "\n") {
            if line.contains(" rw-s ") || line.contains("/") { isOurs = line.hasSuffix("\(path)/data.mdb") }
            if isOurs, line.hasPrefix("VmFlags:") { return line.split(separator: " ").contains("rr") }
        }
        Issue.record("the data file is not mapped")
        return false
    }

    private func residentBytes(_ bytes: Range<Int>) -> Int {
        FileMemory.residentBytes(of: file, in: bytes) ?? 0
    }

    private func fill(_ keyspace: Keyspace, keys: Range<Int>, offset: UInt64) throws {
        let value = [UInt8](repeating: 0x61, count: 1000)
        for number in keys {
            try ByteView.with("key:\(number)") { key in
                // As before every command; a map that is to grow says no, and has the room all the same.
                _ = keyspace.ensureRoom(bytes: value.count)
                try ByteView.with(value) { try keyspace.setString(key, in: 0, to: $0) }
            }
        }
        let checkpoint = try #require(try keyspace.commit(at: LogPosition(offset: offset)))
        try checkpoint.makeDurable()
        keyspace.finish(checkpoint)
    }

    @Test("Data that fit into memory are all brought there when they are opened")
    func opened() throws {
        var used = 0
        do {
            let keyspace = try Keyspace(directory: path)
            try fill(keyspace, keys: 0..<20_000, offset: 1)
            used = keyspace.storageStatistics.usedBytes
        }
        try #require(FileMemory.evict(file))
        try #require(residentBytes(0..<used) < used / 2)
        let keyspace = try Keyspace(directory: path)
        #expect(waitUntil { residentBytes(0..<used) > used / 10 * 9 })
        #expect(keyspace.check() == [])
    }

    @Test("Of data larger than half of the memory nothing is read before it is used")
    func tooLarge() throws {
        var options = KeyspaceOptions()
        options.memoryBytes = 16 << 20
        var used = 0
        do {
            let keyspace = try Keyspace(directory: path, options: options)
            try fill(keyspace, keys: 0..<20_000, offset: 1)
            used = keyspace.storageStatistics.usedBytes
        }
        try #require(FileMemory.evict(file))
        let keyspace = try Keyspace(directory: path, options: options)
        // On this thread: the keyspace's transaction belongs to it.
        Thread.sleep(forTimeInterval: 0.3)
        #expect(residentBytes(0..<used) < used / 2)
        #expect(keyspace.check() == [])
    }

    @Test("The pages behind the end of the data have blocks and are in memory before they are needed")
    func ahead() throws {
        let keyspace = try Keyspace(directory: path)
        for round in 0..<5 {
            try fill(keyspace, keys: round * 4000..<(round + 1) * 4000, offset: UInt64(round + 1))
            let storage = keyspace.storageStatistics
            #expect(storage.allocatedBytes > storage.usedBytes)
            let behind = storage.usedBytes..<storage.allocatedBytes
            #expect(waitUntil(timeoutSeconds: 60) { residentBytes(behind) == behind.count })
        }
    }

    @Test("A checkpoint of a few rows here and there makes the kernel write little more than their pages")
    func written() throws {
        do {
            let keyspace = try Keyspace(directory: path)
            try fill(keyspace, keys: 0..<40_000, offset: 1)
        }
        let keyspace = try Keyspace(directory: path)
        let used = keyspace.storageStatistics.usedBytes
        #expect(waitUntil { residentBytes(0..<used) > used / 10 * 9 })
        let before = try writtenBytes()
        for number in 0..<40 { try fill(keyspace, keys: number * 1000..<number * 1000 + 1, offset: UInt64(number)) }
        // 40 checkpoints of a row's path, of what is kept of its slot, and of the list of free pages.
        #expect(try writtenBytes() - before < used / 2)
    }

    /// What this thread has made the kernel write, in bytes.
    private func writtenBytes() throws -> Int {
        let file = try #require(FileHandle(forReadingAtPath: "/proc/thread-self/io"))
        let text = String(decoding: try #require(try file.readToEnd()), as: UTF8.self)
        let line = try #require(text.split(separator: "\n").first { $0.hasPrefix("write_bytes:") })
        return try #require(Int(line.split(separator: " ")[1]))
    }

    @Test("The kernel reads only the page that is asked for, also after the map has grown")
    func random() throws {
        var options = KeyspaceOptions()
        options.mapSizeBytes = 32 << 20
        let keyspace = try Keyspace(directory: path, options: options)
        #expect(try isRandom())
        let before = keyspace.storageStatistics.mapBytes
        for round in 0..<8 { try fill(keyspace, keys: round * 4000..<(round + 1) * 4000, offset: UInt64(round + 1)) }
        #expect(keyspace.storageStatistics.mapBytes > before)
        #expect(try isRandom())
        #expect(keyspace.check() == [])
    }
}
