// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import NIOCore
internal import RESP
internal import Replication

/// The commands of replication (Redis 2.8: `replication.c`).
enum ReplicationCommands {
    static let table: [Command] = [
        Command("psync", arity: .exactly(3), flags: [.readOnly, .admin, .noScript], keys: .none, psync),
        Command(
            "replconf",
            arity: .atLeast(1),
            flags: [.readOnly, .admin, .noScript, .loading, .stale],
            keys: .none,
            replconf
        ),
        Command("role", arity: .exactly(1), flags: [.noScript, .loading, .stale], keys: .none, role),
        Command("slaveof", arity: .exactly(3), flags: [.admin, .noScript, .stale], keys: .none, slaveof),
        Command("sync", arity: .exactly(1), flags: [.readOnly, .admin, .noScript], keys: .none, sync),
    ]

    // MARK: Who follows whom

    /// `SLAVEOF host port` and `SLAVEOF NO ONE`.
    static func slaveof(_ server: Server, _ call: CommandCall) throws(CommandError) {
        let client = server.description(of: call.session)
        if call.arguments[1].equalsIgnoringCase("no"), call.arguments[2].equalsIgnoringCase("one") {
            if server.isReplica {
                server.becomeMaster()
                server.log.notice("MASTER MODE enabled (user request from '\(client)')")
            }
            return call.reply.writeReplyOK()
        }
        let port = try call.arguments.integer(at: 2)
        guard let port = Int(exactly: port) else { throw .notAnInteger }
        let address = MasterAddress(host: call.arguments.text(at: 1), port: port)
        if let link = server.replication.link, link.address.host.lowercased() == address.host.lowercased(),
            link.address.port == address.port
        {
            server.log.notice(
                "SLAVE OF would result into synchronization with the master we are already connected with. "
                    + "No operation performed."
            )
            return call.reply.writeReplyStatus("OK Already connected to specified master")
        }
        server.follow(address)
        server.log.notice("SLAVE OF \(address.host):\(address.port) enabled (user request from '\(client)')")
        call.reply.writeReplyOK()
    }

    /// `ROLE`: what this server is, and how its link or its replicas stand.
    static func role(_ server: Server, _ call: CommandCall) throws(CommandError) {
        let offset = Int64(clamping: server.effects.endOffset)
        if let link = server.replication.link {
            call.reply.writeReplyArrayHeader(5)
            call.reply.writeReplyBulk("slave")
            call.reply.writeReplyBulk(link.address.host)
            call.reply.writeReplyInteger(link.address.port)
            call.reply.writeReplyBulk(ByteView(link.stateName))
            call.reply.writeReplyInteger(link.isConnected ? offset : -1)
            return
        }
        let online = server.replication.feeds.filter { $0.status.state == .online }
        call.reply.writeReplyArrayHeader(3)
        call.reply.writeReplyBulk("master")
        call.reply.writeReplyInteger(offset)
        call.reply.writeReplyArrayHeader(online.count)
        for feed in online {
            call.reply.writeReplyArrayHeader(3)
            call.reply.writeReplyBulk(feed.ip)
            call.reply.writeReplyBulk("\(feed.session.replicaAnnouncement.listeningPort)")
            call.reply.writeReplyBulk("\(feed.status.acknowledgedOffset)")
        }
    }

    // MARK: What replicas send

    /// `SYNC`: a snapshot, and then the stream.
    static func sync(_ server: Server, _ call: CommandCall) throws(CommandError) {
        try attach(server, call, request: nil)
    }

    /// `PSYNC identifier offset`: the stream from that byte on, counted from 1; or a snapshot and then the stream.
    static func psync(_ server: Server, _ call: CommandCall) throws(CommandError) {
        let offset = try call.arguments.integer(at: 2)
        try attach(server, call, request: (Array(call.arguments[1]), offset))
    }

    private static func attach(
        _ server: Server,
        _ call: CommandCall,
        request: (identifier: [UInt8], offset: Int64)?
    ) throws(CommandError) {
        let session = call.session
        guard session.replica == nil, !session.isMonitor, !session.isMaster else { return }
        if let link = server.replication.link, !link.isConnected {
            throw .message("ERR Can't SYNC while not connected with my master")
        }
        guard call.reply.readableBytes == 0, session.waitingOutputBytes == 0 else {
            throw .message("ERR SYNC and PSYNC are invalid with pending output")
        }
        guard !session.isAttaching else { return }
        session.isAttaching = true
        // In a turn of its own, so that what goes to the replica has a place between two frames of the log.
        server.loop.execute { [weak session] in
            guard let session, session.isOpen, !session.closesAfterReply else { return }
            server.clock.readAll()
            session.flush(server)
            server.attach(session, request: request)
        }
    }

    /// `REPLCONF option value …`: what a replica says of itself.
    static func replconf(_ server: Server, _ call: CommandCall) throws(CommandError) {
        guard call.arguments.count % 2 == 1 else { throw .syntax }
        let session = call.session
        for index in stride(from: 1, to: call.arguments.count, by: 2) {
            let (option, value) = (call.arguments[index], call.arguments[index + 1])
            if option.equalsIgnoringCase("listening-port") {
                let port = try call.arguments.integer(at: index + 1)
                session.replicaAnnouncement.listeningPort = Int(clamping: port)
            } else if option.equalsIgnoringCase("capa") {
                if value.equalsIgnoringCase("eof") { session.replicaAnnouncement.takesMarks = true }
                if value.equalsIgnoringCase("psync2") { session.replicaAnnouncement.takesHistories = true }
            } else if option.equalsIgnoringCase("ack") {
                // No reply: the replica reads the stream.
                guard let feed = session.replica, let offset = call.arguments.optionalInteger(at: index + 1) else {
                    return
                }
                return feed.acknowledge(UInt64(clamping: offset))
            } else if option.equalsIgnoringCase("getack") {
                if session.isMaster { server.replication.link?.acknowledge() }
                return
            } else {
                throw .bytes(Array("ERR Unrecognized REPLCONF option: ".utf8) + Array(option))
            }
        }
        call.reply.writeReplyOK()
    }
}
