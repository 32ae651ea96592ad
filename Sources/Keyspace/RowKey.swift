// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import SlotHash

/// How keys lie in a slot table.
///
/// The row of a Redis key is found under
/// `[space: 2][CRC-32 of tag or key: 4][keyed SipHash of the key, upper half: 4][key]`, all numbers big-endian. The
/// space stands for a database; FLUSHDB gives the database another one. A key of more than 492 bytes keeps its first
/// 477 and a 128-bit hash instead, so that its row key has exactly 503 bytes, as no other row key has; its whole bytes
/// are in rows of their own. The rows of a large value are under `[0xFE][object id: 8][kind: 1][sort key]`, see
/// `ElementKind`.
enum RowKeyLayout {
    /// `[space][checksum][hash]`.
    static let prefixLength = 10
    /// The longest Redis key that lies in the row key as it is.
    static let longestPlainKey = 492
    /// How much of a longer key lies in the row key.
    static let longKeyHead = 477
    /// The row key's length for a longer key, and the longest there is: with 8 bytes of expiry before it, it makes
    /// LMDB's limit of 511.
    static let longRowKey = 503
    /// The first byte of element rows.
    static let elementMark: UInt8 = 0xFE
    /// Spaces lie below, so that no row of a key begins as an element row does.
    static let spaceLimit: UInt16 = 0xFE00
    /// `[0xFE][object id][kind]`.
    static let elementPrefixLength = 10
    /// `[0xFE][object id][kind][hash of the name]`.
    static let namedPrefixLength = 18
    /// The longest name of an element that lies in the row key as it is.
    static let longestPlainName = 477
    /// How much of a longer name lies in the row key, before a second hash of it.
    static let longNameHead = 470
    /// The length of the row key for a longer name, which no other named element has.
    static let longNamedKey = namedPrefixLength + longNameHead + 8
}

/// The kinds of element rows, which are the tenth byte of their keys.
enum ElementKind {
    /// A chunk of a string: sort key `[index: 4]`.
    static let chunk: UInt8 = 0
    /// An element with a name: a field of a hash, a member of a set or sorted set.
    ///
    /// Sort key `[keyed SipHash of the name: 8][name]`; a name of more than 477 bytes has its first 470 and a second
    /// hash there, 496 bytes of key in all, and its bytes in a blob. The value is a `NamedRow`.
    static let named: UInt8 = 1
    /// A node of a counted tree: sort key `[number: 8]`, rows of `TreeNode.length` bytes that are edited in place.
    static let node: UInt8 = 2
    /// A chunk of a blob, which is a long name or a large value: sort key `[blob id: 8][index: 4]`.
    static let blob: UInt8 = 3

    /// The length of the key of a chunk of a string.
    static let chunkKeyLength = RowKeyLayout.elementPrefixLength + 4
    /// The length of the key of a node.
    static let nodeKeyLength = RowKeyLayout.elementPrefixLength + 8
    /// The length of the key of a chunk of a blob.
    static let blobKeyLength = RowKeyLayout.elementPrefixLength + 12
}

/// A row key being put together, in memory that is used again and again.
@safe
final class RowKey {
    private let memory: UnsafeMutableRawBufferPointer
    private(set) var length = 0
    /// The slot of the key, 0..<1024.
    private(set) var slot = 0
    /// The space of a key's row, with which it begins.
    var space: UInt16 { view.bigEndian(UInt16.self, at: 0) }
    /// The checksum of a key's row: it stands behind the space.
    var checksum: UInt32 { view.bigEndian(UInt32.self, at: 2) }
    /// The keyed hash of the key.
    private(set) var hash: UInt64 = 0
    /// Whether the key is too long to lie in the row key.
    private(set) var isLong = false

    init() {
        unsafe memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 512, alignment: 16)
    }

    deinit {
        unsafe memory.deallocate()
    }

    /// The row key's bytes, until it is set again.
    @inline(__always)
    var view: ByteView {
        unsafe ByteView(UnsafeRawBufferPointer(rebasing: memory[0..<length]))
    }

    /// Whether this is the row key of `key` in `space`, and the key short enough to tell.
    @inline(__always)
    func isRow(of key: ByteView, in space: UInt16) -> Bool {
        !isLong && length == key.count + RowKeyLayout.prefixLength && view.isKeyRow(of: space)
            && view.dropFirst(RowKeyLayout.prefixLength) == key
    }

    /// Becomes the row key of `key` in `space`; O(key length).
    @inline(__always)
    func set(_ key: ByteView, space: UInt16, hashKey: SipHash) {
        let keyHash = KeyHash(of: key)
        slot = Int(keyHash.checksum & 1023)
        hash = hashKey.hash(key)
        var writer = unsafe RowWriter(memory)
        writer.append(bigEndian: space)
        writer.append(bigEndian: keyHash.checksum)
        writer.append(bigEndian: UInt32(truncatingIfNeeded: hash >> 32))
        isLong = key.count > RowKeyLayout.longestPlainKey
        if isLong {
            writer.append(key.prefix(RowKeyLayout.longKeyHead))
            writer.append(bigEndian: hash)
            writer.append(bigEndian: hashKey.second.hash(key))
        } else {
            writer.append(key)
        }
        length = writer.length
    }

    /// Becomes the key of a chunk of a string.
    @inline(__always)
    func setElement(object: UInt64, kind: UInt8, index: UInt32) {
        var writer = unsafe RowWriter(memory)
        writer.append(RowKeyLayout.elementMark)
        writer.append(bigEndian: object)
        writer.append(kind)
        writer.append(bigEndian: index)
        length = writer.length
    }

    /// Becomes the key of a node of a counted tree.
    @inline(__always)
    func setNode(object: UInt64, number: UInt64) {
        var writer = unsafe RowWriter(memory)
        writer.append(RowKeyLayout.elementMark)
        writer.append(bigEndian: object)
        writer.append(ElementKind.node)
        writer.append(bigEndian: number)
        length = writer.length
    }

    /// Becomes the key of the row of the element `name`; `hash` is the hash of the name then, and `isLong` whether it
    /// is too long to lie in the key.
    @inline(__always)
    func setNamed(object: UInt64, name: ByteView, hashKey: SipHash) {
        hash = hashKey.hash(name)
        var writer = unsafe RowWriter(memory)
        writer.append(RowKeyLayout.elementMark)
        writer.append(bigEndian: object)
        writer.append(ElementKind.named)
        writer.append(bigEndian: hash)
        isLong = name.count > RowKeyLayout.longestPlainName
        if isLong {
            writer.append(name.prefix(RowKeyLayout.longNameHead))
            writer.append(bigEndian: hashKey.second.hash(name))
        } else {
            writer.append(name)
        }
        length = writer.length
    }

    /// Becomes the place where the named elements of `object` begin whose hash is at least `hash`.
    func setNamedPosition(object: UInt64, hash: UInt64) {
        var writer = unsafe RowWriter(memory)
        writer.append(RowKeyLayout.elementMark)
        writer.append(bigEndian: object)
        writer.append(ElementKind.named)
        writer.append(bigEndian: hash)
        length = writer.length
    }

    /// Becomes the key of a chunk of a blob, or with no index the bytes before all of its chunks.
    func setBlob(object: UInt64, blob: UInt64, index: UInt32? = nil) {
        var writer = unsafe RowWriter(memory)
        writer.append(RowKeyLayout.elementMark)
        writer.append(bigEndian: object)
        writer.append(ElementKind.blob)
        writer.append(bigEndian: blob)
        if let index { writer.append(bigEndian: index) }
        length = writer.length
    }

    /// Becomes the bytes before all element rows of one kind of `object`.
    func setElementPrefix(object: UInt64, kind: UInt8) {
        var writer = unsafe RowWriter(memory)
        writer.append(RowKeyLayout.elementMark)
        writer.append(bigEndian: object)
        writer.append(kind)
        length = writer.length
    }

    /// Becomes the bytes before all element rows of `object`, or of all objects when it is nil.
    func setElementPrefix(object: UInt64?) {
        var writer = unsafe RowWriter(memory)
        writer.append(RowKeyLayout.elementMark)
        if let object { writer.append(bigEndian: object) }
        length = writer.length
    }

    /// Becomes the place in `space` where rows of `checksum` and `hash` (its upper half) begin.
    func setPosition(space: UInt16, checksum: UInt32 = 0, hash: UInt32 = 0) {
        var writer = unsafe RowWriter(memory)
        writer.append(bigEndian: space)
        writer.append(bigEndian: checksum)
        writer.append(bigEndian: hash)
        length = writer.length
    }

    /// Becomes the key of the expiry index for a row key: `[ms since 1970: 8, big-endian][row key]`.
    func setExpiry(atMilliseconds: Int64, rowKey: ByteView) {
        var writer = unsafe RowWriter(memory)
        writer.append(bigEndian: atMilliseconds)
        writer.append(rowKey)
        length = writer.length
    }

    /// Becomes a copy of `bytes`.
    func set(copying bytes: ByteView) {
        var writer = unsafe RowWriter(memory)
        writer.append(bytes)
        length = writer.length
    }

    /// Becomes the key of a reclaim row: `[kind: 1][sequence: 8][id: 8]`.
    func setReclaim(kind: UInt8, sequence: UInt64, id: UInt64) {
        var writer = unsafe RowWriter(memory)
        writer.append(kind)
        writer.append(bigEndian: sequence)
        writer.append(bigEndian: id)
        length = writer.length
    }

    /// Becomes the key of a row of counts: `[database: 2][slot: 2]`.
    func setCounts(database: Int, slot: Int) {
        var writer = unsafe RowWriter(memory)
        writer.append(bigEndian: UInt16(database))
        writer.append(bigEndian: UInt16(slot))
        length = writer.length
    }
}

extension ByteView {
    /// Whether a row key of a slot table belongs to `space`.
    @inline(__always)
    func isKeyRow(of space: UInt16) -> Bool {
        count >= RowKeyLayout.prefixLength && bigEndian(UInt16.self, at: 0) == space
    }

    /// Whether the bytes begin with `prefix`.
    func hasPrefix(_ prefix: ByteView) -> Bool {
        count >= prefix.count && self.prefix(prefix.count) == prefix
    }
}
