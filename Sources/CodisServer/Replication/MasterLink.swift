// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import CommandLog
internal import Glibc
internal import NIOCore
internal import NIOPosix
internal import RESP
internal import Replication

/// The way to the master: connection, handshake, snapshot, stream (Redis 2.8: replication.c, the slave's half).
///
/// The stream's bytes go into the log as they are, so that offsets mean the same on both sides, and are then done as a
/// log is replayed. A link that breaks is made again by the cron, and goes on where the log ends.
final class MasterLink: @unchecked Sendable {
    // Unchecked: all of it belongs to the loop.
    enum State {
        /// The next tick of the cron connects.
        case waiting
        case connecting
        case handshake
        /// A snapshot is announced, comes, or is loaded.
        case snapshot
        case connected
    }

    let address: MasterAddress
    private unowned let server: Server
    private(set) var state = State.waiting
    private var context: ChannelHandlerContext?
    /// Counts connections, so that what belongs to an earlier one is known.
    private var attempt = 0
    private var isShutDown = false

    private var input = ByteBuffer()
    private var handshake: ReplicaHandshake?
    private var resumption: ReplicaHandshake.Resumption?

    // A snapshot on its way.
    private var snapshotPlace: ReplicaHandshake.Resumption?
    private var receiver: SnapshotReceiver?
    private var load: ReplicaLoad?

    // The stream.
    private var scanner = StreamScanner()
    private var replay: LogReplay?
    /// The master as a client, while the stream comes.
    private(set) var session: Session?
    /// Whether the master counts offsets: not one that knows SYNC only.
    private var hasOffsets = true
    private var isWaitingForRoom = false
    /// Whether this server is being promoted, and takes what is still under way.
    private(set) var isDraining = false

    /// When something last came, in ms of a clock that only goes forward.
    private(set) var lastInputMilliseconds: Int64
    /// Since when the link is down.
    private(set) var downSinceMilliseconds: Int64

    init(_ server: Server, to address: MasterAddress) {
        self.server = server
        self.address = address
        lastInputMilliseconds = server.monotonicMilliseconds
        downSinceMilliseconds = server.monotonicMilliseconds
    }

    /// Whether it is to be connected with the next chance.
    var isWaiting: Bool { state == .waiting }

    /// Whether the stream comes.
    var isConnected: Bool { state == .connected }

    /// What ROLE says.
    var stateName: StaticString {
        switch state {
        case .waiting: "connect"
        case .connecting: "connecting"
        case .handshake: "handshake"
        case .snapshot: "sync"
        case .connected: "connected"
        }
    }

    /// Whether a snapshot comes or is loaded.
    var isSynchronizing: Bool { state == .snapshot }

    /// How many bytes of the snapshot are still to come; 0 where that is not known.
    var remainingSnapshotBytes: UInt64 { receiver?.remainingBytes ?? 0 }

    /// Ends the link for good.
    func shutDown() {
        isShutDown = true
        disconnect()
    }

    // MARK: Time

    /// What is to be done each second.
    func runCron() {
        let now = server.monotonicMilliseconds
        let isSilent = now - lastInputMilliseconds > Int64(server.config.replicationTimeoutSeconds) * 1000
        switch state {
        case .waiting:
            connect()
        case .connecting, .handshake:
            guard isSilent else { return }
            server.log.warning("Timeout connecting to the MASTER...")
            disconnect()
        case .snapshot:
            if load?.isReceived ?? false {
                // Loading may take long; the master must not take the replica for dead.
                send(ByteBuffer(string: "\n"))
            } else if isSilent {
                server.log.warning(
                    "Timeout receiving bulk data from MASTER... If the problem persists try to set the 'repl-timeout' "
                        + "parameter in redis.conf to a larger value."
                )
                disconnect()
            }
        case .connected:
            if isSilent {
                server.log.warning("MASTER timeout: no data nor PING received...")
                return disconnect()
            }
            if server.replication.needsFullResync, !isDraining,
                now - server.replication.lastForcedResyncMilliseconds >= Self.leastBetweenForcedResyncs
            {
                server.log.warning("The data differ from the MASTER's: asking for a full resync.")
                return disconnect()
            }
            acknowledge()
        }
    }

    /// A master that goes on sending what cannot be done here is asked for everything once in so many ms.
    private static let leastBetweenForcedResyncs: Int64 = 60_000

    /// Takes what the master has sent, and lets it know that this is the end: it sends what is under way and closes.
    ///
    /// `finishPromotion` follows when it has, or when it seems to be dead.
    func drain() {
        guard state == .connected, !isDraining, let context else { return server.finishPromotion() }
        acknowledge()
        isDraining = true
        server.log.notice("Taking what the MASTER has sent before becoming a master.")
        context.close(mode: .output, promise: nil)
        lastInputMilliseconds = server.monotonicMilliseconds
        endDraining(after: server.monotonicMilliseconds + Self.longestDraining)
    }

    /// How long the promotion waits for a master that sends nothing, and for one that goes on sending, in ms.
    private static let longestSilence: Int64 = 1_000
    private static let longestDraining: Int64 = 10_000

    private func endDraining(after limit: Int64) {
        let number = attempt
        server.loop.scheduleTask(in: .milliseconds(50)) { [self] in
            guard isDraining, number == attempt, !isShutDown else { return }
            _ = server.clock.readMonotonic()
            let now = server.monotonicMilliseconds
            guard now - lastInputMilliseconds > Self.longestSilence || now > limit else {
                return endDraining(after: limit)
            }
            server.log.warning("The MASTER does not close the link: what it may still have sent is lost.")
            disconnect()
        }
    }

    /// Tells the master how far this server has come.
    func acknowledge() {
        guard hasOffsets, state == .connected, !isDraining else { return }
        var request = ByteBuffer()
        request.writeRequest(["REPLCONF", "ACK", "\(server.effects.endOffset)"])
        send(request)
    }

    private func send(_ buffer: ByteBuffer) {
        server.statistics.networkOutputBytes += buffer.readableBytes
        context?.writeAndFlush(NIOAny(buffer), promise: nil)
    }

    // MARK: Connection

    private func connect() {
        server.log.notice("Connecting to MASTER \(address.host):\(address.port)")
        state = .connecting
        lastInputMilliseconds = server.monotonicMilliseconds
        attempt += 1
        let (number, server) = (attempt, server)
        let bootstrap = ClientBootstrap(group: server.loop)
            .connectTimeout(.seconds(Int64(server.config.replicationTimeoutSeconds)))
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .channelOption(
                .recvAllocator,
                value: AdaptiveRecvByteBufferAllocator(minimum: 1024, initial: 65_536, maximum: 1 << 20)
            )
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(MasterLinkHandler(self, attempt: number))
                }
            }
        bootstrap.connect(host: address.host, port: address.port).assumeIsolated().whenComplete { [self] outcome in
            guard case .failure(let error) = outcome, number == attempt, !isShutDown else { return }
            server.log.warning("Error condition on socket for SYNC: \(error)")
            disconnect()
        }
        server.log.notice("MASTER <-> SLAVE sync started")
    }

    /// Hears that there is a connection; false if it is not wanted any more.
    fileprivate func connected(_ context: ChannelHandlerContext, attempt number: Int) -> Bool {
        guard number == attempt, !isShutDown, state == .connecting else { return false }
        server.log.notice("Non blocking connect for SYNC fired the event.")
        self.context = context
        state = .handshake
        lastInputMilliseconds = server.monotonicMilliseconds
        let offset = server.effects.endOffset
        resumption = server.replication.history.request(at: offset).map { .init(identifier: $0, offset: offset) }
        if server.replication.needsFullResync {
            resumption = nil
            server.replication.lastForcedResyncMilliseconds = server.monotonicMilliseconds
        }
        let handshake = ReplicaHandshake(
            .init(
                password: server.config.masterPassword,
                listeningPort: server.config.port,
                resumption: resumption
            )
        )
        self.handshake = handshake
        perform(handshake.begin())
        return true
    }

    /// Hears that the connection is gone.
    fileprivate func disconnected(attempt number: Int) {
        guard number == attempt, !isShutDown else { return }
        if state == .snapshot, load?.isReceived ?? false {
            // All of the snapshot is here. What followed it can be asked for again.
            context = nil
            return
        }
        disconnect()
    }

    /// Closes the connection, if there is one, and forgets what belongs to it; the cron makes another.
    private func disconnect() {
        let wasConnected = state == .connected
        let wasDraining = isDraining
        let isLoading = load != nil
        attempt += 1
        state = .waiting
        isDraining = false
        let context = self.context
        self.context = nil
        load?.cancel()
        load = nil
        receiver = nil
        snapshotPlace = nil
        handshake = nil
        input = ByteBuffer()
        scanner = StreamScanner()
        replay = nil
        if let session {
            self.session = nil
            session.connectionClosed()
            server.disconnected(session)
        }
        context?.close(promise: nil)
        if wasConnected {
            downSinceMilliseconds = server.monotonicMilliseconds
            server.log.warning("Connection with master lost.")
            server.log.notice("Caching the disconnected master state.")
        } else if isLoading, !isShutDown {
            server.log.warning("I/O error trying to sync with MASTER: connection lost")
        }
        server.configurationChanged()
        if wasDraining, !isShutDown { server.finishPromotion() }
    }

    // MARK: Input

    fileprivate func receive(_ buffer: inout ByteBuffer, attempt number: Int) {
        guard number == attempt else { return }
        server.clock.readAll()
        lastInputMilliseconds = server.monotonicMilliseconds
        session?.lastInteractionMilliseconds = server.clock.milliseconds
        server.statistics.networkInputBytes += buffer.readableBytes
        if input.readableBytes == 0 { input = buffer } else { input.writeBuffer(&buffer) }
        process()
    }

    private func process() {
        while true {
            switch state {
            case .waiting, .connecting: return
            case .handshake:
                guard let line = takeLine() else { return }
                guard var machine = handshake else { return }
                let actions = machine.receive(line)
                handshake = machine
                perform(actions)
            case .snapshot:
                guard processSnapshot() else { return }
            case .connected:
                return processStream()
            }
        }
    }

    /// The next line without its end, if it is complete.
    private func takeLine() -> [UInt8]? {
        guard let length = input.readableBytesView.firstIndex(of: 0x0A).map({ $0 - input.readerIndex }) else {
            if input.readableBytes > 64 << 10 {
                server.log.warning("The MASTER sent a line of more than 64 kB")
                disconnect()
            }
            return nil
        }
        var line = input.readBytes(length: length) ?? []
        input.moveReaderIndex(forwardBy: 1)
        if line.last == 0x0D { line.removeLast() }
        return line
    }

    private func perform(_ actions: [ReplicaHandshake.Action]) {
        for action in actions {
            switch action {
            case .send(let arguments):
                var request = ByteBuffer()
                request.writeRequest(arguments)
                send(request)
            case .notice(let text): server.log.notice(text)
            case .warning(let text): server.log.warning(text)
            case .receiveSnapshot(let place):
                snapshotPlace = place
                hasOffsets = place != nil
                state = .snapshot
            case .resume(let identifier):
                resume(identifier)
            case .abort:
                return disconnect()
            }
        }
    }

    // MARK: Snapshot

    /// Goes on receiving the snapshot; false when what is there is used up.
    private func processSnapshot() -> Bool {
        guard receiver != nil else {
            guard let line = takeLine() else { return false }
            return beginSnapshot(line)
        }
        guard let load, !load.isReceived, input.readableBytes > 0, var receiver else { return false }
        var failure: GrowingFile.Failure?
        let taken = unsafe input.withUnsafeReadableBytes { bytes -> Int in
            let view = unsafe ByteView(bytes)
            do throws(GrowingFile.Failure) {
                return try receiver.receive(view) { piece throws(GrowingFile.Failure) in try load.file.append(piece) }
            } catch {
                failure = error
                return 0
            }
        }
        self.receiver = receiver
        if let failure {
            server.log.warning(
                "Write error or short write writing to the DB dump file needed for MASTER <-> SLAVE synchronization: "
                    + "\(failure)"
            )
            disconnect()
            return false
        }
        input.moveReaderIndex(forwardBy: taken)
        if input.readableBytes == 0 { input.clear() }
        if receiver.isComplete { received(load) }
        return input.readableBytes > 0
    }

    private func received(_ load: ReplicaLoad) {
        load.isReceived = true
        load.file.finish(.complete)
        server.log.notice("MASTER <-> SLAVE sync: Loading DB in memory")
    }

    /// Takes the line before the snapshot; false if there is no going on.
    private func beginSnapshot(_ line: [UInt8]) -> Bool {
        // An empty line keeps the connection alive.
        guard let first = line.first else { return true }
        let text = String(decoding: line, as: UTF8.self)
        guard first != UInt8(ascii: "-") else {
            server.log.warning("MASTER aborted replication with an error: \(text.dropFirst())")
            disconnect()
            return false
        }
        guard let form = SnapshotForm(line) else {
            server.log.warning(
                "Bad protocol from MASTER, the first byte is not '$' (we received '\(text)'), are you sure the host "
                    + "and port are right?"
            )
            disconnect()
            return false
        }
        if case .length(let length) = form {
            server.log.notice("MASTER <-> SLAVE sync: receiving \(length) bytes from master")
        } else {
            server.log.notice("MASTER <-> SLAVE sync: receiving streamed RDB from master")
        }
        let place = snapshotPlace ?? .init(identifier: .random(), offset: 0)
        do throws(GrowingFile.Failure) {
            let load = try ReplicaLoad(
                server.config,
                directory: server.dataDirectory,
                place: place,
                isOwn: !hasOffsets
            )
            self.load = load
            let receiver = SnapshotReceiver(form)
            self.receiver = receiver
            let number = attempt
            server.replication.threadForSnapshots().submit { [loop = server.loop, self] _ in
                let outcome = load.run()
                loop.execute { self.loaded(load, outcome, attempt: number) }
            }
            if receiver.isComplete { received(load) }
        } catch {
            server.log.warning("Opening the temp file needed for MASTER <-> SLAVE synchronization: \(error)")
            disconnect()
            return false
        }
        return true
    }

    private func loaded(
        _ load: ReplicaLoad,
        _ outcome: Result<ReplicaLoad.Summary, ReplicaLoad.Failure>,
        attempt number: Int
    ) {
        guard number == attempt, !isShutDown, self.load === load else { return }
        switch outcome {
        case .failure(let failure):
            server.log.warning("Failed trying to load the MASTER synchronization DB from disk: \(failure)")
            disconnect()
        case .success(let summary):
            for warning in summary.warnings { server.log.warning(warning) }
            server.whenNoCheckpointRuns { [self] in
                guard number == attempt, !isShutDown, self.load === load else { return }
                server.log.notice("MASTER <-> SLAVE sync: Flushing old data")
                server.adoptReceivedData()
                self.load = nil
                receiver = nil
                server.log.notice("MASTER <-> SLAVE sync: Finished with success")
                guard context != nil else { return disconnect() }
                beginStream()
                process()
            }
        }
    }

    // MARK: Stream

    private func resume(_ identifier: ReplicationIdentifier?) {
        guard let resumption else { return disconnect() }
        guard server.continueHistory(identifier, from: resumption) else { return disconnect() }
        hasOffsets = true
        server.log.notice("MASTER <-> SLAVE sync: Master accepted a Partial Resynchronization.")
        beginStream()
    }

    private func beginStream() {
        state = .connected
        handshake = nil
        scanner = StreamScanner()
        let client = server.connectedToMaster(context, name: "\(address.host):\(address.port)")
        session = client
        replay = LogReplay(server, from: server.position, session: client)
        lastInputMilliseconds = server.monotonicMilliseconds
        server.configurationChanged()
        acknowledge()
    }

    /// Does what has come of the stream: first into the log, then into the keyspace.
    private func processStream() {
        guard !isWaitingForRoom, input.readableBytes > 0, let replay else { return }
        var failure: (any Error)?
        var isFull = false
        let number = attempt
        // What a command does may end the link, and with it the input.
        var data = ByteBuffer()
        swap(&data, &input)
        let done = unsafe data.withUnsafeReadableBytes { bytes -> Int in
            let view = unsafe ByteView(bytes)
            do {
                let whole = try scanner.wholeUnits(in: view)
                guard whole > 0 else { return 0 }
                let units = view.prefix(whole)
                guard try server.appendFromMaster(units) else {
                    isFull = true
                    return 0
                }
                try replay.apply(units, at: server.effects.endOffset - UInt64(whole))
                return whole
            } catch {
                failure = error
                return 0
            }
        }
        server.effects.follow(database: replay.database)
        server.needsTickEnd()
        if let failure {
            server.log.warning("Following the MASTER's stream: \(failure)")
            return disconnect()
        }
        guard number == attempt else { return }
        data.moveReaderIndex(forwardBy: done)
        if data.readableBytes == 0 {
            if data.capacity > 1 << 20 { data = ByteBuffer() } else { data.clear() }
        } else {
            data.discardReadBytes()
        }
        swap(&data, &input)
        if isFull {
            // The scanner has to find the same units again.
            scanner = StreamScanner()
            waitForRoom()
        }
    }

    /// The disk is full: nothing further is done until there is room.
    private func waitForRoom() {
        isWaitingForRoom = true
        server.log.warning("The disk is full: what the MASTER sends must wait.")
        context?.channel.syncOptions.map { try? $0.setOption(.autoRead, value: false) }
        let number = attempt
        server.loop.scheduleTask(in: .milliseconds(100)) { [self] in
            isWaitingForRoom = false
            guard number == attempt, state == .connected else { return }
            processStream()
            guard !isWaitingForRoom else { return }
            context?.channel.syncOptions.map { try? $0.setOption(.autoRead, value: true) }
        }
    }
}

/// The end of the connection to the master.
private final class MasterLinkHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let link: MasterLink
    private let attempt: Int

    init(_ link: MasterLink, attempt: Int) {
        self.link = link
        self.attempt = attempt
    }

    func channelActive(context: ChannelHandlerContext) {
        if !link.connected(context, attempt: attempt) { context.close(promise: nil) }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var buffer = unwrapInboundIn(data)
        link.receive(&buffer, attempt: attempt)
    }

    func channelInactive(context: ChannelHandlerContext) {
        link.disconnected(attempt: attempt)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }
}
