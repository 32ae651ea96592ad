// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

public import Bytes

/// Finds the replies in what a server sent.
///
/// As ``RESPRequestDecoder`` it is given the same start again, with more bytes, until a reply is complete, and does
/// nothing twice. What it accepts is limited in depth, bytes and elements, because the sender is not to be trusted.
public struct RESPReplyDecoder {
    /// What the given bytes begin with.
    public enum Outcome: Equatable, Sendable {
        /// A reply, `consumed` bytes long.
        case reply(RESPReply, consumed: Int)
        /// A part of a reply, of which at least `needed` bytes must be there to get on.
        case incomplete(needed: Int)
    }

    /// How deep arrays may be nested.
    public let maximumDepth: Int
    /// How many bytes one reply may have.
    public let maximumBytes: Int

    /// An array in progress.
    private struct Level {
        var missing: Int
        var elements: [RESPReply] = []
    }

    private var levels: [Level] = []
    private var position = 0
    private var searched = 0
    private var bulkLength = -1

    /// A decoder at the start of a reply.
    public init(maximumDepth: Int = 32, maximumBytes: Int = 1 << 30) {
        self.maximumDepth = maximumDepth
        self.maximumBytes = maximumBytes
    }

    /// Forgets the reply in progress.
    public mutating func reset() {
        levels = []
        position = 0
        searched = 0
        bulkLength = -1
    }

    /// Decodes the reply at the start of `input`.
    ///
    /// Throws what makes the stream invalid; the decoder is then only good for ``reset()``.
    public mutating func decode(_ input: ByteView) throws(RESPError) -> Outcome {
        while true {
            guard let parsed = try next(input) else {
                let needed = bulkLength >= 0 ? position + bulkLength + 2 : input.count + 1
                guard needed <= maximumBytes else { throw .replyTooLarge }
                return .incomplete(needed: needed)
            }
            if case .opened = parsed { continue }
            guard case .value(var reply) = parsed else { continue }
            while true {
                guard var level = levels.popLast() else {
                    let consumed = position
                    reset()
                    return .reply(reply, consumed: consumed)
                }
                level.elements.append(reply)
                level.missing -= 1
                if level.missing > 0 {
                    levels.append(level)
                    break
                }
                reply = .array(level.elements)
            }
        }
    }

    private enum Parsed {
        case value(RESPReply)
        case opened
    }

    /// Takes one reply, or the header of an array, at `position`; nil if more bytes are needed.
    private mutating func next(_ input: ByteView) throws(RESPError) -> Parsed? {
        if bulkLength >= 0 { return try bulk(input) }
        guard position < input.count else { return nil }
        let type = input[position]
        guard "+-:$*".utf8.contains(type) else { throw .invalidReplyType(type) }
        guard let line = try line(input) else { return nil }
        switch type {
        case UInt8(ascii: "+"): return .value(.status(Array(line)))
        case UInt8(ascii: "-"): return .value(.error(Array(line)))
        default: break
        }
        guard let number = DecimalNumber.canonical(line) else { throw .invalidReply }
        switch type {
        case UInt8(ascii: ":"): return .value(.integer(number))
        case UInt8(ascii: "$"):
            if number == -1 { return .value(.nullBulk) }
            guard number >= 0 else { throw .invalidReply }
            guard number <= Int64(maximumBytes) else { throw .replyTooLarge }
            bulkLength = Int(number)
            return try bulk(input)
        default:
            if number == -1 { return .value(.nullArray) }
            if number == 0 { return .value(.array([])) }
            guard number > 0 else { throw .invalidReply }
            // An element has three bytes at least.
            guard number <= Int64(maximumBytes / 3) else { throw .replyTooLarge }
            guard levels.count < maximumDepth else { throw .replyTooDeep }
            levels.append(Level(missing: Int(number)))
            return .opened
        }
    }

    /// Takes the line at `position`, without its type and its end; nil if its end is not there.
    private mutating func line(_ input: ByteView) throws(RESPError) -> ByteView? {
        let start = position + 1
        guard let end = input.firstIndex(of: 0x0D, from: max(start, searched)), end + 1 < input.count else {
            searched = max(start, input.count - 1)
            guard input.count < maximumBytes else { throw .replyTooLarge }
            return nil
        }
        guard input[end + 1] == 0x0A else { throw .invalidReply }
        guard end + 2 <= maximumBytes else { throw .replyTooLarge }
        position = end + 2
        searched = 0
        return input[start..<end]
    }

    private mutating func bulk(_ input: ByteView) throws(RESPError) -> Parsed? {
        let end = position + bulkLength
        guard end + 2 <= maximumBytes else { throw .replyTooLarge }
        guard end + 2 <= input.count else { return nil }
        guard input[end] == 0x0D, input[end + 1] == 0x0A else { throw .invalidReply }
        let bytes = Array(input[position..<end])
        position = end + 2
        bulkLength = -1
        return .value(.bulk(bytes))
    }
}
