// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import RESP

/// The arguments of the command that runs, its name the first.
///
/// They are views of what the client sent: none may be kept beyond the command.
@safe
struct Arguments: ~Copyable {
    private var views: UnsafeMutablePointer<ByteView>
    private var capacity: Int
    /// How many there are, at least 1 while a command runs.
    private(set) var count = 0

    /// How many arguments there is always room for.
    private static let leastRoom = 32
    /// The most for which room is kept after the command that needed it.
    private static let mostRoomKept = 4096

    init() {
        capacity = Arguments.leastRoom
        unsafe views = .allocate(capacity: capacity)
    }

    deinit {
        unsafe views.deallocate()
    }

    /// The argument at `index`, which must be below `count`.
    @inline(__always)
    subscript(index: Int) -> ByteView {
        precondition(index >= 0 && index < count, "argument index out of range")
        return unsafe views[index]
    }

    /// Takes the arguments of the request that `decoder` found in `input`.
    @inline(__always)
    mutating func take(_ decoder: borrowing RESPRequestDecoder, in input: ByteView) {
        let count = decoder.argumentCount
        if count > capacity || capacity > Arguments.mostRoomKept { makeRoom(for: count) }
        for index in 0..<count {
            // There is room for `count` views, which are trivial values.
            unsafe views[index] = decoder.argument(index, in: input)
        }
        self.count = count
    }

    /// Takes the arguments of the request at the start of `bytes`, which was queued and must outlive the command.
    mutating func takeRequest(in bytes: ByteView) {
        var decoder = RESPRequestDecoder()
        guard case .request? = try? decoder.decode(bytes) else {
            preconditionFailure("what was queued is no request any more")
        }
        take(decoder, in: bytes)
    }

    /// The same, without a copy of a decoder that is a property of an object; it is not changed.
    @inline(__always)
    mutating func take(_ decoder: inout RESPRequestDecoder, in input: ByteView) {
        take(decoder, in: input)
    }

    /// Takes `arguments`, whose bytes must outlive the command.
    mutating func take(_ arguments: [ByteView]) {
        makeRoom(for: arguments.count)
        for index in arguments.indices { unsafe views[index] = arguments[index] }
        count = arguments.count
    }

    /// Has room for `count` arguments, each of which must then be set.
    @inline(__always)
    mutating func begin(count: Int) {
        if count > capacity || capacity > Arguments.mostRoomKept { makeRoom(for: count) }
        self.count = count
    }

    /// Makes `view`, whose bytes must outlive the command, the argument at `index`.
    @inline(__always)
    mutating func set(_ index: Int, _ view: ByteView) {
        precondition(index >= 0 && index < count, "argument index out of range")
        unsafe views[index] = view
    }

    private mutating func makeRoom(for count: Int) {
        let wanted = max(Arguments.leastRoom, count)
        guard wanted > capacity || capacity > Arguments.mostRoomKept else { return }
        unsafe views.deallocate()
        capacity = wanted
        unsafe views = .allocate(capacity: wanted)
        self.count = 0
    }

    // MARK: Numbers

    /// The integer at `index`, or the error that it is none.
    @inline(__always)
    func integer(at index: Int) throws(CommandError) -> Int64 {
        guard let value = DecimalNumber.lenient(self[index]) else { throw .notAnInteger }
        return value
    }

    /// The integer at `index`, nil if it is none.
    @inline(__always)
    func optionalInteger(at index: Int) -> Int64? { DecimalNumber.lenient(self[index]) }

    /// The bytes of all arguments.
    var byteCount: Int { (0..<count).reduce(0) { $0 + self[$1].count } }

    // MARK: Copies

    /// The argument at `index` as text.
    func text(at index: Int) -> String { String(self[index]) }

    /// The arguments as bytes of one's own.
    func copy() -> [[UInt8]] { (0..<count).map { Array(self[$0]) } }
}
