// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import CommandLog
internal import RESP

/// The stream of effects on its way into the log: what commands did, as commands in RESP.
///
/// It knows which database the stream has selected, and puts `SELECT` before what happened in another. While the log
/// is replayed, nothing is recorded. What belongs together is gathered in a unit first: see `EffectUnit`.
final class EffectStream {
    /// The log; nil until it was replayed.
    private(set) var log: CommandLog? {
        didSet {
            lentLog = log.map { Lent($0) }
            recorder = nil
        }
    }
    private(set) var lentLog: Lent<CommandLog>?
    /// What commands are recorded into: the log, or nothing as long as a master's stream goes into that.
    ///
    /// It lives by `log`.
    private var recorder: Lent<CommandLog>?
    /// The end of the open unit ends the recording.
    private var stopsAfterUnit = false
    /// The database that the next effect finds selected, -1 when it must be preceded by SELECT in any case.
    private var database = -1
    /// The database that the stream really has selected where it ends, -1 if it does not say.
    private(set) var selected = -1
    /// Why effects can no longer be recorded, once they cannot.
    private(set) var failure: CommandLogError?
    /// What is gathered until its unit ends.
    private var unit = EffectUnit()

    /// Begins to record into `log`.
    func begin(_ log: CommandLog, database: Int) {
        self.log = log
        recorder = lentLog
        self.database = database
        selected = database
    }

    /// Has the next effect say which database it is in: a replica that comes now does not know.
    func selectAnew() { database = -1 }

    /// Takes note of the database that the stream of the master has selected by now.
    func follow(database: Int) {
        self.database = database
        selected = database
    }

    /// Lets go of the log, which is to be opened anew; nothing is recorded meanwhile.
    func end() {
        log = nil
        database = -1
        selected = -1
    }

    /// Records no more: what goes into the log from now on is the stream of a master, as it comes.
    ///
    /// A unit that is open and has an effect is recorded to its end.
    func stopRecording() {
        if unit.depth > 0, unit.effectCount > 0 { stopsAfterUnit = true } else { recorder = nil }
    }

    /// Records again; what comes next says which database it is in.
    func startRecording() {
        stopsAfterUnit = false
        recorder = lentLog
        database = -1
    }

    /// Appends a PING, by which replicas know that the stream goes on.
    func appendPing() {
        guard let recorder else { return }
        do throws(CommandLogError) {
            try recorder.object.append("*1\r\n$4\r\nPING\r\n")
        } catch {
            fail(error)
        }
    }

    /// Where the log ends that was written.
    @inline(__always)
    var endOffset: UInt64 { lentLog?.lend { $0.endOffset } ?? 0 }

    /// How many bytes wait for the end of the tick.
    @inline(__always)
    var pendingBytes: Int { lentLog?.lend { $0.pendingBytes } ?? 0 }

    /// Whether so many bytes can be written for certain.
    @inline(__always)
    func ensureRoom(bytes: Int) -> Bool { lentLog?.lend { $0.ensureRoom(bytes: bytes) } ?? true }

    /// Where the next byte goes, or the unit that is open.
    @inline(__always)
    var offset: UInt64 { lentLog?.lend { $0.endOffsetIncludingPending } ?? 0 }

    /// Appends a request that is canonical multibulk already.
    @inline(__always)
    func append(request: ByteView, database: Int) {
        guard let log = recorder else { return }
        if unit.depth != 0 {
            prepareUnit(database)
            return unit.append(request)
        }
        if database != self.database { select(database, log.object) }
        do throws(CommandLogError) {
            try log.lend { log throws(CommandLogError) in try log.append(request) }
        } catch {
            fail(error)
        }
    }

    /// Appends `name key`.
    func append(_ name: StaticString, _ key: ByteView, database: Int) {
        append([ByteView(name), key], database: database)
    }

    /// Appends `name key value`.
    func append(_ name: StaticString, _ key: ByteView, _ value: ByteView, database: Int) {
        append([ByteView(name), key, value], database: database)
    }

    /// Appends `name key number`.
    func append(_ name: StaticString, _ key: ByteView, _ number: Int64, database: Int) {
        ByteView.with(DecimalNumber.digits(of: number)) { digits in
            append([ByteView(name), key, digits], database: database)
        }
    }

    /// Appends a command.
    func append(_ arguments: [ByteView], database: Int) {
        guard let log = recorder?.object else { return }
        if unit.depth != 0 {
            prepareUnit(database)
            unit.bytes.appendRequestHeader(argumentCount: arguments.count)
            for argument in arguments { unit.bytes.appendRequestArgument(argument) }
            return
        }
        if database != self.database { select(database, log) }
        do throws(CommandLogError) {
            try log.appendCommand(argumentCount: arguments.count)
            for argument in arguments { try log.appendArgument(argument) }
        } catch {
            fail(error)
        }
    }

    /// Appends the arguments of a command that came in another form than the log's; its name is `name`.
    func append(_ arguments: borrowing Arguments, name: String, database: Int) {
        guard let log = recorder?.object else { return }
        if unit.depth != 0 {
            prepareUnit(database)
            unit.bytes.appendRequestHeader(argumentCount: arguments.count)
            ByteView.with(name) { unit.bytes.appendRequestArgument($0) }
            for index in 1..<arguments.count { unit.bytes.appendRequestArgument(arguments[index]) }
            return
        }
        if database != self.database { select(database, log) }
        do throws(CommandLogError) {
            try log.appendCommand(argumentCount: arguments.count)
            try ByteView.with(name) { name throws(CommandLogError) in try log.appendArgument(name) }
            for index in 1..<arguments.count { try log.appendArgument(arguments[index]) }
        } catch {
            fail(error)
        }
    }

    private func select(_ database: Int, _ log: CommandLog) {
        self.database = database
        selected = database
        do throws(CommandLogError) {
            try log.appendCommand(argumentCount: 2)
            try log.appendArgument(ByteView("SELECT"))
            try ByteView.with(DecimalNumber.digits(of: Int64(database))) { digits throws(CommandLogError) in
                try log.appendArgument(digits)
            }
        } catch {
            fail(error)
        }
    }

    /// Hears that the log cannot be written any more.
    func fail(_ error: CommandLogError) {
        failure = failure ?? error
    }

    // MARK: Units

    /// Whether a unit is open.
    @inline(__always)
    var isInUnit: Bool { unit.depth != 0 }

    /// Whether the open unit has an effect already.
    var unitHasEffects: Bool { unit.effectCount > 0 }

    /// The bytes that the open unit holds.
    var unitBytes: Int { unit.bytes.count }

    /// Begins a unit, or one within the one that is open, which is then the same.
    func beginUnit() { unit.depth += 1 }

    /// Has the open unit stand between MULTI and EXEC even if it has no effect or only one; `database` is the one that
    /// is selected before.
    func markUnit(database: Int) {
        guard recorder != nil, !unit.isMarked else { return }
        unit.isMarked = true
        guard unit.effectCount == 0 else { return }
        prepareUnit(database)
        unit.effectCount = 0
    }

    /// Notes an effect that the open unit had, though it is not recorded: while the log is replayed.
    func noteUnitEffect() { unit.effectCount += 1 }

    /// Ends a unit; the end of the outermost appends all of it to the log.
    ///
    /// The frame that is pending is written first if it would become longer than `longestFrame` with the unit, which
    /// is never split.
    ///
    /// - Returns: whether it was the outermost.
    func endUnit(longestFrame: Int) -> Bool {
        precondition(unit.depth > 0, "a unit ends that was not begun")
        unit.depth -= 1
        guard unit.depth == 0 else { return false }
        defer {
            unit.clear()
            if stopsAfterUnit {
                stopsAfterUnit = false
                recorder = nil
            }
        }
        guard let log = recorder?.object, unit.effectCount > 0 || unit.isMarked else { return true }
        do throws(CommandLogError) {
            if log.pendingBytes > 0, log.pendingBytes + unit.bytes.count > longestFrame {
                do throws(CommandLogError) {
                    try log.writeFrame()
                } catch {
                    // A full disk: what is pending stays, and the end of the tick meets the error again.
                    guard case .diskFull = error else { throw error }
                }
            }
            try ByteView.with(unit.bytes) { bytes throws(CommandLogError) in
                try log.append(bytes.prefix(unit.start))
                if unit.needsMarks { try log.append("*1\r\n$5\r\nMULTI\r\n") }
                try log.append(bytes.dropFirst(unit.start))
                if unit.needsMarks { try log.append("*1\r\n$4\r\nEXEC\r\n") }
                selected = database
            }
        } catch {
            fail(error)
        }
        return true
    }

    /// Forgets the open unit, whose changes will never be committed either: the process ends.
    func abandonUnit() { unit.clear() }

    /// Makes `database` the one that the next effect of the open unit happens in, and counts that effect.
    private func prepareUnit(_ database: Int) {
        if database != self.database {
            self.database = database
            unit.bytes.appendRequestHeader(argumentCount: 2)
            unit.bytes.appendRequestArgument("SELECT")
            unit.bytes.appendRequestArgument(Int64(database))
        }
        if !unit.isBegun {
            unit.isBegun = true
            unit.start = unit.bytes.count
        }
        unit.effectCount += 1
    }
}

/// Effects that replay must have all of or none of: those of a transaction, of a script.
///
/// They are gathered here and not in the log's pending frame, so that nothing can come between them or cut them in
/// two: the end of a tick, a frame that has grown too long, or a checkpoint sees all of a unit or nothing. More than
/// one effect stand between MULTI and EXEC, as in the stream of Redis.
private struct EffectUnit {
    /// How many units were begun within each other and not ended.
    var depth = 0
    var bytes: [UInt8] = []
    /// Where MULTI belongs: behind the SELECT before the first effect.
    var start = 0
    var isBegun = false
    var isMarked = false
    var effectCount = 0

    /// A buffer larger than this is given back when the unit has ended.
    private static let largestBufferKept = 64 << 10

    var needsMarks: Bool { isMarked || effectCount > 1 }

    mutating func append(_ request: ByteView) {
        unsafe bytes.append(contentsOf: request.rawBuffer)
    }

    mutating func clear() {
        depth = 0
        start = 0
        isBegun = false
        isMarked = false
        effectCount = 0
        if bytes.capacity > EffectUnit.largestBufferKept { bytes = [] } else { bytes.removeAll(keepingCapacity: true) }
    }
}
