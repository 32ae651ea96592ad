// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

/// A reply as a value, for clients and tests; the server writes its replies without making any of these.
public enum RESPReply: Hashable, Sendable {
    /// `+OK`, without the `+`.
    case status([UInt8])
    /// `-ERR …`, without the `-`.
    case error([UInt8])
    /// `:1`
    case integer(Int64)
    /// `$3`: bytes.
    case bulk([UInt8])
    /// `$-1`: there is no such value.
    case nullBulk
    /// `*2`: replies.
    case array([RESPReply])
    /// `*-1`: no array.
    case nullArray

    /// The bytes of a status, an error, or a bulk; nil for all else.
    public var bytes: [UInt8]? {
        switch self {
        case .status(let bytes), .error(let bytes), .bulk(let bytes): bytes
        case .integer, .nullBulk, .array, .nullArray: nil
        }
    }

    /// The bytes of a status, an error, or a bulk as text; nil for all else.
    public var text: String? {
        bytes.map { String(decoding: $0, as: UTF8.self) }
    }
}

extension RESPReply: CustomStringConvertible {
    public var description: String {
        switch self {
        case .status(let bytes): "+" + String(decoding: bytes, as: UTF8.self)
        case .error(let bytes): "-" + String(decoding: bytes, as: UTF8.self)
        case .integer(let value): ":\(value)"
        case .bulk(let bytes): String(reflecting: String(decoding: bytes, as: UTF8.self))
        case .nullBulk: "$-1"
        case .array(let replies): "[" + replies.map(\.description).joined(separator: ", ") + "]"
        case .nullArray: "*-1"
        }
    }
}
