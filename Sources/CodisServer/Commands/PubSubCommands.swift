// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import RESP

/// The commands of publish and subscribe (Redis 2.8: `pubsub.c`).
enum PubSubCommands {
    private static let subscribing: CommandFlags = [.readOnly, .pubSub, .noScript, .loading, .stale]

    static let table: [Command] = [
        Command("psubscribe", arity: .atLeast(2), flags: subscribing, keys: .none, psubscribe),
        Command(
            "publish",
            arity: .exactly(3),
            flags: [.readOnly, .pubSub, .loading, .stale, .fast],
            keys: .none,
            publish
        ),
        Command(
            "pubsub",
            arity: .atLeast(2),
            flags: [.readOnly, .pubSub, .random, .loading, .stale],
            keys: .none,
            pubsub
        ),
        Command("punsubscribe", arity: .atLeast(1), flags: subscribing, keys: .none, punsubscribe),
        Command("subscribe", arity: .atLeast(2), flags: subscribing, keys: .none, subscribe),
        Command("unsubscribe", arity: .atLeast(1), flags: subscribing, keys: .none, unsubscribe),
    ]

    /// Whether a client that has subscriptions may use the command.
    static func runsWhileSubscribed(_ command: Command) -> Bool {
        switch command.name {
        case "subscribe", "unsubscribe", "psubscribe", "punsubscribe", "ping": true
        default: false
        }
    }

    // MARK: Subscriptions

    /// `SUBSCRIBE channel [channel …]`: a reply for each.
    static func subscribe(_ server: Server, _ call: CommandCall) throws(CommandError) {
        for index in 1..<call.arguments.count {
            server.subscribe(call.session, to: Array(call.arguments[index]))
            confirm("subscribe", call.arguments[index], call)
        }
    }

    /// `UNSUBSCRIBE [channel …]`: from all without arguments; a reply for each, or one if there is none.
    static func unsubscribe(_ server: Server, _ call: CommandCall) throws(CommandError) {
        unsubscribe("unsubscribe", from: call.session.subscriptions.channels, call) {
            server.unsubscribe(call.session, from: $0)
        }
    }

    /// `PSUBSCRIBE pattern [pattern …]`: a reply for each.
    static func psubscribe(_ server: Server, _ call: CommandCall) throws(CommandError) {
        for index in 1..<call.arguments.count {
            server.subscribe(call.session, toPattern: Array(call.arguments[index]))
            confirm("psubscribe", call.arguments[index], call)
        }
    }

    /// `PUNSUBSCRIBE [pattern …]`: from all without arguments; a reply for each, or one if there is none.
    static func punsubscribe(_ server: Server, _ call: CommandCall) throws(CommandError) {
        unsubscribe("punsubscribe", from: call.session.subscriptions.patterns, call) {
            server.unsubscribe(call.session, fromPattern: $0)
        }
    }

    /// Leaves what the arguments name, or without them `all`.
    private static func unsubscribe(
        _ name: StaticString,
        from all: [[UInt8]],
        _ call: CommandCall,
        _ leave: ([UInt8]) -> Void
    ) {
        let given = (1..<call.arguments.count).map { Array(call.arguments[$0]) }
        let left = given.isEmpty ? all : given
        for item in left {
            leave(item)
            ByteView.with(item) { confirm(name, $0, call) }
        }
        if left.isEmpty { confirm(name, nil, call) }
    }

    private static func confirm(_ what: StaticString, _ name: ByteView?, _ call: CommandCall) {
        call.reply.writeReplyArrayHeader(3)
        call.reply.writeReplyBulk(ByteView(what))
        if let name { call.reply.writeReplyBulk(name) } else { call.reply.writeReplyNullBulk() }
        call.reply.writeReplyInteger(call.session.subscriptions.count)
    }

    // MARK: Messages

    /// `PUBLISH channel message` in O(subscribers of the channel + patterns): replies how many messages went out.
    ///
    /// In the log only while there are replicas that may ask for it: recovery has no use for messages.
    static func publish(_ server: Server, _ call: CommandCall) throws(CommandError) {
        let receivers = server.publish(call.arguments[2], to: call.arguments[1])
        if server.recordsMessages {
            server.effects.append("PUBLISH", call.arguments[1], call.arguments[2], database: call.database)
            server.needsTickEnd()
        }
        call.reply.writeReplyInteger(receivers)
    }

    /// `PUBSUB CHANNELS [pattern]`, `NUMSUB [channel …]`, `NUMPAT`.
    static func pubsub(_ server: Server, _ call: CommandCall) throws(CommandError) {
        let subcommand = call.arguments[1]
        let count = call.arguments.count
        if subcommand.equalsIgnoringCase("channels"), count == 2 || count == 3 {
            let channels = server.pubSub.channels.keys.filter { channel in
                count == 2 || ByteView.with(channel) { Glob.matches(call.arguments[2], $0) }
            }
            call.reply.writeReplyArrayHeader(channels.count)
            for channel in channels { call.reply.writeReplyBulk(channel) }
        } else if subcommand.equalsIgnoringCase("numsub") {
            call.reply.writeReplyArrayHeader(2 * (count - 2))
            for index in 2..<max(2, count) {
                call.reply.writeReplyBulk(call.arguments[index])
                call.reply.writeReplyInteger(server.pubSub.channels[Array(call.arguments[index])]?.count ?? 0)
            }
        } else if subcommand.equalsIgnoringCase("numpat"), count == 2 {
            call.reply.writeReplyInteger(server.pubSub.patterns.count)
        } else {
            throw .bytes(
                Array("ERR Unknown PUBSUB subcommand or wrong number of arguments for '".utf8) + Array(subcommand)
                    + [0x27]
            )
        }
    }
}
