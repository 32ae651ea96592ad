// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Glibc

/// The time: of day for expiry, monotonic for how long things take.
struct Clock {
    /// Nanoseconds of the monotonic clock at the last reading.
    private(set) var monotonicNanoseconds: Int64
    /// Milliseconds since 1970 at the last reading.
    private(set) var milliseconds: Int64
    /// What must be added to the monotonic clock for nanoseconds since 1970, as of the last whole reading.
    private var sinceEpochNanoseconds: Int64

    init() {
        monotonicNanoseconds = Clock.read(CLOCK_MONOTONIC)
        sinceEpochNanoseconds = Clock.read(CLOCK_REALTIME) - monotonicNanoseconds
        milliseconds = (monotonicNanoseconds + sinceEpochNanoseconds) / 1_000_000
    }

    /// A clock that stands at `milliseconds` since 1970 until it is read again.
    init(milliseconds: Int64) {
        self.init()
        sinceEpochNanoseconds = milliseconds * 1_000_000 - monotonicNanoseconds
        self.milliseconds = milliseconds
    }

    /// Seconds since 1970.
    var seconds: Int64 { milliseconds / 1000 }

    /// Microseconds since 1970.
    var microseconds: Int64 { (monotonicNanoseconds + sinceEpochNanoseconds) / 1000 }

    /// Reads both clocks.
    mutating func readAll() {
        let monotonic = Clock.read(CLOCK_MONOTONIC)
        sinceEpochNanoseconds = Clock.read(CLOCK_REALTIME) - monotonic
        advance(to: monotonic)
    }

    /// Reads the monotonic clock and takes the time of day to have gone on as much; gives the nanoseconds since the
    /// last reading.
    @inline(__always)
    mutating func readMonotonic() -> Int64 {
        let before = monotonicNanoseconds
        advance(to: Clock.read(CLOCK_MONOTONIC))
        return monotonicNanoseconds - before
    }

    /// Takes back the readings since the monotonic clock stood at `monotonic`, so that the next reading gives all the
    /// time since then.
    mutating func forgetReadings(since monotonic: Int64) { monotonicNanoseconds = monotonic }

    /// Makes it `milliseconds` since 1970, for tests.
    mutating func set(milliseconds: Int64) {
        sinceEpochNanoseconds = milliseconds * 1_000_000 - monotonicNanoseconds
        self.milliseconds = milliseconds
    }

    @inline(__always)
    private mutating func advance(to monotonic: Int64) {
        monotonicNanoseconds = monotonic
        milliseconds = (monotonic + sinceEpochNanoseconds) / 1_000_000
    }

    @inline(__always)
    private static func read(_ clock: clockid_t) -> Int64 {
        var time = timespec()
        unsafe clock_gettime(clock, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }
}
