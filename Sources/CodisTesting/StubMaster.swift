// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Foundation
internal import Glibc
internal import Synchronization

/// What a replica takes for a master, up to a point: it agrees to everything, and answers PSYNC and SYNC as it is told.
@safe
public final class StubMaster: Sendable {
    /// The port that it listens on, on 127.0.0.1.
    public let port: Int

    /// What it answers.
    public struct Answers: Sendable {
        /// To PSYNC, and what follows; nil for nothing at all, from the first request on.
        public var partialResync: [UInt8]?
        /// To SYNC, and what follows.
        public var sync: [UInt8]

        /// Answers to the two requests.
        public init(partialResync: [UInt8]?, sync: [UInt8] = []) {
            self.partialResync = partialResync
            self.sync = sync
        }

        /// `+FULLRESYNC` and then these bytes.
        public static func fullResync(_ bytes: [UInt8]) -> Answers {
            let identifier = String(repeating: "0", count: 40)
            return Answers(partialResync: Array("+FULLRESYNC \(identifier) 0\r\n".utf8) + bytes)
        }
    }

    /// An RDB with one key, announced by its length.
    public static let snapshot: [UInt8] = {
        let bytes =
            Array("REDIS0006".utf8) + [0xFE, 0x00, 0x00, 0x03] + Array("key".utf8) + [0x05] + Array("value".utf8)
            + [0xFF] + [UInt8](repeating: 0, count: 8)
        return Array("$\(bytes.count)\r\n".utf8) + bytes
    }()

    private let listener: Int32
    private let state = Mutex(State())

    private struct State {
        var connections: [Int32] = []
        var received: [UInt8] = []
    }

    /// Listens, and answers whoever comes.
    public init(_ answers: Answers) throws(TestClientError) {
        port = freePort()
        listener = try StubServer.listen(port: port, backlog: 8)
        Thread { [weak self, listener] in
            while true {
                let connection = accept(listener, nil, nil)
                guard connection >= 0, let self else { return }
                self.state.withLock { $0.connections.append(connection) }
                self.serve(connection, answers)
            }
        }.start()
    }

    /// All that was received, over all connections.
    public var received: String { state.withLock { String(decoding: $0.received, as: UTF8.self) } }

    /// Ends it, and its connections.
    public func end() {
        shutdown(listener, Int32(SHUT_RDWR))
        close(listener)
        state.withLock { state in
            for connection in state.connections { shutdown(connection, Int32(SHUT_RDWR)) }
        }
    }

    /// Reads to the end of a connection, one after the other.
    private func serve(_ connection: Int32, _ answers: Answers) {
        var buffer = filledBytes(0, count: 4096)
        while true {
            let count = unsafe recv(connection, &buffer, buffer.count, 0)
            guard count > 0 else { break }
            let request = String(decoding: buffer[..<count], as: UTF8.self)
            state.withLock { $0.received += buffer[..<count] }
            guard let partialResync = answers.partialResync else { continue }
            let reply: [UInt8]
            if request.contains("PSYNC") {
                reply = partialResync
            } else if request.contains("SYNC") {
                reply = answers.sync
            } else if request.contains("ACK") {
                continue
            } else {
                reply = Array("+OK\r\n".utf8)
            }
            _ = unsafe send(connection, reply, reply.count, Int32(MSG_NOSIGNAL))
        }
        state.withLock { $0.connections.removeAll { $0 == connection } }
        close(connection)
    }
}
