// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

/// The configuration of the server, with the defaults of Redis 2.8; `conf/codis-server.conf` says what each field does.
///
/// It comes from ``load(arguments:effects:)``, is changed by ``set(_:_:effects:)`` and shown by ``get(_:)``, and is
/// written back by ``rewrite(_:)``. What connects a field with the name of its directive is `ConfigDirective.table`.
public struct ServerConfig: Equatable, Sendable {
    // MARK: General

    /// The absolute path of the configuration file, or nil if there was none.
    public var configFile: String?
    /// Directives of later versions that mean nothing here, as they were named, to be reported in one warning.
    public var ignoredDirectives: [String] = []

    /// The directive `daemonize`.
    public var daemonize = false
    /// The directive `pidfile`.
    public var pidFile = "/var/run/redis.pid"
    /// The directive `databases`.
    public var databases = 16
    /// Times per second of the background work.
    public var frequency = 10
    /// Milliseconds between stack traces of a stuck server; 0: none.
    public var watchdogPeriodMilliseconds = 0
    /// The directive `rename-command`.
    public var renamedCommands: [RenamedCommand] = []

    // MARK: Network

    /// The TCP port, or 0 for none.
    public var port = 6379
    /// The directive `tcp-backlog`.
    public var tcpBacklog = 511
    /// The addresses as they were written; see ``bindAddresses``.
    public var bind: [String] = []
    /// The directive `unixsocket`.
    public var unixSocket: String?
    /// The mode of the unix socket, or 0 to leave it.
    public var unixSocketPermissions = 0
    /// How long a client may be idle; 0: for ever.
    public var timeoutSeconds = 0
    /// How long a connection may be silent before the system probes it; 0: for ever.
    public var tcpKeepaliveSeconds = 0
    /// The directive `maxclients`.
    public var maximumClients = 10_000
    /// The directive `client-output-buffer-limit`.
    public var outputBufferLimits = OutputBufferLimits()
    /// The password of AUTH, or nil for none.
    public var requiredPassword: [UInt8]?

    // MARK: Log

    /// The directive `loglevel`.
    public var logLevel = LogLevel.notice
    /// The file for the log; empty: standard output.
    public var logFile = ""
    /// The directive `syslog-enabled`.
    public var syslogEnabled = false
    /// The directive `syslog-ident`.
    public var syslogIdent = "redis"
    /// The directive `syslog-facility`.
    public var syslogFacility = SyslogFacility.local0
    /// Commands slower than this are noted; negative: none; 0: all.
    public var slowLogSlowerThanMicroseconds = 10_000
    /// The directive `slowlog-max-len`.
    public var slowLogMaximumLength = 128
    /// Events slower than this are sampled; 0: none.
    public var latencyMonitorThresholdMilliseconds = 0
    /// The directive `notify-keyspace-events`.
    public var keyspaceEvents: KeyspaceEvents = []

    // MARK: Snapshots and log of effects

    /// The directive `save`.
    public var savePoints = SavePoint.defaults
    /// The directive `stop-writes-on-bgsave-error`.
    public var stopWritesOnBgsaveError = true
    /// The directive `rdbcompression`.
    public var rdbCompression = true
    /// The directive `rdbchecksum`.
    public var rdbChecksum = true
    /// The directive `dbfilename`.
    public var dbFileName = "dump.rdb"
    /// The working directory; absolute once loaded.
    public var directory = "./"
    /// The directive `appendonly`.
    public var appendOnly = false
    /// The directive `appendfilename`.
    public var appendFileName = "appendonly.aof"
    /// The directive `appendfsync`.
    public var appendFsync = AppendFsync.everySecond
    /// The directive `no-appendfsync-on-rewrite`.
    public var noAppendFsyncOnRewrite = false
    /// The directive `auto-aof-rewrite-percentage`.
    public var autoAofRewritePercentage = 100
    /// The directive `auto-aof-rewrite-min-size`.
    public var autoAofRewriteMinimumSize = 64 << 20
    /// The directive `aof-rewrite-incremental-fsync`.
    public var aofRewriteIncrementalFsync = true
    /// The directive `aof-load-truncated`.
    public var aofLoadTruncated = true

    // MARK: Replication

    /// The directive `slaveof`.
    public var master: MasterAddress?
    /// The directive `masterauth`.
    public var masterPassword: [UInt8]?
    /// The directive `slave-serve-stale-data`.
    public var replicaServesStaleData = true
    /// The directive `slave-read-only`.
    public var replicaIsReadOnly = true
    /// The directive `repl-ping-slave-period`.
    public var replicationPingPeriodSeconds = 10
    /// The directive `repl-timeout`.
    public var replicationTimeoutSeconds = 60
    /// The directive `repl-disable-tcp-nodelay`.
    public var replicationDisablesTcpNoDelay = false
    /// The directive `repl-diskless-sync`.
    public var disklessSync = false
    /// The directive `repl-diskless-sync-delay`.
    public var disklessSyncDelaySeconds = 5
    /// The directive `repl-backlog-size`.
    public var backlogSize = 1 << 20
    /// How long the backlog outlives the last replica; 0: for ever.
    public var backlogLifetimeSeconds = 3_600
    /// The directive `slave-priority`.
    public var replicaPriority = 100
    /// The directive `min-slaves-to-write`.
    public var minimumReplicasToWrite = 0
    /// The directive `min-slaves-max-lag`.
    public var minimumReplicasMaximumLagSeconds = 10

    // MARK: Limits and representation

    /// The limit on the memory that the keys count for; 0: none.
    public var maximumMemory = 0
    /// The directive `maxmemory-policy`.
    public var maximumMemoryPolicy = MaximumMemoryPolicy.volatileLRU
    /// The directive `maxmemory-samples`.
    public var maximumMemorySamples = 3
    /// How long a script may run before others are told so; 0 or less: for ever.
    public var luaTimeLimitMilliseconds = 5_000
    /// The directive `hash-max-ziplist-entries`.
    public var hashMaximumZiplistEntries = 512
    /// The directive `hash-max-ziplist-value`.
    public var hashMaximumZiplistValue = 64
    /// The directive `list-max-ziplist-entries`.
    public var listMaximumZiplistEntries = 512
    /// The directive `list-max-ziplist-value`.
    public var listMaximumZiplistValue = 64
    /// The directive `set-max-intset-entries`.
    public var setMaximumIntsetEntries = 512
    /// The directive `zset-max-ziplist-entries`.
    public var zsetMaximumZiplistEntries = 128
    /// The directive `zset-max-ziplist-value`.
    public var zsetMaximumZiplistValue = 64
    /// The directive `hll-sparse-max-bytes`.
    public var hllSparseMaximumBytes = 3_000
    /// The directive `activerehashing`.
    public var activeRehashing = true

    // MARK: Storage, ours

    /// A checkpoint is made when the log since the last one exceeds this many bytes.
    public var checkpointLogSize = 64 << 20
    /// A checkpoint is made when the last one is older than this and anything changed; 0: not for its age.
    public var checkpointIntervalSeconds = 60
    /// A checkpoint is made when this many pages of the tree changed since the last one.
    public var checkpointDirtyPages = 65_536
    /// The length of a file of the log.
    public var logSegmentSize = 64 << 20
    /// The bytes of the log that are kept beyond what recovery and ``backlogSize`` need.
    public var logRetentionSize = 0
    /// Whether an import leaves out what Redis 2.8 cannot hold, instead of refusing the file.
    public var importSkipsUnsupported = false
    /// The size of the keyspace's map; 0: as large as needed.
    public var keyspaceMapSize = 0

    /// The configuration of a server that was started without any argument.
    public init() {}

    /// What to listen on; empty: all addresses.
    ///
    /// It is ``bind`` with the notation of later versions resolved, where `*` and `::*` are all addresses of their
    /// family and `-` before one says that it need not exist.
    public var bindAddresses: [BindAddress] {
        bind.map { word in
            let isOptional = word.hasPrefix("-")
            let address = isOptional ? String(word.dropFirst()) : word
            let resolved =
                switch address {
                case "*": "0.0.0.0"
                case "::*": "::"
                default: address
                }
            return BindAddress(address: resolved, isOptional: isOptional)
        }
    }
}

/// An address to listen on.
public struct BindAddress: Equatable, Sendable {
    /// An address in numbers, or a host name.
    public var address: String
    /// Whether the server starts without it if this machine does not have it.
    public var isOptional: Bool
}

/// Save after `seconds` if at least `changes` were made.
public struct SavePoint: Equatable, Sendable {
    /// Within how many seconds.
    public var seconds: Int
    /// How many changes.
    public var changes: Int

    /// The save points of a server that was started without any argument.
    public static let defaults = [
        SavePoint(seconds: 3_600, changes: 1), SavePoint(seconds: 300, changes: 100),
        SavePoint(seconds: 60, changes: 10_000),
    ]
}

/// Where the master is.
public struct MasterAddress: Equatable, Sendable {
    /// The host name or address.
    public var host: String
    /// The TCP port.
    public var port: Int

    /// An address.
    public init(host: String, port: Int) {
        self.host = host
        self.port = port
    }
}

/// A `rename-command` directive, and where it stands, because only the command table can tell whether it is right.
public struct RenamedCommand: Equatable, Sendable {
    /// The command, in any case.
    public var name: [UInt8]
    /// Its new name; empty: the command is removed.
    public var newName: [UInt8]
    /// The number of the line, for ``badLine(_:)``.
    public var lineNumber: Int
    /// The text of the line, for ``badLine(_:)``.
    public var line: String

    /// The fatal error for this line: `No such command in rename-command`, `Target command name already exists`.
    public func badLine(_ reason: String) -> ConfigError {
        .badLine(number: lineNumber, line: line, reason: reason)
    }
}

/// How much may wait to be sent to a client, by the class of the client.
public struct OutputBufferLimits: Equatable, Sendable {
    /// The limits of one class; 0: none.
    public struct Limit: Equatable, Sendable {
        /// Beyond this a client is closed at once.
        public var hardBytes: Int
        /// Beyond this for longer than `softSeconds` a client is closed.
        public var softBytes: Int
        /// How long a client may be beyond `softBytes`.
        public var softSeconds: Int
    }

    /// Of clients that are neither replicas nor subscribers.
    public var normal = Limit(hardBytes: 0, softBytes: 0, softSeconds: 0)
    /// Of replicas.
    public var replica = Limit(hardBytes: 256 << 20, softBytes: 64 << 20, softSeconds: 60)
    /// Of subscribers.
    public var pubsub = Limit(hardBytes: 32 << 20, softBytes: 8 << 20, softSeconds: 60)
}

/// How much is logged.
public enum LogLevel: String, CaseIterable, Sendable {
    case debug, verbose, notice, warning
}

/// The facility of syslog that log lines go to.
public enum SyslogFacility: String, CaseIterable, Sendable {
    case user, local0, local1, local2, local3, local4, local5, local6, local7
}

/// When the log of effects is synced.
public enum AppendFsync: String, CaseIterable, Sendable {
    case always
    case everySecond = "everysec"
    case no
}

/// Which keys go when ``ServerConfig/maximumMemory`` is exceeded.
public enum MaximumMemoryPolicy: String, CaseIterable, Sendable {
    case volatileLRU = "volatile-lru"
    case allKeysLRU = "allkeys-lru"
    case volatileRandom = "volatile-random"
    case allKeysRandom = "allkeys-random"
    case volatileTTL = "volatile-ttl"
    case noEviction = "noeviction"
}

/// Which events of keys are published, and where: the letters of `notify-keyspace-events`.
public struct KeyspaceEvents: OptionSet, Sendable {
    /// The set as bits.
    public let rawValue: Int

    /// A set of these bits.
    public init(rawValue: Int) { self.rawValue = rawValue }

    /// `K`: published by key.
    public static let keyspace = KeyspaceEvents(rawValue: 1)
    /// `E`: published by event.
    public static let keyevent = KeyspaceEvents(rawValue: 2)
    /// `g`: commands of any type, as DEL and EXPIRE.
    public static let generic = KeyspaceEvents(rawValue: 4)
    /// `$`: commands of strings.
    public static let string = KeyspaceEvents(rawValue: 8)
    /// `l`: commands of lists.
    public static let list = KeyspaceEvents(rawValue: 16)
    /// `s`: commands of sets.
    public static let set = KeyspaceEvents(rawValue: 32)
    /// `h`: commands of hashes.
    public static let hash = KeyspaceEvents(rawValue: 64)
    /// `z`: commands of sorted sets.
    public static let sortedSet = KeyspaceEvents(rawValue: 128)
    /// `x`: a key expired.
    public static let expired = KeyspaceEvents(rawValue: 256)
    /// `e`: a key was evicted.
    public static let evicted = KeyspaceEvents(rawValue: 512)
    /// `A`: all but `K` and `E`.
    public static let all: KeyspaceEvents = [.generic, .string, .list, .set, .hash, .sortedSet, .expired, .evicted]

    private static let letters: [(Character, KeyspaceEvents)] = [
        ("g", .generic), ("$", .string), ("l", .list), ("s", .set), ("h", .hash), ("z", .sortedSet), ("x", .expired),
        ("e", .evicted),
    ]

    /// The events that `letters` name, or nil if one names none.
    public init?(letters: String) {
        self = []
        for letter in letters {
            switch letter {
            case "A": formUnion(.all)
            case "K": insert(.keyspace)
            case "E": insert(.keyevent)
            default:
                guard let event = Self.letters.first(where: { $0.0 == letter })?.1 else { return nil }
                insert(event)
            }
        }
    }

    /// The letters in the order in which 2.8 prints them.
    public var letters: String {
        var text = isSuperset(of: .all) ? "A" : String(Self.letters.filter { contains($0.1) }.map(\.0))
        if contains(.keyspace) { text += "K" }
        if contains(.keyevent) { text += "E" }
        return text
    }
}
