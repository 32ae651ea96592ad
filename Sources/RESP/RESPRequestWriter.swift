// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

public import Bytes
public import NIOCore

/// Requests as multibulk, into the bytes of the command log: a header, then that many arguments.
extension [UInt8] {
    /// Appends the digits of `value`.
    @inlinable
    public mutating func appendDecimal(_ value: Int64) {
        if value >= 0, value < 10 { return append(0x30 + UInt8(truncatingIfNeeded: value)) }
        unsafe withUnsafeTemporaryAllocation(byteCount: DecimalNumber.maximumLength, alignment: 1) { digits in
            let count = unsafe DecimalNumber.write(value, to: digits.baseAddress.unsafelyUnwrapped)
            unsafe append(contentsOf: UnsafeRawBufferPointer(rebasing: digits[0..<count]))
        }
    }

    /// Appends `*argumentCount`; so many arguments must follow.
    @inlinable
    public mutating func appendRequestHeader(argumentCount: Int) {
        append(UInt8(ascii: "*"))
        appendDecimal(Int64(argumentCount))
        append(0x0D)
        append(0x0A)
    }

    /// Appends `argument` with its length.
    @inlinable
    public mutating func appendRequestArgument(_ argument: ByteView) {
        append(UInt8(ascii: "$"))
        appendDecimal(Int64(argument.count))
        append(0x0D)
        append(0x0A)
        unsafe append(contentsOf: argument.rawBuffer)
        append(0x0D)
        append(0x0A)
    }

    /// Appends `argument` with its length.
    @inlinable
    public mutating func appendRequestArgument(_ argument: StaticString) {
        appendRequestArgument(ByteView(argument))
    }

    /// Appends the digits of `argument` with their number.
    @inlinable
    public mutating func appendRequestArgument(_ argument: Int64) {
        unsafe withUnsafeTemporaryAllocation(byteCount: DecimalNumber.maximumLength, alignment: 1) { digits in
            let count = unsafe DecimalNumber.write(argument, to: digits.baseAddress.unsafelyUnwrapped)
            appendRequestArgument(
                unsafe ByteView(start: UnsafeRawPointer(digits.baseAddress.unsafelyUnwrapped), count: count)
            )
        }
    }

    /// Appends a whole request.
    public mutating func appendRequest(_ arguments: [[UInt8]]) {
        appendRequestHeader(argumentCount: arguments.count)
        for argument in arguments { ByteView.with(argument) { appendRequestArgument($0) } }
    }

    /// Appends a whole request whose arguments are text.
    public mutating func appendRequest(_ arguments: [String]) {
        appendRequest(arguments.map { Array($0.utf8) })
    }
}

/// Requests as multibulk, into what is sent to another server.
extension ByteBuffer {
    /// Writes `*argumentCount`; so many arguments must follow.
    @inlinable
    public mutating func writeRequestHeader(argumentCount: Int) {
        writeLengthLine(type: UInt8(ascii: "*"), Int64(argumentCount))
    }

    /// Writes `argument` with its length.
    @inlinable
    public mutating func writeRequestArgument(_ argument: ByteView) {
        writeReplyBulk(argument)
    }

    /// Writes `argument` with its length.
    @inlinable
    public mutating func writeRequestArgument(_ argument: StaticString) {
        writeReplyBulk(ByteView(argument))
    }

    /// Writes the digits of `argument` with their number.
    @inlinable
    public mutating func writeRequestArgument(_ argument: Int64) {
        writeReplyBulk(argument)
    }

    /// Writes a whole request.
    public mutating func writeRequest(_ arguments: [[UInt8]]) {
        writeRequestHeader(argumentCount: arguments.count)
        for argument in arguments { ByteView.with(argument) { writeReplyBulk($0) } }
    }

    /// Writes a whole request whose arguments are text.
    public mutating func writeRequest(_ arguments: [String]) {
        writeRequest(arguments.map { Array($0.utf8) })
    }
}
