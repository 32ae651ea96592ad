// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

public import Bytes
internal import LMDB

extension Keyspace {
    /// Adds `count` members to the set `key`, which is made if it is missing; all of them, or none after a crash.
    ///
    /// `member` returns a member and whether it is an integer, and may be asked repeatedly. The caller has checked the
    /// type. O(log n) for each member.
    ///
    /// - Parameters:
    ///   - mostIntegers: a set of more members, or with one that is no integer, counts as a hash table.
    /// - Returns: how many of the members are new.
    /// - Throws: `KeyspaceError.failed`.
    public func addMembers(
        _ key: ByteView,
        in database: Int,
        count: Int,
        mostIntegers: Int,
        _ member: (Int) -> (bytes: ByteView, isInteger: Bool)
    ) throws(KeyspaceError) -> Int {
        let staged = try stageElements(key, database, count) { member($0).bytes }
        setTarget(key, database)
        return try change { () throws(LMDBError) in
            var edit = try beginEdit(.set, staged: staged)
            let before = edit.record.count
            for number in 0..<count {
                let (bytes, isInteger) = member(number)
                if try addMember(&edit, bytes, number) {
                    edit.record.count += 1
                    if !isInteger { edit.record.encoding = 1 }
                }
            }
            let added = edit.record.count - before
            if edit.record.count > mostIntegers { edit.record.encoding = 1 }
            if added > 0 { try finishEdit(&edit, key, database) }
            return added
        }
    }

    /// Adds a member; false if it was there.
    @inline(__always)
    private func addMember(
        _ edit: inout CollectionEdit,
        _ member: ByteView,
        _ number: Int
    ) throws(LMDBError) -> Bool {
        if edit.isPacked {
            if PackedReader.find(member, in: packed.view, hasValues: false) != nil { return false }
            if PackedElements.fits(packed.length + PackedElements.packedLength(member.count)) {
                packed.append(member)
                edit.isChanged = true
                return true
            }
            try unpackNamed(&edit)
        }
        return try putNamed(
            &edit.record,
            member,
            value: ByteView(),
            nameBlob: edit.staged?.blob(number) ?? 0,
            replaces: false
        )
    }

    /// Takes a member chosen at random out of the set `key`, each as likely as any other, and the key with the last.
    ///
    /// The caller has checked the type. Expected O(log n).
    ///
    /// - Parameter body: gets the member before it goes; it must not change the keyspace.
    /// - Returns: how many members are left, or nil if there is no such key.
    /// - Throws: `KeyspaceError.failed`.
    public func popMember(
        _ key: ByteView,
        in database: Int,
        _ body: (ElementBytes) -> Void
    ) throws(KeyspaceError) -> Int? {
        setTarget(key, database)
        return try change { () throws(LMDBError) in
            var edit = try beginEdit(.set)
            guard edit.record.count > 0 else { return nil }
            if edit.isPacked {
                var packedReader = PackedReader(packed.view)
                for _ in 0..<Int.random(in: 0..<edit.record.count, using: &generator) { _ = packedReader.next() }
                let start = packedReader.offset
                guard let member = packedReader.next() else { throw .corrupted }
                body(ElementBytes(member))
                packed.remove(start..<packedReader.offset)
                edit.isChanged = true
            } else {
                try popNamed(&edit.record, body)
            }
            edit.record.count -= 1
            try finishEdit(&edit, key, database)
            return edit.record.count
        }
    }

    /// Takes a member chosen at random out of a set in rows.
    private func popNamed(_ record: inout Record, _ body: (ElementBytes) -> Void) throws(LMDBError) {
        let cursor = try transaction.cursor(slotTables[Int(record.home)])
        defer { cursor.close() }
        guard let found = try reader.randomRow(of: record, cursor, using: &generator), let row = NamedRow(found.value)
        else { throw .corrupted }
        body(row.name(rowKey: found.key, object: record.object, home: record.home))
        try removeNamed(row, keyLength: found.key.count, at: cursor, &record)
    }

    /// A member of the set, field of the hash or member of the sorted set of `record`, chosen at random.
    public func randomElement(of record: Record) -> ValueElement? {
        reader.randomElement(of: record, using: &generator)
    }
}
