// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import Keyspace
internal import NIOCore
internal import RESP

/// The commands on one set (Redis 2.8: `t_set.c`).
enum SetCommands {
    static let table: [Command] = [
        Command("sadd", arity: .atLeast(3), flags: [.write, .denyOutOfMemory, .fast], keys: .first, sadd),
        Command("scard", arity: .exactly(2), flags: [.readOnly, .fast], keys: .first, scard),
        Command("sismember", arity: .exactly(3), flags: [.readOnly, .fast], keys: .first, sismember),
        Command("smembers", arity: .exactly(2), flags: [.readOnly, .sortForScript], keys: .first, smembers),
        Command("smove", arity: .exactly(4), flags: [.write, .fast], keys: .firstTwo, smove),
        Command("spop", arity: .exactly(2), flags: [.write, .noScript, .random, .fast], keys: .first, spop),
        Command("srandmember", arity: .atLeast(2), flags: [.readOnly, .random], keys: .first, srandmember),
        Command("srem", arity: .atLeast(3), flags: [.write, .fast], keys: .first, srem),
        Command("sscan", arity: .atLeast(3), flags: [.readOnly, .random], keys: .first, sscan),
    ]

    // MARK: Reading

    /// `SISMEMBER key member` in O(log n).
    static func sismember(_ server: Server, _ call: CommandCall) throws(CommandError) {
        if let record = try server.find(.set, 1, call, .read),
            server.withKeyspace({ $0.reader.contains(call.arguments[2], in: record) })
        {
            call.reply.writeReplyOne()
        } else {
            call.reply.writeReplyZero()
        }
    }

    /// `SCARD key` in O(1).
    static func scard(_ server: Server, _ call: CommandCall) throws(CommandError) {
        call.reply.writeReplyInteger(try server.find(.set, 1, call, .read)?.count ?? 0)
    }

    /// `SMEMBERS key` in O(n); an intset's members in ascending order.
    static func smembers(_ server: Server, _ call: CommandCall) throws(CommandError) {
        guard let record = try server.find(.set, 1, call, .read) else { return call.reply.writeReplyEmptyArray() }
        server.writeMembers(record, to: call)
    }

    /// `SSCAN key cursor [MATCH pattern] [COUNT count]` in O(count).
    static func sscan(_ server: Server, _ call: CommandCall) throws(CommandError) {
        try server.scanElements(call, .set, width: 1) { element, reply in
            if case .member(let member) = element { server.writeReplyBulk(member, to: &reply) }
        }
    }

    /// `SRANDMEMBER key [count]` in O(count · log n): `count` different members, or `-count` with repetitions.
    static func srandmember(_ server: Server, _ call: CommandCall) throws(CommandError) {
        guard call.arguments.count > 2 else {
            guard let record = try server.find(.set, 1, call, .read),
                case .member(let member)? = server.keyspace.randomElement(of: record)
            else { return call.reply.writeReplyNullBulk() }
            return server.writeReplyBulk(member, to: call)
        }
        guard call.arguments.count == 3 else { throw .syntax }
        let count = try call.arguments.integer(at: 2)
        guard count > .min else { throw .message("ERR value is out of range") }
        guard let record = try server.find(.set, 1, call, .read), count != 0 else {
            return call.reply.writeReplyEmptyArray()
        }
        if count < 0 {
            call.reply.writeReplyArrayHeader(Int(-count))
            for _ in 0..<(-count) { writeRandomMember(server, call, record) }
        } else if count >= record.count {
            server.writeMembers(record, to: call)
        } else {
            call.reply.writeReplyArrayHeader(Int(count))
            writeDifferentMembers(server, call, record, Int(count))
        }
    }

    private static func writeRandomMember(_ server: Server, _ call: CommandCall, _ record: Record) {
        if case .member(let member)? = server.keyspace.randomElement(of: record) {
            server.writeReplyBulk(member, to: call)
        }
    }

    /// Writes `count` different members, every selection as likely as any other.
    private static func writeDifferentMembers(
        _ server: Server,
        _ call: CommandCall,
        _ record: Record,
        _ count: Int
    ) {
        if count * 8 >= record.count {
            // One pass: each member is taken with the chance that just so many are still wanted of those left.
            var wanted = count
            var left = record.count
            var position = ElementPosition()
            server.keyspace.reader.forEachElement(of: record, from: &position) { element in
                if case .member(let member) = element, Int.random(in: 0..<left) < wanted {
                    server.writeReplyBulk(member, to: call)
                    wanted -= 1
                }
                left -= 1
                return wanted > 0
            }
            return
        }
        var seen: Set<[UInt8]> = []
        while seen.count < count {
            guard case .member(let member)? = server.keyspace.randomElement(of: record) else { return }
            let bytes = server.keyspace.reader.bytes(of: member)
            if seen.insert(bytes).inserted { call.reply.writeReplyBulk(bytes) }
        }
    }

    // MARK: Changing

    /// `SADD key member [member …]` in O(members · log n): how many are new.
    static func sadd(_ server: Server, _ call: CommandCall) throws(CommandError) {
        _ = try server.find(.set, 1, call, .write)
        let added = try add(server, call, key: call.arguments[1], from: 2)
        if added > 0 {
            call.dirty += added
            server.notify(.set, "sadd", call.arguments[1], call)
        }
        call.reply.writeReplyInteger(added)
    }

    /// Adds the arguments from `first` on to the set `key`.
    @inline(__always)
    private static func add(
        _ server: Server,
        _ call: CommandCall,
        key: ByteView,
        from first: Int
    ) throws(CommandError) -> Int {
        try server.change { keyspace throws(KeyspaceError) in
            try keyspace.addMembers(
                key,
                in: call.database,
                count: call.arguments.count - first,
                mostIntegers: server.config.setMaximumIntsetEntries
            ) { number in
                let member = call.arguments[first + number]
                return (member, DecimalNumber.canonical(member) != nil)
            }
        }
    }

    /// `SREM key member [member …]` in O(members · log n): how many there were.
    static func srem(_ server: Server, _ call: CommandCall) throws(CommandError) {
        guard let record = try server.find(.set, 1, call, .write) else { return call.reply.writeReplyZero() }
        let before = record.count
        let removed = try remove(server, call, key: call.arguments[1], from: 2)
        if removed > 0 {
            call.dirty += removed
            server.notify(.set, "srem", call.arguments[1], call)
            if removed == before { server.notify(.generic, "del", call.arguments[1], call) }
        }
        call.reply.writeReplyInteger(removed)
    }

    private static func remove(
        _ server: Server,
        _ call: CommandCall,
        key: ByteView,
        from first: Int
    ) throws(CommandError) -> Int {
        try server.change { keyspace throws(KeyspaceError) in
            try keyspace.removeElements(
                key,
                in: call.database,
                type: .set,
                count: call.arguments.count - first
            ) { call.arguments[first + $0] }
        }
    }

    /// `SMOVE source destination member` in O(log n): 1 if it was a member of the source.
    static func smove(_ server: Server, _ call: CommandCall) throws(CommandError) {
        // Looking one up may delete it, so what is found of the other is no longer looked at.
        let source = server.lookupWrite(call.arguments[1], call).map { ($0.type, $0.count) }
        let destination = server.lookupWrite(call.arguments[2], call)?.type
        guard let source else { return call.reply.writeReplyZero() }
        guard source.0 == .set, destination == nil || destination == .set else { throw .wrongType }
        if call.arguments[1] == call.arguments[2] { return try sismemberOfThird(server, call) }
        guard try remove(server, call, key: call.arguments[1], from: 3) > 0 else {
            return call.reply.writeReplyZero()
        }
        call.dirty += 1
        server.notify(.set, "srem", call.arguments[1], call)
        if source.1 == 1 { server.notify(.generic, "del", call.arguments[1], call) }
        if try add(server, call, key: call.arguments[2], from: 3) > 0 {
            call.dirty += 1
            server.notify(.set, "sadd", call.arguments[2], call)
        }
        call.reply.writeReplyOne()
    }

    private static func sismemberOfThird(_ server: Server, _ call: CommandCall) throws(CommandError) {
        let record = server.keyspace.find(call.arguments[1], in: call.database)
        if let record, server.keyspace.reader.contains(call.arguments[3], in: record) {
            call.reply.writeReplyOne()
        } else {
            call.reply.writeReplyZero()
        }
    }

    /// `SPOP key` in expected O(log n): a member chosen at random, which goes.
    ///
    /// Propagated as `SREM key member`.
    static func spop(_ server: Server, _ call: CommandCall) throws(CommandError) {
        guard try server.find(.set, 1, call, .write) != nil else { return call.reply.writeReplyNullBulk() }
        let key = call.arguments[1]
        let left = try server.change { keyspace throws(KeyspaceError) in
            try keyspace.popMember(key, in: call.database) { member in
                server.writeReplyBulk(member, to: call)
                if let inline = member.inline {
                    call.propagate([ByteView("SREM"), key, inline])
                } else {
                    ByteView.with(server.keyspace.reader.bytes(of: member)) {
                        call.propagate([ByteView("SREM"), key, $0])
                    }
                }
            }
        }
        call.dirty += 1
        server.notify(.set, "spop", key, call)
        if left == 0 { server.notify(.generic, "del", key, call) }
    }
}

extension Server {
    /// Replies all members of a set; an intset's in ascending order, as Redis keeps them.
    func writeMembers(_ record: Record, to call: CommandCall) {
        call.reply.writeReplyArrayHeader(record.count)
        guard record.encoding == SetEncoding.intset else {
            return keyspace.reader.forEachElement(of: record) { element in
                if case .member(let member) = element { self.writeReplyBulk(member, to: call) }
            }
        }
        var integers: [Int64] = []
        integers.reserveCapacity(record.count)
        keyspace.reader.forEachElement(of: record) { element in
            if case .member(let member) = element, let number = member.inline.flatMap(DecimalNumber.canonical) {
                integers.append(number)
            }
        }
        integers.sort()
        for number in integers { call.reply.writeReplyBulk(number) }
    }
}

/// The encoding byte of a set's record.
enum SetEncoding {
    /// All members are integers, and few enough.
    static let intset: UInt8 = 0
    /// The other sets.
    static let hashtable: UInt8 = 1
}
