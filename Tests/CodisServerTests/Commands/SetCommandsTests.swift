// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisTesting
import Testing

@Suite("Set commands")
struct SetCommandsTests {
    private let server: CommandHarness

    init() throws { server = try CommandHarness() }

    private func members(_ key: String) -> Set<String> {
        Set((server("SMEMBERS \(key)").elements ?? []).compactMap(\.text))
    }

    private func sorted(_ reply: TestReply) -> [String]? { reply.elements?.compactMap(\.text).sorted() }

    @Test("SADD counts new members, SISMEMBER and SCARD tell of them, SREM counts what was there")
    func addAndRemove() {
        #expect(server("SADD s a b a") == .integer(2))
        #expect(server("SADD s b c") == .integer(1))
        #expect(server("SADD s c") == .integer(0))
        #expect(server("SCARD s") == .integer(3))
        #expect(server("SISMEMBER s a") == .integer(1))
        #expect(server("SISMEMBER s x") == .integer(0))
        #expect(members("s") == ["a", "b", "c"])
        #expect(server("SREM s a x a") == .integer(1))
        #expect(server("SREM s b c") == .integer(2))
        #expect(server("EXISTS s") == .integer(0))
        #expect(server("SREM s a") == .integer(0))
        #expect(server("SCARD s") == .integer(0))
        #expect(server("SISMEMBER s a") == .integer(0))
        #expect(server("SMEMBERS s") == .array([]))
    }

    @Test("a set of integers is an intset up to 512 of them, and its members come in ascending order")
    func intsets() {
        #expect(server("SADD s 10 -5 7 9223372036854775807 0") == .integer(5))
        #expect(server("OBJECT ENCODING s") == "intset")
        #expect(server("SMEMBERS s") == .array(["-5", "0", "7", "10", "9223372036854775807"]))
        #expect(server("SADD s 007") == .integer(1))
        #expect(server("OBJECT ENCODING s") == "hashtable")
        for number in 0..<512 { server("SADD many \(number * 7 % 512)") }
        #expect(server("OBJECT ENCODING many") == "intset")
        #expect(server("SMEMBERS many") == .array((0..<512).map { .bulk("\($0)") }))
        server("SADD many 5")
        #expect(server("OBJECT ENCODING many") == "intset")
        server("SADD many 512")
        #expect(server("OBJECT ENCODING many") == "hashtable")
        server("SREM many 512 511 510")
        #expect(server("OBJECT ENCODING many") == "hashtable")
        server("SADD text a")
        #expect(server("OBJECT ENCODING text") == "hashtable")
        server("CONFIG SET set-max-intset-entries 2")
        server("SADD three 1 2 3")
        #expect(server("OBJECT ENCODING three") == "hashtable")
    }

    @Test("SPOP takes members until none is left, and replies null then", arguments: [5, 60, 1000])
    func pop(count: Int) {
        let all = (0..<count).map { "member:\($0)" }
        server.run(["SADD", "s"].map { Array($0.utf8) } + all.map { Array($0.utf8) })
        var popped: Set<String> = []
        for number in 0..<count {
            #expect(server("SCARD s") == .integer(Int64(count - number)))
            guard let member = server("SPOP s").text else {
                Issue.record("nothing was popped")
                return
            }
            #expect(popped.insert(member).inserted)
            #expect(server("SISMEMBER s \(member)") == .integer(0))
        }
        #expect(popped == Set(all))
        #expect(server("SPOP s") == .nullBulk)
        #expect(server("EXISTS s") == .integer(0))
    }

    @Test("SRANDMEMBER replies one, some different ones, or as many as asked for with repetitions")
    func random() {
        #expect(server("SRANDMEMBER s") == .nullBulk)
        #expect(server("SRANDMEMBER s 3") == .array([]))
        server("SADD s a b c d")
        #expect(members("s").contains(server("SRANDMEMBER s").text ?? ""))
        #expect(server("SRANDMEMBER s 0") == .array([]))
        #expect(sorted(server("SRANDMEMBER s 4")) == ["a", "b", "c", "d"])
        #expect(sorted(server("SRANDMEMBER s 100")) == ["a", "b", "c", "d"])
        #expect(Set(server("SRANDMEMBER s 3").elements?.compactMap(\.text) ?? []).count == 3)
        let many = server("SRANDMEMBER s -50").elements?.compactMap(\.text) ?? []
        #expect(many.count == 50 && Set(many).isSubset(of: ["a", "b", "c", "d"]) && Set(many).count > 1)
        #expect(server("SRANDMEMBER s x") == .error("ERR value is not an integer or out of range"))
        #expect(server("SRANDMEMBER s 1 2") == .error("ERR syntax error"))
        #expect(server("SRANDMEMBER s -9223372036854775808") == .error("ERR value is out of range"))
        for number in 0..<2000 { server("SADD large \(number)") }
        for count in [5, 100, 1500, 1999] {
            let some = server("SRANDMEMBER large \(count)").elements?.compactMap(\.text) ?? []
            #expect(some.count == count && Set(some).count == count)
        }
    }

    @Test("SRANDMEMBER and SPOP choose each member as often as any other", arguments: [10, 200, 2000])
    func fairness(count: Int) {
        for number in 0..<count { server("SADD s m\(number)") }
        var times: [String: Int] = [:]
        let rounds = 20_000
        for member in server("SRANDMEMBER s -\(rounds)").elements ?? [] { times[member.text ?? "", default: 0] += 1 }
        // Chi square with count - 1 degrees of freedom: six standard deviations are next to impossible.
        let expected = Double(rounds) / Double(count)
        let sum = (0..<count).reduce(0.0) { sum, number in
            let difference = Double(times["m\(number)"] ?? 0) - expected
            return sum + difference * difference / expected
        }
        let freedom = Double(count - 1)
        #expect(abs(sum - freedom) < 6 * (2 * freedom).squareRoot())
    }

    @Test("SMOVE moves a member, makes the destination and deletes the empty source")
    func move() {
        server("SADD a 1 x")
        server("SADD b 2")
        #expect(server("SMOVE a b x") == .integer(1))
        #expect(members("a") == ["1"] && members("b") == ["2", "x"])
        #expect(server("OBJECT ENCODING b") == "hashtable")
        #expect(server("SMOVE a b nothing") == .integer(0))
        #expect(server("SMOVE a new 1") == .integer(1))
        #expect(server("EXISTS a") == .integer(0))
        #expect(members("new") == ["1"])
        #expect(server("SMOVE a b 1") == .integer(0))
        #expect(server("SMOVE b b x") == .integer(1))
        #expect(server("SMOVE b b y") == .integer(0))
        #expect(members("b") == ["2", "x"])
        server("SET string v")
        #expect(server("SMOVE missing string 1") == .integer(0))
        let refusal = TestReply.error("WRONGTYPE Operation against a key holding the wrong kind of value")
        #expect(server("SMOVE string b 1") == refusal)
        #expect(server("SMOVE b string 2") == refusal)
        #expect(members("b") == ["2", "x"])
    }

    @Test("SINTER, SUNION and SDIFF combine sets, and what is missing is empty")
    func combine() {
        server("SADD a 1 2 3 4 x")
        server("SADD b 2 3 y")
        server("SADD c 3 x")
        #expect(sorted(server("SINTER a b c")) == ["3"])
        #expect(sorted(server("SINTER a b")) == ["2", "3"])
        #expect(sorted(server("SINTER a")) == ["1", "2", "3", "4", "x"])
        #expect(server("SINTER a missing") == .array([]))
        #expect(sorted(server("SUNION a b c missing")) == ["1", "2", "3", "4", "x", "y"])
        #expect(server("SUNION missing") == .array([]))
        #expect(sorted(server("SDIFF a b c missing")) == ["1", "4"])
        #expect(server("SDIFF missing a") == .array([]))
        #expect(server("SDIFF a a") == .array([]))
    }

    @Test("results that are all integers come in ascending order")
    func integerOrder() {
        server("SADD a 5 3 1 x")
        server("SADD b 9 3 5 2")
        #expect(server("SINTER a b") == .array(["3", "5"]))
        #expect(server("SDIFF b a") == .array(["2", "9"]))
        server("SREM a x")
        #expect(server("SUNION a b") == .array(["1", "2", "3", "5", "9"]))
    }

    @Test("SINTERSTORE, SUNIONSTORE and SDIFFSTORE replace the destination, which may be one of the sets")
    func store() {
        server("SADD a 1 2 3")
        server("SADD b 2 3 4")
        #expect(server("SINTERSTORE d a b") == .integer(2))
        #expect(server("SMEMBERS d") == .array(["2", "3"]))
        #expect(server("OBJECT ENCODING d") == "intset")
        server("SET d string")
        server("EXPIRE d 100")
        #expect(server("SUNIONSTORE d a b") == .integer(4))
        #expect(server("TTL d") == .integer(-1))
        #expect(server("SMEMBERS d") == .array(["1", "2", "3", "4"]))
        #expect(server("SDIFFSTORE d d b") == .integer(1))
        #expect(members("d") == ["1"])
        #expect(server("SUNIONSTORE a a b") == .integer(4))
        #expect(server("SDIFFSTORE d a a") == .integer(0))
        #expect(server("EXISTS d") == .integer(0))
        server("SADD d 1")
        #expect(server("SINTERSTORE d a missing") == .integer(0))
        #expect(server("EXISTS d") == .integer(0))
    }

    @Test("sets of thousands of members, long ones among them, are combined and stored")
    func large() {
        let long = String(repeating: "long", count: 500)
        let add = { (key: String, numbers: any Sequence<Int>) in
            for number in numbers { self.server("SADD \(key) \(number % 10 == 0 ? long : "")m\(number)") }
        }
        add("a", 0..<1500)
        add("b", 1000..<2500)
        add("small", 1490..<1510)
        #expect(server("SINTERSTORE d a b") == .integer(500))
        #expect(server("SUNIONSTORE e a b") == .integer(2500))
        #expect(server("SDIFFSTORE f a b") == .integer(1000))
        #expect(server("SINTER a b small").elements?.count == 10)
        #expect(server("SUNION d f").elements?.count == 1500)
        #expect(server("SDIFF e a b") == .array([]))
        #expect(members("d") == Set((1000..<1500).map { ($0 % 10 == 0 ? long : "") + "m\($0)" }))
        #expect(server("SUNIONSTORE a a small") == .integer(1510))
    }

    @Test("the types of the sets are checked, up to one that is missing for an intersection")
    func typesOfCombined() {
        let refusal = TestReply.error("WRONGTYPE Operation against a key holding the wrong kind of value")
        server("SET string v")
        server("SADD a 1")
        for command in ["SINTER a string", "SUNION missing string", "SDIFF a missing string", "SUNIONSTORE d a string"]
        {
            #expect(server(command) == refusal, "\(command)")
        }
        #expect(server("SINTER missing string") == .array([]))
        #expect(server("SINTERSTORE string missing string") == .integer(0))
        #expect(server("EXISTS string") == .integer(0))
    }

    @Test("SSCAN replies small sets whole and meets each member of a large one once", arguments: [10, 3000])
    func scan(count: Int) {
        for number in 0..<count { server("SADD s member:\(number)") }
        var seen: Set<String> = []
        var cursor = "0"
        repeat {
            let reply = server("SSCAN s \(cursor) MATCH *:* COUNT 100").elements ?? []
            guard reply.count == 2, let next = reply[0].text, let found = reply[1].elements else {
                Issue.record("no cursor and elements")
                return
            }
            cursor = next
            for member in found { #expect(seen.insert(member.text ?? "").inserted) }
        } while cursor != "0"
        #expect(seen.count == count)
        #expect(server("SSCAN missing 0") == .array(["0", .array([])]))
        #expect(server("SSCAN s x") == .error("ERR invalid cursor"))
    }

    @Test(
        "a key of another type is refused by every command on sets",
        arguments: [
            "SADD k m", "SREM k m", "SISMEMBER k m", "SCARD k", "SMEMBERS k", "SPOP k", "SRANDMEMBER k",
            "SRANDMEMBER k 2", "SMOVE k s m", "SINTER k", "SUNION k", "SDIFF k", "SINTERSTORE d k", "SUNIONSTORE d k",
            "SDIFFSTORE d k", "SSCAN k 0",
        ]
    )
    func wrongType(command: String) {
        server("SET k v")
        #expect(
            server(command) == .error("WRONGTYPE Operation against a key holding the wrong kind of value")
        )
        #expect(server("GET k") == "v")
    }
}
