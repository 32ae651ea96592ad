// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import Bytes
import Glibc

/// Reads the stream from any offset on while the log is being written: for replicas that resume.
///
/// It has files of its own and shares nothing with the writer, so it may be used on any thread, but only on one at a
/// time. Segments that it has not reached yet must not be trimmed; the one it stands in may be.
public final class LogReader {
    /// The stream offset of the next byte that `read` returns.
    public private(set) var offset: UInt64

    private let directory: String
    private var identity: LogIdentity
    private var file: FileDescriptor
    private var position = SegmentHeader.byteCount
    private var hasReopened = false

    /// The frame that `offset` lies in: how many of its payload bytes are still to be read, and its checksum so far.
    private var frameRemaining = 0
    private var frameStart = 0
    private var frameChecksum: UInt32 = 0
    private var checksum = CRC32C()

    /// A part of the file, so that small frames do not take a system call each.
    private var buffer = [UInt8](repeating: 0, count: 256 << 10)
    private var buffered = 0..<0

    /// Stands at stream offset `offset` of the log in `directory`, which may also be inside a frame, or the end.
    ///
    /// Reads the segment up to there. Throws `offsetBeforeStart`, `offsetBeyondEnd`, `damaged`, or `system`.
    public init(directory: String, from offset: UInt64) throws(CommandLogError) {
        let segments = try LogRecovery.list(directory)
        guard let segment = segments.last(where: { $0.offset <= offset }) else {
            throw .offsetBeforeStart(offset: offset, start: segments.first?.offset ?? 0)
        }
        self.directory = directory
        self.offset = segment.offset
        file = try FileDescriptor(segment.path, O_RDONLY)
        identity = LogIdentity(low: 0, high: 0)
        identity = try readSegmentHeader().identity
        while self.offset < offset {
            guard try beginFrame() else { throw .offsetBeyondEnd(offset: offset, end: self.offset) }
            let wanted = offset - self.offset
            if wanted >= UInt64(frameRemaining) {
                position += frameRemaining
                self.offset += UInt64(frameRemaining)
                frameRemaining = 0
            } else {
                // The beginning of the frame is read, though not returned, so that its checksum can be verified.
                var skipped: [UInt8] = []
                while self.offset < offset {
                    skipped.removeAll(keepingCapacity: true)
                    try readPayload(into: &skipped, maximumBytes: min(buffer.count, Int(offset - self.offset)))
                }
            }
        }
    }

    /// The next bytes of the stream: at most `maximumBytes`, none at `end`.
    ///
    /// `end` is where the stream ends so far (`CommandLog.endOffset`, or less): what stands behind it may be half
    /// written. A frame's checksum is verified with its last byte.
    ///
    /// - Throws: `damaged`, `missingSegment`, or `system`.
    public func read(upTo end: UInt64, maximumBytes: Int) throws(CommandLogError) -> [UInt8] {
        // What was read ahead last time may have been written since.
        buffered = 0..<0
        var result: [UInt8] = []
        result.reserveCapacity(Int(min(UInt64(maximumBytes), end > offset ? end - offset : 0)))
        while result.count < maximumBytes, offset < end {
            if frameRemaining == 0, try !beginFrame() {
                try beginSegment()
                continue
            }
            let wanted = min(UInt64(maximumBytes - result.count), end - offset)
            try readPayload(into: &result, maximumBytes: Int(wanted))
        }
        return result
    }

    private func readSegmentHeader() throws(CommandLogError) -> SegmentHeader {
        try fill(SegmentHeader.byteCount, at: 0)
        let reading = ByteView.with(buffer) { SegmentHeader.read($0.prefix(buffered.count)) }
        switch reading {
        case .header(let header): return header
        case .unknownVersion(let version): throw .unknownVersion(path: file.path, version: version)
        case .invalid: throw .notASegment(path: file.path)
        }
    }

    /// Goes on in the segment that begins at `offset`.
    private func beginSegment() throws(CommandLogError) {
        let path = directory + "/" + SegmentHeader.fileName(firstOffset: offset)
        if path == file.path {
            // An empty segment may have been replaced by a larger one since it was opened.
            guard position == SegmentHeader.byteCount, !hasReopened else {
                throw damage("no frame where one was written")
            }
            hasReopened = true
        }
        do throws(CommandLogError) {
            file = try FileDescriptor(path, O_RDONLY)
        } catch {
            guard case .system(_, _, ENOENT) = error else { throw error }
            throw .missingSegment(offset: offset)
        }
        buffered = 0..<0
        guard try readSegmentHeader().identity == identity else { throw .wrongIdentity(path: path) }
        position = SegmentHeader.byteCount
    }

    /// Reads the header of the frame at `position`; false when no frame is there.
    private func beginFrame() throws(CommandLogError) -> Bool {
        try fill(FrameHeader.byteCount, at: position)
        guard buffered.upperBound - position >= FrameHeader.byteCount else { return false }
        let start = position - buffered.lowerBound
        let header = ByteView.with(buffer) { FrameHeader($0, at: start) }
        if header.payloadBytes == 0 { return false }
        guard header.offset == offset else { throw damage("a frame of another offset") }
        hasReopened = false
        frameStart = position
        frameRemaining = header.payloadBytes
        frameChecksum = header.checksum
        checksum = header.checksumOfHeader(identity: identity)
        position += FrameHeader.byteCount
        return true
    }

    /// Appends payload bytes of the current frame to `result`: at least one, at most `maximumBytes`.
    private func readPayload(into result: inout [UInt8], maximumBytes: Int) throws(CommandLogError) {
        try fill(1, at: position)
        let count = min(maximumBytes, frameRemaining, buffered.upperBound - position)
        guard count > 0 else { throw damage("a frame longer than its segment") }
        let start = position - buffered.lowerBound
        result += buffer[start..<start + count]
        ByteView.with(buffer) { unsafe checksum.add($0[start..<start + count].rawBuffer) }
        position += count
        offset += UInt64(count)
        frameRemaining -= count
        if frameRemaining == 0 && checksum.value != frameChecksum {
            position = frameStart
            throw damage("wrong checksum")
        }
    }

    /// Makes the buffer hold `count` bytes from `start` on, as far as the file has them.
    private func fill(_ count: Int, at start: Int) throws(CommandLogError) {
        if buffered.lowerBound <= start && start + count <= buffered.upperBound { return }
        var outcome: Result<Int, CommandLogError> = .success(0)
        unsafe buffer.withUnsafeMutableBytes { memory in
            outcome = Result { () throws(CommandLogError) in try unsafe file.read(into: memory, at: start) }
        }
        buffered = start..<start + (try outcome.get())
    }

    private func damage(_ reason: String) -> CommandLogError {
        .damaged(path: file.path, position: position, offset: offset, reason: reason)
    }
}
