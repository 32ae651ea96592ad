// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import NIOCore
internal import RESP

/// A command as it runs: what was asked, by whom, when, and what is answered.
///
/// There is one for all commands of clients, used again for each; nothing in it outlives the command.
final class CommandCall {
    /// What was asked.
    var arguments = Arguments()
    /// Who asked.
    var session: Session {
        get { unsafe sessionReference.unsafelyUnwrapped }
        set { unsafe sessionReference = newValue }
    }
    /// The row of the command.
    var command: Command {
        get { unsafe commandReference.unsafelyUnwrapped }
        set { unsafe commandReference = newValue }
    }
    /// The database that the client has selected.
    var database = 0
    /// The time, in ms since 1970, which stands still while the command runs.
    var now: Int64 = 0
    /// How many changes the command made: more than 0 and it is propagated.
    var dirty = 0
    /// The bytes that go to the client.
    var reply = ByteBuffer()
    /// The request as canonical multibulk, where it came like that and under its true name; else empty.
    var request = ByteView()
    /// Whether a script asks.
    var isFromScript = false
    /// Whether other effects stand in the log instead of the request.
    var isPropagated = false

    private let effects: EffectStream
    // The session outlives its commands, and the table of the commands outlives all; not to count references to them
    // is worth some percent of a command's time.
    private unowned(unsafe) var sessionReference: Session?
    private unowned(unsafe) var commandReference: Command?

    init(effects: EffectStream) { self.effects = effects }

    /// Makes `session` the one that asks.
    @inline(__always)
    func begin(_ session: Session) {
        self.session = session
        database = session.database
    }

    // MARK: Propagation

    /// Keeps the request from being propagated.
    func preventPropagation() { isPropagated = true }

    /// Propagates `SET key value` instead of the request, and `PEXPIREAT` if the key expires.
    func propagateSet(_ key: ByteView, _ value: ByteView, expireAtMilliseconds: Int64) {
        isPropagated = true
        effects.append("SET", key, value, database: database)
        if expireAtMilliseconds != 0 {
            effects.append("PEXPIREAT", key, expireAtMilliseconds, database: database)
        }
    }

    /// Propagates `PEXPIREAT key atMilliseconds` instead of the request.
    func propagateExpiry(_ key: ByteView, atMilliseconds: Int64) {
        isPropagated = true
        effects.append("PEXPIREAT", key, atMilliseconds, database: database)
    }

    /// Propagates `DEL key` instead of the request.
    func propagateDelete(_ key: ByteView) {
        isPropagated = true
        effects.append("DEL", key, database: database)
    }

    /// Propagates `arguments` instead of the request.
    func propagate(_ arguments: [ByteView]) {
        isPropagated = true
        effects.append(arguments, database: database)
    }
}
