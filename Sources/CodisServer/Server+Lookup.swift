// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import Keyspace

/// How commands look keys up: what has expired is gone, whether it was deleted yet or not.
extension Server {
    /// The record of `key` for a command that reads; counted as a hit or a miss.
    @inline(__always)
    func lookupRead(_ key: ByteView, _ call: CommandCall) -> Record? {
        let found = withKeyspace { keyspace in
            let found = keyspace.find(key, in: call.database)
            keyspace.noteReadOfLastFound()
            return found
        }
        if let record = current(found, of: key, in: call.database, call) {
            statistics.keyspaceHits += 1
            return record
        }
        statistics.keyspaceMisses += 1
        return nil
    }

    /// The record of `key` for a command that is about to change it.
    @inline(__always)
    func lookupWrite(_ key: ByteView, _ call: CommandCall) -> Record? {
        lookupWrite(key, in: call.database, call)
    }

    /// The record of `key` for a command that is about to make it another string.
    @inline(__always)
    func lookupWriteString(_ key: ByteView, _ call: CommandCall) -> Record? {
        current(withKeyspace { $0.findForString(key, in: call.database) }, of: key, in: call.database, call)
    }

    /// The record of `key` in `database` for a command that is about to change it.
    @inline(__always)
    func lookupWrite(_ key: ByteView, in database: Int, _ call: CommandCall) -> Record? {
        current(withKeyspace { $0.findForChange(key, in: database) }, of: key, in: database, call)
    }

    /// `record` unless it has expired, in which case the key is deleted.
    @inline(__always)
    private func current(
        _ record: Record?,
        of key: ByteView,
        in database: Int,
        _ call: CommandCall
    ) -> Record? {
        guard let record else { return nil }
        if record.expireAtMilliseconds != 0, call.now > record.expireAtMilliseconds, expiresKeys {
            expire(key, in: database)
            return nil
        }
        withKeyspace { $0.touchLastFound(seconds: UInt32(truncatingIfNeeded: call.now / 1000)) }
        return record
    }

    /// Deletes a key whose time is over, and lets the log and everybody know.
    func expire(_ key: ByteView, in database: Int) {
        do throws(KeyspaceError) {
            // That its time is over is no change of a key that is watched.
            watches.isSuspended = true
            defer { watches.isSuspended = false }
            _ = try keyspace.remove(key, in: database)
        } catch {
            // The end of the tick sees that the keyspace has failed; for the client the key is gone.
            return
        }
        statistics.expiredKeys += 1
        effects.append("DEL", key, database: database)
        if !notifiedEvents.isEmpty { publishEvent(.expired, "expired", key, in: database) }
        needsTickEnd()
    }

    /// Tells who listens that `event` happened to `key`.
    @inline(__always)
    func notify(_ kind: KeyspaceEvents, _ event: StaticString, _ key: ByteView, _ call: CommandCall) {
        if !notifiedEvents.isEmpty { publishEvent(kind, event, key, in: call.database) }
    }
}
