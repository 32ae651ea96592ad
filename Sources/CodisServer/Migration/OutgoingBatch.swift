// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import Keyspace
internal import NIOCore
internal import SlotHash

/// Keys that go to another server together: what one SLOTSMGRT…-ASYNC asked for (Codis 3.2: `slots_async.c`).
///
/// Keys join it while it is on its way, some at a time: neither a slot of a million keys nor a tag of as many is walked
/// in one step.
final class OutgoingBatch {
    /// What has become of a key.
    enum State {
        /// Its turn has not come.
        case waiting
        /// The target has been sent all of it.
        case sent
        /// The same, but the value was changed or deleted since.
        case outdated
        /// It was not there.
        case missing
    }

    struct Entry {
        let key: [UInt8]
        var expireAtMilliseconds: Int64 = 0
        var state = State.waiting
    }

    let database: Int
    /// The slot whose keys were asked for; nil if keys were named.
    let slot: Slot?
    /// Whether keys bring those along that have the same tag.
    let usesTags: Bool
    let limits: PieceLimits
    /// About how many messages are to be sent at most, when a slot was asked for.
    private let wantedMessages: Int

    private(set) var entries: [Entry] = []
    private var places: [UInt64: Int] = [:]
    /// The checksums of the tags of its keys.
    private(set) var tags: Set<UInt32> = []
    private var tagWalks: [(checksum: UInt32, cursor: UInt64)] = []
    /// The place in the slot, nil at its end.
    private var slotCursor: UInt64?
    /// How many messages its keys are about to take.
    private(set) var estimatedMessages = 0

    /// The first key that was not sent yet.
    private(set) var next = 0
    /// That key's value, once it was begun.
    private(set) var value: OutgoingValue?
    /// How many keys were sent.
    private(set) var sentCount = 0
    /// How many of them were sent in pieces.
    private(set) var cutCount = 0

    /// The right to change its keys, see `KeyFence.swift`; nil if it goes nowhere.
    let ticket: FenceTicket?

    /// A batch of named keys.
    init(_ keys: [[UInt8]], in database: Int, usesTags: Bool, _ limits: PieceLimits, _ server: Server) {
        self.database = database
        self.usesTags = usesTags
        self.limits = limits
        slot = nil
        wantedMessages = .max
        ticket = OutgoingBatch.newTicket(in: database, server)
        join(keys, server)
    }

    /// A batch of named keys that goes nowhere, to be shown.
    init(shown keys: [[UInt8]], in database: Int, usesTags: Bool, _ limits: PieceLimits, _ server: Server) {
        self.database = database
        self.usesTags = usesTags
        self.limits = limits
        slot = nil
        wantedMessages = .max
        ticket = nil
        join(keys, server)
    }

    /// A batch of keys of `slot` that take about `wantedMessages` messages.
    init(
        slot: Slot,
        in database: Int,
        usesTags: Bool,
        wantedMessages: Int,
        _ limits: PieceLimits,
        _ server: Server
    ) {
        self.database = database
        self.slot = slot
        self.usesTags = usesTags
        self.limits = limits
        self.wantedMessages = wantedMessages
        slotCursor = 0
        ticket = OutgoingBatch.newTicket(in: database, server)
    }

    // MARK: Membership

    /// Whether `key` is one of the batch, or has a tag of one.
    func concerns(_ key: ByteView, _ server: Server) -> Bool {
        if places[server.keyspace.keyHash(key)] != nil { return true }
        let hash = KeyHash(of: key)
        return hash.isTagged && tags.contains(hash.checksum)
    }

    /// Hears that the key with this hash has changed.
    func noteChange(keyHash: UInt64) {
        guard let place = places[keyHash] else { return }
        if place == next, value != nil {
            value?.abandon()
        } else if entries[place].state == .sent {
            entries[place].state = .outdated
        }
    }

    // MARK: Gathering

    /// How many keys join in one step.
    private static let step = 128

    /// Has more keys join; false if there are no more.
    private func gather(_ server: Server) -> Bool {
        if let walk = tagWalks.last {
            tagWalks.removeLast()
            gather(tag: walk.checksum, from: walk.cursor, server)
            return true
        }
        guard let slot, let cursor = slotCursor, estimatedMessages < wantedMessages else { return false }
        gather(slot, from: cursor, server)
        return true
    }

    private func gather(_ slot: Slot, from cursor: UInt64, _ server: Server) {
        var found: [(key: [UInt8], messages: Int)] = []
        var expired: [[UInt8]] = []
        let count = min(OutgoingBatch.step, wantedMessages - estimatedMessages)
        let after = server.keyspace.scan(cursor, slot: slot, in: database, count: count) { key, record in
            if ArrivingValue.isName(key) { return }
            guard !record.isExpired(at: server.clock.milliseconds) || !server.expiresKeys else {
                return expired.append(Array(key))
            }
            found.append((Array(key), OutgoingValue.pieceCount(of: record, limits)))
        }
        slotCursor = after == 0 ? nil : after
        for key in expired { ByteView.with(key) { server.expire($0, in: database) } }
        for (key, messages) in found where estimatedMessages < wantedMessages {
            // A key that would make the batch much longer than asked for waits until it is the first of one.
            guard estimatedMessages == 0 || estimatedMessages + messages <= 2 * wantedMessages else { continue }
            ByteView.with(key) { join($0, messages: messages, server) }
        }
    }

    /// Has the tagged keys with this checksum join, from a place in their slot on.
    private func gather(tag checksum: UInt32, from cursor: UInt64, _ server: Server) {
        var found: [(key: [UInt8], messages: Int)] = []
        var isBeyond = false
        let slot = Slot(checksum: checksum)
        let after = server.keyspace.scan(cursor, slot: slot, in: database, count: OutgoingBatch.step) { key, record in
            let hash = KeyHash(of: key)
            if hash.checksum != checksum { isBeyond = true }
            guard hash.checksum == checksum, hash.isTagged else { return }
            guard !record.isExpired(at: server.clock.milliseconds) || !server.expiresKeys else { return }
            found.append((Array(key), OutgoingValue.pieceCount(of: record, limits)))
        }
        if after != 0, !isBeyond { tagWalks.append((checksum, after)) }
        for (key, messages) in found { ByteView.with(key) { join($0, messages: messages, server) } }
    }

    private func join(_ keys: [[UInt8]], _ server: Server) {
        for key in keys {
            ByteView.with(key) { key in
                let pieces = server.current(key, in: database).map { OutgoingValue.pieceCount(of: $0, limits) }
                join(key, messages: pieces ?? 0, server)
            }
        }
    }

    private func join(_ key: ByteView, messages: Int, _ server: Server) {
        let identity = server.keyspace.keyHash(key)
        guard places[identity] == nil, admits(key, server) else { return }
        places[identity] = entries.count
        entries.append(Entry(key: Array(key)))
        estimatedMessages += messages
        let hash = KeyHash(of: key)
        guard hash.isTagged, tags.insert(hash.checksum).inserted, usesTags else { return }
        tagWalks.append((hash.checksum, Keyspace.scanCursor(ofChecksum: hash.checksum)))
    }

    private static func newTicket(in database: Int, _ server: Server) -> FenceTicket {
        let ticket = server.raiseFence(around: [], in: database)
        ticket.admitsReaders = true
        return ticket
    }

    /// Takes the right to `key`, unless somebody else has it: then it stays where it is for now.
    private func admits(_ key: ByteView, _ server: Server) -> Bool {
        guard let ticket else { return true }
        if let other = server.fence(around: key, in: database) { return other === ticket }
        server.extend(ticket, to: FenceMark(key, in: database))
        return true
    }

    // MARK: Sending

    /// Whether the message that was begun is not complete.
    var isWithinMessage: Bool { value?.restOfString != nil }

    /// Makes the next key that is there the one to be sent; false if none is left.
    func advance(_ server: Server) -> Bool {
        guard value == nil else { return true }
        while true {
            while next < entries.count {
                let isThere = ByteView.with(entries[next].key) { server.current($0, in: database) != nil }
                if isThere {
                    value = OutgoingValue(entries[next].key, in: database)
                    return true
                }
                entries[next].state = .missing
                next += 1
            }
            guard gather(server) else { return false }
        }
    }

    /// Writes the next message or a part of it; `advance` has found that there is one.
    ///
    /// - Returns: how many messages were completed.
    func writeNext(to output: inout ByteBuffer, room: Int, _ server: Server) -> Int {
        guard var current = value else { return 0 }
        // The value is taken out, so that a change that is heard of meanwhile is none of somebody else.
        let count = current.writeNext(to: &output, room: room, limits, server)
        if current.stage == .done, current.restOfString == nil {
            entries[next].state = current.isLost ? .missing : .sent
            entries[next].expireAtMilliseconds = current.expireAtMilliseconds
            if !current.isLost {
                sentCount += 1
                if current.pieceCount > 0 { cutCount += 1 }
            }
            next += 1
            value = nil
        } else {
            value = current
        }
        return count
    }

    /// The keys from the one at `start` on that the target has been sent something of.
    func touchedKeys(from start: Int) -> [[UInt8]] {
        var keys = entries[min(start, next)..<next].filter { $0.state == .sent || $0.state == .outdated }.map(\.key)
        if let value, value.stage != .prepare { keys.append(value.key) }
        return keys
    }
}
