// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import CommandLog
internal import Keyspace
internal import NIOCore
internal import NIOPosix
internal import RDB

/// The server: the keyspace, the log, the clients, and what runs commands on behalf of them.
///
/// Everything in it belongs to one thread, that of `loop`, as in Redis. It is declared Sendable because NIO's
/// closures demand it; each of them runs on the loop, or only hops there.
final class Server: @unchecked Sendable {
    /// The loop that reads the sockets and runs the commands.
    let loop: any EventLoop
    var config: ServerConfig
    var log: ServerLog
    let commands: CommandTable
    let commandStatistics: CommandStatistics
    /// The data; another object after a full resync.
    var keyspace: Keyspace { didSet { lentKeyspace = Lent(keyspace) } }
    fileprivate var lentKeyspace: Lent<Keyspace>
    let effects = EffectStream()

    /// The call that all commands of clients share.
    let call: CommandCall
    var clock = Clock()
    var statistics = ServerStatistics()
    var slowLog = SlowLog()
    var latency = LatencyMonitor()
    /// Changes since the last save (rdb_changes_since_last_save).
    var dirty = 0
    /// 40 random digits, new at each start.
    let runIdentifier: String
    let startedAtMilliseconds: Int64

    // Clients: see Server+Clients.swift.
    var sessions: [Int: Session] = [:]
    var nextSessionIdentifier = 1
    var monitors: [Session] = []
    var pausedUntilMilliseconds: Int64 = 0
    /// What listens.
    var listeners: [any Channel] = []
    /// The keys that clients watch: see Server+Transactions.swift.
    var watches = WatchedKeys()
    /// Who waits for which lists: see Server+Blocking.swift.
    var blocking = BlockedClients()
    /// The call that serves those who wait.
    let blockedCall: CommandCall
    /// The keys that commands wait for: see Migration/KeyFence.swift.
    var fence = KeyFence()
    /// The moves of keys to other servers that are under way, and the connections for them: see Migration/.
    var migrations: [ObjectIdentifier: any RunningMigration] = [:]
    private(set) lazy var targets = TargetPool(self)
    private var lentEncoder: (compresses: Bool, encoder: DumpEncoder)?
    /// Makes payloads, each of which is gone with the next.
    var migrationEncoder: DumpEncoder {
        let compresses = config.rdbCompression
        if let lentEncoder, lentEncoder.compresses == compresses { return lentEncoder.encoder }
        // To compress a short string and to expand it again takes both ends longer than to send it.
        let encoder = DumpEncoder(compresses: compresses, leastCompressed: 1024)
        lentEncoder = (compresses, encoder)
        return encoder
    }
    /// Values that arrive in pieces, and over which connection: see Migration/StagedValue.swift.
    var stagedValues: [[UInt8]: (value: StagedValue, session: Session)] = [:]
    /// Who has subscribed to what: see PubSub.swift.
    var pubSub = PubSub()
    /// The events of keys that are published: what `notify-keyspace-events` says, but cheaper to ask.
    var notifiedEvents: KeyspaceEvents = []
    /// Whether PUBLISH enters the log: while there is a replica.
    ///
    /// One that is away misses messages; else a master that has lost its replica to a promotion would have what that
    /// one has not, for no more than a message of Sentinel's, and could not go on where it stands.
    var recordsMessages = false

    // Execution: see Server+Execution.swift.
    /// Whether a command of a client runs.
    var isExecuting = false
    var gates: AdmissionGates = []
    /// Commands that take at least so long are looked at for the slow log and the latency monitor.
    var slowNanoseconds = Int64.max
    /// Why writes are refused, if they are: the text behind `-`.
    var writeRefusal: String?
    /// Whether the log is being replayed.
    var isLoading = true
    /// Whether there is a master that this server follows.
    var isReplica = false
    /// Where in the log the command that runs begins, and the database that is selected there.
    var commandStart: (offset: UInt64, database: Int) = (0, -1)

    /// How many bytes a client may queue in a transaction, as much as may wait unread.
    var longestTransaction = 1 << 30
    /// The transaction in whose middle a script overruns its time.
    var suspendedTransaction: SuspendedTransaction?
    /// Whether such a transaction goes on.
    var isResumingTransaction = false
    /// How far the data are that are loaded before anything else is done.
    var loading: LoadingStatus?

    /// The interpreter of scripts, once there was one; see `scripts`.
    var scriptEngine: ScriptEngine?

    /// Whether this server only imports data, which are thrown away unless the import comes to its end.
    var importsData = false

    // The tick: see Server+Tick.swift.
    var arrivals = ArrivalQueue<Lent<Session>>()
    /// Whether the sockets were read since arrivals were last run, and how many ticks have run some.
    var arrivalsAreDue = false
    var arrivalTicks = 0
    /// Whether a session's requests are being run.
    var isProcessing = false
    /// Finds the keys of requests that are about to run.
    var keyScan = KeyScan()
    /// The sessions that the end of the tick answers, and those that it is just answering.
    var touched = TickList<Lent<Session>>()
    var answered = TickList<Lent<Session>>()
    /// Sessions without a connection that may still be in these lists and in `arrivals`, which hold nobody: `sessions`
    /// holds those that have one.
    var departed: [Session] = []
    var isTickEndScheduled = false
    var tickEndTask: @Sendable () -> Void = {}
    /// What is to run in turns of the loop of its own, and how long after the end of the tick.
    var turns: [(gap: TimeAmount, turn: @Sendable () -> Void)] = []
    /// Sessions whose replies wait until the log can be written again.
    var waitingForLog: [Session] = []

    // Moving keys to other servers: see Migration/Server+AsyncMigration.swift.
    /// The connections to servers that keys go to asynchronously, by database.
    var links: [Int: MigrationLink] = [:]
    /// Whether the change that is made now is that a key has moved.
    var isRemovingMoved = false

    // Replication: see Replication/Server+Replication.swift.
    var replication = ReplicationState()

    // Background work: see Server+Checkpoints.swift and Server+Cron.swift.
    var checkpoints = CheckpointState()
    let backgroundThread = NIOThreadPool(numberOfThreads: 1)
    /// Dumps: see Server+Saving.swift.
    var saves = SaveState()
    var cron = CronState()
    var shutdown = ShutdownState()
    /// Who gets a snapshot at the end of the tick: see Server+Snapshots.swift.
    var snapshotRequests: [SnapshotRequest] = []

    init(config: ServerConfig, log: ServerLog, loop: any EventLoop, keyspace: Keyspace, commands: CommandTable) {
        self.config = config
        self.log = log
        self.loop = loop
        self.keyspace = keyspace
        lentKeyspace = Lent(keyspace)
        self.commands = commands
        commandStatistics = CommandStatistics(count: commands.rows.count)
        call = CommandCall(effects: effects)
        blockedCall = CommandCall(effects: effects)
        runIdentifier = HexDigits.random(count: 40)
        startedAtMilliseconds = Clock().milliseconds
        saves.lastSeconds = startedAtMilliseconds / 1000
        tickEndTask = { [unowned self] in self.tickEnd() }
        backgroundThread.start()
        prepareKeyspace()
        configurationChanged()
    }

    /// Has the keyspace commit through this server when it must.
    func prepareKeyspace() {
        keyspace.onPressure = { [unowned self] () throws(KeyspaceError) in try self.commitUnderPressure() }
    }

    /// For who calls commands directly, on a thread of its own: the loop does nothing for this server.
    ///
    /// There is no end of a tick, nothing is reclaimed, and a checkpoint is waited for where it is made.
    func leaveOutLoop() {
        isTickEndScheduled = true
        cron.isReclaimScheduled = true
        checkpoints.areWaitedFor = true
    }

    /// The directory of the data, whatever CONFIG SET says since the start.
    var dataDirectory: String { effects.log.map { String($0.directory.dropLast("/log".count)) } ?? config.directory }

    /// How many databases there are.
    var databaseCount: Int { config.databases }

    /// Whether keys expire by themselves: not while the log is replayed, where each expiry stands as a DEL, and not on
    /// a replica, whose master sends one.
    @inline(__always)
    var expiresKeys: Bool { !isLoading && !isReplica }

    /// Whether small integers count as shared: not when maxmemory has a policy that must know when each was used.
    var sharesIntegers: Bool {
        let needsOwn = config.maximumMemoryPolicy == .volatileLRU || config.maximumMemoryPolicy == .allKeysLRU
        return !(config.maximumMemory > 0 && needsOwn)
    }

    /// What counts as used memory: the logical size of the data, and what waits in the clients' buffers as of the last
    /// turn of the cron.
    var usedMemory: Int { keyspace.storedBytes + cron.bufferBytes }

    /// Brings up to date what follows from the configuration.
    func configurationChanged() {
        gates.set(.password, config.requiredPassword != nil)
        gates.set(.memory, config.maximumMemory > 0)
        noteWriteAccess()
        gates.set(.writesRefused, writeRefusal != nil)
        gates.set(.monitored, !monitors.isEmpty)
        gates.set(.saveFailed, saveFailureStopsWrites)
        gates.set(.replication, isReplica || needsReplicasToWrite)
        if needsReplicasToWrite { countGoodReplicas() }
        var slow = Int64.max
        if config.slowLogSlowerThanMicroseconds >= 0 {
            slow = Int64(config.slowLogSlowerThanMicroseconds).multipliedClamped(by: 1000)
        }
        if config.latencyMonitorThresholdMilliseconds > 0 {
            slow = min(slow, Int64(config.latencyMonitorThresholdMilliseconds).multipliedClamped(by: 1_000_000))
        }
        slowNanoseconds = max(0, slow)
        slowLog.trim(to: max(0, config.slowLogMaximumLength))
        log.level = config.logLevel
        notifiedEvents = config.keyspaceEvents
    }

    /// Refuses writes from now on, with `reason` behind `MISCONF `.
    func refuseWrites(_ reason: String) {
        guard writeRefusal == nil else { return }
        log.warning("Writes are refused from now on: \(reason)")
        writeRefusal = "MISCONF \(reason)"
        gates.insert(.writesRefused)
    }
}

/// Random hexadecimal digits.
enum HexDigits {
    static func random(count: Int) -> String {
        var generator = SystemRandomNumberGenerator()
        return String((0..<count).map { _ in Array("0123456789abcdef")[Int(generator.next(upperBound: UInt(16)))] })
    }
}

extension Server {
    /// Lends the data to `body`, for what commands do most.
    @inline(__always)
    func withKeyspace<Result, Failure>(
        _ body: (Keyspace) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try lentKeyspace.lend(body)
    }
}
