// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import Glibc

/// What tells one file from another that has its name later.
struct FileIdentity: Equatable, Sendable {
    var size: Int64
    /// When it was last written, in ns since 1970.
    var modifiedNanoseconds: Int64
    /// A checksum of its contents, 0 if none was computed.
    var checksum: UInt64

    /// The identity of the file at `path`, without its checksum; nil if there is none.
    init?(path: String) {
        var status = stat()
        guard unsafe stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return nil }
        self.init(status)
    }

    /// The identity of an open file, without its checksum.
    init?(descriptor: Int32) {
        var status = stat()
        guard unsafe fstat(descriptor, &status) == 0 else { return nil }
        self.init(status)
    }

    private init(_ status: stat) {
        size = Int64(status.st_size)
        modifiedNanoseconds = Int64(status.st_mtim.tv_sec) * 1_000_000_000 + Int64(status.st_mtim.tv_nsec)
        checksum = 0
    }

    init(size: Int64, modifiedNanoseconds: Int64, checksum: UInt64) {
        self.size = size
        self.modifiedNanoseconds = modifiedNanoseconds
        self.checksum = checksum
    }

    /// Whether the file at `path` is this one: of the same size, and of the same time or at least the same contents.
    func isFile(at path: String) -> Bool {
        guard let found = FileIdentity(path: path), found.size == size else { return false }
        if found.modifiedNanoseconds == modifiedNanoseconds { return true }
        return checksum != 0 && FileChecksum.of(path: path) == checksum
    }
}

/// A checksum of a whole file: FNV-1a over words of eight bytes.
///
/// The checksum that an RDB file ends with makes the CRC-64 of all of them the same, so that would not do.
struct FileChecksum {
    private(set) var value: UInt64 = 0xCBF2_9CE4_8422_2325
    private var pending: UInt64 = 0
    private var pendingCount: UInt64 = 0

    /// Adds bytes; O(count).
    mutating func add(_ bytes: ByteView) {
        var index = 0
        while index < bytes.count, pendingCount != 0 {
            addByte(bytes[index])
            index += 1
        }
        let memory = unsafe bytes.rawBuffer
        while index + 8 <= bytes.count {
            // Within the bytes by the loop's condition.
            pending = unsafe UInt64(bigEndian: memory.loadUnaligned(fromByteOffset: index, as: UInt64.self))
            mix()
            index += 8
        }
        while index < bytes.count {
            addByte(bytes[index])
            index += 1
        }
    }

    private mutating func addByte(_ byte: UInt8) {
        pending = pending << 8 | UInt64(byte)
        pendingCount += 1
        if pendingCount == 8 { mix() }
    }

    private mutating func mix() {
        value = (value ^ pending) &* 0x0000_0100_0000_01B3
        value ^= value >> 29
        pending = 0
        pendingCount = 0
    }

    /// The checksum of all that was added, never 0.
    mutating func finish() -> UInt64 {
        pending ^= pendingCount << 56
        mix()
        return max(1, value)
    }

    /// The checksum of the file at `path`, 0 if it cannot be read.
    static func of(path: String) -> UInt64 {
        let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return 0 }
        defer { close(descriptor) }
        var checksum = FileChecksum()
        var buffer = [UInt8](repeating: 0, count: 1 << 20)
        while true {
            let count = unsafe buffer.withUnsafeMutableBytes { unsafe read(descriptor, $0.baseAddress, $0.count) }
            guard count >= 0 else { return 0 }
            if count == 0 { return checksum.finish() }
            ByteView.with(buffer) { checksum.add($0.prefix(count)) }
        }
    }
}

/// The files of Redis that the keyspace has seen: the dump last written, and what was imported or passed over.
///
/// A file under such a name that is none of these was put there by somebody who wants it to be loaded. The list lies in
/// the keyspace's directory as text, a line each: `kind size nanoseconds checksum`.
struct KnownFiles: Equatable, Sendable {
    /// What a file holds.
    enum Kind: String, Sendable {
        case rdb
        case aof
    }

    private struct Entry: Equatable {
        var kind: Kind
        var identity: FileIdentity
    }

    private var entries: [Entry] = []

    /// The name of the list.
    private static let name = "known-files"

    /// An empty list.
    init() {}

    /// The list in the keyspace's directory; an empty one if there is none.
    init(directory: String) {
        let text = String(decoding: SmallFile.read(directory + "/" + KnownFiles.name) ?? [], as: UTF8.self)
        for line in text.split(separator: "\n") {
            let words = line.split(separator: " ").map(String.init)
            guard words.count == 4, let kind = Kind(rawValue: words[0]), let size = Int64(words[1]),
                let nanoseconds = Int64(words[2]), let checksum = UInt64(words[3], radix: 16)
            else { continue }
            let identity = FileIdentity(size: size, modifiedNanoseconds: nanoseconds, checksum: checksum)
            entries.append(Entry(kind: kind, identity: identity))
        }
    }

    /// Whether the file at `path` is one of these.
    func contains(_ kind: Kind, path: String) -> Bool {
        entries.contains { $0.kind == kind && $0.identity.isFile(at: path) }
    }

    /// Adds a file; those of its kind that were there stay.
    mutating func add(_ kind: Kind, _ identity: FileIdentity) {
        entries.append(Entry(kind: kind, identity: identity))
    }

    /// Makes `identity` the only file of its kind.
    mutating func set(_ kind: Kind, _ identity: FileIdentity) {
        entries.removeAll { $0.kind == kind }
        add(kind, identity)
    }

    /// Writes the list into the keyspace's directory, durably.
    func write(directory: String) throws(SystemError) {
        let lines = entries.map {
            "\($0.kind.rawValue) \($0.identity.size) \($0.identity.modifiedNanoseconds) "
                + String($0.identity.checksum, radix: 16) + "\n"
        }
        try SmallFile.write(Array(lines.joined().utf8), to: directory + "/" + KnownFiles.name)
    }
}

/// What the system refused, as a sentence.
struct SystemError: Error, CustomStringConvertible {
    let description: String

    /// What `errno` says of `action`.
    init(_ action: String, code: Int32 = errno) {
        description = "\(action): \(unsafe String(cString: strerror(code)))"
    }
}

/// Files that are read and written as a whole.
enum SmallFile {
    /// The bytes of the file at `path`, nil if it cannot be read.
    static func read(_ path: String) -> [UInt8]? {
        let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            let count = unsafe buffer.withUnsafeMutableBytes {
                unsafe Glibc.read(descriptor, $0.baseAddress, $0.count)
            }
            guard count >= 0 else { return nil }
            if count == 0 { return bytes }
            bytes += buffer[0..<count]
        }
    }

    /// Puts `bytes` in the place of the file at `path`: whole and durable, or not at all.
    static func write(_ bytes: [UInt8], to path: String) throws(SystemError) {
        let temporary = path + ".new"
        let descriptor = unsafe open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw SystemError("cannot open \(temporary)") }
        let count = unsafe bytes.withUnsafeBytes { unsafe Glibc.write(descriptor, $0.baseAddress, $0.count) }
        let isWritten = count == bytes.count && fsync(descriptor) == 0
        let code = errno
        close(descriptor)
        guard isWritten else { throw SystemError("cannot write \(temporary)", code: code) }
        guard unsafe rename(temporary, path) == 0 else { throw SystemError("cannot rename \(temporary)") }
        syncDirectory(of: path)
    }

    /// Syncs the directory that holds `path`, so that a rename there lasts.
    static func syncDirectory(of path: String) {
        var parent = path.split(separator: "/", omittingEmptySubsequences: false).dropLast().joined(separator: "/")
        if parent.isEmpty { parent = path.hasPrefix("/") ? "/" : "." }
        let descriptor = unsafe open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { return }
        fsync(descriptor)
        close(descriptor)
    }

    /// Whether there is something at `path`.
    static func exists(_ path: String) -> Bool { unsafe access(path, F_OK) == 0 }
}
