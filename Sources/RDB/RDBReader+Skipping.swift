// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes

// What newer versions of Redis write and 2.8 has no place for: read over, so that the rest of the file can be used.

extension RDBReader {
    /// Reads over the value of a key that 2.8 cannot hold and gives what it was, or refuses it.
    func skipUnsupported(_ type: RDBFormat.ValueType, key: ByteView) throws(RDBError) -> RDBUnsupported {
        let position = input.position
        let what: RDBUnsupported
        switch type {
        case .stream, .stream2, .stream3:
            what = .stream
        case .hashFieldExpiryPreRelease, .hashFieldExpiryListpackPreRelease, .hashFieldExpiry,
            .hashFieldExpiryListpack:
            what = .hashWithFieldExpiry
        case .module:
            what = .module(moduleName(try input.count()))
        case .moduleUnskippable:
            // Only the module itself knows where its value ends.
            throw .unsupported(.module(moduleName(try input.count())), key: Array(key), position: position)
        case .string, .list, .set, .sortedSet, .hash, .sortedSetBinary, .hashZipmap, .listZiplist, .setIntset,
            .sortedSetZiplist, .hashZiplist, .listQuicklist, .hashListpack, .sortedSetListpack, .listQuicklist2,
            .setListpack:
            throw input.malformed("a value of Redis 2.8 was to be read over")
        }
        guard options.skipsUnsupported else { throw .unsupported(what, key: Array(key), position: position) }
        switch type {
        case .module: try skipModuleValue()
        case .stream: try skipStream(release: 1)
        case .stream2: try skipStream(release: 2)
        case .stream3: try skipStream(release: 3)
        case .hashFieldExpiryPreRelease: try skipExpiringFields()
        case .hashFieldExpiryListpackPreRelease: try input.skipString()
        case .hashFieldExpiry:
            try input.skip(8)
            try skipExpiringFields()
        case .hashFieldExpiryListpack:
            try input.skip(8)
            try input.skipString()
        default: break
        }
        return what
    }

    /// Reads over what stands between keys, or refuses it.
    func skipUnsupported(_ opcode: RDBFormat.Opcode) throws(RDBError) -> RDBEvent? {
        let position = input.position
        let what: RDBUnsupported
        if opcode == .moduleAuxiliary {
            what = .moduleAuxiliaryData(moduleName(try input.count()))
        } else {
            what = .functionLibrary
        }
        // The form of functions before their release cannot be read over: no released Redis reads it either.
        guard options.skipsUnsupported, opcode != .functionPreRelease else {
            throw .unsupported(what, key: nil, position: position)
        }
        if opcode == .moduleAuxiliary {
            // When it is to be loaded: an opcode and a number.
            _ = try input.count()
            _ = try input.count()
            try skipModuleValue()
        } else {
            try input.skipString()
        }
        return .skipped(what, key: nil, databaseIndex: databaseIndex)
    }

    /// Parts, each named by its kind, up to the end.
    private func skipModuleValue() throws(RDBError) {
        while true {
            switch try input.count() {
            case 0: return
            case 1, 2: _ = try input.count()
            case 3: try input.skip(4)
            case 4: try input.skip(8)
            case 5: try input.skipString()
            default: throw input.malformed("module: unknown kind of a part")
            }
        }
    }

    /// Nine characters of six bits; the low ten bits are the version of the module's own format.
    private func moduleName(_ identifier: UInt64) -> String {
        let alphabet: StaticString = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        let characters = ByteView(alphabet)
        let name = (0..<9).map { characters[Int(identifier >> (58 - 6 * UInt64($0)) & 63)] }
        return String(decoding: name, as: UTF8.self)
    }

    /// `release` 1 is that of Redis 5, 2 of 7.0, 3 of 7.2; each adds fields.
    private func skipStream(release: Int) throws(RDBError) {
        try repeatedly { () throws(RDBError) in
            // The identifier of the node's first entry, and the entries.
            try self.input.skipString()
            try self.input.skipString()
        }
        // Entries and last identifier; then first identifier, greatest deleted one, and entries ever added.
        try skipCounts(release >= 2 ? 8 : 3)
        try repeatedly { () throws(RDBError) in
            try self.input.skipString()
            // Last delivered identifier, and entries read.
            try self.skipCounts(release >= 2 ? 3 : 2)
            try self.repeatedly { () throws(RDBError) in
                // Identifier and time of delivery.
                try self.input.skip(24)
                try self.skipCounts(1)
            }
            try self.repeatedly { () throws(RDBError) in
                try self.input.skipString()
                // Times when the consumer was seen and, in the newest, active.
                try self.input.skip(release >= 3 ? 16 : 8)
                try self.repeatedly { () throws(RDBError) in try self.input.skip(16) }
            }
        }
    }

    /// Time to live, field and value, as often as the count before them says.
    private func skipExpiringFields() throws(RDBError) {
        try repeatedly { () throws(RDBError) in
            try self.skipCounts(1)
            try self.input.skipString()
            try self.input.skipString()
        }
    }

    private func skipCounts(_ number: Int) throws(RDBError) {
        for _ in 0..<number { _ = try input.count() }
    }

    /// Reads a count and does `body` so often; since it reads at least a byte, the end of the input bounds it.
    private func repeatedly(_ body: () throws(RDBError) -> Void) throws(RDBError) {
        var left = try input.count()
        while left > 0 {
            try body()
            left -= 1
        }
    }
}
