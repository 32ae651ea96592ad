// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import Keyspace
internal import RDB
internal import RESP

/// DUMP and RESTORE: values as bytes that another server understands (Redis 2.8: `migrate.c`).
enum DumpCommands {
    static let table: [Command] = [
        Command("dump", arity: .exactly(2), flags: [.readOnly], keys: .first, dump),
        Command("restore", arity: .exactly(4), flags: [.write, .denyOutOfMemory], keys: .first, restore),
    ]

    /// `DUMP key` in O(log n + size): the value as RDB version 6 has it, with a version and a checksum; null without
    /// key.
    static func dump(_ server: Server, _ call: CommandCall) throws(CommandError) {
        guard let record = server.lookupRead(call.arguments[1], call) else { return call.reply.writeReplyNullBulk() }
        try server.withPayload(of: record) { call.reply.writeReplyBulk($0) }
    }

    /// `RESTORE key ttl-in-ms payload` in O(log n + size).
    ///
    /// Payloads of all versions that can be read are taken, also of later servers than 2.8, as far as the value is of a
    /// type of 2.8. Propagated as `RESTORE key 0 payload` in version 6, and `PEXPIREAT` if it expires.
    static func restore(_ server: Server, _ call: CommandCall) throws(CommandError) {
        let key = call.arguments[1]
        guard server.lookupWrite(key, call) == nil else { throw .message("ERR Target key name is busy.") }
        let lifetime = try call.arguments.integer(at: 2)
        guard lifetime >= 0 else { throw .message("ERR Invalid TTL value, must be >= 0") }
        let payload = call.arguments[3]
        try Server.check(payload)
        let expiry = lifetime == 0 ? 0 : ExpiryUnit.milliseconds.milliseconds(lifetime, after: call.now) ?? .max
        try server.restore(payload, key: key, in: call.database, expireAtMilliseconds: expiry)
        try server.propagateRestore(payload, key: key, expireAtMilliseconds: expiry, call)
        call.dirty += 1
        call.reply.writeReplyOK()
    }
}

/// Values as payloads, for the commands that send and take them.
extension Server {
    /// Calls `body` with the DUMP payload of a value, lent for the call.
    func withPayload(of record: Record, _ body: (ByteView) -> Void) throws(CommandError) {
        let encoder = DumpEncoder(compresses: config.rdbCompression)
        do {
            try encoder.begin(record.shape)
            try keyspace.readNow { reader in try ValueExport(reader.rows, to: encoder).run(record) }
            body(try encoder.finish())
        } catch {
            throw .failed("\(error)")
        }
    }

    /// Throws what RESTORE replies for a payload that cannot be taken, without changing anything.
    static func check(_ payload: ByteView) throws(CommandError) {
        do throws(RDBError) {
            _ = try DumpPayload.validate(payload, accepting: DumpPayload.readableVersions)
        } catch .wrongPayloadFooter {
            throw .message("ERR DUMP payload version or checksum are wrong")
        } catch {
            throw .message("ERR Bad data format")
        }
    }

    /// Makes `key` what `payload` has, which was checked; what was there is replaced.
    func restore(
        _ payload: ByteView,
        key: ByteView,
        in database: Int,
        expireAtMilliseconds: Int64
    ) throws(CommandError) {
        guard keyspace.ensureRoom(bytes: payload.count) else { throw .outOfSpace }
        do {
            let reader = try DumpPayload.readerOfContent(payload, accepting: DumpPayload.readableVersions)
            let values = ValueImport(keyspace: keyspace, limits: EncodingLimitsOfKinds(config))
            let isStored = try values.run(reader, key: key, in: database, expireAtMilliseconds: expireAtMilliseconds)
            guard isStored else { throw RDBError.malformed("a value without elements", position: 0) }
        } catch let error as KeyspaceError {
            needsTickEnd()
            throw CommandError(error)
        } catch {
            throw .message("ERR Bad data format")
        }
    }

    /// Propagates RESTORE so that it leads to the same at any time, and on a slave of version 2.8 too.
    func propagateRestore(
        _ payload: ByteView,
        key: ByteView,
        expireAtMilliseconds: Int64,
        _ call: CommandCall
    ) throws(CommandError) {
        guard !isLoading else { return }
        let zero: StaticString = "0"
        if DumpPayload.hasValidFooter(payload, accepting: DumpPayload.versionsOfRedis28) {
            call.propagate([ByteView("RESTORE"), key, ByteView(zero), payload])
        } else if let record = keyspace.find(key, in: call.database) {
            try withPayload(of: record) { call.propagate([ByteView("RESTORE"), key, ByteView(zero), $0]) }
        }
        if expireAtMilliseconds != 0 {
            effects.append("PEXPIREAT", key, expireAtMilliseconds, database: call.database)
        }
    }
}
