// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import Keyspace
internal import RESP
internal import SlotHash

/// The commands on slots that move nothing (Codis 2.0: `slots.c`).
enum SlotCommands {
    static let table: [Command] = [
        Command("slotsdel", arity: .atLeast(2), flags: [.write], keys: .all, slotsdel),
        Command("slotshashkey", arity: .atLeast(1), flags: [.readOnly, .fast], keys: .none, slotshashkey),
        Command("slotsinfo", arity: .atLeast(1), flags: [.readOnly, .fast], keys: .none, slotsinfo),
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
            throw .message("ERR wrong number of arguments for 'slotsinfo' command")
        }
        // So is the sum: what overflows asks for nothing.
        let end = min(Slot.count, Int(Int32(truncatingIfNeeded: start + count)))
        var found: [(Int, Int)] = []
        if start < end {
            for number in start..<end {
                guard let slot = Slot(number) else { continue }
                let keys = server.keyspace.counts(of: slot, in: call.database).keys
                if keys > 0 { found.append((number, keys)) }
            }
        }
        call.reply.writeReplyArrayHeader(found.count)
        for (number, keys) in found {
            call.reply.writeReplyArrayHeader(2)
            call.reply.writeReplyInteger(number)
            call.reply.writeReplyInteger(keys)
        }
    }

    /// `SLOTSDEL slot [slot …]` in O(keys of the slots): deletes them, replies what is left.
    static func slotsdel(_ server: Server, _ call: CommandCall) throws(CommandError) {
        var numbers: [Int] = []
        for index in 1..<call.arguments.count { numbers.append(try slot(call, index)) }
        for number in numbers {
            guard let slot = Slot(number) else { continue }
            while let key = server.keyspace.randomKey(in: call.database, slot: slot) {
                let wasThere = try ByteView.with(key) { key throws(CommandError) in
                    try server.change { () throws(KeyspaceError) in try server.keyspace.remove(key, in: call.database) }
                }
                guard wasThere else { break }
                call.dirty += 1
            }
        }
        call.reply.writeReplyArrayHeader(numbers.count)
        for number in numbers {
            call.reply.writeReplyArrayHeader(2)
            call.reply.writeReplyInteger(number)
            call.reply.writeReplyInteger(Slot(number).map { server.keyspace.counts(of: $0, in: call.database).keys } ?? 0)
        }
    }

    private static func slot(_ call: CommandCall, _ index: Int) throws(CommandError) -> Int {
        let given = try call.arguments.integer(at: index)
        let number = Int(Int32(truncatingIfNeeded: given))
        guard number >= 0, number < Slot.count else { throw .message("ERR invalid slot number = \(number)") }
        return number
    }
}
