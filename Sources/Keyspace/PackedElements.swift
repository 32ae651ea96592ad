// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes

/// The elements of a small collection, packed into the payload of its row.
///
/// `[count: 2]`, then for each element of a list or set `[length][bytes]`, of a hash `[length][field][length][value]`
/// in the order in which fields were added, of a sorted set `[score: 8][length][member]` in its order. Lengths take a
/// byte for each seven of their bits, the lowest first, with the top bit set when another follows.
@safe
final class PackedElements {
    /// `[count]`.
    static let headLength = 2
    private static let capacity = 2048

    private let memory: UnsafeMutableRawPointer
    /// The bytes in use, the head among them.
    private(set) var length = PackedElements.headLength

    init() {
        unsafe memory = UnsafeMutableRawPointer.allocate(byteCount: PackedElements.capacity, alignment: 16)
        count = 0
    }

    deinit {
        unsafe memory.deallocate()
    }

    /// How many elements there are, which whoever adds or removes some says.
    var count: Int {
        get { Int(unsafe UInt16(littleEndian: memory.loadUnaligned(as: UInt16.self))) }
        set { unsafe memory.storeBytes(of: UInt16(newValue).littleEndian, as: UInt16.self) }
    }

    /// All bytes, until the next change.
    @inline(__always)
    var view: ByteView { unsafe ByteView(start: UnsafeRawPointer(memory), count: length) }

    /// Becomes a copy of `payload`, or empty.
    func set(_ payload: ByteView) {
        guard payload.count >= PackedElements.headLength else {
            length = PackedElements.headLength
            count = 0
            return
        }
        length = PackedElements.headLength
        count = Int(payload.littleEndian(UInt16.self, at: 0))
        let rest = payload.dropFirst(PackedElements.headLength)
        makeRoom(at: length, removing: 0, adding: rest.count)
        write(rest, at: PackedElements.headLength)
    }

    /// Becomes the `length` bytes that `body` writes.
    @inline(__always)
    func write(length: Int, _ body: (inout RowWriter) -> Void) {
        var writer = unsafe RowWriter(UnsafeMutableRawBufferPointer(start: memory, count: PackedElements.capacity))
        body(&writer)
        precondition(writer.length == length, "a payload of another length")
        self.length = length
    }

    /// The bytes that `count` bytes take with their length before them.
    @inline(__always)
    static func packedLength(_ count: Int) -> Int { (count < 128 ? 1 : count < 16384 ? 2 : 3) + count }

    /// Whether a payload may be so long.
    @inline(__always)
    static func fits(_ length: Int) -> Bool { length <= Record.longestCollectionPayload }

    /// Puts `bytes` with their length in the place of the bytes in `range`.
    func replace(_ range: Range<Int>, packing bytes: ByteView) {
        let packedLength = PackedElements.packedLength(bytes.count)
        makeRoom(at: range.lowerBound, removing: range.count, adding: packedLength)
        writePacked(bytes, at: range.lowerBound)
    }

    /// Puts the 8 bytes of `number`, little-endian, and `bytes` with their length at `offset`.
    func insert(_ number: UInt64, packing bytes: ByteView, at offset: Int) {
        makeRoom(at: offset, removing: 0, adding: 8 + PackedElements.packedLength(bytes.count))
        unsafe memory.storeBytes(of: number.littleEndian, toByteOffset: offset, as: UInt64.self)
        writePacked(bytes, at: offset + 8)
    }

    /// Puts `bytes` with their length behind all others.
    func append(_ bytes: ByteView) { replace(length..<length, packing: bytes) }

    /// Takes the bytes in `range` out.
    func remove(_ range: Range<Int>) { makeRoom(at: range.lowerBound, removing: range.count, adding: 0) }

    private func makeRoom(at offset: Int, removing: Int, adding: Int) {
        let end = offset + removing
        precondition(offset >= PackedElements.headLength && removing >= 0 && end <= length, "packed range out of range")
        precondition(length - removing + adding <= PackedElements.capacity, "packed elements outgrew their row")
        unsafe (memory + offset + adding).copyMemory(from: memory + end, byteCount: length - end)
        length += adding - removing
    }

    private func writePacked(_ bytes: ByteView, at offset: Int) {
        var offset = offset
        var rest = bytes.count
        while rest >= 128 {
            unsafe memory.storeBytes(of: UInt8(truncatingIfNeeded: rest) | 0x80, toByteOffset: offset, as: UInt8.self)
            offset += 1
            rest >>= 7
        }
        unsafe memory.storeBytes(of: UInt8(rest), toByteOffset: offset, as: UInt8.self)
        write(bytes, at: offset + 1)
    }

    private func write(_ bytes: ByteView, at offset: Int) {
        guard bytes.count > 0 else { return }
        let source = unsafe bytes.rawBuffer
        unsafe (memory + offset).copyMemory(from: source.baseAddress.unsafelyUnwrapped, byteCount: source.count)
    }
}

/// Reads packed elements one after another; damaged bytes look like the end.
struct PackedReader {
    private let bytes: ByteView
    /// Where the next element begins.
    private(set) var offset = PackedElements.headLength

    @inline(__always)
    init(_ payload: ByteView) { bytes = payload }

    /// Whether all bytes were read.
    var isAtEnd: Bool { offset == bytes.count }

    /// The next bytes, without the length before them.
    @inline(__always)
    mutating func next() -> ByteView? {
        guard offset < bytes.count else { return nil }
        var start = offset + 1
        var length = Int(bytes[offset])
        if length >= 128 {
            length &= 0x7F
            var shift = 7
            while true {
                guard start < bytes.count, shift < 28 else { return nil }
                let byte = bytes[start]
                start += 1
                length |= Int(byte & 0x7F) << shift
                if byte < 128 { break }
                shift += 7
            }
        }
        guard length <= bytes.count - start else { return nil }
        offset = start + length
        return bytes[start..<offset]
    }

    /// The next 8 bytes as a number.
    mutating func nextNumber() -> UInt64? {
        guard offset + 8 <= bytes.count else { return nil }
        defer { offset += 8 }
        return bytes.littleEndian(UInt64.self, at: offset)
    }

    /// The range of the entry that begins with `name`, when each entry is of one or two packed elements.
    ///
    /// O(length); `value` is the range of the second element with its length, or empty.
    @inline(__always)
    static func find(
        _ name: ByteView,
        in payload: ByteView,
        hasValues: Bool
    ) -> (entry: Range<Int>, value: Range<Int>)? {
        var reader = PackedReader(payload)
        while true {
            let start = reader.offset
            guard let found = reader.next() else { return nil }
            let middle = reader.offset
            if hasValues { guard reader.next() != nil else { return nil } }
            if found == name { return (start..<reader.offset, middle..<reader.offset) }
        }
    }
}
