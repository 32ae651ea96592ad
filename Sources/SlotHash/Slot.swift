// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

public import Bytes

/// One of the 1,024 parts of the keyspace that a cluster distributes over its servers.
///
/// The slot of a key is the CRC-32 of its tag (or of the whole key) modulo 1,024. The rule is shared by server, proxy
/// and configuration, and fixed: data would be lost from sight if it changed.
@frozen
public struct Slot: Hashable, Sendable, Comparable, CustomStringConvertible {
    /// How many slots there are.
    public static let count = 1024

    /// The slot's number, within `0..<1024`.
    public let number: UInt16

    /// The slot with this number, or nil when it is not within `0..<1024`.
    @inlinable
    public init?(_ number: some BinaryInteger) {
        guard number >= 0, number < 1024 else { return nil }
        self.number = UInt16(number)
    }

    /// The slot of what has this checksum: its low ten bits.
    @inlinable
    public init(checksum: UInt32) { number = UInt16(checksum & 0x3FF) }

    /// The slot of `key`; O(length of the key).
    @inlinable
    public init(forKey key: ByteView) { self = KeyHash(of: key).slot }

    @inlinable
    public static func < (left: Slot, right: Slot) -> Bool { left.number < right.number }

    public var description: String { String(number) }
}
