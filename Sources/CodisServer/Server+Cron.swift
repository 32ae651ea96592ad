// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import CommandLog
internal import Glibc
internal import Keyspace
internal import NIOCore

/// What the background work keeps between its turns.
struct CronState {
    var isReclaimScheduled = false
    var isExpiryScheduled = false
    /// DEBUG SET-ACTIVE-EXPIRE.
    var expiresActively = true
    var lastSecond: Int64 = 0
    var lastSampleNanoseconds: Int64 = 0
    var lastSyncStartNanoseconds: Int64 = 0
    var frequency = 0
    var timer: CronTimer?
    /// Where the log ended when the cron looked last.
    var lastOffset: UInt64 = 0
    var peakMemory = 0
    /// What waits in the buffers of all clients.
    var bufferBytes = 0
}

/// The background work, `hz` times a second (Redis 2.8: redis.c, serverCron).
extension Server {
    /// Begins the background work, or goes on with it at another frequency.
    func startCron() {
        cron.frequency = config.frequency
        setCronTimer(nanoseconds: 1_000_000_000 / Int64(max(1, config.frequency)))
    }

    /// Begins the little that is to be done while data are loaded.
    func startCronWhileLoading() {
        setCronTimer(nanoseconds: 100_000_000)
    }

    private func setCronTimer(nanoseconds: Int64) {
        let timer = cron.timer ?? makeCronTimer()
        timer.set(nanoseconds: nanoseconds)
        cron.timer = timer
    }

    private func makeCronTimer() -> CronTimer {
        CronTimer(on: loop) { [unowned self] failure in
            log.warning("Starting the background work: \(failure)")
            endProcess(status: 1)
        } ring: { [unowned self] in
            if loading == nil { runCron() } else { runCronWhileLoading() }
        }
    }

    /// Looks at the clock and for signals.
    private func runCronWhileLoading() {
        clock.readAll()
        if let signal = Signals.takeShutdown() {
            log.warning("Received \(signal) scheduling shutdown...")
            _ = shutDown(saving: false)
        }
    }

    private func runCron() {
        clock.readAll()
        if let signal = Signals.takeShutdown() {
            log.warning("Received \(signal) scheduling shutdown...")
            shutDownAfterReplicas(saving: nil) { [unowned self] in
                log.warning(
                    "SIGTERM received but errors trying to shut down the server, check the logs for more information"
                )
            }
        }
        if config.frequency != cron.frequency { startCron() }
        if clock.monotonicNanoseconds - cron.lastSampleNanoseconds >= 100_000_000 {
            cron.lastSampleNanoseconds = clock.monotonicNanoseconds
            statistics.sample(atNanoseconds: clock.monotonicNanoseconds)
        }
        syncLogIfDue()
        advanceCheckpoint()
        expireActively()
        timeOutBlocked()
        scheduleReclaim()
        checkpointForAge()
        saveIfDue()
        noteWriteAccess()
        cron.bufferBytes = sessions.values.reduce(0) { $0 + $1.unreadBytes + $1.waitingOutputBytes }
        cron.peakMemory = max(cron.peakMemory, usedMemory)
        let second = clock.monotonicNanoseconds / 1_000_000_000
        if second != cron.lastSecond {
            cron.lastSecond = second
            closeIdleClients()
            targets.runCron()
            checkLinks()
            runReplicationCron()
        }
        checkWaitingOutput()
        if effects.pendingBytes > 0 { needsTickEnd() }
    }

    /// A soft limit can be overstepped by waiting alone.
    private func checkWaitingOutput() {
        for session in sessions.values where !session.isFlushed { checkOutputLimits(session) }
    }

    // MARK: Log

    /// `appendfsync everysec`: a sync on the log's own thread, each second in which something was written.
    private func syncLogIfDue() {
        guard let commandLog = effects.log, config.appendOnly, config.appendFsync == .everySecond else { return }
        if let failure = commandLog.failure {
            return refuseWrites("Errors writing to the AOF file: \(failure)")
        }
        guard commandLog.syncedOffset < commandLog.endOffset else { return }
        let sinceLast = clock.monotonicNanoseconds - cron.lastSyncStartNanoseconds
        guard sinceLast >= 1_000_000_000 else { return }
        if commandLog.isSyncing {
            // The disk does not keep up; writing goes on, but the operator can see it.
            if sinceLast >= 2_000_000_000 {
                statistics.delayedSyncs += 1
                cron.lastSyncStartNanoseconds = clock.monotonicNanoseconds
                log.notice("Asynchronous AOF fsync is taking too long (disk is busy?).")
            }
            return
        }
        cron.lastSyncStartNanoseconds = clock.monotonicNanoseconds
        commandLog.startBackgroundSync { [loop, self] outcome in
            guard case .failure(let error) = outcome else { return }
            let text = "\(error)"
            loop.execute { self.refuseWrites("Errors writing to the AOF file: \(text)") }
        }
    }

    /// A checkpoint when the last is old, so that a restart has little to replay; sooner when something waits to be
    /// reclaimed, which it does until the commit that let go of it is durable.
    private func checkpointForAge() {
        guard checkpoints.running == nil else { return }
        let age = clock.monotonicNanoseconds - checkpoints.lastStartNanoseconds
        let isReclaimWaiting = keyspace.hasReclaimBacklog && !keyspace.hasReclaimWork
        let interval = Int64(config.checkpointIntervalSeconds) * 1_000_000_000
        let isOld = interval > 0 && age >= interval && effects.endOffset != checkpoints.lastOffset
        // What a burst of writes has left is committed when nobody writes: later the kernel would have written its
        // pages and closed them, and whoever then needs a commit at once, as a unit does, would wait for that.
        let isIdle = effects.endOffset == cron.lastOffset && keyspace.isCommitWorthwhile
        cron.lastOffset = effects.endOffset
        if isOld || isIdle || (isReclaimWaiting && age >= 1_000_000_000) { requestCheckpoint() }
    }

    // MARK: Expiry

    /// Deletes what is due, for a bounded time; goes on soon if something is left.
    private func expireActively() {
        guard cron.expiresActively, expiresKeys, !cron.isExpiryScheduled else { return }
        guard pausedUntilMilliseconds == 0, writeRefusal == nil, !effects.isInUnit else { return }
        let budget: Int64 = 2_000_000
        var timer = Clock()
        var spent: Int64 = 0
        var isMore = false
        do throws(KeyspaceError) {
            while keyspace.ensureRoomForDelete(), effects.ensureRoom(bytes: 1024) {
                guard let due = try keyspace.nextExpired(at: clock.milliseconds) else { break }
                ByteView.with(due.key) { expire($0, in: due.database) }
                if keyspace.failure != nil { break }
                spent += timer.readMonotonic()
                if spent > budget {
                    isMore = true
                    break
                }
            }
        } catch {
            needsTickEnd()
        }
        noteLatency("expire-cycle", nanoseconds: spent)
        if isMore {
            cron.isExpiryScheduled = true
            schedule(after: .milliseconds(4)) { [unowned self] in
                cron.isExpiryScheduled = false
                clock.readAll()
                expireActively()
            }
        }
    }
}
