// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import Glibc

// All memory that the module owns, and with LZF.swift and CRC64.swift all that is unsafe in it. Every offset is
// checked here, so that nothing above this file can leave its memory, whatever bytes it reads.

/// Growing memory that lends views of itself; a view lives until the store changes.
@safe
final class ByteStore {
    private var base: UnsafeMutableRawPointer?
    private var capacity = 0
    /// The number of bytes stored.
    private(set) var count = 0

    init() { unsafe base = nil }

    deinit { unsafe free(base) }

    /// All bytes.
    var view: ByteView {
        guard let base = unsafe base else { return ByteView() }
        return unsafe ByteView(start: base, count: count)
    }

    /// Makes room for `additional` bytes more, growing at least by half so that appending stays linear.
    func reserve(_ additional: Int) {
        precondition(additional >= 0, "negative length")
        let (needed, tooLarge) = count.addingReportingOverflow(additional)
        precondition(!tooLarge, "length beyond 64 bits")
        guard needed > capacity else { return }
        let wanted = max(needed, capacity + capacity / 2, 64)
        guard let grown = unsafe realloc(base, wanted) else { fatalError("out of memory for \(wanted) bytes") }
        unsafe base = grown
        capacity = wanted
    }

    /// Forgets the bytes; memory beyond `limit` is given back.
    func removeAll(keepingAtMost limit: Int = 1 << 20) {
        count = 0
        guard capacity > limit else { return }
        unsafe free(base)
        unsafe base = nil
        capacity = 0
    }

    /// Forgets the first `length` bytes; O(count).
    func removeFirst(_ length: Int) {
        precondition(length >= 0 && length <= count, "length out of range")
        guard length > 0, let base = unsafe base else { return }
        unsafe memmove(base, base + length, count - length)
        count -= length
    }

    /// Forgets all but the first `length` bytes.
    func truncate(to length: Int) {
        precondition(length >= 0 && length <= count, "length out of range")
        count = length
    }

    func append(_ byte: UInt8) {
        unsafe extend(by: 1).storeBytes(of: byte, as: UInt8.self)
    }

    func append(_ bytes: ByteView) {
        guard let source = unsafe bytes.rawBuffer.baseAddress, bytes.count > 0 else { return }
        unsafe extend(by: bytes.count).copyMemory(from: source, byteCount: bytes.count)
    }

    func append(littleEndian value: some FixedWidthInteger & BitwiseCopyable) {
        let size = value.bitWidth / 8
        unsafe extend(by: size).storeBytes(of: value.littleEndian, as: type(of: value))
    }

    func append(bigEndian value: some FixedWidthInteger & BitwiseCopyable) {
        let size = value.bitWidth / 8
        unsafe extend(by: size).storeBytes(of: value.bigEndian, as: type(of: value))
    }

    /// Overwrites the integer at `offset`.
    func set(littleEndian value: some FixedWidthInteger & BitwiseCopyable, at offset: Int) {
        precondition(offset >= 0 && offset + value.bitWidth / 8 <= count, "integer out of range")
        guard let base = unsafe base else { return }
        unsafe base.storeBytes(of: value.littleEndian, toByteOffset: offset, as: type(of: value))
    }

    /// Lets `fill` write up to `limit` bytes behind the others; it gives the number that it wrote.
    @unsafe @discardableResult
    func appendUpTo<Failure: Error>(
        _ limit: Int,
        _ fill: (UnsafeMutableRawPointer) throws(Failure) -> Int
    ) throws(Failure) -> Int {
        reserve(max(limit, 1))
        guard let base = unsafe base else { return 0 }
        let written = unsafe try fill(base + count)
        precondition(written >= 0 && written <= limit, "written beyond the room")
        count += written
        return written
    }

    /// The start of `length` new bytes, which the caller writes at once.
    private func extend(by length: Int) -> UnsafeMutableRawPointer {
        reserve(length)
        guard let base = unsafe base else { fatalError("no memory after reserve") }
        defer { count += length }
        return unsafe base + count
    }
}

extension ByteView {
    /// The integer stored little-endian at `offset`.
    @inline(__always)
    func littleEndian<Integer: FixedWidthInteger & BitwiseCopyable>(_ type: Integer.Type, at offset: Int) -> Integer {
        precondition(offset >= 0 && offset + MemoryLayout<Integer>.size <= count, "integer out of range")
        return unsafe Integer(littleEndian: rawBuffer.loadUnaligned(fromByteOffset: offset, as: Integer.self))
    }

    /// The integer stored big-endian at `offset`.
    @inline(__always)
    func bigEndian<Integer: FixedWidthInteger & BitwiseCopyable>(_ type: Integer.Type, at offset: Int) -> Integer {
        precondition(offset >= 0 && offset + MemoryLayout<Integer>.size <= count, "integer out of range")
        return unsafe Integer(bigEndian: rawBuffer.loadUnaligned(fromByteOffset: offset, as: Integer.self))
    }

    /// The signed integer of 24 bits stored little-endian at `offset`.
    func littleEndian24(at offset: Int) -> Int64 {
        let low = Int64(littleEndian(UInt16.self, at: offset))
        return low | Int64(Int8(bitPattern: self[offset + 2])) << 16
    }
}
