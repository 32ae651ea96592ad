// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import Bytes
import Glibc
import Synchronization
import Testing

@testable import CommandLog

@Suite("The log of effects")
struct CommandLogTests {
    @Test("what is written is replayed when the log is opened again")
    func roundTrip() throws {
        let directory = LogDirectory()
        let frames = (0..<200).map { payload($0, count: 1 + $0 * 7 % 300) }
        do {
            let (log, replay) = try directory.open(from: 1000)
            #expect(replay == Replay())
            #expect(log.recovery == LogRecoveryReport(isNew: true, endOffset: 1000))
            for frame in frames { try log.write(frame) }
            #expect(log.endOffset == 1000 + UInt64(frames.joined().count))
            try log.shutdown()
        }
        let (log, replay) = try directory.open(from: 1000)
        #expect(replay == Replay(start: 1000, bytes: Array(frames.joined()), frames: frames))
        #expect(log.recovery.replayedFrames == 200)
        #expect(log.recovery.droppedBytes == 0)
        #expect(!log.recovery.isNew)
        #expect(log.syncedOffset == log.endOffset)
        #expect(log.segmentCount > 1)
    }

    @Test("a log that nobody closed is replayed as well, and goes on")
    func reopenWithoutShutdown() throws {
        let directory = LogDirectory()
        var expected: [[UInt8]] = []
        for round in 0..<10 {
            let (log, replay) = try directory.open()
            #expect(replay.frames == expected)
            #expect(log.recovery.droppedBytes == 0)
            for index in 0..<13 {
                expected.append(payload(round * 100 + index, count: 200))
                try log.write(expected.last!)
            }
        }
    }

    @Test("frames of all lengths lie one behind the other, stored or written, and are in the file at once")
    func storedFrames() throws {
        let directory = LogDirectory()
        var expected: [[UInt8]] = []
        // So that they end before, at and behind the ends of pages, and half of them are too long to be stored.
        let lengths = [1, 40, 970, 1000, 1001, 1500, 3000, 60, 4096, 9000]
        for round in 0..<6 {
            let (log, replay) = try directory.open(segmentBytes: 1 << 16)
            #expect(replay.frames == expected)
            #expect(log.recovery.droppedBytes == 0)
            for index in 0..<100 {
                expected.append(
                    payload(round * 100 + index, count: lengths[index * (round + 3) % 10] + round * index % 7)
                )
                try log.write(expected.last!)
                if index % 30 == 0 { try log.syncNow() }
            }
        }
        let bytes = directory.segments.flatMap { directory.read($0) }
        let last = try #require(expected.last)
        #expect(bytes.count > expected.joined().count)
        #expect(directory.read(directory.segments.last!).firstRange(of: last) != nil)
        let (_, replay) = try directory.open(segmentBytes: 1 << 16)
        #expect(replay.frames == expected)
    }

    @Test("a frame is stored only in a page that a short write has begun, and is in the file at once")
    func storedWhere() throws {
        let directory = LogDirectory()
        let page = Int(getpagesize())
        let file = try FileDescriptor(directory.path + "/segment", O_RDWR | O_CREAT)
        try file.allocate(size: 6 * page)
        let tail = try #require(SegmentTail(file, capacity: 6 * page))
        func isStored(_ count: Int, at position: Int) -> Bool {
            let bytes = payload(position, count: count)
            guard ByteView.with(bytes, { tail.store($0, at: position) }) else { return false }
            return Array(directory.read("segment")[position..<position + count]) == bytes
        }
        #expect(!isStored(10, at: 64))
        tail.noteWrite(at: 64, count: 100)
        #expect(!isStored(10, at: 164))
        tail.noteWrite(at: page - 50, count: 100)
        #expect(isStored(10, at: page + 50))
        #expect(isStored(1024, at: page + 60))
        #expect(!isStored(1025, at: page + 60))
        #expect(isStored(20, at: 2 * page - 20))
        #expect(!isStored(21, at: 2 * page - 20))
        #expect(!isStored(20, at: 2 * page))
        // Within the page another short write changes nothing; a long one ends it, and the next page has to be begun.
        tail.noteWrite(at: 2 * page - 100, count: 90)
        #expect(isStored(10, at: 2 * page - 10))
        tail.noteWrite(at: 2 * page, count: page + 1)
        #expect(!isStored(10, at: 3 * page + 1))
        tail.noteWrite(at: 3 * page + 1, count: 200)
        #expect(!isStored(10, at: 3 * page + 201))
        tail.noteWrite(at: 4 * page, count: page)
        #expect(isStored(10, at: 4 * page + 5))
        tail.noteWrite(at: 6 * page - 20, count: 20)
        #expect(!isStored(10, at: 6 * page - 5))
    }

    @Test("replay begins at any offset, also inside a frame", arguments: [4096, 1 << 16])
    func replayFromOffset(segmentBytes: Int) throws {
        let directory = LogDirectory()
        let frames = (0..<40).map { payload($0, count: 150 + $0) }
        let all = Array(frames.joined())
        do {
            let (log, _) = try directory.open(from: 7, segmentBytes: segmentBytes)
            for frame in frames { try log.write(frame) }
            try log.shutdown()
        }
        for start in Array(stride(from: 0, to: all.count, by: 41)) + [all.count] {
            let (log, replay) = try directory.open(from: 7 + UInt64(start), segmentBytes: segmentBytes)
            #expect(replay.bytes == Array(all[start...]))
            #expect(replay.start == (start == all.count ? nil : 7 + UInt64(start)))
            try log.shutdown()
        }
    }

    @Test("a frame is gathered from pieces, and a part of it can be taken back")
    func pendingAndDiscard() throws {
        let directory = LogDirectory()
        let big = payload(1, count: 3 << 20)
        let (log, _) = try directory.open()
        try log.append("one ")
        let mark = log.pendingBytes
        try ByteView.with(big) { try log.append($0) }
        try log.append("tail")
        #expect(log.pendingBytes == 4 + big.count + 4)
        #expect(log.endOffsetIncludingPending == UInt64(log.pendingBytes))
        #expect(log.endOffset == 0)
        log.discardPending(to: mark)
        #expect(log.pendingBytes == 4)
        try log.append("two ")
        try ByteView.with(big) { try log.append($0) }
        try log.appendCommand(argumentCount: 12)
        try log.appendArgument(ByteView("PING"))
        try log.appendArgument(ByteView())
        try log.writeFrame()
        try log.writeFrame()
        try log.append("more")
        log.discardPending()
        try log.writeFrame()
        try log.shutdown()
        let (_, replay) = try directory.open()
        #expect(replay.frames == [Array("one two ".utf8) + big + Array("*12\r\n$4\r\nPING\r\n$0\r\n\r\n".utf8)])
    }

    @Test("many small pieces and discards give the bytes that remain")
    func manyPieces() throws {
        let directory = LogDirectory()
        let (log, _) = try directory.open(segmentBytes: 1 << 20)
        var model: [UInt8] = []
        var random = SystemRandomNumberGenerator()
        for index in 0..<3000 {
            let piece = payload(index, count: Int.random(in: 0..<1000, using: &random))
            try ByteView.with(piece) { try log.append($0) }
            model += piece
            if index % 50 == 49 {
                let mark = Int.random(in: 0...model.count, using: &random)
                log.discardPending(to: mark)
                model.removeLast(model.count - mark)
            }
            #expect(log.pendingBytes == model.count)
        }
        try log.writeFrame()
        try log.shutdown()
        #expect(try directory.open().replay.bytes == model)
    }

    @Test("a frame larger than a segment gets a segment of its size")
    func largeFrame() throws {
        let directory = LogDirectory()
        let frames = [payload(1, count: 100), payload(2, count: 5 << 20), payload(3, count: 100)]
        let (log, _) = try directory.open()
        for frame in frames { try log.write(frame) }
        #expect(log.segmentCount == 3)
        try log.shutdown()
        #expect(try directory.open().replay.frames == frames)
        #expect(directory.size(directory.segments[1]) == 64 + 24 + (5 << 20))
    }

    @Test("a segment that is empty makes way for one that is large enough")
    func largeFirstFrame() throws {
        let directory = LogDirectory()
        let frames = [payload(1, count: 1 << 20), payload(2, count: 2 << 20), payload(3, count: 10)]
        var (log, _) = try directory.open()
        let reader = try LogReader(directory: directory.path, from: 0)
        #expect(log.ensureRoom(bytes: 1 << 20))
        try log.write(frames[0])
        #expect(log.segmentCount == 1)
        #expect(directory.segments.count == 1)
        #expect(try reader.read(upTo: log.endOffset, maximumBytes: 1 << 21) == frames[0])
        try log.write(frames[1])
        try log.write(frames[2])
        #expect(log.segmentCount == 3)
        try log.shutdown()
        let replay: Replay
        (log, replay) = try directory.open()
        #expect(replay.frames == frames)
        try log.shutdown()
    }

    @Test("a segment can be begun early, so that a checkpoint's offset begins one")
    func beginSegment() throws {
        let directory = LogDirectory()
        let (log, _) = try directory.open()
        try log.beginSegment()
        #expect(log.segmentCount == 1)
        try log.write(payload(1, count: 100))
        try log.append("after")
        try log.beginSegment()
        try log.beginSegment()
        #expect(log.segmentCount == 2)
        try log.writeFrame()
        log.trim(before: 100)
        try waitUntil { log.firstOffset == 100 }
        try log.shutdown()
        let (_, replay) = try directory.open(from: 100)
        #expect(replay.bytes == Array("after".utf8))
    }

    @Test("only what a sync has covered counts as synced")
    func syncedOffset() async throws {
        let directory = LogDirectory()
        let (log, _) = try directory.open(segmentBytes: 1 << 20)
        try log.write(payload(1, count: 100))
        #expect(log.syncedOffset == 0)
        try log.syncNow()
        #expect(log.syncedOffset == 100)
        try log.write(payload(2, count: 100))
        #expect(log.syncedOffset == 100)
        let report = await withCheckedContinuation { continuation in
            log.startBackgroundSync { continuation.resume(returning: $0) }
        }
        #expect(try report.get().syncedOffset == 200)
        #expect(try report.get().duration >= .zero)
        #expect(log.syncedOffset == 200)
        #expect(!log.isSyncing)
        try log.append("pending")
        try log.syncNow()
        #expect(log.syncedOffset == 200)
    }

    @Test("there is one background sync at a time")
    func oneBackgroundSync() throws {
        let directory = LogDirectory()
        let (log, _) = try directory.open()
        let gate = Mutex<Int>(0)
        try gate.withLock { _ in
            try log.write([1])
            #expect(log.startBackgroundSync { _ in gate.withLock { $0 += 1 } })
            try waitUntil { !(log.isSyncing) }
            // The first one waits for the gate in its completion, so the second one stays under way.
            #expect(log.startBackgroundSync { _ in gate.withLock { $0 += 1 } })
            #expect(log.isSyncing)
            #expect(!log.startBackgroundSync { _ in gate.withLock { $0 += 100 } })
        }
        try log.shutdown()
        #expect(gate.withLock { $0 } == 2)
    }

    @Test("segments wholly before an offset are removed, never the last")
    func trim() throws {
        let directory = LogDirectory()
        let (log, _) = try directory.open()
        for index in 0..<100 { try log.write(payload(index, count: 500)) }
        let count = log.segmentCount
        #expect(count > 10)
        let size = log.sizeOnDiskBytes
        log.trim(before: 20_000)
        try waitUntil { !(log.segmentCount == count || log.firstOffset + 4096 < 20_000) }
        #expect(log.firstOffset <= 20_000)
        #expect(log.sizeOnDiskBytes < size)
        log.trim(before: log.endOffset + 1000)
        try waitUntil { !(log.segmentCount > 1) }
        let first = log.firstOffset
        #expect(first < log.endOffset)
        try log.shutdown()
        #expect(directory.segments.count == 1)
        #expect(try directory.open(from: first).replay.bytes.count == Int(log.endOffset - first))
        #expect(throws: CommandLogError.offsetBeforeStart(offset: first - 1, start: first)) {
            try directory.open(from: first - 1)
        }
    }

    @Test("full segments are synced in the background and cut to what they hold")
    func fullSegmentsSettle() throws {
        let directory = LogDirectory()
        let (log, _) = try directory.open()
        for index in 0..<20 { try log.write(payload(index, count: 1500)) }
        try waitUntil { !(log.syncedOffset < 19 * 1500 - 1500) }
        try log.shutdown()
        #expect(log.syncedOffset == log.endOffset)
        for name in directory.segments.dropLast() { #expect(directory.size(name) == 64 + 2 * 1524) }
        #expect(!directory.names.contains("next.tmp"))
    }

    @Test("a closed log refuses everything")
    func closed() throws {
        let directory = LogDirectory()
        let (log, _) = try directory.open()
        try log.shutdown()
        try log.shutdown()
        #expect(throws: CommandLogError.closed) { try log.append("x") }
        #expect(throws: CommandLogError.closed) { try log.syncNow() }
        #expect(!log.startBackgroundSync { _ in })
    }

    @Test("what the caller throws ends the opening and changes nothing")
    func applyThrows() throws {
        struct Refusal: Error {}
        let directory = LogDirectory()
        let (log, _) = try directory.open()
        try log.write([1, 2, 3])
        try log.shutdown()
        let before = directory.image
        #expect(throws: Refusal.self) {
            try CommandLog.open(directory: directory.path, replayFrom: 0) { _, _ in throw Refusal() }
        }
        #expect(directory.image == before)
    }

    @Test("the directory is made if need be, and a log of a given identity must exist")
    func identity() throws {
        let directory = LogDirectory()
        let below = LogDirectory(existing: directory.path + "/a/b")
        let (log, _) = try below.open()
        let identity = log.identity
        #expect(LogIdentity(identity.bytes) == identity)
        #expect(identity.description.count == 32)
        try log.shutdown()
        #expect(try below.open(identity: identity).log.identity == identity)
        #expect(throws: CommandLogError.wrongIdentity(path: below.path + "/" + below.segments[0])) {
            try below.open(identity: LogIdentity())
        }
        for name in below.names { below.remove(name) }
        #expect(throws: CommandLogError.missingSegment(offset: 0)) { try below.open(identity: identity) }
        _ = unsafe rmdir(directory.path + "/a/b")
        _ = unsafe rmdir(directory.path + "/a")
    }

    @Test("a failed write is for good")
    func failedWrite() throws {
        let directory = LogDirectory()
        let (log, _) = try directory.open()
        try log.write([1])
        let error = CommandLogError.system(operation: "write", path: "somewhere", code: EIO)
        log.state.fail(error)
        log.state.fail(.diskFull(path: "later"))
        #expect(log.failure == error)
        #expect(throws: error) { try log.append("x") }
        #expect(throws: error) { try log.syncNow() }
        #expect(throws: error) { try log.shutdown() }
    }

    @Test("both ways of computing CRC-32C agree with the definition")
    func checksum() {
        let bytes = payload(1, count: 300)
        unsafe bytes.withUnsafeBytes { all in
            var check = CRC32C()
            unsafe Array("123456789".utf8).withUnsafeBytes { unsafe check.add($0) }
            #expect(check.value == 0xE306_9283)
            for start in 0..<9 {
                for end in start...300 {
                    let part = unsafe UnsafeRawBufferPointer(rebasing: all[start..<end])
                    var sum = CRC32C()
                    unsafe sum.add(part)
                    let slow = unsafe ~CRC32C.addWithTable(part, to: .max)
                    #expect(sum.value == slow)
                }
            }
        }
    }
}
