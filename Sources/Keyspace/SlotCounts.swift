// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes

/// What a slot holds of one database.
public struct SlotCounts: Equatable, Sendable {
    /// Keys, those that have expired and were not yet deleted among them.
    public var keys = 0
    /// Bytes of their rows: row keys, heads, values, and the rows of large values.
    public var bytes = 0
    /// Keys that have an expiry.
    public var expiring = 0
    /// The sum of their expiries, in ms since 1970, modulo 2^64: what an average time to live is computed from.
    public var expirySum: UInt64 = 0

    /// Objects of element rows that the keys refer to.
    public var objects = 0

    static let storedLength = 40

    /// Nothing.
    public init() {}

    init?(_ row: ByteView) {
        guard row.count == SlotCounts.storedLength else { return nil }
        keys = Int(truncatingIfNeeded: row.littleEndian(UInt64.self, at: 0))
        bytes = Int(truncatingIfNeeded: row.littleEndian(UInt64.self, at: 8))
        expiring = Int(truncatingIfNeeded: row.littleEndian(UInt64.self, at: 16))
        expirySum = row.littleEndian(UInt64.self, at: 24)
        objects = Int(truncatingIfNeeded: row.littleEndian(UInt64.self, at: 32))
    }

    func write(to writer: inout RowWriter) {
        writer.append(littleEndian: UInt64(truncatingIfNeeded: keys))
        writer.append(littleEndian: UInt64(truncatingIfNeeded: bytes))
        writer.append(littleEndian: UInt64(truncatingIfNeeded: expiring))
        writer.append(littleEndian: expirySum)
        writer.append(littleEndian: UInt64(truncatingIfNeeded: objects))
    }

    /// Adds what another slot or database has.
    public static func += (left: inout SlotCounts, right: SlotCounts) {
        left.keys += right.keys
        left.bytes += right.bytes
        left.expiring += right.expiring
        left.expirySum &+= right.expirySum
        left.objects += right.objects
    }
}

/// The counts of one database, kept exact by every change and stored at each commit.
struct DatabaseCounts {
    /// All slots together.
    private(set) var total = SlotCounts()
    private(set) var slots: [SlotCounts]
    /// The slots whose counts differ from what is stored.
    private(set) var changed: [Bool]

    init() {
        slots = Array(repeating: SlotCounts(), count: 1024)
        changed = Array(repeating: false, count: 1024)
    }

    @inline(__always)
    mutating func add(_ change: SlotCounts, to slot: Int) {
        slots[slot] += change
        total += change
        changed[slot] = true
    }

    /// Takes stored counts in at opening.
    mutating func load(_ counts: SlotCounts, slot: Int) {
        slots[slot] = counts
        total += counts
    }

    mutating func removeAll() {
        for slot in 0..<1024 where slots[slot] != SlotCounts() {
            slots[slot] = SlotCounts()
            changed[slot] = true
        }
        total = SlotCounts()
    }

    /// Counts the slots as changed that differ from those of `stored`, or that have not been stored there.
    mutating func noteChanges(from stored: DatabaseCounts) {
        for slot in 0..<1024 where slots[slot] != stored.slots[slot] || stored.changed[slot] { changed[slot] = true }
    }

    mutating func wasStored(_ slot: Int) {
        changed[slot] = false
    }
}
