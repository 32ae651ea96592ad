// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import CommandLog
internal import Keyspace
internal import NIOCore
internal import RESP

/// The start: what the log holds beyond the keyspace is done again.
extension Server {
    /// Opens the log in `directory`, replays what the keyspace does not have, and begins to record.
    ///
    /// Throws a `CommandLogError`, or what makes the log's contents unusable.
    func load(logDirectory directory: String) throws {
        let isNew = keyspace.position.identity.isEmpty
        let replay = try replayLog(directory: directory)
        isLoading = false
        statistics = ServerStatistics()
        commandStatistics.reset()
        keyspace.traffic.reset()
        dirty = 0
        if replay.commandCount > 0 {
            log.notice("DB loaded from the log: \(replay.commandCount) commands since the last checkpoint")
        }
        // A new directory gets its first checkpoint at once, so that the keyspace knows its log; and one that a long
        // replay has begun is made durable.
        advanceCheckpoint()
        if isNew { requestCheckpoint() }
        // A replica that got its snapshot just before the end of this server does not know what was selected.
        effects.selectAnew()
        if let master = config.master { follow(master) }
    }
}

extension LogReplay {
    /// Does a command that may be of a later version of Redis; false if it is one of 2.8, to be done as it is.
    private func translate(_ isKnown: Bool, at offset: UInt64) throws -> Bool {
        let arguments = call.arguments.copy()
        let dialect = MasterDialect(
            run: { [unowned self] in reply(to: $0) },
            swapDatabases: { [unowned self] in server.swapDatabases($0, $1) },
            database: session.database
        )
        switch dialect.perform(arguments) {
        case .plain where isKnown: return false
        case .done: break
        case .plain, .lost:
            warn(of: arguments, "which changes what this server has in a way that it cannot do", at: offset)
            server.noteDifference()
        case .foreign:
            warn(of: arguments, "which concerns what this server has not, left out", at: offset)
        }
        if isInUnit { server.effects.noteUnitEffect() }
        if let failure = server.keyspace.failure { throw failure }
        return true
    }

    /// Tells the operator of a command, once for each name.
    private func warn(of arguments: [[UInt8]], _ what: String, at offset: UInt64) {
        let name = String(decoding: arguments[0], as: UTF8.self)
        guard server.replication.unknownCommands.count < 1000,
            server.replication.unknownCommands.insert(name.lowercased()).inserted
        else { return }
        server.log.warning("The MASTER's stream has a command at \(offset) \(what): '\(name)'")
    }

    /// Selects as the stream says; what happens in a database that is not there is left out.
    private func followSelect(_ reply: ByteBuffer, at offset: UInt64) {
        isOutside = false
        guard reply.readableBytesView.first == UInt8(ascii: "-") else {
            database = session.database
            return
        }
        guard let number = call.arguments.optionalInteger(at: 1), number >= server.databaseCount else { return }
        isOutside = true
        database = Int(clamping: min(number, Int64(Int32.max)))
        warn(of: call.arguments.copy(), "of a database that is not there, whose changes are left out", at: offset)
    }

    /// Does a command that does not stand in the log as such.
    private func reply(to arguments: [[UInt8]]) -> [UInt8] {
        var request: [UInt8] = []
        request.appendRequest(arguments)
        return ByteView.with(request) { request in
            var decoder = RESPRequestDecoder()
            guard case .request? = try? decoder.decode(request) else { return [] }
            call.begin(session)
            call.arguments.take(decoder, in: request)
            call.request = ByteView()
            guard let command = commands.find(call.arguments[0]), command.arity.accepts(arguments.count) else {
                return []
            }
            server.run(command, call)
            let reply = call.reply.readBytes(length: call.reply.readableBytes) ?? []
            call.reply.clear()
            return reply
        }
    }
}

/// Why the log cannot be replayed.
struct LogReplayError: Error, CustomStringConvertible {
    let description: String
}

/// Does again what stands in the log, as a session without a client.
final class LogReplay {
    private let server: Server
    /// Who does it: nobody, or the master whose stream it is.
    private let session: Session
    private let call: CommandCall
    private var decoder = RESPRequestDecoder()
    /// The commands under their own names, whatever clients call them.
    private let commands = CommandTable()
    private let select: Command?
    /// Whether MULTI was met, and its EXEC was not yet.
    private var isInUnit = false
    /// Whether a database is selected that this server has not: a master may have more.
    private var isOutside = false
    /// How many commands were done.
    private(set) var commandCount = 0

    /// The database that is selected, -1 if the log says nothing of it.
    private(set) var database: Int

    init(_ server: Server, from position: LogPosition, session: Session? = nil) {
        self.server = server
        let session = session ?? Session(server, identifier: 0, context: nil, address: "")
        self.session = session
        call = CommandCall(effects: server.effects)
        database = position.database
        isOutside = position.database >= server.databaseCount
        session.database = isOutside ? 0 : max(0, position.database)
        select = commands.find("select")
    }

    /// Does the commands in `payload`, whose first byte has stream offset `offset`.
    func apply(_ payload: ByteView, at offset: UInt64) throws {
        var done = 0
        while done < payload.count {
            let rest = payload.dropFirst(done)
            let outcome = try decoder.decode(rest)
            guard case .request(let consumed) = outcome else {
                throw LogReplayError(description: "the log holds no command at offset \(offset + UInt64(done))")
            }
            call.begin(session)
            call.arguments.take(decoder, in: rest)
            call.request = rest.prefix(consumed)
            try run(at: offset + UInt64(done))
            done += consumed
            commandCount += 1
            if server.keyspace.commitIsDue, !isInUnit {
                server.commandStart = (offset + UInt64(done), database)
                try server.commitUnderPressure()
            }
        }
    }

    /// Hears that the log is at its end.
    func finish() throws {
        guard !isInUnit else { throw LogReplayError(description: "the log ends within MULTI and EXEC") }
    }

    private func run(at offset: UInt64) throws {
        let name = call.arguments[0]
        if name.equalsIgnoringCase("multi"), !isInUnit {
            isInUnit = true
            return server.beginUnit(at: (offset, database))
        }
        if name.equalsIgnoringCase("exec"), isInUnit {
            isInUnit = false
            return server.endUnit()
        }
        if !isInUnit { server.commandStart = (offset, database) }
        let found = commands.find(name)
        if isOutside, found !== select { return }
        let isKnown = found?.arity.accepts(call.arguments.count) ?? false
        if !isKnown || MasterDialect.mayBeLater(call.arguments), try translate(isKnown, at: offset) { return }
        guard let command = found else { return }
        if server.gates.contains(.monitored) { server.showToMonitors(call) }
        server.run(command, call)
        if command === select {
            followSelect(call.reply, at: offset)
        } else if isInUnit {
            server.effects.noteUnitEffect()
        }
        // An error of a command at replay was one when it was first run, too, and changed nothing. One of a master's
        // may mean that something here is not as it is there.
        if session.isMaster, command !== select, call.reply.readableBytesView.first == UInt8(ascii: "-") {
            let text = String(decoding: call.reply.readableBytesView.prefix { $0 != 0x0D }, as: UTF8.self)
            warn(of: call.arguments.copy(), "that is answered with \(text)", at: offset)
        }
        call.reply.clear()
        if let failure = server.keyspace.failure { throw failure }
    }
}

extension LogIdentity {
    /// The identity of these 32 hexadecimal digits.
    init?(hexadecimal digits: some Sequence<UInt8>) {
        var bytes: [UInt8] = []
        var high: UInt8?
        for digit in digits {
            let value: UInt8
            switch digit {
            case 0x30...0x39: value = digit - 0x30
            case 0x61...0x66: value = digit - 0x61 + 10
            default: return nil
            }
            if let first = high {
                bytes.append(first << 4 | value)
                high = nil
            } else {
                high = value
            }
        }
        self.init(bytes)
    }
}
