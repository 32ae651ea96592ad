// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import Keyspace
internal import RESP

/// ZUNIONSTORE and ZINTERSTORE.
extension SortedSetCommands {
    /// `ZUNIONSTORE destination numkeys key [key …] [WEIGHTS weight [weight …]] [AGGREGATE SUM|MIN|MAX]` in
    /// O(members · inputs · log n).
    static func zunionstore(_ server: Server, _ call: CommandCall) throws(CommandError) {
        try store(server, call, isUnion: true)
    }

    /// `ZINTERSTORE destination numkeys key [key …] [WEIGHTS weight [weight …]] [AGGREGATE SUM|MIN|MAX]` in
    /// O(members of the smallest · inputs · log n).
    static func zinterstore(_ server: Server, _ call: CommandCall) throws(CommandError) {
        try store(server, call, isUnion: false)
    }

    /// The result is made beside the destination, which it replaces at the end: so inputs of any size take bounded
    /// memory, and transactions of bounded size.
    private static func store(_ server: Server, _ call: CommandCall, isUnion: Bool) throws(CommandError) {
        let inputs = try StoreInputs(server, call)
        let destination = call.arguments[1]
        let wasThere = server.lookupWrite(destination, call) != nil
        let builder = ValueBuilder(server.keyspace, key: destination, in: call.database, type: .sortedSet)
        var longest = 0
        do throws(KeyspaceError) {
            let sources = isUnion ? inputs.sources.indices : 0..<(inputs.sources[0].count > 0 ? 1 : 0)
            for source in sources {
                try inputs.forEachStep(of: source, server, call, isUnion: isUnion) { members throws(KeyspaceError) in
                    for (member, score) in members {
                        longest = max(longest, member.count)
                        try ByteView.with(member) { view throws(KeyspaceError) in
                            try builder.append(.scored(ElementBytes(view), score: score))
                        }
                    }
                }
            }
        } catch {
            try server.change { () throws(KeyspaceError) in try builder.abandon() }
            throw CommandError(error)
        }
        let count = builder.count
        let limits = server.sortedSetLimits
        let encoding: UInt8 = count <= limits.entries && longest <= limits.bytes ? 0 : 1
        try server.change { () throws(KeyspaceError) in _ = try builder.finish(encoding: encoding) }
        if count > 0 {
            call.dirty += wasThere ? 2 : 1
            server.notify(.sortedSet, isUnion ? "zunionstore" : "zinterstore", destination, call)
        } else if wasThere {
            call.dirty += 1
            server.notify(.generic, "del", destination, call)
        }
        call.reply.writeReplyInteger(count)
    }
}

/// The inputs of ZUNIONSTORE or ZINTERSTORE, and how they are combined.
private struct StoreInputs {
    /// A sorted set, or a set, whose members have the score 1, or a key that is missing.
    struct Source {
        var key: ByteView
        var count: Int
        var weight = 1.0
    }

    enum Aggregate {
        case sum
        case minimum
        case maximum
    }

    /// The smallest first.
    var sources: [Source] = []
    private var aggregate = Aggregate.sum

    /// About how many members, and how many of their bytes, are read before the result is written on.
    private static let stepMembers = 256
    private static let stepBytes = 1 << 20

    init(_ server: Server, _ call: CommandCall) throws(CommandError) {
        let number = try call.arguments.integer(at: 2)
        guard number >= 1 else {
            throw .message("ERR at least 1 input key is needed for ZUNIONSTORE/ZINTERSTORE")
        }
        guard number <= Int64(call.arguments.count - 3) else { throw .syntax }
        let end = 3 + Int(number)
        for index in 3..<end {
            let key = call.arguments[index]
            let record = server.lookupWrite(key, call)
            if let record, record.type != .sortedSet, record.type != .set { throw .wrongType }
            sources.append(Source(key: key, count: record?.count ?? 0))
        }
        try readOptions(call, from: end)
        sources = sources.enumerated().sorted { ($0.1.count, $0.0) < ($1.1.count, $1.0) }.map(\.element)
    }

    private mutating func readOptions(_ call: CommandCall, from start: Int) throws(CommandError) {
        var index = start
        while index < call.arguments.count {
            let left = call.arguments.count - index
            if left >= sources.count + 1, call.arguments[index].equalsIgnoringCase("weights") {
                for source in sources.indices {
                    guard let weight = Score.parse(call.arguments[index + 1 + source]) else {
                        throw .message("ERR weight value is not a float")
                    }
                    sources[source].weight = weight
                }
                index += 1 + sources.count
            } else if left >= 2, call.arguments[index].equalsIgnoringCase("aggregate") {
                let name = call.arguments[index + 1]
                if name.equalsIgnoringCase("sum") {
                    aggregate = .sum
                } else if name.equalsIgnoringCase("min") {
                    aggregate = .minimum
                } else if name.equalsIgnoringCase("max") {
                    aggregate = .maximum
                } else {
                    throw .syntax
                }
                index += 2
            } else {
                throw .syntax
            }
        }
    }

    /// Puts the score of another input to `score` (Redis 2.8: t_zset.c, zunionInterAggregate).
    private func combine(_ score: inout Double, _ value: Double) {
        switch aggregate {
        case .sum:
            score += value
            // Infinities of different signs come to nothing.
            if score.isNaN { score = 0 }
        case .minimum: if value < score { score = value }
        case .maximum: if value > score { score = value }
        }
    }

    /// Calls `body` with the members that the result has from input `index`, and their scores in the result, in steps;
    /// `body` may change the keyspace.
    func forEachStep(
        of index: Int,
        _ server: Server,
        _ call: CommandCall,
        isUnion: Bool,
        _ body: ([(member: [UInt8], score: Double)]) throws(KeyspaceError) -> Void
    ) throws(KeyspaceError) {
        let reader = server.keyspace.reader
        var position = ElementPosition()
        while !position.isAtEnd {
            // What was written since may have moved the rows.
            let records = sources.map { $0.count > 0 ? server.keyspace.find($0.key, in: call.database) : nil }
            guard let record = records[index] else { return }
            var step: [(member: [UInt8], score: Double)] = []
            var bytes = 0
            reader.forEachElement(of: record, from: &position) { element in
                let name: ElementBytes
                var value = 1.0
                switch element {
                case .scored(let member, let score): (name, value) = (member, score)
                case .member(let member): name = member
                case .string, .element, .field: return false
                }
                let member = reader.bytes(of: name)
                let score = ByteView.with(member) { self.result(of: $0, value, index, records, reader, isUnion) }
                if let score { step.append((member, score)) }
                bytes += member.count
                return step.count < StoreInputs.stepMembers && bytes < StoreInputs.stepBytes
            }
            try body(step)
            if let failure = reader.failure { throw failure }
        }
    }

    /// The score in the result of a member that input `index` has with `value`; nil if the result has it not, or from
    /// another input.
    private func result(
        of member: ByteView,
        _ value: Double,
        _ index: Int,
        _ records: [Record?],
        _ reader: RowReader,
        _ isUnion: Bool
    ) -> Double? {
        if isUnion {
            for other in 0..<index where self.value(of: member, other, records, reader) != nil { return nil }
        }
        var score = sources[index].weight * value
        if score.isNaN { score = 0 }
        for other in (index + 1)..<max(index + 1, sources.count) {
            if let found = self.value(of: member, other, records, reader) {
                combine(&score, found * sources[other].weight)
            } else if !isUnion {
                return nil
            }
        }
        return score
    }

    private func value(of member: ByteView, _ index: Int, _ records: [Record?], _ reader: RowReader) -> Double? {
        guard let record = records[index] else { return nil }
        if record.type == .set { return reader.contains(member, in: record) ? 1 : nil }
        return reader.score(of: member, in: record)
    }
}
