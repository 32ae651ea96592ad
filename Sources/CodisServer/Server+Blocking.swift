// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import Keyspace
internal import NIOCore
internal import RESP

/// What a blocked client waits for.
final class BlockedCommand {
    enum Kind {
        case leftPop
        case rightPop
        /// The popped element goes to the head of another list.
        case move(destination: [UInt8])
    }

    let kind: Kind
    let database: Int
    let keys: [(identity: KeyIdentity, bytes: [UInt8])]
    /// When it gives up, in ms since 1970; 0: never.
    let deadlineMilliseconds: Int64

    init(
        _ kind: Kind,
        database: Int,
        keys: [(identity: KeyIdentity, bytes: [UInt8])],
        deadlineMilliseconds: Int64
    ) {
        self.kind = kind
        self.database = database
        self.keys = keys
        self.deadlineMilliseconds = deadlineMilliseconds
    }
}

/// The clients that wait for elements of lists.
struct BlockedClients {
    /// The clients that wait for a key, those that came first first.
    var sessions: [KeyIdentity: [Session]] = [:]
    /// All of them, by their numbers.
    var all: [Int: Session] = [:]
    /// The keys with waiting clients that were changed since these were last looked at, in the order of the changes.
    var ready: [KeyIdentity] = []
    /// Clients that wait no more, and whose further commands are to go on.
    var unblocked: [Session] = []
}

/// Clients that wait for elements of lists (Redis 2.8: `t_list.c`, from signalListAsReady on).
///
/// The engine tells which keys change while somebody waits for any. When a command has ended, whether of a client,
/// a transaction or a script as a whole, the lists among them are given to those who wait, in the order in which they
/// came. What is given is popped by the commands for it, so that log, counts and the rest follow as from them; but no
/// event of the pop is published.
extension Server {
    /// Has `call`'s client wait for an element of one of the lists `keys`, none of which is there.
    func block(_ call: CommandCall, _ kind: BlockedCommand.Kind, keys range: Range<Int>, timeoutSeconds: Int64) {
        let session = call.session
        var keys: [(identity: KeyIdentity, bytes: [UInt8])] = []
        for index in range {
            let key = call.arguments[index]
            let identity = KeyIdentity(database: call.database, hash: keyspace.keyHash(key))
            guard !keys.contains(where: { $0.identity == identity }) else { continue }
            keys.append((identity, Array(key)))
            blocking.sessions[identity, default: []].append(session)
        }
        let deadline = timeoutSeconds == 0 ? 0 : call.now.addingClamped(timeoutSeconds.multipliedClamped(by: 1000))
        session.blocked = BlockedCommand(
            kind,
            database: call.database,
            keys: keys,
            deadlineMilliseconds: deadline
        )
        session.holds.insert(.blocked)
        blocking.all[session.identifier] = session
        listenToKeys()
    }

    /// Ends the waiting of a client; its further commands go on at the end of the tick.
    func unblock(_ session: Session) {
        guard let blocked = session.blocked else { return }
        session.blocked = nil
        blocking.all[session.identifier] = nil
        for (identity, _) in blocked.keys {
            blocking.sessions[identity]?.removeAll { $0 === session }
            if blocking.sessions[identity]?.isEmpty ?? false { blocking.sessions[identity] = nil }
        }
        blocking.unblocked.append(session)
        needsTickEnd()
        listenToKeys()
    }

    /// Hears that a key has changed which somebody waits for.
    func noteReady(_ identity: KeyIdentity) {
        guard blocking.sessions[identity] != nil, !blocking.ready.contains(identity) else { return }
        blocking.ready.append(identity)
        needsTickEnd()
    }

    /// Whether keys have changed that somebody waits for.
    @inline(__always)
    var hasReadyKeys: Bool { !blocking.ready.isEmpty }

    /// Gives what has arrived to who waits for it; between commands, and not within a unit of effects.
    func serveBlocked() {
        guard !effects.isInUnit, !isLoading else { return }
        // Serving a move makes another list, and that may be waited for in turn.
        while !blocking.ready.isEmpty {
            let ready = blocking.ready
            blocking.ready = []
            for identity in ready { serve(identity) }
        }
    }

    private func serve(_ identity: KeyIdentity) {
        let waiting = blocking.sessions[identity] ?? []
        for session in waiting where !session.closesAfterReply {
            guard let blocked = session.blocked,
                let key = blocked.keys.first(where: { $0.identity == identity })?.bytes
            else { continue }
            // A list that is on its way, or the target of a move that is, is seen to when it has arrived or stays.
            if !fence.isEmpty {
                if ByteView.with(key, { postpones(identity, for: $0, in: blocked.database) }) { return }
                if case .move(let destination) = blocked.kind,
                    ByteView.with(destination, { postpones(identity, for: $0, in: blocked.database) })
                {
                    continue
                }
            }
            let isServed = ByteView.with(key) { serve(session, blocked, from: $0) }
            guard isServed else { return }
        }
    }

    /// Pops an element of the list `key` for a client; false if there is none.
    private func serve(_ session: Session, _ blocked: BlockedCommand, from key: ByteView) -> Bool {
        let call = blockedCall
        call.begin(session)
        call.database = blocked.database
        call.now = clock.milliseconds
        guard let record = lookupWrite(key, in: blocked.database, call), record.type == .list else { return false }
        switch blocked.kind {
        case .leftPop:
            reply(withKey: key, to: call)
            pop(ListCommands.lpop, "LPOP", [key], call)
        case .rightPop:
            reply(withKey: key, to: call)
            pop(ListCommands.rpop, "RPOP", [key], call)
        case .move(let destination):
            ByteView.with(destination) { destination in
                if let target = lookupWrite(destination, in: blocked.database, call), target.type != .list {
                    call.reply.writeReplyError(CommandError.wrongType.line)
                } else {
                    pop(ListCommands.rpoplpush, "RPOPLPUSH", [key, destination], call)
                    if call.dirty != 0 { notify(.list, "lpush", destination, call) }
                }
            }
        }
        session.output.writeBuffer(&call.reply)
        call.reply.clear()
        session.hasWritten = true
        touch(session)
        unblock(session)
        return true
    }

    private func reply(withKey key: ByteView, to call: CommandCall) {
        call.reply.writeReplyArrayHeader(2)
        call.reply.writeReplyBulk(key)
    }

    /// Runs a command that pops on behalf of a client that waited, without events, and records it.
    private func pop(_ function: Command.Function, _ name: StaticString, _ keys: [ByteView], _ call: CommandCall) {
        let events = notifiedEvents
        notifiedEvents = []
        defer { notifiedEvents = events }
        let start = call.reply.writerIndex
        call.runsFor(name, keys)
        commandStart = (effects.offset, effects.selected)
        do throws(CommandError) {
            guard keyspace.ensureRoom(bytes: keys.count * 1024) || (keys.count == 1 && keyspace.ensureRoomForDelete())
            else { throw .outOfSpace }
            try function(self, call)
        } catch {
            call.reply.moveWriterIndex(to: start)
            call.reply.clear()
            call.reply.writeReplyError(error.line)
        }
        guard call.dirty != 0 else { return }
        dirty += call.dirty
        if !call.isPropagated { effects.append([ByteView(name)] + keys, database: call.database) }
    }

    /// Has the further commands of clients that wait no more go on; the end of the tick calls it.
    func resumeUnblocked() {
        while !blocking.unblocked.isEmpty {
            let sessions = blocking.unblocked
            blocking.unblocked = []
            for session in sessions where session.blocked == nil { session.resume(.blocked) }
        }
    }

    /// Answers those whose time is over; the cron calls it.
    func timeOutBlocked() {
        guard !blocking.all.isEmpty else { return }
        let now = clock.milliseconds
        for session in blocking.all.values.sorted(by: { $0.identifier < $1.identifier }) {
            guard let blocked = session.blocked, blocked.deadlineMilliseconds != 0, now >= blocked.deadlineMilliseconds
            else { continue }
            session.reply { $0.writeReplyNullArray() }
            unblock(session)
        }
    }

    /// Ends all waiting with an error and closes the connections: for a master that becomes a replica.
    func disconnectBlocked() {
        for session in blocking.all.values.sorted(by: { $0.identifier < $1.identifier }) {
            session.reply {
                $0.writeReplyError(
                    "UNBLOCKED force unblock from blocking operation, instance state changed (master -> slave?)"
                )
            }
            session.closesAfterReply = true
            unblock(session)
            touch(session)
        }
    }
}

extension CommandCall {
    /// Makes the call one of `name` with `arguments`, whose bytes must outlive it.
    func runsFor(_ name: StaticString, _ arguments: [ByteView]) {
        self.arguments.take([ByteView(name)] + arguments)
        request = ByteView()
        dirty = 0
        isPropagated = false
    }
}

extension Int64 {
    /// The sum, or the greatest number where that would be greater.
    func addingClamped(_ other: Int64) -> Int64 {
        let (sum, overflow) = addingReportingOverflow(other)
        return overflow ? .max : sum
    }

    /// The product of two numbers that are not negative, or the greatest number where that would be greater.
    func multipliedClamped(by other: Int64) -> Int64 {
        let (product, overflow) = multipliedReportingOverflow(by: other)
        return overflow ? .max : product
    }
}
