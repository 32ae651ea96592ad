// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

extension ByteView {
    /// The integer stored little-endian at `offset`, which needs no alignment; it must lie within the view.
    @inlinable
    @inline(__always)
    public func littleEndian<Integer: FixedWidthInteger & BitwiseCopyable>(
        _ type: Integer.Type,
        at offset: Int
    ) -> Integer {
        precondition(offset >= 0 && offset + MemoryLayout<Integer>.size <= count, "integer out of range")
        return unsafe Integer(littleEndian: rawBuffer.loadUnaligned(fromByteOffset: offset, as: Integer.self))
    }

    /// The integer stored big-endian at `offset`, which needs no alignment; it must lie within the view.
    @inlinable
    @inline(__always)
    public func bigEndian<Integer: FixedWidthInteger & BitwiseCopyable>(
        _ type: Integer.Type,
        at offset: Int
    ) -> Integer {
        precondition(offset >= 0 && offset + MemoryLayout<Integer>.size <= count, "integer out of range")
        return unsafe Integer(bigEndian: rawBuffer.loadUnaligned(fromByteOffset: offset, as: Integer.self))
    }
}
