// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import Keyspace
internal import NIOCore
internal import NIOPosix
internal import RESP

/// MIGRATE: a key moves to another server (Redis 2.8: `migrate.c`).
enum MigrateCommand {
    static let table: [Command] = [
        Command("migrate", arity: .exactly(6), flags: [.write], keys: .none, migrate)
    ]

    /// `MIGRATE host port key db timeout-in-ms`: `NOKEY` if there is no such key.
    ///
    /// The client waits, and nobody else does: the connection is served by the event loop. The key is deleted here when
    /// the target has said that it has it; if it was changed meanwhile it stays, and the target is told to drop its
    /// copy. Propagated as `DEL key`.
    static func migrate(_ server: Server, _ call: CommandCall) throws(CommandError) {
        let milliseconds = try call.arguments.integer(at: 5)
        let database = try call.arguments.integer(at: 4)
        let key = call.arguments[3]
        guard let record = server.lookupRead(key, call) else { return call.reply.writeReplyStatus("NOKEY") }
        guard !server.effects.isInUnit, !call.session.isVirtual else {
            throw .message("ERR MIGRATE is not possible within a transaction or script")
        }
        guard let port = call.arguments.optionalInteger(at: 2), port > 0, port < 65_536 else {
            throw .message("ERR Can't connect to target node: invalid port")
        }
        var payload: [UInt8] = []
        try server.withPayload(of: record) { payload = Array($0) }
        let migration = Migration(
            server,
            call.session,
            key: Array(key),
            database: call.database,
            payload: payload,
            expireAtMilliseconds: record.expireAtMilliseconds,
            targetDatabase: database,
            timeout: .milliseconds(milliseconds <= 0 ? 1000 : min(milliseconds, 1 << 40))
        )
        call.session.holds.insert(.blocked)
        migration.begin(host: call.arguments.text(at: 1), port: Int(port))
    }
}

/// A key on its way to another server, from the connecting to the reply.
///
/// It belongs to the event loop, as the server does; it is Sendable for the sake of closures that run there.
private final class Migration: ChannelInboundHandler, @unchecked Sendable {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let server: Server
    private let session: Session
    private let key: [UInt8]
    private let database: Int
    private let payload: [UInt8]
    private let expireAtMilliseconds: Int64
    private let targetDatabase: Int64
    private let timeout: TimeAmount
    private var channel: (any Channel)?
    private var timer: Scheduled<Void>?
    private var input: [UInt8] = []
    private var replies: [RESPReply] = []
    private var isEnded = false
    /// What the target does not do in time.
    private var step = "connecting to the client"

    init(
        _ server: Server,
        _ session: Session,
        key: [UInt8],
        database: Int,
        payload: [UInt8],
        expireAtMilliseconds: Int64,
        targetDatabase: Int64,
        timeout: TimeAmount
    ) {
        self.server = server
        self.session = session
        self.key = key
        self.database = database
        self.payload = payload
        self.expireAtMilliseconds = expireAtMilliseconds
        self.targetDatabase = targetDatabase
        self.timeout = timeout
    }

    func begin(host: String, port: Int) {
        startTimer()
        let bootstrap = ClientBootstrap(group: server.loop)
            .connectTimeout(timeout)
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(self) }
            }
        bootstrap.connect(host: host, port: port).assumeIsolated().whenComplete { [self] outcome in
            switch outcome {
            case .success(let channel):
                self.channel = channel
                if isEnded { channel.close(promise: nil) } else { send() }
            case .failure: end(error: "IOERR error or timeout connecting to the client")
            }
        }
    }

    /// The time limit holds for each step.
    private func startTimer() {
        timer?.cancel()
        timer = server.loop.scheduleTask(in: timeout) { [self] in end(error: "IOERR error or timeout \(step)") }
    }

    private func send() {
        step = "reading from target node"
        startTimer()
        var lifetime: Int64 = 0
        if expireAtMilliseconds != 0 {
            server.clock.readAll()
            lifetime = max(1, expireAtMilliseconds - server.clock.milliseconds)
        }
        var request: [UInt8] = []
        request.appendRequest([Array("SELECT".utf8), Array("\(targetDatabase)".utf8)])
        request.appendRequest([Array("RESTORE".utf8), key, Array("\(lifetime)".utf8), payload])
        channel?.writeAndFlush(ByteBuffer(bytes: request)).assumeIsolated().whenFailure { [self] _ in
            end(error: "IOERR error or timeout writing to target instance")
        }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        input.append(contentsOf: unwrapInboundIn(data).readableBytesView)
        do throws(RESPError) {
            while !isEnded, let reply = try nextReply() { take(reply) }
        } catch {
            end(error: "IOERR error or timeout reading from target node")
        }
    }

    private func nextReply() throws(RESPError) -> RESPReply? {
        var consumed = 0
        let reply = try ByteView.with(input) { view throws(RESPError) -> RESPReply? in
            var decoder = RESPReplyDecoder()
            guard !view.isEmpty, case .reply(let reply, let count) = try decoder.decode(view) else { return nil }
            consumed = count
            return reply
        }
        input.removeFirst(consumed)
        return reply
    }

    private func take(_ reply: RESPReply) {
        if case .error(let text) = reply {
            return end(error: "ERR Target instance replied with error: " + String(decoding: text, as: UTF8.self))
        }
        replies.append(reply)
        if replies.count == 2 { moved() }
    }

    func channelInactive(context: ChannelHandlerContext) {
        end(error: "IOERR error or timeout reading from target node")
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        end(error: "IOERR error or timeout reading from target node")
    }

    /// The target has the key: it goes here, if it still is what was sent.
    private func moved() {
        guard isUnchanged() else {
            var request: [UInt8] = []
            request.appendRequest([Array("DEL".utf8), key])
            channel?.writeAndFlush(ByteBuffer(bytes: request), promise: nil)
            return end(error: "IOERR the key was changed while it was sent to the target; it stays here")
        }
        ByteView.with(key) { key in
            do throws(KeyspaceError) {
                guard try server.keyspace.remove(key, in: database) else { return }
            } catch {
                // The end of the tick sees that the keyspace has failed.
                return
            }
            server.dirty += 1
            server.effects.append("DEL", key, database: database)
            server.needsTickEnd()
        }
        // The reply must not go before the DEL is in the log.
        session.hasWritten = true
        end(error: nil)
    }

    private func isUnchanged() -> Bool {
        ByteView.with(key) { key in
            guard let record = server.keyspace.find(key, in: database) else { return false }
            guard record.expireAtMilliseconds == expireAtMilliseconds else { return false }
            var isSame = false
            try? server.withPayload(of: record) { isSame = $0 == payload }
            return isSame
        }
    }

    private func end(error: String?) {
        guard !isEnded else { return }
        isEnded = true
        timer?.cancel()
        channel?.close(promise: nil)
        session.reply { output in
            if let error { output.writeReplyError(error) } else { output.writeReplyOK() }
        }
        session.resume(.blocked)
    }
}
