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

    public var daemonize = false
    public var pidFile = "/var/run/redis.pid"
    public var databases = 16
    /// Times per second of the background work.
    public var frequency = 10
    /// Milliseconds between stack traces of a stuck server; 0: none.
    public var watchdogPeriodMilliseconds = 0
    public var renamedCommands: [RenamedCommand] = []

    // MARK: Network

    /// The TCP port, or 0 for none.
    public var port = 6379
    public var tcpBacklog = 511
    /// The addresses as they were written; see ``bindAddresses``.
    public var bind: [String] = []
    public var unixSocket: String?
    /// The mode of the unix socket, or 0 to leave it.
    public var unixSocketPermissions = 0
    /// How long a client may be idle; 0: for ever.
    public var timeoutSeconds = 0
    /// How long a connection may be silent before the system probes it; 0: for ever.
    public var tcpKeepaliveSeconds = 0
    public var maximumClients = 10_000
    public var outputBufferLimits = OutputBufferLimits()
    /// The password of AUTH, or nil for none.
    public var requiredPassword: [UInt8]?

    // MARK: Log

    public var logLevel = LogLevel.notice
    /// The file for the log; empty: standard output.
    public var logFile = ""
    public var syslogEnabled = false
    public var syslogIdent = "redis"
    public var syslogFacility = SyslogFacility.local0
    /// Commands slower than this are noted; negative: none; 0: all.
    public var slowLogSlowerThanMicroseconds = 10_000
    public var slowLogMaximumLength = 128
    /// Events slower than this are sampled; 0: none.
    public var latencyMonitorThresholdMilliseconds = 0
    public var keyspaceEvents: KeyspaceEvents = []

    // MARK: Snapshots and log of effects

    public var savePoints = SavePoint.defaults
    public var stopWritesOnBgsaveError = true
    public var rdbCompression = true
    public var rdbChecksum = true
    public var dbFileName = "dump.rdb"
    /// The working directory; absolute once loaded.
    public var directory = "./"
    public var appendOnly = false
    public var appendFileName = "appendonly.aof"
    public var appendFsync = AppendFsync.everySecond
    public var noAppendFsyncOnRewrite = false
    public var autoAofRewritePercentage = 100
    public var autoAofRewriteMinimumSize = 64 << 20
    public var aofRewriteIncrementalFsync = true
    public var aofLoadTruncated = true

    // MARK: Replication

    public var master: MasterAddress?
    public var masterPassword: [UInt8]?
    public var replicaServesStaleData = true
    public var replicaIsReadOnly = true
    public var replicationPingPeriodSeconds = 10
    public var replicationTimeoutSeconds = 60
    public var replicationDisablesTcpNoDelay = false
    public var disklessSync = false
    public var disklessSyncDelaySeconds = 5
    public var backlogSize = 1 << 20
    /// How long the backlog outlives the last replica; 0: for ever.
    public var backlogLifetimeSeconds = 3_600
    public var replicaPriority = 100
    public var minimumReplicasToWrite = 0
    public var minimumReplicasMaximumLagSeconds = 10

    // MARK: Limits and representation

    /// The limit on the memory that the keys count for; 0: none.
    public var maximumMemory = 0
    public var maximumMemoryPolicy = MaximumMemoryPolicy.volatileLRU
    public var maximumMemorySamples = 3
    /// How long a script may run before others are told so; 0 or less: for ever.
    public var luaTimeLimitMilliseconds = 5_000
    public var hashMaximumZiplistEntries = 512
    public var hashMaximumZiplistValue = 64
    public var listMaximumZiplistEntries = 512
    public var listMaximumZiplistValue = 64
    public var setMaximumIntsetEntries = 512
    public var zsetMaximumZiplistEntries = 128
    public var zsetMaximumZiplistValue = 64
    public var hllSparseMaximumBytes = 3_000
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
    public var seconds: Int
    public var changes: Int

    /// The save points of a server that was started without any argument.
    public static let defaults = [
        SavePoint(seconds: 3_600, changes: 1), SavePoint(seconds: 300, changes: 100),
        SavePoint(seconds: 60, changes: 10_000),
    ]
}

/// Where the master is.
public struct MasterAddress: Equatable, Sendable {
    public var host: String
    public var port: Int

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
        public var softSeconds: Int
    }

    public var normal = Limit(hardBytes: 0, softBytes: 0, softSeconds: 0)
    public var replica = Limit(hardBytes: 256 << 20, softBytes: 64 << 20, softSeconds: 60)
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
    public let rawValue: Int

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
