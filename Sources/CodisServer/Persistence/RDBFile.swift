// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import Glibc
internal import Keyspace
internal import RDB
internal import Synchronization

/// Why a dump was not written.
enum SaveError: Error, CustomStringConvertible {
    /// The snapshot went: begin anew with another.
    case cut
    /// Somebody has stopped it.
    case cancelled
    /// Anything else, as a sentence.
    case failed(String)

    var description: String {
        switch self {
        case .cut: "\(SnapshotError.cut)"
        case .cancelled: "it was stopped"
        case .failed(let text): text
        }
    }
}

/// A file of the whole keyspace, which is written under another name and gets its own when it is whole.
protocol SnapshotFile: Sendable {
    /// Where it lies in the end.
    var path: String { get }
    /// Where it is written.
    var temporaryPath: String { get }
    /// What it holds.
    var kind: KnownFiles.Kind { get }

    /// Writes all keys that have not expired at `now`.
    ///
    /// `rest` is called between any two keys and within large values, when nothing that is stored is being looked at.
    func dump(_ reader: KeyspaceReader, to output: FileOutput, now: Int64, rest: @escaping () throws -> Void) throws
}

extension SnapshotFile {
    /// Writes all keys of `reader` that have not expired at `now` into the file under its temporary name, durably.
    ///
    /// - Returns: what tells the file from others.
    func write(
        _ reader: KeyspaceReader,
        now: Int64,
        isCancelled: @escaping () -> Bool = { false }
    ) throws(SaveError) -> FileIdentity {
        let descriptor = unsafe open(temporaryPath, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else {
            throw .failed("Failed opening .\(kind.rawValue) for saving: \(unsafe String(cString: strerror(errno)))")
        }
        defer { close(descriptor) }
        do {
            let output = FileOutput(descriptor)
            func rest() throws {
                guard output.isFull else { return }
                if isCancelled() { throw SaveError.cancelled }
                try reader.pause { try output.flush() }
            }
            try dump(reader, to: output, now: now, rest: rest)
            try reader.pause { try output.finish() }
            guard var identity = FileIdentity(descriptor: descriptor) else { throw SystemError("fstat") }
            identity.checksum = output.checksum
            return identity
        } catch let error as SaveError {
            throw error
        } catch SnapshotError.cut {
            throw .cut
        } catch {
            throw .failed("\(error)")
        }
    }

    /// Gives the file its name.
    ///
    /// The keyspace in `keyspaceDirectory` knows it before that as one of its own, or a crash in between would make
    /// the next start take it for a backup that somebody wants restored.
    func publish(_ identity: FileIdentity, keyspaceDirectory: String) throws(SaveError) {
        do throws(SystemError) {
            var known = KnownFiles(directory: keyspaceDirectory)
            known.add(kind, identity)
            try known.write(directory: keyspaceDirectory)
            guard unsafe rename(temporaryPath, path) == 0 else {
                throw SystemError("Error moving temp DB file on the final destination")
            }
            SmallFile.syncDirectory(of: path)
            known.set(kind, identity)
            try known.write(directory: keyspaceDirectory)
        } catch {
            throw .failed("\(error)")
        }
    }

    /// Removes what was written under the temporary name.
    func discard() { unsafe unlink(temporaryPath) }
}

/// A dump of the keyspace as an RDB file.
struct RDBFile: SnapshotFile {
    let path: String
    let temporaryPath: String
    let kind = KnownFiles.Kind.rdb
    let options: RDBWriter.Options

    private static let counter = Atomic<Int>(0)

    /// The dump that `config` names.
    ///
    /// Each has a temporary name of its own: one that was stopped may still be at it when the next begins.
    init(_ config: ServerConfig) {
        path = "\(config.directory)/\(config.dbFileName)"
        let number = RDBFile.counter.add(1, ordering: .relaxed).newValue
        temporaryPath = "\(config.directory)/temp-\(getpid())-\(number).rdb"
        var options = RDBWriter.Options()
        options.compresses = config.rdbCompression
        options.computesChecksum = config.rdbChecksum
        self.options = options
    }

    func dump(_ reader: KeyspaceReader, to output: FileOutput, now: Int64, rest: @escaping () throws -> Void) throws {
        let writer = RDBWriter(options: options) { chunk throws(RDBError) in output.take(chunk) }
        try RDBFile.dump(reader, to: writer, now: now, rest: rest)
    }

    /// Writes all keys that have not expired at `now` to `writer`, which is finished.
    ///
    /// `rest` is called between any two keys and within large values, when nothing that is stored is being looked at.
    static func dump(
        _ reader: KeyspaceReader,
        to writer: RDBWriter,
        now: Int64,
        rest: @escaping () throws -> Void
    ) throws {
        let export = ValueExport(reader.rows, to: writer, rest: rest)
        let walk = reader.walk()
        var database = -1
        while let entry = try walk.next() {
            let record = entry.record
            if record.isExpired(at: now) { continue }
            if entry.database != database {
                database = entry.database
                try writer.selectDatabase(database)
            }
            let expiry = record.expireAtMilliseconds
            try writer.beginKey(entry.key, expireAtMilliseconds: expiry == 0 ? nil : expiry, record.shape)
            try export.run(record)
            try writer.endKey()
            try rest()
        }
        try writer.finish()
    }

    /// Removes what servers that were killed in the middle of a dump have left in `directory`.
    static func removeLeftovers(in directory: String) {
        for name in DirectoryListing.names(in: directory)
        where name.wholeMatch(of: /temp-[0-9]+(-[0-9]+)?\.rdb|temp-rewriteaof-[0-9]+-[0-9]+\.aof/) != nil {
            unsafe unlink("\(directory)/\(name)")
        }
    }
}

/// The bytes of a dump on their way into its file.
final class FileOutput {
    private let descriptor: Int32
    private var pending: [UInt8] = []
    private var written = 0
    private var handedToDisk = 0
    private var contents = FileChecksum()
    /// The checksum of the whole file, when it is finished.
    private(set) var checksum: UInt64 = 0

    /// What is written together.
    private static let chunkBytes = 64 << 10
    /// So many bytes are synced while the file grows, so that the sync at its end finds little to do, and other syncs
    /// do not wait for all of it.
    private static let diskStep = 16 << 20

    init(_ descriptor: Int32) {
        self.descriptor = descriptor
        pending.reserveCapacity(4 * FileOutput.chunkBytes)
    }

    var isFull: Bool { pending.count >= FileOutput.chunkBytes }

    func take(_ chunk: ByteView) {
        unsafe pending.append(contentsOf: chunk.rawBuffer)
    }

    func flush() throws {
        ByteView.with(pending) { contents.add($0) }
        var offset = 0
        while offset < pending.count {
            let count = unsafe pending.withUnsafeBytes { bytes in
                unsafe Glibc.write(descriptor, bytes.baseAddress.unsafelyUnwrapped + offset, bytes.count - offset)
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw SystemError("Write error saving DB on disk") }
            offset += count
        }
        written += pending.count
        pending.removeAll(keepingCapacity: pending.capacity <= 8 * FileOutput.chunkBytes)
        if written - handedToDisk >= FileOutput.diskStep {
            guard fdatasync(descriptor) == 0 else { throw SystemError("Write error saving DB on disk") }
            handedToDisk = written
        }
    }

    func finish() throws {
        try flush()
        guard fsync(descriptor) == 0 else { throw SystemError("Write error saving DB on disk") }
        checksum = contents.finish()
    }
}
