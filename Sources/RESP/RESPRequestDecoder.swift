// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

public import Bytes
import Glibc

/// Finds the requests in what a client sent: multibulk requests (`*2\r\n$3\r\nGET\r\n…`) and inline ones (`GET key`).
///
/// It does no I/O and keeps no bytes. ``decode(_:)`` is given the bytes from the first one of the request on; as long
/// as the request is incomplete it is given the same start again with more bytes behind it, and goes on where it
/// stopped, so that the work is linear in the bytes however they arrive. The outcome depends only on the bytes, never
/// on how they were cut.
///
/// After a request, ``argument(_:in:)`` lends its arguments. Nothing is allocated for a request that has no more
/// arguments than an earlier one had. Redis 2.8: networking.c, processMultibulkBuffer and processInlineBuffer.
public struct RESPRequestDecoder {
    /// What the given bytes begin with.
    public enum Outcome: Equatable, Sendable {
        /// A request of `consumed` bytes; its arguments can be asked for.
        case request(consumed: Int)
        /// `consumed` bytes that ask for nothing: an empty line, `*0`, `*-1`.
        case ignored(consumed: Int)
        /// A part of a request, of which at least `needed` bytes must be there to get on. It is a hint for making
        /// room; fewer may be presented.
        case incomplete(needed: Int)
    }

    /// Where an argument is, counted from the first byte of the request.
    @usableFromInline
    struct Argument {
        @usableFromInline var start: Int
        @usableFromInline var count: Int
    }

    /// The number of arguments of the request decoded last, its name included.
    public private(set) var argumentCount = 0

    /// Whether the bytes of the request are just those that a writer of requests would have written, so that they can
    /// be appended to the command log as they are: the received ones, or ``rewrittenRequest`` where there is one.
    ///
    /// What else passes are other bytes than a line end after a header or an argument, since they are skipped unread.
    public private(set) var isCanonical = true

    /// Whether the request came inline; ``rewrittenRequest`` then holds it.
    public private(set) var isInline = false

    /// An inline request as canonical multibulk, to which the arguments then refer; nil for multibulk requests.
    public var rewrittenRequest: [UInt8]? { isInline ? rewritten : nil }

    /// How many arguments there is always room for.
    private static let leastRoom = 16
    /// The most arguments for which room is kept after the request that needed it.
    private static let mostRoomKept = 4_096

    /// Room for arguments; only those below `argumentCount` mean anything.
    @usableFromInline
    var arguments = ContiguousArray(repeating: Argument(start: 0, count: 0), count: Self.leastRoom)
    private var rewritten: [UInt8] = []
    private var words: [UInt8] = []

    /// The bytes parsed so far, or 0 at the start of a request.
    private var position = 0
    /// How far the unfinished line at `position` was searched for its end.
    private var searched = 0
    /// The arguments that the request in progress announced.
    private var announced = 0
    /// The arguments of the request in progress found so far.
    private var found = 0
    /// The length of the argument that begins at `position`, or -1 if its header stands there.
    private var bulkLength = -1
    private var isCanonicalSoFar = true

    #if DEBUG
    /// Counts headers and bytes looked at, for the test that the work is linear.
    private(set) var work = 0
    #endif

    /// A decoder at the start of a request.
    public init() {}

    /// The argument at `index`, which must be below ``argumentCount``.
    ///
    /// `input` is what ``decode(_:)`` was given, or the view of ``rewrittenRequest`` where there is one.
    @inlinable @inline(__always)
    public func argument(_ index: Int, in input: ByteView) -> ByteView {
        precondition(index >= 0 && index < argumentCount, "argument index out of range")
        let argument = arguments[index]
        return input[argument.start..<argument.start + argument.count]
    }

    /// Forgets the request in progress.
    public mutating func reset() {
        position = 0
        searched = 0
        announced = 0
        found = 0
        bulkLength = -1
        isCanonicalSoFar = true
    }

    /// Decodes the request at the start of `input`.
    ///
    /// Throws what makes the stream invalid; the decoder is then only good for ``reset()``.
    public mutating func decode(_ input: ByteView) throws(RESPError) -> Outcome {
        let count = input.count
        guard count > 0 else { return .incomplete(needed: 1) }
        guard input[0] == UInt8(ascii: "*") else { return try decodeInline(input) }
        // Within `input.rawBuffer` all reads below are at offsets that were compared with `count` before.
        let base = unsafe input.rawBuffer.baseAddress.unsafelyUnwrapped
        if announced == 0, count >= 4 {
            // `*3\r\n`: nearly every request has from one to nine arguments.
            let argumentsBeyondOne = unsafe base.load(fromByteOffset: 1, as: UInt8.self) &- 0x31
            if argumentsBeyondOne <= 8, unsafe base.load(fromByteOffset: 2, as: UInt8.self) == 0x0D {
                announced = Int(argumentsBeyondOne) + 1
                position = 4
                searched = 0
                isCanonicalSoFar = unsafe base.load(fromByteOffset: 3, as: UInt8.self) == 0x0A
            }
        }
        if announced == 0 {
            switch unsafe lengthLine(base, from: 0, count: count) {
            case .length(let length, let end):
                guard length > 0 else {
                    reset()
                    return .ignored(consumed: end)
                }
                announced = length
                position = end
                if arguments.count > Self.mostRoomKept {
                    arguments = ContiguousArray(repeating: Argument(start: 0, count: 0), count: Self.leastRoom)
                }
            case .incomplete(let needed): return .incomplete(needed: needed)
            case .tooLong: throw .tooBigMultibulkCount
            case .invalid: throw .invalidMultibulkLength
            }
        }
        while true {
            switch unsafe decodeArguments(base, count: count) {
            case .complete:
                return finish()
            case .noRoom:
                // Not what was announced but what arrived decides how much room is made.
                arguments.append(contentsOf: repeatElement(Argument(start: 0, count: 0), count: arguments.count))
            case .incomplete(let needed):
                return .incomplete(needed: needed)
            case .failed(let error):
                throw error
            }
        }
    }

    private mutating func finish() -> Outcome {
        let consumed = position
        argumentCount = found
        isCanonical = isCanonicalSoFar
        isInline = false
        reset()
        return .request(consumed: consumed)
    }

    // MARK: - Multibulk

    private enum Progress {
        case complete
        case noRoom
        case incomplete(needed: Int)
        case failed(RESPError)
    }

    /// Takes arguments from `position` on until the request is complete, the bytes end, or `arguments` is full.
    private mutating func decodeArguments(_ base: UnsafeRawPointer, count: Int) -> Progress {
        // The array is taken out, so that its uniqueness is looked at once per call rather than once per argument.
        var storage = ContiguousArray<Argument>()
        swap(&storage, &arguments)
        defer { swap(&storage, &arguments) }
        return unsafe storage.withUnsafeMutableBufferPointer { slots in
            unsafe decodeArguments(base, count: count, into: slots)
        }
    }

    @inline(__always)
    private mutating func decodeArguments(
        _ base: UnsafeRawPointer,
        count: Int,
        into slots: UnsafeMutableBufferPointer<Argument>
    ) -> Progress {
        let target = unsafe slots.baseAddress.unsafelyUnwrapped
        let room = slots.count
        let announced = announced
        var found = found
        var position = position
        var isCanonical = isCanonicalSoFar
        defer {
            self.found = found
            self.position = position
            isCanonicalSoFar = isCanonical
        }
        while found < announced {
            guard found < room else { return .noRoom }
            var length = bulkLength
            if length < 0 {
                length = unsafe shortLength(base, &position, count: count, canonical: &isCanonical)
                if length < 0 {
                    isCanonicalSoFar = isCanonical
                    switch unsafe lengthLine(base, from: position, count: count) {
                    case .length(let value, let end):
                        guard unsafe base.load(fromByteOffset: position, as: UInt8.self) == UInt8(ascii: "$") else {
                            return unsafe .failed(
                                .expectedBulk(got: base.load(fromByteOffset: position, as: UInt8.self))
                            )
                        }
                        guard value >= 0, value <= RESPLimits.bulkLength else { return .failed(.invalidBulkLength) }
                        length = value
                        position = end
                        isCanonical = isCanonicalSoFar
                    case .incomplete(let needed): return .incomplete(needed: needed)
                    case .tooLong: return .failed(.tooBigBulkCount)
                    case .invalid:
                        let first = unsafe base.load(fromByteOffset: position, as: UInt8.self)
                        return .failed(first == UInt8(ascii: "$") ? .invalidBulkLength : .expectedBulk(got: first))
                    }
                }
            }
            let end = position &+ length &+ 2
            guard end <= count else {
                bulkLength = length
                return .incomplete(needed: end)
            }
            bulkLength = -1
            unsafe target[found] = Argument(start: position, count: length)
            isCanonical =
                unsafe isCanonical
                && base.loadUnaligned(fromByteOffset: end &- 2, as: UInt16.self) == UInt16(littleEndian: 0x0A0D)
            position = end
            found &+= 1
            #if DEBUG
            work += 1
            #endif
        }
        return .complete
    }

    /// Takes the header of an argument at `position` if all of it is there and it is spelled as nearly every client
    /// spells it, and gives its length; otherwise gives -1 and takes nothing.
    @inline(__always)
    private func shortLength(
        _ base: UnsafeRawPointer,
        _ position: inout Int,
        count: Int,
        canonical: inout Bool
    ) -> Int {
        var index = position
        // `$`, one digit, line end: then there is also no reason to look for the end of the bytes at each digit.
        guard index &+ 4 <= count else { return -1 }
        guard unsafe base.load(fromByteOffset: index, as: UInt8.self) == UInt8(ascii: "$") else { return -1 }
        let first = unsafe base.load(fromByteOffset: index &+ 1, as: UInt8.self) &- 0x30
        guard first <= 9 else { return -1 }
        var length = Int(first)
        index &+= 2
        // Up to eight digits, so the limit on the length cannot be exceeded; nine are left to the general way.
        let last = min(first == 0 ? index : index &+ 7, count &- 2)
        while true {
            guard index <= last else { return -1 }
            let byte = unsafe base.load(fromByteOffset: index, as: UInt8.self)
            if byte == 0x0D { break }
            let digit = byte &- 0x30
            guard digit <= 9 else { return -1 }
            length = length &* 10 &+ Int(digit)
            index &+= 1
        }
        if unsafe base.load(fromByteOffset: index &+ 1, as: UInt8.self) != 0x0A { canonical = false }
        position = index &+ 2
        return length
    }

    private enum LengthLine {
        /// The number in the line, and where the line ends.
        case length(Int, end: Int)
        case incomplete(needed: Int)
        case tooLong
        case invalid
    }

    /// Reads the line at `start`: a byte for its type, a canonical integer, `\r`, and any one byte.
    ///
    /// A zero byte before the `\r` hides it, so such a line can only become too long.
    private mutating func lengthLine(_ base: UnsafeRawPointer, from start: Int, count: Int) -> LengthLine {
        let limit = start + RESPLimits.lineLength
        let stop = min(count, limit + 1)
        var index = max(start, searched)
        while index < stop {
            #if DEBUG
            work += 1
            #endif
            let byte = unsafe base.load(fromByteOffset: index, as: UInt8.self)
            if byte == 0x0D { break }
            if byte == 0 {
                // Nothing behind the zero byte is looked at, but that there are enough bytes to give up.
                searched = index
                return count > limit ? .tooLong : .incomplete(needed: limit + 1)
            }
            index += 1
        }
        searched = index
        guard index < stop else { return count > limit ? .tooLong : .incomplete(needed: count + 1) }
        guard index + 1 < count else { return .incomplete(needed: index + 2) }
        let text =
            index > start
            ? unsafe ByteView(start: base + start + 1, count: index - start - 1)
            : ByteView()
        guard let length = DecimalNumber.canonical(text), length <= RESPLimits.bulkLength else { return .invalid }
        if start == 0, length > RESPLimits.argumentCount { return .invalid }
        if unsafe base.load(fromByteOffset: index + 1, as: UInt8.self) != 0x0A { isCanonicalSoFar = false }
        searched = 0
        return .length(Int(length), end: index + 2)
    }

    // MARK: - Inline

    private mutating func decodeInline(_ input: ByteView) throws(RESPError) -> Outcome {
        let stop = min(input.count, RESPLimits.lineLength + 1)
        var index = searched
        while index < stop {
            #if DEBUG
            work += 1
            #endif
            let byte = input[index]
            if byte == 0x0A {
                reset()
                let end = index > 0 && input[index - 1] == 0x0D ? index - 1 : index
                return try rewrite(input.prefix(end)) ? .request(consumed: index + 1) : .ignored(consumed: index + 1)
            }
            if byte == 0 {
                // As in a header, a zero byte hides all that follows it.
                searched = index
                guard input.count <= RESPLimits.lineLength else { throw .tooBigInlineRequest }
                return .incomplete(needed: RESPLimits.lineLength + 1)
            }
            index += 1
        }
        searched = index
        guard input.count <= RESPLimits.lineLength else { throw .tooBigInlineRequest }
        return .incomplete(needed: input.count + 1)
    }

    /// Turns an inline request into a multibulk one in `rewritten`, and tells whether it has any argument.
    private mutating func rewrite(_ line: ByteView) throws(RESPError) -> Bool {
        var splitter = RESPRequestSplitter(line)
        var count = 0
        words.removeAll(keepingCapacity: true)
        while true {
            let start = words.count
            guard try splitter.next(appendingTo: &words) else { break }
            // Empty words are dropped: `SET key ""` is a request of two arguments.
            guard words.count > start else { continue }
            if count == arguments.count { arguments.append(Argument(start: 0, count: 0)) }
            arguments[count] = Argument(start: start, count: words.count - start)
            count += 1
        }
        guard count > 0 else { return false }
        rewritten.removeAll(keepingCapacity: true)
        rewritten.appendRequestHeader(argumentCount: count)
        for index in 0..<count {
            let word = arguments[index]
            rewritten.append(UInt8(ascii: "$"))
            rewritten.appendDecimal(Int64(word.count))
            rewritten.append(0x0D)
            rewritten.append(0x0A)
            arguments[index].start = rewritten.count
            rewritten.append(contentsOf: words[word.start..<word.start + word.count])
            rewritten.append(0x0D)
            rewritten.append(0x0A)
        }
        argumentCount = count
        isCanonical = true
        isInline = true
        return true
    }
}
