// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

/// A list that each tick fills and empties.
///
/// To append to an array and to empty it takes about a hundred instructions (callgrind), which adds up where most ticks
/// have one request or two in them, as they do where requests are not pipelined; here it takes a few.
@safe
struct TickList<Element: BitwiseCopyable>: ~Copyable {
    private var elements: UnsafeMutablePointer<Element>
    private var capacity = 16
    private(set) var count = 0

    init() { unsafe elements = .allocate(capacity: capacity) }

    deinit { unsafe elements.deallocate() }

    var isEmpty: Bool { count == 0 }

    /// The element at `index`, which must be one.
    @inline(__always)
    subscript(index: Int) -> Element {
        precondition(index >= 0 && index < count)
        return unsafe elements[index]
    }

    /// Adds `element` at the end.
    @inline(__always)
    mutating func append(_ element: Element) {
        if count == capacity { grow(to: count + 1) }
        unsafe elements[count] = element
        count += 1
    }

    /// Puts all of `others` before the element at `index`, or at the end; O(n).
    mutating func insert(contentsOf others: borrowing TickList, at index: Int) {
        precondition(index >= 0 && index <= count)
        if count + others.count > capacity { grow(to: count + others.count) }
        unsafe (elements + index + others.count).update(from: elements + index, count: count - index)
        unsafe (elements + index).update(from: others.elements, count: others.count)
        count += others.count
    }

    /// Removes the first elements, so many; O(n).
    mutating func removeFirst(_ removed: Int) {
        precondition(removed >= 0 && removed <= count)
        count -= removed
        if count > 0 { unsafe elements.update(from: elements + removed, count: count) }
    }

    /// Removes all elements, and keeps their room.
    @inline(__always)
    mutating func removeAll() { count = 0 }

    @inline(never)
    private mutating func grow(to least: Int) {
        let room = max(least, capacity * 2)
        let larger = UnsafeMutablePointer<Element>.allocate(capacity: room)
        unsafe larger.update(from: elements, count: count)
        unsafe elements.deallocate()
        unsafe elements = larger
        capacity = room
    }
}
