// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import SlotHash

/// What a fence goes around: all keys of a tag, whether they exist or not, or one key without a tag.
///
/// Two untagged keys with the same checksum count as one: then a command waits though it need not.
struct FenceMark: Hashable {
    let database: Int
    let hash: KeyHash

    /// The mark that `key` of `database` is behind when it is fenced.
    init(_ key: ByteView, in database: Int) {
        self.database = database
        hash = KeyHash(of: key)
    }

    init(hash: KeyHash, in database: Int) {
        self.database = database
        self.hash = hash
    }
}

/// The right to keys that are on their way.
///
/// Whoever holds it reads and changes them in as many steps as it takes, while commands that name them wait.
final class FenceTicket {
    /// What is fenced.
    fileprivate(set) var marks: [FenceMark] = []
    /// Whether somebody who does not wait has changed a key behind the fence since this was last set to false: a
    /// script that changes keys it did not declare, or the stream of a master.
    ///
    /// What expires or is evicted does not count.
    var wasBreached = false
    /// Whether commands may read what is fenced: it is not changed before this is set to false.
    var admitsReaders = false
    /// Whether it was raised and not lowered yet.
    fileprivate(set) var isRaised = true

    /// Whether `command` need not wait for it.
    func admits(_ command: Command) -> Bool {
        // The two that are no readers ask for themselves.
        admitsReaders
            && (command.flags.contains(.readOnly) || command.name == "slotsmgrt-exec-wrapper"
                || command.name == "slotsrestore-async")
    }

    /// The clients whose commands wait for it.
    fileprivate var waiting: [Session] = []
    /// Lists behind the fence that have something for clients who wait for elements.
    fileprivate var readyKeys: [KeyIdentity] = []
    /// What is to be done when it is lowered.
    fileprivate var completions: [() -> Void] = []
}

/// Who has which keys fenced, and what goes on when fences are gone.
struct KeyFence {
    fileprivate var tickets: [FenceMark: FenceTicket] = [:]
    /// Whether the changes that are made now are those of a ticket's holder.
    fileprivate var isOpenForHolder = false
    fileprivate var released: [Session] = []
    fileprivate var completions: [() -> Void] = []

    /// Whether nothing is fenced.
    var isEmpty: Bool { tickets.isEmpty }
    /// How many tags and keys are fenced.
    var count: Int { tickets.count }
    /// Whether something waits for the end of the tick.
    var hasReleased: Bool { !released.isEmpty || !completions.isEmpty }
}

/// Keys on their way from one server to another: commands that name them wait, everything else is served.
///
/// The original is atomic because nothing else runs while keys move. Here the event loop goes on. A holder *raises* a
/// fence around keys in one step, works on them in bounded steps between which other commands run, and *lowers* it.
/// Meanwhile a command that names one of the keys is not begun: its client is held, with all that it has sent behind
/// it, and the command is looked at anew when the fence is gone. For EXEC the keys of all queued commands count, for a
/// script its declared ones; FLUSHALL, FLUSHDB and SLOTSDEL name every key. A holder may admit those who only read.
///
/// What does not wait: commands that name no key (KEYS, SCAN, DBSIZE...), expiry, eviction, a script's access to keys
/// that it did not declare, and the stream of a master. If one of the last two changes a key behind a fence, the ticket
/// knows (`wasBreached`), and its holder has to begin anew.
///
/// There is no deadlock: a fence is raised around all of a holder's keys at once, and only when none of them is fenced;
/// who holds a ticket waits for no other.
extension Server {
    // MARK: For holders

    /// The ticket that `key` is fenced with, if it is.
    func fence(around key: ByteView, in database: Int) -> FenceTicket? {
        fence.isEmpty ? nil : fence.tickets[FenceMark(key, in: database)]
    }

    /// Raises a fence around `keys`, none of which may be fenced, and around all keys that share a tag with one.
    func raiseFence(around keys: some Sequence<ByteView>, in database: Int) -> FenceTicket {
        let ticket = FenceTicket()
        var last: FenceMark?
        for key in keys {
            // The keys of a tag come one after another.
            let mark = FenceMark(key, in: database)
            if mark != last { extend(ticket, to: mark) }
            last = mark
        }
        return ticket
    }

    /// Raises a fence around `mark`, which may not be fenced.
    func raiseFence(around mark: FenceMark) -> FenceTicket {
        let ticket = FenceTicket()
        extend(ticket, to: mark)
        return ticket
    }

    /// Has the fence of `ticket` go around `mark` too, which nobody else may have fenced.
    func extend(_ ticket: FenceTicket, to mark: FenceMark) {
        precondition(ticket.isRaised, "a fence that was lowered")
        if let other = fence.tickets.updateValue(ticket, forKey: mark) {
            precondition(other === ticket, "a key is fenced twice")
            return
        }
        ticket.marks.append(mark)
        guard fence.tickets.count == 1 else { return }
        gates.insert(.fenced)
        listenToKeys()
    }

    /// Lowers the fence; those who wait for it go on at the end of the tick.
    ///
    /// To lower it again does nothing.
    func lower(_ ticket: FenceTicket) {
        guard ticket.isRaised else { return }
        ticket.isRaised = false
        for mark in ticket.marks { fence.tickets[mark] = nil }
        if fence.isEmpty {
            gates.remove(.fenced)
            listenToKeys()
        }
        for identity in ticket.readyKeys { noteReady(identity) }
        fence.released += ticket.waiting
        fence.completions += ticket.completions
        ticket.waiting = []
        ticket.completions = []
        needsTickEnd()
    }

    /// Calls `body` at the end of the tick in which `ticket` is lowered.
    func whenLowered(_ ticket: FenceTicket, _ body: @escaping () -> Void) {
        precondition(ticket.isRaised, "a fence that was lowered")
        ticket.completions.append(body)
    }

    /// Calls `body` when those who waited for fences that are lowered by now have gone on; at once if nobody did.
    func whenReleased(_ body: @escaping () -> Void) {
        if fence.released.isEmpty { return body() }
        fence.completions.append(body)
        needsTickEnd()
    }

    /// Changes keys behind fences on behalf of who holds their tickets.
    func changeBehindFence<Result, Failure: Error>(_ body: () throws(Failure) -> Result) throws(Failure) -> Result {
        fence.isOpenForHolder = true
        defer { fence.isOpenForHolder = false }
        return try body()
    }

    // MARK: For everybody else

    /// Whether the command must wait for a fence; its client is then held, and the command is to be tried again.
    func waitsForFence(_ command: Command, _ call: CommandCall) -> Bool {
        guard !call.session.isMaster, !call.session.isVirtual else { return false }
        guard let ticket = fence(ofKeysOf: command, call) else { return false }
        ticket.waiting.append(call.session)
        call.session.holds.insert(.fenced)
        return true
    }

    /// The ticket of the first fenced key that the command names.
    private func fence(ofKeysOf command: Command, _ call: CommandCall) -> FenceTicket? {
        guard command.name == "exec" else { return fence(ofKeysOf: command, call.arguments, call.database) }
        let transaction = call.session.transaction
        // A transaction that does nothing waits for nothing.
        guard !transaction.isAborted, !transaction.isTouched else { return nil }
        var arguments = Arguments()
        var database = call.database
        return ByteView.with(transaction.queue.bytes) { bytes in
            for entry in transaction.queue.entries {
                arguments.takeRequest(in: bytes.dropFirst(entry.start))
                if let ticket = fence(ofKeysOf: entry.command, arguments, database) { return ticket }
                if entry.command.name == "select", let number = arguments.optionalInteger(at: 1) {
                    database = Int(truncatingIfNeeded: number)
                }
            }
            return nil
        }
    }

    private func fence(
        ofKeysOf command: Command,
        _ arguments: borrowing Arguments,
        _ database: Int
    ) -> FenceTicket? {
        var found: FenceTicket?
        switch command.keyRule {
        case .everything: found = fence.tickets.values.first
        case .everythingOfDatabase: found = fence.tickets.first { $0.key.database == database }?.value
        case .none, .positions, .single, .counted, .sort, .move, .steps:
            command.keyRule.forEachKey(arguments, database) { key, database in
                guard let ticket = fence.tickets[FenceMark(key, in: database)], !ticket.admits(command) else {
                    return true
                }
                found = ticket
                return false
            }
        }
        return found
    }

    /// Hears that a key with this checksum has changed.
    func noteChangeBehindFence(checksum: UInt32, in database: Int) {
        guard !fence.isEmpty, !fence.isOpenForHolder, !watches.isSuspended else { return }
        for isTagged in [false, true] {
            let mark = FenceMark(hash: KeyHash(checksum: checksum, isTagged: isTagged), in: database)
            fence.tickets[mark]?.wasBreached = true
        }
    }

    /// Hears that all keys of a database go at once.
    func noteRemovalBehindFence(in database: Int) {
        guard !fence.isOpenForHolder else { return }
        for (mark, ticket) in fence.tickets where mark.database == database { ticket.wasBreached = true }
    }

    /// Whether `key` is fenced; then who waits for elements of the list `identity` is looked after when the fence goes.
    func postpones(_ identity: KeyIdentity, for key: ByteView, in database: Int) -> Bool {
        guard let ticket = fence(around: key, in: database) else { return false }
        ticket.readyKeys.append(identity)
        return true
    }

    /// Has what waited for fences that are gone go on; the end of the tick calls it.
    func resumeReleased() {
        while fence.hasReleased {
            let completions = fence.completions
            let sessions = fence.released
            fence.completions = []
            fence.released = []
            for session in sessions { session.resume(.fenced) }
            for completion in completions { completion() }
        }
    }
}
