// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import CLMDB

/// What LMDB answers when a call fails, by its own names (lmdb.h, "Return Codes").
public enum LMDBError: Error, Equatable, CustomStringConvertible {
    /// `MDB_KEYEXIST`: the key is there already.
    case keyExists
    /// `MDB_MAP_FULL`: the map has no room for another page.
    case mapFull
    /// `MDB_TXN_FULL`: the transaction has too many dirty pages.
    case transactionFull
    /// `MDB_CORRUPTED` or `MDB_PAGE_NOTFOUND`: a page is not what it must be.
    case corrupted
    /// `MDB_INVALID`: the file is not LMDB's.
    case invalid
    /// `MDB_VERSION_MISMATCH`: the file is of another version of LMDB.
    case versionMismatch
    /// An error number of the system, such as `ENOSPC`, `EIO` or `EACCES`.
    case system(Int32)
    /// Any other code of LMDB.
    case other(Int32)

    /// The error of the return code `code`, which must not be `MDB_SUCCESS`.
    init(code: Int32) {
        switch code {
        case MDB_KEYEXIST: self = .keyExists
        case MDB_MAP_FULL: self = .mapFull
        case MDB_TXN_FULL: self = .transactionFull
        case MDB_CORRUPTED, MDB_PAGE_NOTFOUND: self = .corrupted
        case MDB_INVALID: self = .invalid
        case MDB_VERSION_MISMATCH: self = .versionMismatch
        case 1...: self = .system(code)
        default: self = .other(code)
        }
    }

    /// The return code that the error stands for.
    public var code: Int32 {
        switch self {
        case .keyExists: MDB_KEYEXIST
        case .mapFull: MDB_MAP_FULL
        case .transactionFull: MDB_TXN_FULL
        case .corrupted: MDB_CORRUPTED
        case .invalid: MDB_INVALID
        case .versionMismatch: MDB_VERSION_MISMATCH
        case .system(let code), .other(let code): code
        }
    }

    /// LMDB's sentence for the error.
    public var description: String {
        unsafe String(cString: mdb_strerror(code))
    }

    /// Throws the error of `code` unless it is `MDB_SUCCESS`.
    @inline(__always)
    static func check(_ code: Int32) throws(LMDBError) {
        if code != MDB_SUCCESS { throw LMDBError(code: code) }
    }
}
