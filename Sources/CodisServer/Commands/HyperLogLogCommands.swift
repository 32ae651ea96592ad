// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import Glibc
internal import Keyspace
internal import RESP

/// The commands that count different elements (Redis 2.8: `hyperloglog.c`).
enum HyperLogLogCommands {
    static let table: [Command] = [
        Command("pfadd", arity: .atLeast(2), flags: [.write, .denyOutOfMemory, .fast], keys: .first, pfadd),
        Command("pfcount", arity: .atLeast(2), flags: [.readOnly], keys: .first, pfcount),
        Command("pfdebug", arity: .atLeast(3), flags: [.write], keys: .none, pfdebug),
        Command("pfmerge", arity: .atLeast(2), flags: [.write, .denyOutOfMemory], keys: .all, pfmerge),
        Command("pfselftest", arity: .exactly(1), flags: [.readOnly], keys: .none, pfselftest),
    ]

    private static let corrupted = CommandError.message("INVALIDOBJ Corrupted HLL object detected")

    // MARK: Commands

    /// `PFADD key [element …]` in O(elements): 1 if the key was made or the count may have changed.
    static func pfadd(_ server: Server, _ call: CommandCall) throws(CommandError) {
        let key = call.arguments[1]
        let record = try server.findHyperLogLog(1, call, .write)
        let isChanged =
            if let record, call.arguments.count <= mostSinglyRaised, server.byte(4, of: record) == 0 {
                try raiseInPlace(record, server, call)
            } else {
                try addToWhole(record, server, call)
            }
        guard isChanged else { return call.reply.writeReplyZero() }
        server.notify(.string, "pfadd", key, call)
        call.reply.writeReplyOne()
    }

    /// A dense value is read and written as a whole when there are more arguments than this.
    private static let mostSinglyRaised = 16

    /// Raises registers of a dense value, of which only their bytes are read and written.
    private static func raiseInPlace(
        _ record: Record,
        _ server: Server,
        _ call: CommandCall
    ) throws(CommandError) -> Bool {
        let key = call.arguments[1]
        let flags = server.byte(15, of: record)
        var isChanged = false
        for index in 2..<max(2, call.arguments.count) {
            let (register, value) = HyperLogLog.register(of: call.arguments[index])
            let place = HyperLogLog.place(of: register).byte
            // The last register ends with the value.
            let pair = UInt16(server.byte(place, of: record)) | UInt16(server.byte(place + 1, of: record)) << 8
            guard let raised = HyperLogLog.raised(pair, register: register, to: value) else { continue }
            let bytes = [UInt8(truncatingIfNeeded: raised), UInt8(raised >> 8)]
            try server.write(bytes.prefix(HyperLogLog.denseLength - place), into: key, at: place, call)
            isChanged = true
        }
        guard isChanged else { return false }
        if flags & 0x80 == 0 { try server.write([flags | 0x80], into: key, at: 15, call) }
        call.dirty += 1
        return true
    }

    /// Adds to a value that is read and written as a whole, or makes it.
    private static func addToWhole(
        _ record: Record?,
        _ server: Server,
        _ call: CommandCall
    ) throws(CommandError) -> Bool {
        var counter = record.flatMap { HyperLogLog(server.keyspace.bytes(of: $0)) } ?? HyperLogLog()
        var isChanged = record == nil
        for index in 2..<max(2, call.arguments.count) {
            switch counter.add(call.arguments[index], sparseLimit: server.config.hllSparseMaximumBytes) {
            case .unchanged: break
            case .changed: isChanged = true
            case .corrupted: throw corrupted
            }
        }
        guard isChanged else { return false }
        counter.invalidateCache()
        try server.store(counter, at: call.arguments[1], call)
        return true
    }

    /// `PFCOUNT key [key …]` in O(keys), or O(1) while the estimate that is kept with a single one holds.
    ///
    /// Propagated if that estimate was made anew, which changes the value.
    static func pfcount(_ server: Server, _ call: CommandCall) throws(CommandError) {
        guard call.arguments.count == 2 else {
            let registers = try union(server, call)
            return call.reply.writeReplyInteger(Int64(HyperLogLog.estimate(registers)))
        }
        guard let record = try server.findHyperLogLog(1, call, .read),
            let counter = HyperLogLog(server.keyspace.bytes(of: record))
        else { return call.reply.writeReplyZero() }
        if let cached = counter.cachedEstimate { return call.reply.writeReplyInteger(Int64(clamping: cached)) }
        guard let estimate = counter.estimate() else { throw corrupted }
        // Where nothing can be written the estimate is just not kept.
        if !server.isReplica, server.keyspace.ensureRoom(bytes: HyperLogLog.denseLength) {
            try server.write(HyperLogLog.cache(of: estimate)[...], into: call.arguments[1], at: 8, call)
            call.dirty += 1
            call.propagate([ByteView("PFCOUNT"), call.arguments[1]])
        }
        call.reply.writeReplyInteger(Int64(clamping: estimate))
    }

    /// `PFMERGE destination [source …]` in O(keys): the destination becomes the union, and is dense.
    static func pfmerge(_ server: Server, _ call: CommandCall) throws(CommandError) {
        let key = call.arguments[1]
        let registers = try union(server, call)
        var counter = HyperLogLog()
        if let record = server.lookupWrite(key, call) {
            counter = HyperLogLog(server.keyspace.bytes(of: record)) ?? counter
        }
        counter.setRegisters(registers)
        counter.invalidateCache()
        try server.store(counter, at: key, call)
        server.notify(.string, "pfadd", key, call)
        call.reply.writeReplyOK()
    }

    /// The registers of all keys that are named, each the greatest of them.
    private static func union(_ server: Server, _ call: CommandCall) throws(CommandError) -> [UInt8] {
        var registers = [UInt8](repeating: 0, count: HyperLogLog.registerCount)
        for index in 1..<call.arguments.count {
            guard let record = try server.findHyperLogLog(index, call, .read),
                let counter = HyperLogLog(server.keyspace.bytes(of: record))
            else { continue }
            guard counter.mergeRegisters(into: &registers) else { throw corrupted }
        }
        return registers
    }

    // MARK: For developers

    /// `PFDEBUG GETREG key`, `DECODE key`, `ENCODING key`, `TODENSE key`.
    static func pfdebug(_ server: Server, _ call: CommandCall) throws(CommandError) {
        let subcommand = call.arguments[1]
        let key = call.arguments[2]
        guard let record = try server.findHyperLogLog(2, call, .write),
            var counter = HyperLogLog(server.keyspace.bytes(of: record))
        else { throw .message("ERR The specified key does not exist") }
        let names: [StaticString] = ["getreg", "decode", "encoding", "todense"]
        guard let name = names.first(where: { subcommand.equalsIgnoringCase($0) }) else {
            throw .bytes(Array("ERR Unknown PFDEBUG subcommand '".utf8) + Array(subcommand) + [0x27])
        }
        guard call.arguments.count == 3 else {
            throw .bytes(
                Array("ERR Wrong number of arguments for the '".utf8) + Array(subcommand) + Array("' subcommand".utf8)
            )
        }
        switch "\(name)" {
        case "getreg":
            guard let registers = counter.registers() else { throw corrupted }
            if !counter.isDense { try makeDense(&counter, server, key, call) }
            call.reply.writeReplyArrayHeader(registers.count)
            for register in registers { call.reply.writeReplyInteger(Int(register)) }
        case "decode":
            guard let runs = counter.runs() else { throw .message("ERR HLL encoding is not sparse") }
            call.reply.writeReplyBulk(runs)
        case "encoding":
            call.reply.writeReplyStatus(counter.isDense ? "dense" : "sparse")
        default:
            guard !counter.isDense else { return call.reply.writeReplyZero() }
            try makeDense(&counter, server, key, call)
            call.reply.writeReplyOne()
        }
    }

    private static func makeDense(
        _ counter: inout HyperLogLog,
        _ server: Server,
        _ key: ByteView,
        _ call: CommandCall
    ) throws(CommandError) {
        guard counter.makeDense() else { throw corrupted }
        try server.store(counter, at: key, call)
    }

    /// `PFSELFTEST`: counts a million elements, sparse and dense, and looks at the estimates on the way.
    ///
    /// The server does nothing else meanwhile, so there are ten times fewer elements and rounds than in Redis, where it
    /// takes seconds.
    static func pfselftest(_ server: Server, _ call: CommandCall) throws(CommandError) {
        try HyperLogLogSelfTest.registers()
        try HyperLogLogSelfTest.estimates(sparseLimit: server.config.hllSparseMaximumBytes)
        call.reply.writeReplyOK()
    }
}

extension Server {
    /// The record of the key at `index` of the arguments, nil if there is none, or an error if it is no HyperLogLog.
    fileprivate func findHyperLogLog(
        _ index: Int,
        _ call: CommandCall,
        _ purpose: LookupPurpose
    ) throws(CommandError) -> Record? {
        guard let record = try findString(index, call, purpose) else { return nil }
        var head: [UInt8] = []
        keyspace.forEachPiece(of: record, count: HyperLogLog.headLength) { head += Array($0) }
        guard HyperLogLog.isHead(head, length: record.count) else {
            throw .message("WRONGTYPE Key is not a valid HyperLogLog string value.")
        }
        return record
    }

    /// The byte of a value at `offset`; 0 beyond its end.
    fileprivate func byte(_ offset: Int, of record: Record) -> UInt8 {
        var byte: UInt8 = 0
        keyspace.forEachPiece(of: record, from: offset, count: 1) { byte = $0[0] }
        return byte
    }

    /// Makes `key` this value; its expiry stays.
    fileprivate func store(_ counter: HyperLogLog, at key: ByteView, _ call: CommandCall) throws(CommandError) {
        try ByteView.with(counter.bytes) { bytes throws(CommandError) in
            try change { keyspace throws(KeyspaceError) in
                try keyspace.updateString(key, in: call.database, to: bytes, encoding: StringEncoding.raw)
            }
        }
        call.dirty += 1
    }

    /// Writes a few bytes of a value in their place.
    fileprivate func write(
        _ bytes: ArraySlice<UInt8>,
        into key: ByteView,
        at offset: Int,
        _ call: CommandCall
    ) throws(CommandError) {
        try ByteView.with(Array(bytes)) { bytes throws(CommandError) in
            _ = try change { keyspace throws(KeyspaceError) in
                try keyspace.writeString(key, in: call.database, at: offset, bytes)
            }
        }
    }
}

/// The checks of PFSELFTEST.
enum HyperLogLogSelfTest {
    /// Registers hold what was put into them, and none disturbs another.
    static func registers() throws(CommandError) {
        var random = SystemRandomNumberGenerator()
        for _ in 0..<100 {
            let wanted = (0..<HyperLogLog.registerCount).map { _ in UInt8(truncatingIfNeeded: random.next()) & 63 }
            var counter = HyperLogLog()
            counter.setRegisters(wanted)
            guard let found = counter.registers() else { throw .message("ERR TESTFAILED registers are corrupted") }
            for (index, register) in found.enumerated() where register != wanted[index] {
                throw .message(
                    "ERR TESTFAILED Register \(index) should be \(wanted[index]) but is \(register)"
                )
            }
        }
    }

    /// The estimates are as good as they should be, and the same for a sparse and a dense one.
    static func estimates(sparseLimit: Int, elements: UInt64 = 1_000_000) throws(CommandError) {
        var dense = HyperLogLog()
        _ = dense.makeDense()
        var mixed = HyperLogLog()
        let seed = UInt64.random(in: .min ... .max)
        let relativeError = 1.04 / Double(HyperLogLog.registerCount).squareRoot()
        var checkpoint: UInt64 = 1
        for number in 1...elements {
            var element = number ^ seed
            let (first, second) = unsafe withUnsafeBytes(of: &element) { bytes in
                (
                    dense.add(unsafe ByteView(bytes), sparseLimit: sparseLimit),
                    mixed.add(unsafe ByteView(bytes), sparseLimit: sparseLimit)
                )
            }
            guard first == second else { throw .message("ERR TESTFAILED dense/sparse disagree") }
            guard number == checkpoint else { continue }
            if number < sparseLimit / 2, mixed.isDense {
                throw .message("ERR TESTFAILED sparse encoding not used")
            }
            guard let estimate = dense.estimate(), mixed.estimate() == estimate else {
                throw .message("ERR TESTFAILED dense/sparse disagree")
            }
            let wrong = Int64(checkpoint) - Int64(clamping: estimate)
            // With ten elements a collision is likely enough to allow for one.
            let allowed = number == 10 ? 1 : Int64((relativeError * 6 * Double(checkpoint)).rounded(.up))
            guard abs(wrong) <= allowed else {
                throw .message("ERR TESTFAILED Too big error. card:\(checkpoint) abserr:\(abs(wrong))")
            }
            checkpoint *= 10
        }
    }
}
