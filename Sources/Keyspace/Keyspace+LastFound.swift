// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

public import Bytes
internal import LMDB

/// Changes of the row that was just looked up, which save the search for it.
extension Keyspace {
    /// Makes the string that the last call of `find` found `value`, and keeps its expiry; O(pages on the way down).
    ///
    /// Nothing but that call may have happened to the keyspace since, and `value` must not be stored in it.
    ///
    /// - Returns: false if it is not that simple (a large value, a long key): nothing was done, and `updateString`
    ///   does it.
    /// - Throws: `KeyspaceError.failed`.
    @inline(__always)
    public func updateLastFound(
        _ found: Record,
        in database: Int,
        to value: ByteView,
        encoding: UInt8 = 0
    ) throws(KeyspaceError) -> Bool {
        guard !target.isLong, found.object == 0 else { return false }
        let record = Record(type: .string, encoding: encoding, expireAtMilliseconds: found.expireAtMilliseconds)
        guard fits(record, payloadLength: value.count) else { return false }
        try change { () throws(LMDBError) in
            let old = OldRow(found, rowLength: found.rowLength(payloadLength: found.count))
            try writeRow(record, payload: value, replacing: old, longKey: ByteView(), database: database)
        }
        return true
    }
}
