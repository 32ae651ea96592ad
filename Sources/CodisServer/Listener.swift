// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Glibc

/// A socket that listens, made before the event loop is: a port that is taken is known before anything else is done.
struct Listener {
    let descriptor: Int32
    /// Whether it is the unix socket.
    let isUnixSocket: Bool

    /// Why it cannot be made, as `bind: Address already in use`.
    struct Failure: Error, CustomStringConvertible {
        let description: String
        /// Whether the machine has no such address, or does not know the family.
        var isUnavailable = false

        init(_ operation: String, _ code: Int32 = errno) {
            description = "\(operation): \(unsafe String(cString: strerror(code)))"
            isUnavailable = code == EAFNOSUPPORT || code == EADDRNOTAVAIL || code == EPROTONOSUPPORT
        }

        init(text: String) { description = text }
    }

    /// Listens at `address`, which may be a name, and `port`.
    static func tcp(address: String, port: Int, backlog: Int) throws(Failure) -> Listener {
        var hints = unsafe addrinfo()
        unsafe hints.ai_family = AF_UNSPEC
        unsafe hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        unsafe hints.ai_flags = AI_PASSIVE
        var found: UnsafeMutablePointer<addrinfo>?
        let code = unsafe getaddrinfo(address, String(port), &hints, &found)
        guard code == 0, let first = unsafe found else {
            throw Failure(text: unsafe String(cString: gai_strerror(code)))
        }
        defer { unsafe freeaddrinfo(first) }
        // One address is one socket, as many as the name may have.
        let info = unsafe first.pointee
        let type = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        let descriptor = socket(unsafe info.ai_family, type, unsafe info.ai_protocol)
        guard descriptor >= 0 else { throw Failure("socket") }
        if unsafe info.ai_family == AF_INET6 { setOption(descriptor, Int32(IPPROTO_IPV6), IPV6_V6ONLY) }
        setOption(descriptor, SOL_SOCKET, SO_REUSEADDR)
        guard unsafe bind(descriptor, info.ai_addr, info.ai_addrlen) == 0 else { throw closing(descriptor, "bind") }
        guard listen(descriptor, Int32(clamping: backlog)) == 0 else { throw closing(descriptor, "listen") }
        return Listener(descriptor: descriptor, isUnixSocket: false)
    }

    /// Listens at the unix socket `path`, removing one that was left there.
    static func unix(path: String, permissions: Int, backlog: Int) throws(Failure) -> Listener {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let capacity = MemoryLayout.size(ofValue: address.sun_path)
        guard path.utf8.count < capacity else { throw Failure("bind", ENAMETOOLONG) }
        unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: path.utf8) }
        unsafe unlink(path)
        let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw Failure("socket") }
        let length = socklen_t(MemoryLayout<sockaddr_un>.size)
        let bound = unsafe withUnsafePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { unsafe bind(descriptor, $0, length) }
        }
        guard bound == 0 else { throw closing(descriptor, "bind") }
        guard listen(descriptor, Int32(clamping: backlog)) == 0 else { throw closing(descriptor, "listen") }
        if permissions != 0 { unsafe chmod(path, mode_t(permissions)) }
        return Listener(descriptor: descriptor, isUnixSocket: true)
    }

    private static func closing(_ descriptor: Int32, _ operation: String) -> Failure {
        let failure = Failure(operation)
        close(descriptor)
        return failure
    }

    private static func setOption(_ descriptor: Int32, _ level: Int32, _ name: Int32) {
        var one: Int32 = 1
        _ = unsafe setsockopt(descriptor, level, name, &one, socklen_t(MemoryLayout<Int32>.size))
    }
}

/// The limit on open files.
enum OpenFileLimit {
    /// Descriptors that are not clients: log, keyspace, listeners, and some to spare.
    static let reserved = 32

    /// Raises the limit so that so many clients fit, as far as the system lets us; gives how many do.
    static func raise(forClients clients: Int) -> Int {
        let wanted = rlim_t(clients + reserved)
        var limit = rlimit()
        guard unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return clients }
        if limit.rlim_cur >= wanted { return clients }
        if set(wanted, limit) { return clients }
        // What the system lets us have is looked for by halves: the step of 16 that Redis takes would be hours from
        // some numbers that a client can ask for.
        var (possible, refused) = (limit.rlim_cur, wanted)
        while refused - possible > 1 {
            let tried = possible + (refused - possible) / 2
            if set(tried, limit) { possible = tried } else { refused = tried }
        }
        return max(1, Int(possible) - reserved)
    }

    /// Sets the limit, and the one that it may be raised to as well where that is lower.
    private static func set(_ count: rlim_t, _ old: rlimit) -> Bool {
        var raised = rlimit(rlim_cur: count, rlim_max: max(old.rlim_max, count))
        return unsafe setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &raised) == 0
    }
}
