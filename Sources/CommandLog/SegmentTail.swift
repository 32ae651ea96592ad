// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import Bytes
import Glibc

/// The memory of a segment that is being written, for small frames behind others: where a tick brings but a request or
/// two, a `pwrite` of what they did costs a twentieth of all their CPU.
///
/// What is stored in a mapped page is in the file at once, and survives the end of the process as what was written
/// does. The first store in a page waits for the system, and so does the first after each sync; a `pwrite` always does.
/// A disk that fails, or a file system that needs a new block to write a block again and has none, shows itself there
/// as a signal, not as an error: as it does with the data file, which is mapped too.
///
/// Only the thread that appends uses it.
@safe
final class SegmentTail: @unchecked Sendable {
    private let start: UnsafeMutableRawPointer
    private let capacity: Int
    private let pageSize = Int(getpagesize())
    /// The page that may be stored in, by its number, or -1: one that a short `pwrite` has begun.
    ///
    /// The system keeps what a long one wrote, or what was read ahead, in larger pieces, and a store would have it
    /// write all of a piece.
    private var openPage = -1

    /// With longer frames too few share a page, which has to be mapped for the first.
    private static let longestStored = 1024

    /// Maps the file, which has blocks for all of its `capacity` bytes; nil if the system cannot.
    init?(_ file: FileDescriptor, capacity: Int) {
        let memory = unsafe mmap(nil, capacity, PROT_READ | PROT_WRITE, MAP_SHARED, file.number, 0)
        guard let memory = unsafe memory, unsafe memory != MAP_FAILED else { return nil }
        unsafe start = memory
        self.capacity = capacity
    }

    deinit { unsafe munmap(start, capacity) }

    /// Stores `frame` at `position` if all of it lies in the open page; else false.
    ///
    /// A function that throws must not end with it: see CONTRIBUTING.md.
    @inline(__always)
    func store(_ frame: ByteView, at position: Int) -> Bool {
        let end = position + frame.count
        guard position / pageSize == openPage, frame.count <= SegmentTail.longestStored,
            (end - 1) / pageSize == openPage, end <= capacity, let bytes = unsafe frame.rawBuffer.baseAddress
        else { return false }
        unsafe memcpy(start + position, bytes, frame.count)
        return true
    }

    /// Hears that `count` bytes were written at `position` by other means.
    func noteWrite(at position: Int, count: Int) {
        let last = (position + count - 1) / pageSize
        if count > pageSize {
            openPage = -1
        } else if last > (position - 1) / pageSize {
            openPage = last
        }
    }
}
