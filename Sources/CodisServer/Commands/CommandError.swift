// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Keyspace

/// Why a command was not done, as the client is told; the texts are those of Redis 2.8 to the byte.
enum CommandError: Error, Equatable {
    /// Another text; it begins with its code, and line ends in it become blanks.
    case message(String)
    /// Another text that holds bytes of the request.
    case bytes([UInt8])
    /// The key holds a value of another type (redis.c, createSharedObjects).
    case wrongType
    /// What should be an integer is none (object.c, getLongLongFromObjectOrReply).
    case notAnInteger
    /// What should be a number is none (object.c, getLongDoubleFromObjectOrReply).
    case notAFloat
    /// The options make no sense.
    case syntax
    /// The key must be there.
    case noSuchKey
    /// Source and destination must differ.
    case sameObject
    /// An index is beyond what there is.
    case indexOutOfRange
    /// The disk is full.
    case outOfSpace
    /// A command was refused when it was queued.
    case executionAborted
    /// The transaction or script has changed as much as can be changed at once.
    case unitTooLarge
    /// The engine cannot go on.
    case failed(String)

    /// What the client gets for an error of the engine.
    init(_ error: KeyspaceError) {
        switch error {
        case .outOfSpace: self = .outOfSpace
        case .transactionTooLarge: self = .unitTooLarge
        case .locked(let text), .format(let text), .failed(let text): self = .failed(text)
        }
    }

    /// The line without the leading `-`.
    var line: [UInt8] {
        switch self {
        case .message(let text): Array(text.utf8)
        case .bytes(let bytes): bytes
        case .wrongType: Array("WRONGTYPE Operation against a key holding the wrong kind of value".utf8)
        case .notAnInteger: Array("ERR value is not an integer or out of range".utf8)
        case .notAFloat: Array("ERR value is not a valid float".utf8)
        case .syntax: Array("ERR syntax error".utf8)
        case .noSuchKey: Array("ERR no such key".utf8)
        case .sameObject: Array("ERR source and destination objects are the same".utf8)
        case .indexOutOfRange: Array("ERR index out of range".utf8)
        case .outOfSpace:
            Array(
                ("MISCONF No space left on the disk for new data. Reads and deletes are served; "
                    + "free some space and writes work again by themselves.").utf8
            )
        case .executionAborted: Array("EXECABORT Transaction discarded because of previous errors.".utf8)
        case .unitTooLarge:
            Array(
                ("ERR The transaction or script has changed too much to be written as one: this command was not done. "
                    + "Split it into smaller ones.").utf8
            )
        case .failed(let text): Array("MISCONF The keyspace cannot be written any more: \(text)".utf8)
        }
    }
}
