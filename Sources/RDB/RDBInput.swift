// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import Glibc

/// The bytes being read: a window onto them that moves forward, the position in them, and their checksum.
///
/// Views that it gives live until the next call. It asks for no more memory than a small multiple of the bytes that
/// have really come, whatever lengths they claim.
final class RDBInput {
    /// Where more bytes come from.
    @safe
    enum Source {
        /// Nowhere: all of them are in the window.
        case none
        /// A file, read from where it stands.
        case descriptor(Int32)
        /// A function that puts the next bytes, as many as there are and fit, where it is told; none at the end.
        case filled((UnsafeMutableRawBufferPointer) throws(RDBError) -> Int)
        /// A function that gives the next bytes, none at the end.
        case chunks(() throws(RDBError) -> [UInt8])
    }

    /// The room for bytes read ahead, and the longest string that is lent from the window itself.
    static let windowLength = 1 << 18

    private let source: Source
    // Those of short payloads do without.
    private lazy var store = ByteStore()
    private var window: ByteView
    /// The next byte within the window.
    private var offset = 0
    /// The position of the window's first byte.
    private var windowPosition: UInt64 = 0

    private var checksum: CRC64?
    /// The first byte within the window that is not in the checksum.
    private var summedOffset = 0

    private lazy var expanded = ByteStore()
    private lazy var long = ByteStore()

    /// Reads `bytes`, which are lent for as long as the input is used.
    init(_ bytes: ByteView, computesChecksum: Bool = false) {
        source = .none
        window = bytes
        checksum = computesChecksum ? CRC64() : nil
    }

    /// Reads from `source`.
    init(source: Source, computesChecksum: Bool) {
        self.source = source
        window = ByteView()
        checksum = computesChecksum ? CRC64() : nil
    }

    /// The number of bytes read.
    var position: UInt64 { windowPosition + UInt64(offset) }

    /// The bytes that follow, where that is known.
    var remaining: Int? {
        guard case .none = source else { return nil }
        return window.count - offset
    }

    /// The checksum of all bytes read; nil if it was not asked for.
    var checksumOfBytesRead: UInt64? {
        addToChecksum()
        return checksum?.value
    }

    // MARK: Bytes

    /// The next byte.
    func byte() throws(RDBError) -> UInt8 {
        if offset == window.count { try require(1) }
        defer { offset += 1 }
        return window[offset]
    }

    /// The next `count` bytes, at most ``windowLength`` of them.
    func bytes(_ count: Int) throws(RDBError) -> ByteView {
        try require(count)
        defer { offset += count }
        return window[offset..<offset + count]
    }

    /// Reads over `count` bytes.
    func skip(_ count: UInt64) throws(RDBError) {
        var left = count
        while left > 0 {
            try require(1)
            let step = Int(min(left, UInt64(window.count - offset)))
            offset += step
            left -= UInt64(step)
        }
    }

    func littleEndian<Integer: FixedWidthInteger & BitwiseCopyable>(_ type: Integer.Type) throws(RDBError) -> Integer {
        try bytes(MemoryLayout<Integer>.size).littleEndian(type, at: 0)
    }

    func bigEndian<Integer: FixedWidthInteger & BitwiseCopyable>(_ type: Integer.Type) throws(RDBError) -> Integer {
        try bytes(MemoryLayout<Integer>.size).bigEndian(type, at: 0)
    }

    /// `count` bytes of any number: lent from the window, or gathered while they come.
    func longBytes(_ count: UInt64) throws(RDBError) -> ByteView {
        if count <= UInt64(Self.windowLength) { return try bytes(Int(count)) }
        if let remaining {
            guard count <= UInt64(remaining) else { throw shortRead() }
            return try bytes(Int(count))
        }
        long.removeAll()
        var left = count
        while left > 0 {
            try require(1)
            let step = Int(min(left, UInt64(window.count - offset)))
            long.append(window[offset..<offset + step])
            offset += step
            left -= UInt64(step)
        }
        return long.view
    }

    // MARK: Lengths and strings

    /// A length, or the encoding of a string that is not kept as it is.
    enum Length {
        case count(UInt64)
        case encoded(RDBFormat.StringEncoding)
    }

    func length() throws(RDBError) -> Length {
        let first = try byte()
        switch first >> 6 {
        case 0:
            return .count(UInt64(first))
        case 1:
            return .count(UInt64(first & 0x3F) << 8 | UInt64(try byte()))
        case 2:
            switch first {
            case 0x80: return .count(UInt64(try bigEndian(UInt32.self)))
            case 0x81: return .count(try bigEndian(UInt64.self))
            default: throw malformed("unknown form of a length")
            }
        default:
            guard let encoding = RDBFormat.StringEncoding(rawValue: first & 0x3F) else {
                throw malformed("unknown encoding of a string")
            }
            return .encoded(encoding)
        }
    }

    /// A length where a string cannot stand.
    func count() throws(RDBError) -> UInt64 {
        guard case .count(let count) = try length() else { throw malformed("a string where a length must be") }
        return count
    }

    /// A string, lent until the next call.
    func string() throws(RDBError) -> ByteView {
        switch try length() {
        case .count(let count):
            return try longBytes(count)
        case .encoded(.integer8):
            return digits(of: Int64(try littleEndian(Int8.self)))
        case .encoded(.integer16):
            return digits(of: Int64(try littleEndian(Int16.self)))
        case .encoded(.integer32):
            return digits(of: Int64(try littleEndian(Int32.self)))
        case .encoded(.compressed):
            return try compressedString()
        }
    }

    /// Reads over a string without making it.
    func skipString() throws(RDBError) {
        switch try length() {
        case .count(let count):
            try skip(count)
        case .encoded(.integer8):
            try skip(1)
        case .encoded(.integer16):
            try skip(2)
        case .encoded(.integer32):
            try skip(4)
        case .encoded(.compressed):
            let compressedCount = try count()
            _ = try count()
            try skip(compressedCount)
        }
    }

    private func compressedString() throws(RDBError) -> ByteView {
        let compressedCount = try count()
        let plainCount = try count()
        guard let length = Int(exactly: plainCount), compressedCount < UInt64(Int.max) else {
            throw malformed("compressed string: impossible length")
        }
        // A string of so few bytes cannot stand for so many; checked before they are read and room is made.
        guard UInt64(length) / UInt64(LZF.greatestRatio) <= compressedCount else {
            throw malformed("compressed string: longer than its bytes allow")
        }
        let compressed = try longBytes(compressedCount)
        expanded.removeAll()
        guard LZF.decompress(compressed, length: length, into: expanded) else {
            throw malformed("compressed string: not LZF, or of another length")
        }
        return expanded.view
    }

    private func digits(of value: Int64) -> ByteView {
        expanded.removeAll()
        Decimal.append(value, to: expanded)
        return expanded.view
    }

    // MARK: Errors

    /// The error that names what was read last.
    func malformed(_ reason: String) -> RDBError { .malformed(reason, position: position) }

    /// The end of the bytes is where the error is.
    private func shortRead() -> RDBError {
        .shortRead(position: windowPosition + UInt64(window.count))
    }

    // MARK: The window

    /// Sees to it that the window has `count` bytes more, which must not exceed its length.
    private func require(_ count: Int) throws(RDBError) {
        if window.count - offset >= count { return }
        if case .none = source { throw shortRead() }
        addToChecksum()
        store.removeFirst(offset)
        windowPosition += UInt64(offset)
        offset = 0
        summedOffset = 0
        while store.count < count {
            let known = store.count
            try readMore()
            window = store.view
            guard store.count > known else { throw shortRead() }
        }
    }

    private func readMore() throws(RDBError) {
        switch source {
        case .none:
            return
        case .chunks(let nextChunk):
            let chunk = try nextChunk()
            ByteView.with(chunk) { store.append($0) }
        case .filled(let fill):
            let room = max(Self.windowLength - store.count, 1)
            try unsafe store.appendUpTo(room) { target throws(RDBError) in
                unsafe try fill(UnsafeMutableRawBufferPointer(start: target, count: room))
            }
        case .descriptor(let descriptor):
            let room = max(Self.windowLength - store.count, 1)
            try unsafe store.appendUpTo(room) { target throws(RDBError) in
                while true {
                    let count = unsafe read(descriptor, target, room)
                    if count >= 0 { return count }
                    let code = errno
                    if code != EINTR { throw .system(operation: "read", code: code) }
                }
            }
        }
    }

    private func addToChecksum() {
        guard checksum != nil, summedOffset < offset else { return }
        checksum?.add(window[summedOffset..<offset])
        summedOffset = offset
    }
}
