// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import NIOCore
internal import SlotHash

/// The commands that move keys to another server, which the client waits for (Codis 2.0: `slots.c`).
enum SlotMigrationCommands {
    static let table: [Command] = [
        Command("slotsmgrt", arity: .exactly(5), flags: [.write, .admin], keys: .none, slotsmgrt),
        Command("slotsmgrtone", arity: .exactly(5), flags: [.write, .admin], keys: .none, slotsmgrtone),
        Command("slotsmgrtslot", arity: .exactly(5), flags: [.write, .admin], keys: .none, slotsmgrtslot),
        Command("slotsmgrttagone", arity: .exactly(5), flags: [.write, .admin], keys: .none, slotsmgrttagone),
        Command("slotsmgrttagslot", arity: .exactly(5), flags: [.write, .admin], keys: .none, slotsmgrttagslot),
    ]

    /// `SLOTSMGRTONE host port timeout-in-ms key`: 1 if the key was there and has moved, else 0.
    ///
    /// Like the others propagated as `DEL key …`.
    static func slotsmgrtone(_ server: Server, _ call: CommandCall) throws(CommandError) {
        try moveKey(server, call, movesTag: false)
    }

    /// `SLOTSMGRTTAGONE host port timeout-in-ms key`: the key, or all keys with its tag; how many have moved.
    static func slotsmgrttagone(_ server: Server, _ call: CommandCall) throws(CommandError) {
        try moveKey(server, call, movesTag: true)
    }

    /// `SLOTSMGRTSLOT host port timeout-in-ms slot`: some key of the slot; how many have moved, and how many are left.
    static func slotsmgrtslot(_ server: Server, _ call: CommandCall) throws(CommandError) {
        try moveFromSlot(server, call, movesTag: false, .movedAndLeft)
    }

    /// `SLOTSMGRTTAGSLOT host port timeout-in-ms slot`: some key of the slot, and all keys with its tag.
    static func slotsmgrttagslot(_ server: Server, _ call: CommandCall) throws(CommandError) {
        try moveFromSlot(server, call, movesTag: true, .movedAndLeft)
    }

    /// `SLOTSMGRT host port timeout-in-ms slot`: some key of the slot; how many are left.
    ///
    /// The form of Codis's tutorial, which no release of it has.
    static func slotsmgrt(_ server: Server, _ call: CommandCall) throws(CommandError) {
        try moveFromSlot(server, call, movesTag: false, .left)
    }

    private static func moveKey(_ server: Server, _ call: CommandCall, movesTag: Bool) throws(CommandError) {
        let timeout = try timeout(call)
        try start(server, call, timeout, .key(Array(call.arguments[4])), movesTag, .moved)
    }

    private static func moveFromSlot(
        _ server: Server,
        _ call: CommandCall,
        movesTag: Bool,
        _ form: SlotMove.ReplyForm
    ) throws(CommandError) {
        let timeout = try timeout(call)
        guard let slot = Slot(try SlotCommands.slot(call, 4)) else { return }
        try start(server, call, timeout, .slot(slot), movesTag, form)
    }

    private static func start(
        _ server: Server,
        _ call: CommandCall,
        _ timeout: TimeAmount,
        _ selection: SlotMove.Selection,
        _ movesTag: Bool,
        _ form: SlotMove.ReplyForm
    ) throws(CommandError) {
        guard server.canSuspend(call) else {
            throw .message("ERR \(call.command.name.uppercased()) is not possible within a transaction or script")
        }
        let move = SlotMove(
            address: TargetAddress(host: call.arguments[1], port: call.arguments[2]),
            timeout: timeout,
            database: call.database,
            selection: selection,
            movesTag: movesTag,
            form: form
        )
        server.callMove(move, call)
    }

    /// The third argument, in 32 bits as the original reads it; 0 means 100 ms.
    private static func timeout(_ call: CommandCall) throws(CommandError) -> TimeAmount {
        let milliseconds = Int32(truncatingIfNeeded: try call.arguments.integer(at: 3))
        guard milliseconds >= 0 else { throw .message("ERR invalid timeout = \(milliseconds)") }
        return .milliseconds(milliseconds == 0 ? 100 : Int64(milliseconds))
    }
}
