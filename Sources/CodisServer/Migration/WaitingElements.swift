// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import Keyspace

/// Elements of a value that has arrived in part, which wait to be added in the order of their rows.
///
/// Elements come in the order in which they lie at their source, which says nothing of where they go here: each of
/// them would change a page of its own somewhere in the value, and every checkpoint would write most of it. Many at a
/// time, and sorted, they change each page once.
struct WaitingElements {
    /// How many arguments belong to an element, of which the first is its name.
    private let width: Int
    /// The arguments, each behind its length.
    private var bytes: [UInt8] = []
    private var places: [Place] = []
    /// The last place of each part of the order, or -1: to sort all of them at once would hold others up.
    private var heads: [Int32] = []
    /// The part whose elements are being added, in their order, the next one last.
    private var part = 0
    private var sorted: [Place] = []

    private struct Place {
        let order: UInt64
        /// Where its arguments begin in `bytes`.
        let start: Int32
        /// The place before it in the same part, or -1.
        let previous: Int32
    }

    /// So many bytes do not wait for more: some hundred thousands of elements.
    private static let mostBytes = 16 << 20
    private static let mostPlaces = 1 << 20
    /// Longer elements are as good as their own pages, and are not to be copied.
    private static let longestElement = 4096
    /// How many bits of the order tell the part.
    private static let partBits = 12

    /// - Returns: nil if elements of values of `type` do not lie in the order of their names.
    init?(_ type: ValueType) {
        switch type {
        case .hash: width = 2
        case .set: width = 1
        case .string, .list, .sortedSet: return nil
        }
    }

    /// Whether none waits.
    var isEmpty: Bool { places.isEmpty }
    /// Whether those that wait are to be added now.
    var isFull: Bool { bytes.count >= WaitingElements.mostBytes || places.count >= WaitingElements.mostPlaces }

    /// Takes the elements in `arguments`; false if they are better added at once.
    mutating func take(_ arguments: [ByteView], _ keyspace: Keyspace) -> Bool {
        guard arguments.count % width == 0, part == 0, sorted.isEmpty, !isFull,
            arguments.allSatisfy({ $0.count <= WaitingElements.longestElement })
        else { return false }
        if places.isEmpty {
            // Growing would copy them.
            bytes.reserveCapacity(WaitingElements.mostBytes + (1 << 20))
            places.reserveCapacity(WaitingElements.mostPlaces)
            heads = Array(repeating: -1, count: 1 << WaitingElements.partBits)
        }
        for index in stride(from: 0, to: arguments.count, by: width) {
            let order = keyspace.elementOrder(arguments[index])
            let part = Int(order >> (64 - WaitingElements.partBits))
            places.append(Place(order: order, start: Int32(bytes.count), previous: heads[part]))
            heads[part] = Int32(places.count - 1)
            for argument in arguments[index..<index + width] {
                bytes.append(UInt8(truncatingIfNeeded: argument.count))
                bytes.append(UInt8(truncatingIfNeeded: argument.count >> 8))
                unsafe bytes.append(contentsOf: argument.rawBuffer)
            }
        }
        return true
    }

    /// Lends the next elements, at most `count` of them, in the order of their rows, to be added; gives the memory back
    /// behind the last.
    mutating func withNext(
        _ count: Int,
        _ body: ([ByteView]) throws(CommandError) -> Void
    ) throws(CommandError) {
        while sorted.isEmpty, part < heads.count { sortNextPart() }
        guard !sorted.isEmpty else { return removeAll() }
        var arguments: [ByteView] = []
        try ByteView.with(bytes) { bytes throws(CommandError) in
            for place in sorted.suffix(count).reversed() {
                var offset = Int(place.start)
                for _ in 0..<width {
                    let length = Int(bytes[offset]) | Int(bytes[offset + 1]) << 8
                    arguments.append(bytes[offset + 2..<offset + 2 + length])
                    offset += 2 + length
                }
            }
            try body(arguments)
        }
        sorted.removeLast(min(count, sorted.count))
    }

    private mutating func sortNextPart() {
        var index = Int(heads[part])
        part += 1
        while index >= 0 {
            sorted.append(places[index])
            index = Int(places[index].previous)
        }
        // An element that came twice is set to what came last.
        sorted.sort { ($1.order, $1.start) < ($0.order, $0.start) }
    }

    private mutating func removeAll() {
        bytes = []
        places = []
        heads = []
        part = 0
    }
}
