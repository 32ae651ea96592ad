// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import Bytes
import Glibc

/// The memory of a segment that is being written, for small frames behind others: where a tick brings but a request or
/// two, a `pwrite` of what they did costs a twentieth of all their CPU.
///
/// What is stored in a mapped page is in the file at once, and survives the end of the process as what was written
/// does. The first store in a page waits for the system, and so does the first after each sync; a `pwrite` always does.
@safe
final class SegmentTail: @unchecked Sendable {
    private let start: UnsafeMutableRawPointer
    private let capacity: Int
    private let pageSize = Int(getpagesize())

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

    /// Stores `frame` at `position` if all of it lies in a page that something was written to already; else false.
    @inline(__always)
    func store(_ frame: ByteView, at position: Int) -> Bool {
        let offset = position & (pageSize - 1)
        guard offset > 0, frame.count <= min(SegmentTail.longestStored, pageSize - offset),
            position + frame.count <= capacity, let bytes = unsafe frame.rawBuffer.baseAddress
        else { return false }
        unsafe memcpy(start + position, bytes, frame.count)
        return true
    }
}
