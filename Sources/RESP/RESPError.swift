// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

/// What made the bytes of a request or of a reply invalid.
///
/// After any of these the stream cannot be trusted any more: the server sends ``errorLine`` and closes the connection.
public enum RESPError: Error, Equatable, Sendable {
    /// The number after `*` is not a canonical integer or exceeds 1,048,576.
    case invalidMultibulkLength
    /// The number after `$` is not a canonical integer, is negative, or exceeds 512 MB.
    case invalidBulkLength
    /// An argument does not begin with `$` but with `got`.
    case expectedBulk(got: UInt8)
    /// No line end within 64 KiB of a `*`.
    case tooBigMultibulkCount
    /// No line end within 64 KiB of where an argument begins.
    case tooBigBulkCount
    /// No line end within the first 64 KiB of an inline request.
    case tooBigInlineRequest
    /// A quote of an inline request is not closed, or is followed by something else than a blank.
    case unbalancedQuotes

    /// A reply begins with a byte that names no type of reply.
    case invalidReplyType(UInt8)
    /// A reply holds something else than a number where a number has to be, or has no line end where one has to be.
    case invalidReply
    /// A reply has arrays within arrays beyond the decoder's limit.
    case replyTooDeep
    /// A reply exceeds the decoder's limit in bytes or elements.
    case replyTooLarge

    /// What the client is told, without the leading `-` and the line end.
    ///
    /// These are bytes, not text, because a byte of the request may be part of it. For requests they are those of
    /// Redis 2.8 (networking.c); line ends within the text become blanks, as in every formatted error.
    public var errorLine: [UInt8] {
        switch self {
        case .invalidMultibulkLength: Array("ERR Protocol error: invalid multibulk length".utf8)
        case .invalidBulkLength: Array("ERR Protocol error: invalid bulk length".utf8)
        case .expectedBulk(let got):
            Array("ERR Protocol error: expected '$', got '".utf8) + [got == 13 || got == 10 ? 32 : got, 39]
        case .tooBigMultibulkCount: Array("ERR Protocol error: too big mbulk count string".utf8)
        case .tooBigBulkCount: Array("ERR Protocol error: too big bulk count string".utf8)
        case .tooBigInlineRequest: Array("ERR Protocol error: too big inline request".utf8)
        case .unbalancedQuotes: Array("ERR Protocol error: unbalanced quotes in request".utf8)
        case .invalidReplyType: Array("ERR Protocol error: invalid reply type".utf8)
        case .invalidReply: Array("ERR Protocol error: invalid reply".utf8)
        case .replyTooDeep: Array("ERR Protocol error: reply nested too deeply".utf8)
        case .replyTooLarge: Array("ERR Protocol error: too big reply".utf8)
        }
    }
}

/// The limits that Redis 2.8 puts on requests (redis.h, networking.c).
public enum RESPLimits {
    /// The greatest number of arguments of one request.
    public static let argumentCount = 1_048_576
    /// The greatest length of one argument in bytes: 512 MB.
    public static let bulkLength = 536_870_912
    /// How many bytes a header line or an inline request may have before its line end.
    public static let lineLength = 65_536
}
