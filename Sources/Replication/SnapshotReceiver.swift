// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

public import Bytes

/// How a snapshot comes over the wire (Redis 2.8: replication.c, readSyncBulkPayload).
public enum SnapshotForm: Equatable, Sendable {
    /// `$<length>`: exactly so many bytes.
    case length(UInt64)
    /// `$EOF:<mark>`: bytes up to these 40.
    case mark([UInt8])

    /// How many bytes the mark has.
    public static let markLength = 40

    /// The form that a line announces, given without its line end; nil if it announces none.
    public init?(_ line: [UInt8]) {
        guard line.first == UInt8(ascii: "$") else { return nil }
        let rest = line.dropFirst()
        let prefix = Array("EOF:".utf8)
        if rest.starts(with: prefix) {
            let mark = Array(rest.dropFirst(prefix.count))
            guard mark.count == Self.markLength else { return nil }
            self = .mark(mark)
        } else {
            guard let length = UInt64(String(decoding: rest, as: UTF8.self)) else { return nil }
            self = .length(length)
        }
    }

    /// The line that announces it.
    public var line: [UInt8] {
        switch self {
        case .length(let length): Array("$\(length)\r\n".utf8)
        case .mark(let mark): Array("$EOF:".utf8) + mark + [0x0D, 0x0A]
        }
    }
}

/// Tells the bytes of a snapshot from what surrounds them, as they come.
public struct SnapshotReceiver: Sendable {
    /// How the snapshot comes.
    public let form: SnapshotForm
    /// How many bytes of it were given out.
    public private(set) var receivedBytes: UInt64 = 0
    /// Whether that was all of it.
    public private(set) var isComplete: Bool
    /// The last bytes that came: they may be the mark.
    private var tail: [UInt8] = []

    /// A receiver that has received nothing.
    public init(_ form: SnapshotForm) {
        self.form = form
        isComplete = form == .length(0)
    }

    /// How many bytes are still to come, where that is known.
    public var remainingBytes: UInt64? {
        guard case .length(let length) = form else { return nil }
        return length - receivedBytes
    }

    /// Takes `bytes` and gives those that belong to the snapshot to `body`, in order, in one or two pieces.
    ///
    /// A master sends nothing behind a mark until it has heard from its replica, so the mark ends what has come.
    ///
    /// - Returns: how many of `bytes` were taken.
    public mutating func receive<Failure: Error>(
        _ bytes: ByteView,
        _ body: (ByteView) throws(Failure) -> Void
    ) throws(Failure) -> Int {
        guard !isComplete else { return 0 }
        switch form {
        case .length(let length):
            let count = Int(min(UInt64(bytes.count), length - receivedBytes))
            if count > 0 { try body(bytes.prefix(count)) }
            receivedBytes += UInt64(count)
            isComplete = receivedBytes == length
            return count
        case .mark(let mark):
            let surplus = tail.count + bytes.count - SnapshotForm.markLength
            let fromTail = max(0, min(tail.count, surplus))
            let fromBytes = max(0, surplus - fromTail)
            if fromTail > 0 {
                try ByteView.with(tail) { tail throws(Failure) in try body(tail.prefix(fromTail)) }
                tail.removeFirst(fromTail)
            }
            if fromBytes > 0 { try body(bytes.prefix(fromBytes)) }
            tail += Array(bytes.dropFirst(fromBytes))
            receivedBytes += UInt64(max(0, surplus))
            isComplete = tail == mark
            return bytes.count
        }
    }
}
