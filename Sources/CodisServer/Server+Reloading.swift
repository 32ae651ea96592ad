// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import CommandLog
internal import Keyspace

/// DEBUG LOADAOF: the data from what lies on the disk, as the next start would have them.
extension Server {
    /// Gives up the tree as it is, and makes it anew from the last durable commit and the log since; O(that log).
    ///
    /// Nothing else is served meanwhile. Replicas are disconnected, and go on from the log. Whoever reads a snapshot
    /// begins anew. A failure ends the process: what the clients were told is found again at the next start.
    func reloadFromLog() throws(CommandError) {
        guard !effects.isInUnit else { throw .message("ERR DEBUG LOADAOF is not possible within a transaction") }
        // They hold on to the keyspace that is to be closed.
        guard migrations.isEmpty, fence.isEmpty else {
            throw .message("ERR DEBUG LOADAOF is not possible while keys are on their way")
        }
        guard let old = effects.log, endRunningCheckpoint() else {
            throw .message("ERR Error trying to load the AOF file")
        }
        let kept = statistics
        disconnectReplicas()
        do {
            try old.writeFrame()
            effects.end()
            try old.shutdown()
            keyspace.close()
            // LMDB opens no environment twice, so the old one must be gone: another stands in for it.
            let directory = ServerDirectory.scratchKeyspace(in: config.directory)
            DirectoryListing.remove(directory)
            keyspace = try Keyspace(directory: directory)
            defer { DirectoryListing.remove(directory) }
            keyspace = try Keyspace(
                directory: ServerDirectory.keyspace(in: config.directory),
                options: KeyspaceOptions(config)
            )
            prepareKeyspace()
            keyspace.onKeyChange = nil
            listenToKeys()
            isLoading = true
            let replay = try replayLog(directory: old.directory)
            if isReplica { effects.stopRecording() }
            isLoading = false
            log.notice("DB loaded from the log: \(replay.commandCount) commands since the last checkpoint")
        } catch {
            log.warning("Fatal error loading the data from the log: \(error). Exiting.")
            endProcess(status: 1)
        }
        statistics = kept
        dirty = 0
        touchAllWatched()
        effects.selectAnew()
        advanceCheckpoint()
    }

    /// Opens the log in `directory`, does again what the keyspace does not have of it, and begins to record.
    func replayLog(directory: String) throws -> LogReplay {
        let start = keyspace.position
        var options = CommandLogOptions(segmentBytes: max(1 << 20, config.logSegmentSize))
        if start.identity.count == 40 {
            options.expectedIdentity = LogIdentity(hexadecimal: start.identity.prefix(32))
        }
        checkpoints.identity = start.identity
        let replay = LogReplay(self, from: start)
        let commandLog = try CommandLog.open(
            directory: directory,
            options: options,
            replayFrom: start.offset,
            knownSynced: 0
        ) { payload, offset in
            try replay.apply(payload, at: offset)
        }
        try replay.finish()
        if start.identity.isEmpty {
            checkpoints.identity = Array((commandLog.identity.description + HexDigits.random(count: 8)).utf8)
        }
        if commandLog.recovery.droppedBytes > 0 {
            log.warning(
                "The end of the log was torn: \(commandLog.recovery.droppedBytes) bytes of an unfinished write "
                    + "were cut off."
            )
        }
        effects.begin(commandLog, database: replay.database)
        openReplication(commandLog)
        // A long replay may have begun a checkpoint of its own.
        checkpoints.lastOffset = checkpoints.running?.position.offset ?? start.offset
        checkpoints.lastStartNanoseconds = clock.monotonicNanoseconds
        return replay
    }
}
