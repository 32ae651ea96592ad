// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisTesting
import Testing

/// A master and a replica of it, with a proxy between them whose port stays the same when the master starts anew.
struct ReplicationPair {
    let master: TestServer
    let replica: TestServer
    let proxy: LinkProxy

    init(
        masterConfiguration: [String] = [],
        replicaConfiguration: [String] = [],
        masterProgram: TestServer.Program = .codis,
        replicaProgram: TestServer.Program = .codis,
        attaches: Bool = true
    ) throws {
        let redis = ["save \"\"", "appendonly no", "repl-diskless-sync-delay 0", "enable-debug-command yes"]
        master = try TestServer(
            configuration: (masterProgram == .redis ? redis : []) + masterConfiguration,
            program: masterProgram
        )
        proxy = try LinkProxy(to: master.port)
        replica = try TestServer(
            configuration: (replicaProgram == .redis ? redis : []) + replicaConfiguration,
            program: replicaProgram
        )
        if attaches { try attach() }
    }

    /// Makes the replica one, and waits until it is level.
    func attach() throws {
        try replica.command("SLAVEOF", "127.0.0.1", "\(proxy.port)")
        try waitUntilLevel()
    }

    /// Waits until the link is up and the replica has all that the master has.
    func waitUntilLevel(timeoutSeconds: Double = 60) throws {
        try level(master, replica, timeoutSeconds: timeoutSeconds)
    }

    /// Expects both to hold the same, once they are level.
    func expectSame(_ comment: Comment? = nil) throws {
        try waitUntilLevel()
        try expectSameDigest(master, replica, comment)
    }

    func stop() throws {
        try replica.stop()
        try master.stop()
        proxy.end()
    }
}

/// Waits until `replica`'s link is up and it stands where `master` does.
func level(_ master: TestServer, _ replica: TestServer, timeoutSeconds: Double = 60) throws {
    let isLevel = waitUntil(timeoutSeconds: timeoutSeconds) {
        guard let status = try? replica.info("master_link_status"), status == "up" else { return false }
        guard let end = try? master.info("master_repl_offset"), let own = try? replica.info("slave_repl_offset") else {
            return false
        }
        return end == own
    }
    try #require(isLevel, "the replica did not become level:\n\(replica.output.suffix(3000))")
}

func expectSameDigest(_ one: TestServer, _ other: TestServer, _ comment: Comment? = nil) throws {
    let digests = try [one, other].map { try $0.command("DEBUG", "DIGEST").text }
    #expect(digests[0] == digests[1], comment)
}

extension TestServer {
    /// The value of a field of INFO as a number; 0 if there is none.
    func number(_ field: String) throws -> Int { try info(field).flatMap { Int($0) } ?? 0 }

    /// Waits until a field of INFO has this value.
    func waitFor(_ field: String, _ value: String, timeoutSeconds: Double = 60) throws {
        let isThere = waitUntil(timeoutSeconds: timeoutSeconds) { (try? info(field)) == value }
        try #require(isThere, "\(field) did not become \(value): \(output.suffix(2000))")
    }
}
