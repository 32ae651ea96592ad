// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

public import Bytes
internal import Glibc

/// Writes an RDB file of version 6, which Redis 2.6 and all later versions read.
///
/// The bytes go to their taker in chunks while they are made; the checksum is carried along. Nothing is kept of what
/// was written, and of a value only its packed form where it has one. Redis 2.8: rdb.c, rdbSave.
///
/// ```swift
/// let writer = RDBWriter { chunk throws(RDBError) in ... }
/// try writer.selectDatabase(0)
/// try writer.beginKey(name, expireAtMilliseconds: nil, RDBValueShape(.list, count: 2))
/// try writer.append(.listElement(head))
/// try writer.append(.listElement(tail))
/// try writer.endKey()
/// try writer.finish()
/// ```
public final class RDBWriter {
    /// How to write.
    public struct Options: Sendable {
        /// Whether strings over 20 bytes are compressed where that helps (`rdbcompression`).
        public var compresses = true
        /// Whether the file ends with its checksum (`rdbchecksum`); else with zeros, which readers do not check.
        public var computesChecksum = true

        /// As Redis does by default: compressed, with checksum.
        public init() {}
    }

    private let output: RDBOutput
    private var values: RDBValueWriter

    /// The checksum in the file's last bytes, once it is finished; 0 if none was asked for.
    public private(set) var checksum: UInt64 = 0

    /// Begins a file whose bytes go to `takeChunk`; each chunk is lent for the call.
    public init(options: Options = Options(), takeChunk: @escaping (ByteView) throws(RDBError) -> Void) {
        output = RDBOutput(
            compresses: options.compresses,
            computesChecksum: options.computesChecksum,
            takeChunk: takeChunk
        )
        values = RDBValueWriter(output)
        output.append(ByteView(RDBFormat.signature))
        output.append(ByteView("0006"))
    }

    /// Begins a file at the place where `fileDescriptor` stands; it is neither synced nor closed.
    public convenience init(fileDescriptor: Int32, options: Options = Options()) {
        self.init(options: options) { chunk throws(RDBError) in
            var rest = chunk
            while rest.count > 0 {
                // The memory is the chunk's, which is lent for this call.
                let count = unsafe write(fileDescriptor, rest.rawBuffer.baseAddress, rest.count)
                if count >= 0 {
                    rest = rest.dropFirst(count)
                } else {
                    let code = errno
                    if code != EINTR { throw .system(operation: "write", code: code) }
                }
            }
        }
    }

    /// The number of bytes written so far, those included that were not handed on yet.
    public var bytesWritten: UInt64 { output.bytesWritten }

    /// Writes a fact about the file, which Redis 2.8 does not understand: 3.2 and later do, in a file of any version.
    public func writeAuxiliaryField(_ name: ByteView, value: ByteView) throws(RDBError) {
        output.append(RDBFormat.Opcode.auxiliaryField.rawValue)
        try output.append(string: name)
        try output.append(string: value)
    }

    /// Says that the keys which follow are in database `index`; databases without keys are not mentioned.
    public func selectDatabase(_ index: Int) throws(RDBError) {
        output.append(RDBFormat.Opcode.selectDatabase.rawValue)
        try output.append(length: index)
    }

    /// Begins a key; its elements follow, and ``endKey()``.
    public func beginKey(
        _ name: ByteView,
        expireAtMilliseconds: Int64? = nil,
        _ shape: RDBValueShape
    ) throws(RDBError) {
        if let expireAtMilliseconds {
            output.append(RDBFormat.Opcode.expireMilliseconds.rawValue)
            output.append(littleEndian: expireAtMilliseconds)
        }
        output.append(shape.valueType.rawValue)
        try output.append(string: name)
        try values.begin(shape)
    }

    /// Writes the next element of the key's value.
    public func append(_ element: RDBElement) throws(RDBError) { try values.append(element) }

    /// Begins the key's string as one of `count` bytes that comes in pieces; they follow, and then ``endKey()``.
    ///
    /// Such a string is not compressed, so that no memory is needed for it, however long it is.
    public func beginPieces(count: Int) throws(RDBError) { try values.beginPieces(count: count) }

    /// Writes the next piece of the key's string.
    public func append(piece: ByteView) throws(RDBError) { try values.append(piece: piece) }

    /// Ends the key's value.
    public func endKey() throws(RDBError) { try values.end() }

    /// Writes a key with a string.
    public func writeString(
        _ value: ByteView,
        forKey name: ByteView,
        expireAtMilliseconds: Int64? = nil
    ) throws(RDBError) {
        try beginKey(name, expireAtMilliseconds: expireAtMilliseconds, .string)
        try append(.string(value))
        try endKey()
    }

    /// Ends the file and hands on the last bytes of it.
    public func finish() throws(RDBError) {
        output.append(RDBFormat.Opcode.endOfFile.rawValue)
        let checksum = output.checksumOfBytesWritten ?? 0
        output.append(littleEndian: checksum)
        try output.handOn()
        self.checksum = checksum
    }
}
