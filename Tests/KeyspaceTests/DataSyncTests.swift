// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisTesting
import Foundation
import Glibc
import Testing

@testable import Keyspace

@Suite("Syncing pages of the data file")
struct DataSyncTests {
    private static let page = 4096
    private static let pages = 1024

    /// A file that has blocks but was never written to, as what lies behind the end of the data.
    private func makeFile(_ path: String) throws -> Int32 {
        let descriptor = unsafe open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
        try #require(descriptor >= 0)
        try #require(posix_fallocate(descriptor, 0, off_t(DataSyncTests.pages * DataSyncTests.page)) == 0)
        // The file itself is on the disk before.
        try #require(fsync(descriptor) == 0)
        return descriptor
    }

    private func change(_ descriptor: Int32, page number: Int, to byte: UInt8) throws {
        let bytes = filledBytes(byte, count: DataSyncTests.page)
        let offset = off_t(number * DataSyncTests.page)
        try #require(unsafe pwrite(descriptor, bytes, bytes.count, offset) == bytes.count)
    }

    private func ranges(_ pages: [Range<Int>]) -> [Range<Int>] {
        pages.map { $0.lowerBound * DataSyncTests.page..<$0.upperBound * DataSyncTests.page }
    }

    @Test(
        "The disk of a machine that loses its power has every page that was synced",
        .enabled(if: LoopVolume.isPossible, "mounting a small file system needs root")
    )
    func lossOfPower() throws { try lossOfPower(.ext4) }

    @Test(
        "The same on XFS",
        .enabled(if: LoopVolume.isXFSPossible, "mounting one needs root, and a kernel that has XFS")
    )
    func lossOfPowerOnXFS() throws { try lossOfPower(.xfs) }

    private func lossOfPower(_ kind: LoopVolume.Kind) throws {
        let volume = try LoopVolume(megabytes: 320, kind: kind)
        let descriptor = try makeFile(volume.path + "/data")
        defer { close(descriptor) }
        let sync = DataSync(descriptor: descriptor)
        for round in 1...3 {
            let byte = UInt8(round)
            // What lies between is changed and not asked for.
            for number in 0..<DataSyncTests.pages { try change(descriptor, page: number, to: byte) }
            let pages = stride(from: 5, to: DataSyncTests.pages - 50, by: 50).map { $0..<$0 + 7 }
            var prepared: [Int] = []
            try sync.sync(ranges(pages)) { prepared.append($0) }
            #expect(prepared == Array(pages.indices))

            let after = try LoopVolume(lossOfPowerOf: volume)
            let found = try Data(contentsOf: URL(fileURLWithPath: after.path + "/data"))
            let lost = ranges(pages).filter { found[$0] != Data(filledBytes(byte, count: $0.count)) }
            #expect(lost == [])
        }
    }

    @Test("Where ranges cannot be relied on, all of the file is synced")
    func otherFileSystem() throws {
        // Shared memory is a file system of its own kind.
        let path = "/dev/shm/codis-data-sync-\(getpid())"
        let descriptor = try makeFile(path)
        defer {
            close(descriptor)
            unsafe unlink(path)
        }
        let sync = DataSync(descriptor: descriptor)
        #expect(!sync.syncsRanges)
        try change(descriptor, page: 3, to: 1)
        try sync.sync(ranges([0..<10]))
    }

    @Test("A file that cannot be synced is told of")
    func failure() throws {
        let path = try TemporaryDirectory()
        let descriptor = try makeFile(path.path + "/data")
        let sync = DataSync(descriptor: descriptor)
        close(descriptor)
        #expect(throws: KeyspaceError.failed("sync_file_range of the keyspace: Bad file descriptor")) {
            try sync.sync(ranges([0..<10]))
        }
    }

    @Test("Changed pages are told in their order, those that lie together as one range of at most 128")
    func changedPages() {
        var changed = ChangedPages()
        changed.add([700..<701, 40..<41, 41..<50, 300..<600])
        changed.add([12..<13, 40..<45])
        let own = [20..<21, 1000..<1001]
        #expect(
            changed.ranges(with: own, of: 2000)
                == [12..<21, 40..<50, 300..<428, 428..<556, 556..<600, 700..<701, 1000..<1001]
        )
        #expect(ChangedPages().ranges(with: [], of: 2000) == [])
        // From where it is not known what was changed, everything may have been.
        changed.addAny()
        changed.add([3..<4])
        #expect(changed.ranges(with: own, of: 300) == [0..<128, 128..<256, 256..<300])
    }
}
