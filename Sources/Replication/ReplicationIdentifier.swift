// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

/// The name of one history of the stream: 40 hexadecimal digits, which 2.8 calls the master's run id.
///
/// Two servers that have a history in common have the same bytes of the stream at the same offsets.
public struct ReplicationIdentifier: Hashable, Sendable, CustomStringConvertible {
    /// How many digits there are.
    public static let digitCount = 40

    /// The digits, in lower case.
    public let digits: [UInt8]

    /// The identifier with these digits, in any case; nil if they are not 40 hexadecimal ones.
    public init?(_ digits: some Collection<UInt8>) {
        guard digits.count == Self.digitCount else { return nil }
        var lower: [UInt8] = []
        lower.reserveCapacity(Self.digitCount)
        for digit in digits {
            switch digit {
            case 0x30...0x39, 0x61...0x66: lower.append(digit)
            case 0x41...0x46: lower.append(digit | 0x20)
            default: return nil
            }
        }
        self.digits = lower
    }

    /// The identifier that `text` spells; nil if it spells none.
    public init?(_ text: some StringProtocol) { self.init(Array(text.utf8)) }

    /// Draws a new identifier.
    public static func random() -> ReplicationIdentifier {
        var generator = SystemRandomNumberGenerator()
        return random(using: &generator)
    }

    /// Draws a new identifier with `generator`.
    public static func random(using generator: inout some RandomNumberGenerator) -> ReplicationIdentifier {
        let letters = Array("0123456789abcdef".utf8)
        return ReplicationIdentifier(
            drawn: (0..<digitCount).map { _ in letters[Int.random(in: 0..<16, using: &generator)] }
        )
    }

    private init(drawn digits: [UInt8]) { self.digits = digits }

    public var description: String { String(decoding: digits, as: UTF8.self) }
}
