// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes

/// Walks the elements of one value, whatever its layout; never more than one packed string is in memory.
///
/// The views in an element live until the next call. The same member may come twice from a file that no Redis wrote;
/// the last one counts. A value of no elements is possible too, which no Redis 2.8 keeps.
public final class RDBValueReader {
    private enum Layout {
        /// The value is over.
        case none
        case string
        /// As many strings, pairs or members with scores as are left.
        case plain(left: UInt64, binaryScores: Bool)
        case packed(PackedList)
        /// Nodes of a list, each of which is a packed list; the one being walked, and the number of the others.
        case nodes(PackedList?, left: UInt64, hasContainer: Bool)
        case intset(IntsetReader)
        case zipmap(ZipmapReader)
    }

    private let input: RDBInput
    private var layout = Layout.none
    private lazy var first = ByteStore()
    private lazy var second = ByteStore()

    /// The type of the value.
    public private(set) var kind = RDBKind.string
    /// The number of elements, where it is known without walking; it is what the bytes say, so make no room by it.
    public private(set) var declaredCount: UInt64?

    init(_ input: RDBInput) { self.input = input }

    /// Begins a value of `type`, which must be one that Redis 2.8 has a counterpart for.
    func begin(_ type: RDBFormat.ValueType) throws(RDBError) {
        guard let kind = type.kind else { throw input.malformed("no value of Redis 2.8") }
        self.kind = kind
        declaredCount = nil
        layout = .none
        switch type {
        case .string:
            declaredCount = 1
            layout = .string
        case .list, .set:
            try beginPlain(leastBytes: 1)
        case .hash:
            try beginPlain(leastBytes: 2)
        case .sortedSet:
            try beginPlain(leastBytes: 2)
        case .sortedSetBinary:
            try beginPlain(leastBytes: 9, binaryScores: true)
        case .listZiplist, .sortedSetZiplist, .hashZiplist:
            beginPacked(try packed(ziplist: true))
        case .sortedSetListpack, .hashListpack, .setListpack:
            beginPacked(try packed(ziplist: false))
        case .listQuicklist, .listQuicklist2:
            let nodes = try plainCount(leastBytes: 1)
            layout = .nodes(nil, left: nodes, hasContainer: type == .listQuicklist2)
        case .setIntset:
            let bytes = try input.string()
            let reader = try inPacked { () throws(PackedError) in try IntsetReader(bytes) }
            declaredCount = UInt64(reader.count)
            layout = .intset(reader)
        case .hashZipmap:
            let bytes = try input.string()
            let reader = try inPacked { () throws(PackedError) in try ZipmapReader(bytes) }
            declaredCount = reader.declaredCount.map { UInt64($0) }
            layout = .zipmap(reader)
        case .moduleUnskippable, .module, .stream, .stream2, .stream3, .hashFieldExpiryPreRelease,
            .hashFieldExpiryListpackPreRelease, .hashFieldExpiry, .hashFieldExpiryListpack:
            throw input.malformed("no value of Redis 2.8")
        }
    }

    /// The next element, or nil after the last.
    public func next() throws(RDBError) -> RDBElement? {
        switch layout {
        case .none:
            return nil
        case .string:
            layout = .none
            return .string(try input.string())
        case .plain(let left, let binaryScores):
            guard left > 0 else { return finish() }
            layout = .plain(left: left - 1, binaryScores: binaryScores)
            return try plainElement(binaryScores: binaryScores)
        case .packed(var list):
            guard let entry = try nextEntry(of: &list) else { return finish() }
            let element = try packedElement(entry, of: &list)
            layout = .packed(list)
            return element
        case .nodes(let current, let left, let hasContainer):
            return try nextOfNodes(current, left: left, hasContainer: hasContainer)
        case .intset(var reader):
            guard let value = try inPacked({ () throws(PackedError) in try reader.next() }) else { return finish() }
            layout = .intset(reader)
            return .setMember(text(.integer(value), in: first))
        case .zipmap(var reader):
            guard let pair = try inPacked({ () throws(PackedError) in try reader.next() }) else { return finish() }
            layout = .zipmap(reader)
            return .hashField(pair.field, value: pair.value)
        }
    }

    /// Walks to the end of the value; gives the number of elements that were left.
    @discardableResult
    public func skip() throws(RDBError) -> Int {
        var count = 0
        while try next() != nil { count += 1 }
        return count
    }

    private func finish() -> RDBElement? {
        layout = .none
        return nil
    }

    // MARK: One after the other

    private func beginPlain(leastBytes: Int, binaryScores: Bool = false) throws(RDBError) {
        let count = try plainCount(leastBytes: leastBytes)
        declaredCount = count
        layout = .plain(left: count, binaryScores: binaryScores)
    }

    /// A number of elements, refused at once where the bytes at hand cannot hold so many.
    private func plainCount(leastBytes: Int) throws(RDBError) -> UInt64 {
        let count = try input.count()
        if let remaining = input.remaining, count > UInt64(remaining / leastBytes) {
            throw .shortRead(position: input.position + UInt64(remaining))
        }
        return count
    }

    private func plainElement(binaryScores: Bool) throws(RDBError) -> RDBElement {
        switch kind {
        case .string: return .string(try input.string())
        case .list: return .listElement(try input.string())
        case .set: return .setMember(try input.string())
        case .hash:
            let field = kept(try input.string(), in: first)
            return .hashField(field, value: try input.string())
        case .sortedSet:
            let member = kept(try input.string(), in: first)
            return .sortedSetMember(member, score: try binaryScores ? binaryScore() : textScore())
        }
    }

    private func binaryScore() throws(RDBError) -> Double {
        let score = Double(bitPattern: try input.littleEndian(UInt64.self))
        guard !score.isNaN else { throw input.malformed("a score that is not a number") }
        return score
    }

    private func textScore() throws(RDBError) -> Double {
        let length = try input.byte()
        switch length {
        case 253: throw input.malformed("a score that is not a number")
        case 254: return .infinity
        case 255: return -.infinity
        default:
            guard let score = Decimal.score(try input.bytes(Int(length))) else {
                throw input.malformed("a score that is not a number")
            }
            return score
        }
    }

    // MARK: Packed

    private func beginPacked(_ list: PackedList) {
        let entries = list.declaredCount
        declaredCount = entries.map { UInt64(kind == .hash || kind == .sortedSet ? $0 / 2 : $0) }
        layout = .packed(list)
    }

    private func packed(ziplist: Bool) throws(RDBError) -> PackedList {
        let bytes = try input.string()
        return try inPacked { () throws(PackedError) in
            ziplist ? .ziplist(try ZiplistReader(bytes)) : .listpack(try ListpackReader(bytes))
        }
    }

    private func nextEntry(of list: inout PackedList) throws(RDBError) -> PackedEntry? {
        try inPacked { () throws(PackedError) in try list.next() }
    }

    private func packedElement(_ entry: PackedEntry, of list: inout PackedList) throws(RDBError) -> RDBElement {
        switch kind {
        case .string: return .string(text(entry, in: first))
        case .list: return .listElement(text(entry, in: first))
        case .set: return .setMember(text(entry, in: first))
        case .hash, .sortedSet: break
        }
        guard let partner = try nextEntry(of: &list) else {
            throw input.malformed("a packed list with half a pair")
        }
        if kind == .hash { return .hashField(text(entry, in: first), value: text(partner, in: second)) }
        switch partner {
        case .integer(let score):
            return .sortedSetMember(text(entry, in: first), score: Double(score))
        case .bytes(let bytes):
            guard let score = Decimal.score(bytes) else { throw input.malformed("a score that is not a number") }
            return .sortedSetMember(text(entry, in: first), score: score)
        }
    }

    private func nextOfNodes(
        _ current: PackedList?,
        left: UInt64,
        hasContainer: Bool
    ) throws(RDBError) -> RDBElement? {
        var current = current
        var left = left
        while true {
            if var list = current {
                if let entry = try nextEntry(of: &list) {
                    layout = .nodes(list, left: left, hasContainer: hasContainer)
                    return .listElement(text(entry, in: first))
                }
                current = nil
            }
            guard left > 0 else { return finish() }
            left -= 1
            guard hasContainer else {
                current = try packed(ziplist: true)
                continue
            }
            // A node of Redis 7 is a single long string, or a listpack.
            switch try input.count() {
            case 1:
                layout = .nodes(nil, left: left, hasContainer: true)
                return .listElement(try input.string())
            case 2:
                current = try packed(ziplist: false)
            default:
                throw input.malformed("unknown container of a list's node")
            }
        }
    }

    // MARK: Bytes that must outlive the next read

    private func text(_ entry: PackedEntry, in store: ByteStore) -> ByteView {
        switch entry {
        case .bytes(let bytes):
            return bytes
        case .integer(let value):
            store.removeAll()
            Decimal.append(value, to: store)
            return store.view
        }
    }

    private func kept(_ bytes: ByteView, in store: ByteStore) -> ByteView {
        store.removeAll()
        store.append(bytes)
        return store.view
    }

    /// Does `body` and turns what is wrong within a packed string into what is wrong with the input.
    private func inPacked<Result>(_ body: () throws(PackedError) -> Result) throws(RDBError) -> Result {
        do throws(PackedError) {
            return try body()
        } catch {
            throw input.malformed("\(error.reason), at its byte \(error.offset)")
        }
    }
}
