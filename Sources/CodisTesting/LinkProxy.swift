// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Foundation
internal import Glibc
internal import Synchronization

/// A TCP proxy between two servers, so that a test can cut the link between them, or move the far end elsewhere.
///
/// It listens on a port of its own for as long as it lives, whatever becomes of the server behind it.
@safe
public final class LinkProxy: Sendable {
    /// The port that it listens on, on 127.0.0.1.
    public let port: Int

    private let state = Mutex(State())
    private let listener: Int32

    private struct State {
        var targetPort = 0
        var isOpen = true
        var isEnded = false
        var isFrozen = false
        /// The descriptors of both ends of each connection.
        var connections: [(near: Int32, far: Int32)] = []
        var accepted = 0
    }

    /// Listens, and connects whoever comes to `targetPort`.
    public init(to targetPort: Int) throws(TestClientError) {
        port = freePort()
        listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        var on: Int32 = 1
        unsafe setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, socklen_t(MemoryLayout<Int32>.size))
        let status = unsafe LinkProxy.withAddress(port: port) { address, length in
            unsafe bind(listener, address, length)
        }
        guard status == 0, listen(listener, 64) == 0 else { throw .system(call: "listen", errorNumber: errno) }
        state.withLock { $0.targetPort = targetPort }
        Thread { [weak self, listener] in
            while true {
                let near = accept(listener, nil, nil)
                guard near >= 0 else { return }
                guard let self else {
                    close(near)
                    return
                }
                self.take(near)
            }
        }.start()
    }

    deinit { end() }

    /// How many connections were made through it.
    public var acceptedConnections: Int { state.withLock { $0.accepted } }

    /// Has connections from now on go to `port`.
    public func setTarget(port: Int) { state.withLock { $0.targetPort = port } }

    /// Cuts all connections; new ones may be made at once.
    public func cut() {
        state.withLock { state in
            for connection in state.connections {
                shutdown(connection.near, Int32(SHUT_RDWR))
                shutdown(connection.far, Int32(SHUT_RDWR))
            }
        }
    }

    /// Cuts all connections, and every new one until `open`.
    public func block() {
        state.withLock { $0.isOpen = false }
        cut()
    }

    /// Lets connections through again.
    public func open() { state.withLock { $0.isOpen = true } }

    /// Holds what comes from now on in both directions, with the connections as they are, until `thaw`.
    public func freeze() { state.withLock { $0.isFrozen = true } }

    /// Hands on what was held, and all that comes.
    public func thaw() { state.withLock { $0.isFrozen = false } }

    private var isFrozen: Bool { state.withLock { $0.isFrozen && !$0.isEnded } }

    /// Ends it: nothing listens any more.
    public func end() {
        let isFirst = state.withLock { state in
            defer { state.isEnded = true }
            return !state.isEnded
        }
        guard isFirst else { return }
        block()
        shutdown(listener, Int32(SHUT_RDWR))
        close(listener)
    }

    private func take(_ near: Int32) {
        let (targetPort, isOpen) = state.withLock { ($0.targetPort, $0.isOpen) }
        guard isOpen else {
            close(near)
            return
        }
        let far = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        let status = unsafe LinkProxy.withAddress(port: targetPort) { address, length in
            unsafe connect(far, address, length)
        }
        guard status == 0 else {
            close(near)
            close(far)
            return
        }
        var on: Int32 = 1
        for descriptor in [near, far] {
            unsafe setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &on, socklen_t(MemoryLayout<Int32>.size))
        }
        state.withLock { state in
            state.connections.append((near, far))
            state.accepted += 1
        }
        // Forgotten before it is closed, so that `cut` never touches a descriptor that has become somebody else's.
        let counter = Counter { [weak self] in
            self?.state.withLock { state in state.connections.removeAll { $0.near == near } }
            close(near)
            close(far)
        }
        Thread { [weak self] in LinkProxy.pump(from: near, to: far, counter) { self?.isFrozen ?? false } }.start()
        Thread { [weak self] in LinkProxy.pump(from: far, to: near, counter) { self?.isFrozen ?? false } }.start()
    }

    /// Counts the directions of a connection that have ended.
    private final class Counter: Sendable {
        private let finished = Atomic<Int>(0)
        private let body: @Sendable () -> Void

        /// Calls `body` when both have.
        init(_ body: @escaping @Sendable () -> Void) { self.body = body }

        func finish() {
            if finished.add(1, ordering: .acquiringAndReleasing).newValue == 2 { body() }
        }
    }

    private static func pump(
        from source: Int32,
        to target: Int32,
        _ counter: Counter,
        isFrozen: () -> Bool
    ) {
        var buffer = filledBytes(0, count: 65_536)
        reading: while true {
            let count = unsafe recv(source, &buffer, buffer.count, 0)
            if count < 0, errno == EINTR { continue }
            // A direction that has ended is passed on as such; the other may go on.
            while isFrozen() { usleep(1_000) }
            guard count > 0 else { break }
            var sent = 0
            while sent < count {
                let written = unsafe buffer.withUnsafeBytes { bytes in
                    unsafe send(target, bytes.baseAddress! + sent, count - sent, Int32(MSG_NOSIGNAL))
                }
                if written < 0, errno == EINTR { continue }
                guard written > 0 else { break reading }
                sent += written
            }
        }
        shutdown(source, Int32(SHUT_RD))
        shutdown(target, Int32(SHUT_WR))
        counter.finish()
    }

    private static func withAddress(port: Int, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32) -> Int32 {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(port).bigEndian
        unsafe inet_pton(AF_INET, "127.0.0.1", &address.sin_addr)
        return unsafe withUnsafePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
                unsafe body(generic, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
    }
}
