// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

extension ByteView {
    /// The integer stored little-endian at `offset`, which needs no alignment; it must lie within the view.
    @inlinable
    @inline(__always)
    public func littleEndian<Integer: FixedWidthInteger & BitwiseCopyable>(_: Integer.Type, at offset: Int) -> Integer {
        Integer(littleEndian: load(at: offset))
    }

    /// The integer stored big-endian at `offset`, which needs no alignment; it must lie within the view.
    @inlinable
    @inline(__always)
    public func bigEndian<Integer: FixedWidthInteger & BitwiseCopyable>(_: Integer.Type, at offset: Int) -> Integer {
        Integer(bigEndian: load(at: offset))
    }

    @inlinable
    @inline(__always)
    func load<Integer: FixedWidthInteger & BitwiseCopyable>(at offset: Int) -> Integer {
        precondition(offset >= 0 && offset + MemoryLayout<Integer>.size <= count, "integer out of range")
        return unsafe rawBuffer.loadUnaligned(fromByteOffset: offset, as: Integer.self)
    }
}
