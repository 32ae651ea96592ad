// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import NIOCore

/// The connections to servers that keys move to, kept for the next move (Codis 2.0: `slots.c`, `slotsmgrt_sock`).
///
/// A connection makes one exchange at a time, and as many as are needed are made, up to a limit. One that was idle for
/// more than 15 s is closed.
final class TargetPool {
    /// What came of asking for a connection.
    enum Outcome {
        case connected(TargetConnection)
        /// Nobody listens there; the original notices that only when it writes.
        case refused(String)
        case failed(CommandError)
    }

    private unowned let server: Server
    private var resolver = HostResolver()
    private var idle: [TargetAddress: [TargetConnection]] = [:]
    /// How many connections there are, or are being made.
    private var counts: [TargetAddress: Int] = [:]
    private var waiting: [TargetAddress: [(timeout: TimeAmount, completion: (Outcome) -> Void)]] = [:]

    /// Connections to one server at most; who comes then waits for one.
    private static let mostConnections = 8
    private static let longestIdleSeconds: Int64 = 15

    init(_ server: Server) { self.server = server }

    /// How many connections there are.
    var connectionCount: Int { counts.values.reduce(0, +) }

    /// Gives a connection to `completion`, maybe at once; it is to be released or discarded.
    func acquire(_ address: TargetAddress, timeout: TimeAmount, _ completion: @escaping (Outcome) -> Void) {
        while let connection = idle[address]?.popLast() {
            if connection.isOpen { return completion(.connected(connection)) }
            forget(connection)
        }
        guard counts[address, default: 0] < TargetPool.mostConnections else {
            waiting[address, default: []].append((timeout, completion))
            return
        }
        counts[address, default: 0] += 1
        connect(address, timeout, completion)
    }

    /// Takes a connection back for the next one.
    func release(_ connection: TargetConnection) {
        connection.lastUseSeconds = server.clock.seconds
        if let next = takeWaiting(connection.address) { return next.completion(.connected(connection)) }
        idle[connection.address, default: []].append(connection)
    }

    /// Closes a connection.
    func discard(_ connection: TargetConnection) {
        server.log.warning("slotsmgrt: close target \(connection.address.text)")
        connection.close()
        forget(connection)
    }

    /// Closes what has been idle for too long; called each second.
    func runCron() {
        let now = server.clock.seconds
        for (address, connections) in idle {
            let isOld = { (connection: TargetConnection) in
                now - connection.lastUseSeconds > TargetPool.longestIdleSeconds
            }
            for connection in connections where isOld(connection) {
                server.log.warning(
                    "slotsmgrt: timeout target \(address.text), lasttime = \(connection.lastUseSeconds), now = \(now)"
                )
                connection.close()
                counts[address, default: 1] -= 1
            }
            idle[address] = connections.filter { !isOld($0) }
            if idle[address]?.isEmpty ?? true { idle[address] = nil }
            if counts[address] == 0 { counts[address] = nil }
        }
    }

    private func takeWaiting(_ address: TargetAddress) -> (timeout: TimeAmount, completion: (Outcome) -> Void)? {
        guard var queue = waiting[address], !queue.isEmpty else { return nil }
        let first = queue.removeFirst()
        waiting[address] = queue.isEmpty ? nil : queue
        return first
    }

    /// Counts a connection no more; who waits may have another.
    private func forget(_ connection: TargetConnection) { forget(connection.address) }

    private func forget(_ address: TargetAddress) {
        counts[address, default: 1] -= 1
        if let next = takeWaiting(address) {
            counts[address, default: 0] += 1
            connect(address, next.timeout, next.completion)
        } else if counts[address] == 0 {
            counts[address] = nil
        }
    }

    private func connect(_ address: TargetAddress, _ timeout: TimeAmount, _ completion: @escaping (Outcome) -> Void) {
        guard address.port >= 0 else {
            return fail(address, "Servname not supported for ai_socktype", completion)
        }
        // The socket cuts it to 16 bits.
        let port = address.port & 0xFFFF
        resolver.resolve(address.host, port: port, on: server.loop) { [self] resolved in
            switch resolved {
            case .failure(let failure): fail(address, failure.text, completion)
            case .success(let socket):
                guard port != 0 else {
                    forget(address)
                    return completion(.refused("Connection refused"))
                }
                connect(address, to: socket, timeout, completion)
            }
        }
    }

    private func fail(_ address: TargetAddress, _ text: String, _ completion: (Outcome) -> Void) {
        server.log.warning("slotsmgrt: connect to target \(address.text), error = '\(text)'")
        forget(address)
        completion(.failed(.message("ERR Can't connect to target node: \(text)")))
    }

    private func connect(
        _ address: TargetAddress,
        to socket: SocketAddress,
        _ timeout: TimeAmount,
        _ completion: @escaping (Outcome) -> Void
    ) {
        let connection = TargetConnection(to: address, on: server.loop)
        connection.connect(to: socket, timeout: timeout) { [self] failure in
            switch failure {
            case nil:
                server.log.warning("slotsmgrt: connect to target \(address.text)")
                connection.onClosedWhileIdle = { [unowned self, unowned connection] in
                    guard idle[address]?.contains(where: { $0 === connection }) ?? false else { return }
                    idle[address]?.removeAll { $0 === connection }
                    forget(connection)
                }
                connection.lastUseSeconds = server.clock.seconds
                completion(.connected(connection))
            case .timeout:
                server.log.warning(
                    "slotsmgrt: connect to target \(address.text), aewait error = 'Connection timed out'"
                )
                forget(address)
                completion(.failed(.message("IOERR error or timeout connecting to the client")))
            case .refused(let text):
                server.log.warning("slotsmgrt: connect to target \(address.text)")
                forget(address)
                completion(.refused(text))
            }
        }
    }
}
