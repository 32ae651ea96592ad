// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

public import Bytes

/// The form in which DUMP gives a value and RESTORE takes it: type byte, value, version in two bytes, CRC-64.
///
/// Redis 2.8: cluster.c, createDumpPayload and verifyDumpPayload.
public enum DumpPayload {
    /// Version and checksum.
    static let footerLength = 10

    /// The versions that Redis 2.8 takes.
    public static let versionsOfRedis28 = 6...6
    /// All versions that can be read.
    public static let readableVersions = RDBFormat.readableVersions

    /// Whether `payload` ends with a version that is among `versions` and with the right checksum.
    public static func hasValidFooter(_ payload: ByteView, accepting versions: ClosedRange<Int>) -> Bool {
        guard hasVersion(payload, among: versions) else { return false }
        let stored = payload.littleEndian(UInt64.self, at: payload.count - 8)
        return stored == CRC64.checksum(of: payload.prefix(payload.count - 8))
    }

    /// Whether `payload` ends with a version that is among `versions`, whatever its checksum.
    public static func hasVersion(_ payload: ByteView, among versions: ClosedRange<Int>) -> Bool {
        payload.count >= footerLength && versions.contains(version(of: payload))
    }

    /// The elements of the value in `payload`, which is lent for as long as the reader is used.
    ///
    /// Elements are read when they are asked for, so a payload may prove to be malformed half way: who must not change
    /// anything then calls ``validate(_:accepting:)`` first. As in Redis, bytes behind the value are not looked at.
    ///
    /// - Throws: `wrongPayloadFooter` for another version or a wrong checksum; `unsupported` for what Redis 2.8 does
    ///   not have; `malformed` or `shortRead` for the rest.
    public static func reader(
        of payload: ByteView,
        accepting versions: ClosedRange<Int>
    ) throws(RDBError) -> RDBValueReader {
        guard hasValidFooter(payload, accepting: versions) else { throw .wrongPayloadFooter }
        return try readerOfContent(payload, accepting: versions)
    }

    /// Reads the whole of `payload` and gives the type of its value and the number of elements; throws what reading it
    /// would throw, and `malformed` for a list, set, sorted set or hash without elements, which cannot be stored.
    public static func validate(
        _ payload: ByteView,
        accepting versions: ClosedRange<Int>
    ) throws(RDBError) -> (kind: RDBKind, count: Int) {
        let reader = try reader(of: payload, accepting: versions)
        let count = try reader.skip()
        guard count > 0 else { throw .malformed("a value without elements", position: 1) }
        return (reader.kind, count)
    }

    /// The elements of a value whose footer was found right, as ``DumpPayloadCheck`` does; else as
    /// ``reader(of:accepting:)``.
    public static func readerOfContent(
        _ payload: ByteView,
        accepting versions: ClosedRange<Int>
    ) throws(RDBError) -> RDBValueReader {
        let input = RDBInput(payload.prefix(payload.count - footerLength))
        let byte = try input.byte()
        // A server that takes one version only does not know the types of later ones either.
        guard let type = RDBFormat.ValueType(rawValue: byte), type.firstVersion <= versions.upperBound else {
            throw input.malformed("unknown type \(byte) of a value")
        }
        if let what = type.unsupported { throw .unsupported(what, key: nil, position: 0) }
        let reader = RDBValueReader(input)
        try reader.begin(type)
        return reader
    }

    /// Whether the type of the value is one that can be read; the rest of `payload` is not looked at.
    public static func hasKnownType(_ payload: ByteView) -> Bool {
        guard payload.count > footerLength, let type = RDBFormat.ValueType(rawValue: payload[0]) else { return false }
        return type.unsupported == nil
    }

    private static func version(of payload: ByteView) -> Int {
        Int(payload.littleEndian(UInt16.self, at: payload.count - footerLength))
    }
}

/// Makes DUMP payloads of version 6; one encoder makes any number of them, one after the other.
public final class DumpEncoder {
    private let output: RDBOutput
    private var values: RDBValueWriter

    /// An encoder that compresses strings (`rdbcompression`) of at least `leastCompressed` bytes, or none.
    public init(compresses: Bool = true, leastCompressed: Int = 0) {
        output = RDBOutput(compresses: compresses, leastCompressed: leastCompressed, computesChecksum: true)
        values = RDBValueWriter(output)
    }

    /// Begins a payload; what is left of the last one is dropped.
    public func begin(_ shape: RDBValueShape) throws(RDBError) {
        output.removeAll()
        output.append(shape.valueType.rawValue)
        try values.begin(shape)
    }

    /// Adds the next element.
    public func append(_ element: RDBElement) throws(RDBError) { try values.append(element) }

    /// Begins the string as one of `count` bytes that comes in pieces, which is not compressed.
    public func beginPieces(count: Int) throws(RDBError) { try values.beginPieces(count: count) }

    /// Adds the next piece of the string.
    public func append(piece: ByteView) throws(RDBError) { try values.append(piece: piece) }

    /// Takes what was added so far into the checksum, so that `finish` has little left to do.
    public func addToChecksum() { _ = output.checksumOfBytesWritten }

    /// Ends the payload and lends it until the next one begins.
    public func finish() throws(RDBError) -> ByteView {
        try values.end()
        output.append(littleEndian: UInt16(RDBFormat.writtenVersion))
        output.append(littleEndian: output.checksumOfBytesWritten ?? 0)
        return output.view
    }

    /// The payload of a string, lent until the next one begins.
    public func encode(string: ByteView) throws(RDBError) -> ByteView {
        try begin(.string)
        try append(.string(string))
        return try finish()
    }

    /// The number of bytes of the value in the payload made last, without type and footer: the `serializedlength` of
    /// DEBUG OBJECT.
    public var valueLength: Int { max(0, Int(output.bytesWritten) - DumpPayload.footerLength - 1) }
}
