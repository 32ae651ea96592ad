// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import NIOCore
internal import RESP

/// Who has subscribed to which channels and patterns (Redis 2.8: `pubsub.c`).
struct PubSub {
    /// The subscribers of each channel that has any, in the order in which they came.
    var channels: [[UInt8]: [Session]] = [:]
    /// The patterns in the order in which they were subscribed to, a pattern of several clients as often.
    var patterns: [Pattern] = []

    struct Pattern {
        let bytes: [UInt8]
        let session: Session
    }

    var isEmpty: Bool { channels.isEmpty && patterns.isEmpty }
}

/// What a client has subscribed to, in the order in which it did.
struct SessionSubscriptions {
    var channels: [[UInt8]] = []
    var patterns: [[UInt8]] = []
    /// The same channels, for look-up.
    var channelSet: Set<[UInt8]> = []

    var count: Int { channels.count + patterns.count }
}

extension Server {
    // MARK: Subscriptions

    /// Subscribes `session` to a channel; no effect if it is subscribed.
    func subscribe(_ session: Session, to channel: [UInt8]) {
        guard session.subscriptions.channelSet.insert(channel).inserted else { return }
        session.subscriptions.channels.append(channel)
        pubSub.channels[channel, default: []].append(session)
        session.modes.insert(.subscribed)
    }

    /// Ends the subscription of `session` to a channel, if there is one.
    func unsubscribe(_ session: Session, from channel: [UInt8]) {
        guard session.subscriptions.channelSet.remove(channel) != nil else { return }
        session.subscriptions.channels.removeAll { $0 == channel }
        leave(session, channel)
        if session.subscriptions.count == 0 { session.modes.remove(.subscribed) }
    }

    private func leave(_ session: Session, _ channel: [UInt8]) {
        pubSub.channels[channel]?.removeAll { $0 === session }
        if pubSub.channels[channel]?.isEmpty ?? false { pubSub.channels[channel] = nil }
    }

    /// Subscribes `session` to all channels that match a pattern; no effect if it is subscribed.
    func subscribe(_ session: Session, toPattern pattern: [UInt8]) {
        guard !session.subscriptions.patterns.contains(pattern) else { return }
        session.subscriptions.patterns.append(pattern)
        pubSub.patterns.append(PubSub.Pattern(bytes: pattern, session: session))
        session.modes.insert(.subscribed)
    }

    /// Ends the subscription of `session` to a pattern, if there is one.
    func unsubscribe(_ session: Session, fromPattern pattern: [UInt8]) {
        guard let index = session.subscriptions.patterns.firstIndex(of: pattern) else { return }
        session.subscriptions.patterns.remove(at: index)
        pubSub.patterns.removeAll { $0.session === session && $0.bytes == pattern }
        if session.subscriptions.count == 0 { session.modes.remove(.subscribed) }
    }

    /// Ends all subscriptions of a client that goes.
    func unsubscribeAll(_ session: Session) {
        guard session.subscriptions.count > 0 else { return }
        for channel in session.subscriptions.channels { leave(session, channel) }
        if !session.subscriptions.patterns.isEmpty { pubSub.patterns.removeAll { $0.session === session } }
        session.subscriptions = SessionSubscriptions()
        session.modes.remove(.subscribed)
    }

    // MARK: Messages

    /// Sends a message to who has subscribed to `channel`: first by its name, then by patterns.
    ///
    /// - Returns: how many messages went out; a client with several subscriptions that match gets one for each.
    @discardableResult
    func publish(_ message: ByteView, to channel: ByteView) -> Int {
        guard !pubSub.isEmpty else { return 0 }
        var receivers = 0
        if let sessions = pubSub.channels[Array(channel)] {
            var bytes = ByteBuffer()
            bytes.writeReplyArrayHeader(3)
            bytes.writeReplyBulk(ByteView("message"))
            bytes.writeReplyBulk(channel)
            bytes.writeReplyBulk(message)
            for session in sessions { session.reply { $0.writeImmutableBuffer(bytes) } }
            receivers += sessions.count
        }
        for pattern in pubSub.patterns {
            ByteView.with(pattern.bytes) { glob in
                guard Glob.matches(glob, channel) else { return }
                pattern.session.reply { bytes in
                    bytes.writeReplyArrayHeader(4)
                    bytes.writeReplyBulk(ByteView("pmessage"))
                    bytes.writeReplyBulk(glob)
                    bytes.writeReplyBulk(channel)
                    bytes.writeReplyBulk(message)
                }
                receivers += 1
            }
        }
        return receivers
    }

    /// Publishes that `event` happened to `key`, if events of its kind are asked for (Redis 2.8: `notify.c`).
    func publishEvent(_ kind: KeyspaceEvents, _ event: StaticString, _ key: ByteView, in database: Int) {
        guard notifiedEvents.contains(kind), !pubSub.isEmpty else { return }
        if notifiedEvents.contains(.keyspace) {
            ByteView.with(Array("__keyspace@\(database)__:".utf8) + Array(key)) { channel in
                _ = publish(ByteView(event), to: channel)
            }
        }
        if notifiedEvents.contains(.keyevent) {
            ByteView.with("__keyevent@\(database)__:\(event)") { channel in
                _ = publish(key, to: channel)
            }
        }
    }
}
