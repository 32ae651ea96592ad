// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import CommandLog
internal import RESP

/// The stream of effects on its way into the log: what commands did, as commands in RESP.
///
/// It knows which database the stream has selected, and puts `SELECT` before what happened in another. While the log
/// is replayed, nothing is recorded.
final class EffectStream {
    /// The log; nil until it was replayed.
    private(set) var log: CommandLog?
    /// The database that the stream has selected, -1 when the next command must be preceded by SELECT.
    var database = -1
    /// Why effects can no longer be recorded, once they cannot.
    private(set) var failure: CommandLogError?

    /// Begins to record into `log`.
    func begin(_ log: CommandLog, database: Int) {
        self.log = log
        self.database = database
    }

    /// Where the log ends that was written.
    @inline(__always)
    var endOffset: UInt64 { log?.endOffset ?? 0 }

    /// How many bytes wait for the end of the tick.
    @inline(__always)
    var pendingBytes: Int { log?.pendingBytes ?? 0 }

    /// Whether so many bytes can be written for certain.
    @inline(__always)
    func ensureRoom(bytes: Int) -> Bool { log?.ensureRoom(bytes: bytes) ?? true }

    /// Where the next byte goes.
    @inline(__always)
    var offset: UInt64 { log?.endOffsetIncludingPending ?? 0 }

    /// Appends a request that is canonical multibulk already.
    @inline(__always)
    func append(request: ByteView, database: Int) {
        guard let log else { return }
        if database != self.database { select(database, log) }
        do throws(CommandLogError) {
            try log.append(request)
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
        guard let log else { return }
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
        guard let log else { return }
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
}
