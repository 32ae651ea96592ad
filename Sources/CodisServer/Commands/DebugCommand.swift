// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import Glibc
internal import Keyspace
internal import NIOCore
internal import RESP

/// DEBUG (Redis 2.8: `debug.c`).
enum DebugCommand {
    static let table: [Command] = [
        Command("debug", arity: .atLeast(2), flags: [.admin, .noScript], keys: .none, debug)
    ]

    /// `DEBUG OBJECT`, `SLEEP`, `SET-ACTIVE-EXPIRE`, `POPULATE`, `ERROR`, `DIGEST`, `RELOAD`, `LOADAOF`, `SDSLEN`,
    /// `SEGFAULT`, `ASSERT`, `OOM`.
    static func debug(_ server: Server, _ call: CommandCall) throws(CommandError) {
        let subcommand = call.arguments[1]
        let count = call.arguments.count
        if subcommand.equalsIgnoringCase("object"), count == 3 {
            try object(server, call)
        } else if subcommand.equalsIgnoringCase("sleep"), count == 3 {
            let seconds = Double(call.arguments.text(at: 2)) ?? 0
            usleep(UInt32(max(0, min(seconds, 4000)) * 1_000_000))
            call.reply.writeReplyOK()
        } else if subcommand.equalsIgnoringCase("set-active-expire"), count == 3 {
            server.cron.expiresActively = call.arguments.optionalInteger(at: 2) ?? 0 != 0
            call.reply.writeReplyOK()
        } else if subcommand.equalsIgnoringCase("populate"), count == 3 || count == 4 {
            try populate(server, call)
        } else if subcommand.equalsIgnoringCase("error"), count == 3 {
            throw .bytes(Array(call.arguments[2]))
        } else if subcommand.equalsIgnoringCase("digest"), count == 2 {
            digest(server, call)
        } else if subcommand.equalsIgnoringCase("reload"), count == 2 {
            guard server.checkpointNow() else { throw .message("ERR Error trying to load the RDB dump") }
            server.log.warning("DB reloaded by DEBUG RELOAD")
            call.reply.writeReplyOK()
        } else if subcommand.equalsIgnoringCase("loadaof"), count == 2 {
            guard server.checkpointNow() else { throw .message("ERR Error trying to load the AOF file") }
            server.dirty = 0
            server.log.warning("Append Only File loaded by DEBUG LOADAOF")
            call.reply.writeReplyOK()
        } else if subcommand.equalsIgnoringCase("sdslen"), count == 3 {
            try stringLengths(server, call)
        } else if subcommand.equalsIgnoringCase("segfault") || subcommand.equalsIgnoringCase("oom") {
            raise(SIGSEGV)
        } else if subcommand.equalsIgnoringCase("assert") {
            server.log.warning("=== ASSERTION FAILED ===")
            raise(SIGSEGV)
        } else {
            throw .bytes(
                Array("ERR Unknown DEBUG subcommand or wrong number of arguments for '".utf8) + Array(subcommand) + [
                    0x27
                ]
            )
        }
    }

    // MARK: One key

    /// `DEBUG OBJECT key`: no use of the key, and it does not expire by it.
    private static func object(_ server: Server, _ call: CommandCall) throws(CommandError) {
        let key = call.arguments[2]
        guard let record = server.keyspace.find(key, in: call.database) else { throw .noSuchKey }
        let seconds = UInt32(truncatingIfNeeded: call.now / 1000)
        let references = server.referenceCount(record)
        let length = serializedLength(server, record)
        let encoding = record.encodingName
        let idle = server.keyspace.idleSeconds(key, in: call.database, now: seconds)
        call.reply.writeReplyStatus(
            text: "Value at:0x7f0000000000 refcount:\(references) encoding:\(encoding) "
                + "serializedlength:\(length) lru:\((Int(seconds) - idle) & 0xFFFFFF) lru_seconds_idle:\(idle)"
        )
    }

    /// The bytes that a dump would take for the value, not counting what compression saves.
    private static func serializedLength(_ server: Server, _ record: Record) -> Int {
        guard record.type == .string else { return record.count }
        if record.count <= 11, let value = record.inlineValue.flatMap(DecimalNumber.canonical) {
            if Int8(exactly: value) != nil { return 2 }
            if Int16(exactly: value) != nil { return 3 }
            if Int32(exactly: value) != nil { return 5 }
        }
        return record.count + (record.count < 64 ? 1 : record.count < 16_384 ? 2 : 5)
    }

    private static func stringLengths(_ server: Server, _ call: CommandCall) throws(CommandError) {
        let key = call.arguments[2]
        guard let record = server.keyspace.find(key, in: call.database) else { throw .noSuchKey }
        guard record.type == .string, !record.isInteger else { throw .message("ERR Not an sds encoded string.") }
        call.reply.writeReplyStatus(
            text:
                "key_sds_len:\(key.count), key_sds_avail:0, val_sds_len:\(record.count), val_sds_avail:0"
        )
    }

    // MARK: Many keys

    /// `DEBUG POPULATE count [prefix]`: `prefix:0` … with `value:0` …, but for those that are there.
    ///
    /// It does not count as a change. What it makes is in the log all the same, so that it is there after a crash.
    private static func populate(_ server: Server, _ call: CommandCall) throws(CommandError) {
        let count = try call.arguments.integer(at: 2)
        let prefix = call.arguments.count == 4 ? Array(call.arguments[3]) : Array("key".utf8)
        var key: [UInt8] = []
        var value: [UInt8] = []
        for number in 0..<max(0, count) {
            key = prefix + [0x3A]
            key.appendDecimal(number)
            value = Array("value:".utf8)
            value.appendDecimal(number)
            try ByteView.with(key) { key throws(CommandError) in
                guard server.keyspace.find(key, in: call.database) == nil else { return }
                guard server.keyspace.ensureRoom(bytes: 256), server.effects.ensureRoom(bytes: 256) else {
                    throw .outOfSpace
                }
                try ByteView.with(value) { value throws(CommandError) in
                    try server.change { () throws(KeyspaceError) in
                        try server.keyspace.setString(key, in: call.database, to: value)
                    }
                    server.effects.append("SET", key, value, database: call.database)
                }
            }
            if server.keyspace.commitIsDue {
                server.writeFrameInTick()
                server.commandStart = (server.effects.offset, server.effects.selected)
                try server.change { () throws(KeyspaceError) in try server.commitUnderPressure() }
            }
        }
        server.needsTickEnd()
        call.reply.writeReplyOK()
    }

    /// `DEBUG DIGEST` in O(data).
    private static func digest(_ server: Server, _ call: CommandCall) {
        var whole = KeyspaceDigest()
        for database in 0..<server.databaseCount where server.keyspace.keyCount(in: database) > 0 {
            whole.mix(number: UInt32(database))
            server.keyspace.forEachKey(in: database) { key, record in
                var digest = KeyspaceDigest()
                digest.mix(Array(key))
                digest.mix(number: UInt32(record.type.rawValue))
                digest.mix(server.keyspace.bytes(of: record))
                if record.expireAtMilliseconds != 0 { digest.xor(Array("!!expire!!".utf8)) }
                whole.xor(digest.bytes)
                return true
            }
        }
        call.reply.writeReplyStatus(text: whole.text)
    }
}

extension ByteBuffer {
    /// Writes the status line `+text`, which must be without line ends.
    fileprivate mutating func writeReplyStatus(text: String) {
        ByteView.with(text) { writeReplyStatus($0) }
    }
}
