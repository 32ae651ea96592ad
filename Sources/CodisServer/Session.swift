// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import Glibc
internal import NIOCore
internal import RESP

/// Why the commands of a client wait.
struct SessionHolds: OptionSet {
    let rawValue: UInt8

    /// CLIENT PAUSE.
    static let paused = SessionHolds(rawValue: 1 << 0)
    /// A command that waits for data.
    static let blocked = SessionHolds(rawValue: 1 << 1)
    /// A script of its own that takes long.
    static let script = SessionHolds(rawValue: 1 << 2)
    /// A command that has not begun, because keys that it names are on their way.
    static let fenced = SessionHolds(rawValue: 1 << 3)
    /// The server becomes a master, and still takes what its old master has sent.
    static let promotion = SessionHolds(rawValue: 1 << 4)
    /// The client has kept the loop busy for long enough, and it is the turn of others.
    static let turn = SessionHolds(rawValue: 1 << 5)
    /// The server ends, and still sends its replicas what they lack.
    static let ending = SessionHolds(rawValue: 1 << 6)
}

/// What a client is, for CLIENT KILL TYPE and the limits on output.
enum SessionType: String, CaseIterable {
    case normal
    case replica = "slave"
    case pubsub
}

/// What keeps the commands of a client from simply running; none of it for most clients.
struct SessionModes: OptionSet {
    let rawValue: UInt8

    /// Commands are queued for EXEC.
    static let transaction = SessionModes(rawValue: 1 << 0)
    /// The client has subscribed to something.
    static let subscribed = SessionModes(rawValue: 1 << 1)
    /// The client has keys of a slot moved, again and again as it seems.
    static let movesSlot = SessionModes(rawValue: 1 << 2)
}

/// A client as the server knows it: its connection, what it has sent and not been answered yet, and its state.
///
/// A session without a connection is virtual: it stands for the log while that is replayed. Like all of the server it
/// belongs to the event loop; it is Sendable for the sake of closures that run there.
@safe
final class Session: @unchecked Sendable {
    /// Distinguishes sessions for ever; later ones have greater numbers.
    let identifier: Int
    private let lentServer: Lent<Server>
    /// The connection; nil for a virtual session, and after it was closed.
    var context: ChannelHandlerContext? { unsafe contextReference?.takeUnretainedValue() }
    // The pipeline holds the context until after it has told that the connection is gone.
    private var contextReference: Unmanaged<ChannelHandlerContext>?

    // What INFO and CLIENT LIST tell.
    /// Where the client is: `address:port`, `[address]:port`, or the path of the unix socket and `:0`.
    let address: String
    let isUnixSocket: Bool
    /// The descriptor of the connection; -1 for a virtual session.
    let fileDescriptor: Int32
    let createdAtMilliseconds: Int64
    var lastInteractionMilliseconds: Int64
    var name: [UInt8] = []
    private unowned(unsafe) var lastCommandReference: Command?
    /// The last command, nil before the first.
    var lastCommand: Command? {
        get { unsafe lastCommandReference }
        set { unsafe lastCommandReference = newValue }
    }

    // State.
    var database = 0
    var isAuthenticated: Bool
    var isMonitor = false
    /// The connection is the way to the master, which answers nothing.
    var isMaster = false
    /// What the client said of itself as a replica.
    var replicaAnnouncement = ReplicaAnnouncement()
    /// It asked for the stream, and is about to become a replica.
    var isAttaching = false
    /// What the client is fed as a replica.
    var replica: ReplicaFeed?
    /// Nothing further is read; the connection is closed when the last reply has gone.
    var closesAfterReply = false
    /// Why further commands wait.
    var holds: SessionHolds = []
    /// What keeps commands from simply running.
    var modes: SessionModes = []
    /// What was queued since MULTI, and which keys are watched.
    var transaction = SessionTransaction()
    /// What the client waits for.
    var blocked: BlockedCommand?
    /// What the client has subscribed to.
    var subscriptions = SessionSubscriptions()
    /// The keys that the client has moved to another server.
    var moves = SessionMoves()
    /// The client is a server that moves keys here.
    var isSender = false
    /// The values that it sends in pieces, and which are not whole yet.
    var arriving: [ArrivingValue.Target: ArrivingValue] = [:]
    /// When the commands that run now were begun, on the monotonic clock.
    private var turnStartNanoseconds: Int64 = 0
    /// The replies of this tick may only go when the log was written.
    var hasWritten = false
    /// The session is among those that the end of the tick answers.
    var isTouched = false
    /// Since when more waits to be sent than the soft limit allows; 0 if it does not.
    var overSoftLimitSinceMilliseconds: Int64 = 0

    /// What arrived and was not run yet: that is done when all sockets were read.
    private var arrived = ByteBuffer()
    /// How far into what is run now keys were looked for, to have them prefetched.
    private var scanned = 0
    /// Where the bytes of unfinished requests are kept.
    private var rest = ByteBuffer()
    private var decoder = RESPRequestDecoder()
    /// Replies that were not handed to the connection yet.
    var output = ByteBuffer()
    /// Whether the connection was handed something that the system may not have taken yet: what comes next then queues
    /// up behind it.
    private var isQueueing = false

    /// What may wait in `rest` at most: 1 GB, as Redis 2.8 has it.
    private static let longestQueryBuffer = 1 << 30
    /// Buffers larger than this are given back when they are empty.
    private static let largestBufferKept = 64 << 10

    init(
        _ server: Server,
        identifier: Int,
        context: ChannelHandlerContext?,
        address: String,
        isUnixSocket: Bool = false
    ) {
        self.identifier = identifier
        lentServer = Lent(server)
        unsafe contextReference = context.map { unsafe Unmanaged.passUnretained($0) }
        fileDescriptor = Session.descriptor(of: context)
        self.address = address
        self.isUnixSocket = isUnixSocket
        createdAtMilliseconds = server.clock.milliseconds
        lastInteractionMilliseconds = server.clock.milliseconds
        isAuthenticated = context == nil
    }

    var server: Server { lentServer.object }
    /// Whether further commands wait.
    var isHeld: Bool { !holds.isEmpty }
    var isVirtual: Bool { address.isEmpty }
    var isOpen: Bool { unsafe contextReference != nil }
    /// What the client is; those that monitor are normal.
    var type: SessionType {
        if replica != nil { return .replica }
        return modes.contains(.subscribed) ? .pubsub : .normal
    }
    var unreadBytes: Int { rest.readableBytes }
    /// What was received and is not done with, unless it came in one piece.
    var input: ByteBuffer { rest }

    /// Bytes that wait in the connection for the client to read.
    var waitingOutputBytes: Int {
        guard isQueueing, let options = context?.channel.syncOptions else { return 0 }
        return (try? options.getOption(ChannelOptions.bufferedWritableBytes)) ?? 0
    }

    // MARK: Input

    /// Takes what arrived.
    ///
    /// The requests in it run when the sockets that are ready have all been read, so that the keys of several clients
    /// can be prefetched together; but at once when the buffer is full, as then more is read right away, or when more
    /// waits than is to be kept.
    ///
    /// A connection that fails within a command, of another session even, may give what it still has, and is closed: no
    /// reply can reach it, and requests do not run within others.
    func receive(_ buffer: consuming ByteBuffer, _ server: Server) {
        guard !closesAfterReply, isOpen, !server.isProcessing else { return }
        lastInteractionMilliseconds = server.clock.milliseconds
        if arrived.readableBytes > 0, arrived.readableBytes + buffer.readableBytes <= Session.mostArrived {
            // It still waits for its turn.
            arrived.writeBuffer(&buffer)
            return
        }
        runArrivedNow()
        guard isOpen, !closesAfterReply else { return }
        let isFull = buffer.writableBytes == 0
        arrived = buffer
        if isFull { runArrivedNow() } else { server.addArrival(self, bytes: arrived.readableBytes) }
    }

    private static let mostArrived = 64 << 10

    /// How many bytes arrived that have not been run.
    var arrivedBytes: Int { arrived.readableBytes }

    /// Announces the keys of what arrived, until there is no more room for them; or has it run without, if it is not
    /// worth it.
    func announceArrived(looksAhead: Bool) {
        scanned = looksAhead ? 0 : arrived.readableBytes
        guard looksAhead, rest.readableBytes == 0, !isHeld, !closesAfterReply else { return }
        scanned = unsafe arrived.withUnsafeReadableBytes { bytes in
            unsafe server.announceKeys(of: ByteView(bytes), database)
        }
    }

    /// As `runArrived`, out of turn.
    private func runArrivedNow() {
        guard arrived.readableBytes > 0, !server.isProcessing else { return }
        scanned = 0
        _ = server.clock.readMonotonic()
        runArrived(server)
    }

    /// Runs the requests that are complete in what arrived; the clock was just read.
    ///
    /// The cron reads the time of day; between two of its turns the monotonic clock carries it on.
    func runArrived(_ server: Server) {
        guard arrived.readableBytes > 0 else { return }
        // It goes back to who reads before its bytes are read again.
        var buffer = ByteBuffer()
        swap(&buffer, &arrived)
        guard !closesAfterReply, isOpen else { return }
        turnStartNanoseconds = server.clock.monotonicNanoseconds
        server.statistics.networkInputBytes += buffer.readableBytes
        if rest.readableBytes == 0, !isHeld {
            let consumed = unsafe buffer.withUnsafeReadableBytes { bytes in unsafe process(ByteView(bytes), server) }
            buffer.moveReaderIndex(forwardBy: consumed)
            if buffer.readableBytes > 0 { keep(&buffer) }
        } else {
            keep(&buffer)
            if !isHeld { processRest() }
        }
        if output.readableBytes > 0 || closesAfterReply { server.touch(self) }
    }

    /// Goes on with what was held for this reason, unless there is another.
    func resume(_ reason: SessionHolds) {
        holds.remove(reason)
        guard !isHeld, !closesAfterReply, isOpen else { return }
        server.clock.readAll()
        turnStartNanoseconds = server.clock.monotonicNanoseconds
        processRest()
        if output.readableBytes > 0 || closesAfterReply { server.touch(self) }
    }

    /// Has further commands wait for others if those so far have taken long, or for the disk if it lags behind; for
    /// commands of servers, which send many and large ones at a time.
    func yieldIfLong() {
        let server = server
        guard isOpen else { return }
        if server.isAheadOfDisk {
            holds.insert(.turn)
            server.afterRunningCheckpoint { [self] in resume(.turn) }
        } else if server.clock.monotonicNanoseconds - turnStartNanoseconds > Session.longestTurn {
            holds.insert(.turn)
            server.schedule(after: Server.turnGap) { [self] in resume(.turn) }
        }
    }

    private static let longestTurn: Int64 = 2_000_000

    private func keep(_ buffer: inout ByteBuffer) {
        guard !closesAfterReply else { return }
        rest.writeBuffer(&buffer)
        if rest.readableBytes > Session.longestQueryBuffer {
            server.log.warning(
                "Closing client that reached max query buffer length: \(server.description(of: self))"
            )
            closeNow()
        }
    }

    private func processRest() {
        guard rest.readableBytes > 0 else { return }
        scanned = 0
        let consumed = unsafe rest.withUnsafeReadableBytes { bytes in unsafe process(ByteView(bytes), server) }
        rest.moveReaderIndex(forwardBy: consumed)
        if rest.readableBytes == 0 {
            if rest.capacity > Session.largestBufferKept { rest = ByteBuffer() } else { rest.clear() }
        } else if rest.readerIndex > rest.readableBytes {
            rest.discardReadBytes()
        }
        if needed > rest.readableBytes, needed - rest.readableBytes > 32 << 10 {
            // Room for a large argument is made once, not by doubling; but not for more than arrives in earnest.
            rest.reserveCapacity(minimumWritableBytes: min(needed - rest.readableBytes, 64 << 20))
        }
    }

    /// How many bytes the unfinished request needs at least.
    private var needed = 0

    /// Runs the requests in `input`; gives the number of bytes that are done with.
    private func process(_ input: ByteView, _ server: Server) -> Int {
        let call = server.call
        call.begin(self)
        swap(&call.reply, &output)
        let isWithin = server.isProcessing
        server.isProcessing = true
        defer {
            server.isProcessing = isWithin
            swap(&call.reply, &output)
        }
        var offset = 0
        needed = 0
        while offset < input.count, !closesAfterReply, !isHeld {
            let unread = input.dropFirst(offset)
            let outcome: RESPRequestDecoder.Outcome
            do throws(RESPError) {
                outcome = try decoder.decode(unread)
            } catch {
                server.log.verbose("Protocol error from client: \(server.description(of: self))")
                call.reply.writeReplyError(error.errorLine)
                closesAfterReply = true
                return input.count
            }
            switch outcome {
            case .request(let consumed):
                if decoder.isInline {
                    runInline(server, call)
                } else {
                    call.arguments.take(&decoder, in: unread)
                    call.request = decoder.isCanonical ? unread.prefix(consumed) : ByteView()
                    server.execute(call)
                }
                // What waits for a fence is decoded again from its start.
                if holds.contains(.fenced) { return offset }
                offset += consumed
                if offset >= scanned, offset < input.count, !isHeld, !closesAfterReply {
                    scanned = offset + server.announceKeys(of: input.dropFirst(offset), database)
                    server.prefetchAnnounced()
                }
            case .ignored(let consumed):
                offset += consumed
            case .incomplete(let needed):
                self.needed = needed
                return offset
            }
        }
        return closesAfterReply ? input.count : offset
    }

    private func runInline(_ server: Server, _ call: CommandCall) {
        guard let rewritten = decoder.rewrittenRequest else { return }
        ByteView.with(rewritten) { request in
            call.arguments.take(&decoder, in: request)
            call.request = request
            server.execute(call)
        }
    }

    // MARK: Output

    /// Adds to the replies outside of a command of this session.
    func reply(_ body: (inout ByteBuffer) -> Void) {
        guard !isVirtual, !closesAfterReply else { return }
        if server.isReplying(to: self) {
            body(&server.call.reply)
        } else {
            body(&output)
            server.touch(self)
        }
    }

    /// Whether the connection has taken all replies that it was handed, or nearly all.
    @inline(__always)
    var isFlushed: Bool { !isQueueing || context?.channel.isWritable ?? true }

    /// Whether more may be handed to the connection now.
    var canTakeMore: Bool { context?.channel.isWritable ?? false }

    /// Hands `buffer` to the connection at once.
    func send(_ buffer: ByteBuffer) {
        guard let context else { return }
        server.statistics.networkOutputBytes += buffer.readableBytes
        isQueueing = true
        context.writeAndFlush(NIOAny(buffer), promise: nil)
    }

    /// Sends the replies; the end of the tick calls it.
    ///
    /// Nearly always the socket takes all of them at once, and then NIO's queue of writes, which costs as much as a
    /// command does, need not be gone through. What the socket does not take waits there.
    func flush(_ server: Server) {
        guard isOpen else { return output.clear() }
        server.statistics.networkOutputBytes += output.readableBytes
        if output.readableBytes > 0 { writeToSocket() }
        guard output.readableBytes > 0 else {
            if output.capacity > Session.largestBufferKept { output = ByteBuffer() } else { output.clear() }
            if closesAfterReply { closeWhenSent() }
            return
        }
        isQueueing = true
        context?.writeAndFlush(NIOAny(output), promise: nil)
        // Still in the hands of the connection: begun anew rather than copied.
        output = ByteBuffer()
        if closesAfterReply { closeWhenSent() }
    }

    /// Writes as much of the replies as the socket takes, unless others wait before them.
    @inline(__always)
    private func writeToSocket() {
        if isQueueing { isQueueing = waitingOutputBytes > 0 }
        // As soon as the channel has closed the descriptor it tells `connectionClosed()`. An error comes up again, and
        // is dealt with, when the channel writes.
        guard !isQueueing, fileDescriptor >= 0 else { return }
        let sent = unsafe output.withUnsafeReadableBytes { bytes in
            unsafe Glibc.send(fileDescriptor, bytes.baseAddress, bytes.count, Session.sendFlags)
        }
        if sent > 0 { output.moveReaderIndex(forwardBy: sent) }
    }

    private static let sendFlags = Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT)

    /// Closes the connection once everything that it was handed is sent.
    private func closeWhenSent() {
        guard isQueueing, let context else { return closeNow() }
        let promise = context.eventLoop.makePromise(of: Void.self)
        promise.futureResult.assumeIsolated().whenComplete { [self] _ in closeNow() }
        context.writeAndFlush(NIOAny(ByteBuffer()), promise: promise)
    }

    private static func descriptor(of context: ChannelHandlerContext?) -> Int32 {
        guard let operations = context?.channel.pipeline.syncOperations else { return -1 }
        let descriptor = try? operations.withUnsafeTransportIfAvailable(of: NIOBSDSocket.Handle.self) { $0 }
        return descriptor ?? -1
    }

    /// Hears that the client sends no more.
    func inputClosed() {
        runArrivedNow()
        guard isOpen, !closesAfterReply else { return }
        if let replica, replica.leaves() { return }
        closesAfterReply = true
        server.touch(self)
    }

    /// Closes the connection at once; what was not sent is lost.
    func closeNow() {
        closesAfterReply = true
        arrived = ByteBuffer()
        output.clear()
        guard let context else { return }
        context.close(promise: nil)
    }

    /// Hears that the connection is gone; what it has sent before is run all the same, unless that is within a command.
    func connectionClosed() {
        runArrivedNow()
        arrived = ByteBuffer()
        unsafe contextReference = nil
        closesAfterReply = true
        output = ByteBuffer()
        rest = ByteBuffer()
    }
}
