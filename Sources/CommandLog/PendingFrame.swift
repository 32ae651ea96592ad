// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import Bytes
import Glibc

/// The bytes of the frame that is being gathered.
///
/// They lie in chunks that never move, so that no byte is copied twice: small pieces share a chunk, a piece over
/// 1 MiB gets one of its own, and all chunks go to the file with one `pwritev`. The first chunk stays for the next
/// frame; the others are freed when the frame is written, so that one huge command does not hold its memory forever.
@safe
struct PendingFrame: ~Copyable {
    @safe
    private struct Chunk {
        let start: UnsafeMutableRawPointer
        let capacity: Int
        var used: Int
    }

    private static let chunkBytes = 256 << 10
    private static let ownChunkBytes = 1 << 20

    /// The payload gathered so far.
    private(set) var count = 0
    private var chunks: [Chunk]

    init() {
        let first = UnsafeMutableRawPointer.allocate(byteCount: Self.chunkBytes, alignment: 16)
        // The header of the frame comes before its payload, in the same chunk.
        unsafe chunks = [Chunk(start: first, capacity: Self.chunkBytes, used: FrameHeader.byteCount)]
    }

    deinit {
        for chunk in chunks { unsafe chunk.start.deallocate() }
    }

    /// Copies `bytes` to the end of the frame; O(count).
    mutating func append(_ bytes: ByteView) {
        guard !bytes.isEmpty else { return }
        let last = unsafe room(for: bytes.count)
        // `room` has made sure that the last chunk has this much left.
        unsafe memcpy(last, bytes.rawBuffer.baseAddress.unsafelyUnwrapped, bytes.count)
        // Last, as those that call this throw, and must not end in a copy: see CONTRIBUTING.md.
        count += bytes.count
    }

    /// Appends `first`, the number in decimal, and CR LF: a line of a multibulk request.
    mutating func appendLine(_ first: UInt8, _ number: Int) {
        var digits = 1
        var rest = number
        while rest >= 10 {
            digits += 1
            rest /= 10
        }
        let line = unsafe room(for: digits + 3).assumingMemoryBound(to: UInt8.self)
        unsafe line[0] = first
        rest = number
        for index in stride(from: digits, to: 0, by: -1) {
            unsafe line[index] = UInt8(48 + rest % 10)
            rest /= 10
        }
        unsafe line[digits + 1] = 13
        unsafe line[digits + 2] = 10
        count += digits + 3
    }

    /// Takes the frame back to what it was when `count` was `mark`.
    mutating func discard(to mark: Int) {
        precondition(mark >= 0 && mark <= count, "a mark of another frame")
        var excess = count - mark
        count = mark
        while excess > 0 {
            let last = chunks.count - 1
            let payload = chunks[last].used - (last == 0 ? FrameHeader.byteCount : 0)
            guard last > 0, payload <= excess else {
                chunks[last].used -= excess
                return
            }
            excess -= payload
            unsafe chunks.removeLast().start.deallocate()
        }
    }

    /// Puts the header in front; what `pieces` then gives is the frame.
    mutating func seal(offset: UInt64, syncedOffset: UInt64, identity: LogIdentity) {
        var header = FrameHeader(payloadBytes: count, offset: offset, syncedOffset: syncedOffset)
        var checksum = header.checksumOfHeader(identity: identity)
        for index in chunks.indices {
            let skipped = index == 0 ? FrameHeader.byteCount : 0
            let chunk = chunks[index]
            unsafe checksum.add(UnsafeRawBufferPointer(start: chunk.start + skipped, count: chunk.used - skipped))
        }
        header.checksum = checksum.value
        unsafe header.encode(to: chunks[0].start)
    }

    /// The memory of the sealed frame, valid until the frame is changed.
    var pieces: [iovec] {
        unsafe chunks.map { unsafe iovec(iov_base: $0.start, iov_len: $0.used) }
    }

    /// All of the sealed frame, valid until it is changed, if it lies in one piece.
    var onlyPiece: ByteView? {
        guard chunks.count == 1 else { return nil }
        return unsafe ByteView(start: chunks[0].start, count: chunks[0].used)
    }

    /// Lends the payload to `body`, a chunk at a time.
    func forEachPayloadPiece(_ body: (ByteView) -> Void) {
        for index in chunks.indices {
            let skipped = index == 0 ? FrameHeader.byteCount : 0
            let count = chunks[index].used - skipped
            // The chunk is not changed while it is lent.
            if count > 0 { body(unsafe ByteView(start: chunks[index].start + skipped, count: count)) }
        }
    }

    /// Makes room for bytes, which the caller writes and counts.
    private mutating func room(for bytes: Int) -> UnsafeMutableRawPointer {
        let last = chunks.count - 1
        if chunks[last].capacity - chunks[last].used < bytes { return unsafe roomInNewChunk(for: bytes) }
        let target = unsafe chunks[last].start + chunks[last].used
        chunks[last].used += bytes
        return unsafe target
    }

    private mutating func roomInNewChunk(for bytes: Int) -> UnsafeMutableRawPointer {
        // Chunks double, so that a frame of many small pieces does not take thousands of them.
        let doubled = min(Self.chunkBytes << min(chunks.count, 8), 64 << 20)
        let capacity = bytes > Self.ownChunkBytes ? bytes : max(bytes, doubled)
        let start = UnsafeMutableRawPointer.allocate(byteCount: capacity, alignment: 16)
        unsafe chunks.append(Chunk(start: start, capacity: capacity, used: bytes))
        return unsafe start
    }
}
