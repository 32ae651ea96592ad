// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import LMDB

/// An end of a list.
public enum ListEnd: Sendable {
    /// Where the first element is.
    case head
    /// Where the last element is.
    case tail
}

/// Where the elements of a list lie that has rows of its own: a leaf at either end, and between them a counted tree.
///
/// The leaves at the ends are nodes as the tree has them, but do not belong to it: what comes and goes there changes
/// one row and the key's own, and only full leaves go into the tree. Either may be missing or empty.
///
/// On disk: `[leaf at the head: 6][its elements: 2][leaf at the tail: 6][its elements: 2]`, little-endian, then the
/// tree's root, which also has the number of the next node of all three. An entry is the element's bytes, or for a
/// longer one the reference `[length: 8][blob id: 8]`.
struct ListRoot {
    /// A leaf at an end.
    struct Leaf {
        /// Its number, or 0 if there is none.
        var node: UInt64 = 0
        /// How many elements it has.
        var count = 0
    }

    var head = Leaf()
    var tail = Leaf()
    var tree = TreeRoot()

    /// The bytes on disk.
    static let length = 16 + TreeRoot.length
    /// The longest element that stands in its entry as it is.
    static let longestPlainElement = 900
    /// The bytes of an entry that stands for a longer one.
    static let referenceLength = 16

    init() {}

    /// Reads a root; nil if the bytes cannot be one.
    @inline(__always)
    init?(_ bytes: ByteView) {
        guard bytes.count == ListRoot.length, let tree = TreeRoot(bytes.dropFirst(16)) else { return nil }
        head = ListRoot.leaf(bytes, at: 0)
        tail = ListRoot.leaf(bytes, at: 8)
        self.tree = tree
    }

    /// Node and elements are one word.
    @inline(__always)
    private static func leaf(_ bytes: ByteView, at offset: Int) -> Leaf {
        let word = bytes.littleEndian(UInt64.self, at: offset)
        return Leaf(node: word & 0xFFFF_FFFF_FFFF, count: Int(word >> 48))
    }

    @inline(__always)
    func write(to writer: inout RowWriter) {
        writer.append(littleEndian: head.node | UInt64(head.count) << 48)
        writer.append(littleEndian: tail.node | UInt64(tail.count) << 48)
        tree.write(to: &writer)
    }

    /// How many elements there are.
    @inline(__always)
    var count: Int { head.count + tree.count + tail.count }

    /// The part of a list in which an element lies.
    enum Part {
        case head
        case tree
        case tail
    }

    /// In which part the element at `position` lies, and at which place there.
    @inline(__always)
    func part(of position: Int) -> (part: Part, place: Int) {
        if position < head.count { return (.head, position) }
        let behind = position - head.count
        return behind < tree.count ? (.tree, behind) : (.tail, behind - tree.count)
    }
}

extension TreeEntry {
    /// The element of a list that the entry is or stands for.
    @inline(__always)
    func listElement(object: UInt64, home: UInt16) throws(LMDBError) -> ElementBytes {
        guard isReference else { return ElementBytes(body) }
        guard body.count == ListRoot.referenceLength else { throw .corrupted }
        return ElementBytes(
            count: Int(truncatingIfNeeded: body.littleEndian(UInt64.self, at: 0)),
            object: object,
            blob: body.littleEndian(UInt64.self, at: 8),
            home: home
        )
    }
}
