// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import CommandLog
internal import Keyspace
internal import NIOCore
internal import NIOPosix
public import RESP

/// A server without sockets, for who drives commands directly: the fuzzer of sequences of commands.
///
/// It has a keyspace and a log, and does nothing of its own accord. It belongs to one thread.
public final class CommandRunner {
    private let directory: String
    private let loop: any EventLoop = MultiThreadedEventLoopGroup.singleton.next()
    private var server: Server?
    private var session: Session?

    /// A server on the data in `directory`, which exists.
    public init(directory: String) throws {
        self.directory = directory
        try open()
    }

    private func open() throws {
        var config = ServerConfig()
        config.directory = directory
        config.savePoints = []
        let keyspace = try Keyspace(directory: ServerDirectory.keyspace(in: directory))
        let server = Server(
            config: config,
            log: ServerLog(level: .warning),
            loop: loop,
            keyspace: keyspace,
            commands: CommandTable()
        )
        server.leaveOutLoop()
        let replay = LogReplay(server, from: keyspace.position)
        let log = try CommandLog.open(
            directory: ServerDirectory.log(in: directory),
            options: CommandLogOptions(segmentBytes: 4 << 20),
            replayFrom: keyspace.position.offset
        ) { payload, offset in
            try replay.apply(payload, at: offset)
        }
        try replay.finish()
        server.effects.begin(log, database: replay.database)
        server.isLoading = false
        self.server = server
        session = Session(server, identifier: 1, context: nil, address: "runner")
    }

    /// Runs a command, and gives its reply; nil if there is none yet.
    public func run(_ words: [[UInt8]]) throws -> RESPReply? {
        guard let server, let session else { return nil }
        var request: [UInt8] = []
        request.appendRequest(words)
        let call = server.call
        try ByteView.with(request) { request in
            var decoder = RESPRequestDecoder()
            guard case .request = try decoder.decode(request) else { return }
            call.begin(session)
            call.arguments.take(decoder, in: request)
            call.request = request
            server.execute(call)
        }
        if let failure = server.keyspace.failure { throw failure }
        let bytes = call.reply.readBytes(length: call.reply.readableBytes) ?? []
        call.reply.clear()
        return try ByteView.with(bytes) { view in
            var decoder = RESPReplyDecoder()
            guard case .reply(let reply, view.count) = try decoder.decode(view) else { return nil }
            return reply
        }
    }

    /// Makes everything so far durable in the tree, so that it need not be replayed.
    public func checkpoint() throws {
        guard let server, let log = server.effects.log else { return }
        try log.writeFrame()
        try log.syncNow()
        guard let checkpoint = try server.keyspace.commit(at: server.position) else { return }
        try checkpoint.makeDurable()
        server.keyspace.finish(checkpoint)
    }

    /// Deletes in steps what commands have let go of.
    public func reclaim() throws {
        while let server, try server.keyspace.reclaim(maximumRows: 100) {}
    }

    /// Ends the server as `kill -9` would once the log is written, and begins anew with what is on the disk.
    public func restart() throws {
        try server?.effects.log?.writeFrame()
        try close()
        try open()
    }

    /// What is wrong with the keyspace, a sentence each.
    public func problems() -> [String] { server?.keyspace.check() ?? [] }

    /// Ends the server.
    public func close() throws {
        guard let server else { return }
        try server.effects.log?.shutdown()
        server.keyspace.close()
        try server.backgroundThread.syncShutdownGracefully()
        session = nil
        self.server = nil
    }
}
