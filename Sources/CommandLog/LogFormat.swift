// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import Bytes

/// The sixteen random bytes which tell one log from another; every segment carries them, every checksum covers them.
///
/// So bytes of another log, or of this one's past, are never taken for frames, and neither is what a client stores.
public struct LogIdentity: Hashable, Sendable, CustomStringConvertible {
    let low: UInt64
    let high: UInt64

    /// Draws a new identity.
    init() {
        var generator = SystemRandomNumberGenerator()
        low = generator.next()
        high = generator.next()
    }

    init(low: UInt64, high: UInt64) {
        self.low = low
        self.high = high
    }

    /// The identity of these sixteen bytes, or nil when there are not sixteen.
    public init?(_ bytes: [UInt8]) {
        guard bytes.count == 16 else { return nil }
        low = bytes[..<8].reversed().reduce(0) { $0 << 8 | UInt64($1) }
        high = bytes[8...].reversed().reduce(0) { $0 << 8 | UInt64($1) }
    }

    /// The sixteen bytes, to be stored elsewhere and compared.
    public var bytes: [UInt8] {
        (0..<16).map { UInt8(truncatingIfNeeded: ($0 < 8 ? low : high) >> UInt64($0 % 8 * 8)) }
    }

    /// A checksum that has taken in the identity, to which the rest is added.
    var checksum: CRC32C {
        var checksum = CRC32C()
        checksum.add(low)
        checksum.add(high)
        return checksum
    }

    public var description: String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }
}

/// The first 64 bytes of a segment.
///
/// | bytes | field |
/// |---|---|
/// | 0–7 | `CODISLOG` |
/// | 8–11 | format version, 1 |
/// | 12–15 | CRC-32C of the other 60 bytes |
/// | 16–31 | identity of the log |
/// | 32–39 | stream offset of the first payload byte, as in the file's name |
/// | 40–47 | stream offset known to be synced when the segment was begun |
/// | 48–55 | first stream offset of the segment before, or all ones in the first of the log |
/// | 56–63 | zero |
///
/// All integers are little-endian.
struct SegmentHeader: Equatable {
    static let byteCount = 64
    static let version: UInt32 = 1
    static let none = UInt64.max
    private static let magic = UInt64(littleEndian: 0x474F_4C53_4944_4F43)

    var identity: LogIdentity
    var firstOffset: UInt64
    var syncedOffset: UInt64
    var previousFirstOffset: UInt64

    /// What stands where a header should.
    enum Reading: Equatable {
        case header(SegmentHeader)
        case unknownVersion(UInt32)
        case invalid
    }

    private var checksum: UInt32 {
        var checksum = CRC32C()
        checksum.add(Self.magic)
        checksum.add(Self.version)
        for field in [identity.low, identity.high, firstOffset, syncedOffset, previousFirstOffset, 0] {
            checksum.add(field)
        }
        return checksum.value
    }

    /// The header as the 64 bytes that stand in the file.
    var encoded: [UInt8] {
        let first = UInt64(Self.version) | UInt64(checksum) << 32
        let fields = [
            Self.magic, first, identity.low, identity.high, firstOffset, syncedOffset, previousFirstOffset, 0,
        ]
        return fields.flatMap { field in (0..<8).map { UInt8(truncatingIfNeeded: field >> UInt64($0 * 8)) } }
    }

    /// Reads the header at the beginning of `bytes`.
    static func read(_ bytes: ByteView) -> Reading {
        guard bytes.count >= byteCount, bytes.littleEndian(at: 0, as: UInt64.self) == magic else { return .invalid }
        let version = bytes.littleEndian(at: 8, as: UInt32.self)
        guard version == Self.version else { return .unknownVersion(version) }
        let header = SegmentHeader(
            identity: LogIdentity(
                low: bytes.littleEndian(at: 16, as: UInt64.self),
                high: bytes.littleEndian(at: 24, as: UInt64.self)
            ),
            firstOffset: bytes.littleEndian(at: 32, as: UInt64.self),
            syncedOffset: bytes.littleEndian(at: 40, as: UInt64.self),
            previousFirstOffset: bytes.littleEndian(at: 48, as: UInt64.self)
        )
        guard bytes.littleEndian(at: 12, as: UInt32.self) == header.checksum,
            bytes.littleEndian(at: 56, as: UInt64.self) == 0
        else { return .invalid }
        return .header(header)
    }

    /// The name of the segment that begins at `offset`: twenty digits, so that names sort as offsets do.
    static func fileName(firstOffset offset: UInt64) -> String {
        let digits = String(offset)
        return String(repeating: "0", count: 20 - digits.count) + digits + ".log"
    }

    /// The first offset that a file name tells, or nil when it is not the name of a segment.
    static func firstOffset(fileName: String) -> UInt64? {
        guard fileName.utf8.count == 24, fileName.hasSuffix(".log") else { return nil }
        let digits = fileName.dropLast(4)
        guard digits.utf8.allSatisfy({ $0 >= 48 && $0 <= 57 }) else { return nil }
        return UInt64(digits)
    }
}

/// The 24 bytes before the payload of a frame.
///
/// | bytes | field |
/// |---|---|
/// | 0–3 | length of the payload, at least 1 |
/// | 4–7 | CRC-32C of the log's identity, the length, the two offsets and the payload |
/// | 8–15 | stream offset of the first payload byte |
/// | 16–23 | stream offset known to be synced when the frame was written |
struct FrameHeader: Equatable {
    static let byteCount = 24
    static let maximumPayloadBytes = Int(UInt32.max)

    var payloadBytes: Int
    var checksum: UInt32
    var offset: UInt64
    var syncedOffset: UInt64

    /// Reads the header at `position`, from where at least 24 bytes must follow; it may be anything.
    init(_ bytes: ByteView, at position: Int) {
        payloadBytes = Int(bytes.littleEndian(at: position, as: UInt32.self))
        checksum = bytes.littleEndian(at: position + 4, as: UInt32.self)
        offset = bytes.littleEndian(at: position + 8, as: UInt64.self)
        syncedOffset = bytes.littleEndian(at: position + 16, as: UInt64.self)
    }

    init(payloadBytes: Int, offset: UInt64, syncedOffset: UInt64) {
        self.payloadBytes = payloadBytes
        checksum = 0
        self.offset = offset
        self.syncedOffset = syncedOffset
    }

    /// The checksum before the payload is added.
    func checksumOfHeader(identity: LogIdentity) -> CRC32C {
        var sum = identity.checksum
        sum.add(UInt32(truncatingIfNeeded: payloadBytes))
        sum.add(offset)
        sum.add(syncedOffset)
        return sum
    }

    /// Writes the header to the 24 bytes at `target`.
    func encode(to target: UnsafeMutableRawPointer) {
        unsafe target.storeBytes(of: UInt32(truncatingIfNeeded: payloadBytes).littleEndian, as: UInt32.self)
        unsafe target.storeBytes(of: checksum.littleEndian, toByteOffset: 4, as: UInt32.self)
        unsafe target.storeBytes(of: offset.littleEndian, toByteOffset: 8, as: UInt64.self)
        unsafe target.storeBytes(of: syncedOffset.littleEndian, toByteOffset: 16, as: UInt64.self)
    }
}

extension ByteView {
    /// The little-endian integer at `position`, which must lie wholly within the bytes.
    func littleEndian<Number: FixedWidthInteger & BitwiseCopyable>(at position: Int, as type: Number.Type) -> Number {
        let size = MemoryLayout<Number>.size
        precondition(position >= 0 && position <= count - size, "integer out of range")
        return unsafe Number(littleEndian: rawBuffer.loadUnaligned(fromByteOffset: position, as: Number.self))
    }
}
