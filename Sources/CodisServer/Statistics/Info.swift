// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import CommandLog
internal import Glibc
internal import Keyspace
internal import Replication
internal import SlotHash

/// A part of INFO, in the order in which INFO shows them.
enum InfoSection: String, CaseIterable {
    case server, clients, memory, persistence, stats, replication, cpu, commandstats, keyspace, storage, slots

    /// The sections that `name` asks for, in any case: one, `default` or `all`; none for a name nobody knows.
    static func named(_ name: String) -> [InfoSection] {
        switch name.lowercased() {
        case "all": allCases
        case "default": allCases.filter { $0 != .commandstats }
        case let name: InfoSection(rawValue: name).map { [$0] } ?? []
        }
    }

    /// The name in the section's headline.
    var title: String {
        switch self {
        case .cpu: "CPU"
        case .server, .clients, .memory, .persistence, .stats, .replication, .commandstats, .keyspace, .storage, .slots:
            rawValue.prefix(1).uppercased() + rawValue.dropFirst()
        }
    }
}

/// INFO: what the server knows about itself (Redis 2.8: `redis.c`, genRedisInfoString).
///
/// No field but those of `# Keyspace` may begin with `db`: Codis's dashboard takes them all for databases.
extension Server {
    /// The text of the sections that `name` asks for.
    func info(_ name: String = "default") -> String {
        InfoSection.named(name).map { section in
            var lines = InfoLines()
            add(section, to: &lines)
            // Who asks for this section alone wants each slot.
            if section == .slots, name.lowercased() == section.rawValue { addEachSlot(to: &lines) }
            return "# \(section.title)\r\n" + lines.text
        }.joined(separator: "\r\n")
    }

    private func add(_ section: InfoSection, to lines: inout InfoLines) {
        switch section {
        case .server: addServer(to: &lines)
        case .clients: addClients(to: &lines)
        case .memory: addMemory(to: &lines)
        case .persistence: addPersistence(to: &lines)
        case .stats: addStatistics(to: &lines)
        case .replication: addReplication(to: &lines)
        case .cpu: addProcessor(to: &lines)
        case .commandstats: addCommands(to: &lines)
        case .keyspace: addKeyspace(to: &lines)
        case .storage: addStorage(to: &lines)
        case .slots: addSlots(to: &lines)
        }
    }

    // MARK: Server and clients

    private func addServer(to lines: inout InfoLines) {
        let uptime = max(0, clock.milliseconds - startedAtMilliseconds) / 1000
        lines["redis_version"] = "2.8.21"
        lines["redis_git_sha1"] = "00000000"
        lines["redis_git_dirty"] = "0"
        lines["redis_build_id"] = "0000000000000000"
        lines["redis_mode"] = "standalone"
        lines["os"] = Self.systemName
        lines["arch_bits"] = "\(Int.bitWidth)"
        lines["multiplexing_api"] = "epoll"
        lines["gcc_version"] = "0.0.0"
        lines["process_id"] = "\(getpid())"
        lines["run_id"] = runIdentifier
        lines["tcp_port"] = "\(config.port)"
        lines["uptime_in_seconds"] = "\(uptime)"
        lines["uptime_in_days"] = "\(uptime / 86_400)"
        lines["hz"] = "\(config.frequency)"
        lines["lru_clock"] = "\(clock.seconds & 0xFF_FFFF)"
        lines["config_file"] = config.configFile ?? ""
    }

    private static let systemName: String = {
        var name = utsname()
        guard unsafe uname(&name) == 0 else { return "Linux" }
        return [text(name.sysname), text(name.release), text(name.machine)].joined(separator: " ")
    }()

    /// The text up to the zero byte in a field of C.
    private static func text<Field>(_ field: Field) -> String {
        unsafe withUnsafeBytes(of: field) { unsafe String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    }

    private func addClients(to lines: inout InfoLines) {
        let waiting = sessions.values.map(\.waitingOutputBytes).max() ?? 0
        lines["connected_clients"] = "\(sessions.count - replication.feeds.count)"
        // In nodes of 16 kB, as CLIENT LIST counts them.
        lines["client_longest_output_list"] = "\((waiting + 16_383) / 16_384)"
        lines["client_biggest_input_buf"] = "\(sessions.values.map(\.unreadBytes).max() ?? 0)"
        lines["blocked_clients"] = "\(blocking.all.count)"
    }

    // MARK: Memory and persistence

    private func addMemory(to lines: inout InfoLines) {
        let used = usedMemory
        let peak = max(cron.peakMemory, used)
        let resident = ProcessMemory.read().residentBytes
        lines["used_memory"] = "\(used)"
        lines["used_memory_human"] = InfoLines.human(used)
        lines["used_memory_rss"] = "\(resident)"
        lines["used_memory_peak"] = "\(peak)"
        lines["used_memory_peak_human"] = InfoLines.human(peak)
        lines["used_memory_lua"] = "\(scripts.memory)"
        lines["mem_fragmentation_ratio"] = InfoLines.fixed(used > 0 ? Double(resident) / Double(used) : 0)
        lines["mem_allocator"] = "libc"
    }

    private func addPersistence(to lines: inout InfoLines) {
        let seconds = secondsSoFar(saves.running)
        lines["loading"] = isLoading ? "1" : "0"
        lines["rdb_changes_since_last_save"] = "\(dirty)"
        lines["rdb_bgsave_in_progress"] = seconds == nil ? "0" : "1"
        lines["rdb_last_save_time"] = "\(saves.lastSeconds)"
        lines["rdb_last_bgsave_status"] = saves.lastWasGood ? "ok" : "err"
        lines["rdb_last_bgsave_time_sec"] = "\(saves.lastDurationSeconds)"
        lines["rdb_current_bgsave_time_sec"] = "\(seconds ?? -1)"
        lines["aof_enabled"] = config.appendOnly ? "1" : "0"
        lines["aof_rewrite_in_progress"] = saves.rewriting == nil ? "0" : "1"
        lines["aof_rewrite_scheduled"] = saves.isRewriteScheduled ? "1" : "0"
        lines["aof_last_rewrite_time_sec"] = "\(saves.lastRewriteDurationSeconds)"
        lines["aof_current_rewrite_time_sec"] = "\(secondsSoFar(saves.rewriting) ?? -1)"
        lines["aof_last_bgrewrite_status"] = saves.lastRewriteWasGood ? "ok" : "err"
        lines["aof_last_write_status"] = writeRefusal == nil && effects.failure == nil ? "ok" : "err"
        if let loading { add(loading, to: &lines) }
        guard config.appendOnly, let log = effects.log else { return }
        lines["aof_current_size"] = "\(log.endOffset - log.firstOffset)"
        lines["aof_base_size"] = "\(max(checkpoints.lastOffset, log.firstOffset) - log.firstOffset)"
        lines["aof_pending_rewrite"] = "0"
        lines["aof_buffer_length"] = "\(log.pendingBytes)"
        lines["aof_rewrite_buffer_length"] = "0"
        lines["aof_pending_bio_fsync"] = log.isSyncing ? "1" : "0"
        lines["aof_delayed_fsync"] = "\(statistics.delayedSyncs)"
    }

    private func add(_ loading: LoadingStatus, to lines: inout InfoLines) {
        let (total, loaded) = (loading.totalBytes, loading.loadedBytes)
        let seconds = max(0, clock.seconds - loading.startSeconds)
        lines["loading_start_time"] = "\(loading.startSeconds)"
        lines["loading_total_bytes"] = "\(total)"
        lines["loading_loaded_bytes"] = "\(loaded)"
        lines["loading_loaded_perc"] = InfoLines.fixed(total > 0 ? Double(loaded) / Double(total) * 100 : 0)
        // Nothing is known until something is loaded.
        lines["loading_eta_seconds"] = "\(loaded > 0 ? seconds * Int64(total - loaded) / Int64(loaded) : 1)"
    }

    private func secondsSoFar(_ save: BackgroundSave?) -> Int64? {
        save.map { max(0, clock.monotonicNanoseconds - $0.startedNanoseconds) / 1_000_000_000 }
    }

    // MARK: Statistics

    private func addStatistics(to lines: inout InfoLines) {
        lines["total_connections_received"] = "\(statistics.connectionsReceived)"
        lines["total_commands_processed"] = "\(statistics.commandsProcessed)"
        lines["instantaneous_ops_per_sec"] = "\(statistics.commandsPerSecond.perSecond)"
        lines["total_net_input_bytes"] = "\(statistics.networkInputBytes)"
        lines["total_net_output_bytes"] = "\(statistics.networkOutputBytes)"
        lines["instantaneous_input_kbps"] = InfoLines.fixed(Double(statistics.inputBytesPerSecond.perSecond) / 1024)
        lines["instantaneous_output_kbps"] = InfoLines.fixed(Double(statistics.outputBytesPerSecond.perSecond) / 1024)
        lines["rejected_connections"] = "\(statistics.connectionsRejected)"
        lines["sync_full"] = "\(statistics.fullSyncs)"
        lines["sync_partial_ok"] = "\(statistics.partialSyncs)"
        lines["sync_partial_err"] = "\(statistics.partialSyncsRefused)"
        lines["expired_keys"] = "\(statistics.expiredKeys)"
        lines["evicted_keys"] = "\(statistics.evictedKeys)"
        lines["keyspace_hits"] = "\(statistics.keyspaceHits)"
        lines["keyspace_misses"] = "\(statistics.keyspaceMisses)"
        lines["pubsub_channels"] = "\(pubSub.channels.count)"
        lines["pubsub_patterns"] = "\(pubSub.patterns.count)"
        // Nothing is forked: the data are on the disk already.
        lines["latest_fork_usec"] = "0"
    }

    private func addReplication(to lines: inout InfoLines) {
        let now = monotonicMilliseconds
        lines["role"] = isReplica ? "slave" : "master"
        if let link = replication.link { add(link, to: &lines, at: now) }
        lines["connected_slaves"] = "\(replication.feeds.count)"
        if needsReplicasToWrite { lines["min_slaves_good_slaves"] = "\(replication.goodReplicas)" }
        for (index, feed) in replication.feeds.enumerated() {
            let status = feed.status
            lines["slave\(index)"] =
                "ip=\(feed.ip),port=\(feed.session.replicaAnnouncement.listeningPort),state=\(status.state.rawValue),"
                + "offset=\(status.acknowledgedOffset),lag=\(status.lagSeconds(at: now))"
        }
        // The log is the backlog, from its first byte that is still there; without replicas nobody asks for it.
        let isActive = replication.hadReplicas && keepsBacklog
        let (first, end) = (effects.log?.firstOffset ?? 0, effects.endOffset)
        lines["master_repl_offset"] = "\(end)"
        lines["repl_backlog_active"] = isActive ? "1" : "0"
        lines["repl_backlog_size"] = "\(config.backlogSize)"
        lines["repl_backlog_first_byte_offset"] = isActive ? "\(first + 1)" : "0"
        lines["repl_backlog_histlen"] = isActive ? "\(end - first)" : "0"
    }

    private func add(_ link: MasterLink, to lines: inout InfoLines, at now: Int64) {
        let silentSeconds = max(0, now - link.lastInputMilliseconds) / 1000
        lines["master_host"] = link.address.host
        lines["master_port"] = "\(link.address.port)"
        lines["master_link_status"] = link.isConnected ? "up" : "down"
        lines["master_last_io_seconds_ago"] = link.isConnected ? "\(silentSeconds)" : "-1"
        lines["master_sync_in_progress"] = link.isSynchronizing ? "1" : "0"
        lines["slave_repl_offset"] = "\(effects.endOffset)"
        if link.isSynchronizing {
            lines["master_sync_left_bytes"] = "\(link.remainingSnapshotBytes)"
            lines["master_sync_last_io_seconds_ago"] = "\(silentSeconds)"
        }
        if !link.isConnected {
            lines["master_link_down_since_seconds"] = "\(max(0, now - link.downSinceMilliseconds) / 1000)"
        }
        lines["slave_priority"] = "\(config.replicaPriority)"
        lines["slave_read_only"] = config.replicaIsReadOnly ? "1" : "0"
    }

    private func addProcessor(to lines: inout InfoLines) {
        var own = rusage()
        var children = rusage()
        unsafe getrusage(RUSAGE_SELF.rawValue, &own)
        unsafe getrusage(RUSAGE_CHILDREN.rawValue, &children)
        lines["used_cpu_sys"] = Self.seconds(own.ru_stime)
        lines["used_cpu_user"] = Self.seconds(own.ru_utime)
        lines["used_cpu_sys_children"] = Self.seconds(children.ru_stime)
        lines["used_cpu_user_children"] = Self.seconds(children.ru_utime)
    }

    private static func seconds(_ time: timeval) -> String {
        InfoLines.fixed(Double(time.tv_sec) + Double(time.tv_usec) / 1_000_000)
    }

    private func addCommands(to lines: inout InfoLines) {
        for command in commands.rows {
            let entry = commandStatistics[command.row]
            guard entry.calls > 0 else { continue }
            let each = InfoLines.fixed(Double(entry.nanoseconds) / 1000 / Double(entry.calls))
            let total = entry.nanoseconds / 1000
            lines["cmdstat_\(command.name)"] = "calls=\(entry.calls),usec=\(total),usec_per_call=\(each)"
        }
    }

    // MARK: Data

    private func addKeyspace(to lines: inout InfoLines) {
        for database in 0..<databaseCount {
            let keys = keyspace.keyCount(in: database)
            guard keys > 0 else { continue }
            let expires = keyspace.expiringKeyCount(in: database)
            let average = keyspace.averageTimeToLive(in: database, at: clock.milliseconds)
            lines["db\(database)"] = "keys=\(keys),expires=\(expires),avg_ttl=\(average)"
        }
    }

    private func addStorage(to lines: inout InfoLines) {
        let storage = keyspace.storageStatistics
        lines["map_bytes"] = "\(storage.mapBytes)"
        lines["file_used_bytes"] = "\(storage.usedBytes)"
        lines["file_free_bytes"] = "\(storage.freeBytes)"
        lines["file_allocated_bytes"] = "\(storage.allocatedBytes)"
        lines["changed_pages"] = "\(storage.dirtyPages)"
        lines["commits"] = "\(storage.commits)"
        lines["commits_not_durable"] = "\(storage.commitsNotDurable)"
        lines["read_transactions"] = "\(storage.readers)"
        let snapshots = keyspace.snapshots
        lines["snapshots"] = "\(snapshots.count)"
        for (index, snapshot) in snapshots.enumerated() {
            let age = (ContinuousClock.now - snapshot.takenAt).components.seconds
            lines["snapshot\(index)"] = "owner=\(snapshot.owner),age=\(age),offset=\(snapshot.position.offset)"
        }
        lines["reclaim_in_progress"] = storage.isReclaiming ? "1" : "0"
        lines["checkpoints_completed"] = "\(checkpoints.completed)"
        lines["checkpoint_offset"] = "\(checkpoints.lastOffset)"
        lines["rss_anonymous_bytes"] = "\(ProcessMemory.read().anonymousBytes)"
        guard let log = effects.log else { return }
        lines["log_first_offset"] = "\(log.firstOffset)"
        lines["log_end_offset"] = "\(log.endOffset)"
        lines["log_synced_offset"] = "\(log.syncedOffset)"
        lines["log_segments"] = "\(log.segmentCount)"
        lines["log_disk_bytes"] = "\(log.sizeOnDiskBytes)"
    }

    /// The slots of all databases together.
    private func addSlots(to lines: inout InfoLines) {
        var used = 0
        var largest = (slot: 0, keys: 0)
        for number in 0..<Slot.count {
            guard let slot = Slot(number) else { continue }
            let keys = (0..<databaseCount).reduce(0) { $0 + keyspace.counts(of: slot, in: $1).keys }
            if keys > 0 { used += 1 }
            if keys > largest.keys { largest = (number, keys) }
        }
        lines["slots_total"] = "\(Slot.count)"
        lines["slots_with_keys"] = "\(used)"
        lines["slot_largest"] = "\(largest.slot)"
        lines["slot_largest_keys"] = "\(largest.keys)"
        lines["slots_fenced_tags_and_keys"] = "\(fence.count)"
        lines["slots_moves_in_progress"] = "\(migrations.count)"
        lines["slots_target_connections"] = "\(targets.connectionCount)"
    }

    /// A line for each slot that has keys or is used.
    private func addEachSlot(to lines: inout InfoLines) {
        for number in 0..<Slot.count {
            guard let slot = Slot(number) else { continue }
            var counts = SlotCounts()
            for database in 0..<databaseCount { counts += keyspace.counts(of: slot, in: database) }
            let (reads, writes) = (keyspace.traffic.reads(of: slot), keyspace.traffic.writes(of: slot))
            guard counts.keys > 0 || reads > 0 || writes > 0 else { continue }
            lines["slot\(number)"] =
                "keys=\(counts.keys),bytes=\(counts.bytes),expires=\(counts.expiring),reads=\(reads),writes=\(writes)"
        }
    }
}

/// Fields and their values, in the order in which they were set.
private struct InfoLines {
    private(set) var text = ""

    subscript(field: String) -> String {
        get { "" }
        set { text += "\(field):\(newValue)\r\n" }
    }

    /// `number` with two decimals.
    static func fixed(_ number: Double) -> String {
        let hundredths = Int((number * 100).rounded())
        let fraction = String(hundredths % 100)
        return "\(hundredths / 100)." + (fraction.count < 2 ? "0" + fraction : fraction)
    }

    /// `bytes` as Redis shows them to people: `512B`, `2.60M` (redis.c, bytesToHuman).
    static func human(_ bytes: Int) -> String {
        switch bytes {
        case ..<1024: "\(bytes)B"
        case ..<(1 << 20): fixed(Double(bytes) / 1024) + "K"
        case ..<(1 << 30): fixed(Double(bytes) / Double(1 << 20)) + "M"
        default: fixed(Double(bytes) / Double(1 << 30)) + "G"
        }
    }
}

/// What the process has in memory.
struct ProcessMemory {
    /// All pages, those of the mapped keyspace among them.
    var residentBytes = 0
    /// The heap and the stacks: what no file backs.
    var anonymousBytes = 0

    /// Reads the figures from the kernel; zeros if it does not tell.
    static func read() -> ProcessMemory {
        var memory = ProcessMemory()
        let descriptor = unsafe open("/proc/self/statm", O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return memory }
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: 256)
        let count = unsafe bytes.withUnsafeMutableBytes { unsafe Glibc.read(descriptor, $0.baseAddress, $0.count) }
        guard count > 0 else { return memory }
        // In pages: size, resident, shared, ...
        let pages = String(decoding: bytes[..<count], as: UTF8.self).split(separator: " ").compactMap { Int($0) }
        guard pages.count >= 3 else { return memory }
        let pageSize = sysconf(Int32(_SC_PAGESIZE))
        memory.residentBytes = pages[1] * pageSize
        memory.anonymousBytes = (pages[1] - pages[2]) * pageSize
        return memory
    }
}
