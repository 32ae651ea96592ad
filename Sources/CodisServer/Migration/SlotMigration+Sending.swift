// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import Keyspace
internal import NIOCore
internal import RDB
internal import RESP

/// The requests of a move on their way to the target.
struct MigrationSending {
    /// What an answer belongs to.
    enum Expected: String {
        case auth, select, probe, part, restore, delete
    }

    /// What is to be sent next.
    enum Phase {
        case notBegun
        /// Large values in pieces.
        case pieces
        /// The request that names all keys.
        case keys
        case done
    }

    var phase = Phase.notBegun
    var expected: [Expected] = []
    var answered = 0
    /// How many bytes were handed to the connection.
    var bytes = 0
    /// The key whose turn it is.
    var next = 0
    /// The large values that go in pieces, by the index of their key: name and number of elements.
    var staged: [Int: (name: [UInt8], count: Int)] = [:]
    /// The large value that is being read.
    var pieces: ValuePieces?
    var payload: SteppedPayload?
    var afterDelete: (() -> Void)?
    /// Whether what follows is made when pieces were answered.
    var isWaitingForPieces = false

    /// How many answers are missing.
    var unanswered: Int { expected.count - answered }
}

/// How keys are sent.
///
/// All of a batch is one request, `SLOTSRESTORE key ttl payload ...`, as the original sends it. Payloads are made while
/// the request goes out, in steps and not faster than the target takes them, so that memory holds a part of it only.
///
/// A large value is different between two of our servers: it goes first, in pieces that the target gathers under
/// another name (`SLOTSRESTORE-PART`), and the request for the batch names it (`SLOTSRESTORE-END`). Whether the target
/// is one of ours is asked over the same connection, by a `SLOTSRESTORE-PART` without elements; every other server
/// answers an error, and nothing has happened.
extension SlotMigration {
    /// A value of more than so many bytes is large.
    private static let largeValueBytes = 128 << 10
    /// What is gathered before it is handed to the connection.
    private static let bufferBytes = 64 << 10
    /// How many pieces may be unanswered: a target does what it has received of a connection in one go, and others wait
    /// for it meanwhile.
    private static let mostPiecesUnderWay = 8

    /// Begins to send the chosen keys.
    func send() {
        guard let connection else { return }
        connection.begin(timeout: move.timeout) { [self] line in
            _ = server.clock.readMonotonic()
            take(line)
        } onFailure: { [self] failure in
            failed(failure)
        }
        sending.phase = .pieces
        var buffer = ByteBuffer()
        writeGreeting(to: &buffer, connection)
        if connection.takesPieces == nil, hasLargeValue {
            buffer.writeRequest(["SLOTSRESTORE-PART", "probe", "APPEND"])
            sending.expected.append(.probe)
            return write(&buffer)
        }
        produce(&buffer)
    }

    private func writeGreeting(to buffer: inout ByteBuffer, _ connection: TargetConnection) {
        if let password = server.config.requiredPassword, !connection.isAuthenticated {
            buffer.writeRequest([Array("AUTH".utf8), Array(password)])
            sending.expected.append(.auth)
        }
        if connection.database != move.database {
            buffer.writeRequest(["SELECT", "\(move.database)"])
            sending.expected.append(.select)
        }
    }

    /// Looked for among the first keys only where there are very many: a batch of so many is sent as it comes.
    private var hasLargeValue: Bool { keys.prefix(1000).contains { isLarge($0) } }

    private func isLarge(_ key: [UInt8]) -> Bool {
        record(of: key).map { $0.valueBytes > SlotMigration.largeValueBytes } ?? false
    }

    private func record(of key: [UInt8]) -> Record? {
        ByteView.with(key) { server.keyspace.find($0, in: move.database) }
    }

    private func write(_ buffer: inout ByteBuffer) {
        guard buffer.readableBytes > 0 else { return }
        sending.bytes += buffer.readableBytes
        server.statistics.networkOutputBytes += buffer.readableBytes
        connection?.write(buffer)
        buffer = ByteBuffer()
    }

    // MARK: Producing

    private func produce() {
        var buffer = ByteBuffer()
        produce(&buffer)
    }

    /// Makes requests for the time of a slice, or until the target takes no more.
    private func produce(_ buffer: inout ByteBuffer) {
        var timer = Clock()
        var spent: Int64 = 0
        // The time that a large payload takes to be made is not the target's.
        connection?.noteProgress()
        do {
            while spent < Server.sliceNanoseconds {
                guard let connection else { return }
                switch sending.phase {
                case .notBegun, .done: return write(&buffer)
                case .pieces: try producePieces(&buffer, connection)
                case .keys: try produceKeys(&buffer)
                }
                if buffer.readableBytes >= SlotMigration.bufferBytes {
                    write(&buffer)
                    guard connection.isWritable else {
                        return connection.whenWritable { [self] in produce() }
                    }
                }
                if case .done = sending.phase { return write(&buffer) }
                if case .pieces = sending.phase, sending.unanswered >= SlotMigration.mostPiecesUnderWay {
                    sending.isWaitingForPieces = true
                    return write(&buffer)
                }
                spent += timer.readMonotonic()
            }
        } catch {
            server.log.warning("slotsmgrt: a value cannot be read: \(error)")
            return fail(.message("ERR error on slotsrestore"))
        }
        write(&buffer)
        later { [self] in produce() }
    }

    private func producePieces(_ buffer: inout ByteBuffer, _ connection: TargetConnection) throws {
        guard connection.takesPieces ?? false, sending.next < keys.count else {
            sending.phase = .keys
            sending.next = 0
            return writeHeader(to: &buffer)
        }
        let index = sending.next
        guard let record = record(of: keys[index]), record.valueBytes > SlotMigration.largeValueBytes else {
            // None, none any more, or a small one.
            if let staged = sending.staged.removeValue(forKey: index) { writeDelete(of: [staged.name], to: &buffer) }
            sending.pieces = nil
            sending.next += 1
            return
        }
        var pieces = sending.pieces ?? ValuePieces()
        let name = sending.staged[index]?.name ?? ArrivingValue.newName()
        let batch = pieces.next(of: record, server.keyspace)
        if batch.count > 0 { writePart(batch, of: record, named: name, to: &buffer) }
        // Without elements: what waits for more at the target is to be added.
        if pieces.isAtEnd { writePart(ElementBatch(), of: record, named: name, to: &buffer) }
        sending.staged[index] = (name, pieces.count)
        sending.pieces = pieces
        if pieces.isAtEnd {
            sending.pieces = nil
            sending.next += 1
        }
    }

    private func writePart(_ batch: ElementBatch, of record: Record, named name: [UInt8], to buffer: inout ByteBuffer) {
        buffer.writeRequestHeader(argumentCount: 3 + batch.count)
        buffer.writeRequestArgument("SLOTSRESTORE-PART")
        ByteView.with(name) { buffer.writeRequestArgument($0) }
        buffer.writeRequestArgument(StagedValue.command(for: record.type))
        batch.forEach { buffer.writeRequestArgument($0) }
        sending.expected.append(.part)
    }

    private func writeHeader(to buffer: inout ByteBuffer) {
        let isPlain = sending.staged.isEmpty
        buffer.writeRequestHeader(argumentCount: 1 + keys.count * (isPlain ? 3 : 4))
        buffer.writeRequestArgument(isPlain ? "SLOTSRESTORE" : "SLOTSRESTORE-END")
        sending.expected.append(.restore)
    }

    /// Adds some keys to the request that names them all.
    private func produceKeys(_ buffer: inout ByteBuffer) throws {
        var left = 16
        while left > 0, sending.next < keys.count, buffer.readableBytes < SlotMigration.bufferBytes {
            left -= 1
            guard try produceKey(sending.next, &buffer) else { return }
            sending.next += 1
        }
        if sending.next == keys.count { sending.phase = .done }
    }

    /// Adds a key; false if its payload is not complete yet.
    private func produceKey(_ index: Int, _ buffer: inout ByteBuffer) throws -> Bool {
        let key = keys[index]
        guard let record = record(of: key) else {
            // It has expired or was evicted since it was chosen, and its place in the request must be filled: with
            // something that expires at once.
            try writeKey(key, lifetime: 1, payload: server.migrationEncoder.encode(string: ByteView()), to: &buffer)
            return true
        }
        if let staged = sending.staged[index] {
            ByteView.with(key) { buffer.writeRequestArgument($0) }
            buffer.writeRequestArgument(lifetime(of: record))
            buffer.writeRequestArgument(Int64(staged.count))
            ByteView.with(staged.name) { buffer.writeRequestArgument($0) }
            return true
        }
        if record.valueBytes <= SlotMigration.largeValueBytes {
            let encoder = server.migrationEncoder
            try encoder.begin(record.shape)
            try ValueExport(server.keyspace.reader, to: encoder).run(record)
            try writeKey(key, lifetime: lifetime(of: record), payload: encoder.finish(), to: &buffer)
            return true
        }
        let payload = sending.payload ?? SteppedPayload(server.keyspace, compresses: server.config.rdbCompression)
        sending.payload = payload
        guard let bytes = try payload.advance(record) else { return false }
        try writeKey(key, lifetime: lifetime(of: record), payload: bytes, to: &buffer)
        sending.payload = nil
        return true
    }

    private func writeKey(_ key: [UInt8], lifetime: Int64, payload: ByteView, to buffer: inout ByteBuffer) throws {
        ByteView.with(key) { buffer.writeRequestArgument($0) }
        buffer.writeRequestArgument(lifetime)
        if !sending.staged.isEmpty { buffer.writeRequestArgument("payload") }
        buffer.writeRequestArgument(payload)
    }

    /// The ms that a key has left, at least 1; 0 if it does not expire.
    private func lifetime(of record: Record) -> Int64 {
        let expiry = record.expireAtMilliseconds
        return expiry == 0 ? 0 : max(1, expiry - server.clock.milliseconds)
    }

    // MARK: Deleting at the target

    /// Has the target delete `names`, and calls `body` when it has answered.
    func sendDelete(of names: [[UInt8]], _ body: @escaping () -> Void) {
        guard !names.isEmpty else { return body() }
        var buffer = ByteBuffer()
        writeDelete(of: names, to: &buffer)
        sending.afterDelete = body
        write(&buffer)
    }

    private func writeDelete(of names: [[UInt8]], to buffer: inout ByteBuffer) {
        buffer.writeRequest([Array("DEL".utf8)] + names)
        sending.expected.append(.delete)
    }

    // MARK: Answers

    private func take(_ line: ByteView) {
        guard sending.answered < sending.expected.count else { return }
        let expected = sending.expected[sending.answered]
        sending.answered += 1
        let isGood = line.count > 0 && line[0] == UInt8(ascii: "+")
        switch expected {
        case .auth:
            guard isGood else { return refused("auth", line) }
            connection?.isAuthenticated = true
        case .select:
            guard isGood else { return refused("select", line) }
            connection?.database = move.database
        case .probe:
            connection?.takesPieces = isGood
            produce()
        case .part:
            if !isGood { return refused("migration", line) }
            guard sending.isWaitingForPieces, sending.unanswered <= SlotMigration.mostPiecesUnderWay / 2 else { return }
            sending.isWaitingForPieces = false
            produce()
        case .restore:
            // A line that is neither is a success, as in the original.
            if line.count > 0, line[0] == UInt8(ascii: "-") { return refused("migration", line) }
            confirmed()
        case .delete:
            if sending.isWaitingForPieces {
                sending.isWaitingForPieces = false
                produce()
            }
            if sending.answered == sending.expected.count, let body = sending.afterDelete {
                sending.afterDelete = nil
                body()
            }
        }
    }

    private func refused(_ what: String, _ line: ByteView) {
        if what == "migration", ticket?.wasBreached ?? false, sending.phase == .done {
            // What was sent was not of one piece; the target has noticed that.
            return beginAnew()
        }
        logReading(what, response: String(line))
        fail(.message("ERR error on slotsrestore, \(what) failed"))
    }

    private func failed(_ failure: TargetFailure) {
        switch failure {
        case .writing(let text):
            logWriting(text)
            fail(.message("IOERR error or timeout writing to target"))
        case .reading(let text):
            let expected = sending.answered < sending.expected.count ? sending.expected[sending.answered] : .restore
            logReading(expected == .auth || expected == .select ? expected.rawValue : "migration", error: text)
            fail(.message("IOERR error or timeout reading from target"))
        }
    }
}
