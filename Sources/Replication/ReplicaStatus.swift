// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

/// One replica as its master sees it (Redis 2.8: `redisClient.replstate`, `repl_ack_off`, `repl_ack_time`).
public struct ReplicaStatus: Equatable, Sendable {
    /// How far a replica has come; the raw values are what INFO says.
    public enum State: String, Sendable {
        /// It waits for a snapshot to be ready.
        case waiting = "wait_bgsave"
        /// It is being sent a snapshot.
        case receiving = "send_bulk"
        /// It gets the stream.
        case online
    }

    /// How far it has come.
    public var state = State.waiting
    /// The last offset that it said to have.
    public private(set) var acknowledgedOffset: UInt64 = 0
    /// When it was last heard of, in ms of a clock that only goes forward.
    public private(set) var lastHeardMilliseconds: Int64

    /// A replica that has come at `now`.
    public init(at now: Int64) { lastHeardMilliseconds = now }

    /// Takes note of `REPLCONF ACK offset`; an older one does not count.
    public mutating func acknowledge(_ offset: UInt64, at now: Int64) {
        acknowledgedOffset = max(acknowledgedOffset, offset)
        lastHeardMilliseconds = now
    }

    /// Takes note of any other sign of life.
    public mutating func heard(at now: Int64) { lastHeardMilliseconds = now }

    /// Seconds since it was last heard of; 0 as long as it is not online.
    public func lagSeconds(at now: Int64) -> Int64 {
        state == .online ? max(0, now - lastHeardMilliseconds) / 1000 : 0
    }

    /// Whether it counts for min-slaves-to-write.
    public func isGood(at now: Int64, maximumLagSeconds: Int) -> Bool {
        state == .online && lagSeconds(at: now) <= Int64(maximumLagSeconds)
    }
}
