// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import Keyspace
internal import NIOCore
internal import RESP

/// The arguments of a command, and where its keys are.
struct StoreArguments {
    let server: Server
    let database: Int
    /// The argument with this number, a view until the next change of the keyspace at least.
    let argument: (Int) -> ByteView

    /// The value of the key that is argument `index`, a view until the next change.
    func find(_ index: Int) -> Record? { server.keyspace.find(argument(index), in: database) }
}

/// What a command makes of the values of some keys, to store it in another: SUNIONSTORE, ZINTERSTORE and the like.
protocol CombinedValue {
    /// What is made.
    static var type: ValueType { get }
    /// The class of the event that it was stored.
    static var eventClass: KeyspaceEvents { get }
    /// The event that it was stored.
    var event: StaticString { get }
    /// Which arguments are keys that it is made of.
    var inputs: Range<Int> { get }
    /// About how many members are walked to make it.
    func walkedCount(_ arguments: StoreArguments) -> Int
    /// Adds what comes of the next members to `builder`, not many more than `most`; true if there are no more.
    mutating func advance(
        _ arguments: StoreArguments,
        most: Int,
        into builder: ValueBuilder
    ) throws(KeyspaceError) -> Bool
    /// The record's byte of that name when `count` members were added.
    func encoding(count: Int, _ server: Server) -> UInt8
    /// How many changes it is to store it.
    func changes(isEmpty: Bool, replaces: Bool) -> Int
}

/// A command that stores what it makes of others' values.
///
/// The value is built apart, batch by batch, and takes the place of the destination at the end, which may be one of
/// the inputs. A small one is made at once. For a large one the keys are fenced, so that nothing but readers comes
/// near them, and the batches are done in steps between which others are served. Nothing of it is in the log before the
/// end, which is one step and one effect: the command itself. So the inputs must be then what they were at the
/// beginning; if one has expired or was evicted, or somebody who does not wait for fences has changed one, it is made
/// anew.
final class CombinedStore<Value: CombinedValue> {
    private let server: Server
    private let session: Session
    private let retained: RetainedArguments
    private let arguments: StoreArguments
    private let command: Command
    private let ticket: FenceTicket
    private let beginning: Value
    private var value: Value
    private var builder: ValueBuilder
    /// Which inputs were there.
    private var presence: [Bool] = []
    private var attempts = 1

    /// More than so many members to walk are not walked at once.
    private static var mostMembersAtOnce: Int { 2_000 }
    /// How many members are walked in a step.
    private static var membersOfStep: Int { 128 }
    /// When the inputs have changed so often on the way, nobody is served until it is done.
    private static var mostAttempts: Int { 5 }

    /// Stores `value` in the key that is the command's first argument, and replies the number of its members.
    static func run(_ value: Value, _ server: Server, _ call: CommandCall) throws(CommandError) {
        let arguments = StoreArguments(server: server, database: call.database) { call.arguments[$0] }
        if value.walkedCount(arguments) > mostMembersAtOnce, server.canSuspend(call), !isFenced(value, arguments) {
            let store = CombinedStore(value, server, call)
            return try server.runInSteps(call) { reply throws(CommandError) in try store.step(&reply) }
        }
        var value = value
        let builder = ValueBuilder(server.keyspace, key: call.arguments[1], in: call.database, type: Value.type)
        try server.change { keyspace throws(KeyspaceError) in
            do throws(KeyspaceError) {
                while try !value.advance(arguments, most: 1_024, into: builder) {}
            } catch {
                // What led here is what the client hears of.
                try? builder.abandon()
                throw error
            }
        }
        call.dirty += try finish(value, builder, arguments)
        call.reply.writeReplyInteger(builder.count)
    }

    /// Whether somebody has fenced one of the keys: a command that is wrapped in another may name such a one.
    private static func isFenced(_ value: Value, _ arguments: StoreArguments) -> Bool {
        ([1] + value.inputs).contains {
            arguments.server.fence(around: arguments.argument($0), in: arguments.database) != nil
        }
    }

    /// Puts what was built in the destination's place, and tells who listens; gives the number of changes.
    private static func finish(
        _ value: Value,
        _ builder: ValueBuilder,
        _ arguments: StoreArguments
    ) throws(CommandError) -> Int {
        let (server, destination, database) = (arguments.server, arguments.argument(1), arguments.database)
        let wasThere = arguments.find(1) != nil
        let encoding = value.encoding(count: builder.count, server)
        try server.change { keyspace throws(KeyspaceError) in _ = try builder.finish(encoding: encoding) }
        if !server.notifiedEvents.isEmpty {
            if builder.count > 0 {
                server.publishEvent(Value.eventClass, value.event, destination, in: database)
            } else if wasThere {
                server.publishEvent(.generic, "del", destination, in: database)
            }
        }
        return value.changes(isEmpty: builder.count == 0, replaces: wasThere)
    }

    // MARK: In steps

    private init(_ value: Value, _ server: Server, _ call: CommandCall) {
        self.server = server
        session = call.session
        command = call.command
        let retained = RetainedArguments(call)
        self.retained = retained
        let arguments = StoreArguments(server: server, database: call.database) { retained[$0] }
        self.arguments = arguments
        beginning = value
        self.value = value
        builder = ValueBuilder(server.keyspace, key: retained[1], in: call.database, type: Value.type)
        ticket = server.raiseFence(around: ([1] + value.inputs).map { retained[$0] }, in: call.database)
        ticket.admitsReaders = true
        presence = whatIsThere
    }

    private var whatIsThere: [Bool] { beginning.inputs.map { arguments.find($0) != nil } }

    private func step(_ reply: inout ByteBuffer) throws(CommandError) -> Bool {
        do throws(CommandError) {
            try server.checkIsStillMaster()
            if ticket.wasBreached || presence != whatIsThere || builder.keyspace !== server.keyspace { beginAnew() }
            let isLast = attempts >= Self.mostAttempts
            var isDone = false
            repeat {
                isDone = try server.change { keyspace throws(KeyspaceError) in
                    try value.advance(arguments, most: Self.membersOfStep, into: builder)
                }
            } while isLast && !isDone
            guard isDone else { return false }
            let changes = try server.changeBehindFence { () throws(CommandError) in
                try Self.finish(value, builder, arguments)
            }
            if changes > 0 { record(changes) }
        } catch {
            abandon()
            server.lower(ticket)
            throw error
        }
        server.lower(ticket)
        reply.writeReplyInteger(builder.count)
        return true
    }

    private func record(_ changes: Int) {
        server.dirty += changes
        session.hasWritten = true
        server.needsTickEnd()
        ByteView.with(command.name) { name in
            let rest = (1..<retained.count).map { retained[$0] }
            server.effects.append([name] + rest, database: arguments.database)
        }
    }

    private func beginAnew() {
        abandon()
        attempts += 1
        value = beginning
        builder = ValueBuilder(server.keyspace, key: retained[1], in: arguments.database, type: Value.type)
        ticket.wasBreached = false
        presence = whatIsThere
    }

    /// Lets go of what was built, unless it went with the keyspace that it was built in.
    private func abandon() {
        guard builder.keyspace === server.keyspace else { return }
        // If it fails, the end of the tick sees that the keyspace has failed.
        try? builder.abandon()
        server.scheduleReclaim()
    }
}
