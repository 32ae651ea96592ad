// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import Keyspace
internal import RESP

/// OBJECT, which tells how a value is kept (Redis 2.8: `object.c`, `objectCommand`).
enum ObjectCommand {
    static let table: [Command] = [
        Command("object", arity: .exactly(3), flags: [.readOnly], keys: .range(2, 2, 2), object)
    ]

    /// `OBJECT REFCOUNT|ENCODING|IDLETIME key` in O(log n).
    ///
    /// It is no use of the key: its idle time goes on.
    static func object(_ server: Server, _ call: CommandCall) throws(CommandError) {
        let subcommand = call.arguments[1]
        let key = call.arguments[2]
        let isRefcount = subcommand.equalsIgnoringCase("refcount")
        let isEncoding = subcommand.equalsIgnoringCase("encoding")
        guard isRefcount || isEncoding || subcommand.equalsIgnoringCase("idletime") else {
            throw .message("ERR Syntax error. Try OBJECT (refcount|encoding|idletime)")
        }
        guard let record = server.keyspace.find(key, in: call.database),
            !(server.expiresKeys && record.isExpired(at: call.now))
        else { return call.reply.writeReplyNullBulk() }
        if isRefcount {
            call.reply.writeReplyInteger(server.referenceCount(record))
        } else if isEncoding {
            call.reply.writeReplyBulk(ByteView(record.encodingName))
        } else {
            let seconds = UInt32(truncatingIfNeeded: call.now / 1000)
            call.reply.writeReplyInteger(server.keyspace.idleSeconds(key, in: call.database, now: seconds))
        }
    }
}

extension Server {
    /// How many keys share a value, as far as the client may ask: small integers count as shared, unless maxmemory
    /// has a policy that must know when each was used.
    func referenceCount(_ record: Record) -> Int {
        guard record.type == .string, record.isInteger, let value = record.inlineValue.flatMap(DecimalNumber.canonical),
            (0..<10_000).contains(value)
        else { return 1 }
        return sharesIntegers ? 2 : 1
    }
}

extension Record {
    /// Whether a string counts as an integer: its digits are canonical, and no command on bytes has made it.
    var isInteger: Bool {
        encoding == StringEncoding.byContent && inlineValue.flatMap(DecimalNumber.canonical) != nil
    }

    /// The name of the encoding, as OBJECT ENCODING and DEBUG OBJECT tell it: each type has a small and a large one.
    var encodingName: StaticString {
        switch type {
        case .string: isInteger ? "int" : "raw"
        case .list: encoding == 0 ? "ziplist" : "linkedlist"
        case .set: encoding == 0 ? "intset" : "hashtable"
        case .sortedSet: encoding == 0 ? "ziplist" : "skiplist"
        case .hash: encoding == 0 ? "ziplist" : "hashtable"
        }
    }
}
