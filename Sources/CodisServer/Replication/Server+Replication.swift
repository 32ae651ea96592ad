// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import CommandLog
internal import Keyspace
internal import NIOCore
internal import NIOPosix
internal import RESP
internal import Replication

/// Who follows whom, and what follows from that.
extension Server {
    /// Milliseconds of a clock that only goes forward.
    var monotonicMilliseconds: Int64 { clock.monotonicNanoseconds / 1_000_000 }

    // MARK: Start

    /// Finds out which histories the log belongs to, once it was opened.
    func openReplication(_ commandLog: CommandLog) {
        commandLog.frameListener = { [unowned self] piece in sendToReplicas(piece) }
        replication.lastReplicaLeftMilliseconds = monotonicMilliseconds
        guard let log = ReplicationIdentifier(checkpoints.identity) else { return }
        let file = ReplicationFile.read(directory: commandLog.directory)
        replication.history = ReplicationHistory(log, isOwn: true)
        if let file, file.log == log {
            replication.history = file.history
            guard file.boot != ReplicationFile.currentBoot else { return }
            // Since the machine has started anew, what was written last may be lost, though replicas may have it. A
            // history of its own keeps them from taking what is written now for that; a replica gets it anew from its
            // master.
            if config.master == nil { replication.history.begin(.random(), at: commandLog.endOffset) }
        }
        saveHistory()
    }

    /// Has the names of the histories on the disk, before anything that follows is written.
    func saveHistory() {
        guard let commandLog = effects.log, let log = ReplicationIdentifier(checkpoints.identity) else { return }
        let file = ReplicationFile(log: log, boot: ReplicationFile.currentBoot, history: replication.history)
        do throws(GrowingFile.Failure) {
            try file.write(directory: commandLog.directory)
        } catch {
            refuseWrites("Errors writing the replication history: \(error)")
        }
    }

    // MARK: Roles

    /// Makes this server a replica of the master at `address`, from now on and until it is told otherwise.
    ///
    /// What is there stays, and is served, until the master's data have come.
    func follow(_ address: MasterAddress) {
        replication.link?.shutDown()
        if replication.isPromoted {
            // There was another thought: what waits goes on, with a replica.
            replication.isPromoted = false
            loop.execute { [unowned self] in resumeAfterPromotion() }
        }
        config.master = address
        isReplica = true
        // Whoever waits here for an element would wait for one that somebody else may get.
        disconnectBlocked()
        abortMigrations()
        cancelMigrations()
        effects.stopRecording()
        let link = MasterLink(self, to: address)
        replication.link = link
        disconnectBlocked()
        configurationChanged()
        loop.scheduleTask(in: .milliseconds(10)) { [weak link] in
            guard let link, link.isWaiting else { return }
            link.runCron()
        }
    }

    /// Makes this server a master, with the data that it has; its replicas go on with it where they stand.
    ///
    /// While the link is up, what the master has sent is taken first, so that no write is lost that it has acknowledged
    /// before it heard of this; the commands of clients wait until then.
    func becomeMaster() {
        config.master = nil
        guard let link = replication.link, link.isConnected else { return finishPromotion() }
        guard !link.isDraining else { return }
        replication.isPromoted = true
        for session in sessions.values where session.replica == nil && !session.isMaster {
            session.holds.insert(.promotion)
        }
        link.drain()
    }

    /// Hears that there is nothing more to come from the master, if this server is being promoted.
    func finishPromotion() {
        replication.isPromoted = false
        replication.link?.shutDown()
        replication.link = nil
        isReplica = false
        replication.needsFullResync = false
        replication.history.begin(.random(), at: effects.offset)
        effects.startRecording()
        saveHistory()
        // They know the history by its old name only, and get to know the new one when they ask again.
        disconnectReplicas()
        replication.lastReplicaLeftMilliseconds = monotonicMilliseconds
        configurationChanged()
        resumeAfterPromotion()
    }

    /// Has the commands of clients go on that waited for the end of a promotion.
    private func resumeAfterPromotion() {
        for session in Array(sessions.values) where session.holds.contains(.promotion) { session.resume(.promotion) }
    }

    /// Closes the connections of all replicas: they come back and ask what they can go on with.
    func disconnectReplicas() {
        for feed in replication.feeds { feed.session.closeNow() }
    }

    // MARK: As a replica

    /// Goes on where this server stands, as the master agreed to; `identifier` is how the master calls the history now.
    ///
    /// - Returns: false if that cannot be kept.
    func continueHistory(_ identifier: ReplicationIdentifier?, from asked: ReplicaHandshake.Resumption) -> Bool {
        guard asked.offset == effects.endOffset else { return false }
        let before = replication.history
        replication.history.follow(identifier ?? asked.identifier, from: asked.identifier, at: asked.offset)
        guard replication.history != before else { return true }
        saveHistory()
        if replication.history.current != before.current { disconnectReplicas() }
        return writeRefusal == nil
    }

    /// Takes note that the data are not what the master has any more.
    ///
    /// It is asked for all of them, also after a restart.
    func noteDifference() {
        guard !replication.needsFullResync else { return }
        replication.needsFullResync = true
        // While the log is replayed its histories are not known yet, and the link is still to be made.
        guard !isLoading else { return }
        replication.history = ReplicationHistory(.random(), isOwn: true)
        saveHistory()
    }

    /// The master as a client: CLIENT LIST shows it, and CLIENT KILL ends it.
    func connectedToMaster(_ context: ChannelHandlerContext?, name: String) -> Session {
        let session = Session(self, identifier: nextSessionIdentifier, context: context, address: name)
        nextSessionIdentifier += 1
        session.isAuthenticated = true
        session.isMaster = true
        sessions[session.identifier] = session
        return session
    }

    /// Puts whole commands of the master's stream into the log, which they then stand in before they are done.
    ///
    /// - Returns: false if there is no room for them; nothing has happened then.
    /// - Throws: the failure of the log.
    func appendFromMaster(_ units: ByteView) throws(CommandLogError) -> Bool {
        guard let commandLog = effects.log else { throw .closed }
        guard keyspace.ensureRoom(bytes: units.count), commandLog.ensureRoom(bytes: units.count) else { return false }
        do throws(CommandLogError) {
            // What was recorded as a master, and waits still.
            try commandLog.writeFrame()
            try commandLog.append(units)
            try commandLog.writeFrame()
            if config.appendOnly, config.appendFsync == .always { try commandLog.syncNow() }
        } catch {
            commandLog.discardPending()
            guard case .diskFull = error else { throw error }
            return false
        }
        return true
    }

    /// Calls `body` when no thread is at work on the files of the keyspace, and no command is half done.
    func whenNoCheckpointRuns(_ body: @escaping @Sendable () -> Void) {
        if checkpoints.running != nil {
            checkpoints.runningWaiters.append { [unowned self] _ in
                loop.execute { self.whenNoCheckpointRuns(body) }
            }
        } else {
            body()
        }
    }

    /// Makes what was received from the master the data of this server.
    func adoptReceivedData() {
        guard let old = effects.log else { return }
        disconnectReplicas()
        touchAllWatched()
        let directory = dataDirectory
        do {
            // The dumps of the old data are known to the new ones, or the next start would load the last of them.
            let known = KnownFiles(directory: ServerDirectory.keyspace(in: directory))
            try known.write(directory: ServerDirectory.keyspace(in: ResyncDirectory.receiving(in: directory)))
        } catch {
            // Those that there were when the loading ended are.
            log.warning("The newest dump is not known to the data of the MASTER: \(error)")
        }
        keyspace.close()
        do {
            do throws(CommandLogError) { try old.shutdown() } catch { log.warning("Closing the log: \(error)") }
            try ResyncDirectory.adopt(in: directory)
            keyspace = try Keyspace(
                directory: ServerDirectory.keyspace(in: directory),
                options: KeyspaceOptions(config)
            )
            prepareKeyspace()
            listenToKeys()
            let start = keyspace.position
            var options = CommandLogOptions(segmentBytes: max(1 << 20, config.logSegmentSize))
            options.expectedIdentity = LogIdentity(hexadecimal: start.identity.prefix(32))
            let commandLog = try CommandLog.open(
                directory: ServerDirectory.log(in: directory),
                options: options,
                replayFrom: start.offset
            ) { _, _ in }
            checkpoints.identity = start.identity
            checkpoints.lastOffset = start.offset
            checkpoints.lastStartNanoseconds = clock.monotonicNanoseconds
            effects.begin(commandLog, database: start.database)
            effects.stopRecording()
            openReplication(commandLog)
        } catch {
            log.warning("Fatal error taking over the data of the MASTER: \(error). Exiting.")
            endProcess(status: 1)
        }
        dirty = 0
        replication.needsFullResync = false
        replication.threadForSnapshots().submit { _ in ResyncDirectory.clean(in: directory) }
    }

    // MARK: As a master

    /// Sends what was just written into the log to the replicas that have everything before it.
    private func sendToReplicas(_ piece: ByteView) {
        guard !replication.feeds.isEmpty else { return }
        var shared: ByteBuffer?
        for feed in replication.feeds { feed.sendWritten(piece, &shared) }
    }

    /// Takes a client as a replica: gives it what it asked for with PSYNC, or with SYNC if `request` is nil.
    func attach(_ session: Session, request: (identifier: [UInt8], offset: Int64)?) {
        log.notice("Slave \(name(ofReplica: session)) asks for synchronization")
        let feed = ReplicaFeed(self, session, acknowledges: request != nil)
        session.replica = feed
        replication.feeds.append(feed)
        replication.hadReplicas = true
        countGoodReplicas()
        if let request {
            switch decide(request.identifier, request.offset) {
            case .resume(let offset):
                return resume(feed, from: offset)
            case .fullResyncRequested:
                log.notice("Full resync requested by slave \(feed.name)")
            case .otherHistory:
                statistics.partialSyncsRefused += 1
                log.notice(
                    "Partial resynchronization not accepted: Runid mismatch (Client asked for runid "
                        + "'\(String(decoding: request.identifier, as: UTF8.self))', my runid is "
                        + "'\(replication.history.current)')"
                )
            case .outOfRange:
                statistics.partialSyncsRefused += 1
                log.notice(
                    "Unable to partial resync with slave \(feed.name) for lack of backlog "
                        + "(Slave request was: \(request.offset))."
                )
            }
        }
        beginFullResync(feed)
    }

    private func decide(_ identifier: [UInt8], _ offset: Int64) -> PartialResyncDecision {
        guard let log = effects.log else { return .outOfRange }
        return replication.history.decide(
            identifier: identifier,
            offset: offset,
            available: log.firstOffset...log.endOffset
        )
    }

    private func resume(_ feed: ReplicaFeed, from offset: UInt64) {
        statistics.partialSyncs += 1
        let isNamed = feed.session.replicaAnnouncement.takesHistories
        feed.session.send(
            ByteBuffer(string: isNamed ? "+CONTINUE \(replication.history.current)\r\n" : "+CONTINUE\r\n")
        )
        log.notice(
            "Partial resynchronization request from \(feed.name) accepted. Sending \(effects.endOffset - offset) bytes "
                + "of backlog starting from offset \(offset + 1)."
        )
        feed.resume(from: offset)
        countGoodReplicas()
    }

    /// How the log calls a client that asks to be a replica.
    private func name(ofReplica session: Session) -> String {
        let port = session.replicaAnnouncement.listeningPort
        guard port > 0, let ip = session.context?.channel.remoteAddress?.ipAddress else { return session.address }
        return "\(ip):\(port)"
    }

    /// Hears that a replica's connection is gone.
    func replicaLost(_ feed: ReplicaFeed) {
        replication.feeds.removeAll { $0 === feed }
        replication.lastReplicaLeftMilliseconds = monotonicMilliseconds
        log.warning("Connection with slave \(feed.name) lost.")
        countGoodReplicas()
    }

    /// Counts anew the replicas that min-slaves-to-write asks for, and sees whether there are any.
    func countGoodReplicas() {
        let (now, lag) = (monotonicMilliseconds, config.minimumReplicasMaximumLagSeconds)
        replication.goodReplicas = replication.feeds.count {
            !$0.isLeaving && $0.status.isGood(at: now, maximumLagSeconds: lag)
        }
        recordsMessages = replication.feeds.contains { !$0.isLeaving }
    }

    /// Whether a number of good replicas is asked for.
    var needsReplicasToWrite: Bool {
        config.minimumReplicasToWrite > 0 && config.minimumReplicasMaximumLagSeconds > 0
    }

    /// The offset from which on the log must be kept for the replicas that are connected.
    var offsetNeededByReplicas: UInt64 { replication.feeds.compactMap(\.neededOffset).min() ?? .max }

    /// Whether the log is kept for replicas that may come back, beyond what recovery needs (`repl-backlog-ttl`).
    ///
    /// A replica keeps it, as it may become the master of others.
    var keepsBacklog: Bool {
        if isReplica || !replication.feeds.isEmpty || config.backlogLifetimeSeconds == 0 { return true }
        let gone = monotonicMilliseconds - replication.lastReplicaLeftMilliseconds
        return gone < Int64(config.backlogLifetimeSeconds).multipliedClamped(by: 1000)
    }

    /// Exchanges the keys of two databases, as a master of version 4 or later may ask; false if one is not there.
    func swapDatabases(_ one: Int, _ other: Int) -> Bool {
        guard (0..<databaseCount).contains(one), (0..<databaseCount).contains(other) else { return false }
        do throws(KeyspaceError) { try keyspace.swapDatabases(one, other) } catch { return false }
        touchAllWatched()
        return true
    }

    // MARK: Each second

    func runReplicationCron() {
        replication.link?.runCron()
        let now = monotonicMilliseconds
        guard !replication.feeds.isEmpty else {
            // The period begins with the first replica.
            replication.lastPingMilliseconds = now
            return
        }
        let period = Int64(config.replicationPingPeriodSeconds) * 1000
        if now - replication.lastPingMilliseconds >= period {
            replication.lastPingMilliseconds = now
            if !isReplica, !effects.isInUnit {
                effects.appendPing()
                needsTickEnd()
            }
            for feed in replication.feeds where feed.isWaitingForSnapshot {
                feed.session.send(ByteBuffer(string: "\n"))
            }
        }
        let timeout = Int64(config.replicationTimeoutSeconds) * 1000
        for feed in replication.feeds
        where feed.acknowledges && feed.status.state == .online && now - feed.status.lastHeardMilliseconds > timeout {
            log.warning("Disconnecting timedout slave: \(feed.name)")
            feed.session.closeNow()
        }
        countGoodReplicas()
    }

    // MARK: Admission

    /// Why replication does not let a client's command run; nil if it does.
    func refusalByReplication(_ command: Command, _ call: CommandCall) -> String? {
        let isWrite = command.flags.contains(.write)
        if !isReplica {
            guard isWrite, needsReplicasToWrite, replication.goodReplicas < config.minimumReplicasToWrite else {
                return nil
            }
            return "NOREPLICAS Not enough good slaves to write."
        }
        if isWrite, config.replicaIsReadOnly, !call.session.isMaster {
            return "READONLY You can't write against a read only slave."
        }
        if !config.replicaServesStaleData, !command.flags.contains(.stale), !(replication.link?.isConnected ?? false) {
            return "MASTERDOWN Link with MASTER is down and slave-serve-stale-data is set to 'no'."
        }
        return nil
    }
}
