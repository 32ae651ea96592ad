// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import Keyspace
internal import NIOCore
internal import NIOPosix
internal import Replication

/// A snapshot on its way to one or more replicas.
///
/// A thread writes it as an RDB into a file that grows, as fast as the disk allows; so the snapshot itself is held no
/// longer than that, however slow the replicas are. Those which can tell the end by a mark are sent what there is
/// already; the others wait until the length is known. What commands do meanwhile waits in the log.
final class SnapshotTransfer: @unchecked Sendable {
    // Unchecked: all but the file belongs to the loop.
    let file: GrowingFile
    /// What ends the snapshot for those that take marks.
    let mark: [UInt8]
    /// Where the stream goes on behind the snapshot; nil until it was taken.
    private(set) var position: LogPosition?
    /// Whether the snapshot tells which database the stream has selected, which only newer replicas understand.
    let tellsDatabase: Bool
    private(set) var isComplete = false
    private(set) var hasFailed = false

    init(directory: String, tellsDatabase: Bool) throws(GrowingFile.Failure) {
        file = try GrowingFile(directory: directory)
        mark = Array(HexDigits.random(count: SnapshotForm.markLength).utf8)
        self.tellsDatabase = tellsDatabase
    }

    /// Whether a replica that comes now may have it too.
    ///
    /// The longer ago it was taken the more of the stream follows it, so only until it is written.
    func canBeShared(by announcement: ReplicaAnnouncement) -> Bool {
        !hasFailed && !isComplete && (!tellsDatabase || announcement.takesHistories)
    }

    func taken(at position: LogPosition) { self.position = position }
    func completed() { isComplete = true }
    func failed() { hasFailed = true }
}

/// Full resyncs, as the master does them.
extension Server {
    /// Has `feed` get a snapshot and then the stream.
    func beginFullResync(_ feed: ReplicaFeed) {
        statistics.fullSyncs += 1
        if let transfer = replication.transfer, transfer.canBeShared(by: feed.session.replicaAnnouncement) {
            log.notice("Waiting for end of BGSAVE for SYNC")
            return feed.take(transfer)
        }
        // In the middle of a stream that is not one's own, no SELECT can be put in for a replica that has just come.
        let tellsDatabase = isReplica && effects.selected > 0
        guard !tellsDatabase || feed.session.replicaAnnouncement.takesHistories else {
            log.warning("Slave \(feed.name) cannot be told the database that the stream has selected: try again later")
            return feed.session.closeNow()
        }
        do throws(GrowingFile.Failure) {
            let transfer = try SnapshotTransfer(directory: dataDirectory, tellsDatabase: tellsDatabase)
            replication.transfer = transfer
            feed.take(transfer)
            let delay = config.disklessSync ? config.disklessSyncDelaySeconds : 0
            if delay > 0 {
                log.notice("Delay next BGSAVE for SYNC")
                loop.scheduleTask(in: .seconds(Int64(delay))) { [unowned self] in begin(transfer) }
            } else {
                begin(transfer)
            }
        } catch {
            log.warning("Can't make a snapshot for slave \(feed.name): \(error)")
            feed.session.closeNow()
        }
    }

    private func feeds(of transfer: SnapshotTransfer) -> [ReplicaFeed] {
        replication.feeds.filter { $0.isTaking(transfer) }
    }

    private func begin(_ transfer: SnapshotTransfer) {
        guard !feeds(of: transfer).isEmpty else { return end(transfer) }
        log.notice("Starting BGSAVE for SYNC with target: \(config.disklessSync ? "slaves sockets" : "disk")")
        withSnapshot(owner: "replication") { [unowned self] snapshot in
            guard let snapshot else { return snapshotFailed(transfer, "no snapshot could be taken") }
            transfer.taken(at: snapshot.position)
            // The replica knows nothing of a selected database, so the stream says it again.
            if !isReplica { effects.selectAnew() }
            write(snapshot, into: transfer)
            for feed in feeds(of: transfer) { feed.snapshotTaken() }
        }
    }

    private func write(_ snapshot: KeyspaceSnapshot, into transfer: SnapshotTransfer) {
        let options = SnapshotPayload.Options(
            compresses: config.rdbCompression,
            computesChecksum: config.rdbChecksum,
            streamDatabase: transfer.tellsDatabase ? snapshot.position.database : nil
        )
        replication.threadForSnapshots().submit { [loop, self] _ in
            BackgroundPriority.lower()
            defer { snapshot.close() }
            do {
                try SnapshotPayload.write(snapshot, options, to: transfer.file) {
                    loop.execute { for feed in self.feeds(of: transfer) { feed.pump() } }
                }
                loop.execute { self.snapshotWritten(transfer) }
            } catch {
                let text = "\(error)"
                loop.execute { self.snapshotFailed(transfer, text) }
            }
        }
    }

    private func snapshotWritten(_ transfer: SnapshotTransfer) {
        transfer.file.finish(.complete)
        transfer.completed()
        log.notice("Background transfer ready: \(transfer.file.length) bytes of RDB")
        for feed in feeds(of: transfer) { feed.pump() }
        end(transfer)
    }

    private func snapshotFailed(_ transfer: SnapshotTransfer, _ reason: String) {
        transfer.file.finish(.failed)
        transfer.failed()
        log.warning("SYNC failed. BGSAVE returned an error: \(reason)")
        for feed in feeds(of: transfer) { feed.session.closeNow() }
        end(transfer)
    }

    private func end(_ transfer: SnapshotTransfer) {
        if replication.transfer === transfer { replication.transfer = nil }
    }

    /// Hears that a replica was sent all of its snapshot.
    func snapshotSent(_ transfer: SnapshotTransfer, to feed: ReplicaFeed) {
        log.notice("Synchronization with slave \(feed.name) succeeded")
        countGoodReplicas()
    }
}
