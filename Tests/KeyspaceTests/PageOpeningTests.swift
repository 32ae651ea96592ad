// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import Bytes
import CodisTesting
import Foundation
import Glibc
import Testing

@testable import Keyspace

@Suite("Pages that a sync has closed to writes are opened before the commit that writes to them")
struct PageOpeningTests {
    private let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    /// Gives many keys a value of a page each.
    private func change(_ keyspace: Keyspace, byte: UInt8) throws {
        let value = filledBytes(byte, count: 1900)
        for number in 0..<6000 {
            try ByteView.with("key:\(number)") { key in
                try #require(keyspace.ensureRoom(bytes: value.count))
                try ByteView.with(value) { try keyspace.setString(key, in: 0, to: $0) }
            }
        }
    }

    /// How many pages this thread has asked the kernel for so far.
    private func pageFaults() -> Int {
        var usage = rusage()
        // RUSAGE_THREAD.
        unsafe getrusage(1, &usage)
        return usage.ru_minflt
    }

    /// What a commit asks for if the sync of a checkpoint falls between it and the changes.
    private func faultsOfCommit(_ keyspace: Keyspace, opening isOpening: Bool) throws -> Int {
        try change(keyspace, byte: 0x61)
        let checkpoint = try #require(try keyspace.commit(at: LogPosition(offset: keyspace.position.offset + 1)))
        try change(keyspace, byte: 0x62)
        try #require(keyspace.storageStatistics.dirtyPages > 3000)
        try checkpoint.makeDurable()
        keyspace.finish(checkpoint)
        if isOpening {
            let isOpen = DispatchSemaphore(value: 0)
            keyspace.openTakenPages { isOpen.signal() }
            isOpen.wait()
        }
        let before = pageFaults()
        let last = try #require(try keyspace.commit(at: LogPosition(offset: keyspace.position.offset + 1)))
        let faults = pageFaults() - before
        try last.makeDurable()
        keyspace.finish(last)
        return faults
    }

    @Test("A commit behind a sync meets no closed page when they were opened, and nearly all when they were not")
    func faults() throws {
        let keyspace = try Keyspace(directory: directory.path + "/keyspace")
        _ = try faultsOfCommit(keyspace, opening: false)
        let closed = try faultsOfCommit(keyspace, opening: false)
        #expect(closed > 2000)
        #expect(try faultsOfCommit(keyspace, opening: true) < closed / 4)
        #expect(keyspace.check() == [])
    }

    @Test("Opening pages changes nothing, and is answered for by a keyspace that was closed")
    func harmless() throws {
        let keyspace = try Keyspace(directory: directory.path + "/keyspace")
        try change(keyspace, byte: 0x63)
        _ = try keyspace.commit(at: LogPosition(offset: 1))
        let isOpen = DispatchSemaphore(value: 0)
        keyspace.openTakenPages { isOpen.signal() }
        isOpen.wait()
        #expect(keyspace.check() == [])
        keyspace.close()
        keyspace.openTakenPages { isOpen.signal() }
        isOpen.wait()
    }

    @Test("Parts of the file with many changed pages are told, neighbours as one range, and parts with few are not")
    func crowdedRanges() {
        var changed = ChangedPages()
        changed.add(Array(512..<544) + Array(1024..<1100))
        changed.add(Array(2048..<2064))
        #expect(changed.crowdedRanges == [512..<1536])
        // What several commits have changed counts together.
        changed.add(Array(2500..<2516))
        #expect(changed.crowdedRanges == [512..<1536, 2048..<2560])
    }
}
