// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import Keyspace
internal import NIOCore
internal import RESP

/// How a command with very many arguments is done in parts, each a command of its own to log and replicas.
struct CommandParts {
    /// What the whole command replies.
    enum Reply {
        /// OK.
        case ok
        /// 1.
        case one
        /// The sum of what the parts reply.
        case sum
        /// What the last part replies.
        case last
    }

    /// The first argument that may go into another part; those before it go into each.
    let first: Int
    /// How many arguments belong together.
    let width: Int
    let reply: Reply

    /// The commands that take any number of elements and change each by itself.
    static let table: [String: CommandParts] = [
        "del": CommandParts(first: 1, width: 1, reply: .sum),
        "hdel": CommandParts(first: 2, width: 1, reply: .sum),
        "hmset": CommandParts(first: 2, width: 2, reply: .ok),
        "lpush": CommandParts(first: 2, width: 1, reply: .last),
        "mset": CommandParts(first: 1, width: 2, reply: .ok),
        "msetnx": CommandParts(first: 1, width: 2, reply: .one),
        "rpush": CommandParts(first: 2, width: 1, reply: .last),
        "sadd": CommandParts(first: 2, width: 1, reply: .sum),
        "srem": CommandParts(first: 2, width: 1, reply: .sum),
        "zadd": CommandParts(first: 2, width: 2, reply: .sum),
        "zrem": CommandParts(first: 2, width: 1, reply: .sum),
    ]

    /// The row of MSET.
    static let mset = StringCommands.table.first { $0.name == "mset" }

    /// More arguments, or more bytes of them, are done in parts: those of a part change no more than about 20,000
    /// pages.
    static let mostArguments = 4096
    static let mostBytes = 16 << 20
}

/// Commands with more arguments than one transaction of the tree can take for certain.
///
/// LMDB keeps a list of at most 131,071 changed pages, and in a large value each element may change several. So such a
/// command is done in parts, and between two of them the tree may be committed. All parts are in one frame of the log
/// as long as that does not happen; if it does and the server ends in the middle of the command, which was not answered
/// then, a part of it is done.
extension Server {
    /// Whether a command with these arguments is done in parts.
    @inline(__always)
    func isLarge(_ call: CommandCall) -> Bool {
        call.arguments.count > CommandParts.mostArguments || call.request.count > CommandParts.mostBytes
    }

    /// Runs the function of a command that is large.
    func callLarge(_ command: Command, _ call: CommandCall) throws(CommandError) {
        // What is replayed had its parts when it was first run.
        guard let parts = CommandParts.table[command.name], !isLoading, !isReplica,
            canSplit(parts, command, call)
        else {
            return try command.function(self, call)
        }
        if command.name == "msetnx" {
            // Once it is known that it does something, it does what MSET does.
            for index in stride(from: 1, to: call.arguments.count, by: 2)
            where lookupWrite(call.arguments[index], call) != nil {
                return call.reply.writeReplyZero()
            }
            return try runInParts(CommandParts.mset ?? command, call, parts)
        }
        try runInParts(command, call, parts)
    }

    /// Whether the arguments are such that no part is refused for its own; if not, the command is refused as a whole.
    private func canSplit(_ parts: CommandParts, _ command: Command, _ call: CommandCall) -> Bool {
        guard (call.arguments.count - parts.first) % parts.width == 0 else { return false }
        guard command.name == "zadd" else { return true }
        return stride(from: parts.first, to: call.arguments.count, by: 2).allSatisfy {
            Score.parse(call.arguments[$0]) != nil
        }
    }

    private func runInParts(
        _ command: Command,
        _ call: CommandCall,
        _ parts: CommandParts
    ) throws(CommandError) {
        let all = (0..<call.arguments.count).map { call.arguments[$0] }
        let replyStart = call.reply.writerIndex
        var total = (dirty: 0, sum: Int64(0), last: Int64(0))
        defer {
            call.arguments.take(all)
            call.dirty = total.dirty
            call.isPropagated = true
        }
        call.request = ByteView()
        var index = parts.first
        while index < all.count {
            let end = endOfPart(from: index, all, parts)
            if index > parts.first { try makeRoom(for: all[index..<end], command) }
            if !effects.isInUnit { commandStart = (effects.offset, effects.selected) }
            call.arguments.take(Array(all[..<parts.first] + all[index..<end]))
            call.dirty = 0
            call.isPropagated = false
            try command.function(self, call)
            if call.dirty != 0 {
                total.dirty += call.dirty
                if !call.isPropagated { effects.append(call.arguments, name: command.name, database: call.database) }
            }
            total.last = integerReply(call, from: replyStart)
            total.sum += total.last
            index = end
        }
        switch parts.reply {
        case .one: call.reply.writeReplyOne()
        case .ok: call.reply.writeReplyOK()
        case .sum: call.reply.writeReplyInteger(total.sum)
        case .last: call.reply.writeReplyInteger(total.last)
        }
    }

    private func endOfPart(from start: Int, _ all: [ByteView], _ parts: CommandParts) -> Int {
        var end = start
        var bytes = 0
        while end < all.count, end - start < CommandParts.mostArguments, bytes < CommandParts.mostBytes {
            for index in end..<(end + parts.width) { bytes += all[index].count }
            end += parts.width
        }
        return end
    }

    /// Takes the number that a part has replied out of the reply; 0 if it was none.
    private func integerReply(_ call: CommandCall, from start: Int) -> Int64 {
        let bytes = call.reply.getBytes(at: start, length: call.reply.writerIndex - start) ?? []
        call.reply.moveWriterIndex(to: start)
        guard bytes.first == UInt8(ascii: ":") else { return 0 }
        return Int64(String(decoding: bytes.dropFirst().dropLast(2), as: UTF8.self)) ?? 0
    }

    /// Has the disk and the tree take the next part, or throws why they cannot.
    private func makeRoom(for arguments: ArraySlice<ByteView>, _ command: Command) throws(CommandError) {
        let bytes = arguments.reduce(0) { $0 + $1.count }
        let hasRoom =
            command.flags.contains(.denyOutOfMemory)
            ? keyspace.ensureRoom(bytes: bytes + 32 * arguments.count)
            : keyspace.ensureRoomForDelete(rows: arguments.count)
        guard hasRoom else { throw .outOfSpace }
        if effects.isInUnit {
            guard unitHasRoom(bytes: bytes) else {
                throw .message(
                    "ERR The transaction or script has changed too much to be written as one: a part of this command "
                        + "was not done. Split it into smaller ones."
                )
            }
        } else if keyspace.commitIsDue {
            writeFrameInTick()
            commandStart = (effects.offset, effects.selected)
            try change { keyspace throws(KeyspaceError) in try commitUnderPressure() }
        }
    }
}
