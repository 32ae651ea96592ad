// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import CommandLog
internal import Glibc
internal import Keyspace
internal import NIOCore

/// What the end of the server needs to know.
struct ShutdownState {
    /// Whether replicas are being sent the last of the stream before the end.
    var isUnderWay = false
    /// The pid file that was written, if one was.
    var pidFile: String?
    /// The unix socket that was made, if one was.
    var unixSocket: String?
}

extension Server {
    /// Ends the server as `shutDown` does, when its replicas have what was acknowledged to clients, so that one of them
    /// can take over without a loss; `failed` hears that it cannot end.
    ///
    /// The commands of clients wait meanwhile, for ten seconds at most (Redis 7: shutdown-timeout).
    func shutDownAfterReplicas(saving: Bool?, _ failed: @escaping () -> Void) {
        let isWaiting = shutdown.isUnderWay
        shutdown.isUnderWay = true
        let dismissed =
            isWaiting || effects.isInUnit || scriptEngine?.isSuspended == true
            ? [] : replication.feeds.filter { $0.dismiss() }
        guard !dismissed.isEmpty else {
            // Who asks for a second time does not want to wait.
            if shutDown(saving: saving) { return }
            shutdown.isUnderWay = isWaiting
            return failed()
        }
        log.notice("Sending \(dismissed.count) slaves the rest of the stream before the end.")
        for session in sessions.values where session.replica == nil && !session.isMaster {
            session.holds.insert(.ending)
        }
        endWhenGone(dismissed, by: clock.monotonicNanoseconds + Server.longestFarewell, saving: saving, failed)
    }

    private static let longestFarewell: Int64 = 10_000_000_000

    private func endWhenGone(
        _ dismissed: [ReplicaFeed],
        by limit: Int64,
        saving: Bool?,
        _ failed: @escaping () -> Void
    ) {
        loop.assumeIsolated().scheduleTask(in: .milliseconds(2)) { [self] in
            clock.readAll()
            let left = dismissed.filter { $0.session.isOpen }
            if !left.isEmpty, clock.monotonicNanoseconds < limit {
                return endWhenGone(left, by: limit, saving: saving, failed)
            }
            for feed in left { log.warning("Slave \(feed.name) may lack the end of the stream.") }
            if shutDown(saving: saving) { return }
            shutdown.isUnderWay = false
            for session in Array(sessions.values) where session.holds.contains(.ending) { session.resume(.ending) }
            failed()
        }
    }

    /// Ends the server in good order: a last dump where one is wanted, a last checkpoint, then the process; false if
    /// that cannot be done.
    ///
    /// `saving` is what SHUTDOWN was told: true for SAVE, false for NOSAVE, nil for neither. With NOSAVE no checkpoint
    /// is made; the log is synced all the same, so that nothing is lost but time at the next start.
    func shutDown(saving: Bool?) -> Bool {
        log.warning("User requested shutdown...")
        // What is loaded now is there at the next start as well.
        if loading != nil { endProcess(status: 0) }
        stopBackgroundSave()
        stopRewrite()
        // A script that runs for too long is in the middle of something: then there is nothing whole to save.
        if saving == false || scriptEngine?.isSuspended == true {
            // What a script that still runs, or a transaction, did so far is neither in the log nor committed.
            effects.abandonUnit()
            do {
                try effects.log?.writeFrame()
                try effects.log?.syncNow()
            } catch {
                log.warning("Syncing the log: \(error)")
            }
        } else {
            let wantsDump = saving == true || !config.savePoints.isEmpty
            if wantsDump { log.notice("Saving the final RDB snapshot before exiting.") }
            var units = 0
            while effects.isInUnit {
                endUnit()
                units += 1
            }
            guard !wantsDump || saveNow(), checkpointNow() || writeRefusal != nil else {
                for _ in 0..<units { beginUnit() }
                log.warning("Error trying to save the DB, can't exit.")
                return false
            }
        }
        endProcess(status: 0)
    }

    /// Closes what is open, and ends the process.
    func endProcess(status: Int32) -> Never {
        if let pidFile = shutdown.pidFile {
            log.notice("Removing the pid file.")
            unsafe unlink(pidFile)
        }
        if let unixSocket = shutdown.unixSocket { unsafe unlink(unixSocket) }
        if status == 0 {
            keyspace.close()
            do throws(CommandLogError) {
                try effects.log?.shutdown()
            } catch {
                log.warning("Closing the log: \(error)")
            }
            log.warning("Redis is now ready to exit, bye bye...")
        }
        exit(status)
    }
}
