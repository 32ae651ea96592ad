// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

/// A reply of a server, as a test compares it.
public enum TestReply: Equatable, Hashable, Sendable {
    /// `+OK`.
    case status(String)
    /// `-ERR ...`, without the minus.
    case error(String)
    /// `:1`.
    case integer(Int64)
    /// `$3`: a string of any bytes.
    case bulk([UInt8])
    /// `$-1`.
    case nullBulk
    /// `*2`: replies in order.
    case array([TestReply])
    /// `*-1`.
    case nullArray
}

extension TestReply {
    /// The status reply of a command which has nothing else to say.
    public static let ok = TestReply.status("OK")

    /// A string reply with the UTF-8 bytes of `text`.
    public static func bulk(_ text: String) -> TestReply { .bulk(Array(text.utf8)) }

    /// An array of string replies.
    public static func bulks(_ texts: String...) -> TestReply { .array(texts.map { .bulk($0) }) }

    /// An array of integer replies.
    public static func integers(_ numbers: Int64...) -> TestReply { .array(numbers.map { .integer($0) }) }

    /// The bytes of a string reply; nil for any other reply.
    public var bytes: [UInt8]? {
        guard case .bulk(let bytes) = self else { return nil }
        return bytes
    }

    /// The text of a status, an error or a string reply; nil for any other reply.
    public var text: String? {
        switch self {
        case .status(let text), .error(let text): text
        case .bulk(let bytes): String(decoding: bytes, as: UTF8.self)
        case .integer, .nullBulk, .array, .nullArray: nil
        }
    }

    /// The number of an integer reply; nil for any other reply.
    public var number: Int64? {
        guard case .integer(let number) = self else { return nil }
        return number
    }

    /// The elements of an array; nil for any other reply.
    public var elements: [TestReply]? {
        guard case .array(let elements) = self else { return nil }
        return elements
    }

    /// Whether the reply is an error.
    public var isError: Bool {
        guard case .error = self else { return false }
        return true
    }
}

extension TestReply: ExpressibleByStringLiteral {
    /// A string reply, so that `server("GET k") == "v"` reads as it does at a prompt.
    public init(stringLiteral text: String) { self = .bulk(text) }
}

extension TestReply: CustomStringConvertible {
    /// The reply as redis-cli would print it, on one line; long strings are cut.
    public var description: String {
        switch self {
        case .status(let text): text
        case .error(let text): "(error) \(text)"
        case .integer(let number): "(integer) \(number)"
        case .bulk(let bytes): printable(bytes)
        case .nullBulk: "(nil)"
        case .array(let elements): "[" + elements.map(\.description).joined(separator: ", ") + "]"
        case .nullArray: "(nil array)"
        }
    }
}

/// `bytes` in double quotes with escapes for what cannot be printed, at most `limit` of them.
public func printable(_ bytes: some Collection<UInt8>, limit: Int = 200) -> String {
    var text = "\""
    for byte in bytes.prefix(limit) {
        switch byte {
        case UInt8(ascii: "\""): text += "\\\""
        case UInt8(ascii: "\\"): text += "\\\\"
        case UInt8(ascii: "\n"): text += "\\n"
        case UInt8(ascii: "\r"): text += "\\r"
        case 0x20...0x7E: text.unicodeScalars.append(Unicode.Scalar(byte))
        default: text += "\\x" + (byte < 16 ? "0" : "") + String(byte, radix: 16)
        }
    }
    return bytes.count > limit ? text + "\"... (\(bytes.count) bytes)" : text + "\""
}
