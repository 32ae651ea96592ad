// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import Keyspace
internal import RESP

/// The commands on the bits of strings (Redis 2.8: `bitops.c`).
///
/// Bit 0 is the highest bit of the first byte. Large strings are read piece by piece, never as a whole.
enum BitCommands {
    static let table: [Command] = [
        Command("bitcount", arity: .atLeast(2), flags: [.readOnly], keys: .first, bitcount),
        Command("bitop", arity: .atLeast(4), flags: [.write, .denyOutOfMemory], keys: .from(2), bitop),
        Command("bitpos", arity: .atLeast(3), flags: [.readOnly], keys: .first, bitpos),
        Command("getbit", arity: .exactly(3), flags: [.readOnly, .fast], keys: .first, getbit),
        Command("setbit", arity: .exactly(4), flags: [.write, .denyOutOfMemory], keys: .first, setbit),
    ]

    // MARK: Single bits

    /// `SETBIT key offset value` in O(log n): replies what the bit was.
    static func setbit(_ server: Server, _ call: CommandCall) throws(CommandError) {
        let key = call.arguments[1]
        let offset = try bitOffset(call)
        guard let bit = call.arguments.optionalInteger(at: 3), bit == 0 || bit == 1 else {
            throw .message("ERR bit is not an integer or out of range")
        }
        let record = try server.findString(1, call, .write)
        let byte = record.map { storedByte(server, $0, at: offset >> 3) } ?? 0
        let mask = UInt8(0x80) >> UInt8(offset & 7)
        var changed = bit == 1 ? byte | mask : byte & ~mask
        try server.change { keyspace throws(KeyspaceError) in
            try unsafe withUnsafeBytes(of: &changed) { bytes throws(KeyspaceError) in
                let view = unsafe ByteView(bytes)
                _ = try server.keyspace.writeString(key, in: call.database, at: offset >> 3, view)
            }
        }
        call.dirty += 1
        server.notify(.string, "setbit", key, call)
        call.reply.writeReplyInteger(byte & mask != 0 ? 1 : 0)
    }

    /// `GETBIT key offset` in O(log n).
    static func getbit(_ server: Server, _ call: CommandCall) throws(CommandError) {
        let offset = try bitOffset(call)
        guard let record = try server.findString(1, call, .read) else { return call.reply.writeReplyZero() }
        let isSet = storedByte(server, record, at: offset >> 3) & (0x80 >> UInt8(offset & 7)) != 0
        call.reply.writeReplyInteger(isSet ? 1 : 0)
    }

    /// The offset of a bit within the longest string, argument 2.
    private static func bitOffset(_ call: CommandCall) throws(CommandError) -> Int {
        guard let offset = call.arguments.optionalInteger(at: 2), offset >= 0,
            offset >> 3 < Int64(StringCommands.longestStringBytes)
        else { throw .message("ERR bit offset is not an integer or out of range") }
        return Int(offset)
    }

    /// The byte at `index` of a string; 0 beyond its end.
    private static func storedByte(_ server: Server, _ record: Record, at index: Int) -> UInt8 {
        guard index < record.count else { return 0 }
        if let value = record.inlineValue { return value[index] }
        var byte: UInt8 = 0
        server.keyspace.forEachPiece(of: record, from: index, count: 1) { byte = $0[0] }
        return byte
    }

    // MARK: Counting and finding

    /// `BITCOUNT key [start end]` in O(length of the range).
    static func bitcount(_ server: Server, _ call: CommandCall) throws(CommandError) {
        // The key before the range: of a missing key it is 0 whatever else is wrong.
        guard let record = try server.findString(1, call, .read) else { return call.reply.writeReplyZero() }
        var range: Range<Int>? = 0..<record.count
        if call.arguments.count == 4 {
            let start = try call.arguments.integer(at: 2)
            let end = try call.arguments.integer(at: 3)
            range = StringRange.clamped(start, end, length: record.count)
        } else if call.arguments.count != 2 {
            throw .syntax
        }
        guard let range else { return call.reply.writeReplyZero() }
        var ones = 0
        server.keyspace.forEachPiece(of: record, from: range.lowerBound, count: range.count) {
            ones += BitArithmetic.countOnes($0)
        }
        call.reply.writeReplyInteger(ones)
    }

    /// `BITPOS key bit [start [end]]` in O(length of the range).
    static func bitpos(_ server: Server, _ call: CommandCall) throws(CommandError) {
        let wanted = try call.arguments.integer(at: 2)
        guard wanted == 0 || wanted == 1 else { throw .message("ERR The bit argument must be 1 or 0.") }
        guard let record = try server.findString(1, call, .read) else {
            return call.reply.writeReplyInteger(wanted == 1 ? -1 : 0)
        }
        guard call.arguments.count <= 5 else { throw .syntax }
        let start = call.arguments.count > 3 ? try call.arguments.integer(at: 3) : 0
        let isEndGiven = call.arguments.count > 4
        let end = isEndGiven ? try call.arguments.integer(at: 4) : -1
        guard let range = StringRange.clamped(start, end, length: record.count) else {
            return call.reply.writeReplyInteger(-1)
        }
        if let position = firstIndex(server, record, of: wanted == 1, in: range) {
            call.reply.writeReplyInteger(position)
        } else {
            // Without an end the string counts as followed by zeros.
            call.reply.writeReplyInteger(wanted == 0 && !isEndGiven ? range.upperBound * 8 : -1)
        }
    }

    private static func firstIndex(_ server: Server, _ record: Record, of bit: Bool, in range: Range<Int>) -> Int? {
        // By the page rather than all at once, so that the search ends where the bit is found.
        let step = 64 << 10
        var start = range.lowerBound
        while start < range.upperBound {
            let count = min(step, range.upperBound - start)
            var position: Int?
            var offset = start
            server.keyspace.forEachPiece(of: record, from: start, count: count) { piece in
                if position == nil, let found = BitArithmetic.firstIndex(of: bit, in: piece) {
                    position = offset * 8 + found
                }
                offset += piece.count
            }
            if let position { return position }
            start += count
        }
        return nil
    }

    // MARK: Combining

    /// `BITOP AND|OR|XOR|NOT target key [key …]` in O(sum of the lengths): replies the length of the result.
    static func bitop(_ server: Server, _ call: CommandCall) throws(CommandError) {
        let operation = try operation(call)
        let target = call.arguments[2]
        let length = try longestSource(server, call)
        if length > 0 {
            let result = combined(server, call, operation, length: length)
            try ByteView.with(result) { result throws(CommandError) in
                try server.change { keyspace throws(KeyspaceError) in
                    try keyspace.setString(target, in: call.database, to: result, encoding: StringEncoding.raw)
                }
            }
            server.notify(.string, "set", target, call)
        } else if try server.change({ keyspace throws(KeyspaceError) in
            try keyspace.remove(target, in: call.database)
        }) {
            server.notify(.generic, "del", target, call)
        }
        call.dirty += 1
        call.reply.writeReplyInteger(length)
    }

    private static func operation(_ call: CommandCall) throws(CommandError) -> BitArithmetic.Operation {
        let name = call.arguments[1]
        if name.equalsIgnoringCase("and") { return .and }
        if name.equalsIgnoringCase("or") { return .or }
        if name.equalsIgnoringCase("xor") { return .exclusiveOr }
        guard name.equalsIgnoringCase("not") else { throw .syntax }
        guard call.arguments.count == 4 else {
            throw .message("ERR BITOP NOT must be called with a single source key.")
        }
        return .not
    }

    /// Looks all sources up and checks their types; the length of the longest.
    private static func longestSource(_ server: Server, _ call: CommandCall) throws(CommandError) -> Int {
        var length = 0
        for index in 3..<call.arguments.count {
            length = max(length, try server.findString(index, call, .read)?.count ?? 0)
        }
        return length
    }

    /// The sources put together, as strings of `length` bytes that end in zeros.
    private static func combined(
        _ server: Server,
        _ call: CommandCall,
        _ operation: BitArithmetic.Operation,
        length: Int
    ) -> [UInt8] {
        // The first source is taken as it is by OR into zeros, the one of NOT by NOT.
        var result = [UInt8](repeating: 0, count: length)
        for index in 3..<call.arguments.count {
            let isFirst = index == 3
            var offset = 0
            if let record = server.keyspace.find(call.arguments[index], in: call.database) {
                let step = isFirst && operation != .not ? .or : operation
                server.keyspace.forEachPiece(of: record) { piece in
                    BitArithmetic.combine(step, piece, into: &result, at: offset)
                    offset += piece.count
                }
            }
            if !isFirst { BitArithmetic.combineZeros(operation, into: &result, from: offset) }
        }
        return result
    }
}
