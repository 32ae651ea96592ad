// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

public import Bytes
public import NIOCore

/// Replies, straight into the bytes that go to the client.
///
/// Each is one reservation and stores into it; what every second command replies (`+OK`, `:0`, `:1`, `$-1`) is stored
/// as one word.
extension ByteBuffer {
    // MARK: - Fixed replies

    /// Writes `+OK`.
    @inlinable @inline(__always)
    public mutating func writeReplyOK() { writeWord(0x0A0D_4B4F_2B, count: 5) }

    /// Writes `:0`.
    @inlinable @inline(__always)
    public mutating func writeReplyZero() { writeWord(0x0A0D_303A, count: 4) }

    /// Writes `:1`.
    @inlinable @inline(__always)
    public mutating func writeReplyOne() { writeWord(0x0A0D_313A, count: 4) }

    /// Writes the null bulk reply `$-1`: there is no such value.
    @inlinable @inline(__always)
    public mutating func writeReplyNullBulk() { writeWord(0x0A0D_312D_24, count: 5) }

    /// Writes the null multi-bulk reply `*-1`: a transaction was aborted, a blocking command timed out.
    @inlinable @inline(__always)
    public mutating func writeReplyNullArray() { writeWord(0x0A0D_312D_2A, count: 5) }

    /// Writes the empty array `*0`.
    @inlinable @inline(__always)
    public mutating func writeReplyEmptyArray() { writeWord(0x0A0D_302A, count: 4) }

    /// Writes the empty bulk `$0`.
    @inlinable @inline(__always)
    public mutating func writeReplyEmptyBulk() { writeWord(0x0A0D_0A0D_3024, count: 6) }

    /// Writes `+PONG`.
    @inlinable @inline(__always)
    public mutating func writeReplyPong() { writeWord(0x0A0D_474E_4F50_2B, count: 7) }

    /// Writes `+QUEUED`.
    @inlinable
    public mutating func writeReplyQueued() { writeReplyStatus("QUEUED") }

    // MARK: - Lines

    /// Writes the status line `+status`, which must be without line ends.
    @inlinable
    public mutating func writeReplyStatus(_ status: StaticString) {
        writeLine(type: UInt8(ascii: "+"), ByteView(status))
    }

    /// Writes the status line `+status`, which must be without line ends.
    @inlinable
    public mutating func writeReplyStatus(_ status: ByteView) {
        writeLine(type: UInt8(ascii: "+"), status)
    }

    /// Writes the error line `-error`; `error` begins with its code (`ERR …`) and must be without line ends.
    @inlinable
    public mutating func writeReplyError(_ error: StaticString) {
        writeLine(type: UInt8(ascii: "-"), ByteView(error))
    }

    /// Writes the error line `-error`, with line ends within `error` turned to blanks.
    ///
    /// Redis 2.8: networking.c, addReplyErrorFormat.
    @inlinable
    public mutating func writeReplyError(_ error: ByteView) {
        let start = writerIndex
        writeLine(type: UInt8(ascii: "-"), error)
        for index in 0..<error.count where error[index] == 0x0D || error[index] == 0x0A {
            setInteger(UInt8(0x20), at: start + 1 + index)
        }
    }

    /// Writes the error line `-error`, with line ends within `error` turned to blanks.
    public mutating func writeReplyError(_ error: [UInt8]) {
        ByteView.with(error) { writeReplyError($0) }
    }

    /// Writes the error line `-error`, with line ends within `error` turned to blanks.
    public mutating func writeReplyError(_ error: String) {
        ByteView.with(error) { writeReplyError($0) }
    }

    // MARK: - Numbers

    /// Writes the integer reply `:value`.
    @inlinable
    public mutating func writeReplyInteger(_ value: Int64) {
        writeLengthLine(type: UInt8(ascii: ":"), value)
    }

    /// Writes the integer reply `:value`.
    @inlinable
    public mutating func writeReplyInteger(_ value: Int) {
        writeLengthLine(type: UInt8(ascii: ":"), Int64(value))
    }

    /// Writes `*count`; so many replies must follow.
    @inlinable
    public mutating func writeReplyArrayHeader(_ count: Int) {
        writeLengthLine(type: UInt8(ascii: "*"), Int64(count))
    }

    // MARK: - Bulks

    /// Writes `bytes` with their number.
    @inlinable
    public mutating func writeReplyBulk(_ bytes: ByteView) {
        let count = bytes.count
        // Type, digits, and two line ends, beside the bytes themselves.
        unsafe writeWithUnsafeMutableBytes(minimumWritableBytes: count + DecimalNumber.maximumLength + 5) { target in
            let start = unsafe target.baseAddress.unsafelyUnwrapped
            unsafe start.storeBytes(of: UInt8(ascii: "$"), as: UInt8.self)
            var length = unsafe 1 + DecimalNumber.write(Int64(count), to: start + 1)
            unsafe start.storeBytes(of: UInt16(littleEndian: 0x0A0D), toByteOffset: length, as: UInt16.self)
            length += 2
            if count > 0 {
                unsafe (start + length).copyMemory(
                    from: bytes.rawBuffer.baseAddress.unsafelyUnwrapped,
                    byteCount: count
                )
            }
            length += count
            unsafe start.storeBytes(of: UInt16(littleEndian: 0x0A0D), toByteOffset: length, as: UInt16.self)
            return length + 2
        }
    }

    /// Writes the digits of `value` as a bulk.
    @inlinable
    public mutating func writeReplyBulk(_ value: Int64) {
        unsafe withUnsafeTemporaryAllocation(byteCount: DecimalNumber.maximumLength, alignment: 1) { digits in
            let start = unsafe digits.baseAddress.unsafelyUnwrapped
            let count = unsafe DecimalNumber.write(value, to: start)
            writeReplyBulk(unsafe ByteView(start: UnsafeRawPointer(start), count: count))
        }
    }

    /// Writes `text` in UTF-8 as a bulk.
    public mutating func writeReplyBulk(_ text: String) {
        ByteView.with(text) { writeReplyBulk($0) }
    }

    /// Writes `bytes` with their number.
    public mutating func writeReplyBulk(_ bytes: [UInt8]) {
        ByteView.with(bytes) { writeReplyBulk($0) }
    }

    // MARK: - Parts

    /// Writes the lowest `count` bytes of `word`, the lowest first.
    @inlinable @inline(__always)
    mutating func writeWord(_ word: UInt64, count: Int) {
        unsafe writeWithUnsafeMutableBytes(minimumWritableBytes: 8) { target in
            unsafe target.baseAddress.unsafelyUnwrapped.storeBytes(of: UInt64(littleEndian: word), as: UInt64.self)
            return count
        }
    }

    /// Writes `type`, the digits of `value`, and a line end.
    @inlinable
    mutating func writeLengthLine(type: UInt8, _ value: Int64) {
        unsafe writeWithUnsafeMutableBytes(minimumWritableBytes: DecimalNumber.maximumLength + 3) { target in
            let start = unsafe target.baseAddress.unsafelyUnwrapped
            unsafe start.storeBytes(of: type, as: UInt8.self)
            let length = unsafe 1 + DecimalNumber.write(value, to: start + 1)
            unsafe start.storeBytes(of: UInt16(littleEndian: 0x0A0D), toByteOffset: length, as: UInt16.self)
            return length + 2
        }
    }

    /// Writes `type`, `text`, and a line end.
    @inlinable
    mutating func writeLine(type: UInt8, _ text: ByteView) {
        let count = text.count
        unsafe writeWithUnsafeMutableBytes(minimumWritableBytes: count + 3) { target in
            let start = unsafe target.baseAddress.unsafelyUnwrapped
            unsafe start.storeBytes(of: type, as: UInt8.self)
            if count > 0 {
                unsafe (start + 1).copyMemory(from: text.rawBuffer.baseAddress.unsafelyUnwrapped, byteCount: count)
            }
            unsafe start.storeBytes(of: UInt16(littleEndian: 0x0A0D), toByteOffset: count + 1, as: UInt16.self)
            return count + 3
        }
    }
}
