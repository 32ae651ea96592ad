// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisTesting
import Testing

@testable import CodisServer

@Suite("Publish and subscribe")
struct PubSubCommandsTests {
    private func confirmation(_ what: String, _ name: String?, _ count: Int64) -> TestReply {
        .array([.bulk(what), name.map { .bulk($0) } ?? .nullBulk, .integer(count)])
    }

    private func message(_ channel: String, _ text: String) -> TestReply { .bulks("message", channel, text) }

    @Test("a message goes to who has subscribed to its channel, and PUBLISH tells how many that are")
    func channels() throws {
        let redis = try CommandHarness()
        let first = redis.client()
        let second = redis.client()
        #expect(redis("PUBLISH a text") == .integer(0))
        #expect(
            first.replies("SUBSCRIBE a b a") == [
                confirmation("subscribe", "a", 1), confirmation("subscribe", "b", 2), confirmation("subscribe", "a", 2),
            ]
        )
        second.replies("SUBSCRIBE a")
        #expect(redis("PUBLISH a one") == .integer(2))
        #expect(redis("PUBLISH b two") == .integer(1))
        #expect(redis("PUBLISH c three") == .integer(0))
        #expect(first.pushed == [message("a", "one"), message("b", "two")])
        #expect(second.pushed == [message("a", "one")])
    }

    @Test("patterns get the messages of all channels that match, each pattern one, after the channel's subscribers")
    func patterns() throws {
        let redis = try CommandHarness()
        let client = redis.client()
        #expect(
            client.replies("PSUBSCRIBE n* *s n*") == [
                confirmation("psubscribe", "n*", 1), confirmation("psubscribe", "*s", 2),
                confirmation("psubscribe", "n*", 2),
            ]
        )
        #expect(client("SUBSCRIBE news") == confirmation("subscribe", "news", 3))
        #expect(redis("PUBLISH news text") == .integer(3))
        #expect(redis("PUBLISH none text") == .integer(1))
        #expect(redis("PUBLISH other text") == .integer(0))
        #expect(
            client.pushed == [
                message("news", "text"), .bulks("pmessage", "n*", "news", "text"),
                .bulks("pmessage", "*s", "news", "text"), .bulks("pmessage", "n*", "none", "text"),
            ]
        )
    }

    @Test("UNSUBSCRIBE and PUNSUBSCRIBE end some subscriptions or all, with a reply for each, or one if there is none")
    func unsubscribe() throws {
        let redis = try CommandHarness()
        let client = redis.client()
        #expect(client("UNSUBSCRIBE") == confirmation("unsubscribe", nil, 0))
        #expect(client("PUNSUBSCRIBE") == confirmation("punsubscribe", nil, 0))
        #expect(client("UNSUBSCRIBE x") == confirmation("unsubscribe", "x", 0))
        #expect(client("PUNSUBSCRIBE x*") == confirmation("punsubscribe", "x*", 0))
        client.replies("SUBSCRIBE a b c")
        client.replies("PSUBSCRIBE d* e*")
        #expect(client("UNSUBSCRIBE b") == confirmation("unsubscribe", "b", 4))
        #expect(
            client.replies("UNSUBSCRIBE") == [
                confirmation("unsubscribe", "a", 3), confirmation("unsubscribe", "c", 2),
            ]
        )
        #expect(client("UNSUBSCRIBE") == confirmation("unsubscribe", nil, 2))
        #expect(
            client.replies("PUNSUBSCRIBE") == [
                confirmation("punsubscribe", "d*", 1), confirmation("punsubscribe", "e*", 0),
            ]
        )
        #expect(redis("PUBLISH a x") == .integer(0))
        #expect(redis.server.pubSub.isEmpty)
        #expect(client("GET a") == .nullBulk)
    }

    @Test("a client with subscriptions may use little else, and PING gets the form of a message")
    func context() throws {
        let redis = try CommandHarness()
        let client = redis.client()
        client.replies("SUBSCRIBE a")
        for line in ["GET a", "PUBLISH a b", "MULTI", "PUBSUB NUMPAT", "AUTH x"] {
            #expect(
                client(line)
                    == .error("ERR only (P)SUBSCRIBE / (P)UNSUBSCRIBE / QUIT allowed in this context"),
                "\(line)"
            )
        }
        #expect(client("PING") == .bulks("pong", ""))
        #expect(client("PING text") == .bulks("pong", "text"))
        #expect(client("PING a b") == .error("ERR wrong number of arguments for 'ping' command"))
        #expect(client("NOSUCH") == .error("ERR unknown command 'NOSUCH'"))
        #expect(client("PSUBSCRIBE b*") == confirmation("psubscribe", "b*", 2))
        #expect(client("QUIT") == .ok)
    }

    @Test("SUBSCRIBE within a transaction works, and a message to oneself comes in its place")
    func transaction() throws {
        let redis = try CommandHarness()
        let client = redis.client()
        client("MULTI")
        client("SUBSCRIBE a")
        client("PUBLISH a text")
        client("PING")
        #expect(
            client.replies("EXEC") == [
                .array([confirmation("subscribe", "a", 1), message("a", "text"), .integer(1)]), .bulks("pong", ""),
            ]
        )
    }

    @Test("PUBSUB tells the channels, how many have subscribed to each, and how many patterns there are")
    func introspection() throws {
        let redis = try CommandHarness()
        #expect(redis("PUBSUB CHANNELS") == .array([]))
        #expect(redis("PUBSUB NUMSUB") == .array([]))
        #expect(redis("PUBSUB NUMPAT") == .integer(0))
        let first = redis.client()
        let second = redis.client()
        first.replies("SUBSCRIBE news")
        second.replies("SUBSCRIBE news")
        second.replies("PSUBSCRIBE n* m*")
        first.replies("PSUBSCRIBE n*")
        #expect(redis("PUBSUB channels") == .bulks("news"))
        #expect(redis("PUBSUB CHANNELS n*") == .bulks("news"))
        #expect(redis("PUBSUB CHANNELS x*") == .array([]))
        #expect(
            redis("PUBSUB NUMSUB news none") == .array([.bulk("news"), .integer(2), .bulk("none"), .integer(0)])
        )
        #expect(redis("PUBSUB NUMPAT") == .integer(3))
        for line in ["PUBSUB x", "PUBSUB CHANNELS a b", "PUBSUB NUMPAT x"] {
            let word = line.split(separator: " ")[1]
            #expect(
                redis(line) == .error("ERR Unknown PUBSUB subcommand or wrong number of arguments for '\(word)'")
            )
        }
        #expect(redis.server.info("stats").contains("pubsub_channels:1\r\npubsub_patterns:3\r\n"))
        #expect(redis.server.description(of: second.session).contains(" sub=1 psub=2 "))
        second.disconnect()
        #expect(redis("PUBSUB NUMPAT") == .integer(1))
        #expect(redis("PUBSUB NUMSUB news") == .array([.bulk("news"), .integer(1)]))
    }

    @Test("PUBLISH enters the log only while there is somebody to send it to")
    func log() throws {
        let redis = try CommandHarness()
        redis("PUBLISH a one")
        redis.server.recordsMessages = true
        redis("PUBLISH a two")
        redis("SET k v")
        let effects = try redis.effects
        let replayed = try CommandHarness(replaying: effects)
        #expect(replayed("GET k") == .bulk("v"))
        #expect(try redis.effectLines.suffix(2) == ["PUBLISH a two", "SET k v"])
    }
}

@Suite("Keyspace events")
struct KeyspaceEventTests {
    /// Runs the lines, and tells the events as `event key`.
    private func events(_ lines: [String], letters: String = "AE", setup: [String] = []) throws -> [String] {
        let redis = try CommandHarness()
        for line in setup { redis(line) }
        redis("CONFIG SET notify-keyspace-events \(letters)")
        let client = redis.client()
        client.replies("PSUBSCRIBE __key*")
        for line in lines { redis(line) }
        return client.pushed.map { reply in
            guard case .array(let parts) = reply, case .bulk(let channel) = parts[2], case .bulk(let text) = parts[3]
            else { return "\(reply)" }
            return String(decoding: channel, as: UTF8.self) + " " + String(decoding: text, as: UTF8.self)
        }
    }

    @Test(
        "each command has the events of Redis 2.8",
        arguments: [
            (["SET a 1"], ["set a"]),
            (["SET a 1 EX 10"], ["set a", "expire a"]),
            (["SETNX a 1", "SETNX a 1"], ["set a"]),
            (["SETEX a 10 1"], ["set a", "expire a"]),
            (["PSETEX a 10 1"], ["set a", "expire a"]),
            (["GETSET a 1"], ["set a"]),
            (["MSET a 1 b 2"], ["set a", "set b"]),
            (["MSETNX a 1 b 2"], ["set a", "set b"]),
            (["SETRANGE a 1 x"], ["setrange a"]),
            (["INCR a", "DECR a", "INCRBY a 2", "DECRBY a 2"], ["incrby a", "incrby a", "incrby a", "incrby a"]),
            (["INCRBYFLOAT a 1.5"], ["incrbyfloat a"]),
            (["APPEND a 1"], ["append a"]),
            (["SETBIT a 1 1"], ["setbit a"]),
            (["SET a 1", "BITOP NOT b a", "BITOP AND b missing"], ["set a", "set b", "del b"]),
            (["PFADD a 1", "PFADD a 1", "PFMERGE b a"], ["pfadd a", "pfadd b"]),
            (["SET a 1", "DEL a b"], ["set a", "del a"]),
            (["SET a 1", "EXPIRE a 10", "PEXPIRE a 1000"], ["set a", "expire a", "expire a"]),
            (["SET a 1", "EXPIRE a -1"], ["set a", "del a"]),
            (["SET a 1", "RENAME a b"], ["set a", "rename_from a", "rename_to b"]),
            (["SET a 1", "MOVE a 1", "FLUSHALL"], ["set a"]),
            (["SETEX a 10 1", "PERSIST a"], ["set a", "expire a"]),
            (["GET a", "DEL a", "EXPIRE a 10", "SETRANGE a 0 "], []),
        ]
    )
    func ofCommands(lines: [String], expected: [String]) throws {
        #expect(try events(lines) == expected.map { "__keyevent@0__:" + $0 })
    }

    @Test("events come by key, by event, or both, the key's first, and of the database in which they happen")
    func channels() throws {
        #expect(try events(["SET a 1"], letters: "K$") == ["__keyspace@0__:a set"])
        #expect(try events(["SET a 1"], letters: "E$") == ["__keyevent@0__:set a"])
        #expect(
            try events(["SELECT 9", "SET a 1"], letters: "KEA") == ["__keyspace@9__:a set", "__keyevent@9__:set a"]
        )
        #expect(try events(["SET a 1"], letters: "A").isEmpty)
        #expect(try events(["SET a 1"], letters: "KEg").isEmpty)
        #expect(try events(["SET a 1", "DEL a"], letters: "Eg") == ["__keyevent@0__:del a"])
    }

    @Test("an evicted key has its event, of a class of its own")
    func evicted() throws {
        let redis = try CommandHarness()
        let client = redis.client()
        client.replies("PSUBSCRIBE __key*")
        redis("SET a 1")
        redis("CONFIG SET notify-keyspace-events KEe")
        redis("CONFIG SET maxmemory-policy allkeys-lru")
        redis("CONFIG SET maxmemory 1")
        redis("PING")
        #expect(redis("DBSIZE") == .integer(0))
        let pushed = Set(client.pushed)
        let ofKey = TestReply.bulks("pmessage", "__key*", "__keyspace@0__:a", "evicted")
        #expect(pushed == [ofKey, .bulks("pmessage", "__key*", "__keyevent@0__:evicted", "a")])
    }

    @Test("an expired key has its event when it is deleted")
    func expired() throws {
        let redis = try CommandHarness()
        redis("PSETEX a 10 1")
        redis("CONFIG SET notify-keyspace-events Ex")
        let client = redis.client()
        client.replies("SUBSCRIBE __keyevent@0__:expired")
        redis.advance(milliseconds: 20)
        #expect(client.pushed.isEmpty)
        redis("GET a")
        #expect(client.pushed == [.bulks("message", "__keyevent@0__:expired", "a")])
    }

    @Test(
        "CONFIG GET shows the letters in the order of Redis 2.8",
        arguments: [
            ("KEA", "AKE"), ("K$g", "g$K"), ("xzhslg$eK", "AK"), ("Ehz", "hzE"), ("lsxe", "lsxe"), ("", ""),
        ]
    )
    func letters(given: String, shown: String) throws {
        let redis = try CommandHarness()
        #expect(redis.run("CONFIG", "SET", "notify-keyspace-events", given) == .ok)
        #expect(redis("CONFIG GET notify-keyspace-events") == .bulks("notify-keyspace-events", shown))
    }

    @Test("CONFIG SET refuses letters that mean nothing")
    func badLetters() throws {
        let redis = try CommandHarness()
        #expect(
            redis("CONFIG SET notify-keyspace-events KQ")
                == .error("ERR Invalid argument 'KQ' for CONFIG SET 'notify-keyspace-events'")
        )
    }
}
