// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

public import Bytes

/// The types of values.
public enum RDBKind: Equatable, Sendable, CaseIterable {
    /// Bytes.
    case string
    /// Strings in an order.
    case list
    /// Different strings.
    case set
    /// Different strings, each with a score.
    case sortedSet
    /// Different fields, each with a value.
    case hash
}

/// One piece of a value, in reading and in writing; the views live as long as whoever gives it says.
public enum RDBElement {
    /// The whole of a string.
    case string(ByteView)
    /// The next element of a list, from head to tail.
    case listElement(ByteView)
    /// A member of a set.
    case setMember(ByteView)
    /// A member of a sorted set.
    case sortedSetMember(ByteView, score: Double)
    /// A field of a hash.
    case hashField(ByteView, value: ByteView)

    /// The type of value it belongs to.
    @inlinable
    public var kind: RDBKind {
        switch self {
        case .string: .string
        case .listElement: .list
        case .setMember: .set
        case .sortedSetMember: .sortedSet
        case .hashField: .hash
        }
    }
}

/// What must be known of a value before its first element is written.
public struct RDBValueShape: Equatable, Sendable {
    /// How elements are laid out.
    public enum Form: Equatable, Sendable {
        /// One after the other: lists with encoding `linkedlist`, sets and hashes with `hashtable`, sorted sets with
        /// `skiplist`, and all strings.
        case plain
        /// In one packed string: a ziplist for lists, hashes and sorted sets, an intset for sets.
        case compact
    }

    /// The type.
    public let kind: RDBKind
    /// The layout.
    public let form: Form
    /// The number of elements that will follow; a field with its value is one, and so is a string.
    public let count: Int

    /// A value of `count` elements.
    public init(_ kind: RDBKind, _ form: Form = .plain, count: Int) {
        self.kind = kind
        self.form = form
        self.count = count
    }

    /// A string.
    public static let string = RDBValueShape(.string, count: 1)

    /// The type byte of version 6.
    var valueType: RDBFormat.ValueType {
        switch (kind, form) {
        case (.string, _): .string
        case (.list, .plain): .list
        case (.list, .compact): .listZiplist
        case (.set, .plain): .set
        case (.set, .compact): .setIntset
        case (.sortedSet, .plain): .sortedSet
        case (.sortedSet, .compact): .sortedSetZiplist
        case (.hash, .plain): .hash
        case (.hash, .compact): .hashZiplist
        }
    }
}
