// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes

/// An entry of a packed list: the integers in them are kept as numbers.
enum PackedEntry {
    case bytes(ByteView)
    case integer(Int64)
}

/// What is wrong within a packed string, and at which of its bytes.
struct PackedError: Error, Equatable {
    let reason: StaticString
    let offset: Int

    static func == (left: PackedError, right: PackedError) -> Bool {
        left.offset == right.offset && "\(left.reason)" == "\(right.reason)"
    }
}

/// Either of the two packed lists, walked from the front once, in time and memory linear in its bytes.
enum PackedList {
    case ziplist(ZiplistReader)
    case listpack(ListpackReader)

    /// The next entry, or nil at the end.
    mutating func next() throws(PackedError) -> PackedEntry? {
        switch self {
        case .ziplist(var reader):
            let entry = try reader.next()
            self = .ziplist(reader)
            return entry
        case .listpack(var reader):
            let entry = try reader.next()
            self = .listpack(reader)
            return entry
        }
    }

    /// The number of entries, where its header says it.
    var declaredCount: Int? {
        switch self {
        case .ziplist(let reader): reader.declaredCount
        case .listpack(let reader): reader.declaredCount
        }
    }
}
