// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

/// A replica's way to its master's stream, from PING to the answer to PSYNC, without any I/O.
///
/// It is given the lines that the master sends and says what is to be done (Redis 2.8: replication.c,
/// syncWithMaster and slaveTryPartialResynchronization). Requests go out as multibulk, so that a password may hold
/// blanks.
public struct ReplicaHandshake: Sendable {
    /// What the replica has to say.
    public struct Parameters: Sendable {
        /// `masterauth`.
        public var password: [UInt8]?
        /// The port on which the replica listens.
        public var listeningPort: Int
        /// The history that the replica could go on with, and the offset behind the last byte that it has.
        public var resumption: Resumption?

        /// What a replica has to say.
        public init(password: [UInt8]? = nil, listeningPort: Int, resumption: Resumption? = nil) {
            self.password = password
            self.listeningPort = listeningPort
            self.resumption = resumption
        }
    }

    /// Where a replica stands.
    public struct Resumption: Equatable, Sendable {
        /// The history.
        public var identifier: ReplicationIdentifier
        /// The offset behind the last byte.
        public var offset: UInt64

        /// A place in a history.
        public init(identifier: ReplicationIdentifier, offset: UInt64) {
            self.identifier = identifier
            self.offset = offset
        }
    }

    /// What is to be done next; several actions are done in order.
    public enum Action: Equatable, Sendable {
        /// Send a request.
        case send([[UInt8]])
        /// Tell the operator.
        case notice(String)
        /// Tell the operator that something is wrong.
        case warning(String)
        /// A snapshot follows, which stands for this place; nil when the master only knows SYNC.
        case receiveSnapshot(Resumption?)
        /// The stream follows from where the replica stands; nil when the master did not say how it calls the history.
        case resume(ReplicationIdentifier?)
        /// Close the connection and try again later.
        case abort
    }

    private enum Step {
        case ping
        case password
        case listeningPort
        case capabilities
        case partialResync
        case done
    }

    private let parameters: Parameters
    private var step = Step.ping

    /// A handshake that has not begun.
    public init(_ parameters: Parameters) { self.parameters = parameters }

    /// What to do as soon as there is a connection.
    public func begin() -> [Action] { [.send([Self.bytes("PING")])] }

    /// What to do about a line of the master's, given without its line end.
    public mutating func receive(_ line: [UInt8]) -> [Action] {
        // An empty line keeps the connection alive.
        guard let first = line.first else { return [] }
        let isError = first == UInt8(ascii: "-")
        let text = String(decoding: line, as: UTF8.self)
        switch step {
        case .ping:
            let isForPassword = ["-NOAUTH", "-ERR operation not permitted"].contains { text.hasPrefix($0) }
            guard first == UInt8(ascii: "+") || isForPassword else {
                return [.warning("Error reply to PING from master: '\(text)'"), .abort]
            }
            let notice = Action.notice("Master replied to PING, replication can continue...")
            guard let password = parameters.password else { return [notice] + announcePort() }
            step = .password
            return [notice, .send([Self.bytes("AUTH"), password])]
        case .password:
            guard !isError else { return [.warning("Unable to AUTH to MASTER: \(text)"), .abort] }
            return announcePort()
        case .listeningPort:
            step = .capabilities
            let announcement = Action.send(["REPLCONF", "capa", "eof", "capa", "psync2"].map { Self.bytes($0) })
            guard isError else { return [announcement] }
            return [
                .notice("(Non critical) Master does not understand REPLCONF listening-port: \(text)"), announcement,
            ]
        case .capabilities:
            let request = askForStream()
            guard isError else { return request }
            return [.notice("(Non critical) Master does not understand REPLCONF capa: \(text)")] + request
        case .partialResync:
            return answered(line, text)
        case .done:
            return []
        }
    }

    private mutating func announcePort() -> [Action] {
        step = .listeningPort
        return [.send(["REPLCONF", "listening-port", "\(parameters.listeningPort)"].map { Self.bytes($0) })]
    }

    private mutating func askForStream() -> [Action] {
        step = .partialResync
        guard let resumption = parameters.resumption else {
            return [
                .notice("Partial resynchronization not possible (no cached master)"),
                .send(["PSYNC", "?", "-1"].map { Self.bytes($0) }),
            ]
        }
        // PSYNC names the next byte wanted, counted from 1.
        let (identifier, next) = (resumption.identifier.description, "\(resumption.offset + 1)")
        return [
            .notice("Trying a partial resynchronization (request \(identifier):\(next))."),
            .send(["PSYNC", identifier, next].map { Self.bytes($0) }),
        ]
    }

    private mutating func answered(_ line: [UInt8], _ text: String) -> [Action] {
        step = .done
        let words = text.split(separator: " ")
        if words[0] == "+FULLRESYNC" {
            guard words.count >= 3, let identifier = ReplicationIdentifier(words[1]), let offset = UInt64(words[2])
            else {
                return [.warning("Master replied with wrong +FULLRESYNC syntax."), .abort]
            }
            return [
                .notice("Full resync from master: \(identifier):\(offset)"),
                .receiveSnapshot(Resumption(identifier: identifier, offset: offset)),
            ]
        }
        if words[0] == "+CONTINUE" {
            guard parameters.resumption != nil else {
                return [.warning("Unexpected reply to PSYNC from master: \(text)"), .abort]
            }
            let identifier = words.count > 1 ? ReplicationIdentifier(words[1]) : nil
            return [.notice("Successful partial resynchronization with master."), .resume(identifier)]
        }
        if text.hasPrefix("-NOMASTERLINK") || text.hasPrefix("-LOADING") {
            return [.notice("Master is currently unable to PSYNC but should be in the future: \(text)"), .abort]
        }
        let complaint =
            line.first == UInt8(ascii: "-")
            ? Action.notice("Master does not support PSYNC or is in error state (reply: \(text))")
            : Action.warning("Unexpected reply to PSYNC from master: \(text)")
        return [complaint, .notice("Retrying with SYNC..."), .send([Self.bytes("SYNC")]), .receiveSnapshot(nil)]
    }

    private static func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }
}
