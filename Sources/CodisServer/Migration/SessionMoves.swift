// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Keyspace
internal import NIOCore
internal import RESP

/// The keys that a client has moved to another server: the call that waits, and what moves ahead of the next one.
struct SessionMoves {
    /// What the last call was to move, and the command.
    fileprivate var move: SlotMove?
    fileprivate var command: Command?
    /// When the call that waits was begun, on the monotonic clock.
    fileprivate var waitingSinceNanoseconds: Int64?
    /// What is under way for that call or the next one.
    fileprivate var running: SlotMigration?
    /// The keys that have moved since the last reply.
    fileprivate var moved: [[UInt8]] = []

    /// How often the same was called for with nothing between.
    fileprivate var callsInRow = 0
    /// When the last reply was given, on the monotonic clock.
    fileprivate var repliedAtNanoseconds: Int64 = 0
}

/// How calls of SLOTSMGRT... are answered.
///
/// A call moves one key, or the keys of one tag, as in Codis. Who empties a slot calls again and again, and would spend
/// most of the time with messages that go back and forth. So when a client has called the same often enough, each call
/// right behind the reply to the one before and nothing else between, the server goes ahead of it: several small keys
/// move with one request, and when the reply has gone the next ones are sent without waiting for the next call. That
/// call is answered with all keys that have moved since the last reply, and with what is left then: each reply is true
/// when it is given, and together they count every key once.
///
/// A client that pauses, or goes away, has at most one such request under way, which goes on by itself. If it fails the
/// keys stay here; a client that waits hears of it, and who calls later has the keys sent anew.
extension Server {
    /// So many calls in a row are a loop.
    fileprivate static let callsOfLoop = 16
    /// Who calls again within this time after a reply does not wait in between; who sleeps wants to go slowly.
    private static let longestGapNanoseconds: Int64 = 1_000_000

    /// Moves what a client has called for; the client waits.
    func callMove(_ move: SlotMove, _ call: CommandCall) {
        let session = call.session
        if session.moves.move != move || session.moves.command !== call.command { session.moves = SessionMoves() }
        session.moves.move = move
        session.moves.command = call.command
        session.moves.waitingSinceNanoseconds = clock.monotonicNanoseconds
        let gap = clock.monotonicNanoseconds - session.moves.repliedAtNanoseconds
        session.moves.callsInRow = gap <= Server.longestGapNanoseconds ? session.moves.callsInRow + 1 : 1
        if case .slot = move.selection { session.modes.insert(.movesSlot) }
        session.holds.insert(.blocked)
        if session.moves.running != nil { return }
        // Later: the client is not waiting yet.
        guard session.moves.moved.isEmpty else { return loop.execute { [self] in answer(session) } }
        let isInLoop = session.moves.isLoop && session.moves.callsInRow > Server.callsOfLoop
        let migration = begin(move, isInLoop ? .several : .one, for: session)
        loop.execute { migration.start() }
    }

    /// Hears that a client that has had keys moved runs a command.
    func noteBetweenMoves(_ command: Command, _ session: Session) {
        guard command !== session.moves.command else { return }
        session.moves.callsInRow = 0
        session.modes.remove(.movesSlot)
    }

    private func begin(_ move: SlotMove, _ extent: SlotMigration.Extent, for session: Session) -> SlotMigration {
        let migration = SlotMigration(self, move, extent) { [self] migration, outcome in
            guard session.moves.running === migration else { return }
            session.moves.running = nil
            ended(outcome, extent, session)
        }
        session.moves.running = migration
        return migration
    }

    private func ended(_ outcome: SlotMigration.Outcome, _ extent: SlotMigration.Extent, _ session: Session) {
        switch outcome {
        case .moved(let keys):
            session.moves.moved = keys
            guard session.moves.isWaiting else { return }
            // What was begun ahead of this call has found nothing that is small.
            if keys.isEmpty, extent == .ahead, let move = session.moves.move {
                return begin(move, .one, for: session).start()
            }
            answer(session)
        case .failed(let error):
            session.moves.callsInRow = 0
            answer(session, error)
        case .aborted(let error):
            session.moves.callsInRow = 0
            guard session.moves.isWaiting else { return }
            answer(session, error)
            session.closesAfterReply = true
            touch(session)
        }
    }

    /// Answers the call that waits, if one does, and has the client go on.
    private func answer(_ session: Session, _ error: CommandError? = nil) {
        guard let move = session.moves.move, let start = session.moves.waitingSinceNanoseconds else { return }
        let keys = session.moves.moved
        session.moves.moved = []
        session.moves.waitingSinceNanoseconds = nil
        session.moves.repliedAtNanoseconds = Clock().monotonicNanoseconds
        noteStatistics(keys, session, nanoseconds: session.moves.repliedAtNanoseconds - start)
        // The reply must not go before the DEL is in the log.
        session.hasWritten = true
        session.reply { reply in
            if let error { reply.writeReplyError(error.line) } else { write(keys.count, move, &reply) }
        }
        // Who waited for the keys has its turn before the client's next command, which may raise a fence again.
        whenReleased { [self] in
            session.resume(.blocked)
            // When the reply has gone.
            loop.execute { [self] in goAhead(of: session) }
        }
    }

    private func write(_ moved: Int, _ move: SlotMove, _ reply: inout ByteBuffer) {
        switch (move.form, move.selection) {
        case (.moved, _), (_, .key): reply.writeReplyInteger(moved)
        case (.movedAndLeft, .slot(let slot)):
            reply.writeReplyArrayHeader(2)
            reply.writeReplyInteger(moved)
            reply.writeReplyInteger(keyspace.counts(of: slot, in: move.database).keys)
        case (.left, .slot(let slot)):
            reply.writeReplyInteger(keyspace.counts(of: slot, in: move.database).keys)
        }
    }

    /// Begins what the client's next call is expected to ask for.
    private func goAhead(of session: Session) {
        let moves = session.moves
        guard let move = moves.move, moves.isLoop, !moves.isWaiting, moves.running == nil, moves.moved.isEmpty,
            session.isOpen, !session.closesAfterReply, !session.isHeld, !isReplica, gates.isDisjoint(with: .holdMoves),
            keyspace.ensureRoomForDelete(rows: SlotMigration.mostKeysAtOnce), effects.ensureRoom(bytes: 64 << 10)
        else { return }
        session.moves.repliedAtNanoseconds = Clock().monotonicNanoseconds
        begin(move, .ahead, for: session).start()
    }

    /// What has moved something counts as DEL, as the original has rewritten it to that by then.
    private func noteStatistics(_ keys: [[UInt8]], _ session: Session, nanoseconds: Int64) {
        guard let command = session.moves.command else { return }
        guard !keys.isEmpty, let delete = commands.rows.first(where: { $0.name == "del" }) else {
            commandStatistics.add(row: command.row, nanoseconds: nanoseconds)
            return
        }
        commandStatistics.moveCall(from: command.row, to: delete.row, nanoseconds: nanoseconds)
        guard nanoseconds >= slowNanoseconds else { return }
        noteScript(delete, [Array("DEL".utf8)] + keys.prefix(1000), nanoseconds: nanoseconds)
    }
}

extension SessionMoves {
    fileprivate var isWaiting: Bool { waitingSinceNanoseconds != nil }

    /// Whether the client goes on and on.
    fileprivate var isLoop: Bool {
        guard case .slot = move?.selection else { return false }
        return callsInRow >= Server.callsOfLoop
    }
}

extension AdmissionGates {
    /// What stands between a write and its running, for moves that no client has called for.
    fileprivate static let holdMoves: AdmissionGates = [.writesRefused, .saveFailed, .loading, .scriptRuns]
}
