// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import RESP

/// The commands that tell about commands: COMMAND, SLOWLOG, LATENCY (Redis 2.8: `redis.c`, `slowlog.c`, `latency.c`).
enum IntrospectionCommands {
    static let table: [Command] = [
        Command("command", arity: .atLeast(0), flags: [.readOnly, .loading, .stale], keys: .none, command),
        Command(
            "latency",
            arity: .atLeast(2),
            flags: [.readOnly, .admin, .noScript, .loading, .stale],
            keys: .none,
            latency
        ),
        Command("slowlog", arity: .atLeast(2), flags: [.readOnly], keys: .none, slowlog),
    ]

    // MARK: COMMAND

    /// `COMMAND`, `COMMAND COUNT`, `COMMAND INFO name [name …]`.
    static func command(_ server: Server, _ call: CommandCall) throws(CommandError) {
        let rows = server.commands.rows
        if call.arguments.count == 1 {
            call.reply.writeReplyArrayHeader(rows.count)
            for row in rows { write(row, call) }
        } else if call.arguments[1].equalsIgnoringCase("info") {
            call.reply.writeReplyArrayHeader(call.arguments.count - 2)
            for index in 2..<max(2, call.arguments.count) {
                if let row = server.commands.find(call.arguments[index]) {
                    write(row, call)
                } else {
                    call.reply.writeReplyNullBulk()
                }
            }
        } else if call.arguments[1].equalsIgnoringCase("count"), call.arguments.count == 2 {
            call.reply.writeReplyInteger(rows.count)
        } else {
            throw .message("ERR Unknown subcommand or wrong number of arguments.")
        }
    }

    private static func write(_ row: Command, _ call: CommandCall) {
        call.reply.writeReplyArrayHeader(6)
        call.reply.writeReplyBulk(row.name)
        call.reply.writeReplyInteger(row.arity.number)
        let flags = CommandFlags.names.filter { row.flags.contains($0.0) }
        call.reply.writeReplyArrayHeader(flags.count)
        for (_, name) in flags { call.reply.writeReplyStatus(name) }
        call.reply.writeReplyInteger(row.keys.first)
        call.reply.writeReplyInteger(row.keys.last)
        call.reply.writeReplyInteger(row.keys.step)
    }

    // MARK: SLOWLOG

    /// `SLOWLOG GET [count]`, `LEN`, `RESET`.
    static func slowlog(_ server: Server, _ call: CommandCall) throws(CommandError) {
        let subcommand = call.arguments[1]
        let count = call.arguments.count
        if subcommand.equalsIgnoringCase("reset"), count == 2 {
            server.slowLog.reset()
            call.reply.writeReplyOK()
        } else if subcommand.equalsIgnoringCase("len"), count == 2 {
            call.reply.writeReplyInteger(server.slowLog.entries.count)
        } else if subcommand.equalsIgnoringCase("get"), count == 2 || count == 3 {
            let asked = count == 3 ? try call.arguments.integer(at: 2) : 10
            // A negative number is more than there can be, as a cast to unsigned has it.
            let entries = asked < 0 ? server.slowLog.entries[...] : server.slowLog.entries.prefix(Int(asked))
            call.reply.writeReplyArrayHeader(entries.count)
            for entry in entries {
                call.reply.writeReplyArrayHeader(4)
                call.reply.writeReplyInteger(entry.identifier)
                call.reply.writeReplyInteger(entry.seconds)
                call.reply.writeReplyInteger(entry.microseconds)
                call.reply.writeReplyArrayHeader(entry.arguments.count)
                for argument in entry.arguments { call.reply.writeReplyBulk(argument) }
            }
        } else {
            throw .message("ERR Unknown SLOWLOG subcommand or wrong # of args. Try GET, RESET, LEN.")
        }
    }

    // MARK: LATENCY

    /// `LATENCY HISTORY event`, `LATEST`, `RESET [event …]`, `GRAPH event`, `DOCTOR`.
    static func latency(_ server: Server, _ call: CommandCall) throws(CommandError) {
        let subcommand = call.arguments[1]
        let count = call.arguments.count
        if subcommand.equalsIgnoringCase("history"), count == 3 {
            let samples = server.latency.events[call.arguments.text(at: 2)]?.samples ?? []
            call.reply.writeReplyArrayHeader(samples.count)
            for sample in samples {
                call.reply.writeReplyArrayHeader(2)
                call.reply.writeReplyInteger(sample.seconds)
                call.reply.writeReplyInteger(sample.milliseconds)
            }
        } else if subcommand.equalsIgnoringCase("latest"), count == 2 {
            let events = server.latency.events.sorted { $0.key < $1.key }
            call.reply.writeReplyArrayHeader(events.count)
            for (event, series) in events {
                call.reply.writeReplyArrayHeader(4)
                call.reply.writeReplyBulk(event)
                call.reply.writeReplyInteger(series.samples.last?.seconds ?? 0)
                call.reply.writeReplyInteger(series.samples.last?.milliseconds ?? 0)
                call.reply.writeReplyInteger(series.greatest)
            }
        } else if subcommand.equalsIgnoringCase("reset") {
            if count == 2 { return call.reply.writeReplyInteger(server.latency.resetAll()) }
            var forgotten = 0
            for index in 2..<count where server.latency.reset(call.arguments.text(at: index)) { forgotten += 1 }
            call.reply.writeReplyInteger(forgotten)
        } else if subcommand.equalsIgnoringCase("graph"), count == 3 {
            let event = call.arguments.text(at: 2)
            guard let series = server.latency.events[event], !series.samples.isEmpty else {
                throw .bytes(
                    Array("ERR No samples available for event '".utf8) + Array(call.arguments[2]) + [0x27]
                )
            }
            call.reply.writeReplyBulk(series.graph(event, now: server.clock.seconds))
        } else if subcommand.equalsIgnoringCase("doctor"), count == 2 {
            call.reply.writeReplyBulk(
                server.latency.report(threshold: server.config.latencyMonitorThresholdMilliseconds)
            )
        } else {
            throw .syntax
        }
    }
}
