// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Glibc

/// A file that is imported.
@safe
final class ImportFile {
    let path: String
    let descriptor: Int32
    /// Its size when it was opened.
    let size: Int
    /// How far it was read.
    private(set) var position = 0

    private var buffer = [UInt8](repeating: 0, count: 256 << 10)

    /// Opens the file at `path`; nil if that is not possible, or if it is no file.
    init?(_ path: String) {
        self.path = path
        descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        var status = stat()
        guard unsafe fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            close(descriptor)
            return nil
        }
        size = Int(status.st_size)
        posix_fadvise(descriptor, 0, 0, POSIX_FADV_SEQUENTIAL)
    }

    deinit {
        if descriptor >= 0 { close(descriptor) }
    }

    /// Whether it begins as an RDB file does.
    var beginsWithRDB: Bool {
        var bytes = [UInt8](repeating: 0, count: 5)
        return unsafe pread(descriptor, &bytes, 5, 0) == 5 && bytes == Array("REDIS".utf8)
    }

    /// The first byte, nil if there is none.
    var firstByte: UInt8? { byte(at: 0) }

    /// The byte at `offset`, nil if there is none.
    func byte(at offset: Int) -> UInt8? {
        var byte: UInt8 = 0
        return unsafe pread(descriptor, &byte, 1, off_t(offset)) == 1 ? byte : nil
    }

    /// Goes on reading at `offset`.
    func seek(to offset: Int) {
        lseek(descriptor, off_t(offset), SEEK_SET)
        position = offset
    }

    /// Appends the next bytes to `bytes`; nothing at the end.
    func read(into bytes: inout [UInt8]) throws(SystemError) {
        while true {
            let count = unsafe buffer.withUnsafeMutableBytes { memory in
                unsafe Glibc.read(descriptor, memory.baseAddress, memory.count)
            }
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw SystemError("reading \(path)") }
            bytes.append(contentsOf: buffer[0..<count])
            position += count
            return
        }
    }
}

/// The names in a directory.
enum DirectoryListing {
    /// The names of files and directories in `directory`, in order; none if it cannot be read.
    static func names(in directory: String) -> [String] {
        guard let stream = unsafe opendir(directory) else { return [] }
        defer { unsafe closedir(stream) }
        var names: [String] = []
        while let entry = unsafe readdir(stream) {
            let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                unsafe pointer.withMemoryRebound(to: CChar.self, capacity: 256) { unsafe String(cString: $0) }
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names.sorted()
    }

    /// Removes a directory that has no others in it.
    static func remove(_ directory: String) {
        for name in names(in: directory) { unsafe unlink("\(directory)/\(name)") }
        unsafe rmdir(directory)
    }
}
