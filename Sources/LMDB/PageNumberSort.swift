// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

/// Sorts numbers of pages digit by digit, in O(n).
enum PageNumberSort {
    private static let digitBits = 11
    private static let digits = 1 << digitBits

    /// Sorts the numbers in `memory`, the greatest first.
    static func sortDescending(_ memory: UnsafeMutableBufferPointer<Int>) {
        guard memory.count > 1 else { return }
        let all = unsafe memory.reduce(0, |)
        var other = unsafe [Int](memory)
        unsafe other.withUnsafeMutableBufferPointer { buffer in
            var source = unsafe memory
            var target = unsafe buffer
            var shift = 0
            while shift < Int.bitWidth, all >> shift != 0 {
                unsafe spread(source, to: target, shift: shift)
                unsafe swap(&source, &target)
                shift += digitBits
            }
            if unsafe source.baseAddress != memory.baseAddress { _ = unsafe memory.update(from: source) }
        }
    }

    /// Brings the numbers into the order of one of their digits, and leaves them else as they are.
    private static func spread(
        _ source: UnsafeMutableBufferPointer<Int>,
        to target: UnsafeMutableBufferPointer<Int>,
        shift: Int
    ) {
        var ends = [Int](repeating: 0, count: digits)
        for index in 0..<source.count { unsafe ends[source[index] >> shift & (digits - 1)] += 1 }
        var start = 0
        for digit in stride(from: digits - 1, through: 0, by: -1) {
            let count = ends[digit]
            ends[digit] = start
            start += count
        }
        for index in 0..<source.count {
            let number = unsafe source[index]
            let digit = number >> shift & (digits - 1)
            unsafe target[ends[digit]] = number
            ends[digit] += 1
        }
    }
}
