// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import Bytes
import Glibc

/// What opening a log found.
public struct LogRecoveryReport: Equatable, Sendable {
    /// Whether there was no log, so that a new one was begun.
    public var isNew = false
    /// How many frames were given to the caller.
    public var replayedFrames = 0
    /// How many payload bytes were given to the caller.
    public var replayedBytes: UInt64 = 0
    /// How many bytes of torn or unconnected frames were cut off at the end; none of them had been synced.
    public var droppedBytes = 0
    /// Where the log ended when it was opened.
    public var endOffset: UInt64 = 0
}

/// Walks an existing log: finds out how far it is good, and whether what is not may be cut off.
///
/// The rule for the place where the frames stop: if anything tells that more than that had been synced, something
/// that was safe is lost, which is damage and an error. If nothing does, it is where a crash cut the stream, and
/// everything behind is dropped. What tells is the offset that the caller vouches for, and the "known to be synced"
/// fields of all later headers and frames that are still good.
struct LogRecovery {
    let directory: String
    let segments: [MappedSegment]
    private(set) var identity: LogIdentity
    private(set) var report = LogRecoveryReport()

    /// Where the good part ends: index of the segment, position in its file, and whether what follows must go.
    private(set) var lastIndex = 0
    private(set) var lastPosition = 0
    private(set) var mustCut = false
    /// The first segment that replay has read; those before are synced for sure.
    private(set) var firstReadIndex = 0

    /// The segments of `directory` by name, in order.
    static func list(_ directory: String) throws(CommandLogError) -> [(offset: UInt64, path: String)] {
        var found: [(offset: UInt64, path: String)] = []
        for name in try FileDescriptor.names(in: directory) {
            if let offset = SegmentHeader.firstOffset(fileName: name) { found.append((offset, directory + "/" + name)) }
        }
        return found.sorted { $0.offset < $1.offset }
    }

    /// Maps the segments of `directory`, or returns nil when it has none.
    init?(directory: String, expectedIdentity: LogIdentity?) throws(CommandLogError) {
        let found = try Self.list(directory)
        guard let first = found.first else { return nil }
        self.directory = directory
        var segments: [MappedSegment] = []
        for (offset, path) in found { segments.append(try MappedSegment(path: path, nameOffset: offset)) }
        self.segments = segments
        switch segments[0].header {
        case .header(let header): identity = header.identity
        case .unknownVersion(let version): throw .unknownVersion(path: first.path, version: version)
        case .invalid: throw .notASegment(path: first.path)
        }
        if let expectedIdentity, identity != expectedIdentity { throw .wrongIdentity(path: first.path) }
        for segment in segments {
            switch segment.header {
            case .header(let header):
                guard header.identity == identity else { throw .wrongIdentity(path: segment.path) }
                guard header.firstOffset == segment.nameOffset else { throw .notASegment(path: segment.path) }
            case .unknownVersion(let version):
                throw .unknownVersion(path: segment.path, version: version)
            case .invalid:
                // Whether that is damage or a crash shows when the frames have been walked.
                break
            }
        }
    }

    /// A good frame in its place.
    struct Frame {
        let segment: MappedSegment
        let position: Int
        let header: FrameHeader
        let payload: ByteView
    }

    /// Gives all frames that reach behind `offset` to `visit`, and decides what follows the last good one.
    mutating func replay(from offset: UInt64, knownSynced: UInt64, _ visit: (Frame) throws -> Void) throws {
        guard offset >= segments[0].nameOffset else {
            throw CommandLogError.offsetBeforeStart(offset: offset, start: segments[0].nameOffset)
        }
        var index = segments.lastIndex { $0.nameOffset <= offset } ?? 0
        try checkChain(through: index)
        firstReadIndex = index
        var position = SegmentHeader.byteCount
        var next = segments[index].nameOffset
        while true {
            let segment = segments[index]
            // Frames before `offset` are not needed, so their payload is not read.
            let reading = segment.frame(at: position, offset: next, identity: identity, verifying: false)
            if case .frame(let header, _) = reading, next + UInt64(header.payloadBytes) <= offset {
                next += UInt64(header.payloadBytes)
                position += FrameHeader.byteCount + header.payloadBytes
                continue
            }
            let verified = segment.frame(at: position, offset: next, identity: identity)
            if case .frame(let header, let payload) = verified {
                try visit(Frame(segment: segment, position: position, header: header, payload: payload))
                report.replayedFrames += 1
                report.replayedBytes += next + UInt64(payload.count) - max(next, offset)
                next += UInt64(payload.count)
                position += FrameHeader.byteCount + payload.count
                continue
            }
            if index + 1 < segments.count, case .header(let header) = segments[index + 1].header,
                header.firstOffset == next
            {
                index += 1
                position = SegmentHeader.byteCount
                continue
            }
            report.endOffset = next
            lastIndex = index
            lastPosition = position
            try judge(verified, knownSynced: max(knownSynced, offset), wanted: offset)
            return
        }
    }

    /// Makes sure that no segment is missing, and none bad among those up to `last`, all of which were synced.
    ///
    /// A crash takes names away from the end only, because file systems keep the order of renames; so a gap means
    /// that somebody removed a file, whatever was synced.
    private func checkChain(through last: Int) throws(CommandLogError) {
        for (index, segment) in segments.enumerated().dropFirst() {
            if case .header(let header) = segment.header {
                guard header.previousFirstOffset == segments[index - 1].nameOffset else {
                    throw .missingSegment(offset: header.previousFirstOffset)
                }
            } else if index <= last {
                throw .damaged(path: segment.path, position: 0, offset: segment.nameOffset, reason: "bad header")
            }
        }
    }

    /// Decides about what follows the last good frame.
    private mutating func judge(
        _ stop: MappedSegment.FrameReading,
        knownSynced: UInt64,
        wanted: UInt64
    ) throws(CommandLogError) {
        let end = report.endOffset
        let segment = segments[lastIndex]
        let remains = segment.remains(from: lastPosition, offset: end, identity: identity)
        var synced = max(knownSynced, remains.syncedOffset)
        report.droppedBytes = remains.end.map { $0 - lastPosition } ?? 0
        for later in segments[(lastIndex + 1)...] {
            if case .header(let header) = later.header { synced = max(synced, header.syncedOffset) }
            let base = min(later.bytes.count, SegmentHeader.byteCount)
            // One less, so that the frame with the segment's first offset counts too.
            let first = later.nameOffset - 1
            let remains = later.remains(from: max(0, base - 1), offset: first, identity: identity)
            synced = max(synced, remains.syncedOffset)
            report.droppedBytes += remains.end ?? base
        }
        mustCut = report.droppedBytes > 0 || lastIndex + 1 < segments.count
        guard synced > end else { return }
        if case .nothing = stop, !mustCut, wanted > end { throw .offsetBeyondEnd(offset: wanted, end: end) }
        throw .damaged(path: segment.path, position: lastPosition, offset: end, reason: stop.reason)
    }

    /// Makes the directory as if the log had always ended where its good part does, and everything in it synced.
    ///
    /// Returns the segment to go on in, and the segments that remain.
    func cut(segmentBytes: Int) throws(CommandLogError) -> (last: SegmentFile, summaries: [SegmentSummary]) {
        let directoryFile = try FileDescriptor(directory, O_RDONLY | O_DIRECTORY)
        for segment in segments[(lastIndex + 1)...].reversed() { try FileDescriptor.remove(segment.path) }
        var summaries: [SegmentSummary] = []
        for (index, segment) in segments[...lastIndex].enumerated() {
            summaries.append(
                SegmentSummary(firstOffset: segment.nameOffset, path: segment.path, fileBytes: segment.bytes.count)
            )
            // After kill -9 the bytes are whole but perhaps only in memory.
            if index >= firstReadIndex, index < lastIndex { try segment.file.syncData() }
        }
        let path = segments[lastIndex].path
        let file = try FileDescriptor(path, O_RDWR)
        var size = segments[lastIndex].bytes.count
        if mustCut {
            // Cut and allocated anew, so that what stood there can never be read again.
            try file.truncate(size: lastPosition)
            try file.syncAll()
            size = lastPosition
            do throws(CommandLogError) {
                try file.allocate(size: max(segmentBytes, lastPosition))
                size = max(segmentBytes, lastPosition)
            } catch {
                // A full disk leaves a full segment: the next frame asks for a new one.
                guard case .diskFull = error else { throw error }
            }
        }
        try file.syncAll()
        try directoryFile.syncAll()
        summaries[lastIndex].fileBytes = size
        guard case .header(let header) = segments[lastIndex].header else { throw .notASegment(path: path) }
        let last = SegmentFile(file: file, path: path, header: header, capacity: size)
        return (last, summaries)
    }
}
