// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

public import Bytes

/// The bytes of a value or of one of its elements: a view, or where they lie in rows of their own.
///
/// It lives as a view does: until the next change of the keyspace. A `RowReader` reads the bytes in pieces.
public struct ElementBytes {
    /// The number of bytes.
    public let count: Int
    /// The bytes, when `object` is 0.
    let view: ByteView
    /// The object whose rows hold the bytes.
    let object: UInt64
    /// The blob of that object, or 0 for the chunks of a string.
    let blob: UInt64
    /// The slot table of those rows.
    let home: UInt16

    /// Bytes that lie together.
    @inline(__always)
    public init(_ view: ByteView) {
        count = view.count
        self.view = view
        object = 0
        blob = 0
        home = 0
    }

    /// Bytes in rows of `object`.
    init(count: Int, object: UInt64, blob: UInt64, home: UInt16) {
        self.count = count
        view = ByteView()
        self.object = object
        self.blob = blob
        self.home = home
    }

    /// The bytes, when they lie together; nil when they must be read in pieces.
    @inline(__always)
    public var inline: ByteView? { object == 0 ? view : nil }
}

extension Record {
    /// The bytes of the string that the record is of.
    public var stringBytes: ElementBytes {
        object == 0
            ? ElementBytes(payload) : ElementBytes(count: count, object: object, blob: 0, home: home)
    }
}

/// A piece of a value, as values are walked and built.
public enum ValueElement {
    /// A string as a whole; when building, several follow one another.
    case string(ElementBytes)
    /// The next element of a list.
    case element(ElementBytes)
    /// A member of a set.
    case member(ElementBytes)
    /// A field of a hash.
    case field(ElementBytes, value: ElementBytes)
    /// A member of a sorted set.
    case scored(ElementBytes, score: Double)
}

/// Where a walk over the elements of a value stands, so that it can go on later.
///
/// It holds while the value itself is not changed.
public struct ElementPosition {
    /// How many elements were passed.
    public internal(set) var passed = 0
    /// Whether there are no more.
    public internal(set) var isAtEnd = false
    /// The key of the row that was passed last, where the order is that of rows.
    var lastRowKey: [UInt8] = []

    /// Before the first element.
    public init() {}
}

/// How many elements, and how long, a collection may have for the compact form of Redis.
public struct EncodingLimits: Sendable {
    /// The most elements.
    public var entries: Int
    /// The most bytes of an element, or of a field or value of a hash.
    public var bytes: Int

    /// Limits, as redis.conf names them.
    public init(entries: Int, bytes: Int) {
        self.entries = entries
        self.bytes = bytes
    }
}
