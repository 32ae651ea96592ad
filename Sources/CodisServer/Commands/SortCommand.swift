// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import Keyspace
internal import NIOCore
internal import RESP

/// SORT (Redis 2.8: `sort.c`).
enum SortCommand {
    static let table: [Command] = [
        Command("sort", arity: .atLeast(2), flags: [.write, .denyOutOfMemory], keys: .first, sort)
    ]

    /// `SORT key [BY pattern] [LIMIT offset count] [GET pattern …] [ASC|DESC] [ALPHA] [STORE destination]` in
    /// O(n log n), and O(log n) for each key that a pattern leads to.
    ///
    /// Texts are compared by their bytes, as Redis does in the C locale.
    static func sort(_ server: Server, _ call: CommandCall) throws(CommandError) {
        let record = server.lookupRead(call.arguments[1], call)
        if let record, record.type == .string || record.type == .hash { throw .wrongType }
        var options = try SortOptions(call.arguments)
        // A set has no order that a replica would share, so where that matters it gets one.
        if options.keepsOrder, record?.type == .set, options.destination != nil || call.isFromScript {
            options.keepsOrder = false
            options.isAlphabetic = true
            options.weight = nil
        }
        if let record, record.type == .sortedSet, record.encoding == 0 {
            // Redis walks the other form only.
            try server.change { keyspace throws(KeyspaceError) in
                try keyspace.leaveCompactEncoding(call.arguments[1], in: call.database)
            }
        }
        var vector = SortVector()
        let range = options.range(of: record?.count ?? 0)
        // Every pattern's look-up may delete a key that has expired, so the elements are copied first.
        // Where they are to be sorted, all must be numbers, even if none is replied.
        if let record = server.keyspace.find(call.arguments[1], in: call.database),
            !range.isEmpty || !options.keepsOrder
        {
            vector.load(record, range, options, server.keyspace.reader)
        }
        if !options.keepsOrder {
            let reader = server.keyspace.reader
            guard vector.weigh(options, { server.lookup($0, $1, call).map { reader.bytes(of: $0) } }) else {
                throw .message("ERR One or more scores can't be converted into double")
            }
            vector.sort(options)
            vector.keep(range)
        }
        if let destination = options.destination {
            try store(server, call, vector, options, destination)
        } else {
            reply(server, call, vector, options)
        }
    }

    private static func reply(_ server: Server, _ call: CommandCall, _ vector: SortVector, _ options: SortOptions) {
        call.reply.writeReplyArrayHeader(vector.count * max(1, options.results.count))
        for index in 0..<vector.count {
            vector.withElement(index) { element in
                if options.results.isEmpty { call.reply.writeReplyBulk(element) }
                for pattern in options.results {
                    if let found = server.lookup(pattern, element, call) {
                        server.writeReplyBulk(found, to: call)
                    } else {
                        call.reply.writeReplyNullBulk()
                    }
                }
            }
        }
    }

    private static func store(
        _ server: Server,
        _ call: CommandCall,
        _ vector: SortVector,
        _ options: SortOptions,
        _ destination: ByteView
    ) throws(CommandError) {
        guard vector.count > 0 else {
            let isGone = try server.change { keyspace throws(KeyspaceError) in
                try keyspace.remove(destination, in: call.database)
            }
            if isGone {
                call.dirty += 1
                server.notify(.generic, "del", destination, call)
            }
            return call.reply.writeReplyZero()
        }
        let limits = server.listLimits
        let builder = ValueBuilder(server.keyspace, key: destination, in: call.database, type: .list)
        var isCompact = true
        func add(_ bytes: ByteView) throws(CommandError) {
            if !limits.admits(bytes) { isCompact = false }
            try server.change { keyspace throws(KeyspaceError) in try builder.append(.element(ElementBytes(bytes))) }
        }
        do throws(CommandError) {
            for index in 0..<vector.count {
                try vector.withElement(index) { element throws(CommandError) in
                    if options.results.isEmpty { try add(element) }
                    for pattern in options.results {
                        // Copied, because what is added may move what is stored.
                        let found = server.lookup(pattern, element, call).map { server.keyspace.reader.bytes(of: $0) }
                        try ByteView.with(found ?? []) { bytes throws(CommandError) in try add(bytes) }
                    }
                }
            }
        } catch {
            try? builder.abandon()
            throw error
        }
        let count = builder.count
        if count > limits.entries { isCompact = false }
        try server.change { keyspace throws(KeyspaceError) in _ = try builder.finish(encoding: isCompact ? 0 : 1) }
        call.dirty += count
        server.notify(.list, "sortstore", destination, call)
        call.reply.writeReplyInteger(count)
    }
}

/// The options of SORT, in any order; of those that exclude each other the last counts.
struct SortOptions {
    var isDescending = false
    var isAlphabetic = false
    /// Whether the elements stay in their order: BY has a pattern without `*`.
    var keepsOrder = false
    /// What leads to the weight of an element; nil for the element itself.
    var weight: SortPattern?
    /// What is replied for each element; nothing for the element itself.
    var results: [SortPattern] = []
    var destination: ByteView?
    private var offset: Int64 = 0
    private var limit: Int64 = -1

    init(_ arguments: borrowing Arguments) throws(CommandError) {
        var index = 2
        while index < arguments.count {
            let option = arguments[index]
            let left = arguments.count - index - 1
            if option.equalsIgnoringCase("asc") {
                isDescending = false
            } else if option.equalsIgnoringCase("desc") {
                isDescending = true
            } else if option.equalsIgnoringCase("alpha") {
                isAlphabetic = true
            } else if option.equalsIgnoringCase("limit"), left >= 2 {
                offset = try arguments.integer(at: index + 1)
                limit = try arguments.integer(at: index + 2)
                index += 2
            } else if option.equalsIgnoringCase("store"), left >= 1 {
                index += 1
                destination = arguments[index]
            } else if option.equalsIgnoringCase("by"), left >= 1 {
                index += 1
                weight = SortPattern(arguments[index])
                // Once said, it holds: a later BY does not bring the sorting back.
                if weight?.hasPlace != true { keepsOrder = true }
            } else if option.equalsIgnoringCase("get"), left >= 1 {
                index += 1
                results.append(SortPattern(arguments[index]))
            } else {
                throw .syntax
            }
            index += 1
        }
    }

    /// The places of `count` elements in order that are asked for.
    func range(of count: Int) -> Range<Int> {
        let start = Int(min(max(0, offset), Int64(count)))
        let length = limit < 0 ? count : Int(min(limit, Int64(count)))
        return start..<min(count, start + length)
    }
}

/// A pattern that leads from an element to another value: `prefix*suffix` is a key, `prefix*suffix->field` a field of
/// a hash, `#` the element itself.
struct SortPattern {
    private let before: ByteView
    private let behind: ByteView
    let field: ByteView?
    /// Whether there is a `*`.
    let hasPlace: Bool
    /// Whether it is `#`.
    let isElement: Bool

    init(_ pattern: ByteView) {
        isElement = pattern == ByteView("#")
        guard let star = pattern.firstIndex(of: UInt8(ascii: "*")) else {
            hasPlace = false
            before = pattern
            behind = ByteView()
            field = nil
            return
        }
        hasPlace = true
        before = pattern.prefix(star)
        let rest = pattern.dropFirst(star + 1)
        // The first arrow, unless nothing follows it.
        var arrow = rest.firstIndex(of: UInt8(ascii: "-"))
        while let index = arrow, index + 1 < rest.count, rest[index + 1] != UInt8(ascii: ">") {
            arrow = rest.firstIndex(of: UInt8(ascii: "-"), from: index + 1)
        }
        if let arrow, arrow + 2 < rest.count {
            behind = rest.prefix(arrow)
            field = rest.dropFirst(arrow + 2)
        } else {
            behind = rest
            field = nil
        }
    }

    /// The key for `element`.
    func key(for element: ByteView) -> [UInt8] { Array(before) + Array(element) + Array(behind) }
}

extension Server {
    /// What `pattern` leads to from `element`: a string, or a field of a hash; nil if there is nothing.
    func lookup(_ pattern: SortPattern, _ element: ByteView, _ call: CommandCall) -> ElementBytes? {
        if pattern.isElement { return ElementBytes(element) }
        guard pattern.hasPlace else { return nil }
        return ByteView.with(pattern.key(for: element)) { key in
            guard let record = lookupRead(key, call) else { return nil }
            if let field = pattern.field {
                return record.type == .hash ? keyspace.reader.value(of: field, in: record) : nil
            }
            return record.type == .string ? record.stringBytes : nil
        }
    }
}
