// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import LMDB

/// The nodes of a tree in the element rows of an object, to be changed.
@safe
struct NodeStore: TreeStore {
    private unowned(unsafe) let keyspace: Keyspace
    private let object: UInt64
    private let home: Int

    /// The bytes of a node's row with its key.
    static let rowLength = ElementKind.nodeKeyLength + TreeNode.length

    init(_ keyspace: Keyspace, _ record: Record) {
        unsafe self.keyspace = keyspace
        object = record.object
        home = Int(record.home)
    }

    @inline(__always)
    private func place(_ number: UInt64) -> ByteView {
        let element = unsafe keyspace.element
        element.setElement(object: object, kind: ElementKind.node, index: UInt32(number))
        return element.view
    }

    @inline(__always)
    func node(_ number: UInt64) throws(LMDBError) -> TreeNode {
        let row = unsafe try keyspace.transaction.get(place(number), in: keyspace.slotTables[home])
        guard let row, row.count == TreeNode.length else { throw .corrupted }
        return unsafe TreeNode(UnsafeMutableRawPointer(mutating: row.rawBuffer.baseAddress.unsafelyUnwrapped))
    }

    @inline(__always)
    func edit(_ number: UInt64) throws(LMDBError) -> TreeNode {
        let key = place(number)
        let cursor = unsafe try keyspace.transaction.cursor(keyspace.slotTables[home])
        defer { cursor.close() }
        guard let row = try cursor.find(key), row.count == TreeNode.length else { throw .corrupted }
        // What is reserved in the place of a row of the same length keeps its bytes.
        let memory = unsafe try cursor.reserveCurrent(key, count: TreeNode.length).baseAddress.unsafelyUnwrapped
        unsafe keyspace.room.touch(memory)
        return unsafe TreeNode(memory)
    }

    func make(_ number: UInt64) throws(LMDBError) -> TreeNode {
        let tables = unsafe keyspace.slotTables
        let memory = unsafe try keyspace.transaction.reserve(
            place(number),
            count: TreeNode.length,
            in: tables[home]
        ).baseAddress.unsafelyUnwrapped
        unsafe keyspace.room.touch(memory)
        return unsafe TreeNode(memory)
    }

    func delete(_ number: UInt64) throws(LMDBError) {
        guard unsafe try keyspace.transaction.delete(place(number), in: keyspace.slotTables[home]) else {
            throw .corrupted
        }
        unsafe keyspace.room.touchForDelete()
    }

    func compare(
        blob: UInt64,
        length: Int,
        from offset: Int,
        with bytes: ByteView
    ) throws(LMDBError) -> Int {
        throw .corrupted
    }

    func compare(_ left: LongMember, _ right: LongMember) throws(LMDBError) -> Int { throw .corrupted }
}

/// The nodes of a tree in the element rows of an object, to be read.
@safe
struct NodeReader: TreeReader {
    private unowned(unsafe) let reader: RowReader
    private let object: UInt64
    private let home: Int

    init(_ reader: RowReader, object: UInt64, home: UInt16) {
        unsafe self.reader = reader
        self.object = object
        self.home = Int(home)
    }

    @inline(__always)
    func node(_ number: UInt64) throws(LMDBError) -> TreeNode {
        let scratch = unsafe reader.scratch
        scratch.setElement(object: object, kind: ElementKind.node, index: UInt32(number))
        let row = unsafe try reader.transaction.get(scratch.view, in: reader.slotTables[home])
        guard let row, row.count == TreeNode.length else { throw .corrupted }
        return unsafe TreeNode(UnsafeMutableRawPointer(mutating: row.rawBuffer.baseAddress.unsafelyUnwrapped))
    }

    func compare(
        blob: UInt64,
        length: Int,
        from offset: Int,
        with bytes: ByteView
    ) throws(LMDBError) -> Int {
        throw .corrupted
    }

    func compare(_ left: LongMember, _ right: LongMember) throws(LMDBError) -> Int { throw .corrupted }
}
