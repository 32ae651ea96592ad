// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Glibc
internal import Replication

/// What a server keeps beside its log about the histories that the log belongs to.
///
/// It is the file `replication` in the log's directory, so that it is replaced with the log by a full resync. It is
/// written when a history begins or gets another name, which is seldom, and before anything is written of what follows.
struct ReplicationFile: Equatable {
    /// The identity of the log and its keyspace.
    var log: ReplicationIdentifier
    /// The boot of the machine in which the log was last written.
    var boot: String
    var history: ReplicationHistory

    private static let title = "codis-replication 1"

    /// The path in the log's directory.
    static func path(in directory: String) -> String { directory + "/replication" }

    /// What tells this boot of the machine from others: what was written since it is still there, unless this changes.
    static let currentBoot: String = {
        let descriptor = unsafe open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return "unknown" }
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: 64)
        let count = unsafe Glibc.read(descriptor, &bytes, bytes.count)
        guard count > 0 else { return "unknown" }
        return String(decoding: bytes[..<count].prefix { $0 > 0x20 }, as: UTF8.self)
    }()

    /// Reads the file; nil if there is none, or none that is whole.
    static func read(directory: String) -> ReplicationFile? {
        let descriptor = unsafe open(path(in: directory), O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: 1024)
        let count = unsafe Glibc.read(descriptor, &bytes, bytes.count)
        guard count > 0 else { return nil }
        let lines = String(decoding: bytes[..<count], as: UTF8.self).split(separator: "\n")
        guard lines.count == 4, lines[0] == title else { return nil }
        guard let log = value(lines[1], "log").flatMap({ ReplicationIdentifier($0) }),
            let boot = value(lines[2], "boot"),
            let history = value(lines[3], "history").flatMap({ ReplicationHistory(text: $0) })
        else { return nil }
        return ReplicationFile(log: log, boot: String(boot), history: history)
    }

    private static func value(_ line: Substring, _ name: String) -> Substring? {
        line.hasPrefix(name + " ") ? line.dropFirst(name.count + 1) : nil
    }

    /// Writes the file so that it is the old one or the new one after any end of the machine.
    func write(directory: String) throws(GrowingFile.Failure) {
        let path = Self.path(in: directory)
        let text = Array("\(Self.title)\nlog \(log)\nboot \(boot)\nhistory \(history.text)\n".utf8)
        let descriptor = unsafe open(path + ".new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw GrowingFile.Failure("opening \(path).new") }
        defer { close(descriptor) }
        guard unsafe Glibc.write(descriptor, text, text.count) == text.count, fsync(descriptor) == 0 else {
            throw GrowingFile.Failure("writing \(path).new")
        }
        guard unsafe rename(path + ".new", path) == 0 else { throw GrowingFile.Failure("renaming \(path).new") }
        FileTree.sync(directory)
    }
}

/// What is done to directories as a whole.
enum FileTree {
    /// Has the names in a directory on the disk.
    static func sync(_ directory: String) {
        let descriptor = unsafe open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { return }
        fsync(descriptor)
        close(descriptor)
    }

    static func exists(_ path: String) -> Bool { unsafe access(path, F_OK) == 0 }

    /// Removes a file, or a directory with what is in it; one that is not there is as good as removed.
    static func remove(_ path: String) {
        guard let stream = unsafe opendir(path) else {
            unsafe unlink(path)
            return
        }
        var names: [String] = []
        while let entry = unsafe readdir(stream) {
            let name = unsafe withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != ".", name != ".." { names.append(name) }
        }
        unsafe closedir(stream)
        for name in names { remove("\(path)/\(name)") }
        unsafe rmdir(path)
    }
}
