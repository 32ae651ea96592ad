// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

extension [Range<Int>] {
    /// The same in their order, those that overlap or have no more than `gap` between them as one; O(n log n).
    public func joined(upTo gap: Int) -> [Range<Int>] {
        var joined: [Range<Int>] = []
        for range in sorted(by: { $0.lowerBound < $1.lowerBound }) where !range.isEmpty {
            if let last = joined.last, range.lowerBound - last.upperBound <= gap {
                joined[joined.count - 1] = last.lowerBound..<Swift.max(last.upperBound, range.upperBound)
            } else {
                joined.append(range)
            }
        }
        return joined
    }
}
