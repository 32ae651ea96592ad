// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import Keyspace
internal import RESP

/// The commands on sorted sets (Redis 2.8: `t_zset.c`).
///
/// Those on ranges are in `SortedSetCommands+Ranges.swift`, the unions and intersections in
/// `SortedSetCommands+Stores.swift`.
enum SortedSetCommands {
    static let table: [Command] = [
        Command("zadd", arity: .atLeast(4), flags: [.write, .denyOutOfMemory, .fast], keys: .first, zadd),
        Command("zcard", arity: .exactly(2), flags: [.readOnly, .fast], keys: .first, zcard),
        Command("zcount", arity: .exactly(4), flags: [.readOnly, .fast], keys: .first, zcount),
        Command("zincrby", arity: .exactly(4), flags: [.write, .denyOutOfMemory, .fast], keys: .first, zincrby),
        Command(
            "zinterstore",
            arity: .atLeast(4),
            flags: [.write, .denyOutOfMemory, .movableKeys],
            keys: .none,
            zinterstore
        ),
        Command("zlexcount", arity: .exactly(4), flags: [.readOnly, .fast], keys: .first, zlexcount),
        Command("zrange", arity: .atLeast(4), flags: [.readOnly], keys: .first, zrange),
        Command("zrangebylex", arity: .atLeast(4), flags: [.readOnly], keys: .first, zrangebylex),
        Command("zrangebyscore", arity: .atLeast(4), flags: [.readOnly], keys: .first, zrangebyscore),
        Command("zrank", arity: .exactly(3), flags: [.readOnly, .fast], keys: .first, zrank),
        Command("zrem", arity: .atLeast(3), flags: [.write, .fast], keys: .first, zrem),
        Command("zremrangebylex", arity: .exactly(4), flags: [.write], keys: .first, zremrangebylex),
        Command("zremrangebyrank", arity: .exactly(4), flags: [.write], keys: .first, zremrangebyrank),
        Command("zremrangebyscore", arity: .exactly(4), flags: [.write], keys: .first, zremrangebyscore),
        Command("zrevrange", arity: .atLeast(4), flags: [.readOnly], keys: .first, zrevrange),
        Command("zrevrangebylex", arity: .atLeast(4), flags: [.readOnly], keys: .first, zrevrangebylex),
        Command("zrevrangebyscore", arity: .atLeast(4), flags: [.readOnly], keys: .first, zrevrangebyscore),
        Command("zrevrank", arity: .exactly(3), flags: [.readOnly, .fast], keys: .first, zrevrank),
        Command("zscan", arity: .atLeast(3), flags: [.readOnly, .random], keys: .first, zscan),
        Command("zscore", arity: .exactly(3), flags: [.readOnly, .fast], keys: .first, zscore),
        Command(
            "zunionstore",
            arity: .atLeast(4),
            flags: [.write, .denyOutOfMemory, .movableKeys],
            keys: .none,
            zunionstore
        ),
    ]

    // MARK: Reading

    /// `ZCARD key` in O(1).
    static func zcard(_ server: Server, _ call: CommandCall) throws(CommandError) {
        call.reply.writeReplyInteger(try server.find(.sortedSet, 1, call, .read)?.count ?? 0)
    }

    /// `ZSCORE key member` in O(log n).
    static func zscore(_ server: Server, _ call: CommandCall) throws(CommandError) {
        guard let record = try server.find(.sortedSet, 1, call, .read),
            let score = server.keyspace.reader.score(of: call.arguments[2], in: record)
        else { return call.reply.writeReplyNullBulk() }
        call.reply.writeReplyBulk(score: score)
    }

    /// `ZRANK key member` in O(log n): how many members are before it.
    static func zrank(_ server: Server, _ call: CommandCall) throws(CommandError) {
        try writeRank(server, call, backwards: false)
    }

    /// `ZREVRANK key member` in O(log n): how many members are behind it.
    static func zrevrank(_ server: Server, _ call: CommandCall) throws(CommandError) {
        try writeRank(server, call, backwards: true)
    }

    private static func writeRank(
        _ server: Server,
        _ call: CommandCall,
        backwards: Bool
    ) throws(CommandError) {
        let member = call.arguments[2]
        guard let record = try server.find(.sortedSet, 1, call, .read),
            let score = server.keyspace.reader.score(of: member, in: record)
        else { return call.reply.writeReplyNullBulk() }
        let position = server.keyspace.reader.position(of: member, score: score, in: record)
        call.reply.writeReplyInteger(backwards ? record.count - 1 - position : position)
    }

    /// `ZSCAN key cursor [MATCH pattern] [COUNT count]` in O(count): members and scores.
    static func zscan(_ server: Server, _ call: CommandCall) throws(CommandError) {
        try server.scanElements(call, .sortedSet, width: 2) { element, reply in
            guard case .scored(let member, let score) = element else { return }
            server.writeReplyBulk(member, to: &reply)
            reply.writeReplyBulk(score: score)
        }
    }

    // MARK: Setting

    /// `ZADD key score member [score member …]` in O(members · log n): how many are new.
    static func zadd(_ server: Server, _ call: CommandCall) throws(CommandError) {
        if call.arguments.count == 4 {
            let score = try self.score(call, 2)
            let member = call.arguments[3]
            let change = try setScores(server, call, count: 1, increments: false) { _ in (score, member) }
            return call.reply.writeReplyInteger(change.added)
        }
        guard call.arguments.count % 2 == 0 else { throw .syntax }
        // All of them are looked at before anything is changed.
        var scores: [Double] = []
        scores.reserveCapacity(call.arguments.count / 2)
        for index in stride(from: 2, to: call.arguments.count, by: 2) { scores.append(try score(call, index)) }
        let change = try setScores(server, call, count: scores.count, increments: false) {
            (scores[$0], call.arguments[3 + 2 * $0])
        }
        call.reply.writeReplyInteger(change.added)
    }

    /// `ZINCRBY key increment member` in O(log n): the new score.
    ///
    /// It is replayed as it is: the same sum comes out.
    static func zincrby(_ server: Server, _ call: CommandCall) throws(CommandError) {
        let score = try self.score(call, 2)
        let member = call.arguments[3]
        let change = try setScores(server, call, count: 1, increments: true) { _ in (score, member) }
        call.reply.writeReplyBulk(score: change.score)
    }

    private static func score(_ call: CommandCall, _ index: Int) throws(CommandError) -> Double {
        guard let score = Score.parse(call.arguments[index]) else { throw .notAFloat }
        return score
    }

    @inline(__always)
    private static func setScores(
        _ server: Server,
        _ call: CommandCall,
        count: Int,
        increments: Bool,
        _ pair: (Int) -> (score: Double, member: ByteView)
    ) throws(CommandError) -> SortedSetChange {
        _ = try server.find(.sortedSet, 1, call, .write)
        let change = try server.change { keyspace throws(KeyspaceError) in
            try keyspace.setScores(
                call.arguments[1],
                in: call.database,
                count: count,
                increments: increments,
                limits: server.sortedSetLimits,
                pair
            )
        }
        if change.isNotANumber { throw .message("ERR resulting score is not a number (NaN)") }
        if change.added + change.updated > 0 {
            call.dirty += change.added + change.updated
            server.notify(.sortedSet, increments ? "zincr" : "zadd", call.arguments[1], call)
        }
        return change
    }

    // MARK: Deleting

    /// `ZREM key member [member …]` in O(members · log n): how many there were.
    static func zrem(_ server: Server, _ call: CommandCall) throws(CommandError) {
        guard let record = try server.find(.sortedSet, 1, call, .write) else { return call.reply.writeReplyZero() }
        let before = record.count
        let removed = try server.change { keyspace throws(KeyspaceError) in
            try keyspace.removeScored(call.arguments[1], in: call.database, count: call.arguments.count - 2) {
                call.arguments[2 + $0]
            }
        }
        wasRemoved(server, call, removed, of: before, "zrem")
        call.reply.writeReplyInteger(removed)
    }

    /// Marks that `removed` of `before` members have gone.
    static func wasRemoved(
        _ server: Server,
        _ call: CommandCall,
        _ removed: Int,
        of before: Int,
        _ event: StaticString
    ) {
        guard removed > 0 else { return }
        call.dirty += removed
        server.notify(.sortedSet, event, call.arguments[1], call)
        if removed == before { server.notify(.generic, "del", call.arguments[1], call) }
    }
}

extension Server {
    /// What a sorted set may have as a ziplist.
    @inline(__always)
    var sortedSetLimits: EncodingLimits {
        EncodingLimits(entries: config.zsetMaximumZiplistEntries, bytes: config.zsetMaximumZiplistValue)
    }
}
