// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import CommandLog
internal import Keyspace
internal import NIOCore
internal import NIOPosix
internal import Glibc
internal import Synchronization

/// How a part of a checkpoint fares on the background thread.
final class CheckpointThread: Sendable {
    /// Nothing while it runs; then why it failed, if it did.
    let outcome = Mutex<Outcome?>(nil)

    enum Outcome: Sendable {
        case done
        case failed(String)
    }
}

/// What is known of the checkpoints.
struct CheckpointState {
    /// The replication id: 40 digits, drawn when the log was made.
    var identity: [UInt8] = []
    /// Where the last checkpoint stands in the log.
    var lastOffset: UInt64 = 0
    var lastStartNanoseconds: Int64 = 0
    /// The commit that is on its way to the disk.
    var running: Checkpoint?
    /// Whether its pages are on the disk already.
    var pagesAreSynced = false
    /// What the background thread does for it just now.
    var thread: CheckpointThread?
    var opening = PageOpening()
    /// Whether one may begin early, because much is written in one go: several short ones hold others up for less long.
    var isWelcome = false
    /// Whether each is waited for by whom it is made, for want of a loop that runs.
    var areWaitedFor = false
    /// Whether another was asked for while one was running.
    var isWanted = false
    /// What is to be done when the next one that begins has ended; gets whether it went well.
    var waiters: [(Bool) -> Void] = []
    /// Those of the running one.
    var runningWaiters: [(Bool) -> Void] = []
    var lastWasGood = true
    var completed = 0
    /// When, by the monotonic clock in ns, one was last made to free a full disk for a write, and did not.
    var reliefOfWriteFailedAt: Int64 = -1_000_000_000
    /// The same for what frees room.
    var reliefOfDeleteFailedAt: Int64 = -1_000_000_000
}

/// Checkpoints: the tree is committed for a place in the log, and made durable by another thread.
///
/// 1. The log's frame is written. 2. The keyspace is committed for the place behind it, on the loop and without a
/// sync. 3. On a thread of its own the commit's pages are synced. 4. The log is synced up to there, and the meta page
/// of the commit is saved: the tree that is found must never be ahead of the log. 5. Back on the loop: the log before
/// that place is given up, but for what replicas may ask for.
extension Server {
    /// Begins a checkpoint if enough has happened since the last.
    @inline(__always)
    func startCheckpointIfDue() {
        let isLogLong = effects.endOffset &- checkpoints.lastOffset >= UInt64(config.checkpointLogSize)
        let isWelcome = checkpoints.isWelcome
        checkpoints.isWelcome = false
        withKeyspace { keyspace in
            if keyspace.commitIsDue {
                startCheckpoint()
            } else if checkpoints.running == nil, isLogLong || isWelcome && keyspace.isCommitWorthwhile {
                whenPagesAreOpen { [self] in
                    if checkpoints.running == nil { startCheckpoint() }
                }
            } else if !arePagesOpen {
                keyspace.openTakenPagesIfCommitIsNear()
            }
        }
    }

    /// Begins a checkpoint, or has one begin when the running one has ended; `completion` hears how it went.
    func requestCheckpoint(_ completion: @escaping (Bool) -> Void = { _ in }) {
        checkpoints.waiters.append(completion)
        whenPagesAreOpen { [self] in
            if checkpoints.running == nil { startCheckpoint() } else { checkpoints.isWanted = true }
        }
    }

    /// Whether a checkpoint is still on its way while the next has much to do already.
    ///
    /// More commits would only have the file grow, so who brings large amounts waits for `afterRunningCheckpoint(_:)`.
    var isAheadOfDisk: Bool { checkpoints.running != nil && keyspace.isAheadOfCheckpoint }

    /// Has `body` called when the running checkpoint has ended.
    func afterRunningCheckpoint(_ body: @escaping () -> Void) {
        checkpoints.runningWaiters.append { [loop] _ in loop.assumeIsolated().execute(body) }
    }

    /// The place behind everything that the log holds.
    var position: LogPosition {
        LogPosition(identity: checkpoints.identity, offset: effects.endOffset, database: effects.selected)
    }

    /// Writes what is pending into the log, commits, and has the commit made durable unless another is under way.
    func startCheckpoint() {
        if effects.isInUnit {
            // Its end comes back here.
            checkpoints.isWanted = true
            return
        }
        guard !isLoading, let commandLog = effects.log, writeRefusal == nil else { return endWaiters(false) }
        do throws(CommandLogError) {
            try commandLog.writeFrame()
        } catch {
            // The end of the tick deals with it. Trimming the log may be what frees the disk, so a commit that was
            // made before goes on.
            return endWaiters(false)
        }
        let start = clock.monotonicNanoseconds
        do throws(KeyspaceError) {
            let checkpoint = try keyspace.commit(at: position)
            _ = clock.readMonotonic()
            noteLatency("checkpoint-commit", nanoseconds: clock.monotonicNanoseconds - start)
            if let checkpoint {
                begin(checkpoint)
            } else if checkpoints.running == nil {
                // Nothing has changed, so everything is durable.
                endWaiters(true)
            }
        } catch {
            // The end of the tick sees the failure of the keyspace.
            endWaiters(false)
            needsTickEnd()
        }
    }

    private func endWaiters(_ isGood: Bool) {
        let waiters = checkpoints.waiters
        checkpoints.waiters = []
        for waiter in waiters { waiter(isGood) }
    }

    /// Commits in the middle of a large command, for the place in the log before it, or before the unit that it belongs
    /// to; that must not have had an effect yet.
    func commitUnderPressure() throws(KeyspaceError) {
        if importsData { return try keyspace.commitProvisionally() }
        if effects.isInUnit, effects.unitHasEffects {
            // What is replayed had room when it was first done.
            guard keyspace.transactionHasRoom || isLoading || isReplica else { throw .transactionTooLarge }
            return
        }
        let position = LogPosition(
            identity: checkpoints.identity,
            offset: commandStart.offset,
            database: commandStart.database
        )
        let start = Clock()
        let checkpoint = try keyspace.commit(at: position)
        noteLatency("checkpoint-commit", nanoseconds: Clock().monotonicNanoseconds - start.monotonicNanoseconds)
        if let checkpoint { begin(checkpoint) }
    }

    private func begin(_ checkpoint: Checkpoint) {
        checkpoints.running = checkpoint
        checkpoints.pagesAreSynced = false
        checkpoints.opening.openedNanoseconds = 0
        checkpoints.runningWaiters = checkpoints.waiters
        checkpoints.waiters = []
        checkpoints.lastStartNanoseconds = clock.monotonicNanoseconds
        checkpoints.lastOffset = checkpoint.position.offset
        if checkpoints.areWaitedFor { _ = finishRunning(checkpoint) } else { advanceCheckpoint() }
    }

    /// Brings the running checkpoint a step further: its pages are synced, what the next commit has taken meanwhile is
    /// opened again, the log is synced, the meta page is saved.
    func advanceCheckpoint() {
        guard let checkpoint = checkpoints.running, checkpoints.thread == nil, let commandLog = effects.log else {
            return
        }
        if commandLog.failure != nil { return checkpointEnded(checkpoint, "the log cannot be synced") }
        guard checkpoints.pagesAreSynced else {
            return perform(checkpoint) { () throws(KeyspaceError) in try checkpoint.syncPages() }
        }
        // Whoever waits for the end of this checkpoint commits then.
        if checkpoints.opening.openedNanoseconds == 0, keyspace.hasTakenManyPages { return openPages() }
        if commandLog.syncedOffset < checkpoint.position.offset {
            // While another sync is under way this does nothing; the end of that one, or the cron, comes back here.
            commandLog.startBackgroundSync { [loop, self] _ in
                loop.execute { self.advanceCheckpoint() }
            }
            return
        }
        perform(checkpoint) { () throws(KeyspaceError) in try checkpoint.save() }
    }

    /// Does a part of the running checkpoint on the background thread.
    private func perform(_ checkpoint: Checkpoint, _ part: @escaping @Sendable () throws(KeyspaceError) -> Void) {
        let thread = CheckpointThread()
        checkpoints.thread = thread
        backgroundThread.submit { [loop, self] _ in
            BackgroundPriority.lower()
            do throws(KeyspaceError) {
                try part()
                thread.outcome.withLock { $0 = .done }
            } catch {
                let text = "\(error)"
                thread.outcome.withLock { $0 = .failed(text) }
            }
            loop.execute {
                // Somebody may have waited for it, and gone on already.
                guard self.checkpoints.thread === thread else { return }
                self.checkpointLeftThread(checkpoint, thread)
                self.advanceCheckpoint()
            }
        }
    }

    private func checkpointLeftThread(_ checkpoint: Checkpoint, _ thread: CheckpointThread) {
        checkpoints.thread = nil
        switch thread.outcome.withLock({ $0 }) {
        case .failed(let reason): checkpointEnded(checkpoint, reason)
        case .done where checkpoints.pagesAreSynced: checkpointEnded(checkpoint, nil)
        case .done: pagesWereSynced()
        case nil: break
        }
    }

    private func checkpointEnded(_ checkpoint: Checkpoint, _ failure: String?) {
        clock.readAll()
        checkpoints.thread = nil
        checkpoints.running = nil
        let waiters = checkpoints.runningWaiters
        checkpoints.runningWaiters = []
        let nanoseconds = clock.monotonicNanoseconds - checkpoints.lastStartNanoseconds
        checkpoints.lastWasGood = failure == nil
        if let failure {
            refuseWrites("The keyspace cannot be synced: \(failure)")
        } else {
            keyspace.finish(checkpoint)
            checkpoints.completed += 1
            trimLog(before: checkpoint.position.offset)
            log.verbose("Checkpoint at offset \(checkpoint.position.offset) in \(nanoseconds / 1_000_000) ms")
        }
        for waiter in waiters { waiter(failure == nil) }
        if failure == nil, checkpoints.isWanted || !checkpoints.waiters.isEmpty {
            checkpoints.isWanted = false
            startCheckpoint()
        }
        scheduleReclaim()
    }

    /// Gives up the log before `offset`, but for the backlog and what is to be kept.
    private func trimLog(before offset: UInt64) {
        let kept = UInt64(keepsBacklog ? max(0, config.backlogSize) : 0) + UInt64(max(0, config.logRetentionSize))
        if offset > kept { effects.log?.trim(before: min(offset - kept, offsetNeededByReplicas)) }
    }

    /// Makes a checkpoint and waits for it: SAVE and the end of the server; false also within a unit of effects.
    func checkpointNow(evenIfUnchanged: Bool = false) -> Bool {
        if let running = checkpoints.running {
            // The thread may be at it: wait, then hear of its end here instead of later.
            guard finishRunning(running) else { return false }
        }
        guard !isLoading, !effects.isInUnit, let commandLog = effects.log, commandLog.failure == nil else {
            return false
        }
        do {
            try commandLog.writeFrame()
            guard let checkpoint = try keyspace.commit(at: position, evenIfUnchanged: evenIfUnchanged) else {
                return true
            }
            begin(checkpoint)
            return finishRunning(checkpoint)
        } catch {
            log.warning("Saving: \(error)")
            return false
        }
    }

    /// Waits for the running checkpoint, if there is one; false if it failed.
    func endRunningCheckpoint() -> Bool { checkpoints.running.map(finishRunning) ?? true }

    /// Waits for the running checkpoint, or does what is left of it on this thread; false if it failed.
    private func finishRunning(_ checkpoint: Checkpoint) -> Bool {
        guard let commandLog = effects.log else { return false }
        if let thread = checkpoints.thread {
            while thread.outcome.withLock({ $0 == nil }) { usleep(1000) }
            checkpointLeftThread(checkpoint, thread)
            guard checkpoints.running?.position == checkpoint.position else { return checkpoints.lastWasGood }
        }
        do {
            if !checkpoints.pagesAreSynced {
                try checkpoint.syncPages()
                pagesWereSynced()
            }
            if commandLog.syncedOffset < checkpoint.position.offset { try commandLog.syncNow() }
            try checkpoint.save()
        } catch {
            checkpointEnded(checkpoint, "\(error)")
            return false
        }
        checkpointEnded(checkpoint, nil)
        return true
    }

    // MARK: A full disk

    /// Frees what checkpoints can free, while a command that found no room waits; gives what `isEnough` then says.
    ///
    /// Pages that were changed, or given back, since the last commit can be used again once that commit and the one
    /// after it are durable, and the log before them is not needed for recovery: on a full disk it goes, what is kept
    /// for replicas with it. Without this a delete could be refused for want of the room that it would make. What was
    /// tried in vain is not tried again for a while, sooner for what frees room than for what needs it.
    func relieveFullDisk(for command: Command, isEnough: () -> Bool) -> Bool {
        guard !isLoading, !isExecuting, writeRefusal == nil else { return false }
        // What does not suffice for a write may well do for a delete, so each has a pause of its own.
        let isWrite = command.flags.contains(.denyOutOfMemory)
        let failedAt = isWrite ? checkpoints.reliefOfWriteFailedAt : checkpoints.reliefOfDeleteFailedAt
        let pause: Int64 = isWrite ? 1_000_000_000 : 100_000_000
        guard clock.monotonicNanoseconds - failedAt >= pause else { return false }
        for _ in 0..<2 {
            guard checkpointNow(evenIfUnchanged: true) else { break }
            effects.log?.trimNow(before: keyspace.position.offset)
            if isEnough() { return true }
        }
        let tree = keyspace.storageStatistics
        let lacking = keyspace.ensureRoomForDelete() ? "the log" : "the tree"
        log.verbose(
            "The disk is full and \(lacking) has no room: \(tree.freeBytes) bytes of the tree are free, "
                + "\(tree.allocatedBytes - tree.usedBytes) behind its end, the log has "
                + "\(effects.log?.sizeOnDiskBytes ?? 0) bytes in \(effects.log?.segmentCount ?? 0) segments."
        )
        clock.readAll()
        if isWrite {
            checkpoints.reliefOfWriteFailedAt = clock.monotonicNanoseconds
        } else {
            checkpoints.reliefOfDeleteFailedAt = clock.monotonicNanoseconds
        }
        return false
    }

    // MARK: Reclaim

    /// Has a step of reclaim done soon, if there is something to reclaim.
    func scheduleReclaim() {
        guard !cron.isReclaimScheduled, keyspace.hasReclaimWork else { return }
        cron.isReclaimScheduled = true
        schedule(after: Server.turnGap) { [unowned self] in
            cron.isReclaimScheduled = false
            reclaimStep()
            scheduleReclaim()
        }
    }

    private func reclaimStep() {
        // A unit that is open has the whole transaction for itself.
        guard !effects.isInUnit else { return }
        var clock = Clock()
        var spent: Int64 = 0
        do throws(KeyspaceError) {
            while spent < 300_000, keyspace.ensureRoomForDelete() {
                guard try keyspace.reclaim(maximumRows: 32) else { break }
                spent += clock.readMonotonic()
            }
        } catch {
            // The end of the tick sees that the keyspace has failed.
        }
        noteLatency("reclaim-step", nanoseconds: spent)
        if !keyspace.ensureRoomForDelete(), checkpoints.running == nil {
            // What was reclaimed so far becomes room for the rest when it is committed.
            requestCheckpoint()
        }
        checkpoints.isWelcome = true
        if keyspace.failure != nil || keyspace.isCommitWorthwhile { needsTickEnd() }
    }
}
