// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import Bytes
import CodisTesting
import Foundation
import Glibc
import Testing

@testable import Keyspace

@Suite("Pages that the kernel has closed to writes are opened before the commit that writes to them")
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

    /// Writes all that was changed to the disk and closes it to writes, as the kernel does after half a minute.
    private func writeAll() throws {
        let descriptor = unsafe open(directory.path + "/keyspace/data.mdb", O_RDWR)
        defer { close(descriptor) }
        try #require(fdatasync(descriptor) == 0)
    }

    /// What a commit asks for if a checkpoint is made durable between it and the changes.
    private func faultsOfCommit(_ keyspace: Keyspace, closing isClosing: Bool, opening isOpening: Bool) throws -> Int {
        try change(keyspace, byte: 0x61)
        let checkpoint = try #require(try keyspace.commit(at: LogPosition(offset: keyspace.position.offset + 1)))
        try change(keyspace, byte: 0x62)
        try #require(keyspace.storageStatistics.dirtyPages > 3000)
        try checkpoint.makeDurable()
        keyspace.finish(checkpoint)
        if isClosing { try writeAll() }
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

    @Test("A commit meets no closed page when they were opened, and nearly all when they were not")
    func faults() throws {
        let keyspace = try Keyspace(directory: directory.path + "/keyspace")
        _ = try faultsOfCommit(keyspace, closing: true, opening: false)
        let closed = try faultsOfCommit(keyspace, closing: true, opening: false)
        #expect(closed > 2000)
        #expect(try faultsOfCommit(keyspace, closing: true, opening: true) < closed / 4)
        #expect(keyspace.check() == [])
    }

    @Test("A checkpoint closes no page that the next transaction has taken")
    func checkpoint() throws {
        let keyspace = try Keyspace(directory: directory.path + "/keyspace")
        _ = try faultsOfCommit(keyspace, closing: false, opening: false)
        #expect(try faultsOfCommit(keyspace, closing: false, opening: false) < 500)
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
}
