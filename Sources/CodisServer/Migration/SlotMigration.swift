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
struct SlotMove: Equatable {
    enum Selection: Equatable {
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

/// Keys on their way to another server, from the connection to the last DEL (Codis 2.0: `slots.c`, `slotsmgrt`).
///
/// One step follows the other: get a connection; choose the keys and fence them; send them with SLOTSRESTORE; when the
/// target has confirmed, delete them and record that; lower the fence. Whatever fails, the keys stay here. Each part of
/// the work is bounded, and the event loop goes on in between. What a value of any size takes is described at
/// `SlotMigration+Sending.swift`; who waits for it, at `SessionMoves.swift`.
///
/// It belongs to the event loop, and is Sendable for the sake of closures that run there.
final class SlotMigration: RunningMigration, @unchecked Sendable {
    /// How much of a slot moves.
    enum Extent {
        /// Some key, or all keys of its tag, however large.
        case one
        /// Several that are small, in one request; one that is not where there are none.
        case several
        /// Several that are small, or nothing: nobody has asked for it yet.
        case ahead
    }

    /// How it has ended.
    enum Outcome {
        case moved([[UInt8]])
        case failed(CommandError)
        /// The server has become a replica.
        case aborted(CommandError)
    }

    unowned let server: Server
    let move: SlotMove
    private let extent: Extent
    private var completion: ((SlotMigration, Outcome) -> Void)?

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
    private var isEnded = false

    /// How often a move is begun anew because somebody who does not wait for fences has changed its keys.
    private static let mostAttempts = 100
    private var attempts = 0

    /// `completion` is called once, from `start` at the earliest.
    init(_ server: Server, _ move: SlotMove, _ extent: Extent, _ completion: @escaping (SlotMigration, Outcome) -> Void)
    {
        self.server = server
        self.move = move
        self.extent = extent
        self.completion = completion
        server.migrations[ObjectIdentifier(self)] = self
    }

    /// Begins; it may end at once.
    func start() {
        guard !isEnded else { return }
        if case .slot(let slot) = move.selection, server.keyspace.counts(of: slot, in: move.database).keys == 0 {
            return end()
        }
        server.targets.acquire(move.address, timeout: move.timeout) { [self] outcome in acquired(outcome) }
    }

    private func acquired(_ outcome: TargetPool.Outcome) {
        if isEnded {
            if case .connected(let connection) = outcome { server.targets.release(connection) }
            return
        }
        switch outcome {
        case .connected(let connection): self.connection = connection
        case .refused(let text): refusal = text
        case .failed(let error): return finish(.failed(error))
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
            if extent != .one, chooseSmallKeys(of: slot) { return chosen() }
            guard extent != .ahead, let key = chooseKey(of: slot) else { return end() }
            begin(with: key)
        }
    }

    /// Chooses and fences keys of the slot that lie together, with those of their tags, if there are any that are small
    /// and not fenced.
    private func chooseSmallKeys(of slot: Slot) -> Bool {
        let most = SlotMigration.mostKeysAtOnce
        let ticket = server.raiseFence(around: EmptyCollection<ByteView>(), in: move.database)
        var bytes = 0
        for key in server.keyspace.randomKeys(in: move.database, slot: slot, count: most) where keys.count < most {
            ByteView.with(key) { view in
                let mark = FenceMark(view, in: move.database)
                guard !ArrivingValue.isName(view) else { return }
                if let other = server.fence(around: view, in: move.database) {
                    guard other === ticket, !move.movesTag else { return }
                }
                var group = [key]
                if move.movesTag, mark.hash.isTagged {
                    var walk = TagWalk(checksum: mark.hash.checksum, in: move.database)
                    group = server.keyspace.keys(of: &walk, count: most - keys.count).map(\.key)
                    guard walk.isAtEnd else { return }
                }
                var size = 0
                group = group.filter { key in
                    let record = ByteView.with(key) { server.current($0, in: move.database) }
                    guard let record else { return false }
                    size += key.count + record.valueBytes
                    return true
                }
                guard !group.isEmpty, bytes + size <= SlotMigration.mostBytesAtOnce else { return }
                server.extend(ticket, to: mark)
                keys += group
                bytes += size
            }
        }
        guard !keys.isEmpty else { return false }
        self.ticket = ticket
        return true
    }

    /// How many keys of several tags go in one request, and with how many bytes: little enough that who names one of
    /// them waits hardly longer than for one.
    static let mostKeysAtOnce = 16
    private static let mostBytesAtOnce = 32 << 10

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
                if server.current(view, in: move.database) != nil { keys = [key] }
                chosen()
            }
        }
    }

    /// Gathers the keys of a tag in steps.
    private func gather() {
        guard !isEnded, var walk else { return }
        var timer = Clock()
        var spent: Int64 = 0
        while spent < Server.sliceNanoseconds, !walk.isAtEnd {
            for (key, expires) in server.keyspace.keys(of: &walk, count: 128) {
                if expires, ByteView.with(key, { server.current($0, in: move.database) }) == nil { continue }
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
        guard !keys.isEmpty else { return end() }
        // The original's order among equal checksums; for very many it would take too long, and means nothing.
        if keys.count > 1, keys.count <= 4096 { keys.sort { $0.lexicographicallyPrecedes($1) } }
        if let refusal {
            logWriting(refusal)
            return finish(.failed(.message("IOERR error or timeout writing to target")))
        }
        send()
    }

    /// Calls `body` when others have had their turn.
    func later(_ body: @escaping () -> Void) {
        let turn = MigrationTurn(body)
        server.schedule(after: .microseconds(50)) { [self] in
            server.clock.readAll()
            if !isEnded { turn.body() }
        }
    }

    // MARK: What the target has confirmed

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
        self.end()
    }

    /// How many keys are deleted, and stand in one record, with nothing between.
    private static let mostDeletedAtOnce = 1000

    // MARK: The end

    /// Ends well: the keys have moved.
    private func end() {
        server.log.verbose(
            "slotsmgrt: migrate to \(move.address.text), nkeys = \(keys.count), onekey = '\(firstKey)'"
        )
        if let connection {
            connection.end()
            self.connection = nil
            server.targets.release(connection)
        }
        finish(.moved(keys))
    }

    /// Ends with an error, and the connection with it.
    func fail(_ error: CommandError) { fail(.failed(error)) }

    /// Ends it because the server has become a replica.
    func abort() {
        let text = "UNBLOCKED force unblock from blocking operation, instance state changed (master -> slave?)"
        fail(.aborted(.message(text)))
    }

    private func fail(_ outcome: Outcome) {
        guard !isEnded else { return }
        if let connection {
            self.connection = nil
            server.targets.discard(connection)
        }
        finish(outcome)
    }

    private func finish(_ outcome: Outcome) {
        guard !isEnded else { return }
        isEnded = true
        server.migrations[ObjectIdentifier(self)] = nil
        sending = MigrationSending()
        lowerFence()
        let completion = completion
        self.completion = nil
        completion?(self, outcome)
    }

    private func lowerFence() {
        if let ticket { server.lower(ticket) }
        ticket = nil
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
