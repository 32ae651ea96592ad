// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Glibc

/// The keyspace's directory, locked against a second process for as long as this lives.
///
/// It holds `data.mdb` and `lock.mdb`, which are LMDB's, `durable` (see `DurableMeta`) and `owner`, whose lock is the
/// directory's and which names the process. A new keyspace is made under another name and renamed when complete, so
/// that a directory of this name is always whole.
@safe
final class KeyspaceDirectory: Sendable {
    let path: String
    private let lock: Int32

    /// Whether the directory is being made: it gets its name when `finishCreation()` is called.
    let isNew: Bool

    /// The path to work in: that of the directory, or while it is being made, its other name.
    let workingPath: String

    init(path: String) throws(KeyspaceError) {
        self.path = path
        isNew = unsafe access(path, F_OK) != 0
        let working = isNew ? path + ".new" : path
        workingPath = working
        if isNew, unsafe mkdir(working, 0o755) != 0, errno != EEXIST {
            throw .failed("cannot make the directory \(working): \(unsafe String(cString: strerror(errno)))")
        }
        let owner = working + "/owner"
        lock = unsafe open(owner, O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
        guard lock >= 0 else { throw .failed("cannot open \(owner): \(unsafe String(cString: strerror(errno)))") }
        guard flock(lock, LOCK_EX | LOCK_NB) == 0 else {
            let process = KeyspaceDirectory.firstLine(lock)
            close(lock)
            throw .locked("the directory \(path) is in use by another server (process \(process))")
        }
        if isNew {
            for name in ["data.mdb", "lock.mdb", "durable"] { unsafe unlink(working + "/" + name) }
        }
        let text = Array("\(getpid())\n".utf8)
        ftruncate(lock, 0)
        _ = unsafe pwrite(lock, text, text.count, 0)
    }

    deinit {
        close(lock)
    }

    /// Gives a directory that was being made its name.
    func finishCreation() throws(KeyspaceError) {
        guard isNew else { return }
        for directory in [workingPath, path] {
            if directory == path, unsafe rename(workingPath, path) != 0 {
                throw .failed("cannot rename \(workingPath): \(unsafe String(cString: strerror(errno)))")
            }
            KeyspaceDirectory.sync(directory)
        }
        var parent = path.split(separator: "/", omittingEmptySubsequences: false).dropLast().joined(separator: "/")
        if parent.isEmpty { parent = path.hasPrefix("/") ? "/" : "." }
        KeyspaceDirectory.sync(parent)
    }

    private static func sync(_ directory: String) {
        let descriptor = unsafe open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { return }
        fsync(descriptor)
        close(descriptor)
    }

    private static func firstLine(_ descriptor: Int32) -> String {
        var buffer = [UInt8](repeating: 0, count: 32)
        let count = unsafe pread(descriptor, &buffer, buffer.count, 0)
        guard count > 0 else { return "unknown" }
        return String(decoding: buffer[0..<count].prefix { $0 != 10 }, as: UTF8.self)
    }
}
