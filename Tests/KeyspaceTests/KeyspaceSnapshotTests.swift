// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import Bytes
import CodisTesting
import Foundation
import Keyspace
import Synchronization
import Testing

@Suite("Snapshots of the keyspace")
struct KeyspaceSnapshotTests {
    private let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    private func open(_ options: KeyspaceOptions = KeyspaceOptions()) throws -> Keyspace {
        try Keyspace(directory: directory.path + "/keyspace", options: options)
    }

    private func set(_ keyspace: Keyspace, _ key: String, _ value: [UInt8], in database: Int = 0) throws {
        try ByteView.with(key) { key in
            try ByteView.with(value) { try keyspace.setString(key, in: database, to: $0) }
        }
    }

    /// All keys of a snapshot with the lengths and sums of their values.
    private func contents(of snapshot: KeyspaceSnapshot) throws -> [String] {
        try snapshot.read { reader in
            var lines: [String] = []
            let walk = reader.walk()
            while let entry = try walk.next() {
                var length = 0
                var sum = 0
                var position = ElementPosition()
                reader.rows.forEachElement(of: entry.record, from: &position) { element in
                    guard case .string(let value) = element else { return false }
                    reader.rows.forEachPiece(of: value) { piece in
                        length += piece.count
                        for byte in piece { sum += Int(byte) }
                    }
                    return true
                }
                let name = String(decoding: Array(entry.key).prefix(8), as: UTF8.self)
                lines.append("\(entry.database) \(name) \(entry.key.count) \(length) \(sum)")
                try reader.pause {}
            }
            return lines.sorted()
        }
    }

    @Test("A snapshot shows the keyspace as of its commit, whatever is changed and committed afterwards")
    func consistency() throws {
        let keyspace = try open()
        for number in 0..<500 { try set(keyspace, "key:\(number)", filledBytes(1, count: number), in: number % 3) }
        try set(keyspace, String(repeating: "k", count: 5000), filledBytes(2, count: 10))
        try set(keyspace, "large", filledBytes(1, count: 100_000))
        _ = try keyspace.commit(at: LogPosition(offset: 77, database: 2))
        let snapshot = try keyspace.takeSnapshot(owner: "test")
        #expect(snapshot.position == LogPosition(offset: 77, database: 2))
        #expect(snapshot.keyCount == 502)
        let before = try contents(of: snapshot)
        #expect(before.count == 502)
        try #require(before.contains("0 large 5 100000 100000"))
        try #require(before.contains { $0.hasSuffix(" 5000 10 20") })

        for round in 0..<20 {
            for number in 0..<500 {
                try set(keyspace, "key:\(number)", filledBytes(3, count: 2 * number + round), in: number % 3)
            }
            _ = try ByteView.with("large") { try keyspace.remove($0, in: 0) }
            try keyspace.removeAll(in: 1)
            while try keyspace.reclaim(maximumRows: 1000) {}
            let checkpoint = try keyspace.commit(at: LogPosition(offset: UInt64(100 + round)))
            if let checkpoint {
                try checkpoint.makeDurable()
                keyspace.finish(checkpoint)
            }
        }
        let isUnchanged = try contents(of: snapshot) == before
        #expect(isUnchanged)
        #expect(keyspace.snapshots.map(\.owner) == ["test"])
        snapshot.close()
        #expect(keyspace.snapshots.isEmpty)
        #expect(throws: SnapshotError.cut) { try contents(of: snapshot) }
        #expect(keyspace.check() == [])
    }

    @Test("A hole in a large string reads as zeros")
    func holes() throws {
        let keyspace = try open()
        _ = try ByteView.with("hole") { try keyspace.writeString($0, in: 0, at: 20_000, ByteView("ab")) }
        _ = try keyspace.commit(at: LogPosition(offset: 1))
        let snapshot = try keyspace.takeSnapshot(owner: "test")
        #expect(try contents(of: snapshot) == ["0 hole 4 20002 195"])
    }

    @Test("A snapshot stands in the way of no growth: it is cut, and its reader told so at its next pause")
    func cut() throws {
        var options = KeyspaceOptions()
        options.mapSizeBytes = 64 << 20
        let keyspace = try open(options)
        for number in 0..<1000 { try set(keyspace, "key:\(number)", filledBytes(1, count: 100)) }
        _ = try keyspace.commit(at: LogPosition(offset: 1))
        let snapshot = try keyspace.takeSnapshot(owner: "test")
        let isReading = Atomic<Bool>(false)
        let outcome = Mutex<SnapshotError?>(nil)
        let thread = Thread {
            do {
                // Reads for ever, unless it is stopped.
                try snapshot.read { reader in
                    while true {
                        let walk = reader.walk()
                        while let entry = try walk.next() {
                            var position = ElementPosition()
                            reader.rows.forEachElement(of: entry.record, from: &position) { element in
                                guard case .string(let value) = element else { return false }
                                return reader.rows.bytes(of: value).count == 100
                            }
                            isReading.store(true, ordering: .releasing)
                            try reader.pause {}
                        }
                    }
                }
            } catch {
                outcome.withLock { $0 = error as? SnapshotError }
            }
        }
        thread.start()
        #expect(waitUntil { isReading.load(ordering: .acquiring) })
        for round in 0..<150 {
            try set(keyspace, "large:\(round)", filledBytes(1, count: 300_000))
            _ = try keyspace.commit(at: LogPosition(offset: UInt64(2 + round)))
        }
        #expect(waitUntil { outcome.withLock { $0 } == .cut })
        #expect(keyspace.storageStatistics.mapBytes > 64 << 20)
        #expect(keyspace.snapshots.isEmpty)
        let another = try keyspace.takeSnapshot(owner: "again")
        #expect(try contents(of: another).count == 1150)
        another.close()
        #expect(keyspace.check() == [])
    }
}
