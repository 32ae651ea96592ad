// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Glibc

/// How much memory this process may use.
enum AvailableMemory {
    /// The memory of the machine, or less if a control group around this process has a lower limit; in bytes.
    ///
    /// A few small files are read.
    static var bytes: Int {
        let physical = sysconf(Int32(_SC_PHYS_PAGES)) * sysconf(Int32(_SC_PAGESIZE))
        return groupLimits.reduce(physical > 0 ? physical : .max) { min($0, $1) }
    }

    /// The limits of the control groups that this process is in, in bytes; those that are none are left out.
    private static var groupLimits: [Int] {
        // A line a hierarchy: `0::/path` in version 2, `4:memory:/path` in version 1.
        text(of: "/proc/self/cgroup").split(separator: "\n").flatMap { line -> [Int] in
            let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
            guard fields.count == 3 else { return [] }
            if fields[1].isEmpty { return limits(below: "/sys/fs/cgroup", fields[2], "memory.max") }
            guard fields[1].split(separator: ",").contains("memory") else { return [] }
            return limits(below: "/sys/fs/cgroup/memory", fields[2], "memory.limit_in_bytes")
        }
    }

    /// The limits in `file` of the group at `path` and of those around it.
    private static func limits(below root: String, _ path: Substring, _ file: String) -> [Int] {
        var directory = root
        return ([""] + path.split(separator: "/")).compactMap { name in
            if !name.isEmpty { directory += "/" + name }
            return Int(text(of: directory + "/" + file).filter { $0 != "\n" })
        }
    }

    /// What stands in a small file; nothing if there is none.
    private static func text(of path: String) -> String {
        let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return "" }
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: 4096)
        let count = unsafe read(descriptor, &bytes, bytes.count)
        return String(decoding: bytes.prefix(max(0, count)), as: UTF8.self)
    }
}
