// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import Bytes
import CodisTesting
import Foundation
import Keyspace
import Testing

@Suite("Blocks of the data file", .enabled(if: LoopVolume.isPossible, "mounting a small file system needs root"))
struct RoomReserveTests {
    private let directory: TemporaryDirectory
    private let volume: LoopVolume
    private var path: String { volume.path + "/keyspace" }

    /// A keyspace of one key that was brought to a small disk by a copy, without the blocks behind its end.
    init() throws {
        directory = try TemporaryDirectory()
        volume = try LoopVolume(megabytes: 64)
        let original = directory.path + "/keyspace"
        do {
            let keyspace = try Keyspace(directory: original)
            try keyspace.setString(ByteView("key"), in: 0, to: ByteView("value"))
            let checkpoint = try #require(try keyspace.commit(at: LogPosition(offset: 1)))
            try checkpoint.makeDurable()
            keyspace.finish(checkpoint)
        }
        let result = try runProgram("cp", ["-r", "--sparse=always", original, path])
        try #require(result.isSuccess, "\(result.errors)")
    }

    private var freeBytes: Int {
        get throws {
            let attributes = try FileManager.default.attributesOfFileSystem(forPath: volume.path)
            return try #require(attributes[.systemFreeSize] as? NSNumber).intValue
        }
    }

    @Test("A disk with room for deletes only is enough to open a keyspace, read and delete")
    func deletesOnly() throws {
        try volume.fill(leavingKilobytes: 5 << 10)
        let keyspace = try Keyspace(directory: path)
        #expect(!keyspace.ensureRoom(bytes: 0))
        try #require(keyspace.ensureRoomForDelete())
        #expect(keyspace.find(ByteView("key"), in: 0) != nil)
        #expect(try keyspace.remove(ByteView("key"), in: 0))
        #expect(keyspace.check() == [])
    }

    @Test("Opening a keyspace leaves what it does not need to others")
    func leavesRest() throws {
        try volume.fill(leavingKilobytes: 20 << 10)
        let free = try freeBytes
        let keyspace = try Keyspace(directory: path)
        try #require(keyspace.ensureRoom(bytes: 0))
        #expect(try free - freeBytes < 12 << 20)
    }
}
