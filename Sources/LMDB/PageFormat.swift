// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

/// How LMDB 0.9 lays out a page of a tree in its file and map.
///
/// A page is `[number: 8][unused: 2][flags: 2][the slots end at: 2][the rows begin at: 2]`, then a slot of 2 bytes for
/// each row in their order: where on the page it begins. A row of a leaf is `[length of the value: 4][flags: 2][length
/// of the key: 2][key][value]`, one of a branch `[page: 6][length of the key: 2][key]`.
enum PageFormat {
    static let slotsStart = 16
    static let keyStart = 8
    static let isBranch: UInt16 = 0x01
    static let isLeaf: UInt16 = 0x02
    /// The open transaction has taken the page.
    static let isDirty: UInt16 = 0x10
    /// The flags of overflow pages, meta pages, of leaves without lengths of keys and their sub-pages, and of pages
    /// that the open transaction has taken and let go of.
    static let isOther: UInt16 = 0x04 | 0x08 | 0x20 | 0x40 | 0x4000
    /// No tree of 64-bit page numbers is as deep.
    static let mostLevels = 32

    /// LMDB refuses longer keys.
    static let longestKey = 511

    /// What a row of a leaf may take at most, so that two fit: a longer value lies on pages of its own.
    static func longestRow(_ pageSize: Int) -> Int { ((pageSize - slotsStart) / 2 & ~1) - 2 }
}
