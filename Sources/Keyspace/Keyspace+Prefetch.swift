// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

public import Bytes
internal import LMDB
internal import SlotHash

/// Keys that will be looked up soon: memory is asked for what their look-ups read, for several keys at a time.
extension Keyspace {
    /// Whether the keys that were announced must be prefetched before more can be.
    @inline(__always)
    public var isPrefetchFull: Bool { rowPrefetch.isFull }

    /// How many keys were announced.
    public var prefetchCount: Int { rowPrefetch.count }

    /// Announces a look-up of `key`, unless the one before was of it too; O(length of the key), and there must be room.
    @inline(__always)
    public func announce(_ key: ByteView, in database: Int) {
        let checksum = KeyHash(of: key).checksum
        guard checksum != lastAnnounced || rowPrefetch.count == 0 else { return }
        lastAnnounced = checksum
        // The keyed hash behind the checksum is spared: within a slot the checksum tells enough, and the greatest
        // number behind it leads to the key itself where that separates two pages.
        rowPrefetch.add(
            head: state.spaces[database],
            number: UInt64(checksum) << 32 | 0xFFFF_FFFF,
            in: slotTables[Int(checksum & 1023)],
            of: transaction
        )
    }

    /// Has the processor bring in what the announced look-ups read, and forgets them.
    ///
    /// It is worth it from two keys on; nothing may have changed since they were announced.
    @inline(__always)
    public func prefetchAnnounced() {
        if rowPrefetch.count > 1 { rowPrefetch.walk(in: transaction) } else { rowPrefetch.removeAll() }
    }
}
