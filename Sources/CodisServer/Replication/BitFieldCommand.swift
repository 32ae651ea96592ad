// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

/// `BITFIELD key [GET type offset] [SET type offset value] [INCRBY type offset increment] [OVERFLOW WRAP|SAT|FAIL] …`,
/// as it may come from a master of version 3.2 or later.
struct BitFieldCommand {
    private enum Overflow {
        case wraps
        case saturates
        case fails
    }

    private struct Change {
        var isSigned: Bool
        var width: Int
        /// The first bit.
        var offset: Int
        var isIncrement: Bool
        var value: Int64
        var overflow: Overflow
    }

    private let key: [UInt8]
    private var changes: [Change] = []

    /// Reads the command; nil if it is not one that a server has done.
    init?(_ arguments: [[UInt8]]) {
        key = arguments[1]
        var overflow = Overflow.wraps
        var index = 2
        while index < arguments.count {
            switch MasterDialect.lowercased(arguments[index]) {
            case "get" where index + 2 < arguments.count: index += 3
            case "overflow" where index + 1 < arguments.count:
                switch MasterDialect.lowercased(arguments[index + 1]) {
                case "wrap": overflow = .wraps
                case "sat": overflow = .saturates
                case "fail": overflow = .fails
                default: return nil
                }
                index += 2
            case let name where (name == "set" || name == "incrby") && index + 3 < arguments.count:
                let type = MasterDialect.lowercased(arguments[index + 1])
                guard let width = Int(type.dropFirst()), (1...64).contains(width),
                    let offset = Self.offset(arguments[index + 2], width: width),
                    let value = MasterDialect.integer(arguments[index + 3])
                else { return nil }
                changes.append(
                    Change(
                        isSigned: type.hasPrefix("i"),
                        width: width,
                        offset: offset,
                        isIncrement: name == "incrby",
                        value: value,
                        overflow: overflow
                    )
                )
                index += 4
            default: return nil
            }
        }
    }

    /// `offset` in bits, or `#offset` in fields.
    private static func offset(_ bytes: [UInt8], width: Int) -> Int? {
        let text = String(decoding: bytes, as: UTF8.self)
        let (number, factor) = text.hasPrefix("#") ? (Int(text.dropFirst()), width) : (Int(text), 1)
        guard let number, number >= 0, number < 1 << 33 else { return nil }
        return number * factor
    }

    /// Does it with commands of 2.8.
    func run(on dialect: MasterDialect) -> MasterDialect.Outcome {
        guard let last = changes.map({ ($0.offset + $0.width - 1) / 8 }).max() else { return .done }
        // The string grows by what is named, also where an overflow keeps the field as it is.
        let length = MasterDialect.integer(dialect.run([MasterDialect.bytes("STRLEN"), key])) ?? 0
        if length <= Int64(last) { set(last, [0], dialect) }
        for change in changes { apply(change, dialect) }
        return .done
    }

    private func set(_ position: Int, _ bytes: [UInt8], _ dialect: MasterDialect) {
        dialect.send([MasterDialect.bytes("SETRANGE"), key, MasterDialect.bytes("\(position)"), bytes])
    }

    private func apply(_ change: Change, _ dialect: MasterDialect) {
        let (first, last) = (change.offset / 8, (change.offset + change.width - 1) / 8)
        let range = ["\(first)", "\(last)"].map(MasterDialect.bytes)
        var bytes = MasterDialect.bulk(dialect.run([MasterDialect.bytes("GETRANGE"), key] + range)) ?? []
        bytes += [UInt8](repeating: 0, count: max(0, last - first + 1 - bytes.count))
        var old: UInt64 = 0
        for bit in 0..<change.width { old = old << 1 | Self.bit(bytes, change.offset % 8 + bit) }
        guard let new = Self.value(change, from: old) else { return }
        for bit in 0..<change.width {
            let position = change.offset % 8 + bit
            let mask = UInt8(0x80 >> (position % 8))
            let isSet = new >> UInt64(change.width - 1 - bit) & 1 == 1
            bytes[position / 8] = isSet ? bytes[position / 8] | mask : bytes[position / 8] & ~mask
        }
        set(first, bytes, dialect)
    }

    private static func bit(_ bytes: [UInt8], _ position: Int) -> UInt64 {
        UInt64(bytes[position / 8] >> UInt8(7 - position % 8) & 1)
    }

    /// The bits of the field after the change; nil if an overflow keeps it as it is.
    private static func value(_ change: Change, from old: UInt64) -> UInt64? {
        let mask = change.width == 64 ? UInt64.max : (1 << UInt64(change.width)) - 1
        let isNegative = change.isSigned && old >> UInt64(change.width - 1) & 1 == 1
        let current = isNegative ? Int128(old) - (Int128(1) << Int128(change.width)) : Int128(old)
        let least = change.isSigned ? -(Int128(1) << Int128(change.width - 1)) : 0
        let most = (Int128(1) << Int128(change.isSigned ? change.width - 1 : change.width)) - 1
        // A value for an unsigned field is taken as the 64 bits that it has.
        let given =
            change.isSigned || change.isIncrement
            ? Int128(change.value) : Int128(UInt64(bitPattern: change.value))
        let wanted = change.isIncrement ? current + given : given
        if wanted >= least, wanted <= most { return UInt64(truncatingIfNeeded: wanted) & mask }
        switch change.overflow {
        case .wraps: return UInt64(truncatingIfNeeded: wanted) & mask
        case .saturates: return UInt64(truncatingIfNeeded: wanted < least ? least : most) & mask
        case .fails: return nil
        }
    }
}
