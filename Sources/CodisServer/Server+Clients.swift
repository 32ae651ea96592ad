// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import NIOCore
internal import RESP

/// The clients: how they come, what they may hold, and how they go.
extension Server {
    /// Takes a new connection as a client; nil if there are too many.
    func connected(_ context: ChannelHandlerContext) -> Session? {
        let channel = context.channel
        guard sessions.count < config.maximumClients else {
            statistics.connectionsRejected += 1
            let text = ByteBuffer(string: "-ERR max number of clients reached\r\n")
            context.writeAndFlush(NIOAny(text), promise: nil)
            return nil
        }
        clock.readAll()
        statistics.connectionsReceived += 1
        let isUnixSocket = channel.localAddress?.protocol == .unix
        let session = Session(
            self,
            identifier: nextSessionIdentifier,
            context: context,
            address: isUnixSocket ? "\(config.unixSocket ?? ""):0" : Server.text(of: channel.remoteAddress),
            isUnixSocket: isUnixSocket
        )
        nextSessionIdentifier += 1
        if pausedUntilMilliseconds > clock.milliseconds { session.holds.insert(.paused) }
        if replication.isPromoted { session.holds.insert(.promotion) }
        if shutdown.isUnderWay { session.holds.insert(.ending) }
        sessions[session.identifier] = session
        log.verbose("Accepted \(session.address)")
        return session
    }

    /// Hears that a client's connection is gone.
    func disconnected(_ session: Session) {
        departed.append(session)
        needsTickEnd()
        guard sessions.removeValue(forKey: session.identifier) != nil else { return }
        if let feed = session.replica { replicaLost(feed) }
        unblock(session)
        unwatchAll(session)
        unsubscribeAll(session)
        abandonStagedValues(of: session)
        dropArriving(session)
        if session.isMonitor {
            monitors.removeAll { $0 === session }
            configurationChanged()
        }
        log.verbose("Client closed connection \(session.address)")
    }

    /// `address:port`, with brackets around an IPv6 address.
    static func text(of address: SocketAddress?) -> String {
        guard let address, let ip = address.ipAddress, let port = address.port else { return "?:0" }
        return ip.contains(":") ? "[\(ip)]:\(port)" : "\(ip):\(port)"
    }

    /// Closes a client when what waits for it exceeds the limits of its class.
    func checkOutputLimits(_ session: Session) {
        let limit = outputLimit(of: session)
        guard limit.hardBytes > 0 || limit.softBytes > 0, session.isOpen else { return }
        let waiting = session.waitingOutputBytes
        if limit.hardBytes > 0, waiting >= limit.hardBytes { return closeForOutput(session) }
        guard limit.softBytes > 0, waiting >= limit.softBytes else {
            session.overSoftLimitSinceMilliseconds = 0
            return
        }
        if session.overSoftLimitSinceMilliseconds == 0 {
            session.overSoftLimitSinceMilliseconds = clock.milliseconds
        } else if clock.milliseconds - session.overSoftLimitSinceMilliseconds > Int64(limit.softSeconds) * 1000 {
            closeForOutput(session)
        }
    }

    /// The limit of the client's class.
    func outputLimit(of session: Session) -> OutputBufferLimits.Limit {
        switch session.type {
        case .normal: config.outputBufferLimits.normal
        case .replica: config.outputBufferLimits.replica
        case .pubsub: config.outputBufferLimits.pubsub
        }
    }

    private func closeForOutput(_ session: Session) {
        log.warning(
            "Client \(description(of: session)) scheduled to be closed ASAP for overcoming of output buffer limits."
        )
        // Later than now: the session may be the one whose command runs.
        loop.execute { session.closeNow() }
    }

    /// Whether a command of `session` runs, and its reply is in the making.
    ///
    /// While a script that overruns has its slices, commands run that nobody is answered; the session that was answered
    /// last may be gone then.
    func isReplying(to session: Session) -> Bool {
        isExecuting && scriptEngine?.isSuspended != true && call.session === session
    }

    /// The line of CLIENT LIST for a client, without its line end.
    func description(of session: Session) -> String {
        let now = clock.milliseconds
        var flags = ""
        if session.replica != nil, !session.isMonitor { flags += "S" }
        if session.isMonitor { flags += "O" }
        if session.isMaster { flags += "M" }
        if session.modes.contains(.transaction) { flags += "x" }
        if session.blocked != nil { flags += "b" }
        if session.transaction.isTouched { flags += "d" }
        if session.closesAfterReply { flags += "c" }
        if session.blocked == nil, session.holds.contains(.blocked) { flags += "u" }
        if session.isUnixSocket { flags += "U" }
        if flags.isEmpty { flags = "N" }
        let inProgress =
            isReplying(to: session) ? call.reply.readableBytes : session.output.readableBytes
        let waiting = session.waitingOutputBytes
        let events = waiting > 0 || inProgress > 0 ? "rw" : "r"
        let name = String(decoding: session.name, as: UTF8.self)
        let queued = session.modes.contains(.transaction) ? session.transaction.queue.count : -1
        return "id=\(session.identifier) addr=\(session.address) fd=\(session.fileDescriptor) name=\(name)"
            + " age=\((now - session.createdAtMilliseconds) / 1000)"
            + " idle=\((now - session.lastInteractionMilliseconds) / 1000) flags=\(flags)"
            + " db=\(session.database) sub=\(session.subscriptions.channels.count)"
            + " psub=\(session.subscriptions.patterns.count) multi=\(queued)"
            + " qbuf=\(session.unreadBytes) qbuf-free=32768"
            + " obl=\(min(inProgress, 16384)) oll=\(waiting > 0 ? (waiting + 16383) / 16384 : 0) omem=\(waiting)"
            + " events=\(events) cmd=\(session.lastCommand?.name ?? "NULL")"
    }

    // MARK: Time

    /// Closes the clients that have been idle for too long.
    func closeIdleClients() {
        guard config.timeoutSeconds > 0 else { return }
        let limit = Int64(config.timeoutSeconds) * 1000
        for session in Array(sessions.values)
        where !session.isMonitor && session.holds.isDisjoint(with: [.blocked, .fenced])
            && !session.modes.contains(.subscribed)
            && session.replica == nil && !session.isMaster
            && clock.milliseconds - session.lastInteractionMilliseconds > limit
        {
            log.verbose("Closing idle client")
            session.closeNow()
        }
    }

    /// Holds the commands of all clients, for CLIENT PAUSE.
    func pauseClients(milliseconds: Int64) {
        pausedUntilMilliseconds = max(pausedUntilMilliseconds, clock.milliseconds.addingClamped(milliseconds))
        for session in sessions.values where session.replica == nil && !session.isMaster {
            session.holds.insert(.paused)
        }
        loop.scheduleTask(in: .milliseconds(milliseconds)) { [unowned self] in
            clock.readAll()
            guard clock.milliseconds >= pausedUntilMilliseconds, pausedUntilMilliseconds != 0 else { return }
            pausedUntilMilliseconds = 0
            for session in Array(sessions.values) where session.holds.contains(.paused) { session.resume(.paused) }
        }
    }
}
