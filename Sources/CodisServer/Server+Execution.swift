// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import Keyspace
internal import NIOCore
internal import RESP

/// What may stand between a command and its running; while there is nothing, one test passes them all.
struct AdmissionGates: OptionSet {
    let rawValue: UInt16

    /// A password is asked for.
    static let password = AdmissionGates(rawValue: 1 << 0)
    /// There is a limit on memory.
    static let memory = AdmissionGates(rawValue: 1 << 1)
    /// Writes are refused.
    static let writesRefused = AdmissionGates(rawValue: 1 << 2)
    /// Somebody watches the commands.
    static let monitored = AdmissionGates(rawValue: 1 << 3)
    /// Commands have other names than their own.
    static let renamed = AdmissionGates(rawValue: 1 << 4)
    /// A script has run for longer than it may, and still does.
    static let scriptRuns = AdmissionGates(rawValue: 1 << 5)
    /// A dump has failed, and writes are to be refused until one is written.
    static let saveFailed = AdmissionGates(rawValue: 1 << 7)
    /// There is a master, or a number of replicas is asked for.
    static let replication = AdmissionGates(rawValue: 1 << 6)

    /// Data are loaded before anything else is done.
    static let loading = AdmissionGates(rawValue: 1 << 9)
    /// Keys are on their way to another server or from one.
    static let fenced = AdmissionGates(rawValue: 1 << 8)

    mutating func set(_ gate: AdmissionGates, _ isClosed: Bool) {
        if isClosed { insert(gate) } else { remove(gate) }
    }
}

/// From a request to its reply (Redis 2.8: redis.c, processCommand and call).
extension Server {
    /// Runs the request that `call` holds, or replies why not.
    @inline(__always)
    func execute(_ call: CommandCall) {
        guard let command = commands.lookUp(call.arguments[0]) else { return refuseUnknown(call) }
        command.lend { execute($0, call) }
    }

    @inline(__always)
    private func execute(_ command: Command, _ call: CommandCall) {
        guard command.arity.accepts(call.arguments.count) else {
            return refuse(call, "ERR wrong number of arguments for '\(command.name)' command")
        }
        if !gates.isEmpty || !call.session.modes.isEmpty {
            guard pass(command, call) else { return }
        }
        if command.flags.contains(.write) {
            guard haveRoom(for: command, call) else { return refuse(call, .outOfSpace) }
            commandStart = (effects.offset, effects.selected)
        }
        run(command, call)
        if hasReadyKeys { serveBlocked() }
    }

    /// Runs a command that may run: times it, propagates what it did, and counts it.
    @inline(__always)
    func run(_ command: Command, _ call: CommandCall) {
        run(command, call, at: clock.milliseconds)
    }

    /// Runs a command as of `now`, in ms since 1970.
    @inline(__always)
    func run(_ command: Command, _ call: CommandCall, at now: Int64) {
        call.command = command
        call.dirty = 0
        call.isPropagated = false
        call.now = now
        call.session.lastCommand = command
        isExecuting = true
        let replyStart = call.reply.writerIndex
        do throws(CommandError) {
            if isLarge(call) { try callLarge(command, call) } else { try command.function(self, call) }
        } catch {
            call.reply.moveWriterIndex(to: replyStart)
            call.reply.writeReplyError(error.line)
        }
        isExecuting = false
        if call.dirty != 0 {
            dirty += call.dirty
            if !call.isPropagated, command.flags.contains(.write) { propagate(command, call) }
            call.session.hasWritten = true
            needsTickEnd()
        }
        statistics.commandsProcessed += 1
        let nanoseconds = clock.readMonotonic()
        commandStatistics.note(row: command.row, nanoseconds: nanoseconds)
        if nanoseconds >= slowNanoseconds { noteSlow(command, call, nanoseconds) }
    }

    /// Puts the request into the log as it came, if it came in the log's form.
    @inline(__always)
    private func propagate(_ command: Command, _ call: CommandCall) {
        if !call.request.isEmpty {
            effects.append(request: call.request, database: call.database)
        } else {
            effects.append(call.arguments, name: command.name, database: call.database)
        }
        if effects.pendingBytes > Server.longestFrame { writeFrameInTick() }
    }

    /// A tick that gathers more than this for the log writes it in several frames.
    static let longestFrame = 256 << 20

    // MARK: Admission

    /// Replies why a command does not run; a transaction that it was meant for will not run either, with few
    /// exceptions.
    private func refuse(_ call: CommandCall, _ text: String, abortsTransaction: Bool = true) {
        call.reply.writeReplyError(text)
        if abortsTransaction { call.session.abortTransaction() }
    }

    private func refuse(_ call: CommandCall, _ error: CommandError) {
        call.reply.writeReplyError(error.line)
        call.session.abortTransaction()
    }

    private func refuseUnknown(_ call: CommandCall) {
        // QUIT is no row of the table: it works in any state and with any arguments.
        if call.arguments[0].equalsIgnoringCase("quit") {
            call.reply.writeReplyOK()
            call.session.closesAfterReply = true
            return
        }
        if call.session.isSender, call.arguments[0].count > 0, call.arguments[0][0] == UInt8(ascii: "-") {
            // A server of Codis 3.2 takes an error for a command, and answers with an error: that would go on for ever.
            call.session.closesAfterReply = true
            return
        }
        call.reply.writeReplyError(Array("ERR unknown command '".utf8) + Array(call.arguments[0]) + [0x27])
        call.session.abortTransaction()
    }

    /// Whether the disk has room for what the command may write.
    ///
    /// Commands that cannot make the data grow may use what is kept back for them.
    @inline(__always)
    func haveRoom(for command: Command, _ call: CommandCall) -> Bool {
        let bytes = call.request.isEmpty ? call.arguments.byteCount : call.request.count
        if hasRoom(for: command, bytes, call.arguments.count) { return true }
        return relieveFullDisk(for: command) { hasRoom(for: command, bytes, call.arguments.count) }
    }

    @inline(__always)
    private func hasRoom(for command: Command, _ bytes: Int, _ argumentCount: Int) -> Bool {
        if command.flags.contains(.denyOutOfMemory) {
            return withKeyspace { $0.ensureRoom(bytes: bytes) } && effects.ensureRoom(bytes: bytes + Server.logReserve)
        }
        return withKeyspace { $0.ensureRoomForDelete(rows: argumentCount) } && effects.ensureRoom(bytes: bytes + 256)
    }

    /// Bytes of the log that only deletes may use when the disk is full.
    private static let logReserve = 1 << 20

    /// Whether the gates let the command pass; replies why not, and shows it to who watches.
    private func pass(_ command: Command, _ call: CommandCall) -> Bool {
        let session = call.session
        if gates.contains(.password), !session.isAuthenticated, !command.isAuthentication {
            refuse(call, "NOAUTH Authentication required.")
            return false
        }
        if gates.contains(.memory), !evictIfNeeded(), command.flags.contains(.denyOutOfMemory) {
            refuse(call, "OOM command not allowed when used memory > 'maxmemory'.")
            return false
        }
        if let writeRefusal, command.flags.contains(.write) || command.name == "ping" {
            refuse(call, writeRefusal)
            return false
        }
        if gates.contains(.saveFailed), command.flags.contains(.write) || command.name == "ping" {
            refuse(call, Server.saveRefusal)
            return false
        }
        if gates.contains(.replication), let refusal = refusalByReplication(command, call) {
            refuse(call, refusal, abortsTransaction: !refusal.hasPrefix("READONLY"))
            return false
        }
        if gates.contains(.loading), !command.flags.contains(.loading) {
            refuse(call, "LOADING Redis is loading the dataset in memory", abortsTransaction: false)
            return false
        }
        if gates.contains(.scriptRuns), !mayRunDuringScript(command, call) {
            refuse(call, "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.")
            return false
        }
        if gates.contains(.renamed), !call.arguments[0].equalsIgnoringCase(command.name) {
            // The log knows the command by its own name only.
            call.request = ByteView()
        }
        if !session.modes.isEmpty {
            guard passModes(command, call) else { return false }
        }
        if gates.contains(.fenced), waitsForFence(command, call) { return false }
        if gates.contains(.monitored), command.flags.isDisjoint(with: [.admin, .skipMonitor]) { showToMonitors(call) }
        return true
    }

    /// Why writes are refused when a dump has failed.
    static let saveRefusal =
        "MISCONF Redis is configured to save RDB snapshots, but is currently not able to persist on disk. Commands "
        + "that may modify the data set are disabled. Please check Redis logs for details about the error."

    /// Shows the command to the clients that monitor.
    func showToMonitors(_ call: CommandCall) {
        let microseconds = clock.microseconds
        let fraction = String(microseconds % 1_000_000)
        var line = Array("+\(microseconds / 1_000_000).".utf8)
        line += Array((String(repeating: "0", count: 6 - fraction.utf8.count) + fraction).utf8)
        let address = call.session.isUnixSocket ? "unix:\(config.unixSocket ?? "")" : call.session.address
        line += Array(" [\(call.database) \(address)]".utf8)
        for index in 0..<call.arguments.count {
            line.append(0x20)
            line.appendQuoted(call.arguments[index])
        }
        line += [0x0D, 0x0A]
        for monitor in monitors {
            if monitor === call.session {
                call.reply.writeBytes(line)
            } else {
                monitor.output.writeBytes(line)
                touch(monitor)
            }
        }
    }

    // MARK: Slow commands

    private func noteSlow(_ command: Command, _ call: CommandCall, _ nanoseconds: Int64) {
        // The commands of a transaction count, not EXEC as well; a script that was suspended does when it has ended.
        guard !isLoading, command.name != "exec" else { return }
        guard !(gates.contains(.scriptRuns) && command.flags.contains(.noScript)) else { return }
        let threshold = config.slowLogSlowerThanMicroseconds
        if threshold >= 0, nanoseconds / 1000 >= Int64(threshold) {
            slowLog.note(
                call.arguments,
                microseconds: nanoseconds / 1000,
                atSeconds: clock.seconds,
                maximumLength: config.slowLogMaximumLength
            )
        }
        noteLatency(command.flags.contains(.fast) ? "fast-command" : "command", nanoseconds: nanoseconds)
    }

    /// Notes how long a script took that was suspended.
    func noteScript(_ command: Command, _ arguments: [[UInt8]], nanoseconds: Int64) {
        guard nanoseconds >= slowNanoseconds else { return }
        let call = CommandCall(effects: effects)
        ByteView.with(Array(arguments.joined())) { bytes in
            var rest = bytes
            let views = arguments.map { argument in
                defer { rest = rest.dropFirst(argument.count) }
                return rest.prefix(argument.count)
            }
            call.arguments.take(views)
            noteSlow(command, call, nanoseconds)
        }
    }

    /// Tells the latency monitor that something took long, if it did.
    func noteLatency(_ event: String, nanoseconds: Int64) {
        let threshold = config.latencyMonitorThresholdMilliseconds
        let milliseconds = Int(nanoseconds / 1_000_000)
        guard threshold > 0, milliseconds >= threshold else { return }
        latency.note(event, milliseconds: milliseconds, atSeconds: clock.seconds)
    }
}

extension ByteView {
    /// Whether the bytes are those of `text`, which is in lower case, when case does not count.
    func equalsIgnoringCase(_ text: String) -> Bool {
        let wanted = text.utf8
        guard wanted.count == count else { return false }
        for (index, byte) in wanted.enumerated() {
            let own = self[index]
            guard (own >= 65 && own <= 90 ? own | 0x20 : own) == byte else { return false }
        }
        return true
    }
}
