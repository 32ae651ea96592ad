// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Glibc

/// The change from the keyspace that was there to one that was imported.
///
/// The new one is built under a name of its own. When it is whole and durable it gets a mark; from then on the change
/// is finished by whoever comes first, this start or the next: the old log and keyspace move into a directory of their
/// own, and the new one takes their place. Without the mark it is the rest of an import that was killed, and removed.
enum ImportSwap {
    /// Where an import is built.
    static func staging(in directory: String) -> String { directory + "/keyspace.import" }

    private static let mark = "import-complete"

    /// Says that what was built is whole; what is there now is to be kept as `directory/aside`.
    static func complete(in directory: String, aside: String) throws(SystemError) {
        try SmallFile.write(Array(aside.utf8), to: "\(staging(in: directory))/\(mark)")
    }

    /// Finishes a change that was marked, and removes what is left of an import that was not.
    ///
    /// - Returns: the directory that has the old data now, if there were any.
    @discardableResult
    static func finish(in directory: String) throws(SystemError) -> String? {
        let staging = staging(in: directory)
        let keyspace = ServerDirectory.keyspace(in: directory)
        let log = ServerDirectory.log(in: directory)
        unsafe unlink("\(keyspace)/\(mark)")
        DirectoryListing.remove(staging + ".new")
        guard let name = SmallFile.read("\(staging)/\(mark)").map({ String(decoding: $0, as: UTF8.self) }) else {
            DirectoryListing.remove(staging)
            return nil
        }
        let aside = "\(directory)/\(name)"
        let hasOld = SmallFile.exists(keyspace) || SmallFile.exists(log)
        if hasOld, unsafe mkdir(aside, 0o755) != 0, errno != EEXIST { throw SystemError("cannot make \(aside)") }
        // The log goes first: a new keyspace beside an old log would be taken for one that lacks what the log has.
        for (old, new) in [(log, aside + "/log"), (keyspace, aside + "/keyspace"), (staging, keyspace)]
        where SmallFile.exists(old) {
            guard unsafe rename(old, new) == 0 else { throw SystemError("cannot rename \(old) to \(new)") }
            SmallFile.syncDirectory(of: old)
        }
        unsafe unlink("\(keyspace)/\(mark)")
        return SmallFile.exists(aside) ? aside : nil
    }

    /// A name for the old data, of the time and not in use.
    static func newAsideName(in directory: String) -> String {
        var seconds = time(nil)
        var parts = unsafe tm()
        unsafe localtime_r(&seconds, &parts)
        func two(_ number: Int32) -> String { number < 10 ? "0\(number)" : "\(number)" }
        let day = unsafe "\(Int(parts.tm_year) + 1900)\(two(parts.tm_mon + 1))\(two(parts.tm_mday))"
        let name = unsafe "replaced-\(day)-\(two(parts.tm_hour))\(two(parts.tm_min))\(two(parts.tm_sec))"
        var number = 1
        var free = name
        while SmallFile.exists("\(directory)/\(free)") {
            number += 1
            free = "\(name)-\(number)"
        }
        return free
    }
}

/// The lock of a keyspace that is not opened, so that no server uses it meanwhile.
@safe
final class KeyspaceLock {
    private let descriptor: Int32

    /// Locks the keyspace in `directory`; nil if another process has it.
    ///
    /// One that is not there needs no lock.
    init?(_ directory: String) {
        descriptor = unsafe open(directory + "/owner", O_RDWR | O_CLOEXEC)
        if descriptor >= 0, flock(descriptor, LOCK_EX | LOCK_NB) != 0 {
            close(descriptor)
            return nil
        }
    }

    deinit {
        if descriptor >= 0 { close(descriptor) }
    }
}
