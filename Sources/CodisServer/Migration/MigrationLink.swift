// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import Keyspace
internal import NIOCore
internal import NIOPosix
internal import RESP

/// A connection to a server that keys of one database go to, message by message (Codis 3.2: `slots_async.c`).
///
/// There is one for each database at most, kept for the next batch, and one batch at a time. Whoever asked for the
/// batch waits, and nobody else. What is sent is acknowledged by commands of the other side; when all is acknowledged,
/// the keys are deleted here. It belongs to the event loop, as the server does; it is Sendable for the sake of closures
/// that run there.
final class MigrationLink: ChannelInboundHandler, @unchecked Sendable {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    let server: Server
    let host: [UInt8]
    let port: Int
    let database: Int

    /// What is on its way; nil between two batches.
    private(set) var batch: OutgoingBatch?
    /// Who is answered when the batch has ended.
    private(set) var waiting: [Session] = []
    /// Messages that were sent and not acknowledged.
    private(set) var outstanding = 0
    /// When something was acknowledged last, in ms since 1970.
    private(set) var lastUseMilliseconds: Int64
    /// How long a batch may go without an acknowledgement, in ms.
    private(set) var timeoutMilliseconds: Int64
    /// Whether anything was sent.
    private(set) var isUsed = false
    /// How many keys of the batch have gone.
    private(set) var movedCount = 0
    /// Whether the keys of the batch are being deleted.
    private(set) var isSettling = false

    private var channel: (any Channel)?
    private var isClosed = false
    private var isTurnScheduled = false
    private var output = ByteBuffer()
    private var input = ByteBuffer()
    private var decoder = RESPRequestDecoder()
    /// The first key of the batch that was not settled.
    private var settled = 0
    /// What is to be done once the connection is there.
    private var onConnection: () -> Void = {}

    init(_ server: Server, host: [UInt8], port: Int, database: Int, timeoutMilliseconds: Int64) {
        self.server = server
        self.host = host
        self.port = port
        self.database = database
        self.timeoutMilliseconds = timeoutMilliseconds
        lastUseMilliseconds = server.clock.milliseconds
    }

    /// Whether it can be used.
    var isOpen: Bool { channel != nil && !isClosed }
    /// Whether a batch is on its way, or about to be.
    var isBusy: Bool { batch != nil || (channel == nil && !isClosed) }
    /// Whether nothing has come of it for too long; the text says of what.
    var overdue: String? {
        let elapsed = server.clock.milliseconds - lastUseMilliseconds
        if batch != nil { return elapsed > timeoutMilliseconds ? "migration timeout" : nil }
        return elapsed > MigrationLink.longestIdleness && !isBusy ? "idle timeout" : nil
    }

    private static let longestIdleness: Int64 = 60_000

    private var name: String { "\(String(decoding: host, as: UTF8.self)):\(port)" }

    // MARK: Connecting

    /// How long connecting may take; the original, which stands still meanwhile, gives up after 100 ms.
    private static let longestConnecting: Int64 = 5000

    /// Connects, and then calls `body`; `client` waits, and gets the error if it fails.
    func connect(for client: Session, then body: @escaping () -> Void) {
        hold(client)
        onConnection = body
        ClientBootstrap(group: server.loop)
            .connectTimeout(.milliseconds(max(1, min(timeoutMilliseconds, MigrationLink.longestConnecting))))
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(self) }
            }
            .connect(host: String(decoding: host, as: UTF8.self), port: port)
            .assumeIsolated().whenComplete { [self] outcome in
                server.clock.readAll()
                switch outcome {
                case .success(let channel): connected(channel)
                case .failure(let error):
                    server.log.warning("slotsmgrt_async: create socket \(name) (DB=\(database)) failed, \(error)")
                    end("ERR create client to \(name) failed")
                }
            }
    }

    private func connected(_ channel: any Channel) {
        self.channel = channel
        if isClosed { return channel.close(promise: nil) }
        server.log.notice("slotsmgrt_async: create client \(name) (DB=\(database)) OK")
        lastUseMilliseconds = server.clock.milliseconds
        onConnection()
        onConnection = {}
    }

    // MARK: A batch

    /// Begins a batch, for which `client` waits.
    ///
    /// - Returns: false if there was nothing to send: then nobody waits, and the batch is over.
    func begin(_ batch: OutgoingBatch, for client: Session) -> Bool {
        precondition(self.batch == nil && outstanding == 0, "a batch begins before the last one has ended")
        self.batch = batch
        timeoutMilliseconds = batch.limits.timeoutMilliseconds
        lastUseMilliseconds = server.clock.milliseconds
        movedCount = 0
        settled = 0
        isSettling = false
        server.listenToKeys()
        guard batch.advance(server) else {
            finish()
            return false
        }
        hold(client)
        send(atLeast: 3, nanoseconds: MigrationLink.firstTurn)
        return true
    }

    /// Has `client` wait for the end of the batch.
    func hold(_ client: Session) {
        guard !waiting.contains(where: { $0 === client }) else { return }
        waiting.append(client)
        client.holds.insert(.blocked)
    }

    /// How long the loop may be kept from other work.
    private static let firstTurn: Int64 = 500_000
    private static let furtherTurn: Int64 = 300_000
    /// Messages are handed to the connection when so many bytes have gathered, so that the target begins with them.
    private static let bytesBetweenFlushes = 16 << 10

    /// Sends messages, as long as there are any, and room for them, and time.
    private func send(atLeast least: Int, nanoseconds budget: Int64) {
        guard let batch, !isSettling, isOpen else { return }
        var timer = Clock()
        var spent: Int64 = 0
        var sent = 0
        var isOutOfTime = false
        var waiting = waitingBytes
        let most = batch.limits.mostBytes
        while batch.advance(server) {
            if !isUsed { introduce() }
            let room = most - waiting - output.readableBytes
            guard room > 0 else { break }
            let count = batch.writeNext(to: &output, room: room, server)
            outstanding += count
            sent += count
            if output.readableBytes >= MigrationLink.bytesBetweenFlushes {
                flush()
                waiting = waitingBytes
            }
            spent += timer.readMonotonic()
            if spent >= budget, sent >= least || batch.isWithinMessage {
                isOutOfTime = true
                break
            }
        }
        flush()
        if isOutOfTime, !batch.isWithinMessage {
            // There is room for more, and the target may have nothing to do by the time that it acknowledges.
            scheduleTurn(after: Server.turnGap)
        } else if batch.isWithinMessage {
            // Nothing may be outstanding that would call for more.
            lastUseMilliseconds = server.clock.milliseconds
            scheduleTurn(after: waitingBytes < most ? Server.turnGap : .milliseconds(1))
        } else if outstanding == 0 {
            settle()
        }
    }

    /// What precedes the first message on the connection.
    private func introduce() {
        isUsed = true
        if let password = server.config.requiredPassword {
            output.writeRequest([Array("SLOTSRESTORE-ASYNC-AUTH".utf8), password])
            outstanding += 1
        }
        output.writeRequest(["SLOTSRESTORE-ASYNC-SELECT", "\(database)"])
        outstanding += 1
    }

    private func flush() {
        guard output.readableBytes > 0, let channel, !isClosed else { return output.clear() }
        server.statistics.networkOutputBytes += output.readableBytes
        channel.writeAndFlush(output, promise: nil)
        output = ByteBuffer()
    }

    /// Bytes that wait in the connection for the target to read.
    private var waitingBytes: Int {
        guard let options = channel?.syncOptions else { return 0 }
        return (try? options.getOption(ChannelOptions.bufferedWritableBytes)) ?? 0
    }

    /// Goes on in a turn of the loop of its own.
    private func scheduleTurn(after delay: TimeAmount) {
        guard !isTurnScheduled else { return }
        isTurnScheduled = true
        let turn: @Sendable () -> Void = { [self] in
            isTurnScheduled = false
            guard !isClosed, batch != nil else { return }
            server.clock.readAll()
            if isSettling { settle() } else { send(atLeast: 1, nanoseconds: MigrationLink.furtherTurn) }
        }
        server.schedule(after: delay, turn: turn)
    }

    // MARK: Acknowledgements

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var buffer = unwrapInboundIn(data)
        guard !isClosed else { return }
        _ = server.clock.readMonotonic()
        server.statistics.networkInputBytes += buffer.readableBytes
        if input.readableBytes == 0 { input = buffer } else { input.writeBuffer(&buffer) }
        var acknowledged = 0
        var failure: String?
        let consumed = unsafe input.withUnsafeReadableBytes { bytes in
            unsafe take(ByteView(bytes), &acknowledged, &failure)
        }
        guard failure == nil else { return }
        input.moveReaderIndex(forwardBy: consumed)
        if input.readableBytes == 0 { input = ByteBuffer() } else { input.discardReadBytes() }
        guard acknowledged > 0, !isClosed else { return }
        lastUseMilliseconds = server.clock.milliseconds
        if isSettling {
            if outstanding == 0 { settle() }
        } else {
            // One read may bring a thousand acknowledgements: what they call for is bounded by time.
            send(atLeast: 2, nanoseconds: MigrationLink.furtherTurn)
        }
    }

    /// Takes the acknowledgements in `bytes`; gives how many bytes are done with.
    private func take(_ bytes: ByteView, _ acknowledged: inout Int, _ failure: inout String?) -> Int {
        var offset = 0
        while offset < bytes.count {
            let rest = bytes.dropFirst(offset)
            if rest[0] == UInt8(ascii: "-") {
                // A server that is none of Codis 3.2, or that refuses a command before it looks at it.
                guard let end = rest.firstIndex(of: 0x0A) else { return offset }
                let line = String(rest[1..<(rest[end - 1] == 0x0D ? end - 1 : end)])
                failure = line
                fail("connection closed (\(line))")
                return offset
            }
            guard let outcome = try? decoder.decode(rest) else {
                failure = "protocol"
                fail("connection closed")
                return offset
            }
            switch outcome {
            case .incomplete: return offset
            case .ignored(let count): offset += count
            case .request(let count):
                let source: [UInt8]? = decoder.rewrittenRequest
                let refusal =
                    if let source { ByteView.with(source) { take(argumentsIn: $0) } } else { take(argumentsIn: rest) }
                if let refusal {
                    failure = refusal
                    return offset
                }
                acknowledged += 1
                offset += count
            }
        }
        return offset
    }

    private static let acknowledgement: StaticString = "slotsrestore-async-ack"

    /// Takes the command that was decoded from `bytes`; gives why the connection is closed, if it is.
    private func take(argumentsIn bytes: ByteView) -> String? {
        func refuse(_ text: String) -> String {
            output.writeReplyError("ERR " + text)
            flush()
            fail("connection closed")
            return text
        }
        let count = decoder.argumentCount
        guard decoder.argument(0, in: bytes).equalsIgnoringCase(MigrationLink.acknowledgement) else {
            return refuse("invalid command, SLOTSRESTORE-ASYNC-ACK is expected")
        }
        guard count == 3 else { return refuse("wrong number of arguments for SLOTSRESTORE-ASYNC-ACK") }
        guard let code = DecimalNumber.lenient(decoder.argument(1, in: bytes)) else {
            return refuse("invalid errcode (\(String(decoder.argument(1, in: bytes))))")
        }
        guard code == 0 else {
            let text = String(decoder.argument(2, in: bytes))
            server.log.warning("slotsmgrt_async: ack[\(code)] \(text)")
            fail("connection closed")
            return text
        }
        guard batch != nil else { return refuse("invalid iterator (NULL)") }
        guard outstanding > 0 else { return refuse("invalid pending messages") }
        outstanding -= 1
        return nil
    }

    func channelInactive(context: ChannelHandlerContext) {
        // It may be a command that wrote to it.
        server.loop.execute { [self] in connectionLost() }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

    private func connectionLost() {
        channel = nil
        fail("connection closed", goesOn: true)
    }

    // MARK: The end of a batch

    /// How many keys are deleted in one turn.
    private static let settledInTurn = 256

    /// The target has everything: the keys go here, some in each turn, and then those who wait are answered.
    ///
    /// A key that is no longer what was sent is taken back from the target instead.
    private func settle() {
        guard let batch else { return }
        if !isSettling {
            isSettling = true
            server.noteSettling(batch)
        }
        // Nothing is changed in the middle of a script that takes long, nor while CLIENT PAUSE keeps all data as they
        // are.
        guard !server.effects.isInUnit, server.pausedUntilMilliseconds == 0, server.writeRefusal == nil,
            server.keyspace.ensureRoomForDelete(rows: MigrationLink.settledInTurn),
            server.effects.ensureRoom(bytes: 1 << 20)
        else { return scheduleTurn(after: .milliseconds(5)) }
        lastUseMilliseconds = server.clock.milliseconds
        let end = min(settled + MigrationLink.settledInTurn, batch.entries.count)
        var deleted: [[UInt8]] = []
        while settled < end, server.keyspace.failure == nil {
            settle(batch.entries[settled], &deleted)
            settled += 1
        }
        movedCount += deleted.count
        server.propagateMoved(deleted, in: database)
        flush()
        if settled < batch.entries.count {
            scheduleTurn(after: Server.turnGap)
        } else if outstanding == 0 {
            finish()
        }
    }

    private func settle(_ entry: OutgoingBatch.Entry, _ deleted: inout [[UInt8]]) {
        guard entry.state == .sent || entry.state == .outdated else { return }
        ByteView.with(entry.key) { key in
            if server.current(key, in: database) == nil {
                // What has expired here does so there.
                let isExpired =
                    entry.expireAtMilliseconds != 0 && server.clock.milliseconds > entry.expireAtMilliseconds
                if isExpired, entry.state == .sent { return }
            } else if entry.state == .sent {
                if server.removeMoved(key, in: database) { deleted.append(entry.key) }
                return
            }
            guard isOpen else {
                return server.log.warning("slotsmgrt_async: a key was changed while it moved, and \(name) keeps a copy")
            }
            OutgoingValue.writeDelete(key, to: &output)
            outstanding += 1
        }
    }

    /// Answers those who wait, and makes way for the next batch.
    private func finish() {
        guard let batch else { return }
        let moved = movedCount
        let left = batch.slot.map { server.keyspace.counts(of: $0, in: database).keys }
        leave(batch)
        answer { output in
            if left != nil { output.writeReplyArrayHeader(2) }
            output.writeReplyInteger(moved)
            if let left { output.writeReplyInteger(left) }
        }
    }

    /// Lets go of the batch, and of the keys that are left of it.
    private func leave(_ batch: OutgoingBatch) {
        self.batch = nil
        isSettling = false
        outstanding = 0
        if isClosed { server.removeLink(self) }
        server.ended(batch)
    }

    private func answer(_ body: (inout ByteBuffer) -> Void) {
        let clients = waiting
        waiting = []
        guard !clients.isEmpty else { return }
        for client in clients {
            // Whoever hears of it must not hear before it is in the log.
            client.hasWritten = true
            client.reply(body)
        }
        // Not at once: it may be a command of another client that brought the end.
        server.loop.execute {
            for client in clients { client.resume(.blocked) }
        }
    }

    /// Ends the connection and what is on its way, and says why to those who wait.
    ///
    /// - Parameter goesOn: whether what the target has acknowledged is seen to its end all the same.
    func fail(_ reason: String, goesOn: Bool = false) { end("ERR interrupted: \(reason)", goesOn: goesOn) }

    private func end(_ error: String, goesOn: Bool = false) {
        guard !isClosed else { return }
        let elapsed = server.clock.milliseconds - lastUseMilliseconds
        server.log.warning(
            "slotsmgrt_async: unlink client \(name) (DB=\(database)): sending_msgs = \(outstanding), "
                + "batched_iter = \(batch.map { $0.entries.count - $0.next } ?? -1), blocked_list = \(waiting.count), "
                + "timeout = \(timeoutMilliseconds)(ms), elapsed = \(elapsed)(ms) (\(error))"
        )
        takeBack()
        isClosed = true
        guard let batch else {
            server.removeLink(self)
            return answer { $0.writeReplyError(error) }
        }
        if goesOn, isSettling {
            // All of it was acknowledged, and some of it may be gone here.
            outstanding = 0
            return settle()
        }
        leave(batch)
        answer { $0.writeReplyError(error) }
    }

    /// Closes the connection.
    ///
    /// Before that the target, if it still listens, is asked to drop what it was sent of keys
    /// that stay: what is deleted here later must not come back from there.
    private func takeBack() {
        guard let channel else { return }
        self.channel = nil
        guard let batch, channel.isActive, isUsed, !batch.isWithinMessage else { return channel.close(promise: nil) }
        output.clear()
        for key in batch.touchedKeys(from: isSettling ? settled : 0).prefix(MigrationLink.mostTakenBack) {
            ByteView.with(key) { OutgoingValue.writeDelete($0, to: &output) }
        }
        channel.writeAndFlush(output, promise: nil)
        // What comes back until the other side closes it is not looked at.
        channel.close(mode: .output, promise: nil)
        server.loop.scheduleTask(in: .seconds(1)) { channel.close(promise: nil) }
    }

    private static let mostTakenBack = 10_000
}
