// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import NIOCore

/// The arguments of a command that goes on when its client sends something else: what the client has sent is kept if
/// they lie there, or else they are copied.
@safe
final class RetainedArguments {
    private let buffer: ByteBuffer
    /// Where the bytes of the buffer begin; they stay where they are as long as nobody writes to this one.
    private let start: UnsafeRawPointer
    private var places: [Place] = []

    private struct Place {
        let start: UInt32
        let count: UInt32
    }

    /// Retains the arguments of `call`.
    init(_ call: CommandCall) {
        let input = call.session.input
        let start = unsafe RetainedArguments.start(of: input)
        let received = unsafe ByteView(UnsafeRawBufferPointer(start: start, count: input.readableBytes))
        places.reserveCapacity(call.arguments.count)
        for index in 0..<call.arguments.count {
            guard let offset = received.offset(of: call.arguments[index]) else { break }
            places.append(Place(start: UInt32(offset), count: UInt32(call.arguments[index].count)))
        }
        if places.count == call.arguments.count {
            buffer = input
        } else {
            buffer = RetainedArguments.copy(call, &places)
        }
        unsafe self.start = RetainedArguments.start(of: buffer)
    }

    private static func copy(_ call: CommandCall, _ places: inout [Place]) -> ByteBuffer {
        var copy = ByteBuffer()
        copy.reserveCapacity(max(1, call.arguments.byteCount))
        places.removeAll(keepingCapacity: true)
        for index in 0..<call.arguments.count {
            let argument = call.arguments[index]
            places.append(Place(start: UInt32(copy.readableBytes), count: UInt32(argument.count)))
            _ = unsafe copy.writeBytes(argument.rawBuffer)
        }
        return copy
    }

    private static func start(of buffer: ByteBuffer) -> UnsafeRawPointer {
        // There is always storage behind the address, if only of no bytes.
        unsafe buffer.withUnsafeReadableBytes { bytes in
            unsafe bytes.baseAddress ?? UnsafeRawPointer(bitPattern: 16)!
        }
    }

    /// How many there are.
    var count: Int { places.count }

    /// The argument at `index`, lent as long as this object lives.
    subscript(index: Int) -> ByteView {
        let place = places[index]
        return unsafe ByteView(UnsafeRawBufferPointer(start: start + Int(place.start), count: Int(place.count)))
    }
}

extension ByteView {
    /// Where `part` begins in this view, if it lies in it; an empty one lies anywhere.
    fileprivate func offset(of part: ByteView) -> Int? {
        guard !part.isEmpty else { return 0 }
        guard let start = unsafe rawBuffer.baseAddress, let address = unsafe part.rawBuffer.baseAddress else {
            return nil
        }
        let offset = unsafe address - start
        return offset >= 0 && offset + part.count <= count ? offset : nil
    }
}
