// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisTesting

/// What one database with values of all types should hold.
struct TypeModel: Equatable {
    enum Value: Equatable {
        case string(String)
        case list([String])
        case hash([String: String])
        case set(Set<String>)
        case sortedSet([String: Double])
        /// All that was added; its bytes follow from more than that.
        case hyperLogLog(Set<String>)
    }

    private(set) var values: [String: Value] = [:]

    /// The value of `key`, changed; one without elements goes.
    private mutating func change<Content>(
        _ key: String,
        _ content: (Value) -> Content?,
        _ value: (Content) -> Value,
        empty: Content,
        _ body: (inout Content) -> Void
    ) where Content: Collection {
        var changed = values[key].flatMap(content) ?? empty
        body(&changed)
        values[key] = changed.isEmpty ? nil : value(changed)
    }

    mutating func changeList(_ key: String, _ body: (inout [String]) -> Void) {
        change(key, { if case .list(let list) = $0 { list } else { nil } }, Value.list, empty: [], body)
    }

    mutating func changeHash(_ key: String, _ body: (inout [String: String]) -> Void) {
        change(key, { if case .hash(let hash) = $0 { hash } else { nil } }, Value.hash, empty: [:], body)
    }

    mutating func changeSet(_ key: String, _ body: (inout Set<String>) -> Void) {
        change(key, { if case .set(let set) = $0 { set } else { nil } }, Value.set, empty: [], body)
    }

    mutating func changeSortedSet(_ key: String, _ body: (inout [String: Double]) -> Void) {
        change(key, { if case .sortedSet(let set) = $0 { set } else { nil } }, Value.sortedSet, empty: [:], body)
    }

    mutating func changeHyperLogLog(_ key: String, _ body: (inout Set<String>) -> Void) {
        change(key, { if case .hyperLogLog(let set) = $0 { set } else { nil } }, Value.hyperLogLog, empty: [], body)
    }

    mutating func changeString(_ key: String, _ body: (inout String) -> Void) {
        change(key, { if case .string(let text) = $0 { text } else { nil } }, Value.string, empty: "", body)
    }

    mutating func remove(_ key: String) { values[key] = nil }

    var hyperLogLogs: [String: Set<String>] {
        values.compactMapValues { if case .hyperLogLog(let set) = $0 { set } else { nil } }
    }

    /// The same but for what is known of HyperLogLogs only by counting.
    var withoutHyperLogLogs: TypeModel {
        var model = self
        model.values = values.filter { if case .hyperLogLog = $0.value { false } else { true } }
        return model
    }

    func set(_ key: String) -> Set<String> { if case .set(let set)? = values[key] { set } else { [] } }

    // MARK: What a server has

    /// Reads everything but HyperLogLogs in the database that `client` has selected.
    init(readFrom client: TestClient) throws(TestClientError) {
        for case let key? in try client.command("KEYS", "*").elements?.map(\.text) ?? [] where !key.hasPrefix("p") {
            let type = try client.command("TYPE", key).text
            let command =
                switch type {
                case "list": ["LRANGE", key, "0", "-1"]
                case "hash": ["HGETALL", key]
                case "set": ["SMEMBERS", key]
                case "zset": ["ZRANGE", key, "0", "-1", "WITHSCORES"]
                default: ["GET", key]
                }
            let reply = try client.command(command.map { Array($0.utf8) })
            let texts = reply.elements?.map { $0.text ?? "" } ?? []
            let pairs = stride(from: 0, to: texts.count - 1, by: 2).map { (texts[$0], texts[$0 + 1]) }
            values[key] =
                switch type {
                case "list": .list(texts)
                case "hash": .hash(Dictionary(pairs) { _, last in last })
                case "set": .set(Set(texts))
                case "zset": .sortedSet(Dictionary(pairs.map { ($0.0, Double($0.1) ?? .nan) }) { _, last in last })
                default: .string(reply.text ?? "")
                }
        }
    }

    init() {}

    /// What differs, for a message.
    func difference(from other: TypeModel) -> String {
        let keys = Set(values.keys).union(other.values.keys).filter { values[$0] != other.values[$0] }
        return keys.sorted().map { key in
            let texts = [self, other].map { model in model.values[key].map { "\($0)" } ?? "nothing" }
            return "\(key): \(texts[0].prefix(300)) -> \(texts[1].prefix(300))"
        }.joined(separator: "\n")
    }
}

/// Something that a server does as a whole, and what it does to a model.
struct TypeChange {
    /// The commands that are sent; the last one is answered when all is done.
    var commands: [[String]]
    var apply: (inout TypeModel) -> Void

    init(_ command: [String], _ apply: @escaping (inout TypeModel) -> Void) {
        commands = [command]
        self.apply = apply
    }

    /// A change of any kind: one command, a transaction or a script.
    static func random(_ random: inout SeededGenerator) -> TypeChange {
        switch random.number(0...9) {
        case 0: transaction((0..<random.number(1...8)).map { _ in command(&random) })
        case 1: script(&random)
        default: command(&random)
        }
    }

    private static func transaction(_ changes: [TypeChange]) -> TypeChange {
        var all = TypeChange(["EXEC"]) { model in
            for change in changes { change.apply(&model) }
        }
        all.commands = [["MULTI"]] + changes.flatMap(\.commands) + [["EXEC"]]
        return all
    }

    private static func script(_ random: inout SeededGenerator) -> TypeChange {
        let (number, value) = (random.number(0...3), self.value(&random))
        let text = """
            redis.call('RPUSH', KEYS[1], ARGV[1]); redis.call('HSET', KEYS[2], 'script', ARGV[1])
            redis.call('SADD', KEYS[3], ARGV[1]); redis.call('ZADD', KEYS[4], 7, ARGV[1])
            return redis.call('APPEND', KEYS[5], 'x')
            """
        let keys = ["l", "h", "t", "z", "s"].map { "\($0)\(number)" }
        return TypeChange(["EVAL", text, "5"] + keys + [value]) { model in
            model.changeList(keys[0]) { $0.append(value) }
            model.changeHash(keys[1]) { $0["script"] = value }
            model.changeSet(keys[2]) { $0.insert(value) }
            model.changeSortedSet(keys[3]) { $0[value] = 7 }
            model.changeString(keys[4]) { $0 += "x" }
        }
    }

    private static func value(_ random: inout SeededGenerator) -> String {
        let length = random.pick([1, 3, 3, 8, 40, 300, 3000])
        return "\(random.number(0...99_999))" + String(repeating: random.pick(["a", "b", "c"]), count: length)
    }

    private static func command(_ random: inout SeededGenerator) -> TypeChange {
        let number = random.number(0...3)
        if random.oneIn(60) {
            let key = random.pick(["s", "l", "h", "t", "z", "p"]) + "\(number)"
            return TypeChange(["DEL", key]) { $0.remove(key) }
        }
        return switch random.number(0...5) {
        case 0: string("s\(number)", &random)
        case 1: list("l\(number)", &random)
        case 2: hash("h\(number)", &random)
        case 3: set("t\(number)", &random)
        case 4: sortedSet("z\(number)", &random)
        default: hyperLogLog("p\(number)", &random)
        }
    }

    private static func string(_ key: String, _ random: inout SeededGenerator) -> TypeChange {
        let value = value(&random)
        guard random.oneIn(2) else { return TypeChange(["SET", key, value]) { $0.changeString(key) { $0 = value } } }
        return TypeChange(["APPEND", key, value]) { $0.changeString(key) { $0 += value } }
    }

    private static func list(_ key: String, _ random: inout SeededGenerator) -> TypeChange {
        let values = (0..<random.number(1...6)).map { _ in value(&random) }
        switch random.number(0...5) {
        case 0, 1: return TypeChange(["RPUSH", key] + values) { $0.changeList(key) { $0 += values } }
        case 2: return TypeChange(["LPUSH", key] + values) { $0.changeList(key) { $0 = values.reversed() + $0 } }
        case 3: return TypeChange(["LPOP", key]) { $0.changeList(key) { $0 = Array($0.dropFirst()) } }
        case 4: return TypeChange(["RPOP", key]) { $0.changeList(key) { $0 = $0.dropLast() } }
        default:
            return TypeChange(["LTRIM", key, "2", "150"]) {
                $0.changeList(key) { $0 = Array($0.prefix(151).dropFirst(2)) }
            }
        }
    }

    private static func hash(_ key: String, _ random: inout SeededGenerator) -> TypeChange {
        let (field, value) = ("f\(random.number(0...150))", value(&random))
        switch random.number(0...4) {
        case 0, 1: return TypeChange(["HSET", key, field, value]) { $0.changeHash(key) { $0[field] = value } }
        case 2:
            return TypeChange(["HMSET", key, field, value, "g", field]) {
                $0.changeHash(key) {
                    $0[field] = value
                    $0["g"] = field
                }
            }
        case 3: return TypeChange(["HDEL", key, field]) { $0.changeHash(key) { $0[field] = nil } }
        default:
            return TypeChange(["HINCRBY", key, "n", "5"]) {
                $0.changeHash(key) { $0["n"] = "\(($0["n"].flatMap { Int($0) } ?? 0) + 5)" }
            }
        }
    }

    private static func set(_ key: String, _ random: inout SeededGenerator) -> TypeChange {
        let members = (0..<random.number(1...20)).map { _ in "\(random.number(0...800))" }
        let other = "t\(random.number(0...3))"
        switch random.number(0...4) {
        case 0, 1: return TypeChange(["SADD", key] + members) { $0.changeSet(key) { $0.formUnion(members) } }
        case 2: return TypeChange(["SREM", key] + members) { $0.changeSet(key) { $0.subtract(members) } }
        case 3:
            return TypeChange(["SMOVE", key, other, members[0]]) { model in
                guard model.set(key).contains(members[0]) else { return }
                model.changeSet(key) { $0.remove(members[0]) }
                model.changeSet(other) { $0.insert(members[0]) }
            }
        default:
            return TypeChange(["SUNIONSTORE", key, key, other]) { model in
                let union = model.set(key).union(model.set(other))
                model.changeSet(key) { $0 = union }
            }
        }
    }

    private static func sortedSet(_ key: String, _ random: inout SeededGenerator) -> TypeChange {
        let (member, score) = ("m\(random.number(0...400))", Double(random.number(-50...50)) / 2)
        switch random.number(0...4) {
        case 0, 1:
            return TypeChange(["ZADD", key, "\(score)", member]) { $0.changeSortedSet(key) { $0[member] = score } }
        case 2:
            return TypeChange(["ZINCRBY", key, "0.5", member]) {
                $0.changeSortedSet(key) { $0[member, default: 0] += 0.5 }
            }
        case 3: return TypeChange(["ZREM", key, member]) { $0.changeSortedSet(key) { $0[member] = nil } }
        default:
            return TypeChange(["ZREMRANGEBYSCORE", key, "(20", "+inf"]) {
                $0.changeSortedSet(key) { $0 = $0.filter { $0.value <= 20 } }
            }
        }
    }

    private static func hyperLogLog(_ key: String, _ random: inout SeededGenerator) -> TypeChange {
        let elements = (0..<random.number(1...5)).map { _ in "e\(random.number(0...5000))" }
        return TypeChange(["PFADD", key] + elements) { $0.changeHyperLogLog(key) { $0.formUnion(elements) } }
    }
}
