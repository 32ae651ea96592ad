// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisTesting
import Testing

@Suite("INFO")
struct InfoTests {
    let server: CommandHarness

    init() throws { server = try CommandHarness() }

    private func text(_ line: String) -> String { server(line).text ?? "" }

    /// The names of the sections of a reply, in order.
    private func sections(_ text: String) -> [String] {
        text.split(separator: "\r\n").filter { $0.hasPrefix("# ") }.map { String($0.dropFirst(2)) }
    }

    /// The fields of a reply.
    private func fields(_ text: String) -> [String: String] {
        var fields: [String: String] = [:]
        for line in text.split(separator: "\r\n") where !line.hasPrefix("#") {
            guard let colon = line.firstIndex(of: ":") else { continue }
            fields[String(line[..<colon])] = String(line[line.index(after: colon)...])
        }
        return fields
    }

    @Test("INFO shows all sections but the statistics of commands, INFO ALL those too")
    func sectionNames() {
        let all = [
            "Server", "Clients", "Memory", "Persistence", "Stats", "Replication", "CPU", "Commandstats", "Keyspace",
            "Storage", "Slots",
        ]
        #expect(sections(text("INFO")) == all.filter { $0 != "Commandstats" })
        #expect(sections(text("INFO default")) == all.filter { $0 != "Commandstats" })
        #expect(sections(text("INFO All")) == all)
    }

    @Test("a section alone has its headline and its fields; an unknown one is empty")
    func oneSection() {
        #expect(text("INFO cpu").hasPrefix("# CPU\r\nused_cpu_sys:"))
        #expect(text("INFO KEYSPACE") == "# Keyspace\r\n")
        #expect(server("INFO nonsense") == .bulk(""))
        #expect(server("INFO a b") == .error("ERR syntax error"))
    }

    @Test("# Keyspace counts the keys of each database, and those that expire")
    func keyspace() {
        server("MSET a 1 b 2")
        server("PSETEX c 1000 3")
        server("SELECT 7")
        server("SET a 1")
        #expect(
            text("INFO keyspace")
                == "# Keyspace\r\ndb0:keys=3,expires=1,avg_ttl=1000\r\ndb7:keys=1,expires=0,avg_ttl=0\r\n"
        )
    }

    @Test("only the databases have fields that begin with db")
    func databaseFields() {
        server("SET a 1")
        #expect(fields(text("INFO all")).keys.filter { $0.hasPrefix("db") } == ["db0"])
    }

    @Test("# Stats counts commands, hits, misses and what expired")
    func statistics() {
        let before = fields(text("INFO stats"))
        server("SET a 1")
        server("MGET a b c")
        server("PSETEX d 1 v")
        server.advance(milliseconds: 2)
        server("GET d")
        let after = fields(text("INFO stats"))
        func grown(_ field: String) -> Int { (Int(after[field] ?? "") ?? -1) - (Int(before[field] ?? "") ?? -1) }
        #expect(grown("total_commands_processed") == 5)
        #expect(grown("keyspace_hits") == 1)
        #expect(grown("keyspace_misses") == 3)
        #expect(grown("expired_keys") == 1)
    }

    @Test("# Commandstats has a line for each command that ran")
    func commands() {
        server("SET a 1")
        server("GET a")
        server("GET a")
        let found = fields(text("INFO commandstats"))
        #expect(found["cmdstat_get"]?.hasPrefix("calls=2,usec=") == true)
        #expect(found["cmdstat_set"]?.hasPrefix("calls=1,usec=") == true)
        #expect(found["cmdstat_del"] == nil)
    }

    @Test("# Slots tells how the keys are spread")
    func slots() {
        for number in 0..<3 { server("SET {a}\(number) v") }
        server("SET foo v")
        let found = fields(text("INFO slots"))
        #expect(found["slots_with_keys"] == "2")
        #expect(found["slot_largest"] == "579")
        #expect(found["slot_largest_keys"] == "3")
        #expect(found["slot579"]?.hasPrefix("keys=3,bytes=") == true)
        #expect(found["slot579"]?.hasSuffix(",expires=0,reads=0,writes=3") == true)
        #expect(fields(text("INFO"))["slot579"] == nil)
    }
}
