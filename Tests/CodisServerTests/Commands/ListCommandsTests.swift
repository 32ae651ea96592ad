// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisTesting
import Testing

@Suite("List commands")
struct ListCommandsTests {
    let server: CommandHarness

    init() throws { server = try CommandHarness() }

    private func elements(_ key: String = "l") -> [String] {
        server("LRANGE \(key) 0 -1").elements?.compactMap { $0.bytes.map { String(decoding: $0, as: UTF8.self) } } ?? []
    }

    private func encoding(_ key: String = "l") -> TestReply { server("OBJECT ENCODING \(key)") }

    /// Fills a list with the elements from 0 on.
    private func fill(_ count: Int, key: String = "l") {
        for start in stride(from: 0, to: count, by: 500) {
            server.run(["RPUSH", key] + (start..<min(start + 500, count)).map(String.init))
        }
    }

    // MARK: Ends

    @Test("LPUSH puts each element before the others, RPUSH behind them, and both reply the length")
    func pushing() {
        #expect(server("LPUSH l a b c") == .integer(3))
        #expect(server("RPUSH l d e") == .integer(5))
        #expect(elements() == ["c", "b", "a", "d", "e"])
        #expect(server("LLEN l") == .integer(5))
        #expect(server("TYPE l") == .status("list"))
        #expect(server("LLEN missing") == .integer(0))
    }

    @Test("elements are any bytes, even none")
    func anyBytes() {
        let bytes: [UInt8] = Array(0...255)
        #expect(server.run([Array("RPUSH".utf8), [108], bytes, []]) == .integer(2))
        #expect(server("LINDEX l 0") == .bulk(bytes))
        #expect(server("LINDEX l 1") == .bulk(""))
        #expect(server("RPOP l") == .bulk(""))
        #expect(server("LPOP l") == .bulk(bytes))
    }

    @Test("LPOP and RPOP take the elements off in order, and the key goes with the last")
    func popping() {
        server("RPUSH l a b c d")
        #expect(server("LPOP l") == .bulk("a"))
        #expect(server("RPOP l") == .bulk("d"))
        #expect(server("RPOP l") == .bulk("c"))
        #expect(server("LPOP l") == .bulk("b"))
        #expect(server("EXISTS l") == .integer(0))
        #expect(server("LPOP l") == .nullBulk)
        #expect(server("RPOP l") == .nullBulk)
    }

    @Test("LPUSHX and RPUSHX push onto a list that is there only")
    func pushingOntoWhatIsThere() {
        #expect(server("LPUSHX l a") == .integer(0))
        #expect(server("RPUSHX l a") == .integer(0))
        #expect(server("EXISTS l") == .integer(0))
        server("RPUSH l b")
        #expect(server("LPUSHX l a") == .integer(2))
        #expect(server("RPUSHX l c") == .integer(3))
        #expect(elements() == ["a", "b", "c"])
    }

    @Test("RPOPLPUSH moves the last element to the front of another list, and turns a list onto itself")
    func moving() {
        server("RPUSH a 1 2 3")
        #expect(server("RPOPLPUSH a b") == .bulk("3"))
        #expect(server("RPOPLPUSH a b") == .bulk("2"))
        #expect(elements("a") == ["1"])
        #expect(elements("b") == ["2", "3"])
        #expect(server("RPOPLPUSH a b") == .bulk("1"))
        #expect(server("EXISTS a") == .integer(0))
        #expect(server("RPOPLPUSH a b") == .nullBulk)
        #expect(server("RPOPLPUSH missing missing") == .nullBulk)
        #expect(server("RPOPLPUSH b b") == .bulk("3"))
        #expect(elements("b") == ["3", "1", "2"])
        server("RPUSH one x")
        server("EXPIRE one 100")
        #expect(server("RPOPLPUSH one one") == .bulk("x"))
        #expect(server("TTL one") == .integer(100))
        #expect(elements("one") == ["x"])
    }

    @Test("a list that is turned keeps its encoding at the limit of a ziplist")
    func turningAtTheLimit() {
        fill(512)
        #expect(server("RPOPLPUSH l l") == .bulk("511"))
        #expect(encoding() == .bulk("ziplist"))
        #expect(server("LLEN l") == .integer(512))
    }

    @Test("a moved element of any size arrives whole", arguments: [10, 900, 901, 5_000, 300_000])
    func movingLarge(size: Int) {
        let element = (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 7 >> 2) }
        server.run([Array("RPUSH".utf8), [97], element])
        #expect(server("RPOPLPUSH a b") == .bulk(element))
        #expect(server("LINDEX b 0") == .bulk(element))
        #expect(server("EXISTS a") == .integer(0))
        #expect(server("RPOPLPUSH b b") == .bulk(element))
        #expect(server("LRANGE b 0 -1") == .array([.bulk(element)]))
    }

    // MARK: Ranges

    @Test("LINDEX counts from either end, and what is beyond is null", arguments: [3, 300, 10_000])
    func index(count: Int) {
        fill(count)
        for index in [0, 1, count / 2, count - 1] {
            #expect(server("LINDEX l \(index)") == .bulk("\(index)"))
            #expect(server("LINDEX l \(index - count)") == .bulk("\(index)"))
        }
        #expect(server("LINDEX l \(count)") == .nullBulk)
        #expect(server("LINDEX l \(-count - 1)") == .nullBulk)
        #expect(server("LINDEX l 9223372036854775807") == .nullBulk)
        #expect(server("LINDEX l -9223372036854775808") == .nullBulk)
    }

    @Test("LRANGE cuts its range to what is there", arguments: [10, 2_000])
    func range(count: Int) {
        fill(count)
        func range(_ start: Int, _ stop: Int) -> [Int] {
            server("LRANGE l \(start) \(stop)").elements?.compactMap {
                $0.bytes.map { Int(String(decoding: $0, as: UTF8.self)) ?? -1 }
            }
                ?? [-2]
        }
        #expect(range(0, -1) == Array(0..<count))
        #expect(range(-count - 5, count + 5) == Array(0..<count))
        #expect(range(2, 4) == [2, 3, 4])
        #expect(range(-3, -2) == [count - 3, count - 2])
        #expect(range(4, 2) == [])
        #expect(range(count, count + 1) == [])
        #expect(range(0, -count - 1) == [])
        #expect(range(count / 2, count / 2) == [count / 2])
        #expect(server("LRANGE missing 0 -1") == .array([]))
    }

    @Test("LTRIM leaves the range, and deletes the key when nothing is left")
    func trimming() {
        for count in [10, 5_000] {
            fill(count)
            #expect(server("LTRIM l 0 -1") == .ok)
            #expect(server("LLEN l") == .integer(Int64(count)))
            #expect(server("LTRIM l 1 -2") == .ok)
            #expect(elements() == (1..<(count - 1)).map(String.init))
            #expect(server("LTRIM l -3 100000") == .ok)
            #expect(elements() == ((count - 4)..<(count - 1)).map(String.init))
            #expect(server("LTRIM l 2 1") == .ok)
            #expect(server("EXISTS l") == .integer(0))
        }
        #expect(server("LTRIM missing 0 1") == .ok)
    }

    @Test("LTRIM of a long list leaves what is asked for, wherever it is", arguments: [0, 10, 15_000, 29_900])
    func trimmingLong(start: Int) {
        fill(30_000)
        #expect(server("LTRIM l \(start) \(start + 99)") == .ok)
        #expect(elements() == (start..<(start + 100)).map(String.init))
        server("RPUSH l x")
        server("LPUSH l y")
        #expect(elements() == ["y"] + (start..<(start + 100)).map(String.init) + ["x"])
    }

    // MARK: The middle

    @Test("LSET replaces one element, from either end", arguments: [5, 5_000])
    func setting(count: Int) {
        fill(count)
        #expect(server("LSET l 0 first") == .ok)
        #expect(server("LSET l -1 last") == .ok)
        #expect(server("LSET l \(count / 2) middle") == .ok)
        var expected = (0..<count).map(String.init)
        expected[0] = "first"
        expected[count - 1] = "last"
        expected[count / 2] = "middle"
        #expect(elements() == expected)
    }

    @Test("LINSERT puts an element beside the first that equals the pivot", arguments: [4, 4_000])
    func inserting(count: Int) {
        fill(count)
        #expect(server("LINSERT l BEFORE 0 a") == .integer(Int64(count + 1)))
        #expect(server("LINSERT l after \(count - 1) b") == .integer(Int64(count + 2)))
        #expect(server("LINSERT l After \(count / 2) c") == .integer(Int64(count + 3)))
        #expect(server("LINSERT l before nothing d") == .integer(-1))
        #expect(server("LINSERT missing before a b") == .integer(0))
        var expected = (0..<count).map(String.init)
        expected.insert("c", at: count / 2 + 1)
        #expect(elements() == ["a"] + expected + ["b"])
    }

    @Test("LREM removes from the head, from the tail, or all", arguments: [1, 1_500])
    func removing(repetitions: Int) {
        for _ in 0..<repetitions { server("RPUSH l a b a c a") }
        let all = Array(repeating: ["a", "b", "a", "c", "a"], count: repetitions).flatMap { $0 }
        #expect(server("LREM l 0 nothing") == .integer(0))
        #expect(server("LREM l 2 a") == .integer(2))
        #expect(elements() == Array(all.dropFirst(3).reversed() + ["b"]).reversed())
        #expect(server("LREM l -1 a") == .integer(1))
        #expect(server("LREM l 0 a") == .integer(Int64(repetitions * 3 - 3)))
        #expect(elements() == all.filter { $0 != "a" })
        #expect(server("LREM l 0 b") == .integer(Int64(repetitions)))
        #expect(server("LREM l -100000 c") == .integer(Int64(repetitions)))
        #expect(server("EXISTS l") == .integer(0))
        #expect(server("LREM l 1 a") == .integer(0))
    }

    @Test("long elements are compared whole")
    func comparingLong() {
        let long = Array(repeating: UInt8(120), count: 10_000)
        server.run([Array("RPUSH".utf8), [108], long, long + [1], long])
        #expect(server.run([Array("LREM".utf8), [108], Array("0".utf8), long]) == .integer(2))
        #expect(server("LRANGE l 0 -1") == .array([.bulk(long + [1])]))
        #expect(server.run([Array("LINSERT".utf8), [108], Array("BEFORE".utf8), long + [1], long]) == .integer(2))
        #expect(server("LRANGE l 0 -1") == .array([.bulk(long), .bulk(long + [1])]))
        #expect(server.run([Array("LSET".utf8), [108], Array("1".utf8), [1]]) == .ok)
        #expect(server("LRANGE l 0 -1") == .array([.bulk(long), .bulk([1])]))
    }

    // MARK: Encodings

    @Test("a list is a ziplist up to 512 elements of 64 bytes, and a linked list for good beyond")
    func encodings() {
        fill(512)
        #expect(encoding() == .bulk("ziplist"))
        server("LINSERT l before nothing x")
        #expect(encoding() == .bulk("ziplist"))
        server("RPUSH l x")
        #expect(encoding() == .bulk("linkedlist"))
        server("LTRIM l 0 1")
        #expect(encoding() == .bulk("linkedlist"))

        let limit = String(repeating: "x", count: 64)
        let long = limit + "x"
        server("RPUSH a \(limit)")
        #expect(encoding("a") == .bulk("ziplist"))
        server("LSET a 0 \(long)")
        #expect(encoding("a") == .bulk("linkedlist"))
        server("LPUSH b \(long)")
        #expect(encoding("b") == .bulk("linkedlist"))
        server("RPUSH c x")
        server("LINSERT c AFTER y \(long)")
        #expect(encoding("c") == .bulk("ziplist"))
        server("LINSERT c AFTER x \(long)")
        #expect(encoding("c") == .bulk("linkedlist"))
        server("RPUSH d x")
        server("RPUSHX d \(long)")
        #expect(encoding("d") == .bulk("linkedlist"))
        fill(512, key: "e")
        server("LINSERT e BEFORE 5 y")
        #expect(encoding("e") == .bulk("linkedlist"))
    }

    @Test("the limits of a ziplist are those that are configured; integers are never too long for one")
    func configuredLimits() {
        server("CONFIG SET list-max-ziplist-entries 3")
        server("CONFIG SET list-max-ziplist-value 5")
        server("RPUSH l 1 123456789 abcde")
        #expect(encoding() == .bulk("ziplist"))
        server("RPUSH l 1")
        #expect(encoding() == .bulk("linkedlist"))
        server("RPUSH m 0123456789")
        #expect(encoding("m") == .bulk("linkedlist"))
    }

    @Test("what a list holds comes back in order, however large", arguments: [100, 700, 5_000])
    func growing(count: Int) {
        // Elements of very different sizes, so that rows fill up in every way.
        let values = (0..<count).map { number in
            String(repeating: "v\(number) ", count: number % 97 == 0 ? 400 : number % 13 == 0 ? 30 : 1 + number % 4)
        }
        for value in values { server.run("RPUSH", "r", value) }
        for value in values.reversed() { server.run("LPUSH", "l", value) }
        #expect(elements("r") == values)
        #expect(elements("l") == values)
        for value in values.prefix(count / 2) {
            #expect(server("LPOP r") == .bulk(value))
            #expect(server("LPOP l") == .bulk(value))
        }
        for value in values.dropFirst(count / 2).reversed() {
            #expect(server("RPOP r") == .bulk(value))
            #expect(server("RPOP l") == .bulk(value))
        }
        #expect(server("DBSIZE") == .integer(0))
    }

    @Test("a list keeps its expiry through every change, and takes it along when it is renamed")
    func expiry() {
        fill(3_000)
        server("EXPIRE l 100")
        server("LPUSH l a")
        server("LTRIM l 0 99")
        server("LSET l 5 x")
        server("LREM l 1 7")
        #expect(server("TTL l") == .integer(100))
        #expect(server("RENAME l m") == .ok)
        #expect(server("TTL m") == .integer(100))
        #expect(server("LLEN m") == .integer(99))
        server.advance(milliseconds: 100_001)
        #expect(server("LPUSHX m a") == .integer(0))
        #expect(server("LPUSH m a") == .integer(1))
        #expect(server("TTL m") == .integer(-1))
    }

    // MARK: Errors

    @Test(
        "each command complains of another type",
        arguments: [
            "LPUSH s a", "RPUSH s a", "LPUSHX s a", "RPUSHX s a", "LPOP s", "RPOP s", "LLEN s", "LINDEX s 0",
            "LSET s 0 a", "LRANGE s 0 1", "LINSERT s BEFORE a b", "LREM s 1 a", "LTRIM s 0 1", "RPOPLPUSH s l",
            "RPOPLPUSH l s",
        ]
    )
    func wrongType(command: String) {
        server("SET s text")
        server("RPUSH l a")
        #expect(server(command) == .error("WRONGTYPE Operation against a key holding the wrong kind of value"))
        #expect(server("GET s") == .bulk("text"))
        #expect(elements() == ["a"])
    }

    @Test("GET of a list is a wrong type too")
    func stringCommands() {
        server("RPUSH l a")
        for command in ["GET l", "APPEND l x", "INCR l", "STRLEN l", "SETRANGE l 0 x", "BITCOUNT l"] {
            #expect(server(command) == .error("WRONGTYPE Operation against a key holding the wrong kind of value"))
        }
    }

    @Test(
        "an index that is no integer is an error",
        arguments: [
            "LINDEX l x", "LSET l x a", "LRANGE l x 1", "LRANGE l 0 x", "LTRIM l x 1", "LTRIM l 0 x", "LREM l x a",
        ]
    )
    func notAnInteger(command: String) {
        server("RPUSH l a")
        #expect(server(command) == .error("ERR value is not an integer or out of range"))
    }

    @Test("LSET complains of a missing key and of an index beyond the ends")
    func setErrors() {
        #expect(server("LSET l 0 a") == .error("ERR no such key"))
        #expect(server("LSET l x a") == .error("ERR no such key"))
        server("RPUSH l a")
        #expect(server("LSET l 1 b") == .error("ERR index out of range"))
        #expect(server("LSET l -2 b") == .error("ERR index out of range"))
        #expect(elements() == ["a"])
    }

    @Test("LINSERT knows BEFORE and AFTER only")
    func insertErrors() {
        #expect(server("LINSERT l BETWEEN a b") == .error("ERR syntax error"))
        server("SET s x")
        #expect(server("LINSERT s BETWEEN a b") == .error("ERR syntax error"))
    }

    @Test(
        "each command wants the right number of words",
        arguments: [
            ("LPUSH l", "lpush"), ("RPUSH l", "rpush"), ("LPUSHX l a b", "lpushx"), ("RPUSHX l", "rpushx"),
            ("LPOP l 1", "lpop"), ("RPOP", "rpop"), ("LLEN", "llen"), ("LINDEX l", "lindex"), ("LSET l 0", "lset"),
            ("LRANGE l 0", "lrange"), ("LINSERT l BEFORE a", "linsert"), ("LREM l 0", "lrem"), ("LTRIM l 0", "ltrim"),
            ("RPOPLPUSH l", "rpoplpush"), ("SORT", "sort"),
        ]
    )
    func arity(line: String, name: String) {
        #expect(server(line) == .error("ERR wrong number of arguments for '\(name)' command"))
    }

    // MARK: Effects

    @Test("what changes nothing does not enter the log, and what does enters as it came")
    func effects() throws {
        server("RPUSH l a b c")
        server("LPUSHX missing a")
        server("LPOP missing")
        server("LREM l 0 nothing")
        server("LINSERT l BEFORE nothing x")
        server("LRANGE l 0 -1")
        server("LSET l 9 x")
        server("RPOPLPUSH l m")
        server("LTRIM l 0 0")
        server("LREM l -1 a")
        #expect(
            try server.effectLines == [
                "SELECT 0", "RPUSH l a b c", "RPOPLPUSH l m", "LTRIM l 0 0", "LREM l -1 a",
            ]
        )
    }
}

extension CommandHarness {
    /// Runs a command of these words.
    @discardableResult
    func run(_ words: [String]) -> TestReply { run(words.map { Array($0.utf8) }) }
}
