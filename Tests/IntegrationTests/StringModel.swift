// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisTesting

/// What one database should hold, as the kill test's writer believes.
struct StringModel {
    /// A key's value and when it expires.
    struct Entry {
        var value: [UInt8]
        /// In thousands of seconds since 1970: so coarse that reading it back through PTTL is exact.
        var expireAtKiloseconds: Int?

        func isSame(as other: Entry) -> Bool {
            expireAtKiloseconds == other.expireAtKiloseconds && sameBytes(value, other.value)
        }
    }

    var entries: [[UInt8]: Entry] = [:]

    /// Whether `key` has the same value and expiry, or none, in both.
    func agrees(with other: StringModel, on key: [UInt8]) -> Bool {
        switch (entries[key], other.entries[key]) {
        case (nil, nil): true
        case (let mine?, let theirs?): mine.isSame(as: theirs)
        default: false
        }
    }

    /// The keys on which the two do not agree.
    func disagreements(with other: StringModel) -> Set<[UInt8]> {
        Set(entries.keys).union(other.entries.keys).filter { !agrees(with: other, on: $0) }
    }

    /// A change that a server makes atomically.
    enum Change {
        case set(key: [UInt8], value: [UInt8])
        case multiSet([(key: [UInt8], value: [UInt8])])
        case append(key: [UInt8], value: [UInt8])
        case setRange(key: [UInt8], offset: Int, value: [UInt8])
        case setBit(key: [UInt8], offset: Int, bit: UInt8)
        case increment(key: [UInt8], by: Int)
        case incrementByHalf(key: [UInt8])
        case remove([[UInt8]])
        case rename(from: [UInt8], to: [UInt8])
        case expire(key: [UInt8], atKiloseconds: Int)
        case persist(key: [UInt8])
        case removeAll
    }

    mutating func apply(_ change: Change) {
        switch change {
        case .set(let key, let value): entries[key] = Entry(value: value)
        case .multiSet(let pairs): for pair in pairs { entries[pair.key] = Entry(value: pair.value) }
        case .append(let key, let value): entries[key, default: Entry(value: [])].value += value
        case .setRange(let key, let offset, let value):
            guard !value.isEmpty else { return }
            var bytes = entries[key]?.value ?? []
            if bytes.count < offset + value.count {
                bytes += filledBytes(0, count: offset + value.count - bytes.count)
            }
            bytes.replaceSubrange(offset..<offset + value.count, with: value)
            entries[key, default: Entry(value: [])].value = bytes
        case .setBit(let key, let offset, let bit):
            var bytes = entries[key]?.value ?? []
            if bytes.count <= offset / 8 { bytes += filledBytes(0, count: offset / 8 + 1 - bytes.count) }
            let mask = UInt8(0x80) >> UInt8(offset % 8)
            bytes[offset / 8] = bit == 1 ? bytes[offset / 8] | mask : bytes[offset / 8] & ~mask
            entries[key, default: Entry(value: [])].value = bytes
        case .increment(let key, let amount):
            let old = entries[key].flatMap { Int(String(decoding: $0.value, as: UTF8.self)) } ?? 0
            entries[key, default: Entry(value: [])].value = Array(String(old + amount).utf8)
        case .incrementByHalf(let key):
            let old = entries[key].flatMap { Double(String(decoding: $0.value, as: UTF8.self)) } ?? 0
            let new = old + 0.5
            let text = new == new.rounded() ? String(Int(new)) : String(new)
            entries[key, default: Entry(value: [])].value = Array(text.utf8)
        case .remove(let keys): for key in keys { entries[key] = nil }
        case .rename(let source, let target):
            guard let entry = entries.removeValue(forKey: source) else { return }
            entries[target] = entry
        case .expire(let key, let time): entries[key]?.expireAtKiloseconds = time
        case .persist(let key): entries[key]?.expireAtKiloseconds = nil
        case .removeAll: entries = [:]
        }
    }
}

extension StringModel.Change {
    /// The command that makes the change.
    var arguments: [[UInt8]] {
        func words(_ texts: String...) -> [[UInt8]] { texts.map { Array($0.utf8) } }
        return switch self {
        case .set(let key, let value): words("SET") + [key, value]
        case .multiSet(let pairs): words("MSET") + pairs.flatMap { [$0.key, $0.value] }
        case .append(let key, let value): words("APPEND") + [key, value]
        case .setRange(let key, let offset, let value): words("SETRANGE") + [key] + words("\(offset)") + [value]
        case .setBit(let key, let offset, let bit): words("SETBIT") + [key] + words("\(offset)", "\(bit)")
        case .increment(let key, let amount): words("INCRBY") + [key] + words("\(amount)")
        case .incrementByHalf(let key): words("INCRBYFLOAT") + [key] + words("0.5")
        case .remove(let keys): words("DEL") + keys
        case .rename(let source, let target): words("RENAME") + [source, target]
        case .expire(let key, let time): words("PEXPIREAT") + [key] + words("\(time)000000")
        case .persist(let key): words("PERSIST") + [key]
        case .removeAll: words("FLUSHDB")
        }
    }

    /// The keys which the change may touch; nil for all.
    var keys: [[UInt8]]? {
        switch self {
        case .set(let key, _), .append(let key, _), .setRange(let key, _, _), .setBit(let key, _, _): [key]
        case .increment(let key, _), .incrementByHalf(let key), .expire(let key, _), .persist(let key): [key]
        case .multiSet(let pairs): pairs.map(\.key)
        case .remove(let keys): keys
        case .rename(let source, let target): [source, target]
        case .removeAll: nil
        }
    }

    /// A random change.
    ///
    /// `largestValue` bounds the bytes of a value; renaming picks among the keys of `model`.
    static func random(
        _ random: inout SeededGenerator,
        largestValue: Int,
        model: StringModel
    ) -> StringModel.Change {
        // Keys of all lengths: LMDB's own end at 511 bytes, and longer ones are kept in another way.
        func key(_ kind: String, _ count: Int) -> [UInt8] {
            let number = random.number(1...count)
            let tail = number % 10 == 0 ? String(repeating: "k", count: number * 40) : ""
            return Array((number % 3 == 0 ? "{t\(number % 5)}\(kind)\(number)" : "\(kind)\(number)").utf8) + tail.utf8
        }
        func value() -> [UInt8] {
            let size = random.oneIn(20) ? random.number(0...largestValue) : random.number(0...100)
            return filledBytes(UInt8.random(in: 0...255, using: &random), count: size)
        }
        switch random.number(1...1_000) {
        case 1...300: return .set(key: key("s", 300), value: value())
        case 301...380: return .multiSet((0..<random.number(1...10)).map { _ in (key("s", 300), value()) })
        case 381...480:
            let key = key("s", 100)
            // What only grows would grow without bound.
            let isLarge = (model.entries[key]?.value.count ?? 0) > largestValue * 2
            return isLarge ? .remove([key]) : .append(key: key, value: value())
        case 481...560: return .setRange(key: key("s", 100), offset: random.number(0...largestValue), value: value())
        case 561...620:
            return .setBit(key: key("b", 20), offset: random.number(0...80_000), bit: random.oneIn(2) ? 1 : 0)
        case 621...740: return .increment(key: key("n", 20), by: random.number(-100...100))
        case 741...760: return .incrementByHalf(key: key("f", 5))
        case 761...860: return .remove((0..<random.number(1...5)).map { _ in key("s", 300) })
        case 861...900:
            let target = key("s", 300)
            let source = model.entries.keys.first { $0.first == UInt8(ascii: "s") && $0 != target }
            guard let source else { fallthrough }
            return .rename(from: source, to: target)
        case 901...960: return .expire(key: key("s", 300), atKiloseconds: random.number(3_000_000...3_100_000))
        case 961...999: return .persist(key: key("s", 300))
        default: return random.oneIn(5) ? .removeAll : .remove([key("b", 20), key("n", 20)])
        }
    }
}
