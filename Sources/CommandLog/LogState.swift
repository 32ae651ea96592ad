// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import Synchronization

/// What the thread that appends and the log's own thread share.
///
/// All of it is behind the mutex or atomic; the file descriptors in it close themselves with their last user.
final class LogState: Sendable {
    /// A segment that is full, and not yet synced.
    struct Finished: Sendable {
        let segment: SegmentFile
        let usedBytes: Int
        let endOffset: UInt64
    }

    struct Guarded: Sendable {
        var failure: CommandLogError?
        var segments: [SegmentSummary]
        var current: SegmentFile
        var finished: [Finished] = []
        /// How many names the directory was given, and how many of them are known to be on the disk.
        var renames = 0
        var syncedRenames = 0
    }

    /// The segment kept ready; whoever makes it holds the lock while doing so, so that the other waits for it.
    struct Spare: Sendable {
        var segment: PreparedSegment?
        /// When making or extending one last failed for want of room, and for how many bytes.
        var refused: (at: ContinuousClock.Instant, bytes: Int)?
    }

    let directory: FileDescriptor
    let guarded: Mutex<Guarded>
    let spare: Mutex<Spare>
    private let syncing = Mutex<Void>(())
    let syncedOffset: Atomic<UInt64>
    let hasFailed = Atomic<Bool>(false)
    let isSyncing = Atomic<Bool>(false)

    init(directory: FileDescriptor, segments: [SegmentSummary], current: SegmentFile, syncedOffset: UInt64) {
        self.directory = directory
        guarded = Mutex(Guarded(segments: segments, current: current))
        spare = Mutex(Spare())
        self.syncedOffset = Atomic(syncedOffset)
    }

    /// Makes the log failed for good; the first failure is the one that is told.
    func fail(_ error: CommandLogError) {
        guarded.withLock { $0.failure = $0.failure ?? error }
        hasFailed.store(true, ordering: .releasing)
    }

    /// Syncs all that was written before the call, whose end `endOffset` is; for any thread.
    ///
    /// Full segments come before the current one, and names before what they name counts. A failure is for good:
    /// after a failed sync the system may drop the unwritten pages and report success the next time.
    func sync(through endOffset: UInt64) throws(CommandLogError) {
        try exclusively { () throws(CommandLogError) in
            let (finished, current, renames) = guarded.withLock { ($0.finished, $0.current, $0.renames) }
            for segment in finished { try segment.segment.file.syncData() }
            if renames > guarded.withLock({ $0.syncedRenames }) { try directory.syncAll() }
            try current.file.syncData()
            guarded.withLock { guarded in
                guarded.syncedRenames = max(guarded.syncedRenames, renames)
                guarded.finished.removeAll { done in finished.contains { $0.segment === done.segment } }
            }
            advance(to: endOffset)
        }
    }

    /// Cuts a full segment to what is used of it and syncs it, and those before it.
    func settle(_ done: Finished) throws(CommandLogError) {
        try exclusively { () throws(CommandLogError) in
            try done.segment.file.truncate(size: done.usedBytes)
            try done.segment.file.syncData()
            let (before, renames) = guarded.withLock { guarded in
                (guarded.finished.filter { $0.endOffset < done.endOffset }, guarded.renames)
            }
            for segment in before { try segment.segment.file.syncData() }
            try directory.syncAll()
            guarded.withLock { guarded in
                guarded.syncedRenames = max(guarded.syncedRenames, renames)
                guarded.finished.removeAll { $0.endOffset <= done.endOffset }
                if let index = guarded.segments.firstIndex(where: { $0.firstOffset == done.segment.firstOffset }) {
                    guarded.segments[index].fileBytes = done.usedBytes
                }
            }
            advance(to: done.endOffset)
        }
    }

    /// Does the work of one sync at a time, unless the log has failed; if it throws, the log has.
    ///
    /// The system tells each failed write-back once, so of two syncs at a time one could succeed wrongly.
    private func exclusively(_ work: () throws(CommandLogError) -> Void) throws(CommandLogError) {
        try syncing.withLock { (_: inout Void) throws(CommandLogError) in
            if let failure = guarded.withLock({ $0.failure }) { throw failure }
            do throws(CommandLogError) {
                try work()
            } catch {
                fail(error)
                throw error
            }
        }
    }

    /// Unlinks the segments that lie wholly before `offset`, oldest first, so that what remains is always a chain.
    func trim(before offset: UInt64) {
        while true {
            let oldest = guarded.withLock { guarded -> SegmentSummary? in
                guard guarded.segments.count > 1, guarded.segments[1].firstOffset <= offset else { return nil }
                return guarded.segments[0]
            }
            guard let oldest else { return }
            do throws(CommandLogError) {
                try FileDescriptor.remove(oldest.path)
            } catch {
                // It stays in the list and is tried again with the next trim.
                return
            }
            guarded.withLock { guarded in
                if guarded.segments.first == oldest { guarded.segments.removeFirst() }
            }
        }
    }

    private func advance(to offset: UInt64) {
        var known = syncedOffset.load(ordering: .relaxed)
        while known < offset {
            let (done, current) = syncedOffset.compareExchange(
                expected: known,
                desired: offset,
                ordering: .acquiringAndReleasing
            )
            if done { return }
            known = current
        }
    }
}
