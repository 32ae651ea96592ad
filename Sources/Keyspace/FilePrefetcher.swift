// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Glibc
internal import LMDB
internal import Synchronization
internal import Worker

/// Gives the data file blocks and brings its pages into memory ahead of their use, on a thread of its own.
///
/// A page that is touched first by the thread of the commands costs that thread what the kernel does for it: a read
/// from the disk, or behind the file's last used page the zeroing of memory, with all that is read ahead on top. On a
/// machine that reads 8 MiB ahead such a touch was seen to take 40 ms, and there were ten in a row after each
/// checkpoint. So the map is not read ahead by the kernel, but here.
final class FilePrefetcher: Sendable {
    private let worker: WorkerThread
    private let environment: Environment
    private let progress = Mutex(Progress())

    private struct Progress {
        var isStopping = false
        var isGrowing = false
        var grownTo = 0
    }

    /// What is fetched before what was asked for later gets its turn, and before an end is noticed: 8 MiB.
    private static let turn = 2048

    init(_ environment: Environment) throws(KeyspaceError) {
        self.environment = environment
        do throws(WorkerThread.Failure) {
            worker = try WorkerThread()
        } catch {
            throw .failed("cannot start a thread: \(unsafe String(cString: strerror(error.code)))")
        }
    }

    /// Whether blocks are being allocated, and the page up to which that has been done.
    var growth: (isUnderWay: Bool, end: Int) { progress.withLock { ($0.isGrowing, $0.grownTo) } }

    /// Has `pages` brought into memory in their order.
    func fetch(_ pages: Range<Int>) {
        guard !pages.isEmpty else { return }
        perform { [self] in
            let turn = pages.prefix(FilePrefetcher.turn)
            if !progress.withLock({ $0.isStopping }) { environment.fetch(turn) }
            fetch(turn.upperBound..<pages.upperBound)
        }
    }

    /// Has blocks allocated for `pages`; `growth` tells how it went.
    func grow(_ pages: Range<Int>) {
        progress.withLock { $0.isGrowing = true }
        perform { [self] in
            let isGrown = environment.allocate(pages) == 0
            progress.withLock {
                $0.isGrowing = false
                if isGrown { $0.grownTo = pages.upperBound }
            }
        }
    }

    /// Has `pages` opened to writes, and `completion` called then, on this or the other thread.
    func open(_ pages: [Range<Int>], completion: @escaping @Sendable () -> Void) {
        let isStopping = progress.withLock { progress in
            guard !progress.isStopping else { return true }
            worker.perform { [environment] in
                environment.openPages(pages)
                completion()
            }
            return false
        }
        if isStopping { completion() }
    }

    private func perform(_ job: @escaping @Sendable () -> Void) {
        progress.withLock { if !$0.isStopping { worker.perform(job) } }
    }

    /// Ends the thread without what it still has to fetch, and waits for that.
    func stop() {
        let isFirst = progress.withLock { progress in
            defer { progress.isStopping = true }
            return !progress.isStopping
        }
        if isFirst { worker.stop() }
    }
}
