// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import Keyspace
internal import RDB
internal import RESP

/// One message of a key that arrives: `SLOTSRESTORE-ASYNC what key …`.
///
/// Small values come as `string key ttl bytes` or `object key ttl payload`. Others come as a number of messages
/// `list|hash|dict|zset key ttl hint element…`, with a time to live as safety net, and `expire key ttl` at the end,
/// which makes the value visible. A replica, and the replay of the log of one, takes the pieces into the key itself
/// instead, as its master of Codis 3.2 does: what it kept aside would not be found again after a restart.
struct ArrivingPiece {
    private let server: Server
    private let call: CommandCall

    init(_ server: Server, _ call: CommandCall) {
        self.server = server
        self.call = call
    }

    private var key: ByteView { call.arguments[2] }

    private var target: ArrivingValue.Target { ArrivingValue.Target(database: call.database, key: Array(key)) }

    /// The value that this connection sends for the key, if it is in the middle of it.
    private var arriving: ArrivingValue? {
        call.session.arriving.isEmpty ? nil : call.session.arriving[target]
    }

    /// Whether pieces are kept aside until the value is whole.
    private var keepsAside: Bool {
        !server.isLoading && !call.session.isMaster && !call.isFromScript && !call.session.isVirtual
    }

    /// Does what the message says; gives what it is acknowledged with.
    ///
    /// The errors' lines are without a code: they are acknowledgements too.
    func take() throws(CommandError) -> Int {
        // Two servers that move keys to each other would else wait for each other.
        guard !server.isMigrating(call.database) else { throw .message("the specified DB is being migrated") }
        guard call.arguments.count >= 3 else { throw wrongCount }
        let what = call.arguments[1]
        if what.equalsIgnoringCase("delete") { return try delete() }
        guard call.arguments.count >= 4 else { throw wrongCount }
        guard let lifetime = call.arguments.optionalInteger(at: 3), lifetime >= 0 else {
            throw error("invalid TTL value (TTL=", call.arguments[3])
        }
        if what.equalsIgnoringCase("expire") { return try end(lifetime) }
        if what.equalsIgnoringCase("string") { return try takeString(lifetime) }
        if what.equalsIgnoringCase("object") { return try takeObject(lifetime) }
        guard call.arguments.count >= 5 else { throw wrongCount }
        guard let hint = call.arguments.optionalInteger(at: 4), hint >= 0 else {
            throw error("invalid Hint value (Hint=", call.arguments[4])
        }
        if what.equalsIgnoringCase("list") { return try takeElements(.list, lifetime) }
        if what.equalsIgnoringCase("hash") { return try takeElements(.hash, lifetime) }
        if what.equalsIgnoringCase("dict") { return try takeElements(.set, lifetime) }
        if what.equalsIgnoringCase("zset") { return try takeElements(.sortedSet, lifetime) }
        throw misuse("unknown command")
    }

    // MARK: Whole values

    /// `delete key`: 1 if there was one.
    private func delete() throws(CommandError) -> Int {
        guard call.arguments.count == 3 else { throw wrongCount }
        var count = 0
        if let value = arriving {
            call.session.arriving[target] = nil
            if server.dropArriving(value, in: call.database) { count = 1 }
            call.dirty += count
            call.preventPropagation()
        }
        if try server.change({ keyspace throws(KeyspaceError) in try keyspace.remove(key, in: call.database) }) {
            count = 1
            call.dirty += 1
            call.propagateDelete(key)
        }
        return count
    }

    /// `string key ttl bytes`.
    private func takeString(_ lifetime: Int64) throws(CommandError) -> Int {
        guard call.arguments.count == 5 else { throw wrongCount }
        try checkAbsent()
        let value = call.arguments[4]
        let expiry = expiry(lifetime)
        try server.change { keyspace throws(KeyspaceError) in
            try keyspace.setString(key, in: call.database, to: value, expireAtMilliseconds: expiry)
        }
        call.propagateSet(key, value, expireAtMilliseconds: expiry)
        call.dirty += 1
        return 1
    }

    /// `object key ttl payload`, the payload as DUMP makes it.
    private func takeObject(_ lifetime: Int64) throws(CommandError) -> Int {
        guard call.arguments.count == 5 else { throw wrongCount }
        try checkAbsent()
        let payload = call.arguments[4]
        do throws(RDBError) {
            _ = try DumpPayload.validate(payload, accepting: DumpPayload.readableVersions)
        } catch .wrongPayloadFooter {
            throw .message("invalid payload checksum")
        } catch {
            guard DumpPayload.hasKnownType(payload) else { throw .message("invalid payload type") }
            throw .message("invalid payload body")
        }
        let expiry = expiry(lifetime)
        try server.restore(payload, key: key, in: call.database, expireAtMilliseconds: expiry)
        try server.propagateRestore(payload, key: key, expireAtMilliseconds: expiry, call)
        call.dirty += 1
        return 1
    }

    /// `expire key ttl`: the value is whole, and lives so long; 0 is for ever.
    private func end(_ lifetime: Int64) throws(CommandError) -> Int {
        guard call.arguments.count == 4 else { throw wrongCount }
        guard let value = arriving else {
            guard server.lookupWrite(key, call) != nil else { throw missing }
            try setExpiry(key, lifetime)
            call.dirty += 1
            return 1
        }
        call.session.arriving[target] = nil
        try ByteView.with(value.name) { name throws(CommandError) in
            guard server.lookupWrite(name, call) != nil else { throw missing }
            server.beginUnit()
            defer { server.endUnit() }
            try setExpiry(name, lifetime)
            _ = try server.change { keyspace throws(KeyspaceError) in
                try keyspace.rename(name, in: call.database, to: key, in: call.database)
            }
            call.propagate([ByteView("RENAME"), name, key])
        }
        call.dirty += 1
        return 1
    }

    // MARK: Pieces

    /// `list|hash|dict|zset key ttl hint element…`: how many elements there are by now.
    private func takeElements(_ type: ValueType, _ lifetime: Int64) throws(CommandError) -> Int {
        let elements = call.arguments.count - 5
        if type == .hash || type == .sortedSet, elements % 2 != 0 { throw wrongCount }
        let scores = type == .sortedSet ? try scores() : []
        if var value = arriving {
            guard value.type == type else {
                throw wrongType(type, got: ArrivingPiece.numbers(value.type, isLarge: true))
            }
            return try ByteView.with(value.name) { name throws(CommandError) in
                // It may have been flushed, evicted, or over.
                guard server.lookupWrite(name, call) != nil else {
                    call.session.arriving[target] = nil
                    throw missing
                }
                let count = try add(type, to: name, scores)
                if value.needsExpiry(lifetime: lifetime, at: call.now) {
                    try setExpiry(name, lifetime)
                    call.session.arriving[target] = value
                }
                call.dirty += 1
                return count
            }
        }
        let record = server.lookupWrite(key, call)
        if let record {
            let got = ArrivingPiece.numbers(record)
            guard record.type == type, got == ArrivingPiece.numbers(type, isLarge: true) || !keepsAside else {
                throw wrongType(type, got: got)
            }
        } else if elements == 0 {
            throw missing
        }
        if record == nil, keepsAside { return try begin(type, scores, lifetime) }
        let count = try add(type, to: key, scores)
        try setExpiry(key, lifetime)
        call.dirty += 1
        return count
    }

    /// The first piece of a value.
    private func begin(_ type: ValueType, _ scores: [Double], _ lifetime: Int64) throws(CommandError) -> Int {
        var value = ArrivingValue(type)
        return try ByteView.with(value.name) { name throws(CommandError) in
            let count = try add(type, to: name, scores)
            _ = value.needsExpiry(lifetime: lifetime, at: call.now)
            call.session.arriving[target] = value
            try setExpiry(name, lifetime)
            call.dirty += 1
            return count
        }
    }

    /// Adds the elements of the message to the value of `name`, and puts that into the log; gives the new count.
    private func add(_ type: ValueType, to name: ByteView, _ scores: [Double]) throws(CommandError) -> Int {
        let elements = call.arguments.count - 5
        guard elements > 0 else { return server.keyspace.find(name, in: call.database)?.count ?? 0 }
        let database = call.database
        try server.change { keyspace throws(KeyspaceError) in
            switch type {
            case .list:
                _ = try server.keyspace.pushElements(
                    name,
                    in: database,
                    at: .tail,
                    limits: server.listLimits,
                    count: elements
                ) { call.arguments[5 + $0] }
            case .hash:
                _ = try server.keyspace.setFields(
                    name,
                    in: database,
                    count: elements / 2,
                    limits: server.hashLimits
                ) { (call.arguments[5 + 2 * $0], call.arguments[6 + 2 * $0]) }
            case .set:
                _ = try server.keyspace.addMembers(
                    name,
                    in: database,
                    count: elements,
                    mostIntegers: server.config.setMaximumIntsetEntries
                ) { number in
                    let member = call.arguments[5 + number]
                    return (member, DecimalNumber.canonical(member) != nil)
                }
            case .sortedSet:
                _ = try server.keyspace.setScores(
                    name,
                    in: database,
                    count: scores.count,
                    limits: server.sortedSetLimits
                ) { (scores[$0], call.arguments[5 + 2 * $0]) }
            case .string:
                preconditionFailure("a string does not come in elements")
            }
        }
        propagate(type, name, scores)
        return server.keyspace.find(name, in: database)?.count ?? 0
    }

    private func propagate(_ type: ValueType, _ name: ByteView, _ scores: [Double]) {
        let command: StaticString =
            switch type {
            case .list: "RPUSH"
            case .hash: "HMSET"
            case .set: "SADD"
            case .sortedSet, .string: "ZADD"
            }
        var arguments = [ByteView(command), name]
        arguments.reserveCapacity(call.arguments.count)
        guard type == .sortedSet else {
            for index in 5..<call.arguments.count { arguments.append(call.arguments[index]) }
            return call.propagate(arguments)
        }
        var texts: [UInt8] = []
        var ends: [Int] = []
        for score in scores {
            Score.withText(score) { texts.append(contentsOf: $0) }
            ends.append(texts.count)
        }
        ByteView.with(texts) { texts in
            var start = 0
            for (number, end) in ends.enumerated() {
                arguments.append(texts[start..<end])
                arguments.append(call.arguments[5 + 2 * number])
                start = end
            }
            call.propagate(arguments)
        }
    }

    /// The scores of the message: the bits of a double, the lowest byte first, behind each member.
    private func scores() throws(CommandError) -> [Double] {
        var scores: [Double] = []
        for index in stride(from: 6, to: call.arguments.count, by: 2) {
            let bytes = call.arguments[index]
            let bits = (0..<bytes.count).reversed().reduce(UInt64(0)) { $0 << 8 | UInt64(bytes[$1]) }
            let score = bytes.count == 8 ? Double(bitPattern: bits) : .nan
            guard !score.isNaN else { throw .message("invalid zset score ([\(scores.count)]), bad raw bits") }
            scores.append(score)
        }
        return scores
    }

    // MARK: Checks

    private func checkAbsent() throws(CommandError) {
        guard server.lookupWrite(key, call) == nil, arriving == nil else {
            throw error("the specified key already exists (", key)
        }
    }

    private func expiry(_ lifetime: Int64) -> Int64 {
        lifetime == 0 ? 0 : ExpiryUnit.milliseconds.milliseconds(lifetime, after: call.now) ?? .max
    }

    /// Sets the time to live of `name`, which is there, and puts that into the log.
    private func setExpiry(_ name: ByteView, _ lifetime: Int64) throws(CommandError) {
        let expiry = expiry(lifetime)
        guard server.keyspace.find(name, in: call.database)?.expireAtMilliseconds != expiry else {
            return call.preventPropagation()
        }
        _ = try server.change { keyspace throws(KeyspaceError) in
            try keyspace.setExpiry(name, in: call.database, atMilliseconds: expiry)
        }
        if expiry == 0 {
            call.propagate([ByteView("PERSIST"), name])
        } else {
            call.propagateExpiry(name, atMilliseconds: expiry)
        }
    }

    // MARK: Errors

    private var wrongCount: CommandError { misuse("wrong number of arguments") }

    private var missing: CommandError { error("the specified key doesn't exist (", key) }

    private func misuse(_ text: String) -> CommandError {
        let what = call.arguments[1]
        return .bytes(Array("\(text) (argc=\(call.arguments.count),cmd=".utf8) + Array(what) + [0x29])
    }

    private func error(_ text: String, _ bytes: ByteView) -> CommandError {
        .bytes(Array(text.utf8) + Array(bytes) + [0x29])
    }

    private func wrongType(_ type: ValueType, got: (type: Int, encoding: Int)) -> CommandError {
        let expected = ArrivingPiece.numbers(type, isLarge: true)
        return .message("wrong type (expect=\(expected.type)/\(expected.encoding),got=\(got.type)/\(got.encoding))")
    }

    /// The numbers that Redis 3.2 gives a type and its encoding; lists have only one there.
    private static func numbers(_ type: ValueType, isLarge: Bool) -> (type: Int, encoding: Int) {
        switch type {
        case .string: (0, 0)
        case .list: (1, 9)
        case .set: (2, isLarge ? 2 : 6)
        case .sortedSet: (3, isLarge ? 7 : 5)
        case .hash: (4, isLarge ? 2 : 5)
        }
    }

    private static func numbers(_ record: Record) -> (type: Int, encoding: Int) {
        guard record.type == .string else { return numbers(record.type, isLarge: record.encoding != 0) }
        return (0, record.isInteger ? 1 : record.count <= 44 ? 8 : 0)
    }
}
