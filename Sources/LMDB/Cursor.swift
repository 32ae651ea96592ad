// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

public import Bytes
internal import CLMDB
internal import Glibc

/// A place in a table, and the cheapest way to read and then change one row.
///
/// A cursor of a write transaction ends with it; that of a read transaction must be closed. It is a bare handle, so
/// whoever keeps it knows its transaction.
@safe
public struct Cursor {
    let handle: OpaquePointer
    /// The counts of its transaction, which live as long as that.
    let changes: UnsafeMutablePointer<TransactionChanges>

    /// A row: its key and value, lent by the map.
    public struct Row {
        /// The row's key.
        public var key: ByteView
        /// The row's value.
        public var value: ByteView
    }

    /// Closes the cursor.
    public func close() {
        unsafe mdb_cursor_close(handle)
    }

    /// Goes to `key` and returns its value, or nil if it is not there; O(log n), less when the row is near.
    @inline(__always)
    public func find(_ key: ByteView) throws(LMDBError) -> ByteView? {
        var key = unsafe MDB_val(key)
        var value = unsafe MDB_val()
        let code = unsafe mdb_cursor_get(handle, &key, &value, MDB_SET)
        if code == MDB_NOTFOUND { return nil }
        try LMDBError.check(code)
        return unsafe ByteView(value)
    }

    /// The value of the row that the cursor stands on; O(1).
    @inline(__always)
    public func current() throws(LMDBError) -> ByteView {
        var key = unsafe MDB_val()
        var value = unsafe MDB_val()
        try unsafe LMDBError.check(mdb_cursor_get(handle, &key, &value, MDB_GET_CURRENT))
        return unsafe ByteView(value)
    }

    /// The row that the cursor stands on, or nil if it stands on none; O(1).
    public func currentRow() throws(LMDBError) -> Row? {
        var key = unsafe MDB_val()
        var value = unsafe MDB_val()
        let code = unsafe mdb_cursor_get(handle, &key, &value, MDB_GET_CURRENT)
        // EINVAL is for a cursor that was not placed anywhere yet.
        if code == MDB_NOTFOUND || code == EINVAL { return nil }
        try LMDBError.check(code)
        return unsafe Row(key: ByteView(key), value: ByteView(value))
    }

    /// Goes to the first row whose key is not less than `key`.
    public func seek(_ key: ByteView) throws(LMDBError) -> Row? {
        var key = unsafe MDB_val(key)
        return unsafe try row(&key, MDB_SET_RANGE)
    }

    /// Goes to the first row.
    public func first() throws(LMDBError) -> Row? {
        var key = unsafe MDB_val()
        return unsafe try row(&key, MDB_FIRST)
    }

    /// Goes to the last row.
    public func last() throws(LMDBError) -> Row? {
        var key = unsafe MDB_val()
        return unsafe try row(&key, MDB_LAST)
    }

    /// Goes to the next row.
    public func next() throws(LMDBError) -> Row? {
        var key = unsafe MDB_val()
        return unsafe try row(&key, MDB_NEXT)
    }

    /// Goes to the row before.
    public func previous() throws(LMDBError) -> Row? {
        var key = unsafe MDB_val()
        return unsafe try row(&key, MDB_PREV)
    }

    private func row(_ key: inout MDB_val, _ operation: MDB_cursor_op) throws(LMDBError) -> Row? {
        var value = unsafe MDB_val()
        let code = unsafe mdb_cursor_get(handle, &key, &value, operation)
        if code == MDB_NOTFOUND { return nil }
        try LMDBError.check(code)
        return unsafe Row(key: ByteView(key), value: ByteView(value))
    }

    /// Makes room for `count` bytes in place of the value of the row that the cursor stands on, whose key is `key`,
    /// and returns where to write them.
    ///
    /// A value of the same length is overwritten where it lies; no search is made (`MDB_CURRENT | MDB_RESERVE`).
    @unsafe @inline(__always)
    public func reserveCurrent(_ key: ByteView, count: Int) throws(LMDBError) -> UnsafeMutableRawBufferPointer {
        unsafe try reserve(key, count, UInt32(MDB_CURRENT | MDB_RESERVE))
    }

    /// Makes room for a row of `count` bytes under `key` and returns where to write them (`MDB_RESERVE`).
    @unsafe @inline(__always)
    public func reserve(_ key: ByteView, count: Int) throws(LMDBError) -> UnsafeMutableRawBufferPointer {
        unsafe try reserve(key, count, UInt32(MDB_RESERVE))
    }

    /// Makes room for a row of `count` bytes under `key` if there is none, and returns where to write them; else nil,
    /// with the cursor on that row and its value in `existing` (`MDB_NOOVERWRITE | MDB_RESERVE`).
    ///
    /// With `isLast` the row goes behind all others and no search is made; nil then means that `key` is not greater
    /// than the last one (`MDB_APPEND | MDB_RESERVE`).
    @unsafe @inline(__always)
    public func insert(
        _ key: ByteView,
        count: Int,
        existing: inout ByteView,
        isLast: Bool = false
    ) throws(LMDBError) -> UnsafeMutableRawBufferPointer? {
        var key = unsafe MDB_val(key)
        var value = unsafe MDB_val(mv_size: count, mv_data: nil)
        let flags = (isLast ? MDB_APPEND : MDB_NOOVERWRITE) | MDB_RESERVE
        unsafe changes.pointee.noteChange()
        let code = unsafe mdb_cursor_put(handle, &key, &value, UInt32(flags))
        if code == MDB_KEYEXIST {
            existing = isLast ? ByteView() : unsafe ByteView(value)
            return nil
        }
        try LMDBError.check(code)
        return unsafe UnsafeMutableRawBufferPointer(start: value.mv_data, count: value.mv_size)
    }

    @inline(__always)
    private func reserve(
        _ key: ByteView,
        _ count: Int,
        _ flags: UInt32
    ) throws(LMDBError) -> UnsafeMutableRawBufferPointer {
        var key = unsafe MDB_val(key)
        var value = unsafe MDB_val(mv_size: count, mv_data: nil)
        unsafe changes.pointee.noteChange()
        try unsafe LMDBError.check(mdb_cursor_put(handle, &key, &value, flags))
        return unsafe UnsafeMutableRawBufferPointer(start: value.mv_data, count: value.mv_size)
    }

    /// Deletes the row that the cursor stands on.
    public func deleteCurrent() throws(LMDBError) {
        unsafe changes.pointee.noteDeletion()
        try unsafe LMDBError.check(mdb_cursor_del(handle, 0))
    }
}
