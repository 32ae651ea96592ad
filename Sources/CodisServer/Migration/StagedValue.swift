// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import Keyspace
internal import RESP

/// A value that arrives in pieces: it grows under a name of its own, and takes the place of its key in one step.
///
/// What is done with it are commands that every replica knows (HMSET, RPUSH, ..., at last RENAME), and that is what
/// stands in the log. Until then the name, an ``ArrivingValue``'s, is a key like others, but that no walk over the keys
/// tells of it, and that it expires by itself when nothing has come for a while: so nothing stays behind whichever
/// server ends when. If it has expired or was evicted half way, there are fewer elements at the end than were sent, and
/// it is refused.
final class StagedValue {
    let name: [UInt8]
    let database: Int
    private unowned let server: Server
    /// When it expires, in ms since 1970; 0 before the first piece.
    private var expireAtMilliseconds: Int64 = 0
    /// What has arrived and was not added yet.
    private var waiting: WaitingElements?
    private var waitingType = ValueType.string

    /// How long a value waits for its next piece.
    static let lifetimeMilliseconds: Int64 = 60_000

    init(_ server: Server, name: [UInt8], in database: Int) {
        self.server = server
        self.name = name
        self.database = database
    }

    /// The command that adds elements to a value of `type`.
    static func command(for type: ValueType) -> StaticString {
        switch type {
        case .string: "APPEND"
        case .list: "RPUSH"
        case .set: "SADD"
        case .sortedSet: "ZADD"
        case .hash: "HMSET"
        }
    }

    /// The type whose pieces are added by the command called `name`.
    static func type(ofCommand name: ByteView) -> ValueType? {
        ValueType.allCases.first { name.equalsIgnoringCase(command(for: $0)) }
    }

    /// Has what stands behind the key in the arguments of the type's command wait for more, to be added together; false
    /// if it is to be added by itself, after what waits already.
    func take(_ elements: [ByteView], type: ValueType) throws(CommandError) -> Bool {
        if waiting == nil { waiting = WaitingElements(type) }
        if !hasWaiting { waitingType = type }
        guard type == waitingType, waiting?.take(elements, server.keyspace) ?? false else { return false }
        try withName { view throws(CommandError) in
            if expireAtMilliseconds != 0 { try keepAlive(view) }
        }
        return true
    }

    /// Whether elements wait to be added.
    var hasWaiting: Bool { !(waiting?.isEmpty ?? true) }
    /// Whether so many wait that they are to be added now.
    var isFull: Bool { waiting?.isFull ?? false }

    /// Adds some of the elements that wait.
    func addSomeWaiting(for session: Session) throws(CommandError) {
        let type = waitingType
        do throws(CommandError) {
            try waiting?.withNext(64) { elements throws(CommandError) in
                try append(elements, type: type, for: session)
            }
        } catch {
            // What is missing now is missed at the end.
            waiting = nil
            throw error
        }
    }

    /// Adds what stands behind the key in the arguments of the type's command.
    func append(_ elements: [ByteView], type: ValueType, for session: Session) throws(CommandError) {
        let name = StagedValue.command(for: type)
        try withName { view throws(CommandError) in
            try server.runWithin([ByteView(name), view] + elements, in: database, for: session)
            try keepAlive(view)
        }
    }

    private func keepAlive(_ view: ByteView) throws(CommandError) {
        let now = server.clock.milliseconds
        // Now and then is enough, and the log stays shorter.
        guard expireAtMilliseconds - now < StagedValue.lifetimeMilliseconds * 3 / 4 else { return }
        expireAtMilliseconds = now + StagedValue.lifetimeMilliseconds
        let isThere = try server.change { keyspace throws(KeyspaceError) in
            try keyspace.setExpiry(view, in: database, atMilliseconds: expireAtMilliseconds)
        }
        guard isThere else { return }
        server.effects.append("PEXPIREAT", view, expireAtMilliseconds, database: database)
        server.needsTickEnd()
    }

    /// Whether it is all there: `count` elements, or bytes of a string.
    func isComplete(count: Int) -> Bool {
        withName { server.keyspace.find($0, in: database)?.count == count }
    }

    /// Makes it the value of `key`, whatever that was.
    func become(_ key: ByteView, expireAtMilliseconds: Int64) throws(CommandError) {
        try withName { view throws(CommandError) in
            _ = try server.change { keyspace throws(KeyspaceError) in
                guard
                    try server.keyspace.setExpiry(view, in: database, atMilliseconds: expireAtMilliseconds)
                else { return false }
                return try server.keyspace.rename(view, in: database, to: key, in: database)
            }
            server.effects.append("RENAME", view, key, database: database)
            if expireAtMilliseconds == 0 {
                server.effects.append("PERSIST", key, database: database)
            } else {
                server.effects.append("PEXPIREAT", key, expireAtMilliseconds, database: database)
            }
        }
        server.dirty += 1
        server.needsTickEnd()
    }

    /// Deletes what has arrived so far.
    func abandon() {
        waiting = nil
        guard expireAtMilliseconds != 0 else { return }
        withName { view in
            do throws(KeyspaceError) {
                guard server.keyspace.ensureRoomForDelete(), try server.keyspace.remove(view, in: database) else {
                    return
                }
            } catch {
                // The end of the tick sees that the keyspace has failed.
                return
            }
            server.effects.append("DEL", view, database: database)
        }
        server.scheduleReclaim()
        server.needsTickEnd()
    }

    private func withName<Result, Failure: Error>(
        _ body: (ByteView) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try ByteView.with(name, body)
    }
}

extension Server {
    /// Runs a command as a part of another: without a reply, statistics, events of its own, or anybody who may refuse
    /// it; it is recorded.
    func runWithin(_ arguments: [ByteView], in database: Int, for session: Session) throws(CommandError) {
        guard let command = commands.rows.first(where: { arguments[0].equalsIgnoringCase($0.name) }) else {
            preconditionFailure("no such command")
        }
        let call = CommandCall(effects: effects)
        call.begin(session)
        call.database = database
        call.command = command
        call.now = clock.milliseconds
        call.arguments.take(arguments)
        guard haveRoom(for: command, call) else { throw .outOfSpace }
        let events = notifiedEvents
        notifiedEvents = []
        defer { notifiedEvents = events }
        try command.function(self, call)
        guard call.dirty != 0 else { return }
        dirty += call.dirty
        if !call.isPropagated { effects.append(arguments, database: database) }
        needsTickEnd()
    }
}
