// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

public import Bytes

/// The part of a key that decides where it lies: the bytes between the first `{` and the first `}` after it.
///
/// Keys with the same tag share a slot. An empty tag counts (`{}x` and `foo{}` both hash no bytes), unlike in Redis
/// Cluster. Without a pair of braces the whole key is hashed and the key is untagged.
///
/// Source: Codis 2.0: slots.c, slots_tag; pkg/proxy/router/mapper.go.
@frozen
public struct HashTag {
    /// The bytes that are hashed: the tag, or the whole key; they live as long as the key's.
    public let hashedBytes: ByteView

    /// Whether the key has a tag.
    public let isTagged: Bool

    /// Finds the tag of `key`; O(length of the key).
    @inlinable
    public init(of key: ByteView) {
        if let open = key.firstIndex(of: 0x7B), let close = key.firstIndex(of: 0x7D, from: open + 1) {
            hashedBytes = key[open + 1..<close]
            isTagged = true
        } else {
            hashedBytes = key
            isTagged = false
        }
    }
}

/// The checksum by which a key is placed, and whether it is that of a tag.
@frozen
public struct KeyHash: Hashable, Sendable {
    /// The CRC-32 of the tag, or of the whole key when it has none.
    public let checksum: UInt32

    /// Whether the checksum is that of a tag.
    public let isTagged: Bool

    /// The slot of the key.
    @inlinable
    public var slot: Slot { Slot(checksum: checksum) }

    /// The hash of a key with this checksum.
    @inlinable
    public init(checksum: UInt32, isTagged: Bool) {
        self.checksum = checksum
        self.isTagged = isTagged
    }

    /// Hashes `key`; O(length of the key).
    @inlinable
    public init(of key: ByteView) {
        let tag = HashTag(of: key)
        checksum = CRC32.checksum(tag.hashedBytes)
        isTagged = tag.isTagged
    }
}
