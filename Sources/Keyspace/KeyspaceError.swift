// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import LMDB

/// Why the keyspace could not do what it was asked.
public enum KeyspaceError: Error, Equatable, CustomStringConvertible {
    /// Opening: another process has the directory open; the text says which.
    case locked(String)
    /// Opening: the files are not a keyspace that this version can open; the text says why.
    case format(String)
    /// There is no room on the disk; nothing was changed.
    case outOfSpace
    /// What must be committed together is more than a transaction can hold; what was asked last was not done.
    case transactionTooLarge
    /// The engine cannot go on: reading or writing its files failed. Nothing later succeeds.
    case failed(String)

    /// The error as a sentence for the server's log.
    public var description: String {
        switch self {
        case .locked(let text), .format(let text), .failed(let text): text
        case .outOfSpace: "no space left on the disk"
        case .transactionTooLarge: "too many changes in one transaction"
        }
    }

    /// LMDB's error `error`, met while doing `what`.
    init(_ error: LMDBError, while what: String) {
        self = .failed("\(what): \(error)")
    }
}
