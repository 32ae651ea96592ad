// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisServer
import RESP

/// What must hold for any sequence of commands: each is answered as the model answers it, and the keyspace is sound.
///
/// Shared by the tests and the fuzzer.
enum CommandProperties {
    /// Runs the sequence that `bytes` tell on an empty server; gives what was wrong.
    static func violation(_ bytes: [UInt8], _ runner: CommandRunner) -> String? {
        var sequence = CommandSequence(bytes)
        var model = CommandModel()
        var told: [String] = []
        do {
            _ = try runner.run([Array("FLUSHALL".utf8)])
            while let step = sequence.next() {
                switch step {
                case .restart: try runner.restart()
                case .checkpoint: try runner.checkpoint()
                case .reclaim: try runner.reclaim()
                case .command(let name, let arguments):
                    let found = try runner.run([Array(name.utf8)] + arguments)
                    let expected = model.reply(to: name, arguments)
                    told.append(([name] + arguments.map(printable)).joined(separator: " "))
                    if normalized(found, name) != normalized(expected, name) {
                        let last = told.suffix(20).joined(separator: "\n")
                        return "\(found.map { "\($0)" } ?? "nothing") instead of \(expected), after:\n\(last)"
                    }
                }
            }
            let problems = runner.problems()
            if problems.isEmpty { return nil }
            return (problems + ["after:"] + told).joined(separator: "\n")
        } catch {
            return "\(error), after:\n" + told.suffix(20).joined(separator: "\n")
        }
    }

    /// The reply without the order that it may have any of.
    private static func normalized(_ reply: RESPReply?, _ name: String) -> RESPReply? {
        guard case .array(let elements) = reply else { return reply }
        switch name {
        case "SMEMBERS": return .array(elements.sorted { "\($0)" < "\($1)" })
        case "HGETALL":
            let pairs = stride(from: 0, to: elements.count - 1, by: 2).map { [elements[$0], elements[$0 + 1]] }
            return .array(pairs.sorted { "\($0)" < "\($1)" }.flatMap(\.self))
        default: return reply
        }
    }

    private static func printable(_ bytes: [UInt8]) -> String {
        bytes.count > 40 ? "(\(bytes.count) bytes of \(bytes[0]))" : String(decoding: bytes, as: UTF8.self)
    }
}
