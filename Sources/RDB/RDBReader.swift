// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

public import Bytes

/// Reads an RDB file of versions 1 to 12, one key and one element at a time.
///
/// ```swift let reader = RDBReader(fileDescriptor: descriptor) reading: while true { switch try reader.next() { case
/// .key(let key): while let element = try reader.value.next() { ... } case .end: break reading case .auxiliaryField,
/// .databaseSize, .skipped: continue } } ``` The caller decides when to go on, so that it can do other things between
/// any two elements. Memory is needed for the largest single string, be it an element or a packed value, never for a
/// whole value of many elements. Redis 2.8: rdb.c, rdbLoad; later versions: the same function.
public final class RDBReader {
    /// What the caller wants of the reader.
    public struct Options: Sendable {
        /// Whether the checksum at the end is compared; a file whose checksum is zero has none.
        public var verifiesChecksum = true
        /// Whether what Redis 2.8 cannot hold is read over and reported as ``RDBEvent/skipped(_:key:databaseIndex:)``;
        /// else it is an error.
        public var skipsUnsupported = false
        /// The number of databases; a file that names another is refused.
        public var databaseLimit: Int?

        /// The checksum is compared, nothing is skipped, any database goes.
        public init() {}
    }

    let input: RDBInput
    let options: Options
    private let keyName = ByteStore()
    private let fieldName = ByteStore()
    private(set) var databaseIndex = 0
    private var hasEnded = false

    /// The elements of the key that was read last.
    public let value: RDBValueReader

    /// The version that the file says, once the first event was read.
    public private(set) var version: Int?

    /// The number of bytes read; after the end, where what follows the RDB in the file begins.
    public var bytesRead: UInt64 { input.position }

    /// Reads the file from where its descriptor stands.
    ///
    /// The descriptor stays open, and may have been read beyond the end.
    public convenience init(fileDescriptor: Int32, options: Options = Options()) {
        self.init(RDBInput(source: .descriptor(fileDescriptor), computesChecksum: options.verifiesChecksum), options)
    }

    /// Reads what `nextChunk` gives; no bytes mean the end.
    public convenience init(options: Options = Options(), nextChunk: @escaping () throws(RDBError) -> [UInt8]) {
        self.init(RDBInput(source: .chunks(nextChunk), computesChecksum: options.verifiesChecksum), options)
    }

    /// Reads what `fill` puts where it is told to, and says how much that is; no bytes mean the end.
    @unsafe
    public convenience init(
        options: Options = Options(),
        fill: @escaping (UnsafeMutableRawBufferPointer) throws(RDBError) -> Int
    ) {
        unsafe self.init(RDBInput(source: .filled(fill), computesChecksum: options.verifiesChecksum), options)
    }

    /// Reads `bytes`, which are lent for as long as the reader is used.
    public convenience init(_ bytes: ByteView, options: Options = Options()) {
        self.init(RDBInput(bytes, computesChecksum: options.verifiesChecksum), options)
    }

    private init(_ input: RDBInput, _ options: Options) {
        self.input = input
        self.options = options
        value = RDBValueReader(input)
    }

    /// Reads on to the next event, over what the caller left of the value before it.
    ///
    /// After the end it stays there.
    public func next() throws(RDBError) -> RDBEvent {
        if hasEnded { return .end }
        if version == nil { try readSignature() }
        try value.skip()
        var details = KeyDetails()
        while true {
            let byte = try input.byte()
            guard let opcode = RDBFormat.Opcode(rawValue: byte) else {
                return try keyEvent(typeByte: byte, details)
            }
            if let event = try handle(opcode, &details) { return event }
        }
    }

    /// What stands before a key and belongs to it.
    private struct KeyDetails {
        var expireAtMilliseconds: Int64?
        var idleSeconds: UInt64?
        var frequency: UInt8?
    }

    private func readSignature() throws(RDBError) {
        let header = try input.bytes(9)
        guard header.prefix(5) == ByteView(RDBFormat.signature) else { throw .wrongSignature }
        // As C reads a number: up to the first byte that is no digit.
        var number = 0
        for byte in header.dropFirst(5) {
            guard byte >= 0x30, byte <= 0x39 else { break }
            number = number * 10 + Int(byte) - 0x30
        }
        guard RDBFormat.readableVersions.contains(number) else { throw .unknownVersion(number) }
        version = number
    }

    private func handle(_ opcode: RDBFormat.Opcode, _ details: inout KeyDetails) throws(RDBError) -> RDBEvent? {
        switch opcode {
        case .expireMilliseconds:
            details.expireAtMilliseconds = try input.littleEndian(Int64.self)
        case .expireSeconds:
            details.expireAtMilliseconds = Int64(try input.littleEndian(Int32.self)) * 1000
        case .idleSeconds:
            details.idleSeconds = try input.count()
        case .frequency:
            details.frequency = try input.byte()
        case .selectDatabase:
            try selectDatabase()
        case .databaseSize:
            let keys = try input.count()
            return .databaseSize(databaseIndex: databaseIndex, keys: keys, expiringKeys: try input.count())
        case .auxiliaryField:
            fieldName.removeAll()
            fieldName.append(try input.string())
            return .auxiliaryField(fieldName.view, value: try input.string())
        case .slotInfo:
            for _ in 0..<3 { _ = try input.count() }
        case .moduleAuxiliary, .functionLibrary, .functionPreRelease:
            return try skipUnsupported(opcode)
        case .endOfFile:
            try readChecksum()
            hasEnded = true
            return .end
        }
        return nil
    }

    private func selectDatabase() throws(RDBError) {
        let index = try input.count()
        let limit = options.databaseLimit ?? Int(Int32.max)
        guard index < UInt64(limit) else { throw .databaseOutOfRange(index, limit: limit) }
        databaseIndex = Int(index)
    }

    private func keyEvent(typeByte: UInt8, _ details: KeyDetails) throws(RDBError) -> RDBEvent {
        guard let type = RDBFormat.ValueType(rawValue: typeByte) else {
            throw input.malformed("unknown type \(typeByte) of a value")
        }
        keyName.removeAll()
        keyName.append(try input.string())
        guard type.kind != nil else {
            let what = try skipUnsupported(type, key: keyName.view)
            return .skipped(what, key: keyName.view, databaseIndex: databaseIndex)
        }
        try value.begin(type)
        return .key(
            RDBKey(
                databaseIndex: databaseIndex,
                name: keyName.view,
                kind: value.kind,
                expireAtMilliseconds: details.expireAtMilliseconds,
                idleSeconds: details.idleSeconds,
                frequency: details.frequency
            )
        )
    }

    private func readChecksum() throws(RDBError) {
        guard let version, version >= RDBFormat.firstVersionWithChecksum else { return }
        let computed = input.checksumOfBytesRead
        let stored = try input.littleEndian(UInt64.self)
        guard let computed, stored != 0, stored != computed else { return }
        throw .wrongChecksum(stored: stored, computed: computed)
    }
}

/// What comes next in an RDB file.
public enum RDBEvent {
    /// A fact about the file or the server that wrote it, such as `redis-ver`; lent until the next call.
    case auxiliaryField(ByteView, value: ByteView)
    /// How many keys a database is going to have, and how many of them with a time to live; not to be trusted.
    case databaseSize(databaseIndex: Int, keys: UInt64, expiringKeys: UInt64)
    /// A key; its elements follow from ``RDBReader/value``.
    case key(RDBKey)
    /// Something that Redis 2.8 has no counterpart for was read over; the key's name is lent until the next call.
    case skipped(RDBUnsupported, key: ByteView?, databaseIndex: Int)
    /// The end, with the right checksum where there is one.
    case end
}

/// A key in an RDB file.
public struct RDBKey {
    /// The database it is in.
    public let databaseIndex: Int
    /// The name, lent until the reader goes on to the next event.
    public let name: ByteView
    /// The type of its value.
    public let kind: RDBKind
    /// When it expires, in milliseconds since 1970; may have passed.
    public let expireAtMilliseconds: Int64?
    /// For how many seconds nobody had used it, where the file says.
    public let idleSeconds: UInt64?
    /// How often it was used, on the logarithmic scale of Redis 4 and later, where the file says.
    public let frequency: UInt8?
}
