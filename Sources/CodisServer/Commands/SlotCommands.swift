// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import Keyspace
internal import NIOCore
internal import RESP
internal import SlotHash

/// The commands on slots that move nothing (Codis 2.0: `slots.c`).
enum SlotCommands {
    static let table: [Command] = [
        Command("slotscheck", arity: .atLeast(0), flags: [.readOnly], keys: .none, slotscheck),
        Command("slotsdel", arity: .atLeast(2), flags: [.write], keys: .all, slotsdel),
        Command("slotshashkey", arity: .atLeast(1), flags: [.readOnly, .fast], keys: .none, slotshashkey),
        Command("slotsinfo", arity: .atLeast(1), flags: [.readOnly, .fast], keys: .none, slotsinfo),
        Command("slotsstats", arity: .atLeast(1), flags: [.readOnly, .fast], keys: .none, slotsstats),
    ]

    /// `SLOTSHASHKEY [key …]`: the slot of each.
    static func slotshashkey(_ server: Server, _ call: CommandCall) throws(CommandError) {
        call.reply.writeReplyArrayHeader(call.arguments.count - 1)
        for index in 1..<call.arguments.count {
            call.reply.writeReplyInteger(Int(Slot(forKey: call.arguments[index]).number))
        }
    }

    /// `SLOTSINFO [start [count]]` in O(slots): those that are not empty, with their numbers of keys.
    static func slotsinfo(_ server: Server, _ call: CommandCall) throws(CommandError) {
        let found = try slotsWithKeys(server, call)
        call.reply.writeReplyArrayHeader(found.count)
        for (slot, counts) in found {
            call.reply.writeReplyArrayHeader(2)
            call.reply.writeReplyInteger(Int(slot.number))
            call.reply.writeReplyInteger(counts.keys)
        }
    }

    /// `SLOTSSTATS [start [count]]` in O(slots): those that are not empty, each with its numbers of keys, bytes, keys
    /// that expire, and in all databases together of reads and writes.
    ///
    /// Not in Codis.
    static func slotsstats(_ server: Server, _ call: CommandCall) throws(CommandError) {
        let found = try slotsWithKeys(server, call)
        call.reply.writeReplyArrayHeader(found.count)
        for (slot, counts) in found {
            call.reply.writeReplyArrayHeader(6)
            call.reply.writeReplyInteger(Int(slot.number))
            call.reply.writeReplyInteger(counts.keys)
            call.reply.writeReplyInteger(counts.bytes)
            call.reply.writeReplyInteger(counts.expiring)
            call.reply.writeReplyInteger(server.keyspace.traffic.reads(of: slot))
            call.reply.writeReplyInteger(server.keyspace.traffic.writes(of: slot))
        }
    }

    /// The slots of the range that the arguments give which are not empty.
    private static func slotsWithKeys(
        _ server: Server,
        _ call: CommandCall
    ) throws(CommandError) -> [(Slot, SlotCounts)] {
        var start = 0
        var count = Slot.count
        if call.arguments.count > 1 { start = try slot(call, 1) }
        if call.arguments.count > 2 {
            let given = try call.arguments.integer(at: 2)
            // Like the original, in 32 bits.
            count = Int(Int32(truncatingIfNeeded: given))
            guard count >= 0 else { throw .message("ERR invalid slot count = \(given)") }
        }
        guard call.arguments.count <= 3 else {
            throw .message("ERR wrong number of arguments for '\(call.command.name)' command")
        }
        // So is the sum: what overflows asks for nothing.
        let end = min(Slot.count, Int(Int32(truncatingIfNeeded: start + count)))
        guard start < end else { return [] }
        return (start..<end).compactMap { number in
            guard let slot = Slot(number) else { return nil }
            let counts = server.keyspace.counts(of: slot, in: call.database)
            return counts.keys > 0 ? (slot, counts) : nil
        }
    }

    /// `SLOTSDEL slot [slot …]` in O(keys of the slots): deletes them, replies what is left.
    ///
    /// Propagated as it is; where there are many keys, they go in steps, each propagated as `DEL`.
    static func slotsdel(_ server: Server, _ call: CommandCall) throws(CommandError) {
        var slots: [Slot] = []
        for index in 1..<call.arguments.count {
            if let slot = Slot(try slot(call, index)) { slots.append(slot) }
        }
        let keyCount = Set(slots).reduce(0) { $0 + server.keyspace.counts(of: $1, in: call.database).keys }
        guard keyCount > mostDeletedAtOnce, server.canSuspend(call), !server.isReplica else {
            for slot in slots {
                while let key = try removeKey(of: slot, server, call.database) {
                    ByteView.with(key) { server.notify(.generic, "del", $0, call) }
                    call.dirty += 1
                }
            }
            return write(slots, server, call.database, &call.reply)
        }
        var left = slots[...]
        let database = call.database
        try server.runInSteps(call) { reply throws(CommandError) in
            guard let slot = left.first else {
                write(slots, server, database, &reply)
                return true
            }
            try server.checkIsStillMaster()
            guard server.keyspace.ensureRoomForDelete(rows: 64), server.effects.ensureRoom(bytes: 1 << 20) else {
                throw .outOfSpace
            }
            var keys: [[UInt8]] = []
            while keys.count < 64, let key = try removeKey(of: slot, server, database) { keys.append(key) }
            if keys.count < 64 { left.removeFirst() }
            server.noteDeleted(keys, in: database)
            return false
        }
    }

    /// How many keys are deleted with nothing between.
    private static let mostDeletedAtOnce = 2000

    /// Deletes some key of a slot; nil if there is none.
    private static func removeKey(of slot: Slot, _ server: Server, _ database: Int) throws(CommandError) -> [UInt8]? {
        guard let key = server.keyspace.firstKey(in: database, slot: slot) else { return nil }
        let wasThere = try ByteView.with(key) { key throws(CommandError) in
            try server.change { keyspace throws(KeyspaceError) in try keyspace.remove(key, in: database) }
        }
        return wasThere ? key : nil
    }

    private static func write(_ slots: [Slot], _ server: Server, _ database: Int, _ reply: inout ByteBuffer) {
        reply.writeReplyArrayHeader(slots.count)
        for slot in slots {
            reply.writeReplyArrayHeader(2)
            reply.writeReplyInteger(Int(slot.number))
            reply.writeReplyInteger(server.keyspace.counts(of: slot, in: database).keys)
        }
    }

    /// `SLOTSCHECK` in O(keys), in steps: whether the slot tables and the key space agree in this database.
    ///
    /// Nothing expires on the way. There is no third step: the keys of a tag lie together in the slot table itself.
    static func slotscheck(_ server: Server, _ call: CommandCall) throws(CommandError) {
        var check = SlotCheck(of: call.database)
        try server.runInSteps(call) { reply throws(CommandError) in
            let outcome = server.keyspace.advance(&check, rows: 256)
            guard outcome != .goesOn else { return false }
            if let error = errorLine(of: outcome) { reply.writeReplyError(error) } else { reply.writeReplyOK() }
            return true
        }
    }

    /// What SLOTSCHECK replies to damage.
    static func errorLine(of outcome: SlotCheck.Outcome) -> [UInt8]? {
        switch outcome {
        case .goesOn, .sound: nil
        case .notFound(let key): Array("ERR step 1, miss = '".utf8) + key + [0x27]
        case .notInSlot(let key): Array("ERR step 2, miss = '".utf8) + key + [0x27]
        case .miscounted(let slot, let counted, let found):
            Array("ERR step 2, slot \(slot) has \(found) keys and counts \(counted)".utf8)
        }
    }

    /// The number of a slot; the original reads it in 32 bits.
    static func slot(_ call: CommandCall, _ index: Int) throws(CommandError) -> Int {
        let given = try call.arguments.integer(at: index)
        let number = Int(Int32(truncatingIfNeeded: given))
        guard number >= 0, number < Slot.count else { throw .message("ERR invalid slot number = \(number)") }
        return number
    }
}

extension Server {
    /// Lets the log and everybody know that `keys` were deleted, outside of a command.
    func noteDeleted(_ keys: [[UInt8]], in database: Int) {
        guard !keys.isEmpty else { return }
        dirty += keys.count
        withViews(of: keys) { views in
            effects.append([ByteView("DEL")] + views, database: database)
            if !notifiedEvents.isEmpty {
                for view in views { publishEvent(.generic, "del", view, in: database) }
            }
        }
        scheduleReclaim()
        needsTickEnd()
    }

    /// Calls `body` with views of `arrays`, which live as long as the call.
    func withViews<Result>(of arrays: [[UInt8]], _ body: ([ByteView]) -> Result) -> Result {
        ByteView.with(Array(arrays.joined())) { bytes in
            var start = 0
            let views = arrays.map { array in
                defer { start += array.count }
                return bytes[start..<start + array.count]
            }
            return body(views)
        }
    }
}
