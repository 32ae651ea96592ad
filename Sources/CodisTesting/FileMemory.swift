// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Glibc

/// What of a file the kernel has in memory.
public enum FileMemory {
    /// How many of `bytes` of a file are in memory, in whole pages; nil if that cannot be told.
    ///
    /// `bytes` must begin with a page.
    public static func residentBytes(of path: String, in bytes: Range<Int>) -> Int? {
        let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        let found = unsafe mmap(nil, bytes.count, PROT_READ, MAP_SHARED, descriptor, off_t(bytes.lowerBound))
        guard let map = unsafe found, unsafe map != MAP_FAILED else { return nil }
        defer { unsafe munmap(map, bytes.count) }
        let pageSize = sysconf(Int32(_SC_PAGESIZE))
        var pages = [UInt8](repeating: 0, count: (bytes.count + pageSize - 1) / pageSize)
        guard unsafe mincore(map, bytes.count, &pages) == 0 else { return nil }
        return pages.count { $0 & 1 == 1 } * pageSize
    }

    /// Writes what is in memory of a file to the disk and drops it from memory; false if that failed.
    ///
    /// No process may have the file mapped.
    public static func evict(_ path: String) -> Bool {
        let descriptor = unsafe open(path, O_RDWR | O_CLOEXEC)
        guard descriptor >= 0 else { return false }
        defer { close(descriptor) }
        return fsync(descriptor) == 0 && posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED) == 0
    }
}
