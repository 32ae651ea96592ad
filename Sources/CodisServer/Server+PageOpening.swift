// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Keyspace
internal import NIOCore

/// Whether the pages that the open transaction has taken are open to writes.
struct PageOpening {
    /// When they were opened last, by the monotonic clock in ns; 0 if a sync has begun since, which may close them.
    var openedNanoseconds: Int64 = 0
    var isUnderWay = false
    /// Whether a sync has ended since it began, so that it did not open all.
    var isNeededAgain = false
    var waiters: [() -> Void] = []
}

/// A page of the map is closed to writes when the kernel writes it to the disk, and the next write to it costs some
/// microseconds. A commit writes to all of its pages, of which some may have been taken long ago, or before a sync of
/// the whole file: so they are opened again on another thread before the commit that holds everybody up.
extension Server {
    /// Whether a commit finds its pages open, as far as is known: the kernel also writes what was changed long ago.
    var arePagesOpen: Bool {
        let opened = checkpoints.opening.openedNanoseconds
        return opened != 0 && clock.monotonicNanoseconds - opened < 5_000_000_000
    }

    /// Has `body` called when a commit will find its pages open: at once if it does, or if they are few.
    func whenPagesAreOpen(_ body: @escaping () -> Void) {
        guard keyspace.hasTakenManyPages, !arePagesOpen, !checkpoints.areWaitedFor else { return body() }
        if checkpoints.running != nil, !checkpoints.pagesAreSynced {
            return afterRunningCheckpoint(body)
        }
        checkpoints.opening.waiters.append(body)
        openPages()
    }

    /// Begins to open the pages, unless that is under way.
    func openPages() {
        guard !checkpoints.opening.isUnderWay else { return }
        checkpoints.opening.isUnderWay = true
        keyspace.openTakenPages { [loop, self] in
            loop.execute { self.pagesWereOpened() }
        }
    }

    /// Hears that the pages of the running checkpoint were synced.
    func pagesWereSynced() {
        checkpoints.pagesAreSynced = true
        checkpoints.opening.openedNanoseconds = 0
        checkpoints.opening.isNeededAgain = checkpoints.opening.isUnderWay
    }

    private func pagesWereOpened() {
        checkpoints.opening.isUnderWay = false
        if checkpoints.opening.isNeededAgain {
            checkpoints.opening.isNeededAgain = false
            return openPages()
        }
        _ = clock.readMonotonic()
        let isBeingSynced = checkpoints.running != nil && !checkpoints.pagesAreSynced
        checkpoints.opening.openedNanoseconds = isBeingSynced ? 0 : clock.monotonicNanoseconds
        let waiters = checkpoints.opening.waiters
        checkpoints.opening.waiters = []
        for waiter in waiters { waiter() }
        advanceCheckpoint()
    }
}
