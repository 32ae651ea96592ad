// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Glibc

/// What can be wrong with an RDB file or a DUMP payload, grouped by when it can happen.
///
/// Positions count from the first byte of the file or payload.
public enum RDBError: Error, Equatable, Sendable {
    // While reading.

    /// The bytes end within something that had begun.
    case shortRead(position: UInt64)
    /// The file does not begin with `REDIS`.
    case wrongSignature
    /// The file says a version of the format that is not among those accepted.
    case unknownVersion(Int)
    /// The bytes are not those of which the checksum was taken.
    case wrongChecksum(stored: UInt64, computed: UInt64)
    /// The footer of a DUMP payload is missing, of a version that is not accepted, or its checksum does not fit.
    case wrongPayloadFooter
    /// The bytes are no value, or no record, of the format.
    case malformed(String, position: UInt64)
    /// The file has something that Redis 2.8 cannot hold, and the reader was not asked to skip it.
    case unsupported(RDBUnsupported, key: [UInt8]?, position: UInt64)
    /// A database number beyond those configured.
    case databaseOutOfRange(UInt64, limit: Int)

    // While writing.

    /// The format has no way to say this: a length beyond 32 bits, a set of integers with something else in it, more or
    /// fewer elements than were announced.
    case unencodable(String)

    // At any time.

    /// The system refused an operation; `code` is its `errno`.
    case system(operation: String, code: Int32)
}

/// What newer versions of Redis write that 2.8 has no counterpart for.
public enum RDBUnsupported: Equatable, Sendable {
    /// A stream.
    case stream
    /// A hash with times to live of its fields.
    case hashWithFieldExpiry
    /// A value of the module named; the empty name if the bytes do not say which.
    case module(String)
    /// What the module named keeps beside its values.
    case moduleAuxiliaryData(String)
    /// A library of functions.
    case functionLibrary
}

extension RDBError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .shortRead(let position):
            "Short read or OOM loading DB. Unrecoverable error, aborting now. (at byte \(position))"
        case .wrongSignature:
            "Wrong signature trying to load DB from file"
        case .unknownVersion(let version):
            "Can't handle RDB format version \(version)"
        case .wrongChecksum(let stored, let computed):
            "Wrong RDB checksum. Aborting now. (stored \(hexadecimal(stored)), computed \(hexadecimal(computed)))"
        case .wrongPayloadFooter:
            "DUMP payload version or checksum are wrong"
        case .malformed(let reason, let position):
            "\(reason) (at byte \(position))"
        case .unsupported(let what, let key, let position):
            key.map { "\(what): key '\(String(decoding: $0, as: UTF8.self))' (at byte \(position))" }
                ?? "\(what) (at byte \(position))"
        case .databaseOutOfRange(let index, let limit):
            "database \(index) is beyond the \(limit) that are configured"
        case .unencodable(let reason):
            reason
        case .system(let operation, let code):
            unsafe "\(operation): \(String(cString: strerror(code)))"
        }
    }

    /// The line that Redis 2.8 logs before it gives up, where it has one of its own.
    ///
    /// Redis 2.8: rdb.c, rdbLoad.
    public var redisLogLine: String? {
        switch self {
        case .shortRead, .malformed:
            "Short read or OOM loading DB. Unrecoverable error, aborting now."
        case .wrongSignature:
            "Wrong signature trying to load DB from file"
        case .unknownVersion(let version):
            "Can't handle RDB format version \(version)"
        case .wrongChecksum:
            "Wrong RDB checksum. Aborting now."
        case .databaseOutOfRange(_, let limit):
            "FATAL: Data file was created with a Redis server configured to handle more than \(limit) databases. "
                + "Exiting"
        case .wrongPayloadFooter, .unsupported, .unencodable, .system:
            nil
        }
    }

    private func hexadecimal(_ number: UInt64) -> String { String(number, radix: 16) }
}

extension RDBUnsupported: CustomStringConvertible {
    public var description: String {
        switch self {
        case .stream: "a stream, which Redis 2.8 does not have"
        case .hashWithFieldExpiry: "a hash with expiring fields, which Redis 2.8 does not have"
        case .module(let name): "a value of the module '\(name)'"
        case .moduleAuxiliaryData(let name): "data of the module '\(name)'"
        case .functionLibrary: "a library of functions, which Redis 2.8 does not have"
        }
    }
}
