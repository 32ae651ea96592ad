// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import Keyspace
internal import NIOCore
internal import RESP

/// MIGRATE: a key moves to another server (Redis 2.8: `migrate.c`).
enum MigrateCommand {
    static let table: [Command] = [
        Command("migrate", arity: .exactly(6), flags: [.write], keys: .none, migrate)
    ]

    /// `MIGRATE host port key db timeout-in-ms`: `NOKEY` if there is no such key.
    ///
    /// The client waits, and with it who names the key; nobody else does. The key is deleted here when the target has
    /// said that it has it. Propagated as `DEL key`.
    static func migrate(_ server: Server, _ call: CommandCall) throws(CommandError) {
        let milliseconds = try call.arguments.integer(at: 5)
        let database = try call.arguments.integer(at: 4)
        let key = call.arguments[3]
        guard server.lookupRead(key, call) != nil else { return call.reply.writeReplyStatus("NOKEY") }
        guard server.canSuspend(call) else {
            throw .message("ERR MIGRATE is not possible within a transaction or script")
        }
        let address = TargetAddress(host: call.arguments[1], port: call.arguments[2])
        guard address.port > 0, address.port < 65_536 else {
            throw .message("ERR Can't connect to target node: invalid port")
        }
        let migration = KeyMigration(
            server,
            call,
            key: Array(key),
            targetDatabase: Int(truncatingIfNeeded: database),
            timeout: .milliseconds(milliseconds <= 0 ? 1000 : min(milliseconds, 1 << 40))
        )
        call.session.holds.insert(.blocked)
        migration.start(address)
    }
}

/// A key on its way to another server by RESTORE, from the connecting to the reply.
///
/// It belongs to the event loop, as the server does; it is Sendable for the sake of closures that run there.
private final class KeyMigration: RunningMigration, @unchecked Sendable {
    private unowned let server: Server
    private let session: Session
    private let key: [UInt8]
    private let database: Int
    private let targetDatabase: Int
    private let timeout: TimeAmount
    private let ticket: FenceTicket
    private let payload: SteppedPayload
    private var connection: TargetConnection?
    private var expected: [Answer] = []
    private var isEnded = false

    private enum Answer {
        case select, restore, delete
    }

    /// The key, which is there, must not be fenced.
    init(_ server: Server, _ call: CommandCall, key: [UInt8], targetDatabase: Int, timeout: TimeAmount) {
        self.server = server
        session = call.session
        self.key = key
        database = call.database
        self.targetDatabase = targetDatabase
        self.timeout = timeout
        ticket = ByteView.with(key) { server.raiseFence(around: [$0], in: call.database) }
        payload = SteppedPayload(server.keyspace, compresses: server.config.rdbCompression)
    }

    func start(_ address: TargetAddress) {
        server.migrations[ObjectIdentifier(self)] = self
        // Later: the client is not waiting yet.
        server.loop.execute { [self] in
            server.targets.acquire(address, timeout: timeout) { [self] outcome in acquired(outcome) }
        }
    }

    private func acquired(_ outcome: TargetPool.Outcome) {
        if isEnded {
            if case .connected(let connection) = outcome { server.targets.release(connection) }
            return
        }
        switch outcome {
        case .connected(let connection):
            self.connection = connection
            connection.begin(timeout: timeout) { [self] line in
                take(line)
            } onFailure: { [self] failure in
                switch failure {
                case .writing: end(error: "IOERR error or timeout writing to target instance")
                case .reading: end(error: "IOERR error or timeout reading from target node")
                }
            }
            guard connection.database != targetDatabase else { return dump() }
            // The answer is waited for: the key must not get into another database.
            var buffer = ByteBuffer()
            buffer.writeRequest(["SELECT", "\(targetDatabase)"])
            expected.append(.select)
            connection.write(buffer)
        case .failed(.message(let text)): end(error: text)
        case .failed, .refused: end(error: "IOERR error or timeout connecting to the client")
        }
    }

    /// Makes the payload in steps, and sends it.
    private func dump() {
        guard !isEnded, let connection else { return }
        connection.noteProgress()
        var timer = Clock()
        var spent: Int64 = 0
        while spent < Server.sliceNanoseconds {
            guard let record = ByteView.with(key, { server.keyspace.find($0, in: database) }) else {
                // It has expired on the way.
                return finish { $0.writeReplyStatus("NOKEY") }
            }
            do {
                if let bytes = try payload.advance(record) { return send(bytes, record, connection) }
            } catch {
                return end(error: "ERR the value cannot be read: \(error)")
            }
            spent += timer.readMonotonic()
        }
        server.schedule(after: Server.tickGap) { [self] in
            server.clock.readAll()
            dump()
        }
    }

    private func send(_ payload: ByteView, _ record: Record, _ connection: TargetConnection) {
        var buffer = ByteBuffer()
        let expiry = record.expireAtMilliseconds
        buffer.writeRequestHeader(argumentCount: 4)
        buffer.writeRequestArgument("RESTORE")
        ByteView.with(key) { buffer.writeRequestArgument($0) }
        buffer.writeRequestArgument(expiry == 0 ? 0 : max(1, expiry - server.clock.milliseconds))
        buffer.writeRequestArgument(payload)
        expected.append(.restore)
        connection.write(buffer)
    }

    private func take(_ line: ByteView) {
        guard !expected.isEmpty else { return }
        let answer = expected.removeFirst()
        if line.count > 0, line[0] == UInt8(ascii: "-"), answer != .delete {
            return end(error: "ERR Target instance replied with error: " + String(line.dropFirst(1)))
        }
        switch answer {
        case .select:
            connection?.database = targetDatabase
            dump()
        case .restore: moved()
        case .delete:
            end(error: "IOERR the key was changed while it was sent to the target; it stays here")
        }
    }

    /// The target has the key: it goes here, unless somebody who does not wait for fences has changed it.
    private func moved() {
        guard !ticket.wasBreached else {
            var buffer = ByteBuffer()
            buffer.writeRequest([Array("DEL".utf8), key])
            expected.append(.delete)
            connection?.write(buffer)
            return
        }
        server.commandStart = (server.effects.offset, server.effects.selected)
        let wasThere = server.changeBehindFence {
            ByteView.with(key) { key in
                // If it fails, the end of the tick sees that the keyspace has failed.
                (try? server.keyspace.remove(key, in: database)) ?? false
            }
        }
        if wasThere { server.noteDeleted([key], in: database) }
        // The reply must not go before the DEL is in the log.
        session.hasWritten = true
        finish { $0.writeReplyOK() }
    }

    func abort() {
        end(error: "UNBLOCKED force unblock from blocking operation, instance state changed (master -> slave?)")
    }

    /// Ends with an error, and the connection with it.
    private func end(error: String) {
        if let connection { server.targets.discard(connection) }
        connection = nil
        finish { $0.writeReplyError(error) }
    }

    private func finish(_ reply: (inout ByteBuffer) -> Void) {
        guard !isEnded else { return }
        isEnded = true
        server.migrations[ObjectIdentifier(self)] = nil
        if let connection {
            connection.end()
            self.connection = nil
            server.targets.release(connection)
        }
        server.lower(ticket)
        session.reply(reply)
        session.resume(.blocked)
    }
}
