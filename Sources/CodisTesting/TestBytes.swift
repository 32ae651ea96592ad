// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Glibc

// Tests are built without optimisation, where the standard library's generic loops take microseconds a byte; these few
// do their work in one call of the C library.

/// `count` times `byte`.
public func filledBytes(_ byte: UInt8, count: Int) -> [UInt8] {
    unsafe [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
        if let start = buffer.baseAddress { unsafe memset(start, Int32(byte), count) }
        initialized = count
    }
}

/// Whether the bytes are the same.
public func sameBytes(_ left: [UInt8], _ right: [UInt8]) -> Bool {
    guard left.count == right.count else { return false }
    return unsafe left.withUnsafeBytes { leftBuffer in
        unsafe right.withUnsafeBytes { rightBuffer in
            guard let start = leftBuffer.baseAddress, let other = rightBuffer.baseAddress else { return true }
            return unsafe memcmp(start, other, leftBuffer.count) == 0
        }
    }
}
