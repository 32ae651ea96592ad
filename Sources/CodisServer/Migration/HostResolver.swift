// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Glibc
internal import NIOCore
internal import NIOPosix

/// Addresses of hosts, found without holding the event loop up.
struct HostResolver {
    /// Why there is none, in the words of the C library.
    struct Failure: Error, Equatable {
        let text: String
    }

    private var threads: NIOThreadPool?

    /// Gives the address of `host` to `completion`, on `loop`; at once where `host` is an address itself.
    mutating func resolve(
        _ host: String,
        port: Int,
        on loop: any EventLoop,
        _ completion: @escaping (Result<SocketAddress, Failure>) -> Void
    ) {
        if let address = try? SocketAddress(ipAddress: host, port: port) { return completion(.success(address)) }
        let threads = threads ?? NIOThreadPool(numberOfThreads: 1)
        if self.threads == nil {
            threads.start()
            self.threads = threads
        }
        threads.runIfActive(eventLoop: loop) { HostResolver.lookUp(host, port: port) }.assumeIsolated()
            .whenComplete { outcome in
                switch outcome {
                case .success(let found): completion(found)
                case .failure(let error): completion(.failure(Failure(text: "\(error)")))
                }
            }
    }

    /// Asks the system, for as long as it takes; an IPv4 address is preferred.
    private static func lookUp(_ host: String, port: Int) -> Result<SocketAddress, Failure> {
        var hints = unsafe addrinfo()
        unsafe hints.ai_family = AF_UNSPEC
        unsafe hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var found: UnsafeMutablePointer<addrinfo>?
        let code = unsafe getaddrinfo(host, nil, &hints, &found)
        guard code == 0, let first = unsafe found else {
            return .failure(Failure(text: unsafe String(cString: gai_strerror(code))))
        }
        defer { unsafe freeaddrinfo(first) }
        var chosen: SocketAddress?
        var next: UnsafeMutablePointer<addrinfo>? = unsafe first
        while let info = unsafe next {
            unsafe next = info.pointee.ai_next
            guard let text = unsafe numericHost(info.pointee) else { continue }
            guard let address = try? SocketAddress(ipAddress: text, port: port) else { continue }
            if unsafe info.pointee.ai_family == AF_INET { return .success(address) }
            chosen = chosen ?? address
        }
        return chosen.map { .success($0) } ?? .failure(Failure(text: "No address associated with hostname"))
    }

    private static func numericHost(_ info: addrinfo) -> String? {
        var text = [CChar](repeating: 0, count: 256)
        let length = socklen_t(text.count)
        let code = unsafe getnameinfo(info.ai_addr, info.ai_addrlen, &text, length, nil, 0, NI_NUMERICHOST)
        guard code == 0 else { return nil }
        return String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
