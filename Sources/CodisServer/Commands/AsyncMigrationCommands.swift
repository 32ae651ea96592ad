// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import Keyspace
internal import NIOCore
internal import RESP
internal import SlotHash

/// The commands that move keys asynchronously (Codis 3.2: `slots_async.c`).
enum AsyncMigrationCommands {
    static let table: [Command] = [
        Command("slotsmgrtslot-async", arity: .exactly(8), flags: [.write, .noScript], keys: .none, slot),
        Command("slotsmgrttagslot-async", arity: .exactly(8), flags: [.write, .noScript], keys: .none, tagSlot),
        Command("slotsmgrtone-async", arity: .atLeast(7), flags: [.write, .noScript], keys: .none, one),
        Command("slotsmgrttagone-async", arity: .atLeast(7), flags: [.write, .noScript], keys: .none, tagOne),
        Command(
            "slotsmgrtone-async-dump",
            arity: .atLeast(4),
            flags: [.readOnly, .denyOutOfMemory],
            keys: .none,
            oneDump
        ),
        Command(
            "slotsmgrttagone-async-dump",
            arity: .atLeast(4),
            flags: [.readOnly, .denyOutOfMemory],
            keys: .none,
            tagOneDump
        ),
        Command("slotsmgrt-async-fence", arity: .atLeast(0), flags: [.readOnly, .noScript], keys: .none, fence),
        Command("slotsmgrt-async-cancel", arity: .atLeast(0), flags: [.fast], keys: .none, cancel),
        Command("slotsmgrt-async-status", arity: .atLeast(0), flags: [.fast], keys: .none, status),
    ]

    // MARK: Moving

    /// `SLOTSMGRTSLOT-ASYNC host port timeout maxbulks maxbytes slot numkeys`: moves keys of a slot; replies how many
    /// have moved, and how many the slot has left.
    ///
    /// Propagated as `DEL key …`, as are the three others. The original replies how many the slot had before.
    static func slot(_ server: Server, _ call: CommandCall) throws(CommandError) {
        try moveSlot(server, call, usesTags: false)
    }

    /// `SLOTSMGRTTAGSLOT-ASYNC host port timeout maxbulks maxbytes slot numkeys`: the same, with all keys that have the
    /// same tag as one.
    static func tagSlot(_ server: Server, _ call: CommandCall) throws(CommandError) {
        try moveSlot(server, call, usesTags: true)
    }

    /// `SLOTSMGRTONE-ASYNC host port timeout maxbulks maxbytes key [key …]`: moves keys; replies how many.
    static func one(_ server: Server, _ call: CommandCall) throws(CommandError) {
        try moveKeys(server, call, usesTags: false)
    }

    /// `SLOTSMGRTTAGONE-ASYNC host port timeout maxbulks maxbytes key [key …]`: the same, with all keys that have the
    /// same tag as one.
    static func tagOne(_ server: Server, _ call: CommandCall) throws(CommandError) {
        try moveKeys(server, call, usesTags: true)
    }

    private static func moveSlot(_ server: Server, _ call: CommandCall, usesTags: Bool) throws(CommandError) {
        let target = try Target(server, call)
        let number = try argument(call, 6, "slot", 0...Int64(Slot.count - 1))
        let messages = try argument(call, 7, "numkeys", 0...Int64(Int32.max))
        guard let slot = Slot(number) else { return }
        let database = call.database
        try move(server, call, to: target) {
            OutgoingBatch(
                slot: slot,
                in: database,
                usesTags: usesTags,
                wantedMessages: messages == 0 ? 100 : Int(messages),
                target.limits,
                server
            )
        }
    }

    private static func moveKeys(_ server: Server, _ call: CommandCall, usesTags: Bool) throws(CommandError) {
        let target = try Target(server, call)
        let keys = (6..<call.arguments.count).map { Array(call.arguments[$0]) }
        let database = call.database
        try move(server, call, to: target) {
            OutgoingBatch(keys, in: database, usesTags: usesTags, target.limits, server)
        }
    }

    /// Moves the keys of the batch that `batch` makes once there is a connection.
    private static func move(
        _ server: Server,
        _ call: CommandCall,
        to target: Target,
        _ batch: @escaping () -> OutgoingBatch
    ) throws(CommandError) {
        let database = call.database
        let session = call.session
        let link = server.links[database]
        guard !(link?.isBusy ?? false) else { throw .message("ERR the specified DB is being migrated") }
        guard !server.effects.isInUnit, !session.isVirtual, !call.isFromScript else {
            throw .message("ERR \(call.command.name.uppercased()) is not possible within a transaction or script")
        }
        if let link, link.isOpen, link.host == target.host, link.port == target.port {
            let made = batch()
            guard !link.begin(made, for: session) else { return }
            return replyNothing(made, server, call)
        }
        link?.fail("build new connection")
        let new = MigrationLink(
            server,
            host: target.host,
            port: target.port,
            database: database,
            timeoutMilliseconds: target.limits.timeoutMilliseconds
        )
        server.links[database] = new
        new.connect(for: session) { [unowned new] in _ = new.begin(batch(), for: session) }
    }

    private static func replyNothing(_ batch: OutgoingBatch, _ server: Server, _ call: CommandCall) {
        guard let slot = batch.slot else { return call.reply.writeReplyZero() }
        call.reply.writeReplyArrayHeader(2)
        call.reply.writeReplyZero()
        call.reply.writeReplyInteger(server.keyspace.counts(of: slot, in: call.database).keys)
    }

    // MARK: Arguments

    /// Where to, and how.
    private struct Target {
        let host: [UInt8]
        let port: Int
        let limits: PieceLimits

        init(_ server: Server, _ call: CommandCall) throws(CommandError) {
            host = Array(call.arguments[1])
            port = Int(try argument(call, 2, "port", 1...65_535))
            let timeout = try argument(call, 3, "timeout", 0...Int64(Int32.max))
            let bulks = try argument(call, 4, "maxbulks", 0...Int64(Int32.max))
            let bytes = try argument(call, 5, "maxbytes", 0...Int64(Int32.max))
            limits = PieceLimits(
                mostBulks: min(bulks == 0 ? 200 : Int(bulks), 512 << 10),
                mostBytes: Target.mostBytes(bytes == 0 ? 512 << 10 : Int(bytes), server),
                timeoutMilliseconds: timeout == 0 ? 30_000 : timeout
            )
        }

        /// The limits on the output of normal clients hold for what waits on the connection as well.
        private static func mostBytes(_ bytes: Int, _ server: Server) -> Int {
            let limit = server.config.outputBufferLimits.normal
            var most = min(bytes, Int(Int32.max) / 2)
            if limit.softBytes > 0 { most = min(most, limit.softBytes) }
            if limit.hardBytes > 0 { most = min(most, limit.hardBytes) }
            return most
        }
    }

    private static func argument(
        _ call: CommandCall,
        _ index: Int,
        _ name: String,
        _ range: ClosedRange<Int64>
    ) throws(CommandError) -> Int64 {
        guard let value = call.arguments.optionalInteger(at: index), range.contains(value) else {
            throw .bytes(Array("ERR invalid value of \(name) (".utf8) + Array(call.arguments[index]) + [0x29])
        }
        return value
    }

    // MARK: Showing

    /// `SLOTSMGRTONE-ASYNC-DUMP timeout maxbulks key [key …]`: the commands that would be sent.
    static func oneDump(_ server: Server, _ call: CommandCall) throws(CommandError) {
        try dump(server, call, usesTags: false)
    }

    /// `SLOTSMGRTTAGONE-ASYNC-DUMP timeout maxbulks key [key …]`: the same, with all keys of the tags.
    static func tagOneDump(_ server: Server, _ call: CommandCall) throws(CommandError) {
        try dump(server, call, usesTags: true)
    }

    private static func dump(_ server: Server, _ call: CommandCall, usesTags: Bool) throws(CommandError) {
        let timeout = try argument(call, 1, "timeout", 0...Int64(Int32.max))
        let bulks = try argument(call, 2, "maxbulks", 0...Int64(Int32.max))
        let limits = PieceLimits(
            mostBulks: bulks == 0 ? 1000 : Int(bulks),
            mostBytes: Int(Int32.max),
            timeoutMilliseconds: timeout == 0 ? 30_000 : timeout
        )
        let keys = (3..<call.arguments.count).map { Array(call.arguments[$0]) }
        let batch = OutgoingBatch(shown: keys, in: call.database, usesTags: usesTags, limits, server)
        var messages = ByteBuffer()
        var count = 0
        while batch.advance(server) { count += batch.writeNext(to: &messages, room: .max, server) }
        call.reply.writeReplyArrayHeader(count)
        call.reply.writeImmutableBuffer(messages)
    }

    // MARK: Control

    /// `SLOTSMGRT-ASYNC-FENCE`: waits until the batch of this database has ended, and gets its reply; `OK` if there is
    /// none.
    static func fence(_ server: Server, _ call: CommandCall) throws(CommandError) {
        guard let link = server.links[call.database], link.isBusy else { return call.reply.writeReplyOK() }
        guard !server.effects.isInUnit, !call.session.isVirtual, !call.isFromScript else {
            throw .message("ERR SLOTSMGRT-ASYNC-FENCE cannot wait within a transaction or script")
        }
        link.hold(call.session)
    }

    /// `SLOTSMGRT-ASYNC-CANCEL`: ends the connection of this database and the batch on it; 1 if there was one.
    static func cancel(_ server: Server, _ call: CommandCall) throws(CommandError) {
        guard let link = server.links[call.database] else { return call.reply.writeReplyZero() }
        link.fail("canceled")
        call.reply.writeReplyOne()
    }

    /// `SLOTSMGRT-ASYNC-STATUS`: the connection of this database and what is on its way, null without one.
    static func status(_ server: Server, _ call: CommandCall) throws(CommandError) {
        guard let link = server.links[call.database] else { return call.reply.writeReplyNullArray() }
        var fields = StatusFields()
        fields.add("host") { $0.writeReplyBulk(link.host) }
        fields.add("port", link.port)
        fields.add("used", link.isUsed ? 1 : 0)
        fields.add("timeout", Int(link.timeoutMilliseconds))
        fields.add("lastuse", Int(link.lastUseMilliseconds))
        fields.add("since_lastuse", Int(call.now - link.lastUseMilliseconds))
        fields.add("sending_msgs", link.outstanding)
        fields.add("blocked_clients", link.waiting.count)
        fields.add("batched_iterator") { reply in
            if let batch = link.batch { status(of: batch, link, to: &reply) } else { reply.writeReplyNullArray() }
        }
        fields.write(to: &call.reply)
    }

    private static func status(of batch: OutgoingBatch, _ link: MigrationLink, to reply: inout ByteBuffer) {
        var fields = StatusFields()
        fields.add("keys") { reply in
            reply.writeReplyArrayHeader(2)
            reply.writeReplyBulk(Int64(batch.entries.count))
            reply.writeReplyArrayHeader(batch.entries.count)
            for entry in batch.entries { reply.writeReplyBulk(entry.key) }
        }
        fields.add("timeout", Int(batch.limits.timeoutMilliseconds))
        fields.add("maxbulks", batch.limits.mostBulks)
        fields.add("maxbytes", batch.limits.mostBytes)
        fields.add("estimate_msgs", batch.estimatedMessages)
        fields.add("removed_keys", batch.sentCount)
        fields.add("chunked_vals", batch.cutCount)
        fields.add("iterators") { reply in
            reply.writeReplyArrayHeader(2)
            reply.writeReplyBulk(Int64(batch.entries.count - batch.next))
            if let value = batch.value { status(of: value, to: &reply) } else { reply.writeReplyNullArray() }
        }
        fields.write(to: &reply)
    }

    private static func status(of value: OutgoingValue, to reply: inout ByteBuffer) {
        var fields = StatusFields()
        fields.add("key") { $0.writeReplyBulk(value.key) }
        fields.add("val.type", value.type.map { Int($0.rawValue) } ?? -1)
        fields.add("stage", value.stage.rawValue)
        // Without an expiry the original says -1.
        let expiry = value.expireAtMilliseconds == 0 && value.type != nil ? -1 : value.expireAtMilliseconds
        fields.add("expire", Int(expiry))
        fields.add("cursor", value.type == .hash || value.type == .set ? value.passed : 0)
        fields.add("lindex", value.type == .list ? value.passed : 0)
        fields.add("zindex", value.type == .sortedSet ? value.passed : 0)
        fields.add("chunked_msgs", value.pieceCount)
        fields.write(to: &reply)
    }
}

/// Names and values as a flat array of bulks.
private struct StatusFields {
    private var count = 0
    private var bytes = ByteBuffer()

    mutating func add(_ name: StaticString, _ value: Int) {
        add(name) { $0.writeReplyBulk(Int64(value)) }
    }

    mutating func add(_ name: StaticString, _ write: (inout ByteBuffer) -> Void) {
        bytes.writeReplyBulk(ByteView(name))
        write(&bytes)
        count += 2
    }

    func write(to reply: inout ByteBuffer) {
        reply.writeReplyArrayHeader(count)
        reply.writeImmutableBuffer(bytes)
    }
}
