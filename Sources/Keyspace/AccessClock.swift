// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import CLMDB

/// When keys were last used, in bounded memory: 1 MiB of seconds since 1970, indexed by the keyed hash of the key.
@safe
final class AccessClock {
    private let entries: UnsafeMutablePointer<UInt32>
    private static let count = 1 << 18

    init() {
        unsafe entries = .allocate(capacity: AccessClock.count)
        unsafe entries.initialize(repeating: 0, count: AccessClock.count)
    }

    deinit { unsafe entries.deallocate() }

    @inline(__always)
    private func entry(_ hash: UInt64) -> UnsafeMutablePointer<UInt32> {
        unsafe entries + Int(truncatingIfNeeded: hash & UInt64(AccessClock.count - 1))
    }

    /// Says that the key with this hash is about to be used: its entry is most likely in no cache.
    @inline(__always)
    func prefetch(_ hash: UInt64) { unsafe codis_prefetch_for_write(entry(hash)) }

    /// Notes that the key with this hash is used at `seconds`.
    @inline(__always)
    func touch(_ hash: UInt64, _ seconds: UInt32) { unsafe entry(hash).pointee = seconds }

    /// When the key with this hash was used, or another that shares its entry; nil if nothing is known.
    func lastUse(_ hash: UInt64) -> UInt32? {
        let last = unsafe entry(hash).pointee
        return last == 0 ? nil : last
    }

    /// How many seconds before `now` that was; 0 if nothing is known.
    func idle(_ hash: UInt64, _ now: UInt32) -> Int {
        let last = unsafe entry(hash).pointee
        return last == 0 || last > now ? 0 : Int(now - last)
    }
}
