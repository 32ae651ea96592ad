// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes

/// The commands of a server by name, in any case.
///
/// Look-up is open addressing over the lower-cased name, held as two words: no text is made and nothing allocated.
@safe
final class CommandTable {
    /// All rows of all families.
    static let families: [[Command]] = [
        StringCommands.table, BitCommands.table, ListCommands.table, SortCommand.table, HashCommands.table,
        SetCommands.table, SetAlgebraCommands.table, SortedSetCommands.table, KeyCommands.table, ExpireCommands.table,
        ScanCommands.table, ObjectCommand.table, DumpCommands.table,
        ConnectionCommands.table, ServerCommands.table, ClientCommand.table, ConfigCommand.table,
        IntrospectionCommands.table, DebugCommand.table, SlotCommands.table, InfoCommand.table,
        ReplicationCommands.table, TransactionCommands.table, PubSubCommands.table, BlockingCommands.table,
        HyperLogLogCommands.table, MigrateCommand.table, ScriptCommands.table, SlotRestoreCommands.table,
        SlotMigrationCommands.table, AsyncRestoreCommands.table, AsyncMigrationCommands.table,
        ExecWrapperCommand.table,
    ]

    /// The rows, each at the index that it has as its number.
    let rows: [Command]

    private var entries: UnsafeMutablePointer<Entry>
    private static let entryCount = 1024

    /// Names longer than 16 bytes in lower case, with the numbers of their rows: too few for a better search than one
    /// after the other, whose first comparison is that of the lengths.
    private var longNames: [(name: [UInt8], row: Int)] = []

    private struct Entry {
        var name = Name(low: 0, high: 0, count: -1)
        var command: Lent<Command>?
    }

    /// A name of up to 16 bytes: its first eight and its last eight, or what there is.
    private struct Name: Equatable {
        var low: UInt64
        var high: UInt64
        var count: Int

        @inline(__always)
        var hash: Int {
            let mixed = (low ^ high &* 0x9E37_79B9_7F4A_7C15) &* 0xD6E8_FEB8_6659_FD93
            return Int(truncatingIfNeeded: mixed >> 40) & (CommandTable.entryCount - 1)
        }
    }

    init(_ commands: [Command] = families.flatMap { $0 }) {
        rows = commands.enumerated().map { Command($1, row: $0) }
        unsafe entries = .allocate(capacity: CommandTable.entryCount)
        unsafe entries.initialize(repeating: Entry(), count: CommandTable.entryCount)
        for row in rows { insert(Array(row.name.utf8), row) }
    }

    deinit {
        unsafe entries.deallocate()
    }

    /// The command called `name`, if there is one; it lives as long as the table.
    @inline(__always)
    func lookUp(_ name: ByteView) -> Lent<Command>? {
        guard let key = CommandTable.key(name) else { return findLong(name) }
        var index = key.hash
        // Every table has empty entries, where the search ends.
        while true {
            let entry = unsafe entries + index
            if unsafe entry.pointee.name == key { return unsafe entry.pointee.command }
            if unsafe entry.pointee.name.count < 0 { return nil }
            index = (index + 1) & (CommandTable.entryCount - 1)
        }
    }

    /// The command called `name`, if there is one.
    func find(_ name: ByteView) -> Command? { lookUp(name)?.object }

    /// The command called `name`, if there is one.
    func find(_ name: String) -> Command? { ByteView.with(name) { find($0) } }

    /// Gives the command `name` another name, or none if it is empty; false if there is no such command, or the new
    /// name is taken.
    func rename(_ name: String, to newName: String) -> Bool {
        guard let command = find(name) else { return false }
        guard newName.isEmpty || find(newName) == nil else { return false }
        remove(Array(name.utf8))
        if !newName.isEmpty { insert(Array(newName.utf8), command) }
        return true
    }

    // MARK: Names

    private func findLong(_ name: ByteView) -> Lent<Command>? {
        let count = name.count
        // Those of a family differ in their last bytes.
        search: for entry in longNames where entry.name.count == count {
            var index = count
            while index > 0 {
                index -= 1
                if CommandTable.folded(name[index]) != entry.name[index] { continue search }
            }
            return Lent(rows[entry.row])
        }
        return nil
    }

    private func insert(_ name: [UInt8], _ command: Command) {
        guard let key = ByteView.with(name, { CommandTable.key($0) }) else {
            longNames.append((name.map(CommandTable.folded), command.row))
            return
        }
        var index = key.hash
        // There are far fewer commands than entries.
        while unsafe entries[index].name.count >= 0 { index = (index + 1) & (CommandTable.entryCount - 1) }
        unsafe entries[index].name = key
        unsafe entries[index].command = Lent(command)
    }

    private func remove(_ name: [UInt8]) {
        guard let key = ByteView.with(name, { CommandTable.key($0) }) else {
            longNames.removeAll { $0.name == name.map(CommandTable.folded) }
            return
        }
        var index = key.hash
        while unsafe entries[index].name != key { index = (index + 1) & (CommandTable.entryCount - 1) }
        // The name stays as a mark, so that what was put behind it is still found; its command is gone.
        unsafe entries[index].command = nil
        unsafe entries[index].name.count = Int.max
    }

    private static func folded(_ byte: UInt8) -> UInt8 { byte >= 65 && byte <= 90 ? byte | 0x20 : byte }

    /// The name in lower case as two words; nil if it has more than 16 bytes.
    @inline(__always)
    private static func key(_ name: ByteView) -> Name? {
        let count = name.count
        guard count <= 16 else { return nil }
        guard count > 0 else { return Name(low: 0, high: 0, count: 0) }
        // All loads lie within `count` bytes.
        let base = unsafe name.rawBuffer.baseAddress.unsafelyUnwrapped
        var low: UInt64 = 0
        var high: UInt64 = 0
        if count >= 8 {
            low = unsafe base.loadUnaligned(as: UInt64.self)
            high = unsafe base.loadUnaligned(fromByteOffset: count - 8, as: UInt64.self)
        } else if count >= 4 {
            low = UInt64(unsafe base.loadUnaligned(as: UInt32.self))
            high = UInt64(unsafe base.loadUnaligned(fromByteOffset: count - 4, as: UInt32.self))
        } else {
            low = UInt64(name[0]) | UInt64(name[count / 2]) << 8 | UInt64(name[count - 1]) << 16
        }
        return Name(low: lowercased(low), high: lowercased(high), count: count)
    }

    /// The eight bytes of `word` with A–Z turned to a–z.
    @inline(__always)
    private static func lowercased(_ word: UInt64) -> UInt64 {
        let sevenBits = word & 0x7F7F_7F7F_7F7F_7F7F
        let isAboveZ = sevenBits &+ 0x2525_2525_2525_2525
        let isFromA = sevenBits &+ 0x3F3F_3F3F_3F3F_3F3F
        let isUpper = ~word & 0x8080_8080_8080_8080 & (isFromA ^ isAboveZ)
        return word | isUpper >> 2
    }
}
