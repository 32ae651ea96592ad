// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes

/// Memory of a fixed size that its owner fills front to back: a row key, or the value of a row being written.
///
/// Integers of keys are big-endian, so that their order is that of the numbers, those of values little-endian.
@safe
struct RowWriter {
    private let base: UnsafeMutableRawPointer
    private let capacity: Int
    private(set) var length = 0

    /// Writes into `memory`, which must outlive the writer.
    @unsafe
    init(_ memory: UnsafeMutableRawBufferPointer) {
        unsafe base = memory.baseAddress.unsafelyUnwrapped
        capacity = memory.count
    }

    @inline(__always)
    mutating func append(_ byte: UInt8) {
        precondition(length < capacity, "a row outgrew the room made for it")
        unsafe base.storeBytes(of: byte, toByteOffset: length, as: UInt8.self)
        length += 1
    }

    @inline(__always)
    mutating func append(littleEndian value: some FixedWidthInteger & BitwiseCopyable) {
        appendRaw(value.littleEndian)
    }

    @inline(__always)
    mutating func append(bigEndian value: some FixedWidthInteger & BitwiseCopyable) {
        appendRaw(value.bigEndian)
    }

    @inline(__always)
    private mutating func appendRaw<Value: BitwiseCopyable>(_ value: Value) {
        precondition(length + MemoryLayout<Value>.size <= capacity, "a row outgrew the room made for it")
        unsafe base.storeBytes(of: value, toByteOffset: length, as: Value.self)
        length += MemoryLayout<Value>.size
    }

    @inline(__always)
    mutating func append(_ bytes: ByteView) {
        precondition(length + bytes.count <= capacity, "a row outgrew the room made for it")
        guard bytes.count > 0 else { return }
        let source = unsafe bytes.rawBuffer
        unsafe (base + length).copyMemory(from: source.baseAddress.unsafelyUnwrapped, byteCount: source.count)
        length += bytes.count
    }

    mutating func appendZeros(_ count: Int) {
        precondition(count >= 0 && length + count <= capacity, "a row outgrew the room made for it")
        unsafe (base + length).initializeMemory(as: UInt8.self, repeating: 0, count: count)
        length += count
    }
}
