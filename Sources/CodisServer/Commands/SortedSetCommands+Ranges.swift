// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import Keyspace
internal import RESP

/// The commands on ranges of sorted sets: by position, by score, and by member.
///
/// Each finds the positions first, in O(log n), and the rest in O(members of the range).
extension SortedSetCommands {
    // MARK: By position

    /// `ZRANGE key start stop [WITHSCORES]` in O(log n + members).
    static func zrange(_ server: Server, _ call: CommandCall) throws(CommandError) {
        try writeRange(server, call, backwards: false)
    }

    /// `ZREVRANGE key start stop [WITHSCORES]` in O(log n + members): positions count from the end.
    static func zrevrange(_ server: Server, _ call: CommandCall) throws(CommandError) {
        try writeRange(server, call, backwards: true)
    }

    private static func writeRange(
        _ server: Server,
        _ call: CommandCall,
        backwards: Bool
    ) throws(CommandError) {
        let start = try call.arguments.integer(at: 2)
        let stop = try call.arguments.integer(at: 3)
        let withScores = call.arguments.count > 4
        if withScores {
            guard call.arguments.count == 5, call.arguments[4].equalsIgnoringCase("withscores") else { throw .syntax }
        }
        guard let record = try server.find(.sortedSet, 1, call, .read) else {
            return call.reply.writeReplyEmptyArray()
        }
        let range = positions(start, stop, count: record.count)
        let from = backwards ? record.count - 1 - range.lowerBound : range.lowerBound
        write(server, call, record, from: from, count: range.count, backwards: backwards, withScores: withScores)
    }

    /// The positions from `start` to `stop`, both included, negative ones from the end, cut to what there is.
    private static func positions(_ start: Int64, _ stop: Int64, count: Int) -> Range<Int> {
        let count = Int64(count)
        let first = max(0, start < 0 ? start + count : start)
        let last = min(count - 1, stop < 0 ? stop + count : stop)
        return first > last ? 0..<0 : Int(first)..<Int(last) + 1
    }

    /// Replies `count` members from position `from` on.
    private static func write(
        _ server: Server,
        _ call: CommandCall,
        _ record: Record,
        from: Int,
        count: Int,
        backwards: Bool,
        withScores: Bool
    ) {
        guard count > 0 else { return call.reply.writeReplyEmptyArray() }
        call.reply.writeReplyArrayHeader(withScores ? 2 * count : count)
        var left = count
        server.keyspace.reader.forEachScored(of: record, from: from, backwards: backwards) { member, score in
            server.writeReplyBulk(member, to: call)
            if withScores { call.reply.writeReplyBulk(score: score) }
            left -= 1
            return left > 0
        }
    }

    /// `ZREMRANGEBYRANK key start stop` in O(log n + members): how many there were.
    static func zremrangebyrank(_ server: Server, _ call: CommandCall) throws(CommandError) {
        let start = try call.arguments.integer(at: 2)
        let stop = try call.arguments.integer(at: 3)
        try remove(server, call, "zremrangebyrank") { record in positions(start, stop, count: record.count) }
    }

    private static func remove(
        _ server: Server,
        _ call: CommandCall,
        _ event: StaticString,
        _ positions: (Record) -> Range<Int>
    ) throws(CommandError) {
        guard let record = try server.find(.sortedSet, 1, call, .write) else { return call.reply.writeReplyZero() }
        let before = record.count
        let range = positions(record)
        try server.change { keyspace throws(KeyspaceError) in
            try keyspace.removeScored(call.arguments[1], in: call.database, positions: range)
        }
        wasRemoved(server, call, range.count, of: before, event)
        call.reply.writeReplyInteger(range.count)
    }

    // MARK: By score

    /// `ZCOUNT key min max` in O(log n).
    static func zcount(_ server: Server, _ call: CommandCall) throws(CommandError) {
        let range = try scores(call, 2, 3)
        guard let record = try server.find(.sortedSet, 1, call, .read) else { return call.reply.writeReplyZero() }
        call.reply.writeReplyInteger(server.keyspace.reader.positions(of: range, in: record).count)
    }

    /// `ZRANGEBYSCORE key min max [WITHSCORES] [LIMIT offset count]` in O(log n + members).
    static func zrangebyscore(_ server: Server, _ call: CommandCall) throws(CommandError) {
        let range = try scores(call, 2, 3)
        let options = try RangeOptions(call.arguments, takesScores: true)
        try writeRange(server, call, options, backwards: false) { record in
            server.keyspace.reader.positions(of: range, in: record)
        }
    }

    /// `ZREVRANGEBYSCORE key max min [WITHSCORES] [LIMIT offset count]` in O(log n + members), from the highest on.
    static func zrevrangebyscore(_ server: Server, _ call: CommandCall) throws(CommandError) {
        let range = try scores(call, 3, 2)
        let options = try RangeOptions(call.arguments, takesScores: true)
        try writeRange(server, call, options, backwards: true) { record in
            server.keyspace.reader.positions(of: range, in: record)
        }
    }

    /// `ZREMRANGEBYSCORE key min max` in O(log n + members): how many there were.
    static func zremrangebyscore(_ server: Server, _ call: CommandCall) throws(CommandError) {
        let range = try scores(call, 2, 3)
        try remove(server, call, "zremrangebyscore") { record in
            server.keyspace.reader.positions(of: range, in: record)
        }
    }

    /// The range of scores whose ends are at two indices of the arguments; `(` before one leaves it out.
    private static func scores(_ call: CommandCall, _ low: Int, _ high: Int) throws(CommandError) -> ScoreRange {
        let lowest = call.arguments[low]
        let highest = call.arguments[high]
        let excludesLowest = lowest.count > 0 && lowest[0] == UInt8(ascii: "(")
        let excludesHighest = highest.count > 0 && highest[0] == UInt8(ascii: "(")
        guard let minimum = Score.parseBound(lowest.dropFirst(excludesLowest ? 1 : 0)),
            let maximum = Score.parseBound(highest.dropFirst(excludesHighest ? 1 : 0))
        else { throw .message("ERR min or max is not a float") }
        var range = ScoreRange(minimum, maximum)
        range.excludesMinimum = excludesLowest
        range.excludesMaximum = excludesHighest
        return range
    }

    /// Replies what is left of a range after LIMIT.
    private static func writeRange(
        _ server: Server,
        _ call: CommandCall,
        _ options: RangeOptions,
        backwards: Bool,
        _ positions: (Record) -> Range<Int>
    ) throws(CommandError) {
        guard let record = try server.find(.sortedSet, 1, call, .read) else {
            return call.reply.writeReplyEmptyArray()
        }
        let range = positions(record)
        guard options.offset >= 0, options.offset < range.count else { return call.reply.writeReplyEmptyArray() }
        let offset = Int(options.offset)
        let rest = range.count - offset
        write(
            server,
            call,
            record,
            from: backwards ? range.upperBound - 1 - offset : range.lowerBound + offset,
            count: options.count < 0 ? rest : Int(min(Int64(rest), options.count)),
            backwards: backwards,
            withScores: options.withScores
        )
    }

    // MARK: By member

    /// `ZLEXCOUNT key min max` in O(log n).
    static func zlexcount(_ server: Server, _ call: CommandCall) throws(CommandError) {
        let (first, last) = try members(call, 2, 3)
        guard let record = try server.find(.sortedSet, 1, call, .read) else { return call.reply.writeReplyZero() }
        call.reply.writeReplyInteger(server.keyspace.reader.positions(from: first, to: last, in: record).count)
    }

    /// `ZRANGEBYLEX key min max [LIMIT offset count]` in O(log n + members).
    static func zrangebylex(_ server: Server, _ call: CommandCall) throws(CommandError) {
        let (first, last) = try members(call, 2, 3)
        let options = try RangeOptions(call.arguments, takesScores: false)
        try writeRange(server, call, options, backwards: false) { record in
            server.keyspace.reader.positions(from: first, to: last, in: record)
        }
    }

    /// `ZREVRANGEBYLEX key max min [LIMIT offset count]` in O(log n + members), from the greatest on.
    static func zrevrangebylex(_ server: Server, _ call: CommandCall) throws(CommandError) {
        let (first, last) = try members(call, 3, 2)
        let options = try RangeOptions(call.arguments, takesScores: false)
        try writeRange(server, call, options, backwards: true) { record in
            server.keyspace.reader.positions(from: first, to: last, in: record)
        }
    }

    /// `ZREMRANGEBYLEX key min max` in O(log n + members): how many there were.
    static func zremrangebylex(_ server: Server, _ call: CommandCall) throws(CommandError) {
        let (first, last) = try members(call, 2, 3)
        try remove(server, call, "zremrangebylex") { record in
            server.keyspace.reader.positions(from: first, to: last, in: record)
        }
    }

    private static func members(
        _ call: CommandCall,
        _ low: Int,
        _ high: Int
    ) throws(CommandError) -> (first: MemberBound, last: MemberBound) {
        guard let first = bound(call.arguments[low]), let last = bound(call.arguments[high]) else {
            throw .message("ERR min or max not valid string range item")
        }
        return (first, last)
    }

    /// `-`, `+`, `[member` or `(member` (Redis 2.8: t_zset.c, zslParseLexRangeItem).
    private static func bound(_ text: ByteView) -> MemberBound? {
        guard text.count > 0 else { return nil }
        switch text[0] {
        case UInt8(ascii: "-"): return text.count == 1 || text[1] == 0 ? .lowest : nil
        case UInt8(ascii: "+"): return text.count == 1 || text[1] == 0 ? .highest : nil
        case UInt8(ascii: "["): return .including(text.dropFirst(1))
        case UInt8(ascii: "("): return .excluding(text.dropFirst(1))
        default: return nil
        }
    }
}

/// What may stand behind a range, in any order and repeated.
private struct RangeOptions {
    var withScores = false
    /// How many members are skipped; with a negative number all are.
    var offset: Int64 = 0
    /// How many are replied at most; a negative number is no limit.
    var count: Int64 = -1

    init(_ arguments: borrowing Arguments, takesScores: Bool) throws(CommandError) {
        var index = 4
        while index < arguments.count {
            if takesScores, arguments[index].equalsIgnoringCase("withscores") {
                withScores = true
                index += 1
            } else if arguments.count - index >= 3, arguments[index].equalsIgnoringCase("limit") {
                offset = try arguments.integer(at: index + 1)
                count = try arguments.integer(at: index + 2)
                index += 3
            } else {
                throw .syntax
            }
        }
    }
}
