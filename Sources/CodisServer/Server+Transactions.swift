// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import Keyspace
internal import NIOCore
internal import RESP

/// What a client has asked for since MULTI, one request behind the other as canonical multibulk.
struct CommandQueue {
    struct Entry {
        unowned(unsafe) let commandReference: Command
        /// Where its request begins.
        let start: Int
        /// Whether the request may enter the log as it is.
        let isCanonical: Bool

        /// The table of commands outlives all queues.
        var command: Command { unsafe commandReference }
    }

    private(set) var bytes: [UInt8] = []
    private(set) var entries: [Entry] = []

    var count: Int { entries.count }

    mutating func append(_ command: Command, _ call: CommandCall) {
        entries.append(Entry(commandReference: command, start: bytes.count, isCanonical: !call.request.isEmpty))
        if !call.request.isEmpty {
            unsafe bytes.append(contentsOf: call.request.rawBuffer)
        } else {
            bytes.appendRequestHeader(argumentCount: call.arguments.count)
            for index in 0..<call.arguments.count { bytes.appendRequestArgument(call.arguments[index]) }
        }
    }
}

/// A key as the engine names it when it has changed: its database and the keyed hash of its bytes.
struct KeyIdentity: Hashable {
    let database: Int
    let hash: UInt64
}

/// What a client's transaction is about; that it is between MULTI and EXEC is one of its `modes`.
struct SessionTransaction {
    struct WatchedKey {
        let identity: KeyIdentity
        let key: [UInt8]
    }

    var queue = CommandQueue()
    /// Whether a command was refused instead of queued: EXEC will do nothing.
    var isAborted = false
    /// Whether a watched key was changed: EXEC will do nothing.
    var isTouched = false
    var watched: [WatchedKey] = []
}

/// A transaction in whose middle a script has overrun its time.
struct SuspendedTransaction {
    let session: Session
    let queue: CommandQueue
    /// The first command that was not run yet.
    var next: Int
    /// The row of EXEC.
    let exec: Command
    let startNanoseconds: Int64
}

/// Who watches which key.
struct WatchedKeys {
    var sessions: [KeyIdentity: [Session]] = [:]
    /// Whether what happens now is no change for who watches.
    var isSuspended = false
}

extension Session {
    /// Has EXEC do nothing, because a command was refused instead of queued.
    func abortTransaction() {
        if modes.contains(.transaction) { transaction.isAborted = true }
    }
}

/// MULTI, EXEC and WATCH (Redis 2.8: `multi.c`).
extension Server {
    // MARK: Queueing

    /// Whether the command runs at once, though the client is in a transaction or has subscriptions; if not, it is
    /// queued or refused.
    func passModes(_ command: Command, _ call: CommandCall) -> Bool {
        if call.session.modes.contains(.movesSlot) { noteBetweenMoves(command, call.session) }
        if call.session.modes.contains(.subscribed), !PubSubCommands.runsWhileSubscribed(command) {
            call.reply.writeReplyError("ERR only (P)SUBSCRIBE / (P)UNSUBSCRIBE / QUIT allowed in this context")
            return false
        }
        guard call.session.modes.contains(.transaction), !TransactionCommands.runsInTransaction(command) else {
            return true
        }
        guard call.session.transaction.queue.bytes.count + call.arguments.byteCount <= longestTransaction else {
            call.reply.writeReplyError("ERR The transaction is too long")
            call.session.abortTransaction()
            return false
        }
        call.session.lastCommand = command
        call.session.transaction.queue.append(command, call)
        call.reply.writeReplyQueued()
        return false
    }

    /// EXEC: runs what was queued, as one unit of effects, and replies with an array of the replies.
    ///
    /// `call` is used for each, and afterwards holds the last. If a script overruns its time, what comes behind it
    /// waits until it has ended, and the client as well: see ``resumeTransaction()``.
    ///
    /// - Returns: whether the transaction has ended.
    func runTransaction(_ call: CommandCall) -> Bool {
        unwatchAll(call.session)
        let transaction = SuspendedTransaction(
            session: call.session,
            queue: call.session.transaction.queue,
            next: 0,
            exec: call.command,
            startNanoseconds: clock.monotonicNanoseconds
        )
        call.reply.writeReplyArrayHeader(transaction.queue.count)
        beginUnit()
        return run(transaction, call)
    }

    /// Goes on with the transaction whose script has ended, if there is one.
    func resumeTransaction() {
        guard let transaction = suspendedTransaction else { return }
        suspendedTransaction = nil
        isResumingTransaction = true
        defer { isResumingTransaction = false }
        call.begin(transaction.session)
        if run(transaction, call) {
            call.arguments.take([ByteView("exec")])
            if gates.contains(.monitored) { showToMonitors(call) }
        }
        isExecuting = false
        var reply = call.reply
        call.reply = ByteBuffer()
        transaction.session.reply { $0.writeBuffer(&reply) }
    }

    /// Runs what is left of a transaction; false if it was suspended again.
    private func run(_ transaction: SuspendedTransaction, _ call: CommandCall) -> Bool {
        let next = runQueue(transaction.queue, from: transaction.next, call)
        // Also if it was the last command: then its reply is still to come.
        guard scriptEngine?.isSuspended != true else {
            suspendedTransaction = transaction
            suspendedTransaction?.next = next
            return false
        }
        endUnit()
        discardTransaction(transaction.session)
        let nanoseconds = clock.monotonicNanoseconds - transaction.startNanoseconds
        commandStatistics.add(row: transaction.exec.row, nanoseconds: nanoseconds)
        return true
    }

    /// Runs the commands of a queue from `first` on; gives how many of them were run or begun, of all.
    private func runQueue(_ queue: CommandQueue, from first: Int, _ call: CommandCall) -> Int {
        var next = first
        ByteView.with(queue.bytes) { bytes in
            var decoder = RESPRequestDecoder()
            while next < queue.count, scriptEngine?.isSuspended != true {
                let entry = queue.entries[next]
                next += 1
                let unread = bytes.dropFirst(entry.start)
                guard case .request(let length)? = try? decoder.decode(unread) else {
                    preconditionFailure("what was queued is no request any more")
                }
                call.arguments.take(decoder, in: unread)
                call.request = entry.isCanonical ? unread.prefix(length) : ByteView()
                runQueued(entry.command, call)
            }
        }
        // What stays of the last one must not point into the queue.
        call.request = ByteView()
        isExecuting = true
        return next
    }

    private func runQueued(_ command: Command, _ call: CommandCall) {
        // As in the stream of Redis 2.8, where MULTI comes before the first command that might change something.
        if !command.flags.contains(.readOnly) { effects.markUnit(database: call.database) }
        if command.flags.contains(.write) {
            guard haveRoom(for: command, call) else { return call.reply.writeReplyError(CommandError.outOfSpace.line) }
            guard unitHasRoom(bytes: call.arguments.byteCount) else {
                return call.reply.writeReplyError(CommandError.unitTooLarge.line)
            }
        }
        if gates.contains(.monitored), command.flags.isDisjoint(with: [.admin, .skipMonitor]) { showToMonitors(call) }
        run(command, call)
    }

    /// Ends the transaction of a client, and its watching.
    func discardTransaction(_ session: Session) {
        session.modes.remove(.transaction)
        unwatchAll(session)
        session.transaction = SessionTransaction()
    }

    // MARK: Watching

    /// Has a transaction of `session` do nothing if `key` is changed before.
    func watch(_ key: ByteView, in database: Int, _ session: Session) {
        let identity = KeyIdentity(database: database, hash: keyspace.keyHash(key))
        guard !session.transaction.watched.contains(where: { $0.identity == identity }) else { return }
        session.transaction.watched.append(.init(identity: identity, key: Array(key)))
        watches.sessions[identity, default: []].append(session)
        listenToKeys()
    }

    /// Forgets what a client watches, and that any of it was changed.
    func unwatchAll(_ session: Session) {
        session.transaction.isTouched = false
        guard !session.transaction.watched.isEmpty else { return }
        for watched in session.transaction.watched {
            watches.sessions[watched.identity]?.removeAll { $0 === session }
            if watches.sessions[watched.identity]?.isEmpty ?? false { watches.sessions[watched.identity] = nil }
        }
        session.transaction.watched = []
        listenToKeys()
    }

    /// Counts as a change of `key` for who watches it.
    func touchWatched(_ key: ByteView, in database: Int) {
        if keyspace.onKeyChange != nil { keyChanged(KeyIdentity(database: database, hash: keyspace.keyHash(key))) }
    }

    /// Counts as a change of every key that anybody watches: all data are replaced.
    func touchAllWatched() {
        for sessions in watches.sessions.values {
            for session in sessions { session.transaction.isTouched = true }
        }
    }

    /// Hears of the changes of keys if anybody is interested in any, and only then.
    func listenToKeys() {
        guard !watches.sessions.isEmpty || !blocking.sessions.isEmpty || !fence.isEmpty else {
            keyspace.onKeyChange = nil
            keyspace.onRemoveAll = nil
            return
        }
        guard keyspace.onKeyChange == nil else { return }
        keyspace.onKeyChange = { [unowned self] database, hash, checksum in
            noteChangeBehindFence(checksum: checksum, in: database)
            keyChanged(KeyIdentity(database: database, hash: hash))
        }
        keyspace.onRemoveAll = { [unowned self] in allKeysRemoved(in: $0) }
    }

    private func keyChanged(_ identity: KeyIdentity) {
        if !blocking.sessions.isEmpty { noteReady(identity) }
        if !links.isEmpty { noteChangeOfMigrating(identity) }
        if !watches.isSuspended, let sessions = watches.sessions[identity] {
            for session in sessions { session.transaction.isTouched = true }
        }
    }

    /// All keys of a database go: a change of those watched keys that are there.
    private func allKeysRemoved(in database: Int) {
        noteRemovalBehindFence(in: database)
        for (identity, sessions) in watches.sessions where identity.database == database {
            guard let session = sessions.first,
                let watched = session.transaction.watched.first(where: { $0.identity == identity })
            else { continue }
            if ByteView.with(watched.key, { keyspace.find($0, in: database) != nil }) { keyChanged(identity) }
        }
    }
}
