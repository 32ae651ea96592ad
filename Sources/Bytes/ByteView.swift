// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

public import Glibc

/// A view of bytes that somebody else owns: an argument in the input buffer, a value in the mapped keyspace.
///
/// It is two words, costs nothing to make or slice, and checks its bounds. What it cannot check is that its owner
/// still stands, so this is the rule for whoever holds one: **a view lives until its owner changes**. A view of an
/// argument lives as long as the command that it belongs to; a view of a stored value lives until the next change of
/// the keyspace. Whoever needs the bytes for longer copies them with `Array(view)`.
@safe @frozen
public struct ByteView {
    @usableFromInline let base: UnsafePointer<UInt8>?

    /// The number of bytes.
    public let count: Int

    /// The view of `buffer`; the caller promises that its memory outlives the view.
    @inlinable @inline(__always)
    public init(_ buffer: UnsafeRawBufferPointer) {
        unsafe base = buffer.baseAddress?.assumingMemoryBound(to: UInt8.self)
        count = buffer.count
    }

    /// The view of `count` bytes from `start`; the caller promises that they outlive the view.
    @inlinable @inline(__always)
    public init(start: UnsafeRawPointer, count: Int) {
        unsafe base = start.assumingMemoryBound(to: UInt8.self)
        self.count = count
    }

    /// The view of no bytes.
    @inlinable @inline(__always)
    public init() {
        unsafe base = nil
        count = 0
    }

    /// The view of a string literal, whose bytes live as long as the program.
    @inlinable @inline(__always)
    public init(_ literal: StaticString) {
        unsafe base = literal.utf8Start
        count = literal.utf8CodeUnitCount
    }

    /// Whether there are no bytes.
    @inlinable @inline(__always)
    public var isEmpty: Bool { count == 0 }

    /// The bytes as raw memory, with the same lifetime as the view.
    @inlinable @inline(__always)
    @unsafe public var rawBuffer: UnsafeRawBufferPointer {
        unsafe UnsafeRawBufferPointer(start: base, count: count)
    }

    /// The byte at `index`, which must be within `0..<count`.
    @inlinable @inline(__always)
    public subscript(index: Int) -> UInt8 {
        precondition(index >= 0 && index < count, "byte index out of range")
        return unsafe base.unsafelyUnwrapped[index]
    }

    /// The view of the bytes in `range`, which must lie within `0..<count`.
    @inlinable @inline(__always)
    public subscript(range: Range<Int>) -> ByteView {
        precondition(range.lowerBound >= 0 && range.upperBound <= count, "byte range out of range")
        guard range.lowerBound < range.upperBound else { return ByteView() }
        return unsafe ByteView(start: base.unsafelyUnwrapped + range.lowerBound, count: range.count)
    }

    /// The view without its first `length` bytes.
    @inlinable @inline(__always)
    public func dropFirst(_ length: Int) -> ByteView { self[length..<count] }

    /// The view of the first `length` bytes.
    @inlinable @inline(__always)
    public func prefix(_ length: Int) -> ByteView { self[0..<length] }

    /// Where `byte` first occurs at or after `start`, if it does; O(count).
    @inlinable
    public func firstIndex(of byte: UInt8, from start: Int = 0) -> Int? {
        var index = start
        // Eight at a time as long as none of them is it: a byte of `differences` is then 0, and only then does taking 1
        // off each byte carry into the highest bit of one that had it clear.
        let pattern = 0x0101_0101_0101_0101 &* UInt64(byte)
        while count - index >= 8 {
            let start = unsafe UnsafeRawPointer(base.unsafelyUnwrapped) + index
            let bytes = unsafe start.loadUnaligned(as: UInt64.self)
            let differences = bytes ^ pattern
            if (differences &- 0x0101_0101_0101_0101) & ~differences & 0x8080_8080_8080_8080 != 0 { break }
            index += 8
        }
        while index < count {
            if unsafe base.unsafelyUnwrapped[index] == byte { return index }
            index += 1
        }
        return nil
    }

    /// Whether the bytes are those of `text` when ASCII letters of either case count as the same.
    @inlinable
    public func equalsIgnoringCase(_ text: StaticString) -> Bool {
        guard text.utf8CodeUnitCount == count else { return false }
        for index in 0..<count {
            let byte = self[index]
            let folded = byte >= 65 && byte <= 90 ? byte | 0x20 : byte
            let wanted = unsafe text.utf8Start[index]
            if folded != (wanted >= 65 && wanted <= 90 ? wanted | 0x20 : wanted) { return false }
        }
        return true
    }

    /// Calls `body` with the view of `bytes`, which must not be kept beyond the call.
    @inlinable
    public static func with<Result, Failure: Error>(
        _ bytes: [UInt8],
        _ body: (ByteView) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        var outcome: Swift.Result<Result, Failure>?
        unsafe bytes.withUnsafeBytes { buffer in
            do throws(Failure) {
                outcome = .success(try body(unsafe ByteView(buffer)))
            } catch {
                outcome = .failure(error)
            }
        }
        return try outcome!.get()
    }

    /// Calls `body` with the view of `text` in UTF-8, which must not be kept beyond the call.
    @inlinable
    public static func with<Result, Failure: Error>(
        _ text: String,
        _ body: (ByteView) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try with(Array(text.utf8), body)
    }
}

extension ByteView: Equatable {
    /// Whether both views show the same bytes.
    @inlinable
    public static func == (left: ByteView, right: ByteView) -> Bool {
        guard left.count == right.count else { return false }
        guard left.count > 0 else { return true }
        return unsafe memcmp(left.base.unsafelyUnwrapped, right.base.unsafelyUnwrapped, left.count) == 0
    }

    /// Whether the view shows just `bytes`.
    @inlinable
    public static func == (left: ByteView, right: [UInt8]) -> Bool {
        ByteView.with(right) { left == $0 }
    }
}

extension ByteView: Sequence {
    /// Walks the bytes in order.
    @safe @frozen
    public struct Iterator: IteratorProtocol {
        @usableFromInline let view: ByteView
        @usableFromInline var index = 0

        @inlinable
        init(view: ByteView) { self.view = view }

        /// The next byte, or nil at the end.
        @inlinable @inline(__always)
        public mutating func next() -> UInt8? {
            guard index < view.count else { return nil }
            defer { index += 1 }
            return unsafe view.base.unsafelyUnwrapped[index]
        }
    }

    @inlinable
    public func makeIterator() -> Iterator { Iterator(view: self) }

    @inlinable
    public var underestimatedCount: Int { count }

    @inlinable
    public func withContiguousStorageIfAvailable<Result>(
        _ body: (UnsafeBufferPointer<UInt8>) throws -> Result
    ) rethrows -> Result? {
        unsafe try body(UnsafeBufferPointer(start: base, count: count))
    }
}

extension String {
    /// The bytes as text, with a replacement character for what is not UTF-8.
    @inlinable
    public init(_ view: ByteView) {
        self = String(decoding: Array(view), as: UTF8.self)
    }
}
