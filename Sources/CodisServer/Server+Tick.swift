// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import CommandLog
internal import Keyspace
internal import NIOCore

/// The end of a tick: first the commands, then the log, then the replies.
///
/// The first bytes that arrive in a tick schedule it; it runs when all sockets that were ready have been read. So a
/// reply is never seen before its effect stands in the log, and one write of the log serves all clients of the tick.
extension Server {
    /// Work that is done in turns, and is in no hurry, leaves so long between two of them.
    static let turnGap = TimeAmount.microseconds(300)

    /// Has `turn` run after `gap`, and not before the loop has read its sockets again.
    ///
    /// The loop runs what it was told to execute, and timers that are due, before it looks at its sockets; and a timer
    /// that is set now may well be due when the tick has ended, after the log was written. So it is set then.
    func schedule(after gap: TimeAmount, turn: @escaping @Sendable () -> Void) {
        turns.append((gap, turn))
        needsTickEnd()
    }

    /// Has the end of the tick run.
    @inline(__always)
    func needsTickEnd() {
        guard !isTickEndScheduled else { return }
        isTickEndScheduled = true
        loop.execute(tickEndTask)
    }

    /// Has `session` answered at the end of the tick.
    @inline(__always)
    func touch(_ session: Session) {
        if !session.isTouched {
            session.isTouched = true
            touched.append(Lent(session))
            if !session.isOpen { departed.append(session) }
        }
        needsTickEnd()
    }

    /// Has `bytes` that `session`, which must be open, has sent run when all sockets were read.
    @inline(__always)
    func addArrival(_ session: Session, bytes: Int) {
        arrivals.add(Lent(session), bytes: bytes)
        arrivalsAreDue = true
        needsTickEnd()
    }

    /// A tick runs what clients have sent for so long.
    private static let longestTick: Int64 = 2_000_000
    /// Work that is done in turns, and is in a hurry, leaves so long: the sockets are read in between.
    static let tickGap = TimeAmount.microseconds(50)

    /// Runs what clients have sent: of several at a time, whose keys are prefetched together.
    private func runArrivals() {
        arrivalsAreDue = false
        arrivalTicks &+= 1
        arrivals.arrange()
        let count = arrivals.waiting.count
        _ = clock.readMonotonic()
        // Where each tick waits for the disk, the fewer the better.
        let isShort = arrivals.mayLeaveSome && !(config.appendOnly && config.appendFsync == .always)
        let end = isShort ? clock.monotonicNanoseconds + Server.longestTick : Int64.max
        let looksAhead = count > Server.fewArrivals || arrivedBytes > Server.fewArrivedBytes
        var begun = 0
        repeat {
            var announced = begun
            repeat {
                arrivals.waiting[announced].lend { $0.announceArrived(looksAhead: looksAhead) }
                announced += 1
            } while announced < count && !keyspace.isPrefetchFull
            if looksAhead { prefetchAnnounced() }
            repeat {
                arrivals.waiting[begun].lend { $0.runArrived(self) }
                begun += 1
            } while begun < announced && clock.monotonicNanoseconds < end
        } while begun < count && clock.monotonicNanoseconds < end
        arrivals.finish(begun)
    }

    /// Two or three requests wait for memory together as long as it takes to look at them twice.
    private static let fewArrivals = 3
    private static let fewArrivedBytes = 384

    /// How much the sessions that wait have sent.
    private var arrivedBytes: Int {
        (0..<arrivals.waiting.count).reduce(0) { sum, index in
            sum + arrivals.waiting[index].lend { $0.arrivedBytes }
        }
    }

    /// Has a tick go on with what this one has left, after the sockets were read.
    private func continueArrivals() {
        let ticks = arrivalTicks
        loop.scheduleTask(in: Server.tickGap) { [unowned self] in
            // One that somebody else has sent for has gone on already, and sees to the rest.
            guard ticks == arrivalTicks else { return }
            arrivalsAreDue = true
            needsTickEnd()
        }
    }

    func tickEnd() {
        var leavesArrivals = false
        if arrivalsAreDue, keyspace.failure == nil {
            // Who waits for a key comes before who has only just asked for it.
            if hasReadyKeys { serveBlocked() }
            runArrivals()
            leavesArrivals = !arrivals.isEmpty
        }
        isTickEndScheduled = false
        if let failure = keyspace.failure { return endAfterFailure(failure) }
        if hasReadyKeys { serveBlocked() }
        if !blocking.unblocked.isEmpty { resumeUnblocked() }
        if fence.hasReleased { resumeReleased() }
        let outcome = isLoading ? LogOutcome.written : writeLog()
        // Closing may touch further sessions, which then come in a tick of their own.
        swap(&touched, &answered)
        for index in 0..<answered.count {
            answered[index].lend { answer($0, outcome) }
        }
        answered.removeAll()
        if outcome == .written { startCheckpointIfDue() }
        if !snapshotRequests.isEmpty { takeSnapshots() }
        for (gap, turn) in turns { loop.scheduleTask(in: gap, turn) }
        turns.removeAll(keepingCapacity: true)
        if leavesArrivals { continueArrivals() }
        if !departed.isEmpty, touched.isEmpty, arrivals.isEmpty { departed.removeAll() }
    }

    @inline(__always)
    private func answer(_ session: Session, _ outcome: LogOutcome) {
        session.isTouched = false
        if session.hasWritten, outcome != .written {
            refuseUnlogged(session, outcome)
        } else {
            session.hasWritten = false
            session.flush(self)
            if !session.isFlushed { checkOutputLimits(session) }
        }
    }

    enum LogOutcome {
        case written
        /// The disk is full: the effects of the tick wait, and so do the replies.
        case mustWait
        /// The log cannot be written any more.
        case failed
    }

    /// Writes the effects of the tick to the log, and syncs them if that is asked for.
    private func writeLog() -> LogOutcome {
        guard let commandLog = effects.lentLog else { return .written }
        return commandLog.lend { writeLog($0) }
    }

    @inline(__always)
    private func writeLog(_ commandLog: CommandLog) -> LogOutcome {
        if let failure = effects.failure ?? commandLog.failure {
            refuseWrites("Errors writing to the AOF file: \(failure)")
            return .failed
        }
        guard commandLog.pendingBytes > 0 else { return .written }
        let start = clock.monotonicNanoseconds
        do throws(CommandLogError) {
            try commandLog.writeFrame()
            if config.appendOnly, config.appendFsync == .always { try commandLog.syncNow() }
        } catch {
            if case .diskFull = error {
                scheduleLogRetry()
                return .mustWait
            }
            refuseWrites("Errors writing to the AOF file: \(error)")
            return .failed
        }
        if config.latencyMonitorThresholdMilliseconds > 0 {
            _ = clock.readMonotonic()
            noteLatency("aof-write", nanoseconds: clock.monotonicNanoseconds - start)
        }
        return .written
    }

    /// Writes what is pending in the middle of a tick, between two commands.
    func writeFrameInTick() {
        do throws(CommandLogError) {
            try effects.log?.writeFrame()
        } catch {
            // What is pending stays; the end of the tick meets the same error and deals with it.
            log.warning("Writing the log: \(error)")
        }
    }

    /// What was answered rests on effects that are not in the log: the client must not hear of it.
    private func refuseUnlogged(_ session: Session, _ outcome: LogOutcome) {
        if outcome == .failed {
            session.closeNow()
        } else {
            waitingForLog.append(session)
        }
    }

    private func scheduleLogRetry() {
        guard waitingForLog.isEmpty else { return }
        log.warning("The disk is full: replies to writes wait until the log can be written.")
        loop.scheduleTask(in: .milliseconds(100)) { [unowned self] in
            let sessions = waitingForLog
            waitingForLog = []
            for session in sessions { touch(session) }
            needsTickEnd()
        }
    }

    /// Ends the process: what the keyspace holds can no longer be trusted, and the log has everything acknowledged.
    private func endAfterFailure(_ failure: KeyspaceError) {
        log.warning("The keyspace has failed, and the server ends: \(failure)")
        log.warning("Everything that was acknowledged is in the log and is found again at the next start.")
        endProcess(status: 1)
    }
}
