// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import Keyspace
internal import RDB
internal import RESP

/// What takes a value in the form of RDB: a file that is written, or a DUMP payload.
protocol ValueSink {
    /// Adds the next element.
    func append(_ element: RDBElement) throws(RDBError)
    /// Begins a string of `count` bytes that comes in pieces.
    func beginPieces(count: Int) throws(RDBError)
    /// Adds a piece of it.
    func append(piece: ByteView) throws(RDBError)
}

extension RDBWriter: ValueSink {}
extension DumpEncoder: ValueSink {}

/// The way of values out of the keyspace.
struct ValueExport {
    /// Strings up to this length are handed on in one piece, so that they can be compressed; longer ones in pieces,
    /// uncompressed, so that a thread that writes a snapshot needs no memory for them.
    static let longestWhole = 4 << 20
    /// After about so many bytes of a value the walk over it rests.
    private static let bytesBetweenRests = 128 << 10

    private let rows: RowReader
    private let sink: any ValueSink
    /// Called between two elements, now and then, when no view of a stored value is in use.
    private let rest: () throws -> Void

    init(_ rows: RowReader, to sink: any ValueSink, rest: @escaping () throws -> Void = {}) {
        self.rows = rows
        self.sink = sink
        self.rest = rest
    }

    /// Hands on the elements of `record`, whose shape the sink has been told.
    ///
    /// - Throws: `RDBError`, `KeyspaceError`, or what `rest` throws.
    func run(_ record: Record) throws {
        var position = ElementPosition()
        while !position.isAtEnd {
            if try step(record, from: &position) >= ValueExport.bytesBetweenRests { try rest() }
        }
    }

    /// Hands on elements from `position` on, a bounded number of bytes of them but for a long string; gives the number
    /// of bytes.
    func step(_ record: Record, from position: inout ElementPosition) throws -> Int {
        var failure: RDBError?
        var longString: ElementBytes?
        var bytes = 0
        rows.forEachElement(of: record, from: &position) { element in
            if case .string(let value) = element, value.count > ValueExport.longestWhole {
                longString = value
                return false
            }
            do throws(RDBError) {
                bytes += try append(element)
            } catch {
                failure = error
                return false
            }
            return bytes < ValueExport.bytesBetweenRests
        }
        if let failure { throw failure }
        if let longString { try append(inPieces: longString) }
        if let failure = rows.failure { throw failure }
        return bytes
    }

    private func append(inPieces bytes: ElementBytes) throws {
        try sink.beginPieces(count: bytes.count)
        var offset = 0
        while offset < bytes.count {
            var failure: RDBError?
            let count = min(ValueExport.bytesBetweenRests, bytes.count - offset)
            rows.forEachPiece(of: bytes, from: offset, count: count) { piece in
                guard failure == nil else { return }
                do throws(RDBError) {
                    try sink.append(piece: piece)
                } catch {
                    failure = error
                }
            }
            if let failure { throw failure }
            if let failure = rows.failure { throw failure }
            offset += count
            try rest()
        }
    }

    /// Hands on an element, and gives its length.
    private func append(_ element: ValueElement) throws(RDBError) -> Int {
        switch element {
        case .string(let value):
            try with(value) { value throws(RDBError) in try sink.append(.string(value)) }
            return value.count
        case .element(let value):
            try with(value) { value throws(RDBError) in try sink.append(.listElement(value)) }
            return value.count
        case .member(let name):
            try with(name) { name throws(RDBError) in try sink.append(.setMember(name)) }
            return name.count
        case .field(let name, let value):
            try with(name) { name throws(RDBError) in
                try with(value) { value throws(RDBError) in try sink.append(.hashField(name, value: value)) }
            }
            return name.count + value.count
        case .scored(let name, let score):
            try with(name) { name throws(RDBError) in try sink.append(.sortedSetMember(name, score: score)) }
            return name.count + 8
        }
    }

    private func with(_ bytes: ElementBytes, _ body: (ByteView) throws(RDBError) -> Void) throws(RDBError) {
        if let inline = bytes.inline { return try body(inline) }
        try ByteView.with(rows.bytes(of: bytes), body)
    }
}

extension Record {
    /// How RDB lays the value out: compact as long as it counts as compact.
    var shape: RDBValueShape {
        switch type {
        case .string: .string
        case .list: RDBValueShape(.list, encoding == 0 ? .compact : .plain, count: count)
        case .set: RDBValueShape(.set, encoding == 0 ? .compact : .plain, count: count)
        case .sortedSet: RDBValueShape(.sortedSet, encoding == 0 ? .compact : .plain, count: count)
        case .hash: RDBValueShape(.hash, encoding == 0 ? .compact : .plain, count: count)
        }
    }
}

/// The way of values into the keyspace: from an RDB file or a DUMP payload.
///
/// Encodings are chosen anew by the limits of the configuration, as Redis does when it loads.
struct ValueImport {
    let keyspace: Keyspace
    let limits: EncodingLimitsOfKinds
    /// What takes small values, to write them with others.
    var load: BulkLoad?

    /// The types that are built from elements; sorted sets are, where there are commands for them.
    private static let builtTypes: Set<ValueType> = {
        let hasSortedSets = CommandTable.families.joined().contains { $0.name == "zadd" }
        return hasSortedSets ? [.hash, .set, .list, .sortedSet] : [.hash, .set, .list]
    }()

    /// Makes `key` what `reader` has; what was there is replaced.
    ///
    /// - Returns: false if the value has no elements: then nothing is changed.
    /// - Throws: `RDBError` or `KeyspaceError`; the key is then as it was.
    func run(
        _ reader: RDBValueReader,
        key: ByteView,
        in database: Int,
        expireAtMilliseconds: Int64
    ) throws -> Bool {
        if reader.kind == .string {
            guard case .string(let value)? = try reader.next() else { return false }
            if let load, try load.add(key, value, in: database, expireAtMilliseconds: expireAtMilliseconds) {
                return true
            }
            guard keyspace.ensureRoom(bytes: value.count) else { throw KeyspaceError.outOfSpace }
            try keyspace.setString(key, in: database, to: value, expireAtMilliseconds: expireAtMilliseconds)
            return true
        }
        guard ValueImport.builtTypes.contains(reader.kind.valueType) else {
            throw ImportError("'\(String(key))' is a sorted set, and this server has no commands for those")
        }
        let builder = ValueBuilder(keyspace, key: key, in: database, type: reader.kind.valueType)
        var form = FormChooser(reader.kind, limits)
        do {
            while let element = try reader.next() {
                form.note(element)
                try builder.append(ValueElement(element))
            }
            guard builder.count > 0 else {
                try builder.abandon()
                return false
            }
            try builder.finish(
                expireAtMilliseconds: expireAtMilliseconds,
                encoding: form.isCompact(count: builder.count) ? 0 : 1,
                through: load
            )
            return true
        } catch {
            if keyspace.failure == nil { try builder.abandon() }
            throw error
        }
    }
}

extension RDBKind {
    /// The type as the keyspace has it.
    var valueType: ValueType {
        switch self {
        case .string: .string
        case .list: .list
        case .set: .set
        case .sortedSet: .sortedSet
        case .hash: .hash
        }
    }
}

extension ValueElement {
    /// The element that a file or payload has.
    init(_ element: RDBElement) {
        switch element {
        case .string(let value): self = .string(ElementBytes(value))
        case .listElement(let value): self = .element(ElementBytes(value))
        case .setMember(let name): self = .member(ElementBytes(name))
        case .hashField(let name, let value): self = .field(ElementBytes(name), value: ElementBytes(value))
        case .sortedSetMember(let name, let score): self = .scored(ElementBytes(name), score: score)
        }
    }
}

/// Up to where values of each kind are in their compact form, by the configuration.
struct EncodingLimitsOfKinds {
    let list: EncodingLimits
    let set: EncodingLimits
    let sortedSet: EncodingLimits
    let hash: EncodingLimits

    init(_ config: borrowing ServerConfig) {
        list = EncodingLimits(entries: config.listMaximumZiplistEntries, bytes: config.listMaximumZiplistValue)
        set = EncodingLimits(entries: config.setMaximumIntsetEntries, bytes: .max)
        sortedSet = EncodingLimits(entries: config.zsetMaximumZiplistEntries, bytes: config.zsetMaximumZiplistValue)
        hash = EncodingLimits(entries: config.hashMaximumZiplistEntries, bytes: config.hashMaximumZiplistValue)
    }
}

/// Decides, while the elements of a value pass by, whether it fits the compact form.
private struct FormChooser {
    private let kind: RDBKind
    private let limits: EncodingLimits
    private var longest = 0
    private var areIntegers = true

    init(_ kind: RDBKind, _ limits: EncodingLimitsOfKinds) {
        self.kind = kind
        self.limits =
            switch kind {
            case .string: EncodingLimits(entries: 0, bytes: 0)
            case .list: limits.list
            case .set: limits.set
            case .sortedSet: limits.sortedSet
            case .hash: limits.hash
            }
    }

    mutating func note(_ element: RDBElement) {
        switch element {
        case .string(let value), .listElement(let value): longest = max(longest, value.count)
        case .setMember(let name):
            if areIntegers { areIntegers = DecimalNumber.canonical(name) != nil }
        case .sortedSetMember(let name, _): longest = max(longest, name.count)
        case .hashField(let name, let value): longest = max(longest, name.count, value.count)
        }
    }

    func isCompact(count: Int) -> Bool {
        count <= limits.entries && longest <= limits.bytes && (kind != .set || areIntegers)
    }
}
