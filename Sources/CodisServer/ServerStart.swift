// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import CommandLog
internal import Glibc
internal import Keyspace
internal import NIOCore
internal import NIOPosix

/// The start of a server, in the order of Redis 2.8 (redis.c, main).
final class ServerStart: @unchecked Sendable {
    // Used by the main thread only, which becomes the event loop.
    private var config: ServerConfig
    private let hasArguments: Bool
    private var log: ServerLog
    private let commands = CommandTable()
    private var listeners: [Listener] = []
    private var writtenPidFile: String?

    init(_ config: ServerConfig, hasArguments: Bool) {
        self.config = config
        self.hasArguments = hasArguments
        log = ServerLog(config)
    }

    func run() -> Never {
        let hasRenamed = renameCommands()
        // Before there is any other thread: a fork keeps only the one that calls it.
        if config.daemonize { becomeDaemon() }
        CrashReport.prepare(logFile: config.logFile)
        Signals.install()
        limitOpenFiles()
        listenOrEnd()
        if config.daemonize { writePidFile() }
        printBanner()
        if !config.ignoredDirectives.isEmpty {
            let names = config.ignoredDirectives.joined(separator: ", ")
            log.warning("WARNING: these directives mean nothing to this server and are ignored: \(names)")
        }
        if !hasArguments {
            log.warning(
                "Warning: no config file specified, using the default config. In order to specify a config file use "
                    + "codis-server /path/to/codis-server.conf"
            )
        }
        MultiThreadedEventLoopGroup.withCurrentThreadAsEventLoop { [self] loop in
            if let source = prepareData() {
                let server = serverWhileLoading(loop)
                if hasRenamed { server.gates.insert(.renamed) }
                load(source, server)
            } else {
                let server = openServer(loop)
                if hasRenamed { server.gates.insert(.renamed) }
                for listener in listeners { accept(listener, server) }
                serve(server)
            }
        }
        exit(0)
    }

    private func end(_ message: String) -> Never {
        log.warning(message)
        if let writtenPidFile { unsafe unlink(writtenPidFile) }
        exit(1)
    }

    // MARK: Process

    private func renameCommands() -> Bool {
        for renamed in config.renamedCommands {
            let name = String(decoding: renamed.name, as: UTF8.self)
            let newName = String(decoding: renamed.newName, as: UTF8.self)
            var reason: String?
            if commands.find(name) == nil {
                reason = "No such command in rename-command"
            } else if !commands.rename(name, to: newName) {
                reason = "Target command name already exists"
            }
            if let reason {
                let text = Array((renamed.badLine(reason).fatalText + "\n").utf8)
                _ = unsafe write(2, text, text.count)
                exit(1)
            }
        }
        return !config.renamedCommands.isEmpty
    }

    private func becomeDaemon() {
        // Forks, makes a session, and turns the standard files to /dev/null.
        guard daemon(1, 0) == 0 else { end("Cannot become a daemon: \(unsafe String(cString: strerror(errno)))") }
        if config.logFile.isEmpty { log.file = "/dev/null" }
    }

    private func limitOpenFiles() {
        let possible = OpenFileLimit.raise(forClients: config.maximumClients)
        guard possible < config.maximumClients else { return }
        log.warning(
            "You requested maxclients of \(config.maximumClients) requiring at least "
                + "\(config.maximumClients + OpenFileLimit.reserved) max file descriptors."
        )
        log.warning("The system does not let this process have so many open files.")
        log.warning("maxclients has been reduced to \(possible); raise the limit with 'ulimit -n' for more.")
        config.maximumClients = possible
    }

    private func writePidFile() {
        let text = Array("\(getpid())\n".utf8)
        let descriptor = unsafe open(config.pidFile, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { return }
        _ = unsafe write(descriptor, text, text.count)
        close(descriptor)
        writtenPidFile = absolutePath(config.pidFile)
    }

    /// The working directory may change before the file is removed.
    private func absolutePath(_ path: String) -> String {
        path.hasPrefix("/") ? path : "\(config.directory)/\(path)"
    }

    // MARK: Sockets

    private func listenOrEnd() {
        if config.port != 0 { listenToPort() }
        if let path = config.unixSocket {
            do throws(Listener.Failure) {
                listeners.append(
                    try .unix(path: path, permissions: config.unixSocketPermissions, backlog: config.tcpBacklog)
                )
            } catch {
                end("Opening Unix socket: \(error)")
            }
        }
        if listeners.isEmpty { end("Configured to not listen anywhere, exiting.") }
    }

    private func listenToPort() {
        let all = [
            BindAddress(address: "::", isOptional: true), BindAddress(address: "0.0.0.0", isOptional: true),
        ]
        let isAny = config.bindAddresses.isEmpty
        var lastFailure: Listener.Failure?
        for bind in isAny ? all : config.bindAddresses {
            do throws(Listener.Failure) {
                listeners.append(try .tcp(address: bind.address, port: config.port, backlog: config.tcpBacklog))
            } catch {
                if bind.isOptional, error.isUnavailable {
                    lastFailure = error
                    continue
                }
                end("Creating Server TCP listening socket \(isAny ? "*" : bind.address):\(config.port): \(error)")
            }
        }
        if isAny, listeners.isEmpty, let lastFailure {
            end("Creating Server TCP listening socket *:\(config.port): \(lastFailure)")
        }
    }

    // MARK: Data

    /// Brings to their ends what an earlier server was about to do with files; gives the data of Redis that are to be
    /// loaded first, if there are any.
    private func prepareData() -> ImportSource? {
        let directory = config.directory
        RDBFile.removeLeftovers(in: directory)
        removeScratchKeyspace()
        do {
            try ResyncDirectory.finish(in: directory)
            ResyncDirectory.clean(in: directory)
            return try wantedImport()
        } catch let error as ImportError {
            end(error)
        } catch {
            end("Fatal error loading the data in \(directory): \(error). Exiting.")
        }
    }

    private func openKeyspace() throws(KeyspaceError) -> Keyspace {
        try Keyspace(directory: ServerDirectory.keyspace(in: config.directory), options: KeyspaceOptions(config))
    }

    private func openServer(_ loop: any EventLoop) -> Server {
        do {
            let clock = Clock()
            let keyspace = try openKeyspace()
            let server = makeServer(loop, keyspace)
            try complete(server, since: clock)
            return server
        } catch {
            end("Fatal error loading the data in \(config.directory): \(error). Exiting.")
        }
    }

    private func makeServer(_ loop: any EventLoop, _ keyspace: Keyspace) -> Server {
        let server = Server(config: config, log: log, loop: loop, keyspace: keyspace, commands: commands)
        server.saves.keyspaceDirectory = ServerDirectory.keyspace(in: config.directory)
        server.shutdown.pidFile = writtenPidFile
        server.shutdown.unixSocket = config.unixSocket.map(absolutePath)
        return server
    }

    /// Brings a server that has its keyspace up to the end of the log.
    private func complete(_ server: Server, since clock: Clock) throws {
        try server.load(logDirectory: ServerDirectory.log(in: config.directory))
        let milliseconds = Clock().milliseconds - clock.milliseconds
        let keys = (0..<config.databases).reduce(0) { $0 + server.keyspace.keyCount(in: $1) }
        log.notice("\(keys) keys are there after \(milliseconds) ms")
    }

    // MARK: Importing

    /// A dump or an append-only file that the keyspace does not know.
    private func wantedImport() throws -> ImportSource? {
        let directory = ServerDirectory.keyspace(in: config.directory)
        if let lock = KeyspaceLock(directory) {
            defer { withExtendedLifetime(lock) {} }
            try ImportSwap.finish(in: config.directory)
        }
        let known = SmallFile.exists(directory) ? KnownFiles(directory: directory) : nil
        if let source = ImportSource.atStart(config, known: known) { return source }
        if let known { try ImportSource.notePassedOver(config, known, log) }
        return nil
    }

    /// Where the keyspace lies that stands in for the one that is being imported.
    private var scratchKeyspace: String { ServerDirectory.scratchKeyspace(in: config.directory) }

    private func removeScratchKeyspace() {
        for path in [scratchKeyspace, scratchKeyspace + ".new"] { DirectoryListing.remove(path) }
    }

    /// A server that answers LOADING to whatever is about data.
    private func serverWhileLoading(_ loop: any EventLoop) -> Server {
        do throws(KeyspaceError) {
            let server = makeServer(loop, try Keyspace(directory: scratchKeyspace))
            server.loading = LoadingStatus()
            server.gates.insert(.loading)
            for listener in listeners { accept(listener, server) }
            server.startCronWhileLoading()
            return server
        } catch {
            end("Fatal error loading the data in \(config.directory): \(error). Exiting.")
        }
    }

    /// Loads the source on a thread, while the loop answers the clients, and then serves.
    private func load(_ source: ImportSource, _ server: Server) {
        let thread = NIOThreadPool(numberOfThreads: 1)
        thread.start()
        thread.submit { [self, loop = server.loop, status = server.loading] _ in
            let clock = Clock()
            let outcome = Result {
                try Importer(config: config, log: log, loop: loop, commands: commands, status: status).run(source)
            }
            loop.execute {
                self.loaded(outcome, server, since: clock)
                thread.shutdownGracefully { _ in }
            }
        }
    }

    private func loaded(_ outcome: Result<Int, any Error>, _ server: Server, since clock: Clock) {
        do {
            _ = try outcome.get()
            server.keyspace.close()
            server.keyspace = try openKeyspace()
            removeScratchKeyspace()
            server.prepareKeyspace()
            server.loading = nil
            server.gates.remove(.loading)
            try complete(server, since: clock)
            serve(server)
        } catch let error as ImportError {
            end(error)
        } catch {
            end("Fatal error importing data into \(config.directory): \(error)")
        }
    }

    private func end(_ error: ImportError) -> Never {
        for line in error.lines.dropLast() { log.warning(line) }
        end(error.lines.last ?? "")
    }

    // MARK: Serving

    private func serve(_ server: Server) {
        server.startCron()
        if config.port != 0 {
            log.notice("The server is now ready to accept connections on port \(config.port)")
        }
        if let path = config.unixSocket {
            log.notice("The server is now ready to accept connections at \(path)")
        }
    }

    /// Each connection has a buffer of its own to receive into, so it begins small.
    private let receiveBuffers = AdaptiveRecvByteBufferAllocator(minimum: 512, initial: 4096, maximum: 65_536)

    private func accept(_ listener: Listener, _ server: Server) {
        var bootstrap = ServerBootstrap(group: server.loop)
            .serverChannelOption(.backlog, value: Int32(clamping: config.tcpBacklog))
            .serverChannelOption(.maxMessagesPerRead, value: 64)
            .childChannelOption(.allowRemoteHalfClosure, value: true)
            .childChannelOption(.writeBufferWaterMark, value: .init(low: 8 << 10, high: 16 << 10))
            .childChannelOption(.recvAllocator, value: receiveBuffers)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    if !listener.isUnixSocket { KeepAlive.set(channel, seconds: server.config.tcpKeepaliveSeconds) }
                    try channel.pipeline.syncOperations.addHandler(SessionHandler(server))
                }
            }
        if !listener.isUnixSocket { bootstrap = bootstrap.childChannelOption(.tcpOption(.tcp_nodelay), value: 1) }
        let log = log
        bootstrap.withBoundSocket(listener.descriptor).assumeIsolated().whenComplete { outcome in
            switch outcome {
            case .success(let channel): server.listeners.append(channel)
            case .failure(let error):
                log.warning("Accepting connections: \(error)")
                exit(1)
            }
        }
    }

    // MARK: Banner

    private func printBanner() {
        if config.syslogEnabled {
            log.notice(
                "Redis \(CodisServerProgram.version) (00000000/0) 64 bit, stand alone mode, "
                    + "port \(config.port), pid \(getpid()) ready to start."
            )
        } else if log.level.rank <= LogLevel.notice.rank {
            log.writeRaw(
                """

                     .--------.
                    /  codis  /|     Redis \(CodisServerProgram.version) (00000000/0) 64 bit
                   .--------. ||     codis-server, in Swift
                   |  1024  | ||     Running in stand alone mode
                   |  slots | |'     Port: \(config.port)
                   '--------'/       PID: \(getpid())


                """
            )
        }
        log.warning("Server started, Redis version \(CodisServerProgram.version)")
    }
}

extension KeyspaceOptions {
    /// The options that the configuration asks for.
    init(_ config: ServerConfig) {
        self.init()
        databases = config.databases
        mapSizeBytes = config.keyspaceMapSize
        dirtyPages = min(max(config.checkpointDirtyPages, 1024), 65_536)
    }
}

/// Probes of silent connections: after N seconds, then each N/3, three times (Redis 2.8: anet.c, anetKeepAlive).
enum KeepAlive {
    static func set(_ channel: any Channel, seconds: Int) {
        guard seconds > 0, let options = channel.syncOptions else { return }
        try? options.setOption(.socketOption(.so_keepalive), value: 1)
        let times = [(TCP_KEEPIDLE, seconds), (TCP_KEEPINTVL, max(1, seconds / 3)), (TCP_KEEPCNT, 3)]
        for (name, value) in times {
            try? options.setOption(
                .tcpOption(NIOBSDSocket.Option(rawValue: name)),
                value: ChannelOptions.Types.SocketOption.Value(value)
            )
        }
    }
}
