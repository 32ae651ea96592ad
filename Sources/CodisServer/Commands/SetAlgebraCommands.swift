// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import Keyspace
internal import NIOCore
internal import RESP

/// The commands that combine sets (Redis 2.8: `t_set.c`, sinterGenericCommand and sunionDiffGenericCommand).
///
/// Sets of any size are combined in bounded memory: members are walked where they lie and looked up in the other sets.
/// What is stored is built apart, batch by batch, and takes the place of the destination at the end, which may be one
/// of the sets.
enum SetAlgebraCommands {
    static let table: [Command] = [
        Command("sdiff", arity: .atLeast(2), flags: [.readOnly, .sortForScript], keys: .all, sdiff),
        Command("sdiffstore", arity: .atLeast(3), flags: [.write, .denyOutOfMemory], keys: .all, sdiffstore),
        Command("sinter", arity: .atLeast(2), flags: [.readOnly, .sortForScript], keys: .all, sinter),
        Command("sinterstore", arity: .atLeast(3), flags: [.write, .denyOutOfMemory], keys: .all, sinterstore),
        Command("sunion", arity: .atLeast(2), flags: [.readOnly, .sortForScript], keys: .all, sunion),
        Command("sunionstore", arity: .atLeast(3), flags: [.write, .denyOutOfMemory], keys: .all, sunionstore),
    ]

    /// `SINTER key [key …]` in O(members of the smallest · keys · log n).
    static func sinter(_ server: Server, _ call: CommandCall) throws(CommandError) {
        try reply(server, call, .intersection)
    }

    /// `SUNION key [key …]` in O(members · keys · log n).
    static func sunion(_ server: Server, _ call: CommandCall) throws(CommandError) {
        try reply(server, call, .union)
    }

    /// `SDIFF key [key …]` in O(members of the first · keys · log n).
    static func sdiff(_ server: Server, _ call: CommandCall) throws(CommandError) {
        try reply(server, call, .difference)
    }

    /// `SINTERSTORE destination key [key …]`, as `SINTER`; replies the number of members.
    static func sinterstore(_ server: Server, _ call: CommandCall) throws(CommandError) {
        try store(server, call, .intersection)
    }

    /// `SUNIONSTORE destination key [key …]`, as `SUNION`; replies the number of members.
    static func sunionstore(_ server: Server, _ call: CommandCall) throws(CommandError) {
        try store(server, call, .union)
    }

    /// `SDIFFSTORE destination key [key …]`, as `SDIFF`; replies the number of members.
    static func sdiffstore(_ server: Server, _ call: CommandCall) throws(CommandError) {
        try store(server, call, .difference)
    }

    enum Operation {
        case intersection
        case union
        case difference

        /// The event of storing the result.
        var storeEvent: StaticString {
            switch self {
            case .intersection: "sinterstore"
            case .union: "sunionstore"
            case .difference: "sdiffstore"
            }
        }
    }

    /// Looks all sets up, so that those that have expired are gone, and checks their types.
    ///
    /// - Returns: false if the intersection is empty because a set is missing; the types of those behind it do not
    ///   matter.
    private static func checkSets(
        _ server: Server,
        _ call: CommandCall,
        _ operation: Operation,
        from first: Int,
        _ purpose: LookupPurpose
    ) throws(CommandError) -> Bool {
        for index in first..<call.arguments.count {
            if try server.find(.set, index, call, purpose) == nil, operation == .intersection { return false }
        }
        return true
    }

    /// The sets as they are now, views until the next change; missing ones are nil.
    private static func sets(_ server: Server, _ call: CommandCall, from first: Int) -> [Record?] {
        (first..<call.arguments.count).map { server.keyspace.find(call.arguments[$0], in: call.database) }
    }

    // MARK: Replying

    private static func reply(_ server: Server, _ call: CommandCall, _ operation: Operation) throws(CommandError) {
        guard try checkSets(server, call, operation, from: 1, .read) else {
            return call.reply.writeReplyEmptyArray()
        }
        let combination = SetCombination(operation, sets(server, call, from: 1), server.keyspace.reader)
        var found = BulkList()
        var order = IntegerOrder(limit: server.config.setMaximumIntsetEntries)
        for source in combination.sources {
            server.keyspace.reader.forEachElement(of: combination.sets[source]) { element in
                guard case .member(let member) = element, combination.takes(member, of: source) else { return }
                order.note(member)
                found.append(member, server)
            }
        }
        if let integers = order.sorted {
            call.reply.writeReplyArrayHeader(integers.count)
            for number in integers { call.reply.writeReplyBulk(number) }
        } else {
            found.write(to: &call.reply)
        }
    }

    // MARK: Storing

    private static func store(_ server: Server, _ call: CommandCall, _ operation: Operation) throws(CommandError) {
        let destination = call.arguments[1]
        guard try checkSets(server, call, operation, from: 2, .write) else {
            if server.keyspace.find(destination, in: call.database) != nil {
                _ = try server.change { keyspace throws(KeyspaceError) in
                    try keyspace.remove(destination, in: call.database)
                }
                call.dirty += 1
            }
            return call.reply.writeReplyZero()
        }
        let inputs = 2..<call.arguments.count
        try CombinedStore.run(CombinedSet(operation: operation, inputs: inputs), server, call)
    }
}

/// The intersection, union or difference of sets on its way into another.
private struct CombinedSet: CombinedValue {
    static let type = ValueType.set
    static let eventClass = KeyspaceEvents.set

    let operation: SetAlgebraCommands.Operation
    let inputs: Range<Int>
    /// Which of the sets with members for the result is walked, and how far.
    private var number = 0
    private var position = ElementPosition()
    private var areIntegers = true

    /// How many bytes of members are read at a time before they are written.
    private static let batchBytes = 64 << 10

    init(operation: SetAlgebraCommands.Operation, inputs: Range<Int>) {
        self.operation = operation
        self.inputs = inputs
    }

    var event: StaticString { operation.storeEvent }

    /// The sets as they are now, views until the next change.
    private func combination(_ arguments: StoreArguments) -> SetCombination {
        SetCombination(operation, inputs.map { arguments.find($0) }, arguments.server.keyspace.reader)
    }

    func walkedCount(_ arguments: StoreArguments) -> Int {
        let combination = combination(arguments)
        return combination.sources.reduce(0) { $0 + combination.sets[$1].count }
    }

    mutating func advance(
        _ arguments: StoreArguments,
        most: Int,
        into builder: ValueBuilder
    ) throws(KeyspaceError) -> Bool {
        // What was written may have moved everything: the sets are found anew for each batch.
        let combination = combination(arguments)
        let reader = arguments.server.keyspace.reader
        guard number < combination.sources.count else { return true }
        let source = combination.sources[number]
        var bytes: [UInt8] = []
        var ends: [Int] = []
        var walked = 0
        reader.forEachElement(of: combination.sets[source], from: &position) { element in
            walked += 1
            // The builder sees by itself what is there already.
            if case .member(let member) = element, operation == .union || combination.takes(member, of: source) {
                reader.forEachPiece(of: member) { bytes.append(contentsOf: $0) }
                ends.append(bytes.count)
            }
            return bytes.count < CombinedSet.batchBytes && walked < most
        }
        if let failure = reader.failure { throw failure }
        try ByteView.with(bytes) { bytes throws(KeyspaceError) in
            var start = 0
            for end in ends {
                let member = bytes[start..<end]
                start = end
                if areIntegers { areIntegers = DecimalNumber.canonical(member) != nil }
                try builder.append(.member(ElementBytes(member)))
            }
        }
        if position.isAtEnd {
            number += 1
            position = ElementPosition()
        }
        return number == combination.sources.count
    }

    func encoding(count: Int, _ server: Server) -> UInt8 {
        areIntegers && count <= server.config.setMaximumIntsetEntries ? SetEncoding.intset : SetEncoding.hashtable
    }

    func changes(isEmpty: Bool, replaces: Bool) -> Int { 1 }
}

/// Which members of which sets belong to an intersection, union or difference.
struct SetCombination {
    /// The sets that are there, in the order of the command; an intersection's by size.
    let sets: [Record]
    /// The sets whose members can belong to the result.
    let sources: Range<Int>
    private let operation: SetAlgebraCommands.Operation
    private let reader: RowReader

    init(_ operation: SetAlgebraCommands.Operation, _ records: [Record?], _ reader: RowReader) {
        self.operation = operation
        self.reader = reader
        let present = records.compactMap { $0 }
        switch operation {
        case .intersection:
            sets = present.sorted { $0.count < $1.count }
            sources = 0..<(present.count == records.count ? 1 : 0)
        case .union:
            sets = present
            sources = 0..<present.count
        case .difference:
            sets = present
            sources = 0..<(records.first.map { $0 != nil } ?? false ? 1 : 0)
        }
    }

    /// Whether a member of the set number `source` belongs to the result, and came with no set before.
    func takes(_ member: ElementBytes, of source: Int) -> Bool {
        switch operation {
        case .intersection: (1..<sets.count).allSatisfy { reader.contains(member, in: sets[$0]) }
        case .union: !(0..<source).contains { reader.contains(member, in: sets[$0]) }
        case .difference: !(1..<sets.count).contains { reader.contains(member, in: sets[$0]) }
        }
    }
}

/// The members of a result while all of them are integers: Redis gathers them in an intset, and so replies them in
/// ascending order.
private struct IntegerOrder {
    private let limit: Int
    private var integers: [Int64]? = []

    init(limit: Int) { self.limit = limit }

    mutating func note(_ member: ElementBytes) {
        guard let count = integers?.count else { return }
        if count < limit, let number = member.inline.flatMap(DecimalNumber.canonical) {
            integers?.append(number)
        } else {
            integers = nil
        }
    }

    /// All members in ascending order, if they are integers and not too many.
    var sorted: [Int64]? { integers?.sorted() }
}

extension BulkList {
    /// Appends the bytes of an element.
    fileprivate mutating func append(_ bytes: ElementBytes, _ server: Server) {
        if let inline = bytes.inline { return append(inline) }
        ByteView.with(server.keyspace.reader.bytes(of: bytes)) { append($0) }
    }
}
