// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisTesting
import Foundation

/// A reply that Redis 2.8 gives otherwise than the oracle, Redis 7.0, and ours with it.
struct KnownDifference: Sendable {
    /// Why the two differ.
    let reason: String
    /// Whether a command, its words in lower case, can show it.
    let concerns: @Sendable ([String]) -> Bool
    /// What Redis 2.8 replies where 7.0 replies `reply`.
    let inTwoEight: @Sendable (_ reply: TestReply, _ words: [String]) -> TestReply

    /// The oracle's reply as Redis 2.8 would have given it.
    static func translate(_ reply: TestReply, to words: [String]) -> TestReply {
        table.filter { $0.concerns(words) }.reduce(reply) { $1.inTwoEight($0, words) }
    }

    static let table = [
        KnownDifference(reason: "the error about an unknown command quotes the arguments since 5.0") { _ in
            true
        } inTwoEight: { reply, _ in
            guard case .error(let text) = reply, text.hasPrefix("ERR unknown command '"),
                let end = text.range(of: ", with args beginning with")
            else { return reply }
            return .error(String(text[..<end.lowerBound]))
        },
        KnownDifference(reason: "short strings have an encoding of their own, embstr, since 3.0") {
            $0.starts(with: ["object", "encoding"])
        } inTwoEight: { reply, _ in
            reply == .bulk("embstr") ? .bulk("raw") : reply
        },
        KnownDifference(reason: "the error about missing inputs names the command since 6.2") {
            ["zunionstore", "zinterstore"].contains($0[0])
        } inTwoEight: { reply, words in
            reply == .error("ERR at least 1 input key is needed for '\(words[0])' command")
                ? .error("ERR at least 1 input key is needed for ZUNIONSTORE/ZINTERSTORE") : reply
        },
        KnownDifference(reason: "the error about an expire time names the command as 'x' command since 7.0") {
            ["set", "setex", "psetex"].contains($0[0])
        } inTwoEight: { reply, words in
            reply == .error("ERR invalid expire time in '\(words[0])' command")
                ? .error("ERR invalid expire time in \(words[0])") : reply
        },
        KnownDifference(
            reason: "MSET and MSETNX count their arguments by themselves, with a text of their own, before 7.0"
        ) {
            ["mset", "msetnx"].contains($0[0]) && $0.count >= 3
        } inTwoEight: { reply, words in
            reply == .error("ERR wrong number of arguments for '\(words[0])' command")
                ? .error("ERR wrong number of arguments for MSET") : reply
        },
        KnownDifference(reason: "SELECT has one error for whatever is no database before 4.0") {
            $0[0] == "select" && $0.count == 2
        } inTwoEight: { reply, _ in
            reply.isError ? .error("ERR invalid DB index") : reply
        },
        KnownDifference(reason: "MOVE has one error for whatever is no database before 6.2") {
            $0[0] == "move" && $0.count == 3
        } inTwoEight: { reply, _ in
            switch reply {
            case .error("ERR DB index is out of range"), .error("ERR value is not an integer or out of range"):
                .error("ERR index out of range")
            default: reply
            }
        },
        KnownDifference(reason: "renaming a key to itself is an error before 3.2, whether it is there or not") {
            ["rename", "renamenx"].contains($0[0]) && $0.count == 3 && $0[1] == $0[2]
        } inTwoEight: { _, _ in
            .error("ERR source and destination objects are the same")
        },
        KnownDifference(reason: "the greatest size of a string is a setting since 6.2, which the error names") {
            ["setrange", "append"].contains($0[0])
        } inTwoEight: { reply, _ in
            reply == .error("ERR string exceeds maximum allowed size (proto-max-bulk-len)")
                ? .error("ERR string exceeds maximum allowed size (512MB)") : reply
        },
        KnownDifference(reason: "small hashes and sorted sets are listpacks since 7.0") {
            $0.starts(with: ["object", "encoding"])
        } inTwoEight: { reply, _ in
            reply == .bulk("listpack") ? .bulk("ziplist") : reply
        },
        KnownDifference(reason: "HMSET counts its arguments with a text of its own before 7.0") {
            $0[0] == "hmset" && $0.count >= 4
        } inTwoEight: { reply, _ in
            reply == .error("ERR wrong number of arguments for 'hmset' command")
                ? .error("ERR wrong number of arguments for HMSET") : reply
        },
        KnownDifference(reason: "HINCRBYFLOAT said 'valid float' of the stored value before 4.0") {
            $0[0] == "hincrbyfloat"
        } inTwoEight: { reply, _ in
            reply == .error("ERR hash value is not a float") ? .error("ERR hash value is not a valid float") : reply
        },
        KnownDifference(reason: "the library struct quoted with a grave accent in one error before 7.0") {
            $0[0] == "eval"
        } inTwoEight: { reply, _ in
            guard let text = reply.text, text.contains("format 'c0' needs") else { return reply }
            return .bulk(text.replacing("format 'c0' needs", with: "format `c0' needs"))
        },
        KnownDifference(reason: "SET with both NX and XX never sets; since 3.0 it is a syntax error") { words in
            words[0] == "set" && words.dropFirst(3).contains("nx") && words.dropFirst(3).contains("xx")
        } inTwoEight: { reply, _ in
            reply == .error("ERR syntax error") ? .nullBulk : reply
        },
    ]
}
