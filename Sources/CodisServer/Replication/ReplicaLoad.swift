// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import CommandLog
internal import Keyspace
internal import RDB
internal import Replication
internal import Synchronization

/// The loading of a master's snapshot into a keyspace of its own, beside the one that is in use and goes on serving.
///
/// It runs on a thread while the snapshot still comes. What is there at the end is durable, and has a log that begins
/// at the place which the snapshot stands for.
final class ReplicaLoad: @unchecked Sendable {
    // Unchecked: `isReceived` belongs to the loop, the rest never changes.

    /// What was received so far.
    let file: GrowingFile
    /// What the snapshot stands for.
    let place: ReplicaHandshake.Resumption
    /// Whether the whole snapshot is here.
    var isReceived = false
    private let config: ServerConfig
    private let isCancelled = Atomic<Bool>(false)

    /// What was loaded.
    struct Summary: Sendable {
        var keys = 0
        /// What the operator should know: values that were left out.
        var warnings: [String] = []
    }

    /// Why nothing was loaded.
    struct Failure: Error, CustomStringConvertible {
        let description: String
    }

    init(_ config: ServerConfig, place: ReplicaHandshake.Resumption) throws(GrowingFile.Failure) {
        self.config = config
        self.place = place
        file = try GrowingFile(directory: config.directory)
    }

    /// Has the loading end soon, without success.
    func cancel() {
        isCancelled.store(true, ordering: .releasing)
        file.finish(.failed)
    }

    /// Loads; blocks until all has come, or the load was cancelled.
    func run() -> Result<Summary, Failure> {
        do {
            let directory = try ResyncDirectory.prepare(in: config.directory)
            let (summary, database) = try loadKeyspace(ServerDirectory.keyspace(in: directory))
            try makeLog(ServerDirectory.log(in: directory), database: database)
            return .success(summary)
        } catch {
            ResyncDirectory.removeReceived(in: config.directory)
            return .failure(Failure(description: "\(error)"))
        }
    }

    private func loadKeyspace(_ directory: String) throws -> (Summary, database: Int) {
        throw Failure(description: "not yet")
    }

    private func makeLog(_ directory: String, database: Int) throws {
        var options = CommandLogOptions(segmentBytes: max(1 << 20, config.logSegmentSize))
        options.newIdentity = LogIdentity(hexadecimal: place.identifier.digits.prefix(32))
        let log = try CommandLog.open(directory: directory, options: options, replayFrom: place.offset) { _, _ in }
        try log.shutdown()
    }
}
