// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import Bytes
import CodisTesting
import Foundation
import Keyspace
import Testing

@Suite("Reading ahead in the data file")
struct ReadAheadTests {
    private let directory: TemporaryDirectory
    private var path: String { directory.path + "/keyspace" }

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

    private func fill(_ keyspace: Keyspace, keys: Range<Int>, offset: UInt64) throws {
        let value = [UInt8](repeating: 0x61, count: 1000)
        for number in keys {
            try ByteView.with("key:\(number)") { key in
                try ByteView.with(value) { try keyspace.setString(key, in: 0, to: $0) }
            }
        }
        // There is no checkpoint to finish when the map has grown.
        guard let checkpoint = try keyspace.commit(at: LogPosition(offset: offset)) else { return }
        try checkpoint.makeDurable()
        keyspace.finish(checkpoint)
    }

    @Test("The kernel reads ahead until the data outgrow half of the memory, and no more when they are opened again")
    func outgrown() throws {
        var options = KeyspaceOptions()
        options.memoryBytes = 32 << 20
        do {
            let keyspace = try Keyspace(directory: path, options: options)
            try fill(keyspace, keys: 0..<1000, offset: 1)
            #expect(keyspace.storageStatistics.readsAhead)
            #expect(try !isRandom())
            try fill(keyspace, keys: 1000..<20_000, offset: 2)
            #expect(!keyspace.storageStatistics.readsAhead)
            #expect(try isRandom())
            #expect(keyspace.check() == [])
        }
        let small = try Keyspace(directory: path, options: options)
        #expect(!small.storageStatistics.readsAhead)
        #expect(try isRandom())
    }

    @Test("A map that had to grow is still read at random")
    func grown() throws {
        var options = KeyspaceOptions()
        options.memoryBytes = 16 << 20
        options.mapSizeBytes = 32 << 20
        let keyspace = try Keyspace(directory: path, options: options)
        let before = keyspace.storageStatistics.mapBytes
        for round in 0..<8 { try fill(keyspace, keys: round * 4000..<(round + 1) * 4000, offset: UInt64(round + 1)) }
        #expect(keyspace.storageStatistics.mapBytes > before)
        #expect(try isRandom())
        #expect(keyspace.check() == [])
    }
}
