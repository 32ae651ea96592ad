// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Glibc
internal import Keyspace

/// Snapshots: the whole keyspace at a known place of the log, for a thread that reads it while commands go on.
///
/// `KeyspaceSnapshot.position` is that place: the replication id, the offset of the stream's next byte, and the
/// database that the stream has selected there. Who sends a snapshot and then the stream from this offset on has sent
/// everything once. The snapshot is to be read on another thread, in `KeyspaceSnapshot.read(_:)` with pauses, and
/// closed.
extension Server {
    /// Takes a snapshot at the end of this tick or a later one, when no command is half done and the log is written,
    /// and gives it to `completion`, on the loop; nil if none can be taken.
    func withSnapshot(owner: String, _ completion: @escaping (KeyspaceSnapshot?) -> Void) {
        whenPagesAreOpen { [self] in
            snapshotRequests.append(SnapshotRequest(owner: owner, completion: completion))
            needsTickEnd()
        }
    }

    /// Serves those that asked for a snapshot; the end of the tick calls it.
    func takeSnapshots() {
        // A unit of effects that is open is half done; its end comes back here.
        guard !effects.isInUnit else { return }
        let requests = snapshotRequests
        snapshotRequests = []
        for request in requests { request.completion(takeSnapshot(owner: request.owner)) }
    }

    /// Takes a snapshot of what was done so far, and begins a checkpoint of it; not in the middle of a command.
    ///
    /// - Returns: nil if the log or the keyspace cannot be written; the log says why.
    func takeSnapshot(owner: String) -> KeyspaceSnapshot? {
        startCheckpoint()
        guard keyspace.isCommitted(at: position) else {
            log.warning("No snapshot could be taken for \(owner)")
            return nil
        }
        do throws(KeyspaceError) {
            return try keyspace.takeSnapshot(owner: owner)
        } catch {
            log.warning("Taking a snapshot for \(owner): \(error)")
            return nil
        }
    }
}

/// Somebody who waits for a snapshot.
struct SnapshotRequest {
    let owner: String
    let completion: (KeyspaceSnapshot?) -> Void
}
