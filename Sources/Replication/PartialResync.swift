// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

/// What a replica gets that has sent PSYNC.
public enum PartialResyncDecision: Equatable, Sendable {
    /// The stream from this offset of the log on.
    case resume(from: UInt64)
    /// Everything, because it asked for that.
    case fullResyncRequested
    /// Everything, because what it has is of another history.
    case otherHistory
    /// Everything, because what it lacks is no longer there, or not yet.
    case outOfRange
}

extension ReplicationHistory {
    /// Whether the replica that sent `PSYNC identifier offset` may go on where it stands.
    ///
    /// `offset` is that of the next byte it wants, counted from 1 (Redis 2.8: replication.c, masterTryPartialResync);
    /// `available` is what the log has, from its first byte to behind its last.
    public func decide(
        identifier: some Collection<UInt8>,
        offset: Int64,
        available: ClosedRange<UInt64>
    ) -> PartialResyncDecision {
        if identifier.elementsEqual("?".utf8) { return .fullResyncRequested }
        guard let asked = ReplicationIdentifier(identifier) else { return .otherHistory }
        let end: UInt64
        if asked == current {
            end = available.upperBound
        } else if let past, asked == past.identifier {
            end = min(past.end, available.upperBound)
        } else {
            return .otherHistory
        }
        guard offset >= 1 else { return .outOfRange }
        let start = UInt64(offset) - 1
        guard start >= available.lowerBound, start <= end else {
            // Beyond the end of the past history lies what this server does not share.
            return asked == current || start < available.lowerBound ? .outOfRange : .otherHistory
        }
        return .resume(from: start)
    }
}
