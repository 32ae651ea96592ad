// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import RESP

/// What Redis does, as plainly as it can be said: the model that the server is held against.
///
/// Values are Swift's own arrays and dictionaries; only what is a matter of the types is here, not expiry in time.
struct CommandModel {
    enum Value: Equatable {
        case string([UInt8])
        case list([[UInt8]])
        case hash([[UInt8]: [UInt8]])
        case set(Set<[UInt8]>)
        case sortedSet([[UInt8]: Double])
    }

    private(set) var values: [[UInt8]: Value] = [:]
    /// The keys that expire some day.
    private var expiring: Set<[UInt8]> = []

    private static let wrongType = RESPReply.error(
        Array("WRONGTYPE Operation against a key holding the wrong kind of value".utf8)
    )
    private static let ok = RESPReply.status(Array("OK".utf8))

    private struct WrongType: Error {}

    /// The reply to a command, whose name is in upper case and whose arguments are right.
    mutating func reply(to name: String, _ arguments: [[UInt8]]) -> RESPReply {
        do {
            let reply = try run(name, arguments)
            // Empty values do not exist.
            for key in Set(arguments) where isEmpty(values[key]) { remove(key) }
            return reply
        } catch {
            return CommandModel.wrongType
        }
    }

    private func isEmpty(_ value: Value?) -> Bool {
        switch value {
        case .list(let elements): elements.isEmpty
        case .hash(let fields): fields.isEmpty
        case .set(let members): members.isEmpty
        case .sortedSet(let scores): scores.isEmpty
        case .string, nil: false
        }
    }

    private mutating func remove(_ key: [UInt8]) {
        values[key] = nil
        expiring.remove(key)
    }

    // MARK: Values

    private func string(_ key: [UInt8]) throws(WrongType) -> [UInt8]? {
        guard let value = values[key] else { return nil }
        guard case .string(let bytes) = value else { throw WrongType() }
        return bytes
    }

    private func list(_ key: [UInt8]) throws(WrongType) -> [[UInt8]] {
        guard let value = values[key] else { return [] }
        guard case .list(let elements) = value else { throw WrongType() }
        return elements
    }

    private func hash(_ key: [UInt8]) throws(WrongType) -> [[UInt8]: [UInt8]] {
        guard let value = values[key] else { return [:] }
        guard case .hash(let fields) = value else { throw WrongType() }
        return fields
    }

    private func set(_ key: [UInt8]) throws(WrongType) -> Set<[UInt8]> {
        guard let value = values[key] else { return [] }
        guard case .set(let members) = value else { throw WrongType() }
        return members
    }

    private func sortedSet(_ key: [UInt8]) throws(WrongType) -> [[UInt8]: Double] {
        guard let value = values[key] else { return [:] }
        guard case .sortedSet(let scores) = value else { throw WrongType() }
        return scores
    }

    private func number(_ bytes: [UInt8]) -> Int { Int(String(decoding: bytes, as: UTF8.self)) ?? 0 }

    private func integer(_ number: Int) -> RESPReply { .integer(Int64(number)) }

    private func bulk(_ bytes: [UInt8]?) -> RESPReply { bytes.map { .bulk($0) } ?? .nullBulk }

    /// The positions from `start` to `end`, both counted from the end if negative, of `count`.
    private func range(_ start: Int, _ end: Int, _ count: Int) -> Range<Int> {
        let first = max(0, start < 0 ? start + count : start)
        let last = min(count - 1, end < 0 ? end + count : end)
        return first > last ? 0..<0 : first..<(last + 1)
    }

    private func inOrder(_ scores: [[UInt8]: Double]) -> [(member: [UInt8], score: Double)] {
        scores.map { (member: $0.key, score: $0.value) }.sorted {
            $0.score != $1.score ? $0.score < $1.score : $0.member.lexicographicallyPrecedes($1.member)
        }
    }

    /// A score as it is replied: the scores of the sequences are whole numbers and halves.
    private func text(_ score: Double) -> [UInt8] {
        Array((score == score.rounded() ? String(Int(score)) : String(score)).utf8)
    }

    // MARK: Commands

    private mutating func run(_ name: String, _ arguments: [[UInt8]]) throws(WrongType) -> RESPReply {
        guard let key = arguments.first else { return withoutKey(name) }
        let rest = Array(arguments.dropFirst())
        switch name {
        case "DEL":
            defer { remove(key) }
            return integer(values[key] == nil ? 0 : 1)
        case "EXISTS": return integer(values[key] == nil ? 0 : 1)
        case "EXPIRE":
            if values[key] != nil { expiring.insert(key) }
            return integer(values[key] == nil ? 0 : 1)
        case "PERSIST": return integer(expiring.remove(key) == nil ? 0 : 1)
        case "RENAME":
            guard let value = values[key] else { return .error(Array("ERR no such key".utf8)) }
            let expires = expiring.contains(key)
            remove(key)
            values[rest[0]] = value
            if expires { expiring.insert(rest[0]) } else { expiring.remove(rest[0]) }
            return CommandModel.ok
        default: break
        }
        if let reply = try onString(name, key, rest) { return reply }
        if let reply = try onList(name, key, rest) { return reply }
        if let reply = try onHash(name, key, rest) { return reply }
        if let reply = try onSet(name, key, rest) { return reply }
        if let reply = try onSortedSet(name, key, rest) { return reply }
        preconditionFailure("the model does not know \(name)")
    }

    private mutating func withoutKey(_ name: String) -> RESPReply {
        if name == "DBSIZE" { return integer(values.count) }
        precondition(name == "FLUSHALL", "the model does not know \(name)")
        values = [:]
        expiring = []
        return CommandModel.ok
    }

    private mutating func onString(
        _ name: String,
        _ key: [UInt8],
        _ rest: [[UInt8]]
    ) throws(WrongType) -> RESPReply? {
        switch name {
        case "SET":
            remove(key)
            values[key] = .string(rest[0])
            return CommandModel.ok
        case "SETNX":
            guard values[key] == nil else { return integer(0) }
            values[key] = .string(rest[0])
            return integer(1)
        case "GET": return bulk(try string(key))
        case "GETSET":
            let old = try string(key)
            remove(key)
            values[key] = .string(rest[0])
            return bulk(old)
        case "STRLEN": return integer(try string(key)?.count ?? 0)
        case "APPEND":
            let value = (try string(key) ?? []) + rest[0]
            values[key] = .string(value)
            return integer(value.count)
        case "SETRANGE":
            var value = try string(key) ?? []
            guard !rest[1].isEmpty else { return integer(value.count) }
            let offset = number(rest[0])
            let length = max(value.count, offset + rest[1].count)
            value += [UInt8](repeating: 0, count: length - value.count)
            value.replaceSubrange(offset..<(offset + rest[1].count), with: rest[1])
            values[key] = .string(value)
            return integer(length)
        case "GETRANGE":
            let value = try string(key) ?? []
            // An end before the first byte is the first byte, in 2.8.
            let end = number(rest[1]) < 0 ? max(0, number(rest[1]) + value.count) : number(rest[1])
            return .bulk(Array(value[range(number(rest[0]), end, value.count)]))
        case "SETBIT":
            var value = try string(key) ?? []
            let (byte, mask) = (number(rest[0]) / 8, UInt8(0x80) >> UInt8(number(rest[0]) % 8))
            if value.count <= byte { value += [UInt8](repeating: 0, count: byte + 1 - value.count) }
            let old = value[byte] & mask
            if rest[1] == [0x31] { value[byte] |= mask } else { value[byte] &= ~mask }
            values[key] = .string(value)
            return integer(old == 0 ? 0 : 1)
        case "BITCOUNT": return integer((try string(key) ?? []).reduce(0) { $0 + $1.nonzeroBitCount })
        default: return nil
        }
    }

    private mutating func onList(_ name: String, _ key: [UInt8], _ rest: [[UInt8]]) throws(WrongType) -> RESPReply? {
        switch name {
        case "LPUSH", "RPUSH":
            let elements = try list(key)
            let pushed = name == "LPUSH" ? rest.reversed() + elements : elements + rest
            values[key] = .list(pushed)
            return integer(pushed.count)
        case "LPOP", "RPOP":
            var elements = try list(key)
            guard !elements.isEmpty else { return .nullBulk }
            let popped = name == "LPOP" ? elements.removeFirst() : elements.removeLast()
            values[key] = .list(elements)
            return .bulk(popped)
        case "RPOPLPUSH":
            var elements = try list(key)
            guard !elements.isEmpty else { return .nullBulk }
            _ = try list(rest[0])
            let moved = elements.removeLast()
            values[key] = .list(elements)
            if elements.isEmpty { remove(key) }
            values[rest[0]] = .list([moved] + (try list(rest[0])))
            return .bulk(moved)
        case "LLEN": return integer(try list(key).count)
        case "LINDEX":
            let elements = try list(key)
            let index = number(rest[0]) < 0 ? number(rest[0]) + elements.count : number(rest[0])
            return elements.indices.contains(index) ? .bulk(elements[index]) : .nullBulk
        case "LRANGE":
            let elements = try list(key)
            return .array(elements[range(number(rest[0]), number(rest[1]), elements.count)].map { .bulk($0) })
        case "LSET":
            var elements = try list(key)
            guard !elements.isEmpty else { return .error(Array("ERR no such key".utf8)) }
            let index = number(rest[0]) < 0 ? number(rest[0]) + elements.count : number(rest[0])
            guard elements.indices.contains(index) else { return .error(Array("ERR index out of range".utf8)) }
            elements[index] = rest[1]
            values[key] = .list(elements)
            return CommandModel.ok
        case "LINSERT":
            var elements = try list(key)
            guard !elements.isEmpty else { return integer(0) }
            guard let pivot = elements.firstIndex(of: rest[1]) else { return integer(-1) }
            elements.insert(rest[2], at: rest[0] == Array("BEFORE".utf8) ? pivot : pivot + 1)
            values[key] = .list(elements)
            return integer(elements.count)
        case "LREM":
            let elements = try list(key)
            var left = number(rest[0]) == 0 ? Int.max : abs(number(rest[0]))
            let seen = number(rest[0]) < 0 ? elements.reversed() : elements
            let kept = seen.filter { element in
                guard element == rest[1], left > 0 else { return true }
                left -= 1
                return false
            }
            values[key] = elements.isEmpty ? nil : .list(number(rest[0]) < 0 ? kept.reversed() : kept)
            return integer(elements.count - kept.count)
        case "LTRIM":
            let elements = try list(key)
            guard !elements.isEmpty else { return CommandModel.ok }
            values[key] = .list(Array(elements[range(number(rest[0]), number(rest[1]), elements.count)]))
            return CommandModel.ok
        default: return nil
        }
    }

    private mutating func onHash(_ name: String, _ key: [UInt8], _ rest: [[UInt8]]) throws(WrongType) -> RESPReply? {
        switch name {
        case "HSET", "HSETNX", "HMSET":
            var fields = try hash(key)
            var added = 0
            for index in stride(from: 0, to: rest.count, by: 2) {
                let isNew = fields[rest[index]] == nil
                if isNew { added += 1 }
                if isNew || name != "HSETNX" { fields[rest[index]] = rest[index + 1] }
            }
            values[key] = .hash(fields)
            return name == "HMSET" ? CommandModel.ok : integer(added)
        case "HGET": return bulk(try hash(key)[rest[0]])
        case "HDEL":
            var fields = try hash(key)
            let removed = rest.count { fields.removeValue(forKey: $0) != nil }
            values[key] = fields.isEmpty ? nil : .hash(fields)
            if fields.isEmpty { remove(key) }
            return integer(removed)
        case "HLEN": return integer(try hash(key).count)
        case "HGETALL": return .array(try hash(key).flatMap { [.bulk($0.key), .bulk($0.value)] })
        default: return nil
        }
    }

    private mutating func onSet(_ name: String, _ key: [UInt8], _ rest: [[UInt8]]) throws(WrongType) -> RESPReply? {
        switch name {
        case "SADD":
            let members = try set(key)
            values[key] = .set(members.union(rest))
            return integer(Set(rest).subtracting(members).count)
        case "SREM":
            let members = try set(key)
            guard !members.isEmpty else { return integer(0) }
            values[key] = .set(members.subtracting(rest))
            return integer(members.intersection(rest).count)
        case "SISMEMBER": return integer(try set(key).contains(rest[0]) ? 1 : 0)
        case "SCARD": return integer(try set(key).count)
        case "SMEMBERS": return .array(try set(key).map { .bulk($0) })
        case "SUNIONSTORE", "SINTERSTORE", "SDIFFSTORE":
            let result = try combined(name, rest)
            remove(key)
            if !result.isEmpty { values[key] = .set(result) }
            return integer(result.count)
        default: return nil
        }
    }

    private func combined(_ name: String, _ keys: [[UInt8]]) throws(WrongType) -> Set<[UInt8]> {
        var result = try set(keys[0])
        for key in keys.dropFirst() {
            // An intersection with a key that is missing is empty, whatever comes behind that.
            if name == "SINTERSTORE", keys.prefix(while: { $0 != key }).contains(where: { values[$0] == nil }) {
                return []
            }
            let members = try set(key)
            switch name {
            case "SUNIONSTORE": result.formUnion(members)
            case "SINTERSTORE": result.formIntersection(members)
            default: result.subtract(members)
            }
        }
        return result
    }

    private mutating func onSortedSet(
        _ name: String,
        _ key: [UInt8],
        _ rest: [[UInt8]]
    ) throws(WrongType) -> RESPReply? {
        switch name {
        case "ZADD":
            var scores = try sortedSet(key)
            var added = 0
            for index in stride(from: 0, to: rest.count, by: 2) {
                if scores[rest[index + 1]] == nil { added += 1 }
                scores[rest[index + 1]] = Double(String(decoding: rest[index], as: UTF8.self))
            }
            values[key] = .sortedSet(scores)
            return integer(added)
        case "ZINCRBY":
            var scores = try sortedSet(key)
            let sum = (scores[rest[1]] ?? 0) + (Double(String(decoding: rest[0], as: UTF8.self)) ?? 0)
            scores[rest[1]] = sum
            values[key] = .sortedSet(scores)
            return .bulk(text(sum))
        case "ZREM":
            let scores = try sortedSet(key)
            guard !scores.isEmpty else { return integer(0) }
            values[key] = .sortedSet(scores.filter { !rest.contains($0.key) })
            return integer(Set(rest).count { scores[$0] != nil })
        case "ZSCORE": return bulk(try sortedSet(key)[rest[0]].map(text))
        case "ZCARD": return integer(try sortedSet(key).count)
        case "ZRANK":
            let place = inOrder(try sortedSet(key)).firstIndex { $0.member == rest[0] }
            return place.map(integer) ?? .nullBulk
        case "ZRANGE":
            let all = inOrder(try sortedSet(key))
            let found = all[range(number(rest[0]), number(rest[1]), all.count)]
            return .array(found.flatMap { [.bulk($0.member), .bulk(text($0.score))] })
        case "ZCOUNT":
            let (low, high) = (Double(number(rest[0])), Double(number(rest[1])))
            return integer(try sortedSet(key).values.count { $0 >= low && $0 <= high })
        case "ZREMRANGEBYRANK":
            let scores = try sortedSet(key)
            guard !scores.isEmpty else { return integer(0) }
            let all = inOrder(scores)
            let gone = all[range(number(rest[0]), number(rest[1]), all.count)]
            var kept = scores
            for element in gone { kept[element.member] = nil }
            values[key] = .sortedSet(kept)
            return integer(gone.count)
        default: return nil
        }
    }
}
