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
    /// The directory of the server's data.
    private let directory: String
    /// Whether the master did not say how it calls its history.
    private let isOwn: Bool
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

    init(
        _ config: ServerConfig,
        directory: String,
        place: ReplicaHandshake.Resumption,
        isOwn: Bool
    ) throws(GrowingFile.Failure) {
        self.config = config
        self.directory = directory
        self.isOwn = isOwn
        self.place = place
        file = try GrowingFile(directory: directory)
    }

    /// Has the loading end soon, without success.
    func cancel() {
        isCancelled.store(true, ordering: .releasing)
        file.finish(.failed)
    }

    /// Loads; blocks until all has come, or the load was cancelled.
    func run() -> Result<Summary, Failure> {
        do {
            if isCancelled.load(ordering: .acquiring) { throw Failure(description: "the link was lost") }
            let received = try ResyncDirectory.prepare(in: directory)
            let (summary, _) = try loadKeyspace(ServerDirectory.keyspace(in: received))
            try makeLog(ServerDirectory.log(in: received))
            // The dumps that lie here are older than what was received, and are not to be loaded at the next start.
            let known = KnownFiles(directory: ServerDirectory.keyspace(in: directory))
            try known.write(directory: ServerDirectory.keyspace(in: received))
            return .success(summary)
        } catch {
            ResyncDirectory.removeReceived(in: directory)
            return .failure(Failure(description: "\(error)"))
        }
    }

    private func loadKeyspace(_ directory: String) throws -> (Summary, database: Int) {
        var options = KeyspaceOptions(config)
        options.dirtyPages = 65_536
        let keyspace = try Keyspace(directory: directory, options: options)
        defer {
            // It holds the keyspace, whose files are to be somebody else's from here on.
            keyspace.onPressure = nil
            keyspace.close()
        }
        keyspace.onPressure = { [unowned keyspace] () throws(KeyspaceError) in try keyspace.commitProvisionally() }
        let end = try load(into: keyspace, BulkLoad(keyspace, directory: directory))
        let position = LogPosition(
            identity: place.identifier.digits,
            offset: place.offset,
            database: end.database
        )
        guard let checkpoint = try keyspace.commit(at: position, evenIfUnchanged: true) else { return end }
        try checkpoint.makeDurable()
        keyspace.finish(checkpoint)
        return end
    }

    private func load(into keyspace: Keyspace, _ bulk: BulkLoad) throws -> (Summary, database: Int) {
        var options = RDBReader.Options()
        options.verifiesChecksum = config.rdbChecksum
        options.skipsUnsupported = true
        options.databaseLimit = config.databases
        var position: UInt64 = 0
        let reader = unsafe RDBReader(options: options) { [file] (memory) throws(RDBError) in
            do throws(GrowingFile.Failure) {
                let count = unsafe try file.readWaiting(at: position, into: memory)
                position += UInt64(count)
                return count
            } catch {
                throw .system(operation: "read", code: 5)
            }
        }
        let values = ValueImport(keyspace: keyspace, limits: EncodingLimitsOfKinds(config), load: bulk)
        var summary = Summary()
        var database = -1
        while true {
            if isCancelled.load(ordering: .relaxed) { throw Failure(description: "the link was lost") }
            switch try reader.next() {
            case .key(let key):
                guard keyspace.ensureRoom(bytes: 64 << 10) else { throw KeyspaceError.outOfSpace }
                _ = try values.run(
                    reader.value,
                    key: key.name,
                    in: key.databaseIndex,
                    expireAtMilliseconds: key.expireAtMilliseconds ?? 0
                )
                summary.keys += 1
                if keyspace.commitIsDue { try keyspace.commitProvisionally() }
            case .auxiliaryField(let name, let value):
                if name == ByteView("repl-stream-db") { database = Int(String(value)) ?? -1 }
            case .skipped(let what, let key, let database):
                guard summary.warnings.count < 100 else { continue }
                let name = key.map { " '\(String($0))'" } ?? ""
                summary.warnings.append(
                    "The MASTER has what this server has not, left out: \(what)\(name) in DB \(database)"
                )
            case .databaseSize:
                continue
            case .end:
                try bulk.finish()
                return (summary, database)
            }
        }
    }

    private func makeLog(_ directory: String) throws {
        var options = CommandLogOptions(segmentBytes: max(1 << 20, config.logSegmentSize))
        options.newIdentity = LogIdentity(hexadecimal: place.identifier.digits.prefix(32))
        let log = try CommandLog.open(directory: directory, options: options, replayFrom: place.offset) { _, _ in }
        try log.shutdown()
        let file = ReplicationFile(
            log: place.identifier,
            boot: ReplicationFile.currentBoot,
            history: ReplicationHistory(place.identifier, isOwn: isOwn)
        )
        try file.write(directory: directory)
    }
}
