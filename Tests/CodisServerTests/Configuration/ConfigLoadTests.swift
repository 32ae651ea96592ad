// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import Testing

@testable import CodisServer

@Suite struct ConfigLoadTests {
    @Test("Without arguments the built-in save points hold, with any argument none")
    func savePoints() throws {
        #expect(try ServerConfig.load(arguments: [], effects: .memory()).savePoints == SavePoint.defaults)
        #expect(try ServerConfig.load(arguments: ["--port", "1"], effects: .memory()).savePoints == [])
        #expect(try configuration("").savePoints == [])
        let points = [SavePoint(seconds: 900, changes: 1), SavePoint(seconds: 300, changes: 10)]
        #expect(try configuration("save 900 1\nsave 300 10").savePoints == points)
        #expect(try configuration("save 900 1 300 10").savePoints == points)
        #expect(try configuration("save 60 1\nsave \"\"\nsave 900 1").savePoints == [points[0]])
    }

    @Test("Comments, blanks, quotes, case and line ends are as in redis.conf")
    func syntax() throws {
        let config = try configuration(
            "# port 1\r\n\r\n  \t PORT   7777 \r\n requirepass \"a \\x41\" \nlogfile ''\nmaxmemory 1GB\nhz 5"
        )
        #expect(config.port == 7777)
        #expect(config.requiredPassword == Array("a A".utf8))
        #expect(config.maximumMemory == 1 << 30)
        #expect(config.frequency == 5)
    }

    @Test(
        "Sizes take a unit",
        arguments: [
            ("1", 1), ("1b", 1), ("2k", 2_000), ("2kb", 2_048), ("3M", 3_000_000), ("3Mb", 3 << 20),
            ("1g", 1_000_000_000),
            ("1gb", 1 << 30),
        ]
    )
    func sizes(text: String, bytes: Int) throws {
        #expect(try configuration("maxmemory \(text)").maximumMemory == bytes)
    }

    @Test("The last of a repeated directive wins, and options win over the file")
    func precedence() throws {
        let config = try configuration(
            "port 1\nport 2\nloglevel debug",
            options: ["--port", "7777", "--loglevel", "warning"]
        )
        #expect(config.port == 7777)
        #expect(config.logLevel == .warning)
    }

    @Test("Options alone make a configuration, and values keep their blanks")
    func options() throws {
        let config = try ServerConfig.load(
            arguments: ["--requirepass", "a b\"c", "--bind", "127.0.0.1", "::1", "--slaveof", "host", "6380"],
            effects: .memory()
        )
        #expect(config.requiredPassword == Array("a b\"c".utf8))
        #expect(config.bind == ["127.0.0.1", "::1"])
        #expect(config.master == MasterAddress(host: "host", port: 6380))
        #expect(config.configFile == nil)
    }

    @Test("A dash is standard input, and the file's path is made absolute")
    func standardInput() throws {
        let effects = ConfigEffects.memory(["-": "port 5", "my.conf": "port 6"])
        let config = try ServerConfig.load(arguments: ["-", "--timeout", "3"], effects: effects)
        #expect(config.port == 5)
        #expect(config.timeoutSeconds == 3)
        #expect(config.configFile == "/start/-")
        #expect(try ServerConfig.load(arguments: ["my.conf"], effects: effects).configFile == "/start/my.conf")
    }

    @Test("Other files are included where they are named")
    func include() throws {
        let files = ["/etc/a": "port 2\ntimeout 7", "/etc/self": "include /etc/self"]
        let config = try configuration("port 1\ninclude /etc/a\nhz 3", files: files)
        #expect(config.port == 2)
        #expect(config.timeoutSeconds == 7)
        #expect(config.frequency == 3)
        #expect(throws: ConfigError.cannotOpen(path: "/etc/b")) { try configuration("include /etc/b") }
        #expect(
            throws: ConfigError.badLine(
                number: 1,
                line: "include /etc/self",
                reason: "Too many files including one another"
            )
        ) { try configuration("include /etc/self", files: files) }
    }

    @Test("The working directory changes at once, and the absolute one is kept")
    func directory() throws {
        #expect(try configuration("dir /data").directory == "/data")
        #expect(try configuration("").directory == "/start")
        #expect(throws: ConfigError.cannotChangeDirectory(path: "/missing", reason: "No such file or directory")) {
            try configuration("dir /missing")
        }
    }

    @Test(
        "A bad line is a fatal error with a reason",
        arguments: [
            ("nonsense 1", "Bad directive or wrong number of arguments"),
            ("port", "Bad directive or wrong number of arguments"),
            ("port 1 2", "Bad directive or wrong number of arguments"),
            ("slaveof host", "Bad directive or wrong number of arguments"),
            ("watchdog-period 100", "Bad directive or wrong number of arguments"),
            ("rename-command get", "Bad directive or wrong number of arguments"),
            ("port 65536", "Invalid port"), ("port -1", "Invalid port"), ("port x", "argument must be an integer"),
            ("daemonize maybe", "argument must be 'yes' or 'no'"),
            ("requirepass \"a", "Unbalanced quotes in configuration line"),
            ("databases 0", "Invalid number of databases"), ("databases 257", "Invalid number of databases"),
            ("save 0 1", "Invalid save parameters"), ("save 1 -1", "Invalid save parameters"),
            ("dbfilename a/b", "dbfilename can't be a path, just a filename"),
            ("appendfsync sometimes", "argument must be 'no', 'always' or 'everysec'"),
            ("maxmemory-policy lru", "Invalid maxmemory policy"),
            ("unixsocketperm 1000", "Invalid socket file permissions"),
            ("client-output-buffer-limit client 0 0 0", "Unrecognized client limit class"),
            ("notify-keyspace-events KEy", "Invalid event class character. Use 'g$lshzxeA'."),
            ("logfile /missing/log", "Can't open the log file: No such file or directory"),
            ("sentinel monitor a", "sentinel directive while not in sentinel mode"),
            ("bind 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17", "Too many bind addresses specified"),
            ("loglevel loud", "Invalid log level. Must be one of debug, verbose, notice, warning"),
            ("syslog-facility local8", "Invalid log facility. Must be one of USER or between LOCAL0-LOCAL7"),
            ("requirepass \(String(repeating: "x", count: 513))", "Password is longer than REDIS_AUTHPASS_MAX_LEN"),
            ("client-output-buffer-limit normal 0 0 -1", "Negative number of seconds in soft limit is invalid"),
            ("tcp-backlog -1", "Invalid backlog value"), ("timeout -1", "Invalid timeout value"),
            ("tcp-keepalive -1", "Invalid tcp-keepalive value"),
            ("repl-ping-slave-period 0", "repl-ping-slave-period must be 1 or greater"),
            ("repl-timeout 0", "repl-timeout must be 1 or greater"),
            ("repl-backlog-size 0", "repl-backlog-size must be 1 or greater."),
            ("repl-diskless-sync-delay -1", "repl-diskless-sync-delay can't be negative"),
            ("slave-priority 2147483648", "Invalid slave-priority value"),
            ("min-slaves-to-write -1", "Invalid value for min-slaves-to-write."),
            ("min-slaves-max-lag -1", "Invalid value for min-slaves-max-lag."),
            ("maxclients 0", "Invalid max clients limit"),
            ("maxmemory-samples 0", "maxmemory-samples must be 1 or greater"),
            ("auto-aof-rewrite-percentage -1", "Invalid negative percentage for AOF auto rewrite"),
            ("slowlog-max-len -1", "Invalid slowlog-max-len value"),
            ("latency-monitor-threshold -1", "The latency threshold can't be negative"),
            ("checkpoint-log-size 0", "checkpoint-log-size must be 1 or greater"),
            ("checkpoint-interval -1", "checkpoint-interval can't be negative"),
            ("checkpoint-dirty-pages 0", "checkpoint-dirty-pages must be between 1 and 131070"),
            ("log-segment-size 1kb", "log-segment-size must be 64kb or greater"),
            ("maxmemory 1tb", "argument must be a number of bytes, as in 100, 64kb, 1gb"),
        ]
    )
    func badLine(line: String, reason: String) {
        #expect(throws: ConfigError.badLine(number: 2, line: line, reason: reason)) {
            try configuration("# comment\n  \(line)  \nport 1")
        }
    }

    @Test("The fatal error is worded as in 2.8, and options count as lines after the file")
    func fatalText() throws {
        let error = #expect(throws: ConfigError.self) {
            try configuration("port 1\n", options: ["--hz", "1", "--port"])
        }
        #expect(
            error?.fatalText == """

                *** FATAL CONFIG FILE ERROR ***
                Reading the configuration file, at line 4
                >>> 'port'
                Bad directive or wrong number of arguments
                """
        )
        let missing = #expect(throws: ConfigError.self) {
            try ServerConfig.load(arguments: ["x.conf"], effects: .memory())
        }
        #expect(missing?.fatalText == "Fatal error, can't open config file 'x.conf'")
    }

    @Test("Renamed commands are kept with the line they stand in")
    func renamedCommands() throws {
        let config = try configuration("port 1\nrename-command CONFIG \"\"\nrename-command GET get2")
        #expect(config.renamedCommands.map(\.name) == [Array("CONFIG".utf8), Array("GET".utf8)])
        #expect(config.renamedCommands.map(\.newName) == [[], Array("get2".utf8)])
        #expect(config.renamedCommands.map(\.lineNumber) == [2, 3])
    }

    @Test("Directives of later versions are collected, renamed ones are honoured")
    func laterVersions() throws {
        let config = try configuration(
            """
            protected-mode yes
            cluster-enabled no
            user default on nopass ~* +@all
            protected-mode no
            replicaof 10.0.0.1 6379
            replica-read-only no
            hash-max-listpack-entries 10
            min-replicas-to-write 2
            busy-reply-threshold 7
            client-output-buffer-limit replica 1mb 1kb 9
            bind * -::*
            """
        )
        #expect(config.ignoredDirectives == ["protected-mode", "cluster-enabled", "user"])
        #expect(config.master == MasterAddress(host: "10.0.0.1", port: 6379))
        #expect(!config.replicaIsReadOnly)
        #expect(config.hashMaximumZiplistEntries == 10)
        #expect(config.minimumReplicasToWrite == 2)
        #expect(config.luaTimeLimitMilliseconds == 7)
        #expect(
            config.outputBufferLimits.replica
                == OutputBufferLimits.Limit(hardBytes: 1 << 20, softBytes: 1 << 10, softSeconds: 9)
        )
        #expect(
            config.bindAddresses == [
                BindAddress(address: "0.0.0.0", isOptional: false), BindAddress(address: "::", isOptional: true),
            ]
        )
    }

    @Test("No name is both a directive and ignored, and none stands for two directives")
    func names() {
        var names: Set<String> = []
        for directive in ConfigDirective.table {
            for name in [directive.name] + directive.aliases {
                #expect(names.insert(name).inserted, "\(name) occurs twice")
                #expect(!ConfigDirective.isIgnored(name), "\(name) is ignored")
            }
        }
    }
}
