// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import RESP

/// What later versions of Redis put into their stream for the types of 2.8, said in the commands of 2.8.
///
/// A master of version 4 to 7 propagates some changes in forms that 2.8 does not know: `SET key value PXAT time`,
/// `HSET` of several fields, `UNLINK`. They stand in this server's log as they came, so they are translated whenever
/// they are done: when they come, and at replay. What has no counterpart here, such as streams, is left out, and the
/// log says so.
struct MasterDialect {
    /// Does a command of 2.8 and gives its reply.
    typealias Run = ([[UInt8]]) -> [UInt8]

    /// How a command was taken.
    enum Outcome {
        /// It is one of 2.8, to be done as it is.
        case plain
        /// It was translated and done.
        case done
        /// There is nothing like it.
        case unknown
    }

    private let run: Run

    init(_ run: @escaping Run) { self.run = run }

    /// Whether a command that 2.8 has, with arguments of a number that it takes, may be meant in a later form.
    static func mayBeLater(_ arguments: borrowing Arguments) -> Bool {
        guard arguments.count > 3 else { return false }
        switch arguments[0].count {
        case 3: return arguments[0].equalsIgnoringCase("set")
        case 4: return arguments[0].equalsIgnoringCase("zadd")
        case 7: return arguments.count > 4 && arguments[0].equalsIgnoringCase("restore")
        default: return false
        }
    }

    /// Does the command of these arguments, whose name comes first, if it is of a later form.
    func perform(_ arguments: [[UInt8]]) -> Outcome {
        switch Self.lowercased(arguments[0]) {
        case "set": return set(arguments)
        case "hset" where arguments.count > 4: send(["HMSET"], arguments[1...])
        case "unlink": send(["DEL"], arguments[1...])
        case "flushall", "flushdb": send([arguments[0]])
        case "lpop" where arguments.count == 3: trim(arguments, isHead: true)
        case "rpop" where arguments.count == 3: trim(arguments, isHead: false)
        case "lpushx" where arguments.count > 3, "rpushx" where arguments.count > 3:
            for value in arguments[2...] { send([arguments[0], arguments[1], value]) }
        case "lmove" where arguments.count == 5: move(arguments)
        case "zadd" where arguments.count > 3: return add(arguments)
        case "zpopmin" where arguments.count > 1: removeByRank(arguments, isLowest: true)
        case "zpopmax" where arguments.count > 1: removeByRank(arguments, isLowest: false)
        case "restore" where arguments.count > 4: return restore(arguments)
        case "pexpireat" where arguments.count > 3, "expireat" where arguments.count > 3:
            send(Array(arguments[..<3]))
        case "spublish", "publish", "replconf", "script", "function": return .done
        default: return .unknown
        }
        return .done
    }

    // MARK: Forms

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
                guard let command = ["ex": "EXPIRE", "px": "PEXPIRE", "exat": "EXPIREAT", "pxat": "PEXPIREAT"][unit]
                else {
                    return .plain
                }
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

    /// `LPOP key count`, `RPOP key count`.
    private func trim(_ arguments: [[UInt8]], isHead: Bool) {
        guard let count = Self.integer(arguments[2]), count > 0 else { return }
        let range = isHead ? ["\(count)", "-1"] : ["0", "-\(count + 1)"]
        send([Self.bytes("LTRIM"), arguments[1]] + range.map(Self.bytes))
    }

    /// `LMOVE source destination LEFT|RIGHT LEFT|RIGHT`.
    private func move(_ arguments: [[UInt8]]) {
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
        let options = Set(arguments[4...].map(Self.lowercased))
        guard !options.isDisjoint(with: ["absttl", "idletime", "freq"]) else { return .plain }
        let time = Self.integer(arguments[2]) ?? 0
        let isAbsolute = options.contains("absttl")
        let relative = isAbsolute ? Self.bytes("0") : arguments[2]
        send([Self.bytes("RESTORE"), arguments[1], relative, arguments[3], Self.bytes("REPLACE")])
        if isAbsolute, time > 0 { send([Self.bytes("PEXPIREAT"), arguments[1], arguments[2]]) }
        return .done
    }

    // MARK: Words

    private func send(_ arguments: [[UInt8]]) { _ = run(arguments) }

    private func send(_ name: [String], _ rest: ArraySlice<[UInt8]>) { _ = run(name.map(Self.bytes) + rest) }

    private static func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

    private static func lowercased(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self).lowercased() }

    /// The number that `bytes` spell, or a reply holds.
    private static func integer(_ bytes: [UInt8]) -> Int64? {
        let text = String(decoding: bytes.drop { $0 == 0x3A }.prefix { $0 != 0x0D }, as: UTF8.self)
        return Int64(text)
    }

    private static func number(_ bytes: [UInt8]) -> Double? { Double(String(decoding: bytes, as: UTF8.self)) }

    /// The string in a reply; nil if it holds none.
    private static func bulk(_ reply: [UInt8]) -> [UInt8]? {
        guard reply.first == 0x24, reply.count > 1, reply[1] != 0x2D,
            let header = reply.firstIndex(of: 0x0A), reply.count >= header + 3
        else { return nil }
        return Array(reply[(header + 1)..<(reply.count - 2)])
    }
}
