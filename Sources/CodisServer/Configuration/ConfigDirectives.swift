// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

extension ConfigDirective {
    /// Every directive: those of Redis 2.8 in the order in which CONFIG REWRITE appends them, then our own.
    // swift-format-ignore
    static let table: [ConfigDirective] = [
        .init("daemonize", .flag(\.daemonize), isSettable: false),
        .init("pidfile", .text(\.pidFile), isSettable: false),
        .init("port", .integer(\.port, 0...65_535, "Invalid port"), isSettable: false),
        .init("tcp-backlog", .integer(\.tcpBacklog, 0...Int(Int32.max), "Invalid backlog value"), isSettable: false),
        .init("bind", .bind, isSettable: false),
        .init("unixsocket", .optionalText(\.unixSocket), isSettable: false),
        .init("unixsocketperm", .permissions(\.unixSocketPermissions), isSettable: false),
        .init("timeout", .integer(\.timeoutSeconds, 0...Int(Int32.max), "Invalid timeout value")),
        .init("tcp-keepalive", .integer(\.tcpKeepaliveSeconds, 0...Int(Int32.max), "Invalid tcp-keepalive value")),
        .init("loglevel", .choice(\.logLevel,
            reason: "Invalid log level. Must be one of debug, verbose, notice, warning")),
        .init("logfile", .logFile, isSettable: false),
        .init("syslog-enabled", .flag(\.syslogEnabled), isSettable: false, isShown: false),
        .init("syslog-ident", .text(\.syslogIdent), isSettable: false, isShown: false),
        .init("syslog-facility", .choice(\.syslogFacility,
            reason: "Invalid log facility. Must be one of USER or between LOCAL0-LOCAL7"),
            isSettable: false, isShown: false),
        .init("save", .savePoints),
        .init("databases", .integer(\.databases, 1...256, "Invalid number of databases"), isSettable: false),
        .init("stop-writes-on-bgsave-error", .flag(\.stopWritesOnBgsaveError)),
        .init("rdbcompression", .flag(\.rdbCompression)),
        .init("rdbchecksum", .flag(\.rdbChecksum), isSettable: false),
        .init("dbfilename", .fileName(\.dbFileName)),
        .init("dir", .directory),
        .init("slaveof", .master, aliases: ["replicaof"], isSettable: false),
        .init("masterauth", .password(\.masterPassword)),
        .init("slave-serve-stale-data", .flag(\.replicaServesStaleData), aliases: ["replica-serve-stale-data"]),
        .init("slave-read-only", .flag(\.replicaIsReadOnly), aliases: ["replica-read-only"]),
        .init("repl-ping-slave-period", .integer(\.replicationPingPeriodSeconds, 1...Int(Int32.max),
            "repl-ping-slave-period must be 1 or greater"), aliases: ["repl-ping-replica-period"]),
        .init("repl-timeout", .integer(\.replicationTimeoutSeconds, 1...Int(Int32.max),
            "repl-timeout must be 1 or greater")),
        .init("repl-backlog-size", .size(\.backlogSize, 1...Int.max, clamp: 16_384...Int.max,
            reason: "repl-backlog-size must be 1 or greater.")),
        // Seconds, but CONFIG REWRITE of 2.8 writes them like a size (1024 as 1kb), so they are read like one.
        .init("repl-backlog-ttl", .size(\.backlogLifetimeSeconds)),
        .init("repl-disable-tcp-nodelay", .flag(\.replicationDisablesTcpNoDelay)),
        .init("repl-diskless-sync", .flag(\.disklessSync)),
        .init("repl-diskless-sync-delay", .integer(\.disklessSyncDelaySeconds, 0...Int(Int32.max),
            "repl-diskless-sync-delay can't be negative")),
        .init("slave-priority", .integer(\.replicaPriority, IntegerRule(range: Int(Int32.min)...Int(Int32.max),
            settableRange: 0...Int(Int32.max), reason: "Invalid slave-priority value")),
            aliases: ["replica-priority"]),
        .init("min-slaves-to-write", .integer(\.minimumReplicasToWrite, 0...Int(Int32.max),
            "Invalid value for min-slaves-to-write."), aliases: ["min-replicas-to-write"]),
        .init("min-slaves-max-lag", .integer(\.minimumReplicasMaximumLagSeconds, 0...Int(Int32.max),
            "Invalid value for min-slaves-max-lag."), aliases: ["min-replicas-max-lag"]),
        .init("requirepass", .password(\.requiredPassword)),
        .init("rename-command", .renameCommand, isSettable: false, isShown: false),
        .init("maxclients", .integer(\.maximumClients, 1...Int(Int32.max), "Invalid max clients limit")),
        .init("maxmemory", .size(\.maximumMemory)),
        .init("maxmemory-policy", .choice(\.maximumMemoryPolicy, reason: "Invalid maxmemory policy")),
        .init("maxmemory-samples", .integer(\.maximumMemorySamples, 1...Int(Int32.max),
            "maxmemory-samples must be 1 or greater")),
        .init("appendonly", .flag(\.appendOnly)),
        .init("appendfilename", .fileName(\.appendFileName), isSettable: false, isShown: false),
        .init("appendfsync", .choice(\.appendFsync, reason: "argument must be 'no', 'always' or 'everysec'")),
        .init("no-appendfsync-on-rewrite", .flag(\.noAppendFsyncOnRewrite)),
        .init("auto-aof-rewrite-percentage", .integer(\.autoAofRewritePercentage, 0...Int(Int32.max),
            "Invalid negative percentage for AOF auto rewrite")),
        .init("auto-aof-rewrite-min-size", .size(\.autoAofRewriteMinimumSize)),
        .init("lua-time-limit", .integer(\.luaTimeLimitMilliseconds, IntegerRule(settableRange: 0...Int.max)),
            aliases: ["busy-reply-threshold"]),
        .init("slowlog-log-slower-than", .integer(\.slowLogSlowerThanMicroseconds, IntegerRule())),
        .init("slowlog-max-len", .integer(\.slowLogMaximumLength, 0...Int.max, "Invalid slowlog-max-len value")),
        .init("latency-monitor-threshold", .integer(\.latencyMonitorThresholdMilliseconds, 0...Int.max,
            "The latency threshold can't be negative")),
        .init("notify-keyspace-events", .keyspaceEvents),
        .init("hash-max-ziplist-entries", .size(\.hashMaximumZiplistEntries, isRewrittenWithUnit: false),
            aliases: ["hash-max-listpack-entries", "hash-max-zipmap-entries"]),
        .init("hash-max-ziplist-value", .size(\.hashMaximumZiplistValue, isRewrittenWithUnit: false),
            aliases: ["hash-max-listpack-value", "hash-max-zipmap-value"]),
        .init("list-max-ziplist-entries", .size(\.listMaximumZiplistEntries, isRewrittenWithUnit: false)),
        .init("list-max-ziplist-value", .size(\.listMaximumZiplistValue, isRewrittenWithUnit: false)),
        .init("set-max-intset-entries", .size(\.setMaximumIntsetEntries, isRewrittenWithUnit: false)),
        .init("zset-max-ziplist-entries", .size(\.zsetMaximumZiplistEntries, isRewrittenWithUnit: false),
            aliases: ["zset-max-listpack-entries"]),
        .init("zset-max-ziplist-value", .size(\.zsetMaximumZiplistValue, isRewrittenWithUnit: false),
            aliases: ["zset-max-listpack-value"]),
        .init("hll-sparse-max-bytes", .size(\.hllSparseMaximumBytes, isRewrittenWithUnit: false)),
        .init("activerehashing", .flag(\.activeRehashing)),
        .init("client-output-buffer-limit", .outputBufferLimits),
        .init("hz", .integer(\.frequency, IntegerRule(settableRange: 0...Int.max, clamp: 1...500))),
        .init("aof-rewrite-incremental-fsync", .flag(\.aofRewriteIncrementalFsync)),
        .init("aof-load-truncated", .flag(\.aofLoadTruncated)),
        .init("watchdog-period", .integer(\.watchdogPeriodMilliseconds, IntegerRule(range: 0...Int(Int32.max))),
            isInFile: false),
        .init("include", .include, isSettable: false, isShown: false),

        .init("checkpoint-log-size", .size(\.checkpointLogSize, 1...Int.max,
            reason: "checkpoint-log-size must be 1 or greater")),
        .init("checkpoint-interval", .integer(\.checkpointIntervalSeconds, 0...Int(Int32.max),
            "checkpoint-interval can't be negative")),
        .init("checkpoint-dirty-pages", .integer(\.checkpointDirtyPages, 1...131_070,
            "checkpoint-dirty-pages must be between 1 and 131070")),
        .init("log-segment-size", .size(\.logSegmentSize, 65_536...Int.max,
            reason: "log-segment-size must be 64kb or greater"), isSettable: false),
        .init("log-retention-size", .size(\.logRetentionSize)),
        .init("import-skip-unsupported", .flag(\.importSkipsUnsupported)),
        .init("keyspace-map-size", .size(\.keyspaceMapSize), isSettable: false),
    ]

    private static let byName: [String: ConfigDirective] = {
        var directives: [String: ConfigDirective] = [:]
        for directive in table {
            for name in [directive.name] + directive.aliases { directives[name] = directive }
        }
        return directives
    }()

    /// The directive with this name, or with this name of a later version, in any case.
    static func named(_ name: String) -> ConfigDirective? { byName[name.lowercased()] }

    /// Whether `name` is a directive of another version that means nothing here, so that files which have it can be
    /// used.
    static func isIgnored(_ name: String) -> Bool {
        let name = name.lowercased()
        return ignoredNames.contains(name) || ignoredPrefixes.contains { name.hasPrefix($0) }
    }

    /// Families of directives of Redis 3 to 7 of which nothing exists here.
    static let ignoredPrefixes = ["active-defrag-", "cluster-", "tls-", "lazyfree-", "latency-tracking"]

    /// Directives of Redis 3 to 7 (and one that 2.8 itself ignored) without a counterpart here.
    // swift-format-ignore
    static let ignoredNames: Set<String> = [
        "acl-pubsub-default", "acllog-max-len", "aclfile", "activedefrag", "always-show-logo",
        "aof-disable-auto-gc", "aof-timestamp-enabled", "aof-use-rdb-preamble", "aof_rewrite_cpulist",
        "appenddirname", "bgsave_cpulist", "bind-source-addr", "bio_cpulist", "client-query-buffer-limit",
        "close-on-replica-write", "crash-log-enabled", "crash-memcheck-enabled", "disable-thp", "dynamic-hz",
        "enable-debug-command", "enable-module-command", "enable-protected-configs", "glueoutputbuf",
        "gopher-enabled", "hide-user-data-from-log", "ignore-warnings", "io-threads", "io-threads-do-reads",
        "jemalloc-bg-thread", "key-load-delay", "lfu-decay-time", "lfu-log-factor", "list-compress-depth",
        "list-max-listpack-size", "list-max-ziplist-size", "loadmodule", "locale-collate", "lua-replicate-commands",
        "max-new-connections-per-cycle", "max-new-tls-connections-per-cycle", "maxmemory-clients",
        "maxmemory-eviction-tenacity", "oom-score-adj", "oom-score-adj-values",
        "proc-title-template", "propagation-error-behavior", "protected-mode", "proto-max-bulk-len",
        "rdb-del-sync-files", "rdb-key-save-delay", "rdb-save-incremental-fsync", "repl-diskless-load",
        "repl-diskless-sync-max-replicas", "replica-announce-ip", "replica-announce-port", "replica-announced",
        "replica-ignore-disk-write-errors", "replica-ignore-maxmemory", "replica-lazy-flush",
        "sanitize-dump-payload", "server_cpulist", "set-max-listpack-entries", "set-max-listpack-value",
        "set-proc-title", "shutdown-on-sigint", "shutdown-on-sigterm", "shutdown-timeout", "slave-announce-ip",
        "slave-announce-port", "slave-ignore-maxmemory", "slave-lazy-flush", "socket-mark-id",
        "stream-node-max-bytes", "stream-node-max-entries", "supervised", "tracking-table-max-keys",
        "unixsocketgroup", "user", "masteruser",
    ]
}
