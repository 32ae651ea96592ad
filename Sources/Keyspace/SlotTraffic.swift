// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

public import SlotHash

/// How often the keys of each slot were looked up for reading and changed, in all databases together, since the
/// keyspace was opened or the counts were last reset.
///
/// Plain memory, so that counting costs no more than an addition.
@safe
public final class SlotTraffic {
    private let counts: UnsafeMutablePointer<Int>

    init() {
        unsafe counts = .allocate(capacity: 2 * Slot.count)
        reset()
    }

    deinit { unsafe counts.deallocate() }

    /// Look-ups by commands that read.
    public func reads(of slot: Slot) -> Int { unsafe counts[Int(slot.number)] }

    /// Changes of keys, one for each that a command makes; expiry and eviction count as well.
    public func writes(of slot: Slot) -> Int { unsafe counts[Slot.count + Int(slot.number)] }

    /// Begins to count anew.
    public func reset() { unsafe counts.update(repeating: 0, count: 2 * Slot.count) }

    // The number of a slot is below 1,024 wherever one is computed: it is ten bits of a checksum.

    @inline(__always)
    func noteRead(_ slot: Int) { unsafe counts[slot & 1023] &+= 1 }

    @inline(__always)
    func noteWrite(_ slot: Int) { unsafe counts[Slot.count + (slot & 1023)] &+= 1 }

    func writes(_ slot: Int) -> Int { unsafe counts[Slot.count + (slot & 1023)] }
}
