// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import Bytes
import RESP

/// What must hold for every input whatever, checked by the tests and by the fuzzers.
enum RESPProperties {
    /// What a decoder made of a stream.
    enum Event: Equatable {
        case request([[UInt8]], isCanonical: Bool, isInline: Bool, bytes: [UInt8])
        case ignored([UInt8])
        case reply(RESPReply, bytes: [UInt8])
        case failure(RESPError)
        /// A decoder broke its contract.
        case broken(String)
    }

    /// The first property that `bytes` break, or nil.
    static func violation(_ bytes: [UInt8]) -> String? {
        let requests = requestEvents(bytes, cuts: [])
        let replies = replyEvents(bytes, cuts: [])
        for cuts in ways(toCut: bytes.count) {
            let cutRequests = requestEvents(bytes, cuts: cuts)
            if cutRequests != requests {
                return "requests cut at \(cuts.prefix(3)): \(cutRequests) instead of \(requests)"
            }
            let cutReplies = replyEvents(bytes, cuts: cuts)
            if cutReplies != replies {
                return "replies cut at \(cuts.prefix(3)): \(cutReplies) instead of \(replies)"
            }
        }
        for event in requests + replies {
            if let violation = roundTripViolation(event) { return violation }
        }
        return splitterViolation(bytes)
    }

    /// Uncut, byte by byte, in threes, and in two pieces: all ways of short inputs, a sample of long ones.
    private static func ways(toCut count: Int) -> [[Int]] {
        guard count > 1 else { return [] }
        var ways = [Array(1..<count), Array(stride(from: 3, to: count, by: 3))]
        for cut in stride(from: 1, to: count, by: max(1, count / 64)) { ways.append([cut]) }
        return ways
    }

    /// Feeds `bytes` to a request decoder, as if the pieces between `cuts` had arrived one by one.
    static func requestEvents(_ bytes: [UInt8], cuts: [Int]) -> [Event] {
        var decoder = RESPRequestDecoder()
        var events: [Event] = []
        var start = 0
        var needed = 0
        for end in cuts + [bytes.count] {
            while true {
                // A copy, so that the address differs each time and the sanitizer sees a read beyond the end.
                let input = Array(bytes[start..<end])
                let outcome: RESPRequestDecoder.Outcome
                do throws(RESPError) {
                    outcome = try ByteView.with(input) { view throws(RESPError) in try decoder.decode(view) }
                } catch {
                    if input.count < needed { events.append(.broken("failed before \(needed) bytes")) }
                    return events + [.failure(error)]
                }
                if case .incomplete(let next) = outcome {
                    if next <= input.count { return events + [.broken("needed \(next) of \(input.count)")] }
                    needed = next
                    break
                }
                if input.count < needed { events.append(.broken("complete before \(needed) bytes")) }
                needed = 0
                switch outcome {
                case .request(let consumed):
                    let bytes = decoder.rewrittenRequest ?? Array(input.prefix(consumed))
                    let arguments = ByteView.with(bytes) { view in
                        (0..<decoder.argumentCount).map { Array(decoder.argument($0, in: view)) }
                    }
                    events.append(
                        .request(
                            arguments,
                            isCanonical: decoder.isCanonical,
                            isInline: decoder.isInline,
                            bytes: bytes
                        )
                    )
                    start += consumed
                case .ignored(let consumed):
                    events.append(.ignored(Array(input.prefix(consumed))))
                    start += consumed
                case .incomplete: break
                }
            }
        }
        return events
    }

    /// Feeds `bytes` to a reply decoder, as if the pieces between `cuts` had arrived one by one.
    static func replyEvents(_ bytes: [UInt8], cuts: [Int]) -> [Event] {
        var decoder = RESPReplyDecoder(maximumDepth: 8, maximumBytes: 100_000)
        var events: [Event] = []
        var start = 0
        for end in cuts + [bytes.count] {
            while true {
                let input = Array(bytes[start..<end])
                let outcome: RESPReplyDecoder.Outcome
                do throws(RESPError) {
                    outcome = try ByteView.with(input) { view throws(RESPError) in try decoder.decode(view) }
                } catch {
                    return events + [.failure(error)]
                }
                guard case .reply(let reply, let consumed) = outcome else { break }
                events.append(.reply(reply, bytes: Array(input.prefix(consumed))))
                start += consumed
            }
        }
        return events
    }

    private static func roundTripViolation(_ event: Event) -> String? {
        guard case .request(let arguments, let isCanonical, let isInline, let bytes) = event else {
            if case .broken(let reason) = event { return reason }
            return nil
        }
        var written: [UInt8] = []
        written.appendRequest(arguments)
        guard
            requestEvents(written, cuts: [])
                == [.request(arguments, isCanonical: true, isInline: false, bytes: written)]
        else { return "written, \(arguments) is read otherwise" }
        if isCanonical != (written == bytes) { return "\(bytes) is canonical, or not, against what was said" }
        if isInline, !isCanonical { return "an inline request was not rewritten canonically" }
        return nil
    }

    private static func splitterViolation(_ bytes: [UInt8]) -> String? {
        guard let words = ByteView.with(bytes, { RESPRequestSplitter.splitArguments($0) }) else { return nil }
        var line: [UInt8] = []
        for word in words {
            ByteView.with(word) { line.appendQuoted($0) }
            line.append(0x20)
        }
        let again = ByteView.with(line) { RESPRequestSplitter.splitArguments($0) }
        return again == words ? nil : "quoted, \(words) are split as \(String(describing: again))"
    }
}
