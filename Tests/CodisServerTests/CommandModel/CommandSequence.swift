// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

/// Commands, and what else happens to a server, as any bytes tell them.
///
/// Each step takes a few bytes, so a small change of the bytes is a small change of the sequence; where the bytes end,
/// so does the sequence.
struct CommandSequence {
    enum Step: Equatable {
        case command(name: String, arguments: [[UInt8]])
        /// The server ends and comes back.
        case restart
        case checkpoint
        case reclaim
    }

    private let bytes: [UInt8]
    private var position = 0

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    /// The next step, nil at the end.
    mutating func next() -> Step? {
        guard position < bytes.count else { return nil }
        let kind = Int(byte())
        switch kind {
        case 255: return .restart
        case 254, 253: return .checkpoint
        case 252, 251: return .reclaim
        case 250: return .command(name: "FLUSHALL", arguments: [])
        default:
            let name = Self.names[kind % Self.names.count]
            return .command(name: name, arguments: arguments(of: name))
        }
    }

    private static let names = [
        "SET", "APPEND", "SETRANGE", "GETRANGE", "SETBIT", "BITCOUNT", "STRLEN", "GET", "GETSET", "SETNX", "LPUSH",
        "RPUSH", "LPOP", "RPOP", "RPOPLPUSH", "LLEN", "LINDEX", "LRANGE", "LSET", "LINSERT", "LREM", "LTRIM", "HSET",
        "HSETNX", "HMSET", "HGET", "HDEL", "HLEN", "HGETALL", "SADD", "SREM", "SISMEMBER", "SCARD", "SMEMBERS",
        "SUNIONSTORE", "SINTERSTORE", "SDIFFSTORE", "ZADD", "ZINCRBY", "ZREM", "ZSCORE", "ZCARD", "ZRANK", "ZRANGE",
        "ZCOUNT", "ZREMRANGEBYRANK", "DEL", "EXISTS", "EXPIRE", "PERSIST", "RENAME", "DBSIZE",
    ]

    // MARK: Bytes

    private mutating func byte() -> UInt8 {
        guard position < bytes.count else { return 0 }
        position += 1
        return bytes[position - 1]
    }

    /// A key of the type that `name` is for, mostly.
    private mutating func key(_ name: String) -> [UInt8] {
        let byte = byte()
        // Keys of another type, and one too long to stand in a row of the tree.
        if byte >= 248 { return Array("SLHZK".utf8)[Int(byte) % 5...Int(byte) % 5] + [0x30] }
        if byte >= 240 { return [UInt8](repeating: name.utf8.first ?? 0, count: 600) }
        let family: UInt8 =
            switch name.utf8.first {
            case UInt8(ascii: "H"), UInt8(ascii: "L"), UInt8(ascii: "Z"): name.utf8.first ?? 0
            case UInt8(ascii: "R"): UInt8(ascii: name == "RENAME" ? "K" : "L")
            case UInt8(ascii: "S") where name.hasPrefix("SE") || name.hasPrefix("ST"): UInt8(ascii: "K")
            case UInt8(ascii: "S"): UInt8(ascii: "S")
            default: Array("SLHZK".utf8)[Int(byte >> 2) % 5]
            }
        return [family, 0x30 + byte & 3]
    }

    private static let lengths = [0, 1, 3, 10, 63, 64, 65, 200, 476, 477, 900, 1400, 1990, 2100, 4080, 9000]

    private mutating func value() -> [UInt8] {
        let byte = byte()
        // Few different ones, so that they meet again.
        if byte < 160 { return Array("\(byte % 40)".utf8) }
        return [UInt8](repeating: 0x61 + byte & 3, count: Self.lengths[Int(byte >> 2) % 16])
    }

    private mutating func position(_ most: Int = 60) -> [UInt8] {
        Array("\(Int(Int8(bitPattern: byte())) * most / 128)".utf8)
    }

    private mutating func values() -> [[UInt8]] {
        let byte = byte()
        // A run of values follows from one byte, so that a value outgrows its row within few bytes.
        if byte >= 192 {
            let first = Int(self.byte())
            return (0..<(Int(byte) - 180) * 4).map { Array("\(first + $0) \(byte)".utf8) }
        }
        return (0...Int(byte % 4)).map { _ in value() }
    }

    private mutating func score() -> [UInt8] {
        let byte = byte()
        return Array((byte & 1 == 0 ? "\(Int(byte / 2) - 60)" : "\(Int(byte / 2) - 60).5").utf8)
    }

    private mutating func arguments(of name: String) -> [[UInt8]] {
        switch name {
        case "DBSIZE": return []
        case "GET", "STRLEN", "BITCOUNT", "LPOP", "RPOP", "LLEN", "HLEN", "HGETALL", "SCARD", "SMEMBERS", "ZCARD",
            "DEL", "EXISTS", "PERSIST":
            return [key(name)]
        case "EXPIRE": return [key(name), Array("100000".utf8)]
        case "SET", "APPEND", "GETSET", "SETNX", "SISMEMBER", "HGET", "ZSCORE", "ZRANK": return [key(name), value()]
        case "SETRANGE": return [key(name), Array("\(Int(byte()) * 40)".utf8), value()]
        case "SETBIT": return [key(name), Array("\(Int(byte()) * 300)".utf8), [0x30 + byte() & 1]]
        case "GETRANGE": return [key(name), position(3000), position(3000)]
        case "LRANGE", "LTRIM", "ZREMRANGEBYRANK", "ZRANGE":
            let range = [key(name), position(), position()]
            return name == "ZRANGE" ? range + [Array("WITHSCORES".utf8)] : range
        case "ZCOUNT": return [key(name), position(), position()]
        case "LINDEX": return [key(name), position()]
        case "LSET": return [key(name), position(), value()]
        case "LREM": return [key(name), position(4), value()]
        case "LINSERT": return [key(name), Array((byte() & 1 == 0 ? "BEFORE" : "AFTER").utf8), value(), value()]
        case "LPUSH", "RPUSH", "SADD", "SREM", "HDEL", "ZREM": return [key(name)] + values()
        case "HSET", "HSETNX": return [key(name), value(), value()]
        case "HMSET": return [key(name)] + values().flatMap { [$0, value()] }
        case "ZADD": return [key(name)] + values().flatMap { [score(), $0] }
        case "ZINCRBY": return [key(name), score(), value()]
        case "RPOPLPUSH": return [key(name), key(name)]
        case "RENAME":
            let (from, to) = (key(name), key(name))
            return from == to ? [from, to + [0x78]] : [from, to]
        default: return (0...Int(byte() % 3) + 1).map { _ in key(name) }
        }
    }
}
