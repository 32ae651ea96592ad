// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import Keyspace
internal import RESP

/// A value that another server sends in pieces, kept aside until it is whole.
///
/// What has come of it is a key of its own in the same database, under a name that nobody can guess and no walk over
/// the keys tells. So the log, the replicas and a snapshot have it like any other, and the last step is a RENAME, which
/// costs the same for all sizes and makes the value appear at once. It expires by itself: if this server is killed in
/// the middle, nothing stays.
struct ArrivingValue {
    /// Which key a connection sends.
    struct Target: Hashable {
        let database: Int
        let key: [UInt8]
    }

    /// The key that has what has come so far.
    let name: [UInt8]
    let type: ValueType
    /// The safety net that the sender asked for, in ms.
    private(set) var lifetime: Int64 = 0
    private var expirySetAt: Int64 = 0

    init(_ type: ValueType) {
        self.type = type
        name = ArrivingValue.newName()
    }

    /// A name that no other value has.
    static func newName() -> [UInt8] { prefix + Array(HexDigits.random(count: digits).utf8) }

    /// Whether the time to live of what came is to be set anew: it is not for every piece.
    mutating func needsExpiry(lifetime: Int64, at now: Int64) -> Bool {
        guard lifetime != self.lifetime || now - expirySetAt > lifetime / 3 || now < expirySetAt else { return false }
        self.lifetime = lifetime
        expirySetAt = now
        return true
    }

    private static let prefix = Array("\u{0}codis:arriving:".utf8)
    private static let digits = 32

    /// Whether `key` has a value that is not whole yet: walks over the keys leave it out.
    @inline(__always)
    static func isName(_ key: ByteView) -> Bool {
        key.count == prefix.count + digits && key[0] == 0 && key.prefix(prefix.count) == prefix
    }
}

extension Server {
    /// Deletes what has come of values whose sender is gone.
    func dropArriving(_ session: Session) {
        guard !session.arriving.isEmpty else { return }
        let values = session.arriving
        session.arriving = [:]
        guard !isReplica else { return }
        for (target, value) in values { dropArriving(value, in: target.database) }
    }

    /// Deletes what has come of a value; false if there is nothing any more.
    @discardableResult
    func dropArriving(_ value: ArrivingValue, in database: Int) -> Bool {
        ByteView.with(value.name) { name in
            guard keyspace.ensureRoomForDelete(), effects.ensureRoom(bytes: 1024) else { return false }
            do throws(KeyspaceError) {
                guard try keyspace.remove(name, in: database) else { return false }
            } catch {
                // The end of the tick sees that the keyspace has failed; else the time to live does it.
                needsTickEnd()
                return false
            }
            effects.append("DEL", name, database: database)
            needsTickEnd()
            return true
        }
    }
}
