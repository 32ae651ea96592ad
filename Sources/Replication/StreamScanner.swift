// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

public import Bytes
internal import RESP

/// Finds out how far the received part of the stream can be applied: up to the last whole command, and not into the
/// middle of a transaction.
///
/// MULTI and what follows up to EXEC is one unit, which is applied and written into the log as a whole.
public struct StreamScanner {
    private var decoder = RESPRequestDecoder()
    /// What was looked at beyond the last whole unit: the commands of a transaction that goes on.
    private var scanned = 0
    private var isInTransaction = false

    /// A scanner at the beginning of a command.
    public init() {}

    /// How many bytes at the start of `input` are whole units, or line ends between them.
    ///
    /// `input` begins with what was not consumed the last time; what is found whole must be consumed.
    ///
    /// - Throws: `StreamError.invalid` if the bytes are no stream of commands.
    public mutating func wholeUnits(in input: ByteView) throws(StreamError) -> Int {
        var whole = 0
        var offset = scanned
        scan: while offset < input.count {
            let rest = input.dropFirst(offset)
            let outcome: RESPRequestDecoder.Outcome
            do throws(RESPError) {
                outcome = try decoder.decode(rest)
            } catch {
                throw .invalid("\(error)")
            }
            switch outcome {
            case .incomplete:
                break scan
            case .ignored:
                throw .invalid("an empty request")
            case .request(let consumed):
                guard !decoder.isInline else { throw .invalid("an inline request") }
                let name = decoder.argument(0, in: rest)
                offset += consumed
                if isInTransaction {
                    isInTransaction = !name.equalsIgnoringCase("exec")
                } else {
                    isInTransaction = name.equalsIgnoringCase("multi")
                }
                if !isInTransaction { whole = offset }
            }
        }
        scanned = offset - whole
        return whole
    }
}

/// Why a stream cannot be followed.
public enum StreamError: Error, Equatable, Sendable, CustomStringConvertible {
    /// It is no stream of commands.
    case invalid(String)

    public var description: String {
        switch self {
        case .invalid(let reason): "the master's stream holds \(reason)"
        }
    }
}
