// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import LMDB

/// The nodes of an object's tree in a transaction, to read.
struct TreeRowReader: TreeReader {
    let reader: RowReader
    let object: UInt64
    let home: UInt16

    @inline(__always)
    func node(_ number: UInt64) throws(LMDBError) -> TreeNode {
        reader.scratch.setNode(object: object, number: number)
        let table = reader.slotTables[Int(home)]
        guard let row = try reader.transaction.get(reader.scratch.view, in: table, by: .behindTenBytes),
            row.count == TreeNode.length
        else { throw .corrupted }
        return TreeNode(reading: row)
    }

    func compare(
        blob: UInt64,
        length: Int,
        from offset: Int,
        with bytes: ByteView
    ) throws(LMDBError) -> Int {
        let whole = ElementBytes(count: length, object: object, blob: blob, home: home)
        var order = 0
        var compared = 0
        reader.forEachPiece(of: whole, from: offset, count: bytes.count) { piece in
            guard order == 0 else { return }
            order = piece.compare(bytes[compared..<(compared + piece.count)])
            compared += piece.count
        }
        return order != 0 ? order : length - offset - bytes.count
    }

    func compare(_ left: LongMember, _ right: LongMember) throws(LMDBError) -> Int {
        let bytes = reader.bytes(of: ElementBytes(count: right.length, object: object, blob: right.blob, home: home))
        return try ByteView.with(bytes) { bytes throws(LMDBError) in
            try compare(blob: left.blob, length: left.length, from: 0, with: bytes)
        }
    }
}

/// The nodes of an object's tree in the keyspace's transaction, to change.
///
/// The bytes of the rows are counted by whoever changes the tree: `TreeRows.bytes` for each node of its
/// `nodeBalance`.
struct TreeRows: TreeStore {
    let keyspace: Keyspace
    let object: UInt64
    let home: UInt16

    /// The bytes of a node's row, its key included.
    static let bytes = ElementKind.nodeKeyLength + TreeNode.length

    @inline(__always)
    init(_ keyspace: Keyspace, _ record: Record) {
        self.keyspace = keyspace
        object = record.object
        home = record.home
    }

    @inline(__always)
    var scratch: TreeScratch { keyspace.treeScratch }

    @inline(__always)
    private var table: Table { keyspace.slotTables[Int(home)] }

    @inline(__always)
    func node(_ number: UInt64) throws(LMDBError) -> TreeNode {
        keyspace.auxiliary.setNode(object: object, number: number)
        guard let row = try keyspace.transaction.get(keyspace.auxiliary.view, in: table, by: .behindTenBytes),
            row.count == TreeNode.length
        else { throw .corrupted }
        return TreeNode(reading: row)
    }

    /// A row on a page of the transaction's own is changed where it lies.
    ///
    /// On another page, what is reserved under an existing key with the same length is the row as it is, on a page that
    /// LMDB has copied (`mdb_cursor_put`).
    @inline(__always)
    func edit(_ number: UInt64) throws(LMDBError) -> TreeNode {
        keyspace.auxiliary.setNode(object: object, number: number)
        if case .found(let row, isWritable: true) =
            keyspace.transaction.search(keyspace.auxiliary.view, in: table, by: .behindTenBytes),
            row.count == TreeNode.length
        {
            return TreeNode(reading: row)
        }
        return try self.row(number)
    }

    @inline(__always)
    func make(_ number: UInt64) throws(LMDBError) -> TreeNode { try row(number) }

    @inline(__always)
    private func row(_ number: UInt64) throws(LMDBError) -> TreeNode {
        keyspace.auxiliary.setNode(object: object, number: number)
        let memory = unsafe try keyspace.transaction.reserve(
            keyspace.auxiliary.view,
            count: TreeNode.length,
            in: table
        )
        let base = unsafe memory.baseAddress.unsafelyUnwrapped
        return unsafe TreeNode(base)
    }

    func delete(_ number: UInt64) throws(LMDBError) {
        keyspace.auxiliary.setNode(object: object, number: number)
        guard try keyspace.transaction.delete(keyspace.auxiliary.view, in: table) else { throw .corrupted }
    }

    private var reader: TreeRowReader { TreeRowReader(reader: keyspace.reader, object: object, home: home) }

    func compare(
        blob: UInt64,
        length: Int,
        from offset: Int,
        with bytes: ByteView
    ) throws(LMDBError) -> Int {
        try reader.compare(blob: blob, length: length, from: offset, with: bytes)
    }

    func compare(_ left: LongMember, _ right: LongMember) throws(LMDBError) -> Int {
        try reader.compare(left, right)
    }
}

extension TreeNode {
    /// The node in a row that is only read.
    @inline(__always)
    init(reading row: ByteView) {
        precondition(row.count == TreeNode.length, "a node is damaged")
        unsafe self.init(UnsafeMutableRawPointer(mutating: row.rawBuffer.baseAddress.unsafelyUnwrapped))
    }
}
