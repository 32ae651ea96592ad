// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import CodisTesting
@testable internal import RDB
internal import Testing

/// An element with its own bytes, as tests compare it.
enum Item: Hashable, CustomStringConvertible {
    case string([UInt8])
    case element([UInt8])
    case member([UInt8])
    case scored([UInt8], Double)
    case field([UInt8], [UInt8])

    init(_ element: RDBElement) {
        switch element {
        case .string(let bytes): self = .string(Array(bytes))
        case .listElement(let bytes): self = .element(Array(bytes))
        case .setMember(let bytes): self = .member(Array(bytes))
        case .sortedSetMember(let bytes, let score): self = .scored(Array(bytes), score)
        case .hashField(let field, let value): self = .field(Array(field), Array(value))
        }
    }

    /// Lends the element to `body`.
    func with(_ body: (RDBElement) throws(RDBError) -> Void) throws(RDBError) {
        switch self {
        case .string(let bytes):
            try ByteView.with(bytes) { (view) throws(RDBError) in try body(.string(view)) }
        case .element(let bytes):
            try ByteView.with(bytes) { (view) throws(RDBError) in try body(.listElement(view)) }
        case .member(let bytes):
            try ByteView.with(bytes) { (view) throws(RDBError) in try body(.setMember(view)) }
        case .scored(let bytes, let score):
            try ByteView.with(bytes) { (view) throws(RDBError) in try body(.sortedSetMember(view, score: score)) }
        case .field(let field, let value):
            try ByteView.with(field) { (view) throws(RDBError) in
                try ByteView.with(value) { (other) throws(RDBError) in try body(.hashField(view, value: other)) }
            }
        }
    }

    var kind: RDBKind {
        switch self {
        case .string: .string
        case .element: .list
        case .member: .set
        case .scored: .sortedSet
        case .field: .hash
        }
    }

    var description: String {
        switch self {
        case .string(let bytes), .element(let bytes), .member(let bytes): printable(bytes, limit: 40)
        case .scored(let bytes, let score): "\(printable(bytes, limit: 40)):\(score)"
        case .field(let field, let value): "\(printable(field, limit: 40))=\(printable(value, limit: 40))"
        }
    }
}

func text(_ text: String) -> [UInt8] { Array(text.utf8) }
func strings(_ value: String) -> [Item] { [.string(text(value))] }
func elements(_ values: String...) -> [Item] { values.map { .element(text($0)) } }
func members(_ values: String...) -> [Item] { values.map { .member(text($0)) } }
func fields(_ pairs: (String, String)...) -> [Item] { pairs.map { .field(text($0.0), text($0.1)) } }
func scored(_ pairs: (String, Double)...) -> [Item] { pairs.map { .scored(text($0.0), $0.1) } }

/// The bytes that hexadecimal digits say; blanks between them do not count.
func hex(_ digits: String) -> [UInt8] {
    var bytes: [UInt8] = []
    var high: UInt8?
    for character in digits where character != " " {
        guard let digit = UInt8(String(character), radix: 16) else { preconditionFailure("no digit: \(character)") }
        if let first = high {
            bytes.append(first << 4 | digit)
            high = nil
        } else {
            high = digit
        }
    }
    precondition(high == nil, "an odd number of digits")
    return bytes
}

func hexadecimal(_ bytes: [UInt8]) -> String {
    bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
}

/// All elements that are left of a value.
func items(of reader: RDBValueReader) throws(RDBError) -> [Item] {
    var items: [Item] = []
    while let element = try reader.next() { items.append(Item(element)) }
    return items
}

/// What is in a DUMP payload.
func decode(
    _ payload: [UInt8],
    accepting versions: ClosedRange<Int> = DumpPayload.readableVersions
) throws(RDBError) -> (kind: RDBKind, items: [Item]) {
    try ByteView.with(payload) { (view) throws(RDBError) in
        let reader = try DumpPayload.reader(of: view, accepting: versions)
        return (reader.kind, try items(of: reader))
    }
}

/// The DUMP payload of a value.
func encode(_ items: [Item], _ form: RDBValueShape.Form = .plain, compresses: Bool = true) throws(RDBError) -> [UInt8] {
    let encoder = DumpEncoder(compresses: compresses)
    try encoder.begin(RDBValueShape(items[0].kind, form, count: items.count))
    for item in items { try item.with { (element) throws(RDBError) in try encoder.append(element) } }
    return Array(try encoder.finish())
}

/// `bytes` with a right footer of `version` behind.
func withFooter(_ bytes: [UInt8], version: UInt8 = 6) -> [UInt8] {
    var payload = bytes + [version, 0]
    let checksum = ByteView.with(payload) { CRC64.checksum(of: $0) }
    payload += (0..<8).map { UInt8(checksum >> (8 * UInt64($0)) & 0xFF) }
    return payload
}

/// CRC-64 one bit at a time.
func referenceCRC64(_ bytes: [UInt8]) -> UInt64 {
    var state: UInt64 = 0
    for byte in bytes {
        state ^= UInt64(byte)
        for _ in 0..<8 { state = state & 1 == 1 ? state >> 1 ^ 0x95AC_9329_AC4B_C9B5 : state >> 1 }
    }
    return state
}

/// A key as a file has it.
struct Entry: Equatable, CustomStringConvertible {
    var database = 0
    var name: [UInt8]
    var kind: RDBKind
    var items: [Item]
    var expireAtMilliseconds: Int64?

    var description: String { "\(database)/\(printable(name)) \(kind) \(items) \(expireAtMilliseconds ?? 0)" }
}

/// Everything that a file said.
struct FileContent: Equatable {
    var entries: [Entry] = []
    var auxiliary: [String: String] = [:]
    var sizes: [[UInt64]] = []
    var skipped: [String] = []
    var bytesRead: UInt64 = 0
}

/// Reads a file to its end.
func content(of reader: RDBReader) throws(RDBError) -> FileContent {
    var content = FileContent()
    while true {
        switch try reader.next() {
        case .auxiliaryField(let name, let value):
            content.auxiliary[String(name)] = String(value)
        case .databaseSize(let index, let keys, let expiring):
            content.sizes.append([UInt64(index), keys, expiring])
        case .skipped(let what, let key, _):
            content.skipped.append("\(key.map { String($0) } ?? "-"): \(what)")
        case .key(let key):
            var entry = Entry(
                database: key.databaseIndex,
                name: Array(key.name),
                kind: key.kind,
                items: [],
                expireAtMilliseconds: key.expireAtMilliseconds
            )
            while let element = try reader.value.next() { entry.items.append(Item(element)) }
            content.entries.append(entry)
        case .end:
            content.bytesRead = reader.bytesRead
            return content
        }
    }
}

/// Reads a file that is in memory.
func content(
    of file: [UInt8],
    options: RDBReader.Options = RDBReader.Options()
) throws(RDBError) -> FileContent {
    try ByteView.with(file) { (view) throws(RDBError) in try content(of: RDBReader(view, options: options)) }
}

/// Where a writer's chunks go.
final class ByteSink {
    var bytes: [UInt8] = []
    var chunks = 0
}

/// A file with `entries`, in order.
func file(
    _ entries: [(entry: Entry, form: RDBValueShape.Form)],
    options: RDBWriter.Options = RDBWriter.Options()
) throws(RDBError) -> [UInt8] {
    let sink = ByteSink()
    let writer = RDBWriter(options: options) { chunk in
        sink.bytes += Array(chunk)
        sink.chunks += 1
    }
    var database: Int?
    for (entry, form) in entries {
        if database != entry.database { try writer.selectDatabase(entry.database) }
        database = entry.database
        try ByteView.with(entry.name) { (name) throws(RDBError) in
            try writer.beginKey(
                name,
                expireAtMilliseconds: entry.expireAtMilliseconds,
                RDBValueShape(entry.kind, form, count: entry.items.count)
            )
        }
        for item in entry.items { try item.with { (element) throws(RDBError) in try writer.append(element) } }
        try writer.endKey()
    }
    try writer.finish()
    return sink.bytes
}
