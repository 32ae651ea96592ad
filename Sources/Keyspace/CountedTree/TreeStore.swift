// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import LMDB

/// Where the nodes of one counted tree are read from.
///
/// The tree is generic over it, so that calls are direct; see `CountedTree`.
protocol TreeReader {
    /// The node with this number, which must be there; to read, until the next change of the table.
    func node(_ number: UInt64) throws(LMDBError) -> TreeNode

    /// Compares the bytes of the blob from `offset` on with `bytes`: less than 0, 0 or more than 0, as
    /// `ByteView.compare`.
    ///
    /// - Parameter length: the length of the whole blob.
    func compare(
        blob: UInt64,
        length: Int,
        from offset: Int,
        with bytes: ByteView
    ) throws(LMDBError) -> Int

    /// Compares the members that two long ones stand for; for the check only.
    func compare(_ left: LongMember, _ right: LongMember) throws(LMDBError) -> Int
}

/// Where the nodes of one counted tree are kept.
protocol TreeStore: TreeReader {
    /// Memory for one change at a time.
    var scratch: TreeScratch { get }

    /// The node with this number, which must be there, to be changed in place.
    ///
    /// It must be written to before any other node is edited, made or deleted: two nodes share a page, and the first
    /// change of a page moves both.
    func edit(_ number: UInt64) throws(LMDBError) -> TreeNode

    /// A new node with this number; its bytes are undefined.
    ///
    /// All other nodes may have moved.
    func make(_ number: UInt64) throws(LMDBError) -> TreeNode

    /// Deletes the node with this number.
    ///
    /// All other nodes may have moved.
    func delete(_ number: UInt64) throws(LMDBError)
}

/// The root of a counted tree, as the key's record keeps it.
///
/// On disk: `[height: 1][root: 6][next number: 6][elements: 6]`, little-endian.
struct TreeRoot: Equatable {
    /// The node at the top, or 0 when there is no element.
    var node: UInt64 = 0
    /// How many levels there are above the leaves.
    var height = 0
    /// The number that the next node's is made of.
    var next: UInt64 = 2
    /// How many elements there are.
    var count = 0

    /// The bytes on disk.
    static let length = 19

    init() {}

    /// Reads a root; nil if the bytes cannot be one.
    init?(_ bytes: ByteView) {
        guard bytes.count >= TreeRoot.length else { return nil }
        func number(_ offset: Int) -> UInt64 {
            UInt64(bytes.littleEndian(UInt32.self, at: offset))
                | UInt64(bytes.littleEndian(UInt16.self, at: offset + 4)) << 32
        }
        height = Int(bytes[0])
        node = number(1)
        next = number(7)
        count = Int(number(13))
        guard height < TreeScratch.levels else { return nil }
    }

    func write(to writer: inout RowWriter) {
        writer.append(UInt8(height))
        for number in [node, next, UInt64(count)] {
            writer.append(littleEndian: UInt32(truncatingIfNeeded: number))
            writer.append(littleEndian: UInt16(truncatingIfNeeded: number >> 32))
        }
    }

    /// The number for a new node.
    ///
    /// Numbers come in the order 3, 2, 5, 4, …: when rows are added in ascending order at the end, LMDB leaves a page
    /// of two large rows with one of them; this way each page of the past gets its second one.
    mutating func takeNumber() -> UInt64 {
        precondition(next >> 48 == 0, "a tree has no more numbers for nodes")
        defer { next += 1 }
        return next ^ 1
    }
}

/// Memory that changes of trees use again and again; one is enough for all trees of a thread.
@safe
final class TreeScratch {
    /// The greatest height there can be: with two children to a node at the least, and mostly far more, it is never
    /// reached.
    static let levels = 40

    /// A node on the way from the root to a leaf, and the index of the child through which it goes on.
    struct Step {
        var node: UInt64 = 0
        var index = 0
    }

    private let memory: UnsafeMutableRawBufferPointer
    private let steps: UnsafeMutablePointer<Step>
    private let separator: UnsafeMutableRawBufferPointer

    init() {
        unsafe memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 2 * TreeNode.length, alignment: 16)
        unsafe steps = UnsafeMutablePointer<Step>.allocate(capacity: TreeScratch.levels + 1)
        unsafe steps.initialize(repeating: Step(), count: TreeScratch.levels + 1)
        unsafe separator = UnsafeMutableRawBufferPointer.allocate(byteCount: 1024, alignment: 16)
    }

    deinit {
        unsafe memory.deallocate()
        unsafe steps.deallocate()
        unsafe separator.deallocate()
    }

    /// Two nodes outside of any table: one for the even levels, one for the odd ones.
    func node(_ level: Int) -> TreeNode {
        unsafe TreeNode(memory.baseAddress.unsafelyUnwrapped + (level & 1) * TreeNode.length)
    }

    /// The step at `level`.
    @inline(__always)
    subscript(level: Int) -> Step {
        get {
            precondition(level >= 0 && level <= TreeScratch.levels, "a tree is too high")
            return unsafe steps[level]
        }
        set {
            precondition(level >= 0 && level <= TreeScratch.levels, "a tree is too high")
            unsafe steps[level] = newValue
        }
    }

    /// `entry` with its bytes copied, which last until the next call.
    func keep(_ entry: TreeEntry) -> TreeEntry {
        var writer = unsafe RowWriter(separator)
        writer.append(entry.body)
        let body = unsafe ByteView(UnsafeRawBufferPointer(rebasing: separator[0..<entry.body.count]))
        return TreeEntry(score: entry.score, body: body, isReference: entry.isReference)
    }
}
