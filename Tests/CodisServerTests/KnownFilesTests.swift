// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import Bytes
import CodisTesting
import Foundation
import Testing

@testable import CodisServer

@Suite("Files that the keyspace knows")
struct KnownFilesTests {
    private let directory: TemporaryDirectory
    private var path: String { directory.path + "/dump.rdb" }

    init() throws { directory = try TemporaryDirectory() }

    private func write(_ text: String, seconds: Double) throws {
        try Data(text.utf8).write(to: URL(fileURLWithPath: path))
        let date = Date(timeIntervalSince1970: seconds)
        try FileManager.default.setAttributes([.modificationDate: date], ofItemAtPath: path)
    }

    @Test("a file is known by size and time, or by size and contents")
    func identity() throws {
        try write("contents", seconds: 1000)
        var identity = try #require(FileIdentity(path: path))
        identity.checksum = FileChecksum.of(path: path)
        var known = KnownFiles()
        known.set(.rdb, identity)
        try known.write(directory: directory.path)
        known = KnownFiles(directory: directory.path)
        #expect(known.contains(.rdb, path: path))
        #expect(!known.contains(.aof, path: path))
        // Touched, or copied to another machine.
        try write("contents", seconds: 2000)
        #expect(known.contains(.rdb, path: path))
        try write("CONTENTS", seconds: 2000)
        #expect(!known.contains(.rdb, path: path))
        try write("contents and more", seconds: 1000)
        #expect(!known.contains(.rdb, path: path))
    }

    @Test("the next file takes the place of the one before, but for the moment in which either may be there")
    func replacement() throws {
        try write("one", seconds: 1000)
        let one = try #require(FileIdentity(path: path))
        var known = KnownFiles()
        known.add(.rdb, one)
        try write("two", seconds: 2000)
        let two = try #require(FileIdentity(path: path))
        known.add(.rdb, two)
        #expect(known.contains(.rdb, path: path))
        try write("one", seconds: 1000)
        #expect(known.contains(.rdb, path: path))
        known.set(.rdb, two)
        #expect(!known.contains(.rdb, path: path))
    }

    @Test("the checksum does not depend on how the bytes are cut")
    func checksum() {
        let bytes = (0..<1000).map { UInt8(truncatingIfNeeded: $0 * 7) }
        func checksum(_ step: Int) -> UInt64 {
            var checksum = FileChecksum()
            for start in stride(from: 0, to: bytes.count, by: step) {
                ByteView.with(Array(bytes[start..<min(bytes.count, start + step)])) { checksum.add($0) }
            }
            return checksum.finish()
        }
        for step in [1, 3, 8, 13, 999] { #expect(checksum(step) == checksum(1000)) }
        var other = FileChecksum()
        ByteView.with(Array(bytes.dropLast())) { other.add($0) }
        #expect(other.finish() != checksum(1000))
    }
}
