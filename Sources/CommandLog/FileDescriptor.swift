// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import Glibc

/// An open file or directory, closed when its last user lets go; all the system calls of the log are here.
///
/// Every call that a signal interrupts is made again. No call that has failed otherwise is.
final class FileDescriptor: Sendable {
    let number: Int32
    let path: String

    /// Opens `path`, or throws what the system says.
    init(_ path: String, _ flags: Int32) throws(CommandLogError) {
        number = unsafe Glibc.open(path, flags | O_CLOEXEC, 0o644)
        self.path = path
        guard number >= 0 else { throw .system(operation: "open", path: path, code: errno) }
    }

    deinit { _ = close(number) }

    /// The size of the file.
    func size() throws(CommandLogError) -> Int {
        var status = stat()
        guard unsafe fstat(number, &status) == 0 else { throw failure("fstat") }
        return Int(status.st_size)
    }

    /// Reads up to the length of `buffer` from `position` on; less only at the end of the file.
    func read(into buffer: UnsafeMutableRawBufferPointer, at position: Int) throws(CommandLogError) -> Int {
        var done = 0
        while done < buffer.count {
            let result = unsafe pread(number, buffer.baseAddress! + done, buffer.count - done, off_t(position + done))
            if result < 0 && errno == EINTR { continue }
            guard result >= 0 else { throw failure("read") }
            if result == 0 { break }
            done += result
        }
        return done
    }

    /// Writes all of `bytes` at `position`.
    func write(_ bytes: [UInt8], at position: Int) throws(CommandLogError) {
        var outcome: CommandLogError?
        unsafe bytes.withUnsafeBytes { buffer in
            var pieces = unsafe [
                unsafe iovec(iov_base: UnsafeMutableRawPointer(mutating: buffer.baseAddress), iov_len: bytes.count)
            ]
            do throws(CommandLogError) {
                try unsafe write(&pieces, at: position)
            } catch {
                outcome = error
            }
        }
        if let outcome { throw outcome }
    }

    /// Writes all of `pieces` one after another from `position` on, with one system call if the system takes it all.
    func write(_ pieces: inout [iovec], at position: Int) throws(CommandLogError) {
        var position = position
        var first = 0
        while unsafe first < pieces.count {
            // The system takes 1,024 pieces at most (IOV_MAX).
            let taken = unsafe min(pieces.count - first, 1024)
            let result = unsafe pieces.withUnsafeBufferPointer {
                unsafe pwritev(number, $0.baseAddress! + first, Int32(taken), off_t(position))
            }
            if result < 0 && errno == EINTR { continue }
            guard result >= 0 else { throw failure("write") }
            position += result
            var written = result
            while unsafe first < pieces.count, unsafe written >= pieces[first].iov_len {
                unsafe written -= pieces[first].iov_len
                first += 1
            }
            if written > 0 {
                unsafe pieces[first].iov_base += written
                unsafe pieces[first].iov_len -= written
            }
        }
    }

    /// Makes the file `size` bytes long, with blocks for all of them; bytes not yet written read as zero.
    ///
    /// Throws `diskFull` when there is no room, and leaves the file as long as it was.
    func allocate(size: Int) throws(CommandLogError) {
        let oldSize = try self.size()
        guard oldSize < size else { return }
        var code: Int32
        repeat {
            // Where the file system cannot allocate ahead, the C library writes to each block instead.
            code = posix_fallocate(number, off_t(oldSize), off_t(size - oldSize))
        } while code == EINTR
        guard code != 0 else { return }
        // Blocks that were had before the room ran out are given back.
        _ = ftruncate(number, off_t(oldSize))
        switch code {
        case ENOSPC, EDQUOT, EFBIG: throw .diskFull(path: path)
        default: throw .system(operation: "posix_fallocate", path: path, code: code)
        }
    }

    /// Cuts the file.
    func truncate(size: Int) throws(CommandLogError) {
        guard ftruncate(number, off_t(size)) == 0 else { throw failure("truncate") }
    }

    /// Returns once the file's bytes, and what is needed to find them, are on the disk.
    func syncData() throws(CommandLogError) {
        guard fdatasync(number) == 0 else { throw failure("fdatasync") }
    }

    /// Returns once everything about the file or directory is on the disk.
    func syncAll() throws(CommandLogError) {
        guard fsync(number) == 0 else { throw failure("fsync") }
    }

    /// The next position at or after `position` where the file has data rather than a hole, or nil.
    func nextData(from position: Int) -> Int? {
        // SEEK_DATA, which Glibc's module does not export. A file system without it reports data everywhere.
        let result = lseek(number, off_t(position), 3)
        return result < 0 ? (errno == ENXIO ? nil : position) : Int(result)
    }

    /// The next position at or after `position` where the file has a hole, its end at the latest.
    func nextHole(from position: Int, size: Int) -> Int {
        let result = lseek(number, off_t(position), 4)
        return result < 0 ? size : Int(result)
    }

    private func failure(_ operation: String) -> CommandLogError {
        .system(operation: operation, path: path, code: errno)
    }

    // What works on names.

    /// Makes a directory, and those above it, if they are not there.
    static func makeDirectory(_ path: String) throws(CommandLogError) {
        if unsafe mkdir(path, 0o755) == 0 || errno == EEXIST { return }
        let code = errno
        guard code == ENOENT, let slash = path.lastIndex(of: "/"), slash != path.startIndex else {
            throw .system(operation: "mkdir", path: path, code: code)
        }
        try makeDirectory(String(path[..<slash]))
        guard unsafe mkdir(path, 0o755) == 0 || errno == EEXIST else {
            throw .system(operation: "mkdir", path: path, code: errno)
        }
    }

    /// The names in a directory, in no order.
    static func names(in directory: String) throws(CommandLogError) -> [String] {
        guard let stream = unsafe opendir(directory) else {
            throw .system(operation: "open", path: directory, code: errno)
        }
        defer { unsafe closedir(stream) }
        var names: [String] = []
        while let entry = unsafe readdir(stream) {
            let name = unsafe withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            names.append(name)
        }
        return names
    }

    static func rename(_ path: String, to newPath: String) throws(CommandLogError) {
        guard unsafe Glibc.rename(path, newPath) == 0 else {
            throw .system(operation: "rename", path: path, code: errno)
        }
    }

    /// Removes a file; one that is not there is as good as removed.
    static func remove(_ path: String) throws(CommandLogError) {
        guard unsafe unlink(path) == 0 || errno == ENOENT else {
            throw .system(operation: "unlink", path: path, code: errno)
        }
    }

    /// The system's words for an error code.
    static func message(of code: Int32) -> String {
        var buffer = [CChar](repeating: 0, count: 256)
        guard unsafe strerror_r(code, &buffer, buffer.count) == 0 else { return "error \(code)" }
        return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
