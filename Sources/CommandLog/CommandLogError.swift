// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

/// What can go wrong with the log, grouped by when it can happen.
public enum CommandLogError: Error, Equatable, Sendable {
    // While opening or reading.

    /// A file in the directory has a segment's name but is not one.
    case notASegment(path: String)
    /// A segment was written by a version of the format that this program does not know.
    case unknownVersion(path: String, version: UInt32)
    /// A segment belongs to another log than the one before it, or than the one asked for.
    case wrongIdentity(path: String)
    /// Bytes that are known to have been synced do not read back as written: the disk, or somebody, changed them.
    ///
    /// `position` is where in the file the first bad frame begins, `offset` the stream offset that should be there.
    case damaged(path: String, position: Int, offset: UInt64, reason: String)
    /// The segment which holds this stream offset is not there, though the log went on behind it.
    case missingSegment(offset: UInt64)
    /// The log begins behind the offset asked for.
    case offsetBeforeStart(offset: UInt64, start: UInt64)
    /// The log ends before the offset asked for, which was synced according to the caller.
    case offsetBeyondEnd(offset: UInt64, end: UInt64)

    // While writing.

    /// There is no room on the disk for another segment; nothing was written, and it may be tried again.
    case diskFull(path: String)
    /// The pending bytes would exceed what one frame can hold (4 GiB); nothing was appended.
    case frameTooLarge(bytes: Int)
    /// The log was shut down.
    case closed

    // At any time.

    /// The system refused an operation; `code` is its `errno`.
    case system(operation: String, path: String, code: Int32)
}

extension CommandLogError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .notASegment(let path):
            "\(path) has the name of a log segment but is not one"
        case .unknownVersion(let path, let version):
            "\(path) has format version \(version), which this program does not know"
        case .wrongIdentity(let path):
            "\(path) belongs to another log"
        case .damaged(let path, let position, let offset, let reason):
            "\(path) is damaged at byte \(position) (stream offset \(offset)): \(reason)"
        case .missingSegment(let offset):
            "the log segment with stream offset \(offset) is missing"
        case .offsetBeforeStart(let offset, let start):
            "stream offset \(offset) was asked for, but the log begins at \(start)"
        case .offsetBeyondEnd(let offset, let end):
            "stream offset \(offset) was asked for, but the log ends at \(end)"
        case .diskFull(let path):
            "no room on the disk for the log segment \(path)"
        case .frameTooLarge(let bytes):
            "\(bytes) bytes do not fit in one frame of the log"
        case .closed:
            "the log was shut down"
        case .system(let operation, let path, let code):
            "\(operation) \(path): \(FileDescriptor.message(of: code))"
        }
    }
}
