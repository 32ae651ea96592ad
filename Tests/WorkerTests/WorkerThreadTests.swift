// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisTesting
import Synchronization
import Testing
import Worker

@Suite("The worker thread")
struct WorkerThreadTests {
    @Test("Jobs are done one after the other in the order in which they came, all of them before the thread ends")
    func order() throws {
        let done = Mutex<[Int]>([])
        let busy = Mutex(false)
        let worker = try WorkerThread()
        for number in 0..<1000 {
            worker.perform {
                // Another job at the same time would find the lock taken.
                busy.withLockIfAvailable { _ in done.withLock { $0.append(number) } }
            }
        }
        worker.stop()
        #expect(done.withLock { $0 } == Array(0..<1000))
    }

    @Test("A job may ask for another, which comes after those that were there before it")
    func nested() throws {
        let done = Mutex<[String]>([])
        let isThere = Mutex(false)
        let worker = try WorkerThread()
        worker.perform {
            while !isThere.withLock({ $0 }) {}
            worker.perform {
                done.withLock { $0.append("asked for by the first") }
            }
            done.withLock { $0.append("first") }
        }
        worker.perform { done.withLock { $0.append("second") } }
        isThere.withLock { $0 = true }
        // Once the thread is to end, nothing may be asked of it.
        #expect(waitUntil { done.withLock { $0.count } == 3 })
        worker.stop()
        #expect(done.withLock { $0 } == ["first", "second", "asked for by the first"])
    }
}
