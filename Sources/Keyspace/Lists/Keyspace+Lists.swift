// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

public import Bytes
internal import LMDB

/// Lists at their ends: what queues need.
///
/// The callers have checked the type. A list is packed into its key's row while it is small; else see `ListRoot`.
extension Keyspace {
    /// Pushes `count` elements one after another at an end of the list `key`, which is made if it is missing; all of
    /// them, or none after a crash.
    ///
    /// `element` may be asked repeatedly, and its bytes must not be views of stored values. At most O(log n) for each.
    ///
    /// - Returns: how many elements the list has now.
    /// - Throws: `KeyspaceError.failed`.
    @inline(__always)
    public func pushElements(
        _ key: ByteView,
        in database: Int,
        at end: ListEnd,
        limits: EncodingLimits,
        count: Int,
        _ element: (Int) -> ByteView
    ) throws(KeyspaceError) -> Int {
        let staged = try stageElements(key, database, count, element)
        setTarget(key, database)
        return try change { () throws(LMDBError) in
            var edit = try beginEdit(.list, staged: staged)
            var number = 0
            if edit.isPacked {
                while number < count, pushPacked(&edit, element(number), end, limits) { number += 1 }
                if number == count {
                    edit.applyLimit(limits)
                    try finishEdit(&edit, key, database)
                    return edit.record.count
                }
            }
            var rows = edit.isPacked ? try unpackList(&edit) : try listRows(edit)
            while number < count {
                let bytes = element(number)
                try withEntry(bytes, staged: edit.staged?.blob(number) ?? 0, &edit) { entry throws(LMDBError) in
                    try rows.push(entry, at: end)
                }
                edit.record.count += 1
                edit.note(bytes, limits)
                number += 1
            }
            edit.applyLimit(limits)
            try finishList(&edit, &rows, key, database)
            return edit.record.count
        }
    }

    /// Adds an element to the packed ones; false if there is no room.
    @inline(__always)
    private func pushPacked(
        _ edit: inout CollectionEdit,
        _ bytes: ByteView,
        _ end: ListEnd,
        _ limits: EncodingLimits
    ) -> Bool {
        guard PackedElements.fits(packed.length + PackedElements.packedLength(bytes.count)) else { return false }
        switch end {
        case .head: packed.replace(PackedElements.headLength..<PackedElements.headLength, packing: bytes)
        case .tail: packed.append(bytes)
        }
        edit.record.count += 1
        edit.isChanged = true
        edit.note(bytes, limits)
        return true
    }

    /// Takes the element at an end off the list `key`, which must be there; the key goes with its last element.
    ///
    /// `body` gets the element before it goes, and must not change the keyspace. O(log n) at most.
    ///
    /// - Returns: how many elements are left.
    /// - Throws: `KeyspaceError.failed`.
    @inline(__always)
    public func popElement(
        _ key: ByteView,
        in database: Int,
        from end: ListEnd,
        _ body: (ElementBytes) -> Void
    ) throws(KeyspaceError) -> Int {
        setTarget(key, database)
        return try change { () throws(LMDBError) in
            var edit = try beginEdit(.list)
            guard edit.old != nil else { return 0 }
            edit.record.count -= 1
            guard edit.isPacked else {
                try popFromRows(&edit, key, database, end, body)
                return edit.record.count
            }
            guard let range = packed.element(at: end) else { throw .corrupted }
            body(ElementBytes(packed.packedBytes(in: range)))
            packed.remove(range)
            edit.isChanged = true
            try finishEdit(&edit, key, database)
            return edit.record.count
        }
    }

    @inline(__always)
    private func popFromRows(
        _ edit: inout CollectionEdit,
        _ key: ByteView,
        _ database: Int,
        _ end: ListEnd,
        _ body: (ElementBytes) -> Void
    ) throws(LMDBError) {
        var rows = try listRows(edit)
        var long: ElementBytes?
        let (object, home) = (edit.record.object, edit.record.home)
        try rows.pop(from: end) { entry throws(LMDBError) in
            let element = try entry.listElement(object: object, home: home)
            body(element)
            if entry.isReference { long = element }
        }
        if let long { try letGo(blob: long.blob, length: long.count, &edit.record) }
        try finishList(&edit, &rows, key, database)
    }

    // MARK: Rows

    /// The list that is edited, as rows; its root is in `packed`.
    @inline(__always)
    func listRows(_ edit: borrowing CollectionEdit) throws(LMDBError) -> ListRows<TreeRows> {
        guard let root = ListRoot(packed.view) else { throw .corrupted }
        return ListRows(TreeRows(self, edit.record), root)
    }

    /// Moves the packed elements into rows.
    func unpackList(_ edit: inout CollectionEdit) throws(LMDBError) -> ListRows<TreeRows> {
        takeObject(&edit)
        var rows = ListRows(TreeRows(self, edit.record), ListRoot())
        var reader = PackedReader(packed.view)
        while let bytes = reader.next() {
            try withEntry(bytes, staged: 0, &edit) { entry throws(LMDBError) in try rows.push(entry, at: .tail) }
        }
        return rows
    }

    /// Ends a change of a list in rows.
    @inline(__always)
    func finishList(
        _ edit: inout CollectionEdit,
        _ rows: inout ListRows<TreeRows>,
        _ key: ByteView,
        _ database: Int
    ) throws(LMDBError) {
        edit.record.objectBytes += rows.nodeBalance * TreeRows.bytes
        edit.isChanged = true
        let root = rows.root
        packed.write(length: ListRoot.length) { root.write(to: &$0) }
        try finishEdit(&edit, key, database, payload: packed.view)
    }

    /// Calls `body` with the entry for an element, whose bytes are written as a blob if they are many and were not
    /// staged as one.
    @inline(__always)
    func withEntry(
        _ bytes: ByteView,
        staged: UInt64,
        _ edit: inout CollectionEdit,
        _ body: (TreeEntry) throws(LMDBError) -> Void
    ) throws(LMDBError) {
        if bytes.count <= ListRoot.longestPlainElement { return try body(TreeEntry(body: bytes)) }
        let reference = try writeReference(bytes, staged: staged, &edit)
        try ByteView.with(reference) { reference throws(LMDBError) in
            try body(TreeEntry(body: reference, isReference: true))
        }
    }

    private func writeReference(
        _ bytes: ByteView,
        staged: UInt64,
        _ edit: inout CollectionEdit
    ) throws(LMDBError) -> [UInt8] {
        var blob = staged
        if staged != 0 {
            try adoptStaged(blob: staged, length: bytes.count, &edit.record)
        } else {
            blob = try writeBlob(bytes, &edit.record)
        }
        var reference: [UInt8] = []
        for number in [UInt64(bytes.count), blob] {
            for shift in stride(from: 0, to: 64, by: 8) { reference.append(UInt8(truncatingIfNeeded: number >> shift)) }
        }
        return reference
    }

    /// Writes those of the elements of a collection ahead that are too long for one transaction.
    @inline(__always)
    func stageElements(
        _ key: ByteView,
        _ database: Int,
        _ count: Int,
        _ element: (Int) -> ByteView
    ) throws(KeyspaceError) -> StagedBlobs? {
        var staged: StagedBlobs?
        for number in 0..<count where element(number).count > Keyspace.longestUnstaged {
            var blobs: StagedBlobs
            if let staged { blobs = staged } else { blobs = try beginStaging(key, in: database) }
            try stage(element(number), number: number, &blobs)
            staged = blobs
        }
        return staged
    }
}

extension CollectionEdit {
    /// Puts a list into the other form of Redis if an element that comes is too long for a ziplist.
    @inline(__always)
    mutating func note(_ bytes: ByteView, _ limits: EncodingLimits) {
        if !limits.admits(bytes) { record.encoding = 1 }
    }
}

extension EncodingLimits {
    /// Whether an element of a list is short enough for the compact form.
    ///
    /// An integer always is, because Redis knows it as one before it looks at the length.
    @inline(__always)
    public func admits(_ element: ByteView) -> Bool { element.count <= bytes || element.isCanonicalInteger }
}

extension ByteView {
    /// Whether the bytes are the one decimal spelling of an integer of 64 bits.
    fileprivate var isCanonicalInteger: Bool {
        guard count > 0, count <= 20 else { return false }
        return Int64(String(self)).map { String($0) == String(self) } ?? false
    }
}

extension PackedElements {
    /// Where the first or the last packed element is, with its length; nil if there is none.
    ///
    /// O(1) for the first, O(length) for the last.
    @inline(__always)
    func element(at end: ListEnd) -> Range<Int>? {
        var reader = PackedReader(view)
        var start = reader.offset
        guard reader.next() != nil else { return nil }
        if end == .head { return start..<reader.offset }
        while !reader.isAtEnd {
            start = reader.offset
            guard reader.next() != nil else { return nil }
        }
        return start..<reader.offset
    }

    /// The packed element in `range`, without its length.
    @inline(__always)
    func packedBytes(in range: Range<Int>) -> ByteView {
        // The length takes as many bytes as packing it would.
        view[range].dropFirst(range.count < 129 ? 1 : 2)
    }
}
