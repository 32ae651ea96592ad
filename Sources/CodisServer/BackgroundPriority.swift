// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Glibc

/// The priority of threads whose work nobody waits for.
enum BackgroundPriority {
    /// Lets the calling thread stand back behind the one that executes commands (nice 10).
    ///
    /// Syncing the pages of a checkpoint is work for the processor too. On a machine with as many busy threads as cores
    /// the kernel took the command thread off its core for 20 ms at a time.
    static func lower() {
        // On Linux a priority belongs to a thread, and 0 is the calling one.
        setpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0, 10)
    }
}
