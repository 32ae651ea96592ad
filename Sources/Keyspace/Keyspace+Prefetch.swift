// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

public import Bytes
internal import LMDB
internal import SlotHash

/// Keys, and elements of their values, that will be looked up soon: memory is asked for what their look-ups read, for
/// several at a time.
extension Keyspace {
    /// Whether what was announced must be prefetched before more can be.
    @inline(__always)
    public var isPrefetchFull: Bool { rowPrefetch.isFull }

    /// How many rows were announced.
    public var prefetchCount: Int { rowPrefetch.count }

    /// Announces a look-up of `key`, unless the one before was of it too; O(length of the key), and there must be room.
    @inline(__always)
    public func announce(_ key: ByteView, in database: Int) {
        let checksum = KeyHash(of: key).checksum
        guard checksum != lastAnnounced || !hasAnnounced else { return }
        lastAnnounced = checksum
        hasAnnounced = true
        // The keyed hash behind the checksum is spared: within a slot the checksum tells enough, and the greatest
        // number behind it leads to the key itself where that separates two pages.
        rowPrefetch.add(
            head: state.spaces[database],
            number: UInt64(checksum) << 32 | 0xFFFF_FFFF,
            in: slotTables[Int(checksum & 1023)],
            of: transaction
        )
    }

    /// Announces a look-up of the element `name` of `key`, the key that was announced last; O(length of the name), and
    /// there must be room.
    ///
    /// Nothing is announced unless the value has many elements and was looked up lately: to look the key up for this
    /// may cost more than it saves.
    @inline(__always)
    public func announceElement(_ name: ByteView, in database: Int) {
        guard let object = knownObjects.object(of: lastAnnounced, in: state.spaces[database]) else { return }
        rowPrefetch.add(
            head: UInt16(RowKeyLayout.elementMark) << 8 | UInt16(truncatingIfNeeded: object.number >> 56),
            middle: object.number << 8 | UInt64(ElementKind.named),
            number: state.hashKey.hash(name),
            in: slotTables[Int(object.home)],
            of: transaction
        )
    }

    /// Notes the object of `record`, of the key under `target`, if elements of it are to be prefetched.
    @inline(__always)
    func noteObject(of record: Record) {
        let isLarge = record.type != .string && record.count >= options.fewestPrefetchedElements
        let object = isLarge ? KnownObjects.Object(number: record.object, home: record.home) : KnownObjects.Object()
        knownObjects.note(object, of: target.checksum, in: target.space)
    }

    /// Has the processor bring in what the announced look-ups read, and forgets them.
    ///
    /// It is worth it from two rows on, and not done if something has changed since they were announced.
    @inline(__always)
    public func prefetchAnnounced() {
        hasAnnounced = false
        if rowPrefetch.count > 1 { rowPrefetch.walk(in: transaction) } else { rowPrefetch.removeAll() }
    }
}

/// The objects of large values that were looked up lately, by the checksums of their keys or tags: a hint, which may be
/// out of date or another key's with the same tag.
struct KnownObjects {
    struct Object {
        var number: UInt64 = 0
        var home: UInt16 = 0
    }

    private struct Entry {
        var checksum: UInt32 = 0
        var space: UInt16 = 0
        var object = Object()
    }

    private var entries = [Entry](repeating: Entry(), count: 256)

    /// The object of the key's value, if it is known to have any.
    @inline(__always)
    func object(of checksum: UInt32, in space: UInt16) -> Object? {
        let entry = entries[KnownObjects.index(checksum)]
        guard entry.checksum == checksum, entry.space == space, entry.object.number != 0 else { return nil }
        return entry.object
    }

    /// Notes the object of the key's value, or that it has none that matters.
    @inline(__always)
    mutating func note(_ object: Object, of checksum: UInt32, in space: UInt16) {
        // Whoever reads the value finds out what is wrong with it.
        guard object.home < Slot.count else { return }
        entries[KnownObjects.index(checksum)] = Entry(checksum: checksum, space: space, object: object)
    }

    /// The lowest ten bits are the slot, which is the same for all keys of a table.
    private static func index(_ checksum: UInt32) -> Int { Int(checksum >> 24) }
}
