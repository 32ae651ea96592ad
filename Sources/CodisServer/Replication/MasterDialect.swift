// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import RESP

/// What later versions of Redis put into their stream for the types of 2.8, said in the commands of 2.8.
///
/// A master of version 4 to 7 propagates some changes in forms that 2.8 does not know: `SET key value PXAT time`,
/// `HSET` of several fields, `COPY`. They stand in this server's log as they came, so they are translated whenever
/// they are done: when they come, and at replay. What concerns types that 2.8 does not have, such as streams, is left
/// out, and the log says so. What concerns its types but cannot be said makes the replica ask for a full resync.
struct MasterDialect {
    /// Does a command of 2.8 and gives its reply.
    typealias Run = ([[UInt8]]) -> [UInt8]

    /// How a command was taken.
    enum Outcome {
        /// It is one of 2.8, to be done as it is; nothing was run so far.
        case plain
        /// It was translated and done.
        case done
        /// It concerns what this server does not have.
        case foreign
        /// It changes what this server has in a way that cannot be said here.
        case lost
    }

    let run: Run
    /// Exchanges the keys of two databases; false if one is not there.
    let swapDatabases: (Int, Int) -> Bool
    /// The database that is selected.
    let database: Int

    /// Whether a command that 2.8 has, with arguments of a number that it takes, may be meant in a later form.
    static func mayBeLater(_ arguments: borrowing Arguments) -> Bool {
        switch arguments[0].count {
        case 3: return arguments.count > 3 && arguments[0].equalsIgnoringCase("set")
        case 4: return arguments.count > 3 && arguments[0].equalsIgnoringCase("zadd")
        case 6: return arguments.count == 3 && arguments[0].equalsIgnoringCase("rename")
        case 7: return arguments.count > 4 && arguments[0].equalsIgnoringCase("restore")
        default: return false
        }
    }

    /// Does the command of these arguments, whose name comes first, if it is of a later form.
    func perform(_ arguments: [[UInt8]]) -> Outcome {
        let count = arguments.count
        switch Self.lowercased(arguments[0]) {
        case "set": return set(arguments)
        case "getex" where count > 1: expire(arguments)
        case "hset" where count > 4: send(["HMSET"], arguments[1...])
        case "unlink", "getdel": send(["DEL"], arguments[1...])
        case "flushall", "flushdb": send([arguments[0]])
        case "expire" where count > 3, "pexpire" where count > 3, "pexpireat" where count > 3,
            "expireat" where count > 3:
            send(Array(arguments[..<3]))
        case "rename" where count == 3: rename(arguments)
        case "copy" where count > 2: copy(arguments)
        case "restore" where count > 4, "restore-asking" where count > 3: return restore(arguments)
        case "swapdb" where count == 3: return swap(arguments)
        case "bitfield" where count > 1: return BitFieldCommand(arguments).map { $0.run(on: self) } ?? .lost
        case "lpop" where count == 3: trim(arguments, isHead: true)
        case "rpop" where count == 3: trim(arguments, isHead: false)
        case "lpushx" where count > 3, "rpushx" where count > 3:
            for value in arguments[2...] { send([arguments[0], arguments[1], value]) }
        case "lmove" where count == 5, "blmove" where count == 6: move(arguments)
        case "zadd" where count > 3: return add(arguments)
        case "zpopmin" where count > 1: removeByRank(arguments, isLowest: true)
        case "zpopmax" where count > 1: removeByRank(arguments, isLowest: false)
        case "zrangestore" where count > 4: return storeRange(arguments)
        case "zdiffstore" where count > 3: return storeDifference(arguments)
        case "spublish", "publish", "replconf", "script", "function": return .done
        case let name where name.hasPrefix("x"): return .foreign
        default: return .lost
        }
        return .done
    }

    // MARK: Forms

    private static let expiryCommands = [
        "ex": "EXPIRE", "px": "PEXPIRE", "exat": "EXPIREAT", "pxat": "PEXPIREAT",
    ]

    /// `SET key value [NX|XX] [GET] [EX s|PX ms|EXAT s|PXAT ms|KEEPTTL]`: its conditions held where it was done.
    private func set(_ arguments: [[UInt8]]) -> Outcome {
        guard arguments.count > 3 else { return .plain }
        var isLater = false
        var expiry: [[UInt8]]?
        var index = 3
        while index < arguments.count {
            switch Self.lowercased(arguments[index]) {
            case "nx", "xx": break
            case "get": isLater = true
            case "keepttl":
                isLater = true
                let left = Self.integer(run([Self.bytes("PTTL"), arguments[1]])) ?? -1
                if left >= 0 { expiry = [Self.bytes("PEXPIRE"), arguments[1], Self.bytes("\(left)")] }
            case let unit where index + 1 < arguments.count:
                guard let command = Self.expiryCommands[unit] else { return .plain }
                if unit.hasSuffix("at") { isLater = true }
                index += 1
                expiry = [Self.bytes(command), arguments[1], arguments[index]]
            default: return .plain
            }
            index += 1
        }
        guard isLater else { return .plain }
        send([Self.bytes("SET"), arguments[1], arguments[2]])
        if let expiry { send(expiry) }
        return .done
    }

    /// `GETEX key [EX s|PX ms|EXAT s|PXAT ms|PERSIST]`.
    private func expire(_ arguments: [[UInt8]]) {
        guard arguments.count > 2 else { return }
        let unit = Self.lowercased(arguments[2])
        if unit == "persist" { return send(["PERSIST"], arguments[1..<2]) }
        guard let command = Self.expiryCommands[unit], arguments.count > 3 else { return }
        send([Self.bytes(command), arguments[1], arguments[3]])
    }

    /// `RENAME key newkey`: where the master has a key of a type that is not here, what was under its new name is gone
    /// all the same.
    private func rename(_ arguments: [[UInt8]]) {
        if Self.integer(run([Self.bytes("EXISTS"), arguments[1]])) == 0 {
            send(["DEL"], arguments[2...2])
        } else {
            send(arguments)
        }
    }

    /// `COPY source destination [DB number] [REPLACE]`.
    private func copy(_ arguments: [[UInt8]]) {
        var target = database
        if let option = arguments.dropFirst(3).firstIndex(where: { Self.lowercased($0) == "db" }),
            option + 1 < arguments.count, let number = Self.integer(arguments[option + 1])
        {
            target = Int(clamping: number)
        }
        let payload = Self.bulk(run([Self.bytes("DUMP"), arguments[1]]))
        let left = Self.integer(run([Self.bytes("PTTL"), arguments[1]])) ?? -1
        if target != database, run([Self.bytes("SELECT"), Self.bytes("\(target)")]).first != UInt8(ascii: "+") {
            return
        }
        // Without REPLACE there is nothing under the name; what the master has of another type is not here.
        send(["DEL"], arguments[2...2])
        if let payload {
            send([Self.bytes("RESTORE"), arguments[2], Self.bytes("0"), payload])
            if left >= 0 { send([Self.bytes("PEXPIRE"), arguments[2], Self.bytes("\(left)")]) }
        }
        if target != database { send([Self.bytes("SELECT"), Self.bytes("\(database)")]) }
    }

    /// `SWAPDB number number`.
    private func swap(_ arguments: [[UInt8]]) -> Outcome {
        guard let one = Self.integer(arguments[1]), let other = Self.integer(arguments[2]) else { return .lost }
        return swapDatabases(Int(clamping: one), Int(clamping: other)) ? .done : .lost
    }

    /// `LPOP key count`, `RPOP key count`.
    private func trim(_ arguments: [[UInt8]], isHead: Bool) {
        guard let count = Self.integer(arguments[2]), count > 0 else { return }
        let range = isHead ? ["\(count)", "-1"] : ["0", "-\(count + 1)"]
        send([Self.bytes("LTRIM"), arguments[1]] + range.map(Self.bytes))
    }

    /// `LMOVE source destination LEFT|RIGHT LEFT|RIGHT`.
    private func move(_ arguments: [[UInt8]]) {
        // Going round a list of one element changes nothing; taking it out would end the list and its expiry.
        if arguments[1] == arguments[2], Self.integer(run([Self.bytes("LLEN"), arguments[1]])) == 1 { return }
        let fromHead = Self.lowercased(arguments[3]) == "left"
        let toHead = Self.lowercased(arguments[4]) == "left"
        guard let element = Self.bulk(run([Self.bytes(fromHead ? "LPOP" : "RPOP"), arguments[1]])) else { return }
        send([Self.bytes(toHead ? "LPUSH" : "RPUSH"), arguments[2], element])
    }

    /// `ZADD key [NX|XX] [GT|LT] [CH] [INCR] score member …`.
    private func add(_ arguments: [[UInt8]]) -> Outcome {
        var options: Set<String> = []
        var index = 2
        while index < arguments.count,
            ["nx", "xx", "gt", "lt", "ch", "incr"].contains(Self.lowercased(arguments[index]))
        {
            options.insert(Self.lowercased(arguments[index]))
            index += 1
        }
        guard !options.isEmpty else { return .plain }
        var pairs: [[UInt8]] = []
        while index + 1 < arguments.count {
            let (score, member) = (arguments[index], arguments[index + 1])
            index += 2
            if options.contains("incr") {
                // What did nothing was not propagated.
                send([Self.bytes("ZINCRBY"), arguments[1], score, member])
                continue
            }
            let current = Self.bulk(run([Self.bytes("ZSCORE"), arguments[1], member])).flatMap(Self.number)
            if let current {
                guard !options.contains("nx"), let wanted = Self.number(score) else { continue }
                if options.contains("gt"), wanted <= current { continue }
                if options.contains("lt"), wanted >= current { continue }
            } else if options.contains("xx") {
                continue
            }
            pairs += [score, member]
        }
        if !pairs.isEmpty { send([Self.bytes("ZADD"), arguments[1]] + pairs) }
        return .done
    }

    /// `ZPOPMIN key [count]`, `ZPOPMAX key [count]`.
    private func removeByRank(_ arguments: [[UInt8]], isLowest: Bool) {
        let count = arguments.count > 2 ? Self.integer(arguments[2]) ?? 0 : 1
        guard count > 0 else { return }
        let range = isLowest ? ["0", "\(count - 1)"] : ["-\(count)", "-1"]
        send([Self.bytes("ZREMRANGEBYRANK"), arguments[1]] + range.map(Self.bytes))
    }

    /// `RESTORE key time payload [REPLACE] [ABSTTL] [IDLETIME s] [FREQ n]`.
    private func restore(_ arguments: [[UInt8]]) -> Outcome {
        let isAbsolute = arguments[4...].contains { Self.lowercased($0) == "absttl" }
        let time = Self.integer(arguments[2]) ?? 0
        // It held on the master, so what is here under the name goes.
        send(["DEL"], arguments[1...1])
        let relative = isAbsolute ? Self.bytes("0") : arguments[2]
        let reply = run([Self.bytes("RESTORE"), arguments[1], relative, arguments[3]])
        // Payloads of types that are not here are refused.
        guard reply.first == UInt8(ascii: "+") else { return .foreign }
        if isAbsolute, time > 0 { send([Self.bytes("PEXPIREAT"), arguments[1], arguments[2]]) }
        return .done
    }

    /// `ZRANGESTORE destination source min max [BYSCORE|BYLEX] [REV] [LIMIT offset count]`.
    private func storeRange(_ arguments: [[UInt8]]) -> Outcome {
        var (isByScore, isByName, isReversed) = (false, false, false)
        var limit: [[UInt8]] = []
        var index = 5
        while index < arguments.count {
            switch Self.lowercased(arguments[index]) {
            case "byscore": isByScore = true
            case "bylex": isByName = true
            case "rev": isReversed = true
            case "limit" where index + 2 < arguments.count:
                limit = Array(arguments[index...(index + 2)])
                index += 2
            default: return .lost
            }
            index += 1
        }
        let kind = isByScore ? "BYSCORE" : isByName ? "BYLEX" : ""
        var request = [Self.bytes("Z\(isReversed ? "REV" : "")RANGE\(kind)")] + arguments[2...4]
        if !isByName { request.append(Self.bytes("WITHSCORES")) }
        var found = Self.bulks(run(request + limit))
        if isByName {
            found = found.flatMap { member in
                [member, Self.bulk(run([Self.bytes("ZSCORE"), arguments[2], member])) ?? Self.bytes("0")]
            }
        }
        store(found, in: arguments[1])
        return .done
    }

    /// `ZDIFFSTORE destination count key …`, whose keys are sorted sets or sets.
    private func storeDifference(_ arguments: [[UInt8]]) -> Outcome {
        guard let count = Self.integer(arguments[2]), count > 0, Int(clamping: count) <= arguments.count - 3 else {
            return .lost
        }
        let keys = arguments[3..<(3 + Int(count))]
        var others: Set<[UInt8]> = []
        for key in keys.dropFirst() {
            let isSet = run([Self.bytes("TYPE"), key]).starts(with: Self.bytes("+set"))
            let request = isSet ? [Self.bytes("SMEMBERS"), key] : ["ZRANGE", "", "0", "-1"].map(Self.bytes)
            others.formUnion(Self.bulks(run(isSet ? request : [request[0], key, request[2], request[3]])))
        }
        let members = scored(arguments[3])
        var left: [[UInt8]] = []
        for index in stride(from: 0, to: members.count - 1, by: 2) where !others.contains(members[index]) {
            left += [members[index], members[index + 1]]
        }
        store(left, in: arguments[1])
        return .done
    }

    /// The members of a sorted set, or of a set, each with its score behind it.
    private func scored(_ key: [UInt8]) -> [[UInt8]] {
        if run([Self.bytes("TYPE"), key]).starts(with: Self.bytes("+set")) {
            return Self.bulks(run([Self.bytes("SMEMBERS"), key])).flatMap { [$0, Self.bytes("1")] }
        }
        return Self.bulks(run([Self.bytes("ZRANGE"), key] + ["0", "-1", "WITHSCORES"].map(Self.bytes)))
    }

    /// Makes `key` the sorted set of these members, each with its score behind it.
    private func store(_ scored: [[UInt8]], in key: [UInt8]) {
        send(["DEL"], [key][...])
        for start in stride(from: 0, to: scored.count, by: 2000) {
            let pairs = scored[start..<min(start + 2000, scored.count)]
            var request = [Self.bytes("ZADD"), key]
            for index in stride(from: pairs.startIndex, to: pairs.endIndex, by: 2) {
                request += [pairs[index + 1], pairs[index]]
            }
            send(request)
        }
    }

    // MARK: Words

    func send(_ arguments: [[UInt8]]) { _ = run(arguments) }

    private func send(_ name: [String], _ rest: ArraySlice<[UInt8]>) { _ = run(name.map(Self.bytes) + rest) }

    static func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

    static func lowercased(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self).lowercased() }

    /// The number that `bytes` spell, or a reply holds.
    static func integer(_ bytes: [UInt8]) -> Int64? {
        let text = String(decoding: bytes.drop { $0 == 0x3A }.prefix { $0 != 0x0D }, as: UTF8.self)
        return Int64(text)
    }

    private static func number(_ bytes: [UInt8]) -> Double? { Double(String(decoding: bytes, as: UTF8.self)) }

    /// The string in a reply; nil if it holds none.
    static func bulk(_ reply: [UInt8]) -> [UInt8]? {
        guard reply.first == 0x24, reply.count > 1, reply[1] != 0x2D,
            let header = reply.firstIndex(of: 0x0A), reply.count >= header + 3
        else { return nil }
        return Array(reply[(header + 1)..<(reply.count - 2)])
    }

    /// The strings in a reply; none if it is no array of such.
    private static func bulks(_ reply: [UInt8]) -> [[UInt8]] {
        guard reply.first == 0x2A else { return [] }
        var strings: [[UInt8]] = []
        var index = reply.firstIndex(of: 0x0A).map { $0 + 1 } ?? reply.count
        while index < reply.count, reply[index] == 0x24, let end = reply[index...].firstIndex(of: 0x0A) {
            guard let count = Int(String(decoding: reply[(index + 1)..<(end - 1)], as: UTF8.self)), count >= 0 else {
                return []
            }
            strings.append(Array(reply[(end + 1)..<(end + 1 + count)]))
            index = end + 1 + count + 2
        }
        return strings
    }
}
