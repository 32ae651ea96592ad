// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import Bytes
import Glibc

/// A segment mapped into memory for reading: what recovery and the printer walk through.
///
/// Views of payloads live as long as the object. The file must not become shorter meanwhile.
@safe
final class MappedSegment {
    let path: String
    let file: FileDescriptor
    /// The first offset that the file's name tells.
    let nameOffset: UInt64
    let bytes: ByteView

    init(path: String, nameOffset: UInt64) throws(CommandLogError) {
        self.path = path
        self.nameOffset = nameOffset
        file = try FileDescriptor(path, O_RDONLY)
        let size = try file.size()
        guard size > 0 else {
            bytes = ByteView()
            return
        }
        let memory = unsafe mmap(nil, size, PROT_READ, MAP_SHARED, file.number, 0)
        guard let memory = unsafe memory, unsafe memory != MAP_FAILED else {
            throw .system(operation: "mmap", path: path, code: errno)
        }
        bytes = unsafe ByteView(start: memory, count: size)
    }

    deinit {
        if !bytes.isEmpty {
            unsafe munmap(UnsafeMutableRawPointer(mutating: bytes.rawBuffer.baseAddress), bytes.count)
        }
    }

    /// The header, whatever it is.
    var header: SegmentHeader.Reading { SegmentHeader.read(bytes) }

    /// What stands at a position where a frame should begin.
    enum FrameReading {
        case frame(FrameHeader, payload: ByteView)
        /// Nothing was ever written here.
        case nothing
        case bad(reason: String)

        var reason: String {
            switch self {
            case .frame: "good"
            case .nothing: "no frame where one was written"
            case .bad(let reason): reason
            }
        }
    }

    /// Reads the frame at `position`, which should begin with the stream offset `offset`.
    ///
    /// The payload is checked against the checksum unless the caller does not need it.
    func frame(
        at position: Int,
        offset: UInt64,
        identity: LogIdentity,
        verifying: Bool = true
    ) -> FrameReading {
        guard bytes.count - position >= FrameHeader.byteCount else { return .nothing }
        let header = FrameHeader(bytes, at: position)
        if header.payloadBytes == 0 {
            let isZero = header.checksum == 0 && header.offset == 0 && header.syncedOffset == 0
            return isZero ? .nothing : .bad(reason: "a frame without a length")
        }
        let start = position + FrameHeader.byteCount
        guard header.offset == offset else { return .bad(reason: "a frame of another offset") }
        guard header.payloadBytes <= bytes.count - start else { return .bad(reason: "a frame longer than its segment") }
        let payload = bytes[start..<start + header.payloadBytes]
        if verifying {
            var checksum = header.checksumOfHeader(identity: identity)
            unsafe checksum.add(payload.rawBuffer)
            guard checksum.value == header.checksum else { return .bad(reason: "wrong checksum") }
        }
        return .frame(header, payload: payload)
    }

    /// What lies behind the place where the frames stop.
    struct Remains {
        /// The highest stream offset that a good frame there says was synced.
        var syncedOffset: UInt64 = 0
        /// The position after the last byte that is not zero, or nil when all are.
        var end: Int?
    }

    /// Looks through everything from `position` on for frames that are still good, at whatever position.
    ///
    /// `offset` is the stream offset that should stand at `position`: only later ones count. Holes of the file are
    /// skipped without being read, so this costs nothing where the file is as it was preallocated. `found` gets the
    /// position, the header and the payload of each frame.
    func remains(
        from position: Int,
        offset: UInt64,
        identity: LogIdentity,
        found: (Int, FrameHeader, ByteView) -> Void = { _, _, _ in }
    ) -> Remains {
        var remains = Remains()
        var next = position
        while next < bytes.count, let data = file.nextData(from: next) {
            let end = min(file.nextHole(from: data, size: bytes.count), bytes.count)
            var current = max(next, data)
            while current < end {
                if skipZeros(from: &current, to: end) { continue }
                if bytes[current] != 0 { remains.end = max(remains.end ?? 0, current + 1) }
                guard let (header, payload) = laterFrame(at: current, end: end, from: position, offset, identity) else {
                    current += 1
                    continue
                }
                found(current, header, payload)
                remains.syncedOffset = max(remains.syncedOffset, header.syncedOffset)
                current += FrameHeader.byteCount + payload.count
                remains.end = max(remains.end ?? 0, current)
            }
            next = max(end, current)
        }
        return remains
    }

    /// Moves `position` to where something may stand, and tells whether it has moved.
    private func skipZeros(from position: inout Int, to end: Int) -> Bool {
        guard end - position >= 8, bytes.littleEndian(at: position, as: UInt64.self) == 0 else { return false }
        var after = position + 8
        while end - after >= 8, bytes.littleEndian(at: after, as: UInt64.self) == 0 { after += 8 }
        // A frame's length may begin with three zero bytes, but not with four.
        position = after - 3
        return true
    }

    private func laterFrame(
        at position: Int,
        end: Int,
        from start: Int,
        _ offset: UInt64,
        _ identity: LogIdentity
    ) -> (FrameHeader, ByteView)? {
        // What was written is nowhere a hole, so a frame does not reach into one. Reading there would make the system
        // put pages in the hole, which then passes for data: each opening would read the whole file.
        guard end - position >= FrameHeader.byteCount else { return nil }
        let header = FrameHeader(bytes, at: position)
        // Cheap conditions first: bytes that are no frame hardly ever meet the one about the offset.
        guard header.offset > offset, header.offset - offset <= UInt64(position - start),
            header.syncedOffset <= header.offset, header.payloadBytes <= end - position - FrameHeader.byteCount,
            case .frame(_, let payload) = frame(at: position, offset: header.offset, identity: identity)
        else { return nil }
        return (header, payload)
    }
}
