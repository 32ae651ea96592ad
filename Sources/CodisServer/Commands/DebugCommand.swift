// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import Glibc
internal import Keyspace
internal import NIOCore
internal import RDB
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
            try digest(server, call)
        } else if subcommand.equalsIgnoringCase("reload"), count == 2 {
            try reload(server)
            server.log.warning("DB reloaded by DEBUG RELOAD")
            call.reply.writeReplyOK()
        } else if subcommand.equalsIgnoringCase("loadaof"), count == 2 {
            try server.reloadFromLog()
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
        let length = try server.serializedLength(of: record)
        let encoding = record.encodingName
        let idle = server.keyspace.idleSeconds(key, in: call.database, now: seconds)
        call.reply.writeReplyStatus(
            text: "Value at:0x7f0000000000 refcount:\(references) encoding:\(encoding) "
                + "serializedlength:\(length) lru:\((Int(seconds) - idle) & 0xFFFFFF) lru_seconds_idle:\(idle)"
        )
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
                    try server.change { keyspace throws(KeyspaceError) in
                        try keyspace.setString(key, in: call.database, to: value)
                    }
                    server.effects.append("SET", key, value, database: call.database)
                }
            }
            if server.keyspace.commitIsDue {
                server.writeFrameInTick()
                server.commandStart = (server.effects.offset, server.effects.selected)
                try server.change { keyspace throws(KeyspaceError) in try server.commitUnderPressure() }
            }
        }
        server.needsTickEnd()
        call.reply.writeReplyOK()
    }

    /// `DEBUG DIGEST` in O(data).
    private static func digest(_ server: Server, _ call: CommandCall) throws(CommandError) {
        do {
            let text = try server.keyspace.readNow { reader in try KeyspaceDigest(reader).text }
            call.reply.writeReplyStatus(text: text)
        } catch {
            throw .failed("\(error)")
        }
    }

    /// `DEBUG RELOAD` in O(data): a dump is written, and every key is made anew from it, in its place.
    ///
    /// What a key holds does not change by that, so an end at any moment leaves the data as they are, and the log need
    /// not know. Encodings are chosen anew.
    private static func reload(_ server: Server) throws(CommandError) {
        do {
            while let due = try server.keyspace.nextExpired(at: server.clock.milliseconds) {
                ByteView.with(due.key) { server.expire($0, in: due.database) }
            }
        } catch {
            throw .failed("\(error)")
        }
        guard server.saveNow() else { throw .message("ERR") }
        do {
            try server.reloadDump()
        } catch {
            server.log.warning("Reloading the dump: \(error)")
            throw .message("ERR Error trying to load the RDB dump")
        }
    }
}

extension Server {
    /// The bytes that a dump takes for the value.
    fileprivate func serializedLength(of record: Record) throws(CommandError) -> Int {
        let encoder = DumpEncoder(compresses: config.rdbCompression)
        do {
            try encoder.begin(record.shape)
            try keyspace.readNow { reader in try ValueExport(reader.rows, to: encoder).run(record) }
            _ = try encoder.finish()
            return encoder.valueLength
        } catch {
            throw .failed("\(error)")
        }
    }

    /// Makes every key anew from the dump that was just written.
    fileprivate func reloadDump() throws {
        guard let file = ImportFile(RDBFile(config).path) else { throw SystemError("cannot open the dump") }
        var options = RDBReader.Options()
        options.databaseLimit = databaseCount
        let reader = RDBReader(fileDescriptor: file.descriptor, options: options)
        let values = ValueImport(keyspace: keyspace, limits: EncodingLimitsOfKinds(config))
        var count = 0
        loading: while true {
            switch try reader.next() {
            case .key(let key):
                count += 1
                guard keyspace.ensureRoom(bytes: 64 << 10) else { throw KeyspaceError.outOfSpace }
                _ = try values.run(
                    reader.value,
                    key: key.name,
                    in: key.databaseIndex,
                    expireAtMilliseconds: key.expireAtMilliseconds ?? 0
                )
                if keyspace.commitIsDue {
                    writeFrameInTick()
                    commandStart = (effects.offset, effects.selected)
                    try commitUnderPressure()
                }
            case .end: break loading
            case .auxiliaryField, .databaseSize, .skipped: break
            }
        }
        let expected = (0..<databaseCount).reduce(0) { $0 + keyspace.keyCount(in: $1) }
        guard count == expected else { throw ImportError("\(count) keys were read, but there are \(expected)") }
        needsTickEnd()
    }
}

extension ByteBuffer {
    /// Writes the status line `+text`, which must be without line ends.
    fileprivate mutating func writeReplyStatus(text: String) {
        ByteView.with(text) { writeReplyStatus($0) }
    }
}
