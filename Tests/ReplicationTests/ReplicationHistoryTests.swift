// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import Testing

@testable import Replication

@Suite("Histories of the stream")
struct ReplicationHistoryTests {
    let first = ReplicationIdentifier.random()
    let second = ReplicationIdentifier.random()
    let third = ReplicationIdentifier.random()

    @Test("an identifier is 40 hexadecimal digits in any case")
    func identifiers() throws {
        let text = "0123456789abcdefABCDEF0123456789abcdef01"
        let identifier = try #require(ReplicationIdentifier(text))
        #expect(identifier.description == text.lowercased())
        #expect(ReplicationIdentifier(text.dropLast()) == nil)
        #expect(ReplicationIdentifier(text + "0") == nil)
        #expect(ReplicationIdentifier("g" + text.dropFirst()) == nil)
        #expect(ReplicationIdentifier("?") == nil)
        #expect(ReplicationIdentifier.random() != .random())
    }

    @Test("a promoted replica knows the history that it left, up to where it left it")
    func promotion() {
        var history = ReplicationHistory(first, isOwn: false)
        history.begin(second, at: 100)
        #expect(history.current == second)
        #expect(history.past == .init(identifier: first, end: 100))
        #expect(decide(history, first, 101, 0...200) == .resume(from: 100))
        #expect(decide(history, first, 102, 0...200) == .otherHistory)
        #expect(decide(history, second, 201, 0...200) == .resume(from: 200))
        #expect(decide(history, second, 202, 0...200) == .outOfRange)
        #expect(decide(history, third, 50, 0...200) == .otherHistory)
    }

    @Test("a history that has nothing of its own yet is left out of what is remembered")
    func twoBeginnings() {
        var history = ReplicationHistory(first, isOwn: false)
        history.begin(second, at: 100)
        history.begin(third, at: 100)
        #expect(history.past == .init(identifier: first, end: 100))
        history.begin(second, at: 101)
        #expect(history.past == .init(identifier: third, end: 101))
    }

    @Test("the master's name of a history takes the place of the one it was asked by")
    func following() {
        var history = ReplicationHistory(first, isOwn: true)
        history.follow(first, from: first, at: 10)
        #expect(history == ReplicationHistory(first, isOwn: false))
        history.follow(second, from: first, at: 20)
        #expect(history == ReplicationHistory(second, isOwn: false, past: .init(identifier: first, end: 20)))
    }

    @Test("a master is asked for the history that it can know")
    func requests() {
        var history = ReplicationHistory(first, isOwn: true)
        #expect(history.request(at: 0) == nil, "a new server has nothing to go on with")
        #expect(history.request(at: 10) == first)
        history = ReplicationHistory(first, isOwn: false)
        #expect(history.request(at: 0) == first)
        history.begin(second, at: 100)
        #expect(history.request(at: 100) == first, "nothing was added since, so it is still the old one")
        #expect(history.request(at: 101) == second)
    }

    @Test("only what the log has can be gone on with")
    func range() {
        let history = ReplicationHistory(first, isOwn: true)
        #expect(decide(history, first, 50, 50...100) == .outOfRange)
        #expect(decide(history, first, 51, 50...100) == .resume(from: 50))
        #expect(decide(history, first, 101, 50...100) == .resume(from: 100))
        #expect(decide(history, first, 102, 50...100) == .outOfRange)
        #expect(decide(history, first, 0, 0...100) == .outOfRange)
        #expect(decide(history, first, .min, 0...100) == .outOfRange)
        #expect(decide(history, first, .max, 0...100) == .outOfRange)
        let asked = history.decide(identifier: Array("?".utf8), offset: -1, available: 0...100)
        #expect(asked == .fullResyncRequested)
        #expect(history.decide(identifier: Array("x".utf8), offset: 5, available: 0...100) == .otherHistory)
        let upper = Array(first.description.uppercased().utf8)
        #expect(history.decide(identifier: upper, offset: 5, available: 0...100) == .resume(from: 4))
    }

    @Test("a history reads back from its text, and nothing else does")
    func text() {
        let past = ReplicationHistory.Past(identifier: second, end: 12345)
        for history in [
            ReplicationHistory(first, isOwn: true), ReplicationHistory(first, isOwn: false, past: past),
        ] {
            #expect(ReplicationHistory(text: history.text) == history)
            #expect(ReplicationHistory(text: history.text + " x") == nil)
            #expect(ReplicationHistory(text: history.text.dropFirst()) == nil)
        }
        #expect(ReplicationHistory(text: "\(first) other") == nil)
        #expect(ReplicationHistory(text: "") == nil)
    }

    private func decide(
        _ history: ReplicationHistory,
        _ identifier: ReplicationIdentifier,
        _ offset: Int64,
        _ available: ClosedRange<UInt64>
    ) -> PartialResyncDecision {
        history.decide(identifier: identifier.digits, offset: offset, available: available)
    }
}

@Suite("A replica as its master sees it")
struct ReplicaStatusTests {
    @Test("the lag counts from the last sign of life, once the replica is online")
    func lag() {
        var status = ReplicaStatus(at: 1000)
        #expect(status.lagSeconds(at: 9000) == 0)
        #expect(!status.isGood(at: 1000, maximumLagSeconds: 10))
        status.state = .online
        #expect(status.lagSeconds(at: 9000) == 8)
        #expect(status.isGood(at: 11_999, maximumLagSeconds: 10))
        #expect(!status.isGood(at: 12_000, maximumLagSeconds: 10))
        status.acknowledge(77, at: 12_000)
        status.acknowledge(70, at: 13_000)
        #expect(status.acknowledgedOffset == 77)
        #expect(status.lagSeconds(at: 13_500) == 0)
        status.heard(at: 14_000)
        #expect(status.lastHeardMilliseconds == 14_000)
    }
}
