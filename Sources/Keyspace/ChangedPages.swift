// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import LMDB

/// The pages of the data file that the commits since the last checkpoint have changed.
struct ChangedPages: Sendable {
    /// As the transactions have told them.
    private var taken: [[Range<Int>]] = []
    /// Whether any page may have been changed.
    private var areAny = false

    /// So many pages between two that were changed are brought to the disk with them rather than by two calls.
    private static let gap = 16
    /// The most pages of a range: 512 KiB.
    private static let most = 128

    /// Hears which pages a transaction has taken; O(1).
    mutating func add(_ pages: [Range<Int>]) {
        if !areAny { taken.append(pages) }
    }

    /// Hears that any page may have been changed.
    mutating func addAny() {
        areAny = true
        taken = []
    }

    /// The pages and `more` in their order, in ranges of a limited length; O(n log n).
    ///
    /// What LMDB takes lies together mostly, behind the end of the data or among pages that were free. The file has
    /// `count` pages.
    func ranges(with more: [Range<Int>], of count: Int) -> [Range<Int>] {
        let all = areAny ? [0..<count] : Array(taken.joined()) + more
        return all.joined(upTo: ChangedPages.gap).flatMap { range in
            stride(from: range.lowerBound, to: range.upperBound, by: ChangedPages.most).map {
                $0..<min($0 + ChangedPages.most, range.upperBound)
            }
        }
    }
}
