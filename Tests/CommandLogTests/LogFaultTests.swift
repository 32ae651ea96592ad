// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import Bytes
import Glibc
import Testing

@testable import CommandLog

/// What crashes, disks and people do to the files of a log.
@Suite("The log after faults")
struct LogFaultTests {
    /// A log of one segment with these frames, none of them known to be synced, as its files.
    private func unsyncedImage(_ frames: [[UInt8]]) throws -> (directory: LogDirectory, image: [String: [UInt8]]) {
        let directory = LogDirectory()
        let (log, _) = try directory.open()
        for frame in frames { try log.write(frame) }
        let image = directory.image.filter { $0.key.hasSuffix(".log") }
        try log.shutdown()
        return (directory, image)
    }

    @Test("a tail torn at any byte is cut, and the log goes on behind it", arguments: ["short", "zeros", "garbage"])
    func tornTail(kind: String) throws {
        let frames = (0..<4).map { payload($0, count: 20 + $0) }
        let (directory, image) = try unsyncedImage(frames)
        let name = directory.segments[0]
        let ends = frames.indices.map { last in 64 + frames[...last].reduce(0) { $0 + 24 + $1.count } }
        let whole = image[name]!
        for cut in ends[0]...ends[3] {
            var bytes = whole
            switch kind {
            case "short": bytes.removeLast(bytes.count - cut)
            case "zeros": bytes.replaceSubrange(cut..., with: Array(repeating: 0, count: bytes.count - cut))
            default: bytes.replaceSubrange(cut..., with: payload(cut, count: bytes.count - cut))
            }
            directory.restore([name: bytes])
            let kept = ends.lastIndex { $0 <= cut }!
            do {
                let (log, replay) = try directory.open()
                #expect(replay.frames == Array(frames[...kept]))
                let lastNonZero = bytes.lastIndex { $0 != 0 }! + 1
                #expect(log.recovery.droppedBytes == max(0, lastNonZero - ends[kept]))
                #expect(log.syncedOffset == log.endOffset)
                // Nothing of the old tail may be left behind the cut.
                #expect(directory.read(name)[ends[kept]...].allSatisfy { $0 == 0 })
                try log.write(payload(99, count: 21))
                try log.shutdown()
            }
            let (log, replay) = try directory.open()
            #expect(replay.frames == Array(frames[...kept]) + [payload(99, count: 21)])
            #expect(log.recovery.droppedBytes == 0)
            try log.shutdown()
        }
    }

    @Test("a bit flipped in unsynced frames cuts the log there")
    func flippedUnsynced() throws {
        let frames = (0..<3).map { payload($0, count: 30) }
        let (directory, image) = try unsyncedImage(frames)
        let name = directory.segments[0]
        for bit in stride(from: 64 * 8, to: (64 + 3 * 54) * 8, by: 5) {
            var bytes = image[name]!
            bytes[bit / 8] ^= 1 << (bit % 8)
            directory.restore([name: bytes])
            let (log, replay) = try directory.open()
            #expect(replay.frames == Array(frames[..<((bit / 8 - 64) / 54)]))
            #expect(log.recovery.droppedBytes > 0)
            try log.shutdown()
        }
    }

    @Test("a bit flipped in what a later frame or the caller knows to be synced is damage")
    func flippedSynced() throws {
        let directory = LogDirectory()
        let (log, _) = try directory.open()
        for index in 0..<3 { try log.write(payload(index, count: 30)) }
        try log.syncNow()
        try log.write(payload(3, count: 30))
        let name = directory.segments[0]
        let image = [name: directory.read(name)]
        try log.shutdown()
        for bit in stride(from: 64 * 8, to: (64 + 4 * 54) * 8, by: 3) {
            var bytes = image[name]!
            bytes[bit / 8] ^= 1 << (bit % 8)
            directory.restore([name: bytes])
            let frame = (bit / 8 - 64) / 54
            let error = #expect(throws: CommandLogError.self) { try directory.open(knownSynced: frame == 3 ? 91 : 0) }
            guard case .damaged(_, let position, let offset, _) = error else {
                Issue.record("\(String(describing: error)) for bit \(bit)")
                continue
            }
            #expect(position == 64 + frame * 54)
            #expect(offset == UInt64(frame * 30))
            // An error changes nothing.
            #expect(directory.read(name) == bytes)
        }
    }

    @Test("a bit flipped in a segment's header is noticed")
    func flippedHeader() throws {
        let directory = LogDirectory()
        let (log, _) = try directory.open()
        for index in 0..<8 { try log.write(payload(index, count: 1500)) }
        try log.shutdown()
        let image = directory.image
        #expect(directory.segments.count == 4)
        var unnoticed: [String] = []
        for name in directory.segments {
            for bit in stride(from: 0, to: 64 * 8, by: 3) {
                var changed = image
                changed[name]![bit / 8] ^= 1 << (bit % 8)
                directory.restore(changed)
                if (try? directory.open(knownSynced: 12_000)) != nil { unnoticed.append("\(name) bit \(bit)") }
            }
        }
        #expect(unnoticed == [])
        directory.restore(image)
        #expect(try directory.open(knownSynced: 12_000).replay.bytes.count == 12_000)
    }

    @Test("a missing segment, an unknown version and a foreign segment are told apart")
    func wrongSegments() throws {
        let directory = LogDirectory()
        let (log, _) = try directory.open()
        for index in 0..<8 { try log.write(payload(index, count: 1500)) }
        try log.shutdown()
        let image = directory.image
        let names = directory.segments

        directory.remove(names[1])
        #expect(throws: CommandLogError.missingSegment(offset: 3000)) { try directory.open(from: 0) }
        #expect(throws: CommandLogError.missingSegment(offset: 3000)) { try directory.open(from: 10_000) }
        directory.restore(image)

        directory.remove(names[0])
        #expect(throws: CommandLogError.offsetBeforeStart(offset: 0, start: 3000)) { try directory.open(from: 0) }
        #expect(try directory.open(from: 3000).replay.bytes.count == 9000)
        directory.restore(image)

        directory.remove(names[3])
        #expect(throws: CommandLogError.self) { try directory.open(from: 0, knownSynced: 12_000) }
        #expect(throws: CommandLogError.offsetBeyondEnd(offset: 12_000, end: 9000)) {
            try directory.open(from: 12_000)
        }
        directory.restore(image)
        #expect(throws: CommandLogError.offsetBeyondEnd(offset: 12_001, end: 12_000)) {
            try directory.open(from: 12_001)
        }

        var changed = image
        changed[names[2]]![8] = 2
        directory.restore(changed)
        #expect(throws: CommandLogError.unknownVersion(path: directory.path + "/" + names[2], version: 2)) {
            try directory.open()
        }

        let other = LogDirectory()
        let (foreign, _) = try other.open(from: 6000)
        try foreign.write(payload(1, count: 3000))
        try foreign.shutdown()
        changed = image
        changed[names[2]] = other.read(other.segments[0])
        directory.restore(changed)
        #expect(throws: CommandLogError.wrongIdentity(path: directory.path + "/" + names[2])) { try directory.open() }
    }

    @Test("frames of another log, and of this one's past, are not taken for frames")
    func foreignFrames() throws {
        let frames = (0..<3).map { payload($0, count: 30) }
        let (directory, image) = try unsyncedImage(frames)
        let (other, otherImage) = try unsyncedImage(frames)
        let name = directory.segments[0]
        var bytes = image[name]!
        bytes.replaceSubrange((64 + 54)..., with: otherImage[other.segments[0]]![(64 + 54)...])
        directory.restore([name: bytes])
        #expect(try directory.open().replay.frames == [frames[0]])

        bytes = image[name]!
        bytes.replaceSubrange((64 + 108)..<(64 + 162), with: bytes[64..<(64 + 54)])
        directory.restore([name: bytes])
        #expect(try directory.open().replay.frames == Array(frames[..<2]))
    }

    @Test("frames stored as values inside the stream are not taken for frames")
    func framesAsValues() throws {
        let directory = LogDirectory()
        let (log, _) = try directory.open(segmentBytes: 1 << 16)
        try log.write(payload(1, count: 100))
        let name = directory.segments[0]
        let copied = Array(directory.read(name)[64..<188])
        for _ in 0..<10 { try log.write(copied) }
        let end = 64 + 124 + 10 * 148
        try log.syncNow()
        let image = [name: Array(directory.read(name)[..<(end - 1)])]
        try log.shutdown()
        directory.restore(image)
        #expect(try directory.open().replay.frames.count == 10)
    }

    @Test("a power cut keeps all that was synced, whichever pages of the rest reached the disk", arguments: 0..<40)
    func powerCut(seed: Int) throws {
        var random = SplitMix(state: UInt64(seed))
        let directory = LogDirectory()
        var expected: [UInt8] = []
        let (log, _) = try directory.open(segmentBytes: 16 << 10)
        func writeSome() throws {
            for _ in 0..<Int.random(in: 1...60, using: &random) {
                let frame = payload(Int(random.next() >> 32), count: Int.random(in: 1...2000, using: &random))
                try log.write(frame)
                expected += frame
            }
        }
        try writeSome()
        try log.syncNow()
        let old = directory.image
        try writeSome()
        let new = directory.image.filter { $0.key.hasSuffix(".log") }
        let written = expected
        // Full segments are synced in the background; this covers all that was when the image was taken.
        let synced = log.syncedOffset
        try log.shutdown()

        for _ in 0..<8 {
            var image: [String: [UInt8]] = [:]
            // Names become durable in order; those of segments with synced bytes have.
            var losesNames = false
            for name in new.keys.sorted() {
                let bytes = new[name]!
                let first = SegmentHeader.firstOffset(fileName: name)!
                losesNames = losesNames || first >= max(synced, 1) && Int.random(in: 0..<4, using: &random) == 0
                if losesNames { continue }
                let fixed = syncedPosition(in: bytes, first: first, synced: synced)
                image[name] = mixed(old[name] ?? [], bytes, from: fixed, &random)
            }
            directory.restore(image)
            let knownSynced = Bool.random(using: &random) ? synced : 0
            var (reopened, replay) = try directory.open(knownSynced: knownSynced, segmentBytes: 16 << 10)
            let bytes = replay.bytes
            let isPrefix = bytes == Array(written.prefix(bytes.count))
            #expect(bytes.count >= synced, "seed \(seed)")
            #expect(isPrefix, "seed \(seed)")
            // It goes on from there, and the next opening agrees.
            try reopened.write(payload(seed, count: 777))
            try reopened.shutdown()
            (reopened, replay) = try directory.open(knownSynced: reopened.endOffset, segmentBytes: 16 << 10)
            let hasGrown = replay.bytes == bytes + payload(seed, count: 777)
            #expect(hasGrown, "seed \(seed)")
            try reopened.shutdown()
        }
    }

    /// Up to where the bytes of a segment were synced when the stream was up to `synced`.
    private func syncedPosition(in bytes: [UInt8], first: UInt64, synced: UInt64) -> Int {
        guard first < synced else { return 0 }
        var position = SegmentHeader.byteCount
        var offset = first
        while position + FrameHeader.byteCount <= bytes.count {
            let length = ByteView.with(bytes) { FrameHeader($0, at: position).payloadBytes }
            if length == 0 || offset + UInt64(length) > synced { break }
            offset += UInt64(length)
            position += FrameHeader.byteCount + length
        }
        return position
    }

    /// Each page of `new` as it is or as it was in `old`, but nothing before `fixed` as it was.
    private func mixed(_ old: [UInt8], _ new: [UInt8], from fixed: Int, _ random: inout SplitMix) -> [UInt8] {
        var bytes = new
        for page in stride(from: 0, to: new.count, by: 4096) where Bool.random(using: &random) {
            for index in max(page, fixed)..<max(page, fixed, min(page + 4096, new.count)) {
                bytes[index] = index < old.count ? old[index] : 0
            }
        }
        return bytes
    }

    @Test(
        "a full disk answers no, keeps what is there, and is fine again once there is room",
        .enabled(if: getuid() == 0)
    )
    func fullDisk() throws {
        let mountPoint = LogDirectory()
        guard unsafe mount("tmpfs", mountPoint.path, "tmpfs", 0, "size=1m") == 0 else { return }
        defer { unsafe umount2(mountPoint.path, 2) }
        let directory = LogDirectory(existing: mountPoint.path + "/log")
        var (log, _) = try directory.open(segmentBytes: 256 << 10)
        #expect(log.ensureRoom(bytes: 200_000))
        #expect(log.ensureRoom(bytes: 600_000))
        #expect(!log.ensureRoom(bytes: 2 << 20))
        var expected: [UInt8] = []
        var index = 0
        while log.ensureRoom(bytes: 10_000) {
            let frame = payload(index, count: 10_000)
            try log.write(frame)
            expected += frame
            index += 1
            #expect(index < 110)
        }
        #expect(index > 80)
        #expect(log.failure == nil)
        let big = payload(1000, count: 300_000)
        try ByteView.with(big) { try log.append($0) }
        let error = #expect(throws: CommandLogError.self) { try log.writeFrame() }
        guard case .diskFull = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(log.failure == nil)
        #expect(log.pendingBytes == big.count)
        #expect(!log.ensureRoom(bytes: 10_000))

        log.trim(before: log.endOffset)
        try waitUntil { log.ensureRoom(bytes: 10_000) }
        try log.writeFrame()
        expected += big
        try log.shutdown()
        let first = log.firstOffset
        (log, _) = try directory.open(from: first, segmentBytes: 256 << 10)
        #expect(log.recovery.replayedBytes == UInt64(expected.count) - first)
        try log.shutdown()
        for name in directory.names { directory.remove(name) }
    }
}

/// A random number generator that can be told where to begin.
struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}
