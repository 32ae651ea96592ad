// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import Keyspace
internal import NIOCore
internal import RDB
internal import RESP
internal import SlotHash

/// A key that arrives, as SLOTSRESTORE or SLOTSRESTORE-END names it.
struct ArrivingKey {
    /// Where its value is.
    enum Value {
        case payload(ByteView)
        /// Under a name of its own, with so many elements.
        case staged(name: ByteView, count: Int)
    }

    let key: ByteView
    let lifetimeMilliseconds: Int64
    let value: Value
}

/// What SLOTSRESTORE and SLOTSRESTORE-END do: all of their keys arrive, or none.
///
/// First everything is checked, then everything is written; what was there is replaced. Small batches are done at
/// once. For large ones the keys are fenced, so that nobody sees a part of the batch, and the work is done in steps,
/// of which each has its own record in the log: a server that ends in the middle has some of the keys, and their source
/// still has all. They are written in the order of their rows, some thousands at a time: one finds the pages of the
/// tree that the one before has used. A large value is built in steps as a ``StagedValue``.
final class SlotRestore {
    /// More than so many keys or bytes are not restored at once.
    static let mostKeysAtOnce = 256
    static let mostBytesAtOnce = 128 << 10

    private let server: Server
    private let session: Session
    private let database: Int
    private let arguments: RetainedArguments
    private let stride: Int
    private let ticket: FenceTicket

    /// The key that is checked or brought into order next.
    private var next = 1
    private var isChecked = false
    /// Keys in the order of their rows, and how many of them are written.
    private var ordered: [(row: UInt64, index: Int)] = []
    private var written = 0
    private var isOrdered = false
    private var check: DumpPayloadCheck?
    private var building: LargeValue?

    /// A value that is being built.
    private struct LargeValue {
        let staged: StagedValue
        let reader: RDBValueReader
        let type: ValueType
        /// A string that was read, and how much of it was taken.
        var string: ByteView?
        var taken = 0
    }

    init(_ server: Server, _ call: CommandCall, stride: Int) {
        self.server = server
        session = call.session
        database = call.database
        arguments = RetainedArguments(call)
        self.stride = stride
        let arguments = arguments
        let keys = Swift.stride(from: 1, to: arguments.count, by: stride).lazy.map { arguments[$0] }
        ticket = server.raiseFence(around: keys, in: call.database)
    }

    /// Does a part of the work; true when all is done.
    func step(_ reply: inout ByteBuffer) throws(CommandError) -> Bool {
        do throws(CommandError) {
            try server.checkIsStillMaster()
            let isDone = try server.changeBehindFence { () throws(CommandError) in
                guard isChecked else { return try checkNext() }
                guard isOrdered else { return orderSome() }
                return try write()
            }
            guard isDone else { return false }
        } catch {
            server.changeBehindFence { building?.staged.abandon() }
            server.lower(ticket)
            throw error
        }
        server.lower(ticket)
        reply.writeReplyOK()
        return true
    }

    // MARK: Checking

    private func checkNext() throws(CommandError) -> Bool {
        guard next < arguments.count else {
            isChecked = true
            next = 1
            return false
        }
        let arriving = try arrivingKey(at: next)
        guard case .payload(let payload) = arriving.value, payload.count > SlotRestore.mostBytesAtOnce else {
            try server.check(arriving, in: database)
            next += stride
            return false
        }
        let check = check ?? DumpPayloadCheck(payload, accepting: DumpPayload.readableVersions)
        if self.check == nil { server.noteReplacing(arriving.key, in: database) }
        self.check = check
        do throws(RDBError) {
            if try check.advance(bytes: 256 << 10, elements: 2000) {
                self.check = nil
                next += stride
            }
        } catch {
            throw .init(payload: error)
        }
        return false
    }

    private func arrivingKey(at index: Int) throws(CommandError) -> ArrivingKey {
        let rest = (arguments[index + 2], stride == 4 ? arguments[index + 3] : nil)
        return try server.arrivingKey(arguments[index], arguments[index + 1], rest)
    }

    // MARK: Writing

    /// So many keys are brought into order before the first of them is written.
    private static let keysInOrder = 16_384

    /// Takes some more keys, and brings all that were taken into order when they are enough; is never done with that.
    private func orderSome() -> Bool {
        let end = min(arguments.count, next + 256 * stride)
        while next < end {
            ordered.append((server.keyspace.rowOrder(arguments[next]), next))
            next += stride
        }
        if next >= arguments.count || ordered.count >= SlotRestore.keysInOrder {
            // One that is named twice becomes what is named last.
            ordered.sort { $0.row == $1.row ? $0.index < $1.index : $0.row < $1.row }
            isOrdered = true
        }
        return false
    }

    /// Whether everything is written; what is ordered comes to its end before that.
    private func isDone() -> Bool {
        guard written == ordered.count else { return false }
        ordered.removeAll(keepingCapacity: true)
        written = 0
        isOrdered = false
        return next >= arguments.count
    }

    private func write() throws(CommandError) -> Bool {
        if let building { return try build(building) }
        var restored: [RestoredKey] = []
        defer { server.record(restored, in: database) }
        while written < ordered.count, restored.count < 32 {
            let arriving = try arrivingKey(at: ordered[written].index)
            if case .payload(let payload) = arriving.value, payload.count > SlotRestore.mostBytesAtOnce {
                // What was restored before is recorded first.
                guard restored.isEmpty else { return false }
                try begin(arriving, payload)
                return false
            }
            try server.restore(arriving, in: database, &restored)
            written += 1
        }
        return isDone()
    }

    private func begin(_ arriving: ArrivingKey, _ payload: ByteView) throws(CommandError) {
        do throws(RDBError) {
            let reader = try DumpPayload.readerOfContent(payload, accepting: DumpPayload.readableVersions)
            let staged = StagedValue(server, name: ArrivingValue.newName(), in: database)
            building = LargeValue(staged: staged, reader: reader, type: reader.kind.valueType)
        } catch {
            throw .init(payload: error)
        }
    }

    /// Adds some elements to the value that is being built.
    private func build(_ value: LargeValue) throws(CommandError) -> Bool {
        var value = value
        var elements = ElementBatch()
        do throws(RDBError) {
            if value.type == .string {
                if value.string == nil, case .string(let string)? = try value.reader.next() { value.string = string }
                let string = value.string ?? ByteView()
                let end = min(string.count, value.taken + SlotRestore.mostBytesAtOnce)
                elements.append(string[value.taken..<end])
                value.taken = end
                if end == string.count { elements.isLast = true }
            } else {
                while !elements.isFull {
                    guard let element = try value.reader.next() else {
                        elements.isLast = true
                        break
                    }
                    elements.append(element)
                }
            }
        } catch {
            throw .init(payload: error)
        }
        if elements.count > 0 {
            try elements.withViews { views throws(CommandError) in
                try value.staged.append(views, type: value.type, for: session)
            }
        }
        building = value
        guard elements.isLast else { return false }
        let arriving = try arrivingKey(at: ordered[written].index)
        let expiry = server.expiry(of: arriving)
        try value.staged.become(arriving.key, expireAtMilliseconds: expiry)
        building = nil
        written += 1
        return isDone()
    }
}

/// Elements on their way into a value, as arguments of the command that adds them.
struct ElementBatch {
    private var bytes: [UInt8] = []
    private var ends: [Int] = []
    /// Whether none follows.
    var isLast = false

    /// About how much is added with one command.
    private static let mostArguments = 256
    private static let mostBytes = 64 << 10

    var count: Int { ends.count }
    var isFull: Bool { ends.count >= ElementBatch.mostArguments || bytes.count >= ElementBatch.mostBytes }

    mutating func append(_ argument: ByteView) {
        unsafe bytes.append(contentsOf: argument.rawBuffer)
        ends.append(bytes.count)
    }

    mutating func append(_ element: RDBElement) {
        switch element {
        case .string(let value), .listElement(let value): append(value)
        case .setMember(let name): append(name)
        case .hashField(let name, let value):
            append(name)
            append(value)
        case .sortedSetMember(let name, let score):
            Score.withText(score) { append($0) }
            append(name)
        }
    }

    func forEach(_ body: (ByteView) -> Void) {
        ByteView.with(bytes) { bytes in
            var start = 0
            for end in ends {
                body(bytes[start..<end])
                start = end
            }
        }
    }

    func withViews(_ body: ([ByteView]) throws(CommandError) -> Void) throws(CommandError) {
        try ByteView.with(bytes) { bytes throws(CommandError) in
            var start = 0
            let views = ends.map { end in
                defer { start = end }
                return bytes[start..<end]
            }
            try body(views)
        }
    }
}

/// A key that was restored, for the log.
struct RestoredKey {
    let key: ByteView
    let payload: ByteView
    let expireAtMilliseconds: Int64
}

/// The parts of a restore.
extension Server {
    /// Reads a key that arrives from its arguments; behind the lifetime stands the payload, or what is there of it.
    func arrivingKey(
        _ key: ByteView,
        _ lifetime: ByteView,
        _ rest: (ByteView, ByteView?)
    ) throws(CommandError) -> ArrivingKey {
        guard let lifetime = DecimalNumber.lenient(lifetime) else { throw .notAnInteger }
        guard lifetime >= 0 else { throw .message("ERR invalid ttl value, must be >= 0") }
        guard let data = rest.1 else {
            return ArrivingKey(key: key, lifetimeMilliseconds: lifetime, value: .payload(rest.0))
        }
        if rest.0.equalsIgnoringCase("payload") {
            return ArrivingKey(key: key, lifetimeMilliseconds: lifetime, value: .payload(data))
        }
        guard let count = DecimalNumber.lenient(rest.0), count > 0 else { throw .notAnInteger }
        return ArrivingKey(key: key, lifetimeMilliseconds: lifetime, value: .staged(name: data, count: Int(count)))
    }

    /// Throws what is wrong with a key that arrives, without changing it.
    func check(_ arriving: ArrivingKey, in database: Int) throws(CommandError) {
        switch arriving.value {
        case .payload(let payload):
            do throws(RDBError) {
                _ = try DumpPayload.validate(payload, accepting: DumpPayload.readableVersions)
            } catch {
                throw .init(payload: error)
            }
        case .staged(let name, let count):
            noteReplacing(arriving.key, in: database)
            if let arriving = stagedValues[Array(name)] {
                // Our servers have seen to that before.
                while arriving.value.hasWaiting { try arriving.value.addSomeWaiting(for: arriving.session) }
            }
            guard StagedValue(self, name: Array(name), in: database).isComplete(count: count) else {
                throw .message("ERR the value has not arrived as a whole")
            }
        }
    }

    /// Warns that a key that arrives is here already.
    func noteReplacing(_ key: ByteView, in database: Int) {
        guard !isLoading, let record = keyspace.findForString(key, in: database),
            !record.isExpired(at: clock.milliseconds)
        else { return }
        log.warning("slotsrestore: slot = \(Slot(forKey: key).number), key = '\(String(key))' already exists")
    }

    /// Makes a key that was checked what has arrived; one with a payload is still to be recorded.
    func restore(
        _ arriving: ArrivingKey,
        in database: Int,
        _ restored: inout [RestoredKey]
    ) throws(CommandError) {
        let expiry = expiry(of: arriving)
        switch arriving.value {
        case .payload(let payload):
            // The change finds the row where this has found it.
            noteReplacing(arriving.key, in: database)
            do throws(CommandError) {
                try restore(payload, key: arriving.key, in: database, expireAtMilliseconds: expiry)
            } catch .message {
                throw .badDataFormat
            }
            restored.append(RestoredKey(key: arriving.key, payload: payload, expireAtMilliseconds: expiry))
        case .staged(let name, _):
            let staged = StagedValue(self, name: Array(name), in: database)
            try staged.become(arriving.key, expireAtMilliseconds: expiry)
            stagedValues[Array(name)] = nil
        }
    }

    /// When a key that arrives now expires, in ms since 1970; 0 for never.
    func expiry(of arriving: ArrivingKey) -> Int64 {
        let lifetime = arriving.lifetimeMilliseconds
        if lifetime == 0 { return 0 }
        return ExpiryUnit.milliseconds.milliseconds(lifetime, after: clock.milliseconds) ?? .max
    }

    /// Records keys that were restored, so that it leads to the same at any time.
    func record(_ restored: [RestoredKey], in database: Int) {
        guard !restored.isEmpty else { return }
        dirty += restored.count
        needsTickEnd()
        guard !isLoading else { return }
        let zero: StaticString = "0"
        var arguments = [ByteView("SLOTSRESTORE")]
        for item in restored where DumpPayload.hasVersion(item.payload, among: DumpPayload.versionsOfRedis28) {
            arguments += [item.key, ByteView(zero), item.payload]
        }
        if arguments.count > 1 { effects.append(arguments, database: database) }
        for item in restored {
            if !DumpPayload.hasVersion(item.payload, among: DumpPayload.versionsOfRedis28),
                let record = keyspace.find(item.key, in: database)
            {
                // A version that slaves of version 2.8 would refuse.
                try? withPayload(of: record) {
                    effects.append([ByteView("SLOTSRESTORE"), item.key, ByteView(zero), $0], database: database)
                }
            }
            if item.expireAtMilliseconds != 0 {
                effects.append("PEXPIREAT", item.key, item.expireAtMilliseconds, database: database)
            }
        }
    }
}

extension CommandError {
    /// What a payload says that no value can be read from (Codis 2.0: slots.c).
    static let badDataFormat = CommandError.message("ERR bad data format")

    init(payload error: RDBError) {
        switch error {
        case .wrongPayloadFooter: self = .message("ERR dump payload version or checksum are wrong")
        default: self = .badDataFormat
        }
    }
}
