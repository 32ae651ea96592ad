// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import CommandLog
internal import Keyspace
internal import NIOCore
internal import NIOPosix
internal import Replication

/// What a replica is fed: first a snapshot if it needs one, then the stream.
///
/// A replica that keeps up gets each frame of the log when it was written, from the memory that it was written from.
/// One that does not is served from the log's files, in steps and by a thread of its own, until it has caught up. So
/// what waits in memory for a replica is bounded, however slow it is (Redis 2.8 kept it in the client's output buffer).
final class ReplicaFeed: @unchecked Sendable {
    // Unchecked: all of it belongs to the loop; a reader is handed to the reading thread and back.
    private unowned let server: Server
    /// The connection.
    let session: Session
    /// The address without the port of the connection.
    let ip: String
    /// Whether the replica said PSYNC; one that said SYNC never acknowledges.
    let acknowledges: Bool
    var status: ReplicaStatus

    /// What the replica is being sent; nil once it gets the stream.
    private var transfer: SnapshotTransfer?
    /// How much of the snapshot was handed to the connection; nil before its header was.
    private var snapshotPosition: UInt64?
    /// Whether the stream may begin only when the replica has acknowledged the snapshot, whose end it could not tell.
    private var awaitsAcknowledgement = false
    private var isStreaming = false
    /// The offset of the next byte of the stream to be handed to the connection.
    private(set) var sentOffset: UInt64 = 0
    /// Whether frames go to the connection as they are written.
    private var isDirect = false
    /// Whether the replica wants no more than what was acknowledged to clients so far.
    private(set) var isLeaving = false
    /// Where that ends, once it is known.
    private var leavingOffset: UInt64?
    /// Whether the replica did not ask for that: it is to close the connection when it has everything.
    private var isDismissed = false
    private var reader: ReaderBox?
    private var isReading = false

    /// How much is read for a replica at a time.
    private static let stepBytes = 256 << 10
    /// What may wait in the connection before no more is added, and how little before it is gone on.
    private static let marks = ChannelOptions.Types.WriteBufferWaterMark(low: 256 << 10, high: 1 << 20)

    /// A log reader on its way to another thread and back.
    private final class ReaderBox: @unchecked Sendable {
        let reader: LogReader
        init(_ reader: LogReader) { self.reader = reader }
    }

    init(_ server: Server, _ session: Session, acknowledges: Bool) {
        self.server = server
        self.session = session
        self.acknowledges = acknowledges
        ip = session.context?.channel.remoteAddress?.ipAddress ?? "?"
        status = ReplicaStatus(at: server.monotonicMilliseconds)
        guard let channel = session.context?.channel, let options = channel.syncOptions else { return }
        try? options.setOption(ChannelOptions.writeBufferWaterMark, value: Self.marks)
        if server.config.replicationDisablesTcpNoDelay {
            try? options.setOption(.tcpOption(.tcp_nodelay), value: 0)
        }
    }

    /// The address by which the replica is known: that of the connection, and the port on which it listens.
    var name: String {
        let port = session.replicaAnnouncement.listeningPort
        return port > 0 ? "\(ip):\(port)" : session.address
    }

    /// The offset from which on the log must be kept for this replica; nil if it waits for a snapshot to be taken.
    var neededOffset: UInt64? { isStreaming ? sentOffset : transfer?.position?.offset }

    /// Whether nothing of a snapshot has been sent yet, so that line ends may keep the connection alive.
    var isWaitingForSnapshot: Bool { !isStreaming && snapshotPosition == nil }

    // MARK: Snapshot

    /// Has the replica get the snapshot of `transfer`.
    func take(_ transfer: SnapshotTransfer) {
        self.transfer = transfer
        if transfer.position != nil { snapshotTaken() }
    }

    /// Whether it waits for, or gets, `transfer`.
    func isTaking(_ transfer: SnapshotTransfer) -> Bool { self.transfer === transfer }

    /// Hears that the snapshot was taken, so that it is known where the stream will go on.
    func snapshotTaken() {
        guard let transfer, let position = transfer.position else { return }
        if acknowledges {
            let identifier = server.replication.history.current
            session.send(ByteBuffer(string: "+FULLRESYNC \(identifier) \(position.offset)\r\n"))
        }
        pump()
    }

    private func pumpSnapshot(_ transfer: SnapshotTransfer) {
        if transfer.hasFailed { return session.closeNow() }
        guard transfer.position != nil else { return }
        let isMarked = session.replicaAnnouncement.takesMarks
        guard var position = snapshotPosition else {
            // Without a mark the length must be known before the first byte.
            guard isMarked || transfer.isComplete else { return }
            let form = isMarked ? SnapshotForm.mark(transfer.mark) : .length(transfer.file.length)
            session.send(ByteBuffer(bytes: form.line))
            status.state = .receiving
            snapshotPosition = 0
            return pump()
        }
        let length = transfer.file.length
        if position < length {
            isReading = true
            let thread = server.replication.threadForReading()
            let (file, start) = (transfer.file, position)
            thread.submit { [loop = server.loop] _ in
                let outcome = Result { () throws(GrowingFile.Failure) in
                    try file.read(at: start, count: Self.stepBytes)
                }
                loop.execute { self.didReadSnapshot(outcome) }
            }
            return
        }
        guard transfer.isComplete else { return }
        position = length
        if isMarked { session.send(ByteBuffer(bytes: transfer.mark)) }
        sentOffset = transfer.position?.offset ?? 0
        self.transfer = nil
        isStreaming = true
        status.state = .online
        status.heard(at: server.monotonicMilliseconds)
        // Behind a mark the replica takes what it reads for the snapshot's, until it has loaded it and said so.
        awaitsAcknowledgement = isMarked && acknowledges
        server.snapshotSent(transfer, to: self)
        pump()
    }

    private func didReadSnapshot(_ outcome: Result<ByteBuffer, GrowingFile.Failure>) {
        isReading = false
        guard session.isOpen else { return }
        switch outcome {
        case .success(let buffer):
            snapshotPosition = (snapshotPosition ?? 0) + UInt64(buffer.readableBytes)
            session.send(buffer)
            pump()
        case .failure(let failure):
            server.log.warning("Sending the snapshot to slave \(name): \(failure)")
            session.closeNow()
        }
    }

    // MARK: Stream

    /// Has the replica go on at `offset` of the stream.
    func resume(from offset: UInt64) {
        sentOffset = offset
        isStreaming = true
        status.state = .online
        status.heard(at: server.monotonicMilliseconds)
        pump()
    }

    /// Takes note of what the replica has.
    func acknowledge(_ offset: UInt64) {
        status.acknowledge(offset, at: server.monotonicMilliseconds)
        if awaitsAcknowledgement {
            awaitsAcknowledgement = false
            pump()
        }
    }

    /// Sends bytes of the stream that were written just now, if everything before them was sent.
    ///
    /// `shared` is a copy of them for all replicas, made by the first that needs it.
    func sendWritten(_ piece: ByteView, _ shared: inout ByteBuffer?) {
        guard isDirect else { return }
        guard session.canTakeMore else {
            // From now on it is served from the log, until it has caught up.
            isDirect = false
            return
        }
        let buffer: ByteBuffer
        if let made = shared {
            buffer = made
        } else {
            var made = ByteBufferAllocator().buffer(capacity: piece.count)
            _ = unsafe made.writeBytes(piece.rawBuffer)
            shared = made
            buffer = made
        }
        sentOffset += UInt64(piece.count)
        session.send(buffer)
        closeIfLeft()
    }

    /// Goes on sending, as much as the connection takes.
    func pump() {
        guard session.isOpen, !isReading, session.canTakeMore else { return }
        if let transfer { return pumpSnapshot(transfer) }
        guard isStreaming, !awaitsAcknowledgement, !isDirect, let log = server.effects.log else { return }
        let end = log.endOffset
        guard sentOffset < end else {
            isDirect = true
            reader = nil
            return closeIfLeft()
        }
        isReading = true
        let thread = server.replication.threadForReading()
        let (box, start, directory) = (reader, sentOffset, log.directory)
        reader = nil
        thread.submit { [loop = server.loop] _ in
            let outcome = Result { () throws(CommandLogError) in
                let box = if let box { box } else { ReaderBox(try LogReader(directory: directory, from: start)) }
                return (box, try box.reader.read(upTo: end, maximumBytes: Self.stepBytes))
            }
            loop.execute { self.didReadLog(outcome) }
        }
    }

    private func didReadLog(_ outcome: Result<(ReaderBox, [UInt8]), CommandLogError>) {
        isReading = false
        guard session.isOpen else { return }
        do throws(CommandLogError) {
            let (box, bytes) = try outcome.get()
            send(bytes)
            reader = box
            // What was written meanwhile is read here and now, if it is little: else one would never be level.
            if let end = server.effects.log?.endOffset, end - sentOffset <= UInt64(Self.stepBytes) {
                send(try box.reader.read(upTo: end, maximumBytes: Self.stepBytes))
            }
        } catch {
            server.log.warning("Reading the log for slave \(name): \(error)")
            return session.closeNow()
        }
        pump()
    }

    // MARK: The end

    /// Hears that the replica sends no more, as one does that is being promoted: it does not count any more for
    /// min-slaves-to-write, and gets the rest of what was acknowledged to clients before that.
    ///
    /// - Returns: false if there is nothing that it could be sent.
    func leaves() -> Bool {
        guard isStreaming, !awaitsAcknowledgement else { return false }
        guard !isLeaving else { return true }
        isLeaving = true
        server.countGoodReplicas()
        // Behind the end of this tick, which writes what its commands did so far.
        server.loop.execute { [self] in
            leavingOffset = server.effects.endOffset
            closeIfLeft()
            pump()
        }
        return true
    }

    /// Sends the replica what was acknowledged to clients so far, and then the end of the stream.
    ///
    /// It closes the connection when it has read that. False if there is nothing that it could be sent.
    func dismiss() -> Bool {
        isDismissed = true
        return leaves()
    }

    private func closeIfLeft() {
        guard let leavingOffset, sentOffset >= leavingOffset, let context = session.context else { return }
        self.leavingOffset = nil
        let promise = context.eventLoop.makePromise(of: Void.self)
        promise.futureResult.assumeIsolated().whenComplete { [session, isDismissed] _ in
            if isDismissed { session.context?.close(mode: .output, promise: nil) } else { session.closeNow() }
        }
        context.writeAndFlush(NIOAny(ByteBuffer()), promise: promise)
    }

    private func send(_ bytes: [UInt8]) {
        guard !bytes.isEmpty else { return }
        sentOffset += UInt64(bytes.count)
        session.send(ByteBuffer(bytes: bytes))
    }
}
