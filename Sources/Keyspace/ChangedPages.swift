// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

/// Where in the data file the commits since the last checkpoint have changed pages.
struct ChangedPages {
    /// How many were changed in each part of the file.
    private var counts: [UInt32] = []

    /// The pages of a part: 2 MiB.
    private static let part = 512
    /// From so many changed pages on, closing all of a part costs less than closing these one by one.
    private static let many: UInt32 = 32

    /// Hears which pages a transaction has taken; O(n).
    mutating func add(_ pages: [Int]) {
        for page in pages {
            let index = page / ChangedPages.part
            while counts.count <= index { counts.append(contentsOf: repeatElement(0, count: counts.count + 64)) }
            counts[index] += 1
        }
    }

    /// The parts of the file, as ranges of pages, in which many pages were changed; neighbours are one range.
    var crowdedRanges: [Range<Int>] {
        var ranges: [Range<Int>] = []
        for index in counts.indices where counts[index] >= ChangedPages.many {
            let start = index * ChangedPages.part
            let end = start + ChangedPages.part
            if let last = ranges.last, last.upperBound == start {
                ranges[ranges.count - 1] = last.lowerBound..<end
            } else {
                ranges.append(start..<end)
            }
        }
        return ranges
    }
}
