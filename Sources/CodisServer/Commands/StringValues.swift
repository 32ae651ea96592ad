// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import Keyspace
internal import NIOCore
internal import RESP

/// The encoding byte of a string's record.
enum StringEncoding {
    /// The string counts as an integer when its bytes are those of one.
    static let byContent: UInt8 = 0
    /// The string came from a command that works on bytes, and counts as bytes until it is set anew.
    static let raw: UInt8 = 1
}

/// The ranges that GETRANGE, BITCOUNT and BITPOS take: both ends included, negative ones counted from the end.
enum StringRange {
    /// The range `start...end` of a string of `length` bytes, cut to what there is; nil if nothing is left.
    ///
    /// An end before the string counts as its first byte (Redis 2.8: t_string.c, getrangeCommand).
    static func clamped(_ start: Int64, _ end: Int64, length: Int) -> Range<Int>? {
        let length = Int64(length)
        let first = max(0, start < 0 ? start + length : start)
        let last = min(length - 1, max(0, end < 0 ? end + length : end))
        guard first <= last else { return nil }
        return Int(first)..<Int(last) + 1
    }
}

/// What a look-up is for: only those for reading count as hits and misses.
enum LookupPurpose {
    case read
    case write
}

extension Server {
    /// The record of the key at `index` of the arguments, nil if there is none, or WRONGTYPE if it is no string.
    @inline(__always)
    func findString(_ index: Int, _ call: CommandCall, _ purpose: LookupPurpose) throws(CommandError) -> Record? {
        let key = call.arguments[index]
        guard let record = purpose == .read ? lookupRead(key, call) : lookupWriteString(key, call) else { return nil }
        guard record.type == .string else { throw .wrongType }
        return record
    }

    /// Runs a change of the keyspace, and turns the engine's error into the client's.
    @inline(__always)
    func change<Result>(_ body: (Keyspace) throws(KeyspaceError) -> Result) throws(CommandError) -> Result {
        do throws(KeyspaceError) {
            return try withKeyspace(body)
        } catch {
            throw CommandError(error)
        }
    }

    /// Replies a string as a bulk.
    @inline(__always)
    func writeReplyBulk(_ record: Record, to call: CommandCall) {
        if let value = record.inlineValue {
            call.reply.writeReplyBulk(value)
        } else {
            writeReplyBulk(record, 0..<record.count, to: call)
        }
    }

    /// Replies the bytes in `range` of a string as a bulk; a large string goes from its pieces straight to the reply.
    func writeReplyBulk(_ record: Record, _ range: Range<Int>, to call: CommandCall) {
        if let value = record.inlineValue { return call.reply.writeReplyBulk(value[range]) }
        call.reply.reserveCapacity(minimumWritableBytes: range.count + 32)
        call.reply.writeReplyBulkHeader(range.count)
        keyspace.forEachPiece(of: record, from: range.lowerBound, count: range.count) { piece in
            _ = unsafe call.reply.writeBytes(piece.rawBuffer)
        }
        call.reply.writeReplyLineEnd()
    }
}

extension ByteBuffer {
    /// Writes `$count`; so many bytes and `writeReplyLineEnd()` must follow.
    mutating func writeReplyBulkHeader(_ count: Int) {
        writeInteger(UInt8(ascii: "$"))
        unsafe withUnsafeTemporaryAllocation(byteCount: DecimalNumber.maximumLength, alignment: 1) { digits in
            let length = unsafe DecimalNumber.write(Int64(count), to: digits.baseAddress.unsafelyUnwrapped)
            _ = unsafe writeBytes(UnsafeRawBufferPointer(rebasing: digits[0..<length]))
        }
        writeReplyLineEnd()
    }

    /// Writes the line end behind the bytes of a bulk.
    mutating func writeReplyLineEnd() {
        writeInteger(UInt16(0x0D0A))
    }
}
