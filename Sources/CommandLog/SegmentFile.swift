// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import Bytes
import Glibc

/// A segment of the log that can be written: an open file with blocks for all of its bytes, and mapped.
///
/// A new one is made under a temporary name, because the offset that names it is known only when the segment before
/// is full. It becomes part of the log by its header and its name, in this order.
final class SegmentFile: Sendable {
    /// The name of the segment that is kept ready; not a segment's name, so that opening ignores and removes it.
    static let preparedName = "next.tmp"

    let file: FileDescriptor
    /// The name of the file once it is part of the log.
    let path: String
    let header: SegmentHeader
    /// The size of the file.
    let capacity: Int
    /// Where small frames are stored; nil where the system has no memory for it.
    private let tail: SegmentTail?

    var firstOffset: UInt64 { header.firstOffset }

    init(file: FileDescriptor, path: String, header: SegmentHeader, capacity: Int) {
        self.file = file
        self.path = path
        self.header = header
        self.capacity = capacity
        tail = SegmentTail(file, capacity: capacity)
    }

    /// Stores a sealed frame of one piece at `position` without a system call, if it is short and its page is open.
    @inline(__always)
    func store(_ frame: ByteView, at position: Int) -> Bool { tail?.store(frame, at: position) ?? false }

    /// Writes the `count` bytes of a sealed frame at `position`, where there is room for them.
    func write(_ pieces: inout [iovec], count: Int, at position: Int) throws(CommandLogError) {
        try unsafe file.write(&pieces, at: position)
        tail?.noteWrite(at: position, count: count)
    }
}

/// A segment to be: a preallocated file that has no offset yet.
struct PreparedSegment: Sendable {
    let file: FileDescriptor
    private(set) var capacity: Int

    /// Makes the file `next.tmp` of `capacity` bytes; throws `diskFull` and leaves nothing if there is no room.
    ///
    /// With `syncing` it is on the disk then, which need not be done with the first frames any more. That may take
    /// long, so it is for the log's own thread.
    init(directory: String, capacity: Int, syncing: Bool) throws(CommandLogError) {
        let path = directory + "/" + SegmentFile.preparedName
        file = try FileDescriptor(path, O_RDWR | O_CREAT | O_TRUNC)
        self.capacity = capacity
        do throws(CommandLogError) {
            try file.allocate(size: capacity)
            if syncing { try file.syncAll() }
        } catch {
            try FileDescriptor.remove(path)
            throw error
        }
    }

    /// Makes the file larger; throws `diskFull` and leaves it as it was if there is no room.
    mutating func extend(to newCapacity: Int) throws(CommandLogError) {
        try file.allocate(size: newCapacity)
        capacity = newCapacity
    }

    /// Gives the file its header and its name.
    ///
    /// Until the directory is synced a power loss may take the name away again, so nothing in it counts as synced
    /// before.
    func begin(directory: String, header: SegmentHeader) throws(CommandLogError) -> SegmentFile {
        try file.write(header.encoded, at: 0)
        let path = directory + "/" + SegmentHeader.fileName(firstOffset: header.firstOffset)
        try FileDescriptor.rename(file.path, to: path)
        return SegmentFile(file: file, path: path, header: header, capacity: capacity)
    }
}

/// What the log remembers of each of its segments.
struct SegmentSummary: Sendable, Equatable {
    let firstOffset: UInt64
    let path: String
    var fileBytes: Int
}
