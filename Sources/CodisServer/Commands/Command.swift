// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

/// One row of the command table: the whole truth about a command (Redis 2.8: `redis.c`, redisCommandTable).
///
/// The rows of a family of commands stand at the head of its file, and ``CommandTable`` gathers them.
final class Command: Sendable {
    /// What runs a command: it parses, finds, changes, marks and replies, in this order.
    typealias Function = @Sendable (Server, CommandCall) throws(CommandError) -> Void

    /// The name in lower case, under which the command is propagated even when a client calls it by another.
    let name: String
    /// How many arguments it takes, its name included.
    let arity: Arity
    /// When and how it may run.
    let flags: CommandFlags
    /// Which arguments are keys.
    let keys: KeyPositions
    /// Where the keys are that it names, however it names them.
    let keyRule: KeyRule
    /// Which arguments are names of elements of the first key's value: fields or members.
    let elements: KeyPositions
    let function: Function
    /// The number of the row in the table, where statistics are kept.
    let row: Int

    /// A row of a table.
    init(
        _ name: String,
        arity: Arity,
        flags: CommandFlags,
        keys: KeyPositions,
        _ function: @escaping Function
    ) {
        self.name = name
        self.arity = arity
        self.flags = flags
        self.keys = keys
        keyRule = KeyRule(name, keys)
        elements = KeyPositions.elements(of: name)
        self.function = function
        row = 0
    }

    /// Whether who has not given the password yet may call it.
    var isAuthentication: Bool { name == "auth" || name == "slotsrestore-async-auth" }

    /// The same command as row `row`.
    init(_ command: Command, row: Int) {
        name = command.name
        arity = command.arity
        flags = command.flags
        keys = command.keys
        keyRule = command.keyRule
        elements = command.elements
        function = command.function
        self.row = row
    }
}

/// How many arguments a command takes, its name included; a negative number is a minimum.
struct Arity: Equatable, Sendable {
    /// The number as COMMAND tells it.
    let number: Int

    static func exactly(_ count: Int) -> Arity { Arity(number: count) }
    static func atLeast(_ count: Int) -> Arity { Arity(number: -count) }

    /// Whether so many arguments will do.
    @inline(__always)
    func accepts(_ count: Int) -> Bool { number > 0 ? count == number : count >= -number }
}

/// When and how a command may run, in the order in which COMMAND lists the flags.
struct CommandFlags: OptionSet, Sendable {
    let rawValue: UInt16

    /// May change the keyspace.
    static let write = CommandFlags(rawValue: 1 << 0)
    /// Reads the keyspace, and never changes it.
    static let readOnly = CommandFlags(rawValue: 1 << 1)
    /// May make the data grow, and is refused when there is no room.
    static let denyOutOfMemory = CommandFlags(rawValue: 1 << 2)
    /// For the operator: not shown by MONITOR.
    static let admin = CommandFlags(rawValue: 1 << 3)
    /// Belongs to publish and subscribe.
    static let pubSub = CommandFlags(rawValue: 1 << 4)
    /// Not for scripts.
    static let noScript = CommandFlags(rawValue: 1 << 5)
    /// Has results that a replica would not get: writes must not follow in a script.
    static let random = CommandFlags(rawValue: 1 << 6)
    /// Has output that scripts sort.
    static let sortForScript = CommandFlags(rawValue: 1 << 7)
    /// Runs while data are loaded.
    static let loading = CommandFlags(rawValue: 1 << 8)
    /// Runs on a replica which has lost its master and must not serve stale data.
    static let stale = CommandFlags(rawValue: 1 << 9)
    /// Not shown by MONITOR.
    static let skipMonitor = CommandFlags(rawValue: 1 << 10)
    /// O(1) or O(log n).
    static let fast = CommandFlags(rawValue: 1 << 11)
    /// Has keys that ``KeyPositions`` cannot tell.
    static let movableKeys = CommandFlags(rawValue: 1 << 12)

    /// The names that COMMAND gives them.
    static let names: [(CommandFlags, StaticString)] = [
        (.write, "write"), (.readOnly, "readonly"), (.denyOutOfMemory, "denyoom"), (.admin, "admin"),
        (.pubSub, "pubsub"), (.noScript, "noscript"), (.random, "random"), (.sortForScript, "sort_for_script"),
        (.loading, "loading"), (.stale, "stale"), (.skipMonitor, "skip_monitor"), (.fast, "fast"),
        (.movableKeys, "movablekeys"),
    ]
}

/// Which arguments of a command are keys.
struct KeyPositions: Equatable, Sendable {
    /// The index of the first key, 0 if there is none.
    let first: Int
    /// The index of the last; -1 is the last argument, -2 the one before it.
    let last: Int
    /// How far a key is from the next.
    let step: Int

    static let none = KeyPositions(first: 0, last: 0, step: 0)
    static let first = KeyPositions(first: 1, last: 1, step: 1)
    static let firstTwo = KeyPositions(first: 1, last: 2, step: 1)
    static let all = KeyPositions(first: 1, last: -1, step: 1)
    static let everySecond = KeyPositions(first: 1, last: -1, step: 2)
    static func from(_ first: Int) -> KeyPositions { KeyPositions(first: first, last: -1, step: 1) }
    static func range(_ first: Int, _ last: Int, _ step: Int) -> KeyPositions {
        KeyPositions(first: first, last: last, step: step)
    }

    /// Where the command names elements of its key's value that it will look up one by one.
    static func elements(of command: String) -> KeyPositions {
        switch command {
        case "hget", "hset", "hsetnx", "hexists", "hincrby", "hincrbyfloat", "sismember", "zscore", "zrank",
            "zrevrank":
            range(2, 2, 1)
        case "hmget", "hdel", "sadd", "srem", "zrem": from(2)
        case "hmset": range(2, -2, 2)
        case "zadd": range(3, -1, 2)
        case "zincrby": range(3, 3, 1)
        default: none
        }
    }
}
