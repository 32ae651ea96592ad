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

    /// How much is written before those who read are told.
    private static let stepBytes: UInt64 = 256 << 10

    /// Writes all keys of `snapshot`; `progress` is called now and then, and must not take long.
    static func write(
        _ snapshot: KeyspaceSnapshot,
        _ options: Options,
        to file: GrowingFile,
        progress: @escaping () -> Void
    ) throws {
    }
}
