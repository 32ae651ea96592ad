// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import NIOCore
internal import NIOPosix
internal import RESP

/// Why an exchange with another server came to nothing; the text is for the log.
enum TargetFailure: Error {
    case writing(String)
    case reading(String)
}

/// Where requests are sent, as a client names it.
struct TargetAddress: Hashable {
    let host: String
    /// The number at the beginning of the argument, as C's `atoi` reads it.
    let port: Int

    init(host: ByteView, port: ByteView) {
        self.host = String(host)
        var digits = Array(port)[...].drop { $0 == 0x20 || ($0 >= 9 && $0 <= 13) }
        let isNegative = digits.first == UInt8(ascii: "-")
        if isNegative || digits.first == UInt8(ascii: "+") { digits = digits.dropFirst() }
        var number = 0
        for digit in digits {
            guard digit >= 0x30, digit <= 0x39 else { break }
            number = min(number * 10 + Int(digit) - 0x30, 1 << 40)
        }
        self.port = Int(Int32(truncatingIfNeeded: isNegative ? -number : number))
    }

    var text: String { "\(host):\(port)" }
}

/// A connection to another server, by which one exchange at a time is made: requests go out in pieces, lines come
/// back.
///
/// Each step of an exchange has the same time: each piece of at most 64 KiB that is written, and each line that is
/// read. Lines are read as the original reads them (Redis 2.8: `syncio.c`): up to a line feed, or 1,023 bytes where
/// there is none so early; what is left over is taken for the next reply.
///
/// It belongs to the event loop, and is Sendable for the sake of closures that run there.
final class TargetConnection: ChannelInboundHandler, @unchecked Sendable {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    let address: TargetAddress
    // What the server at the other end knows of us.
    var isAuthenticated = false
    var database = -1
    /// Whether it takes values in pieces, once that was asked.
    var takesPieces: Bool?
    /// When it was last used, in seconds since 1970.
    var lastUseSeconds: Int64 = 0

    private let loop: any EventLoop
    private var channel: (any Channel)?
    private var input: [UInt8] = []
    private var inputStart = 0
    /// Called when it is closed while there is no exchange.
    var onClosedWhileIdle: (() -> Void)?

    // The exchange that is under way.
    private var isBusy = false
    private var timeout = TimeAmount.zero
    private var deadline = NIODeadline.now()
    private var timer: Scheduled<Void>?
    private var timerDeadline = NIODeadline.now()
    private var unwritten = 0
    private var onLine: ((ByteView) -> Void)?
    private var onWritable: (() -> Void)?
    private var onFailure: ((TargetFailure) -> Void)?

    private static let longestPiece = 64 << 10
    private static let longestLine = 1023
    /// What may come without having been asked for.
    private static let longestIdleInput = 64 << 10

    init(to address: TargetAddress, on loop: any EventLoop) {
        self.address = address
        self.loop = loop
    }

    /// Why no connection was made.
    enum ConnectFailure: Error {
        case timeout
        case refused(String)
    }

    /// Connects, and tells `completion` how that went.
    func connect(
        to socket: SocketAddress,
        timeout: TimeAmount,
        _ completion: @escaping (ConnectFailure?) -> Void
    ) {
        let bootstrap = ClientBootstrap(group: loop)
            .connectTimeout(timeout)
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(self) }
            }
        bootstrap.connect(to: socket).assumeIsolated().whenComplete { [self] outcome in
            switch outcome {
            case .success(let channel):
                self.channel = channel
                completion(nil)
            case .failure(let error):
                if case .connectTimeout? = error as? ChannelError { return completion(.timeout) }
                completion(.refused("\(error)"))
            }
        }
    }

    /// Closes it; nothing more is heard of the exchange.
    func close() {
        end()
        onClosedWhileIdle = nil
        timer?.cancel()
        timer = nil
        channel?.close(promise: nil)
        channel = nil
    }

    var isOpen: Bool { channel?.isActive ?? false }

    // MARK: Exchanges

    /// Begins an exchange, whose steps have `timeout` each.
    ///
    /// `onLine` is called with each line that comes, without its end, until `end` is called; `onFailure` at most once,
    /// and then the connection is of no more use.
    func begin(
        timeout: TimeAmount,
        onLine: @escaping (ByteView) -> Void,
        onFailure: @escaping (TargetFailure) -> Void
    ) {
        precondition(!isBusy, "an exchange within another")
        isBusy = true
        self.timeout = timeout
        self.onLine = onLine
        self.onFailure = onFailure
        noteProgress()
        if timer == nil || timerDeadline > deadline { startTimer() }
        guard isOpen else {
            // Later: who begins is not ready to hear of it yet.
            return loop.execute { self.fail("Connection closed") }
        }
    }

    /// Ends the exchange; the connection is free for another.
    func end() {
        isBusy = false
        onLine = nil
        onWritable = nil
        onFailure = nil
    }

    /// Sends `bytes`.
    func write(_ bytes: ByteBuffer) {
        guard let channel, isBusy else { return }
        var rest = bytes
        noteProgress()
        while rest.readableBytes > 0 {
            let count = min(rest.readableBytes, TargetConnection.longestPiece)
            guard let piece = rest.readSlice(length: count) else { break }
            unwritten += count
            let promise = loop.makePromise(of: Void.self)
            promise.futureResult.assumeIsolated().whenComplete { [self] outcome in
                unwritten -= count
                if case .failure(let error) = outcome { return fail(asWriting: true, "\(error)") }
                noteProgress()
            }
            channel.write(piece, promise: promise)
        }
        channel.flush()
    }

    /// Whether more should be written now.
    var isWritable: Bool { channel?.isWritable ?? false }

    /// Calls `body` when more should be written again, once.
    func whenWritable(_ body: @escaping () -> Void) { onWritable = body }

    /// How many bytes wait to be sent.
    var unwrittenBytes: Int { unwritten }

    /// Begins the time of a step anew: what happens is not the target's doing.
    func noteProgress() { deadline = .now() + timeout }

    private func startTimer() {
        timer?.cancel()
        timerDeadline = deadline
        timer = loop.scheduleTask(deadline: deadline) { [self] in
            timer = nil
            guard isBusy else { return }
            if NIODeadline.now() < deadline { return startTimer() }
            fail("Connection timed out")
        }
    }

    private func fail(asWriting: Bool? = nil, _ text: String) {
        guard isBusy, let onFailure else { return }
        let failure = asWriting ?? (unwritten > 0) ? TargetFailure.writing(text) : .reading(text)
        end()
        onFailure(failure)
    }

    // MARK: Channel

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        input.append(contentsOf: unwrapInboundIn(data).readableBytesView)
        if !isBusy, input.count - inputStart > TargetConnection.longestIdleInput { return context.close(promise: nil) }
        takeLines()
    }

    /// Hands on the lines that are there.
    private func takeLines() {
        while isBusy, let onLine, let line = nextLine() {
            noteProgress()
            ByteView.with(line, onLine)
        }
        if inputStart == input.count {
            input.removeAll(keepingCapacity: input.capacity < TargetConnection.longestPiece)
            inputStart = 0
        }
    }

    private func nextLine() -> [UInt8]? {
        let rest = input[inputStart...]
        let end = rest.prefix(TargetConnection.longestLine).firstIndex(of: 0x0A)
        guard let end else {
            guard rest.count >= TargetConnection.longestLine else { return nil }
            inputStart += TargetConnection.longestLine
            return Array(rest.prefix(TargetConnection.longestLine))
        }
        inputStart = end + 1
        let line = rest[..<end]
        return Array(line.last == 0x0D ? line.dropLast() : line)
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        guard context.channel.isWritable, let onWritable else { return }
        self.onWritable = nil
        onWritable()
    }

    func channelInactive(context: ChannelHandlerContext) {
        channel = nil
        if isBusy { return fail("Connection closed") }
        onClosedWhileIdle?()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        fail("\(error)")
        context.close(promise: nil)
    }
}
