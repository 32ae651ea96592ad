// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Glibc

/// The directories of data that were received from a master, on their way to the place of those in use.
///
/// They are made in `resync`. When they are complete and durable, this directory is renamed to `resync.ready`, which is
/// the one step that decides: from then on the received data are the server's, however it ends. Their moving to their
/// places is finished now, or at the next start; what was there before is moved aside and removed.
enum ResyncDirectory {
    /// Where data are received.
    static func receiving(in directory: String) -> String { directory + "/resync" }
    private static func ready(in directory: String) -> String { directory + "/resync.ready" }
    private static func old(in directory: String) -> String { directory + "/resync.old" }

    private static let parts = ["keyspace", "log"]

    /// Makes an empty directory to receive in.
    static func prepare(in directory: String) throws(GrowingFile.Failure) -> String {
        let path = receiving(in: directory)
        FileTree.remove(path)
        guard unsafe mkdir(path, 0o755) == 0 else { throw GrowingFile.Failure("making \(path)") }
        return path
    }

    /// Makes what was received the data of the server; nothing may have the old ones open.
    static func adopt(in directory: String) throws(GrowingFile.Failure) {
        let (from, to) = (receiving(in: directory), ready(in: directory))
        FileTree.sync(from)
        guard unsafe rename(from, to) == 0 else { throw GrowingFile.Failure("renaming \(from)") }
        FileTree.sync(directory)
        try finish(in: directory)
    }

    /// Moves complete data to their places, if there are any.
    static func finish(in directory: String) throws(GrowingFile.Failure) {
        let ready = ready(in: directory)
        guard FileTree.exists(ready) else { return }
        let old = old(in: directory)
        FileTree.remove(old)
        unsafe mkdir(old, 0o755)
        for part in parts where FileTree.exists("\(ready)/\(part)") {
            if FileTree.exists("\(directory)/\(part)") {
                guard unsafe rename("\(directory)/\(part)", "\(old)/\(part)") == 0 else {
                    throw GrowingFile.Failure("moving \(part) aside")
                }
            }
            guard unsafe rename("\(ready)/\(part)", "\(directory)/\(part)") == 0 else {
                throw GrowingFile.Failure("moving \(part) to its place")
            }
        }
        FileTree.sync(directory)
        unsafe rmdir(ready)
    }

    /// Removes what was received but could not be used.
    static func removeReceived(in directory: String) { FileTree.remove(receiving(in: directory)) }

    /// Removes what is left of earlier attempts; may take long.
    static func clean(in directory: String) {
        FileTree.remove(old(in: directory))
        FileTree.remove(receiving(in: directory))
    }
}
