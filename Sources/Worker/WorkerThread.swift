// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Glibc

/// A thread that does one job after the other, in the order in which they came.
///
/// Jobs are what may take long: syncing, preallocating, unlinking. The thread blocks all signals, so that they reach
/// the threads which expect them.
@safe
public final class WorkerThread: @unchecked Sendable {
    // Every use of `jobs` and `isStopping` is under `mutex`.
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var jobs: [@Sendable () -> Void] = []
    private var isStopping = false
    private var thread = pthread_t()

    /// The system gave no thread.
    public struct Failure: Error {
        /// The number of the system's error.
        public var code: Int32
    }

    /// Starts the thread.
    ///
    /// - Throws: `Failure` if the system refuses another one.
    public init() throws(Failure) {
        unsafe pthread_mutex_init(mutex, nil)
        unsafe pthread_cond_init(condition, nil)
        var all = sigset_t()
        var before = sigset_t()
        unsafe sigfillset(&all)
        unsafe pthread_sigmask(SIG_SETMASK, &all, &before)
        let context = unsafe Unmanaged.passRetained(self).toOpaque()
        let code = unsafe pthread_create(
            &thread,
            nil,
            { context in
                let worker = unsafe Unmanaged<WorkerThread>.fromOpaque(context!).takeRetainedValue()
                worker.run()
                return nil
            },
            context
        )
        unsafe pthread_sigmask(SIG_SETMASK, &before, nil)
        guard code == 0 else {
            unsafe Unmanaged<WorkerThread>.fromOpaque(context).release()
            throw Failure(code: code)
        }
    }

    deinit {
        unsafe pthread_mutex_destroy(mutex)
        unsafe pthread_cond_destroy(condition)
        unsafe mutex.deallocate()
        unsafe condition.deallocate()
    }

    /// Has `job` done on the thread, after those before it; O(1), for any thread, this one too.
    public func perform(_ job: @escaping @Sendable () -> Void) {
        unsafe pthread_mutex_lock(mutex)
        precondition(!isStopping, "a job for a thread that was stopped")
        jobs.append(job)
        unsafe pthread_cond_signal(condition)
        unsafe pthread_mutex_unlock(mutex)
    }

    /// Ends the thread after the jobs it has, and waits for that; must be called once.
    public func stop() {
        unsafe pthread_mutex_lock(mutex)
        isStopping = true
        unsafe pthread_cond_signal(condition)
        unsafe pthread_mutex_unlock(mutex)
        pthread_join(thread, nil)
    }

    private func run() {
        while true {
            unsafe pthread_mutex_lock(mutex)
            while jobs.isEmpty && !isStopping { unsafe pthread_cond_wait(condition, mutex) }
            let job = jobs.isEmpty ? nil : jobs.removeFirst()
            unsafe pthread_mutex_unlock(mutex)
            guard let job else { return }
            job()
        }
    }
}
