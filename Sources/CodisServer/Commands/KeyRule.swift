// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes

/// Where the keys are that a command names, also for those whose `KeyPositions` cannot tell.
enum KeyRule: Equatable, Sendable {
    case none
    /// The row of the table says it.
    case positions(KeyPositions)
    /// One argument.
    case single(Int)
    /// `count` stands at an index, the keys behind it; another key may stand at 1.
    case counted(at: Int, hasDestination: Bool)
    /// From 1 on each so many.
    case steps(of: Int)
    /// SORT: the first, and what STORE names.
    case sort
    /// MOVE: the first, in two databases.
    case move
    /// All keys of the database.
    case everythingOfDatabase
    /// All keys.
    case everything

    /// The rule for the command called `name`, whose row has `positions`.
    init(_ name: String, _ positions: KeyPositions) {
        switch name {
        case "eval", "evalsha": self = .counted(at: 2, hasDestination: false)
        case "zunionstore", "zinterstore": self = .counted(at: 2, hasDestination: true)
        case "sort": self = .sort
        case "move": self = .move
        case "migrate": self = .single(3)
        case "slotsmgrtone", "slotsmgrttagone": self = .single(4)
        case "slotsmgrtone-async", "slotsmgrttagone-async": self = .positions(.from(6))
        case "slotsmgrtone-async-dump", "slotsmgrttagone-async-dump": self = .positions(.from(3))
        // Where the keys of the command are that is wrapped is not known here: any argument may be one.
        case "slotsmgrt-exec-wrapper": self = .positions(.from(1))
        case "slotsrestore-async": self = .single(2)
        case "slotsrestore": self = .steps(of: 3)
        case "slotsrestore-end": self = .steps(of: 4)
        case "slotsdel", "flushdb": self = .everythingOfDatabase
        case "flushall": self = .everything
        default: self = positions.first == 0 ? .none : .positions(positions)
        }
    }

    /// Calls `body` with each key and its database until it returns false; `database` is the one that is selected.
    ///
    /// Arguments that make no sense name no keys.
    func forEachKey(
        _ arguments: borrowing Arguments,
        _ database: Int,
        _ body: (ByteView, Int) -> Bool
    ) {
        let count = arguments.count
        switch self {
        case .none, .everything, .everythingOfDatabase: return
        case .positions(let positions):
            let last = positions.last < 0 ? count + positions.last : min(positions.last, count - 1)
            for index in stride(from: positions.first, through: last, by: positions.step) {
                guard body(arguments[index], database) else { return }
            }
        case .single(let index):
            if index < count { _ = body(arguments[index], database) }
        case .counted(let index, let hasDestination):
            if hasDestination, count > 1 { guard body(arguments[1], database) else { return } }
            guard index < count, let keys = arguments.optionalInteger(at: index), keys > 0 else { return }
            for index in index + 1..<min(count, index + 1 + Int(min(keys, Int64(count)))) {
                guard body(arguments[index], database) else { return }
            }
        case .steps(let step):
            for index in stride(from: 1, to: count, by: step) {
                guard body(arguments[index], database) else { return }
            }
        case .sort:
            guard count > 1, body(arguments[1], database) else { return }
            for index in stride(from: 2, to: count - 1, by: 1) where arguments[index].equalsIgnoringCase("store") {
                guard body(arguments[index + 1], database) else { return }
            }
        case .move:
            guard count > 2, body(arguments[1], database) else { return }
            if let target = arguments.optionalInteger(at: 2), target >= 0, target < 256 {
                _ = body(arguments[1], Int(target))
            }
        }
    }
}
