// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import NIOCore

/// The one handler of a connection: hands what arrives to its session.
final class SessionHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let server: Server
    private var session: Session?
    /// The same, for what arrives; the server holds a session that is closed until a tick has ended.
    private var lentSession: Lent<Session>?

    init(_ server: Server) { self.server = server }

    func handlerAdded(context: ChannelHandlerContext) {
        if context.channel.isActive { begin(context) }
    }

    func channelActive(context: ChannelHandlerContext) {
        begin(context)
    }

    private func begin(_ context: ChannelHandlerContext) {
        guard session == nil else { return }
        session = server.connected(context)
        lentSession = session.map { Lent($0) }
        if session == nil { context.close(promise: nil) }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        lentSession?.lend { $0.receive(unwrapInboundIn(data), server) }
        // What NIO does by itself otherwise, as `autoRead` is set, by a longer way.
        context.read()
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        // Nobody behind this handler waits for it.
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        // The client sends no more. What it has sent is answered before the connection is closed.
        if let event = event as? ChannelEvent, event == .inputClosed { session?.inputClosed() }
        context.fireUserInboundEventTriggered(event)
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if context.channel.isWritable { session?.replica?.pump() }
        context.fireChannelWritabilityChanged()
    }

    func channelInactive(context: ChannelHandlerContext) {
        guard let session else { return }
        self.session = nil
        lentSession = nil
        session.connectionClosed()
        server.disconnected(session)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if let session {
            server.log.verbose("Reading from client: \(error) (\(session.address))")
        }
        context.close(promise: nil)
    }
}
