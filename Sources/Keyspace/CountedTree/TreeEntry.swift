// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import Glibc
internal import LMDB

/// What the entries of a counted tree are; the raw values are those of the format on disk.
enum TreeLayout: UInt8 {
    /// Elements of a list: found by position only.
    case list = 0
    /// Members of a sorted set with their scores, ordered by score and then by member: found by either way.
    case sortedSet = 1

    /// The bytes of the score in an entry.
    @inline(__always)
    var scoreLength: Int { self == .sortedSet ? 8 : 0 }
}

/// An entry of a counted tree: an element of a list, or a member with its score.
///
/// The body's bytes are the element's or the member's own, unless `isReference` says that they only stand for longer
/// ones, which lie elsewhere. For lists the tree does not look into a reference. In a sorted set it is a `LongMember`.
///
/// An entry that the tree gives is a view of a row, and lives until the next change. One that is given to the tree
/// must not lie in a row of the table that the tree changes.
struct TreeEntry {
    /// The score as an `OrderedScore`; without meaning in a list.
    var score: UInt64 = 0
    /// The element, the member, or what stands for it; at most `TreeNode.longestBody` bytes, or
    /// `LongMember.bodyLength` in a sorted set.
    var body: ByteView
    /// Whether the body stands for bytes that lie elsewhere.
    var isReference = false
}

/// A score as a number whose order, as an unsigned integer, is that of the scores.
enum OrderedScore {
    /// The number of `score`, which must not be NaN.
    @inline(__always)
    static func number(_ score: Double) -> UInt64 {
        let bits = score.bitPattern
        return bits >> 63 == 0 ? bits | 1 << 63 : ~bits
    }

    /// The score of `number`.
    @inline(__always)
    static func score(_ number: UInt64) -> Double {
        Double(bitPattern: number >> 63 != 0 ? number & ~(1 << 63) : ~number)
    }

    /// The number to compare: the two zeros, which are neighbours as numbers, are the same score.
    @inline(__always)
    static func comparable(_ number: UInt64) -> UInt64 {
        number == 0x7FFF_FFFF_FFFF_FFFF ? 0x8000_0000_0000_0000 : number
    }
}

/// A place in the order of a sorted set: the score, and among equal ones the member's bytes.
struct TreeKey {
    /// The score, as `OrderedScore.comparable`.
    let score: UInt64
    /// All bytes of the member.
    let member: ByteView

    @inline(__always)
    init(_ score: Double, _ member: ByteView) {
        self.score = OrderedScore.comparable(OrderedScore.number(score))
        self.member = member
    }
}

/// What stands in an entry for a member that is too long for it: `[head: 461][length: 8][blob id: 8]`.
///
/// So an entry has as many bytes at most as one whose member is just not too long.
struct LongMember {
    /// The longest member that stands in its entry as it is.
    static let longestPlainMember = 477
    /// How much of a longer one stands there.
    static let headLength = 461
    /// The bytes of the body that stands for one.
    static let bodyLength = headLength + 16

    /// The beginning of the member.
    let head: ByteView
    /// The length of the whole member.
    let length: Int
    /// The blob that holds the whole member.
    let blob: UInt64

    /// Reads the body of an entry that is a reference.
    init(_ body: ByteView) throws(LMDBError) {
        guard body.count == LongMember.bodyLength else { throw .corrupted }
        head = body.prefix(LongMember.headLength)
        length = Int(truncatingIfNeeded: body.littleEndian(UInt64.self, at: LongMember.headLength))
        blob = body.littleEndian(UInt64.self, at: LongMember.headLength + 8)
    }

    /// The body that stands for `member`, whose bytes are in `blob`.
    static func body(of member: ByteView, blob: UInt64) -> [UInt8] {
        var body = Array(member.prefix(headLength))
        for number in [UInt64(member.count), blob] {
            for shift in stride(from: 0, to: 64, by: 8) { body.append(UInt8(truncatingIfNeeded: number >> shift)) }
        }
        return body
    }
}

extension ByteView {
    /// Less than 0, 0 or more than 0: how the bytes compare with others, the shorter first if it begins the longer
    /// (`memcmp`).
    @inline(__always)
    func compare(_ other: ByteView) -> Int {
        let shared = Swift.min(count, other.count)
        if shared > 0 {
            let order = unsafe memcmp(
                rawBuffer.baseAddress.unsafelyUnwrapped,
                other.rawBuffer.baseAddress.unsafelyUnwrapped,
                shared
            )
            if order != 0 { return Int(order) }
        }
        return count - other.count
    }

    /// How many bytes at the beginning are the same as those of `other`.
    func commonPrefixLength(_ other: ByteView) -> Int {
        let shared = Swift.min(count, other.count)
        var length = 0
        while length < shared, self[length] == other[length] { length += 1 }
        return length
    }
}
