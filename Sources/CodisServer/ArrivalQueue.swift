// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

/// The sessions that have sent something, in the order in which it is run.
///
/// Mostly all of it runs at the end of the tick in which it was read. When that takes long, the rest waits for the next
/// tick; those that have sent little in between then overtake those that have sent many requests at once, so that
/// nobody waits for the pipelines of all the others.
struct ArrivalQueue<Session: BitwiseCopyable>: ~Copyable {
    /// Whose requests are run next, from the first on; those that have sent little come first.
    private(set) var waiting = TickList<Session>()
    private var smallWaiting = 0
    /// Who has sent something since.
    private var small = TickList<Session>()
    private var large = TickList<Session>()
    /// How many ticks in a row have left something.
    private var unfinishedTicks = 0

    /// What is little, in bytes: a request or a few.
    private var smallBytes: Int { 512 }
    /// After so many ticks that left something, one runs all, so that who is overtaken does not wait for ever.
    private var mostUnfinishedTicks: Int { 8 }

    var isEmpty: Bool { waiting.isEmpty && small.isEmpty && large.isEmpty }

    /// Whether this tick may leave something to the next.
    var mayLeaveSome: Bool { unfinishedTicks < mostUnfinishedTicks }

    /// Has `bytes` that `session` has sent run.
    @inline(__always)
    mutating func add(_ session: Session, bytes: Int) {
        if bytes <= smallBytes { small.append(session) } else { large.append(session) }
    }

    /// Brings those that were added into the order.
    mutating func arrange() {
        if waiting.isEmpty {
            swap(&waiting, &small)
            smallWaiting = waiting.count
        } else if !small.isEmpty {
            waiting.insert(contentsOf: small, at: smallWaiting)
            smallWaiting += small.count
            small.removeAll()
        }
        if !large.isEmpty {
            waiting.insert(contentsOf: large, at: waiting.count)
            large.removeAll()
        }
    }

    /// Hears that the first `count` of those that wait have run in this tick.
    mutating func finish(_ count: Int) {
        if count == waiting.count {
            waiting.removeAll()
            unfinishedTicks = 0
        } else {
            waiting.removeFirst(count)
            unfinishedTicks += 1
        }
        smallWaiting = max(0, smallWaiting - count)
    }
}
