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

    private static func store(_ server: Server, _ call: CommandCall, isUnion: Bool) throws(CommandError) {
        let value = try CombinedSortedSet(server, call, isUnion: isUnion)
        _ = server.lookupWrite(call.arguments[1], call)
        try CombinedStore.run(value, server, call)
    }
}

/// The union or intersection of sorted sets on its way into another.
private struct CombinedSortedSet: CombinedValue {
    static let type = ValueType.sortedSet
    static let eventClass = KeyspaceEvents.sortedSet

    /// A sorted set, or a set, whose members have the score 1, or a key that is missing.
    struct Source {
        /// Which argument its key is.
        var index: Int
        var count: Int
        var weight = 1.0
    }

    enum Aggregate {
        case sum
        case minimum
        case maximum
    }

    let inputs: Range<Int>
    private let isUnion: Bool
    /// The smallest first.
    private var sources: [Source] = []
    private var aggregate = Aggregate.sum
    /// Which of the sources is walked, and how far.
    private var number = 0
    private var position = ElementPosition()
    /// The length of the longest member so far.
    private var longest = 0

    /// About how many bytes of members are read before the result is written on.
    private static let batchBytes = 1 << 20

    init(_ server: Server, _ call: CommandCall, isUnion: Bool) throws(CommandError) {
        let number = try call.arguments.integer(at: 2)
        guard number >= 1 else {
            throw .message("ERR at least 1 input key is needed for ZUNIONSTORE/ZINTERSTORE")
        }
        guard number <= Int64(call.arguments.count - 3) else { throw .syntax }
        inputs = 3..<(3 + Int(number))
        self.isUnion = isUnion
        for index in inputs {
            let record = server.lookupWrite(call.arguments[index], call)
            if let record, record.type != .sortedSet, record.type != .set { throw .wrongType }
            sources.append(Source(index: index, count: record?.count ?? 0))
        }
        try readOptions(call, from: inputs.upperBound)
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

    var event: StaticString { isUnion ? "zunionstore" : "zinterstore" }

    /// The sources whose members may belong to the result.
    private var walked: ArraySlice<Source> { isUnion ? sources[...] : sources.prefix(sources[0].count > 0 ? 1 : 0) }

    func walkedCount(_ arguments: StoreArguments) -> Int { walked.reduce(0) { $0 + $1.count } }

    mutating func advance(
        _ arguments: StoreArguments,
        most: Int,
        into builder: ValueBuilder
    ) throws(KeyspaceError) -> Bool {
        guard number < walked.count else { return true }
        // What was written since may have moved the rows.
        let records = sources.map { $0.count > 0 ? arguments.find($0.index) : nil }
        let reader = arguments.server.keyspace.reader
        var batch: [(member: [UInt8], score: Double)] = []
        var position = position
        if let record = records[number] {
            var bytes = 0
            var walked = 0
            reader.forEachElement(of: record, from: &position) { element in
                walked += 1
                let name: ElementBytes
                var value = 1.0
                switch element {
                case .scored(let member, let score): (name, value) = (member, score)
                case .member(let member): name = member
                case .string, .element, .field: return false
                }
                let member = reader.bytes(of: name)
                let score = ByteView.with(member) { result(of: $0, value, records, reader) }
                if let score { batch.append((member, score)) }
                bytes += member.count
                return walked < most && bytes < CombinedSortedSet.batchBytes
            }
            if let failure = reader.failure { throw failure }
        }
        for (member, score) in batch {
            longest = max(longest, member.count)
            try ByteView.with(member) { view throws(KeyspaceError) in
                try builder.append(.scored(ElementBytes(view), score: score))
            }
        }
        let isWalked = records[number] == nil || position.isAtEnd
        self.position = isWalked ? ElementPosition() : position
        if isWalked { number += 1 }
        return number == walked.count
    }

    func encoding(count: Int, _ server: Server) -> UInt8 {
        let limits = server.sortedSetLimits
        return count <= limits.entries && longest <= limits.bytes ? 0 : 1
    }

    func changes(isEmpty: Bool, replaces: Bool) -> Int { (isEmpty ? 0 : 1) + (replaces ? 1 : 0) }

    /// The score in the result of a member that the source that is walked has with `value`; nil if the result has it
    /// not, or from another source.
    private func result(
        of member: ByteView,
        _ value: Double,
        _ records: [Record?],
        _ reader: RowReader
    ) -> Double? {
        if isUnion {
            for other in 0..<number where self.value(of: member, other, records, reader) != nil { return nil }
        }
        var score = sources[number].weight * value
        if score.isNaN { score = 0 }
        for other in (number + 1)..<max(number + 1, sources.count) {
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
