// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import Keyspace
internal import NIOCore
internal import RESP
internal import SlotHash

/// What moves keys to another server while a client waits.
protocol RunningMigration: AnyObject {
    /// Ends it with an error, because the server has become a replica.
    func abort()
}

/// What a SLOTSMGRT command moves where, and how it replies.
struct SlotMove {
    enum Selection {
        case key([UInt8])
        /// Some key of the slot.
        case slot(Slot)
    }

    enum ReplyForm {
        case moved
        case movedAndLeft
        case left
    }

    let address: TargetAddress
    let timeout: TimeAmount
    let database: Int
    let selection: Selection
    /// Whether all keys that share a tag with the chosen one move with it.
    let movesTag: Bool
    let form: ReplyForm
}

/// Keys on their way to another server, from the connection to the reply (Codis 2.0: `slots.c`, `slotsmgrt`).
///
/// One step follows the other: get a connection; choose the keys and fence them; send them with SLOTSRESTORE; when the
/// target has confirmed, delete them and record that; lower the fence, reply. Whatever fails, the keys stay here. Each
/// part of the work is bounded, and the event loop goes on in between. What a value of any size takes is described at
/// `SlotMigration+Sending.swift`.
///
/// It belongs to the event loop, and is Sendable for the sake of closures that run there.
final class SlotMigration: RunningMigration, @unchecked Sendable {
    unowned let server: Server
    let move: SlotMove
    private let session: Session
    private let command: Command
    private let startedAtNanoseconds: Int64

    private(set) var connection: TargetConnection?
    private(set) var ticket: FenceTicket?
    /// The keys that move.
    var keys: [[UInt8]] = []
    /// How many of `keys` were deleted here.
    private var deleted = 0
    private var walk: TagWalk?
    private var refusal: String?
    /// The requests on their way; see SlotMigration+Sending.swift.
    var sending = MigrationSending()

    private var isStarting = true
    private var isEnded = false
    private var reply = ByteBuffer()

    /// How often a move is begun anew because somebody who does not wait for fences has changed its keys.
    private static let mostAttempts = 100
    private var attempts = 0

    init(_ server: Server, _ call: CommandCall, _ move: SlotMove) {
        self.server = server
        self.move = move
        session = call.session
        command = call.command
        startedAtNanoseconds = server.clock.monotonicNanoseconds
    }

    /// Begins; if it does not end at once, the client waits.
    func start(_ call: CommandCall) {
        server.migrations[ObjectIdentifier(self)] = self
        if case .slot(let slot) = move.selection, keyCount(of: slot) == 0 {
            end(moved: 0)
        } else {
            server.targets.acquire(move.address, timeout: move.timeout) { [self] outcome in acquired(outcome) }
        }
        isStarting = false
        if isEnded { call.reply.writeBuffer(&reply) } else { session.holds.insert(.blocked) }
    }

    private func acquired(_ outcome: TargetPool.Outcome) {
        if isEnded {
            if case .connected(let connection) = outcome { server.targets.release(connection) }
            return
        }
        switch outcome {
        case .connected(let connection): self.connection = connection
        case .refused(let text): refusal = text
        case .failed(let error): return end(error)
        }
        choose()
    }

    // MARK: Choosing

    /// Chooses what moves, and fences it; waits if another has it fenced.
    private func choose() {
        guard !isEnded else { return }
        server.clock.readAll()
        keys = []
        switch move.selection {
        case .key(let key): begin(with: key)
        case .slot(let slot):
            guard let key = chooseKey(of: slot) else { return end(moved: 0) }
            begin(with: key)
        }
    }

    /// Some key of the slot, if it can be one that is not fenced; never the name of a value that is arriving here.
    private func chooseKey(of slot: Slot) -> [UInt8]? {
        var fenced: [UInt8]?
        for _ in 0..<64 {
            guard let key = server.keyspace.randomKey(in: move.database, slot: slot) else { break }
            let isArriving = ByteView.with(key) { ArrivingValue.isName($0) }
            if isArriving { continue }
            let isFenced = ByteView.with(key) { server.fence(around: $0, in: move.database) != nil }
            if !isFenced { return key }
            fenced = key
        }
        return fenced
    }

    private func begin(with key: [UInt8]) {
        ByteView.with(key) { view in
            let mark = FenceMark(view, in: move.database)
            if let other = server.fence(around: view, in: move.database) {
                return server.whenLowered(other) { [self] in choose() }
            }
            ticket = server.raiseFence(around: mark)
            if move.movesTag, mark.hash.isTagged {
                walk = TagWalk(checksum: mark.hash.checksum, in: move.database)
                gather()
            } else {
                if isAlive(view) { keys = [key] }
                chosen()
            }
        }
    }

    /// Whether there is such a key; one that has expired goes.
    private func isAlive(_ key: ByteView) -> Bool {
        guard let record = server.keyspace.find(key, in: move.database) else { return false }
        guard record.isExpired(at: server.clock.milliseconds), server.expiresKeys else { return true }
        server.expire(key, in: move.database)
        return false
    }

    /// Gathers the keys of a tag in steps.
    private func gather() {
        guard !isEnded, var walk else { return }
        var timer = Clock()
        var spent: Int64 = 0
        while spent < Server.sliceNanoseconds, !walk.isAtEnd {
            for key in server.keyspace.keys(of: &walk, count: 128) where ByteView.with(key, { isAlive($0) }) {
                keys.append(key)
            }
            spent += timer.readMonotonic()
        }
        self.walk = walk
        guard walk.isAtEnd else { return later { [self] in gather() } }
        self.walk = nil
        chosen()
    }

    private func chosen() {
        guard !keys.isEmpty else { return end(moved: 0) }
        // The original's order among equal checksums; for very many it would take too long, and means nothing.
        if keys.count > 1, keys.count <= 4096 { keys.sort { $0.lexicographicallyPrecedes($1) } }
        if let refusal {
            logWriting(refusal)
            return end(.message("IOERR error or timeout writing to target"))
        }
        send()
    }

    /// Calls `body` when others have had their turn.
    func later(_ body: @escaping () -> Void) {
        // By the clock rather than at once: what is executed at once runs before the sockets are read again.
        let turn = MigrationTurn(body)
        server.loop.scheduleTask(in: .microseconds(50)) { [self] in
            server.clock.readAll()
            if !isEnded { turn.body() }
        }
    }

    // MARK: The answer

    /// Hears that the target has everything.
    func confirmed() {
        guard let ticket else { return }
        if ticket.wasBreached { return beginAnew() }
        deleted = 0
        delete()
    }

    /// Has the target drop keys that are gone here, and moves the others once more: somebody who does not wait for
    /// fences has changed them.
    func beginAnew() {
        attempts += 1
        guard attempts <= SlotMigration.mostAttempts else {
            server.log.warning("slotsmgrt: the keys are changed again and again by who does not wait for them")
            return fail(.message("IOERR the keys were changed while they were sent to the target; they stay here"))
        }
        let gone = keys.filter { key in
            ByteView.with(key) { server.keyspace.find($0, in: move.database) == nil }
        }
        sendDelete(of: gone) { [self] in
            connection?.end()
            lowerFence()
            sending = MigrationSending()
            // Those who waited for the fence come first, and the choice is made anew after them.
            later { [self] in choose() }
        }
    }

    /// Deletes the keys in steps, each with a record of its own in the log.
    private func delete() {
        guard !isEnded else { return }
        let end = min(keys.count, deleted + SlotMigration.mostDeletedAtOnce)
        var gone: [[UInt8]] = []
        server.commandStart = (server.effects.offset, server.effects.selected)
        do throws(KeyspaceError) {
            try server.changeBehindFence { () throws(KeyspaceError) in
                for key in keys[deleted..<end] {
                    let wasThere = try ByteView.with(key) { key throws(KeyspaceError) in
                        try server.keyspace.remove(key, in: move.database)
                    }
                    if wasThere { gone.append(key) }
                }
            }
        } catch {
            // The end of the tick sees that the keyspace has failed.
            server.needsTickEnd()
        }
        server.noteDeleted(gone, in: move.database)
        deleted = end
        guard deleted == keys.count else { return later { [self] in delete() } }
        self.end(moved: keys.count)
    }

    /// How many keys are deleted, and stand in one record, with nothing between.
    private static let mostDeletedAtOnce = 1000

    // MARK: The end

    private func keyCount(of slot: Slot) -> Int { server.keyspace.counts(of: slot, in: move.database).keys }

    private func end(moved: Int) {
        server.log.verbose(
            "slotsmgrt: migrate to \(move.address.text), nkeys = \(moved), onekey = '\(firstKey)'"
        )
        var reply = ByteBuffer()
        switch (move.form, move.selection) {
        case (.moved, _), (_, .key): reply.writeReplyInteger(moved)
        case (.movedAndLeft, .slot(let slot)):
            reply.writeReplyArrayHeader(2)
            reply.writeReplyInteger(moved)
            reply.writeReplyInteger(keyCount(of: slot))
        case (.left, .slot(let slot)): reply.writeReplyInteger(keyCount(of: slot))
        }
        if let connection {
            connection.end()
            self.connection = nil
            server.targets.release(connection)
        }
        finish(moved: moved, &reply)
    }

    private func end(_ error: CommandError) {
        var reply = ByteBuffer()
        reply.writeReplyError(error.line)
        finish(moved: 0, &reply)
    }

    /// Ends with an error, and the connection with it.
    func fail(_ error: CommandError) {
        guard !isEnded else { return }
        if let connection {
            self.connection = nil
            server.targets.discard(connection)
        }
        end(error)
    }

    /// Ends it because the server has become a replica; the client is disconnected.
    func abort() {
        fail(.message("UNBLOCKED force unblock from blocking operation, instance state changed (master -> slave?)"))
        session.closesAfterReply = true
        server.touch(session)
    }

    private func finish(moved: Int, _ reply: inout ByteBuffer) {
        guard !isEnded else { return }
        isEnded = true
        server.migrations[ObjectIdentifier(self)] = nil
        sending = MigrationSending()
        lowerFence()
        if isStarting {
            self.reply = reply
            return
        }
        noteStatistics(moved: moved)
        // The reply must not go before the DEL is in the log.
        session.hasWritten = true
        session.reply { $0.writeBuffer(&reply) }
        // Who waited for the keys has its turn before the client's next command, which may raise a fence again.
        server.whenReleased { [session] in session.resume(.blocked) }
    }

    private func lowerFence() {
        if let ticket { server.lower(ticket) }
        ticket = nil
    }

    /// What has moved something counts as DEL, as the original has rewritten it to that by then.
    private func noteStatistics(moved: Int) {
        let nanoseconds = Clock().monotonicNanoseconds - startedAtNanoseconds
        guard moved > 0, let delete = server.commands.rows.first(where: { $0.name == "del" }) else {
            server.commandStatistics.add(row: command.row, nanoseconds: nanoseconds)
            return
        }
        server.commandStatistics.moveCall(from: command.row, to: delete.row, nanoseconds: nanoseconds)
        guard nanoseconds >= server.slowNanoseconds else { return }
        server.noteScript(delete, [Array("DEL".utf8)] + keys.prefix(1000), nanoseconds: nanoseconds)
    }

    // MARK: Log

    /// The first key, for the log.
    var firstKey: String { keys.first.map { String(decoding: $0, as: UTF8.self) } ?? "" }

    func logWriting(_ error: String) {
        server.log.warning(
            "slotsmgrt: writing to target \(move.address.text), error '\(error)', nkeys = \(keys.count), "
                + "onekey = '\(firstKey)', cmd.len = \(sending.bytes), "
                + "pos = \(sending.bytes - (connection?.unwrittenBytes ?? 0)), "
                + "towrite = \(min(connection?.unwrittenBytes ?? 0, 64 << 10))"
        )
    }

    func logReading(_ what: String, error: String? = nil, response: String? = nil) {
        let ending = response.map { "response = '\($0)'" } ?? "error = '\(error ?? "")'"
        server.log.warning(
            "slotsmgrt: \(what) failed, reading from target \(move.address.text): nkeys = \(keys.count), "
                + "onekey = '\(firstKey)', \(ending)"
        )
    }
}

/// What is to be done in a later turn of the loop, wrapped for NIO.
private final class MigrationTurn: @unchecked Sendable {
    let body: () -> Void

    init(_ body: @escaping () -> Void) { self.body = body }
}

extension Server {
    /// Ends all moves with an error: for a master that becomes a replica.
    func abortMigrations() {
        for migration in migrations.values { migration.abort() }
    }
}
