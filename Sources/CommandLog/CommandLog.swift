// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

public import Bytes
import Glibc
import Synchronization
import Worker

/// How a log is kept.
public struct CommandLogOptions: Sendable {
    /// The size of a segment file; a frame larger than this gets a segment of its own size.
    public var segmentBytes: Int

    /// The identity that the log must have, where the caller remembers it; then the log must exist.
    public var expectedIdentity: LogIdentity?

    /// The identity that a new log gets; nil draws one.
    public var newIdentity: LogIdentity?

    /// The defaults: segments of 64 MiB, any identity.
    public init(
        segmentBytes: Int = 64 << 20,
        expectedIdentity: LogIdentity? = nil,
        newIdentity: LogIdentity? = nil
    ) {
        precondition(segmentBytes >= 4096, "a segment has at least 4,096 bytes")
        self.segmentBytes = segmentBytes
        self.expectedIdentity = expectedIdentity
        self.newIdentity = newIdentity
    }
}

/// The log of effects: what makes commands durable, what replicas receive, and the backlog they resume from.
///
/// A stream of bytes, cut into frames (one for each tick of the event loop) and kept in segment files. Stream offsets
/// count payload bytes only, so a replica's offset is a place in the log. A frame is all or nothing: after a crash
/// the log ends with the last frame that reads back whole.
///
/// Use: `append` as often as needed, `writeFrame` at the end of the tick, then sync as the policy demands, then
/// answer the clients. One thread uses it; what takes long happens on a thread of the log's own.
///
/// Frames are written with `pwrite` into preallocated files, and small ones stored in the mapped page that the last of
/// them has begun (`SegmentTail`). To have everything stored, in pages that are dirtied ahead, was measured too: its
/// p99.9 was better by some 0.1 ms, but the disk then writes everything twice, syncs take several times as long, and
/// the worst case was worse (20 ms).
public final class CommandLog {
    /// The directory of the segments.
    public let directory: String

    /// The random identity of this log.
    public let identity: LogIdentity

    /// What `open` found.
    public let recovery: LogRecoveryReport

    /// The stream offset behind the last frame that was written.
    public private(set) var endOffset: UInt64

    let options: CommandLogOptions
    let state: LogState
    private let worker: WorkerThread
    private var pending = PendingFrame()
    private var isClosed = false

    /// Gets the payload of each frame as soon as it was written, in pieces that are lent for the call: what replicas
    /// receive.
    public var frameListener: ((ByteView) -> Void)?

    /// The segment being written, and where its next frame begins.
    private var current: SegmentFile
    private var position: Int

    /// Opens the log in `directory`, and gives all that stands in it from stream offset `offset` on to `apply`.
    ///
    /// A directory without segments (or none at all) becomes a new log that begins at `offset`. What a crash left
    /// unfinished at the end is cut off, and `recovery` tells how much. Afterwards everything in the log is synced.
    ///
    /// - Parameters:
    ///   - offset: where replay begins; everything before it must have been synced once (a checkpoint is saved only
    ///     after that).
    ///   - knownSynced: an offset up to which the caller knows the log to have been synced, if it knows more.
    ///   - apply: gets the payload of each frame (the first may be the rest of one) and the stream offset of its
    ///     first byte. The view is valid during the call. What it throws ends the opening and is thrown on.
    /// - Throws: `CommandLogError`, or what `apply` throws. Nothing was changed then.
    public static func open(
        directory: String,
        options: CommandLogOptions = CommandLogOptions(),
        replayFrom offset: UInt64,
        knownSynced: UInt64 = 0,
        apply: (ByteView, UInt64) throws -> Void
    ) throws -> CommandLog {
        try FileDescriptor.makeDirectory(directory)
        let directoryFile = try FileDescriptor(directory, O_RDONLY | O_DIRECTORY)
        let preparedPath = directory + "/" + SegmentFile.preparedName
        if var found = try LogRecovery(directory: directory, expectedIdentity: options.expectedIdentity) {
            try found.replay(from: offset, knownSynced: knownSynced) { frame in
                let skipped = offset > frame.header.offset ? Int(offset - frame.header.offset) : 0
                try apply(frame.payload.dropFirst(skipped), frame.header.offset + UInt64(skipped))
            }
            try FileDescriptor.remove(preparedPath)
            let (last, summaries) = try found.cut(segmentBytes: options.segmentBytes)
            return try CommandLog(
                directory: directoryFile,
                options: options,
                identity: found.identity,
                recovery: found.report,
                segments: summaries,
                current: last,
                position: found.lastPosition
            )
        }
        guard options.expectedIdentity == nil, knownSynced <= offset else {
            throw CommandLogError.missingSegment(offset: offset)
        }
        try FileDescriptor.remove(preparedPath)
        let identity = options.newIdentity ?? LogIdentity()
        let header = SegmentHeader(
            identity: identity,
            firstOffset: offset,
            syncedOffset: offset,
            previousFirstOffset: SegmentHeader.none
        )
        let first = try PreparedSegment(directory: directory, capacity: options.segmentBytes, syncing: false)
            .begin(directory: directory, header: header)
        try first.file.syncAll()
        try directoryFile.syncAll()
        if let slash = directory.lastIndex(of: "/"), slash != directory.startIndex {
            try FileDescriptor(String(directory[..<slash]), O_RDONLY | O_DIRECTORY).syncAll()
        }
        return try CommandLog(
            directory: directoryFile,
            options: options,
            identity: identity,
            recovery: LogRecoveryReport(isNew: true, endOffset: offset),
            segments: [SegmentSummary(firstOffset: offset, path: first.path, fileBytes: first.capacity)],
            current: first,
            position: SegmentHeader.byteCount
        )
    }

    private init(
        directory: FileDescriptor,
        options: CommandLogOptions,
        identity: LogIdentity,
        recovery: LogRecoveryReport,
        segments: [SegmentSummary],
        current: SegmentFile,
        position: Int
    ) throws(CommandLogError) {
        self.directory = directory.path
        self.options = options
        self.identity = identity
        self.recovery = recovery
        self.current = current
        self.position = position
        endOffset = recovery.endOffset
        state = LogState(
            directory: directory,
            segments: segments,
            current: current,
            syncedOffset: recovery.endOffset
        )
        do throws(WorkerThread.Failure) {
            worker = try WorkerThread()
        } catch {
            throw .system(operation: "pthread_create", path: "", code: error.code)
        }
        prepareSpare()
    }

    deinit {
        if !isClosed { worker.stop() }
    }

    // MARK: Appending

    /// How many bytes were appended since the last frame was written.
    public var pendingBytes: Int { pending.count }

    /// The stream offset behind the bytes appended so far, written or not.
    public var endOffsetIncludingPending: UInt64 { endOffset + UInt64(pending.count) }

    /// The stream offset up to which everything is on the disk for sure.
    public var syncedOffset: UInt64 { state.syncedOffset.load(ordering: .acquiring) }

    /// Why the log can no longer be written, once it cannot: a write or a sync failed, and neither is ever retried.
    public var failure: CommandLogError? {
        state.hasFailed.load(ordering: .acquiring) ? state.guarded.withLock { $0.failure } : nil
    }

    /// Adds bytes to the pending frame; O(count), one copy.
    ///
    /// Throws `frameTooLarge` (then nothing was added; write the frame first), or the failure of the log.
    public func append(_ bytes: ByteView) throws(CommandLogError) {
        try checkOpen(for: bytes.count)
        pending.append(bytes)
    }

    /// Adds the bytes of a literal to the pending frame; throws as `append` does.
    public func append(_ literal: StaticString) throws(CommandLogError) {
        try append(ByteView(literal))
    }

    /// Adds the line that begins a command of `count` arguments, its name included; throws as `append` does.
    public func appendCommand(argumentCount count: Int) throws(CommandLogError) {
        precondition(count > 0, "a command has a name")
        try checkOpen(for: 24)
        pending.appendLine(0x2A, count)
    }

    /// Adds one argument of a command; throws as `append` does, and then the command must be discarded.
    public func appendArgument(_ argument: ByteView) throws(CommandLogError) {
        try checkOpen(for: argument.count + 32)
        pending.appendLine(0x24, argument.count)
        pending.append(argument)
        pending.append(ByteView("\r\n"))
    }

    /// Takes back what was appended after `pendingBytes` was `mark`.
    public func discardPending(to mark: Int = 0) {
        pending.discard(to: mark)
    }

    /// Writes what is pending as one frame, with at most one system call; does nothing when nothing is pending.
    ///
    /// Once it returns, the end of this process loses nothing any more; the end of the machine may until a sync.
    ///
    /// - Throws: `diskFull` when a new segment was needed and there is no room: nothing was written, what is pending
    ///   stays, and the call may be repeated. Any other error is for good.
    public func writeFrame() throws(CommandLogError) {
        guard pending.count > 0 else { return }
        try checkOpen(for: 0)
        let frameBytes = FrameHeader.byteCount + pending.count
        if frameBytes > current.capacity - position { try rotate(frameBytes: frameBytes) }
        pending.seal(offset: endOffset, syncedOffset: syncedOffset, identity: identity)
        do throws(CommandLogError) {
            if !storeFrame() {
                var pieces = unsafe pending.pieces
                try unsafe current.write(&pieces, count: frameBytes, at: position)
            }
        } catch {
            state.fail(error)
            throw error
        }
        position += frameBytes
        endOffset += UInt64(pending.count)
        if let frameListener { pending.forEachPayloadPiece(frameListener) }
        pending.discard(to: 0)
    }

    /// Whether the sealed frame could be stored without a system call.
    @inline(__always)
    private func storeFrame() -> Bool {
        guard let frame = pending.onlyPiece else { return false }
        return current.store(frame, at: position)
    }

    private func checkOpen(for bytes: Int) throws(CommandLogError) {
        if isClosed { throw .closed }
        if state.hasFailed.load(ordering: .relaxed), let failure { throw failure }
        guard pending.count + bytes <= FrameHeader.maximumPayloadBytes else {
            throw .frameTooLarge(bytes: pending.count + bytes)
        }
    }

    // MARK: Segments

    /// The oldest stream offset that can still be read.
    public var firstOffset: UInt64 { state.guarded.withLock { $0.segments[0].firstOffset } }

    /// How many segments there are.
    public var segmentCount: Int { state.guarded.withLock { $0.segments.count } }

    /// The size of all segment files, including what is preallocated.
    public var sizeOnDiskBytes: Int {
        let segments = state.guarded.withLock { $0.segments.reduce(0) { $0 + $1.fileBytes } }
        return segments + state.spare.withLock { $0.segment?.capacity ?? 0 }
    }

    /// Whether `bytes` payload bytes more than are pending can be written for certain, in one frame or a few.
    ///
    /// True means that blocks for them are allocated. When they are not, and the disk has none to give, the answer
    /// is false; it is asked again at most every 100 ms, so that this may be called for every command. O(1) except
    /// near the end of a segment.
    public func ensureRoom(bytes: Int) -> Bool {
        // Frames of one tick are few; their headers are covered by a constant.
        let needed = pending.count + bytes + 16 * FrameHeader.byteCount
        if needed <= current.capacity - position { return true }
        return haveSpare(bytes: needed + SegmentHeader.byteCount)
    }

    /// Unlinks, on the log's own thread, the segments that lie wholly before `offset`.
    public func trim(before offset: UInt64) {
        guard !isClosed, firstOffset < offset else { return }
        worker.perform { [state] in state.trim(before: offset) }
    }

    /// As `trim(before:)`, but here and now: for a full disk, on which the next frame waits for the room.
    public func trimNow(before offset: UInt64) {
        guard !isClosed else { return }
        state.trim(before: offset)
        state.spare.withLock { $0.refused = nil }
    }

    /// Ends the current segment, unless it is empty, so that the next frame begins a new one.
    ///
    /// For checkpoints: opening the log at an offset walks the frames before it in its segment, and there are none
    /// when the segment begins with it; and `trim` then leaves nothing from before.
    ///
    /// Throws `diskFull` when there is no room for a new segment (then the current one goes on), or the failure of
    /// the log.
    public func beginSegment() throws(CommandLogError) {
        try checkOpen(for: 0)
        guard position > SegmentHeader.byteCount else { return }
        try rotate(frameBytes: FrameHeader.byteCount)
    }

    /// Makes sure that a spare segment of at least this many bytes is ready.
    private func haveSpare(bytes: Int) -> Bool {
        state.spare.withLock { spare in
            if let segment = spare.segment, segment.capacity >= bytes { return true }
            return Self.makeSpare(&spare, bytes: bytes, options.segmentBytes, directory) == nil
        }
    }

    /// Makes or extends the spare segment; returns what stands in the way.
    private static func makeSpare(
        _ spare: inout LogState.Spare,
        bytes: Int,
        _ segmentBytes: Int,
        _ directory: String,
        syncing: Bool = false
    ) -> CommandLogError? {
        let now = ContinuousClock.now
        if let refused = spare.refused, refused.bytes <= bytes, now - refused.at < .milliseconds(100) {
            return .diskFull(path: directory)
        }
        // A whole segment if there is room, else just what is needed: a nearly full disk should still do its best.
        let whole = max(segmentBytes, bytes)
        let least = min(whole, (bytes + 0xFFFF) & ~0xFFFF)
        var failure: CommandLogError?
        for capacity in least < whole ? [whole, least] : [whole] {
            do throws(CommandLogError) {
                if var segment = spare.segment {
                    try segment.extend(to: capacity)
                    spare.segment = segment
                } else {
                    spare.segment = try PreparedSegment(directory: directory, capacity: capacity, syncing: syncing)
                }
                spare.refused = nil
                return nil
            } catch {
                failure = error
                guard case .diskFull = error else { break }
            }
        }
        spare.refused = (now, bytes)
        return failure
    }

    /// Has the next segment made ahead of need.
    private func prepareSpare() {
        worker.perform { [state, directory, segmentBytes = options.segmentBytes] in
            state.spare.withLock { spare in
                guard spare.segment == nil else { return }
                // No room is found out, and told, when it is needed.
                _ = Self.makeSpare(&spare, bytes: segmentBytes, segmentBytes, directory, syncing: true)
            }
        }
    }

    /// Goes on in the next segment, which has room for a frame of this size.
    ///
    /// A segment that is still empty is replaced by one that is large enough, under the same name.
    private func rotate(frameBytes: Int) throws(CommandLogError) {
        let needed = SegmentHeader.byteCount + frameBytes
        let isEmpty = position == SegmentHeader.byteCount
        let header = SegmentHeader(
            identity: identity,
            firstOffset: endOffset,
            syncedOffset: syncedOffset,
            previousFirstOffset: isEmpty ? current.header.previousFirstOffset : current.firstOffset
        )
        let outcome = state.spare.withLock { spare -> Result<SegmentFile, CommandLogError> in
            if spare.segment.map({ $0.capacity < needed }) ?? true,
                let failure = Self.makeSpare(&spare, bytes: needed, options.segmentBytes, directory)
            {
                return .failure(failure)
            }
            guard let segment = spare.segment else { return .failure(.diskFull(path: directory)) }
            return Result { () throws(CommandLogError) in
                let next = try segment.begin(directory: directory, header: header)
                spare.segment = nil
                return next
            }
        }
        let next: SegmentFile
        switch outcome {
        case .success(let segment): next = segment
        case .failure(let error):
            if case .diskFull = error { throw error }
            state.fail(error)
            throw error
        }
        let done = LogState.Finished(segment: current, usedBytes: position, endOffset: endOffset)
        state.guarded.withLock { guarded in
            if isEmpty {
                guarded.segments.removeLast()
            } else {
                guarded.finished.append(done)
            }
            guarded.current = next
            guarded.renames += 1
            guarded.segments.append(
                SegmentSummary(firstOffset: next.firstOffset, path: next.path, fileBytes: next.capacity)
            )
        }
        current = next
        position = SegmentHeader.byteCount
        prepareSpare()
        guard !isEmpty else { return }
        worker.perform { [state] in
            // What goes wrong is told by `failure`.
            try? state.settle(done)
        }
    }

    // MARK: Syncing

    /// Whether a background sync is under way.
    public var isSyncing: Bool { state.isSyncing.load(ordering: .acquiring) }

    /// Syncs all that was written, on this thread.
    ///
    /// Throws the failure of the log; one that happens here is for good.
    public func syncNow() throws(CommandLogError) {
        if isClosed { throw .closed }
        guard syncedOffset < endOffset else {
            if let failure { throw failure }
            return
        }
        try state.sync(through: endOffset)
    }

    /// Syncs all that was written so far on the log's own thread, and then calls `completion` there.
    ///
    /// Returns false, and does nothing, while an earlier one is still under way.
    @discardableResult
    public func startBackgroundSync(
        completion: @escaping @Sendable (Result<LogSyncReport, CommandLogError>) -> Void
    ) -> Bool {
        guard !isClosed, !state.isSyncing.exchange(true, ordering: .acquiringAndReleasing) else { return false }
        worker.perform { [state, endOffset] in
            let start = ContinuousClock.now
            let outcome = Result { () throws(CommandLogError) in
                try state.sync(through: endOffset)
                return LogSyncReport(syncedOffset: endOffset, duration: ContinuousClock.now - start)
            }
            state.isSyncing.store(false, ordering: .releasing)
            completion(outcome)
        }
        return true
    }

    /// Syncs what was written and closes the log; what is pending is dropped.
    ///
    /// Calling it again does nothing.
    /// Waits for what the log's own thread has to do. Throws the failure of the log, closed all the same.
    public func shutdown() throws(CommandLogError) {
        guard !isClosed else { return }
        isClosed = true
        pending.discard(to: 0)
        worker.stop()
        if let spare = state.spare.withLock({ $0.segment }) {
            state.spare.withLock { $0.segment = nil }
            try FileDescriptor.remove(spare.file.path)
        }
        try state.sync(through: endOffset)
    }
}

/// What a background sync has done.
public struct LogSyncReport: Equatable, Sendable {
    /// The stream offset up to which everything is on the disk now.
    public let syncedOffset: UInt64
    /// How long it took.
    public let duration: Duration
}
