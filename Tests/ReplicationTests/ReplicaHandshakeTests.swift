// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import Testing

@testable import Replication

@Suite("The handshake of a replica")
struct ReplicaHandshakeTests {
    typealias Action = ReplicaHandshake.Action

    let master = ReplicationIdentifier.random()

    private func request(_ words: String...) -> Action { .send(words.map { Array($0.utf8) }) }

    private func receive(_ handshake: inout ReplicaHandshake, _ line: String) -> [Action] {
        handshake.receive(Array(line.utf8))
    }

    /// What is asked for and done, without what is told to the operator.
    private func deeds(_ actions: [Action]) -> [Action] {
        actions.filter {
            switch $0 {
            case .notice, .warning: false
            case .send, .receiveSnapshot, .resume, .abort: true
            }
        }
    }

    /// A handshake that has come to PSYNC.
    private func asked(_ resumption: ReplicaHandshake.Resumption? = nil) -> (ReplicaHandshake, [Action]) {
        var handshake = ReplicaHandshake(.init(listeningPort: 6380, resumption: resumption))
        _ = handshake.begin()
        _ = receive(&handshake, "+PONG")
        _ = receive(&handshake, "+OK")
        let actions = receive(&handshake, "+OK")
        return (handshake, actions)
    }

    @Test("PING, the password, the port and the capabilities come before PSYNC")
    func order() {
        var handshake = ReplicaHandshake(.init(password: Array("a b".utf8), listeningPort: 6380))
        #expect(handshake.begin() == [request("PING")])
        #expect(deeds(receive(&handshake, "-NOAUTH Authentication required.")) == [request("AUTH", "a b")])
        #expect(receive(&handshake, "+OK") == [request("REPLCONF", "listening-port", "6380")])
        #expect(receive(&handshake, "+OK") == [request("REPLCONF", "capa", "eof", "capa", "psync2")])
        #expect(deeds(receive(&handshake, "+OK")) == [request("PSYNC", "?", "-1")])
    }

    @Test("a master that does not know REPLCONF is no worse for it")
    func olderMaster() {
        var handshake = ReplicaHandshake(.init(listeningPort: 6380))
        _ = receive(&handshake, "+PONG")
        let first = receive(&handshake, "-ERR unknown command")
        let text = "(Non critical) Master does not understand REPLCONF listening-port: -ERR unknown command"
        #expect(first.first == .notice(text))
        let second = receive(&handshake, "-ERR Unrecognized REPLCONF option: capa")
        #expect(
            second.first
                == .notice(
                    "(Non critical) Master does not understand REPLCONF capa: -ERR Unrecognized REPLCONF option: capa"
                )
        )
        #expect(deeds(second) == [request("PSYNC", "?", "-1")])
    }

    @Test("an error to PING or AUTH ends it", arguments: ["-MISCONF no disk", "-LOADING", "x"])
    func refused(reply: String) {
        var handshake = ReplicaHandshake(.init(password: [0x70], listeningPort: 1))
        let actions = receive(&handshake, reply)
        #expect(actions == [.warning("Error reply to PING from master: '\(reply)'"), .abort])
        handshake = ReplicaHandshake(.init(password: [0x70], listeningPort: 1))
        _ = receive(&handshake, "+PONG")
        let wrong = receive(&handshake, "-ERR invalid password")
        #expect(wrong == [.warning("Unable to AUTH to MASTER: -ERR invalid password"), .abort])
    }

    @Test("PSYNC asks for the byte behind the last one, counted from 1, and empty lines only keep it waiting")
    func resumption() {
        let place = ReplicaHandshake.Resumption(identifier: master, offset: 99)
        var (handshake, actions) = asked(place)
        #expect(actions.first == .notice("Trying a partial resynchronization (request \(master):100)."))
        #expect(deeds(actions) == [request("PSYNC", "\(master)", "100")])
        #expect(receive(&handshake, "") == [])
        #expect(deeds(receive(&handshake, "+CONTINUE")) == [.resume(nil)])
        #expect(receive(&handshake, "+CONTINUE") == [])
        var (named, _) = asked(place)
        let other = ReplicationIdentifier.random()
        #expect(deeds(receive(&named, "+CONTINUE \(other)")) == [.resume(other)])
    }

    @Test("a full resync tells which history it is, and where")
    func fullResync() {
        var (handshake, _) = asked()
        let actions = receive(&handshake, "+FULLRESYNC \(master) 1234")
        #expect(actions.first == .notice("Full resync from master: \(master):1234"))
        #expect(deeds(actions) == [.receiveSnapshot(.init(identifier: master, offset: 1234))])
    }

    @Test("nonsense in the answer to PSYNC ends it", arguments: ["+FULLRESYNC", "+FULLRESYNC x 1", "+CONTINUE"])
    func nonsense(reply: String) {
        var (handshake, _) = asked()
        #expect(deeds(receive(&handshake, reply)) == [.abort])
    }

    @Test("a master that knows no PSYNC is asked with SYNC")
    func legacy() {
        var (handshake, _) = asked()
        let actions = receive(&handshake, "-ERR unknown command 'PSYNC'")
        #expect(
            actions == [
                .notice("Master does not support PSYNC or is in error state (reply: -ERR unknown command 'PSYNC')"),
                .notice("Retrying with SYNC..."), request("SYNC"), .receiveSnapshot(nil),
            ]
        )
        var (other, _) = asked()
        #expect(receive(&other, ":1").first == .warning("Unexpected reply to PSYNC from master: :1"))
    }

    @Test("a master that cannot answer yet is asked again later", arguments: ["-NOMASTERLINK x", "-LOADING x"])
    func later(reply: String) {
        var (handshake, _) = asked()
        #expect(deeds(receive(&handshake, reply)) == [.abort])
    }
}
