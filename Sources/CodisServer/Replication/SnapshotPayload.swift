// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import Keyspace
internal import RDB

/// A snapshot as an RDB, into a file that is read while it grows.
enum SnapshotPayload {
    struct Options: Sendable {
        var compresses: Bool
        var computesChecksum: Bool
        /// The database that the stream has selected behind the snapshot, where the replica is to be told.
        var streamDatabase: Int?
    }

    /// How much is gathered before it is written and those who read are told.
    private static let stepBytes = 256 << 10

    /// Writes all keys of `snapshot`; `progress` is called now and then, and must not take long.
    static func write(
        _ snapshot: KeyspaceSnapshot,
        _ options: Options,
        to file: GrowingFile,
        progress: @escaping () -> Void
    ) throws {
        var writerOptions = RDBWriter.Options()
        writerOptions.compresses = options.compresses
        writerOptions.computesChecksum = options.computesChecksum
        let gathered = Gathered()
        let writer = RDBWriter(options: writerOptions) { chunk throws(RDBError) in gathered.append(chunk) }
        if let database = options.streamDatabase {
            try ByteView.with("\(database)") { value throws(RDBError) in
                try writer.writeAuxiliaryField(ByteView("repl-stream-db"), value: value)
            }
        }
        func handOn() throws {
            try ByteView.with(gathered.bytes) { bytes throws(GrowingFile.Failure) in try file.append(bytes) }
            gathered.bytes.removeAll(keepingCapacity: true)
            progress()
        }
        try snapshot.read { reader in
            // What has expired is sent as well: the DEL for it is still to come in the stream.
            try RDBFile.dump(reader, to: writer, now: .min) {
                if gathered.bytes.count >= stepBytes { try reader.pause { try handOn() } }
            }
        }
        try handOn()
    }

    /// Bytes that wait to be written.
    private final class Gathered {
        var bytes: [UInt8] = []

        init() { bytes.reserveCapacity(2 * stepBytes) }

        func append(_ chunk: ByteView) { unsafe bytes.append(contentsOf: chunk.rawBuffer) }
    }
}
