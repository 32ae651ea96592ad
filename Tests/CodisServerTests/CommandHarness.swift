// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import Bytes
import CodisTesting
import CommandLog
import Keyspace
import NIOCore
import NIOPosix
import RESP
import Testing

@testable import CodisServer

/// A server without sockets: requests go in as bytes, replies come out, and the clock stands until it is moved.
///
/// It has a keyspace and a log of its own in a fresh directory, which is checked when it goes.
final class CommandHarness {
    /// The time, in ms since 1970.
    var now: Int64 = 1_700_000_000_000

    private let directory: TemporaryDirectory
    let server: Server
    private let session: Session
    private var log: CommandLog

    /// A server with an empty keyspace, or with what `effects` of another server's log lead to.
    init(replaying effects: [UInt8] = [], options: KeyspaceOptions = KeyspaceOptions()) throws {
        directory = try TemporaryDirectory()
        var config = ServerConfig()
        config.directory = directory.path
        server = try Server(
            config: config,
            log: ServerLog(level: .warning),
            loop: MultiThreadedEventLoopGroup.singleton.next(),
            keyspace: Keyspace(directory: directory.path + "/keyspace", options: options),
            commands: CommandTable()
        )
        server.leaveOutLoop()
        server.saves.keyspaceDirectory = directory.path + "/keyspace"
        session = Session(server, identifier: 1, context: nil, address: "test")
        log = try CommandHarness.openLog(directory.path)
        if !effects.isEmpty {
            let replay = LogReplay(server, from: LogPosition())
            try ByteView.with(effects) { try replay.apply($0, at: 0) }
            try replay.finish()
        }
        server.effects.begin(log, database: -1)
        server.isLoading = false
    }

    deinit {
        for problem in server.keyspace.check() { Issue.record("the keyspace is damaged: \(problem)") }
        server.keyspace.close()
        try? log.shutdown()
        try? server.backgroundThread.syncShutdownGracefully()
    }

    func advance(milliseconds: Int) { now += Int64(milliseconds) }

    // MARK: Commands

    /// Runs the words of `line`.
    @discardableResult
    func callAsFunction(_ line: String) -> TestReply {
        run(line.split(separator: " ").map { Array($0.utf8) })
    }

    /// Runs a command of these words, which may be empty or hold blanks.
    @discardableResult
    func run(_ words: String...) -> TestReply { run(words.map { Array($0.utf8) }) }

    /// Runs a command of these arguments.
    @discardableResult
    func run(_ arguments: [[UInt8]]) -> TestReply {
        TestReply(only: replies(to: arguments, from: session))
    }

    /// A further client of the server.
    func client() -> HarnessClient {
        nextIdentifier += 1
        let session = Session(server, identifier: nextIdentifier, context: nil, address: "test:\(nextIdentifier)")
        server.sessions[nextIdentifier] = session
        return HarnessClient(self, session)
    }

    private var nextIdentifier = 1

    /// What the server replies to a command of `session`, which may be nothing yet, or several replies.
    fileprivate func replies(to arguments: [[UInt8]], from session: Session) -> [TestReply] {
        CommandHarness.decode(replyBytes(to: arguments, from: session))
    }

    /// The same as bytes.
    fileprivate func replyBytes(to arguments: [[UInt8]], from session: Session) -> [UInt8] {
        var request: [UInt8] = []
        request.appendRequest(arguments)
        server.clock = Clock(milliseconds: now)
        let call = server.call
        ByteView.with(request) { request in
            var decoder = RESPRequestDecoder()
            guard case .request? = try? decoder.decode(request) else { return }
            call.begin(session)
            call.arguments.take(decoder, in: request)
            call.request = request
            server.execute(call)
        }
        let bytes = call.reply.readBytes(length: call.reply.readableBytes) ?? []
        call.reply.clear()
        return bytes
    }

    /// The replies in `bytes`.
    fileprivate static func decode(_ bytes: [UInt8]) -> [TestReply] {
        var replies: [TestReply] = []
        var offset = 0
        while offset < bytes.count {
            var decoder = RESPReplyDecoder()
            do {
                let outcome = try ByteView.with(bytes) { view throws(RESPError) in
                    try decoder.decode(view.dropFirst(offset))
                }
                guard case .reply(let reply, let consumed) = outcome else {
                    return replies + [.error("not a whole reply: \(printable(Array(bytes[offset...])))")]
                }
                replies.append(TestReply(reply))
                offset += consumed
            } catch {
                return replies + [.error("no reply: \(error)")]
            }
        }
        return replies
    }

    // MARK: Effects

    /// What the commands so far have put into the log, as the bytes of requests.
    var effects: [UInt8] {
        get throws {
            try log.writeFrame()
            try log.shutdown()
            var bytes: [UInt8] = []
            log = try CommandHarness.openLog(directory.path) { payload, _ in bytes.append(contentsOf: payload) }
            server.effects.begin(log, database: -1)
            return bytes
        }
    }

    /// The same as lines, a request each.
    var effectLines: [String] {
        get throws {
            CommandHarness.requests(try effects).map { request in
                request.map { String(decoding: $0, as: UTF8.self) }.joined(separator: " ")
            }
        }
    }

    private static func requests(_ bytes: [UInt8]) -> [[[UInt8]]] {
        var requests: [[[UInt8]]] = []
        ByteView.with(bytes) { bytes in
            var decoder = RESPRequestDecoder()
            var rest = bytes
            while !rest.isEmpty, case .request(let consumed)? = try? decoder.decode(rest) {
                requests.append((0..<decoder.argumentCount).map { Array(decoder.argument($0, in: rest)) })
                rest = rest.dropFirst(consumed)
            }
        }
        return requests
    }

    private static func openLog(
        _ directory: String,
        apply: (ByteView, UInt64) -> Void = { _, _ in }
    ) throws -> CommandLog {
        try CommandLog.open(
            directory: directory + "/log",
            options: CommandLogOptions(segmentBytes: 4 << 20),
            replayFrom: 0,
            apply: apply
        )
    }

    // MARK: Contents

    /// The dump in the server's directory, nil if there is none.
    var dump: [UInt8]? { SmallFile.read(directory.path + "/dump.rdb") }

    /// All keys with their values and expiries, a line each, in order.
    var contents: [String] {
        var lines: [String] = []
        for database in 0..<16 {
            server.keyspace.forEachKey(in: database) { key, record in
                // What is over but was not met yet is there on one side, and gone on the other.
                guard record.expireAtMilliseconds == 0 || now <= record.expireAtMilliseconds else { return true }
                let value = describe(record)
                lines.append("\(database) \(printable(Array(key))) \(record.expireAtMilliseconds) \(value)")
                return true
            }
        }
        return lines.sorted()
    }

    /// The value as text: its elements in order, or sorted where the order is not of the value.
    private func describe(_ record: Record) -> String {
        let reader = server.keyspace.reader
        func text(_ bytes: ElementBytes) -> String { printable(reader.bytes(of: bytes), limit: .max) }
        var elements: [String] = []
        reader.forEachElement(of: record) { element in
            switch element {
            case .string(let bytes), .element(let bytes), .member(let bytes): elements.append(text(bytes))
            case .field(let field, let value): elements.append(text(field) + "=" + text(value))
            case .scored(let member, let score): elements.append("\(score) " + text(member))
            }
        }
        if record.type == .set || record.type == .hash { elements.sort() }
        let encoding = record.type == .string ? "" : "\(record.encoding) "
        return "\(record.type) \(encoding)" + elements.joined(separator: ",")
    }
}

/// One of several clients of a `CommandHarness`.
final class HarnessClient {
    private let harness: CommandHarness
    let session: Session

    fileprivate init(_ harness: CommandHarness, _ session: Session) {
        self.harness = harness
        self.session = session
    }

    /// Runs the words of `line`, which are answered with one reply.
    @discardableResult
    func callAsFunction(_ line: String) -> TestReply { TestReply(only: replies(line)) }

    /// Runs a command of these arguments, which is answered with one reply.
    @discardableResult
    func run(_ arguments: [[UInt8]]) -> TestReply {
        TestReply(only: harness.replies(to: arguments, from: session))
    }

    /// The bytes that answer a command of these arguments.
    func replyBytes(_ arguments: [[UInt8]]) -> [UInt8] { harness.replyBytes(to: arguments, from: session) }

    /// Runs the words of `line`, to which there may be several replies, or none yet.
    @discardableResult
    func replies(_ line: String) -> [TestReply] {
        harness.replies(to: line.split(separator: " ").map { Array($0.utf8) }, from: session)
    }

    /// What the server has sent beside the replies since this was last asked.
    var pushed: [TestReply] {
        let bytes = session.output.readBytes(length: session.output.readableBytes) ?? []
        return CommandHarness.decode(bytes)
    }

    /// Ends the connection.
    func disconnect() { harness.server.disconnected(session) }
}

extension TestReply {
    /// The reply, where just one is expected.
    init(only replies: [TestReply]) {
        self = replies.count == 1 ? replies[0] : .error("\(replies.count) replies: \(replies)")
    }

    /// The reply that the decoder of the server's own protocol found.
    init(_ reply: RESPReply) {
        switch reply {
        case .status(let bytes): self = .status(String(decoding: bytes, as: UTF8.self))
        case .error(let bytes): self = .error(String(decoding: bytes, as: UTF8.self))
        case .integer(let number): self = .integer(number)
        case .bulk(let bytes): self = .bulk(bytes)
        case .nullBulk: self = .nullBulk
        case .array(let replies): self = .array(replies.map { TestReply($0) })
        case .nullArray: self = .nullArray
        }
    }
}

/// The 40 digits of the SHA-1 of `text`.
func sha1(_ text: String) -> String {
    String(decoding: ByteView.with(text) { SHA1.digits(of: $0) }, as: UTF8.self)
}
