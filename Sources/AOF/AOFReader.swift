// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

public import Bytes
public import RESP

/// What can be wrong with an append-only file; offsets count from where the reader began.
public enum AOFError: Error, Equatable, Sendable {
    /// The file ends within a command; everything before `offset` is whole.
    case truncated(offset: UInt64)
    /// What stands at `offset` is no command.
    case malformed(offset: UInt64)
}

/// Reads the commands of an append-only file (Redis 2.8: aof.c, loadAppendOnlyFile).
///
/// The bytes come in chunks from whoever has them; never more than one command and one chunk are in memory. Lines that
/// begin with `#`, which Redis 7 writes as time stamps, are passed over.
public final class AOFReader {
    private let nextChunk: (inout [UInt8]) throws -> Void
    private var buffer: [UInt8] = []
    /// How much of the buffer is done with.
    private var start = 0
    private var isAtEnd = false
    private var decoder = RESPRequestDecoder()

    /// The number of bytes that are done with: where the next command begins.
    public private(set) var offset: UInt64 = 0

    /// A reader of what `nextChunk` appends to the buffer that it is given; nothing means the end.
    ///
    /// What it throws is thrown on by ``next(_:)``.
    public init(nextChunk: @escaping (inout [UInt8]) throws -> Void) { self.nextChunk = nextChunk }

    /// Calls `body` with the next command and the bytes that it stands in, both lent for the call.
    ///
    /// - Returns: false at the end of the file.
    /// - Throws: `AOFError`, what `body` throws, and what reading throws.
    public func next(_ body: (borrowing RESPRequestDecoder, ByteView) throws -> Void) throws -> Bool {
        while true {
            switch try step(body) {
            case .command: return true
            case .passedOver: continue
            case .needsMore:
                if isAtEnd {
                    if start == buffer.count { return false }
                    throw AOFError.truncated(offset: offset)
                }
                try readMore()
            }
        }
    }

    private enum Step {
        case command
        case passedOver
        case needsMore
    }

    private func step(_ body: (borrowing RESPRequestDecoder, ByteView) throws -> Void) throws -> Step {
        var done = 0
        defer {
            start += done
            offset += UInt64(done)
        }
        return try ByteView.with(buffer) { whole throws -> Step in
            let rest = whole.dropFirst(start)
            guard rest.count > 0 else { return .needsMore }
            if rest[0] == UInt8(ascii: "#") {
                guard let end = rest.firstIndex(of: UInt8(ascii: "\n")) else { return .needsMore }
                done = end + 1
                return .passedOver
            }
            guard rest[0] == UInt8(ascii: "*") else { throw AOFError.malformed(offset: offset) }
            let outcome: RESPRequestDecoder.Outcome
            do throws(RESPError) {
                outcome = try decoder.decode(rest)
            } catch {
                throw AOFError.malformed(offset: offset)
            }
            switch outcome {
            case .incomplete: return .needsMore
            // A command of no words: Redis writes none.
            case .ignored: throw AOFError.malformed(offset: offset)
            case .request(let consumed):
                try body(decoder, rest.prefix(consumed))
                done = consumed
                return .command
            }
        }
    }

    private func readMore() throws {
        if start > 0 {
            buffer.removeSubrange(0..<start)
            start = 0
        }
        let count = buffer.count
        try nextChunk(&buffer)
        isAtEnd = buffer.count == count
    }
}
