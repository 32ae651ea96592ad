// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import Keyspace
internal import RESP

/// Keys that move to other servers while everything else goes on (Codis 3.2: `slots_async.c`).
///
/// The original lets clients change keys that are being moved, and loses such changes. Here commands that would change
/// one wait until the batch has ended; commands that read go on until the keys are being deleted. What changes a key
/// all the same (eviction, the stream of a master) is noticed, and the key then stays here, and is taken back from the
/// target.
extension Server {
    /// Whether a batch of `database` is on its way.
    func isMigrating(_ database: Int) -> Bool { links[database]?.batch != nil }

    /// Whether `key` belongs to the batch that is on its way, or has the tag of one that does.
    func isMigrating(_ key: ByteView, in database: Int) -> Bool {
        links[database]?.batch?.concerns(key, self) ?? false
    }

    /// Hears that a key has changed; that its time is over does not count.
    func noteChangeOfMigrating(_ identity: KeyIdentity) {
        guard let batch = links[identity.database]?.batch, !isRemovingMoved, !watches.isSuspended else { return }
        batch.noteChange(keyHash: identity.hash)
    }

    // MARK: For links

    /// Hears that keys of a batch are about to be deleted: now commands that read them wait as well.
    func noteSettling(_ batch: OutgoingBatch) { batch.ticket?.admitsReaders = false }

    /// Deletes a key that the target has; false if that was not possible.
    func removeMoved(_ key: ByteView, in database: Int) -> Bool {
        commandStart = (effects.offset, effects.selected)
        isRemovingMoved = true
        defer { isRemovingMoved = false }
        do throws(KeyspaceError) {
            return try changeBehindFence { () throws(KeyspaceError) in try keyspace.remove(key, in: database) }
        } catch {
            // The end of the tick sees that the keyspace has failed.
            needsTickEnd()
            return false
        }
    }

    /// Has the log and the replicas know that keys were deleted which have moved.
    func propagateMoved(_ keys: [[UInt8]], in database: Int) {
        guard !keys.isEmpty else { return }
        var request: [UInt8] = []
        request.appendRequestHeader(argumentCount: 1 + keys.count)
        request.appendRequestArgument("DEL")
        for key in keys { ByteView.with(key) { request.appendRequestArgument($0) } }
        ByteView.with(request) { effects.append(request: $0, database: database) }
        dirty += keys.count
        needsTickEnd()
    }

    /// Hears that a batch has ended, one way or the other.
    func ended(_ batch: OutgoingBatch) {
        if let ticket = batch.ticket { lower(ticket) }
        listenToKeys()
    }

    /// Forgets a connection.
    func removeLink(_ link: MigrationLink) {
        if links[link.database] === link { links[link.database] = nil }
    }

    // MARK: Time and roles

    /// Ends what has taken too long or was not used for long; the cron calls it once a second.
    func checkLinks() {
        for link in links.values.sorted(by: { $0.database < $1.database }) {
            if let reason = link.overdue { link.fail(reason) }
        }
    }

    /// Ends all moving: for a master that becomes a replica.
    func cancelMigrations() {
        for link in links.values.sorted(by: { $0.database < $1.database }) { link.fail("canceled") }
    }
}
