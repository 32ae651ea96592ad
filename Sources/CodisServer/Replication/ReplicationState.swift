// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import NIOCore
internal import NIOPosix
internal import Replication

/// What a server knows of replication: its histories, its master, its replicas.
struct ReplicationState {
    /// The histories that the log belongs to.
    var history = ReplicationHistory(.random(), isOwn: true)
    /// The way to the master; nil on a master.
    var link: MasterLink?
    /// The replicas, in the order in which they came.
    var feeds: [ReplicaFeed] = []
    /// The snapshot that is being sent, which a replica that comes may share.
    var transfer: SnapshotTransfer?
    /// How many replicas count for min-slaves-to-write, as of the last look.
    var goodReplicas = 0
    /// Whether there ever was a replica: INFO tells of the backlog from then on.
    var hadReplicas = false
    /// Commands of the stream that this server has not, each told once.
    var unknownCommands: Set<String> = []
    /// Whether this server becomes a master as soon as it has what its master has sent.
    var isPromoted = false
    /// When the last replica left, in ms of a clock that only goes forward.
    var lastReplicaLeftMilliseconds: Int64 = 0
    /// Whether the data differ from the master's, because of a command that could not be done: a full resync puts that
    /// right.
    var needsFullResync = false
    /// When a full resync was last asked for because of that, in ms of a clock that only goes forward.
    var lastForcedResyncMilliseconds: Int64 = -1_000_000
    /// When a PING last went into the stream, or to those that wait, or there last was no replica.
    var lastPingMilliseconds: Int64 = 0
    /// The thread that reads for the replicas, once there is one.
    private var readingThread: NIOThreadPool?
    /// The thread that writes or loads snapshots, once there is one.
    private var snapshotThread: NIOThreadPool?

    /// A thread for reading what replicas lack: steps of some hundred kilobytes.
    mutating func threadForReading() -> NIOThreadPool { Self.thread(&readingThread) }

    /// A thread for what takes as long as there are data.
    mutating func threadForSnapshots() -> NIOThreadPool { Self.thread(&snapshotThread) }

    private static func thread(_ thread: inout NIOThreadPool?) -> NIOThreadPool {
        if let thread { return thread }
        let started = NIOThreadPool(numberOfThreads: 1)
        started.start()
        thread = started
        return started
    }
}

/// What a client has said with REPLCONF, before it asks for the stream.
struct ReplicaAnnouncement {
    var listeningPort = 0
    /// It understands a snapshot that ends with a mark (2.8.22 and later).
    var takesMarks = false
    /// It takes `+CONTINUE` with the name of a history, and a snapshot that tells which database the stream has
    /// selected (4.0 and later).
    var takesHistories = false
}
