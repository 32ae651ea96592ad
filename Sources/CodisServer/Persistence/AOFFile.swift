// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import Glibc
internal import Keyspace
internal import RDB
internal import RESP
internal import Synchronization

/// The keyspace as an append-only file of Redis 2.8: for each key the commands that make it (aof.c,
/// rewriteAppendOnlyFile).
///
/// It is what BGREWRITEAOF leaves for Redis, for backups and for people. Nothing is appended to it later: what the
/// server itself starts from is its log.
struct AOFFile: SnapshotFile {
    let path: String
    let temporaryPath: String
    let kind = KnownFiles.Kind.aof

    private static let counter = Atomic<Int>(0)

    /// The file that `config` names.
    init(_ config: ServerConfig) {
        path = "\(config.directory)/\(config.appendFileName)"
        let number = AOFFile.counter.add(1, ordering: .relaxed).newValue
        temporaryPath = "\(config.directory)/temp-rewriteaof-\(getpid())-\(number).aof"
    }

    func dump(_ reader: KeyspaceReader, to output: FileOutput, now: Int64, rest: @escaping () throws -> Void) throws {
        let sink = CommandSink { output.take($0) }
        let export = ValueExport(reader.rows, to: sink, rest: rest)
        let walk = reader.walk()
        while let entry = try walk.next() {
            let record = entry.record
            if record.isExpired(at: now) { continue }
            sink.begin(entry.key, in: entry.database)
            try export.run(record)
            sink.end(expireAtMilliseconds: record.expireAtMilliseconds)
            try rest()
        }
    }
}

/// Takes values as the commands that make them, at most 64 elements in each.
private final class CommandSink: ValueSink {
    private let write: (ByteView) -> Void
    private var database = -1
    private var key: [UInt8] = []
    /// The elements that wait for their command, as arguments.
    private var arguments: [UInt8] = []
    private var argumentCount = 0
    private var elementCount = 0
    private var name: StaticString = "SET"
    /// What is still to come of a string in pieces.
    private var bytesOfPieces = 0

    private static let mostElements = 64
    private static let mostBytes = 1 << 20

    init(_ write: @escaping (ByteView) -> Void) { self.write = write }

    func begin(_ key: ByteView, in database: Int) {
        if database != self.database {
            self.database = database
            emit { request in
                request.appendRequestHeader(argumentCount: 2)
                request.appendRequestArgument("SELECT")
                request.appendRequestArgument(Int64(database))
            }
        }
        self.key = Array(key)
    }

    func append(_ element: RDBElement) {
        switch element {
        case .string(let value): add("SET", value)
        case .listElement(let value): add("RPUSH", value)
        case .setMember(let member): add("SADD", member)
        case .hashField(let field, let value): add("HMSET", field, value)
        case .sortedSetMember(let member, let score): Score.withText(score) { add("ZADD", $0, member) }
        }
    }

    func beginPieces(count: Int) {
        bytesOfPieces = count
        emit { request in
            request.appendRequestHeader(argumentCount: 3)
            request.appendRequestArgument("SET")
            ByteView.with(key) { request.appendRequestArgument($0) }
            request += Array("$\(count)\r\n".utf8)
        }
    }

    func append(piece: ByteView) {
        write(piece)
        bytesOfPieces -= piece.count
        if bytesOfPieces == 0 { write(ByteView("\r\n")) }
    }

    func end(expireAtMilliseconds: Int64) {
        flush()
        guard expireAtMilliseconds != 0 else { return }
        emit { request in
            request.appendRequestHeader(argumentCount: 3)
            request.appendRequestArgument("PEXPIREAT")
            ByteView.with(key) { request.appendRequestArgument($0) }
            request.appendRequestArgument(expireAtMilliseconds)
        }
    }

    private func add(_ name: StaticString, _ first: ByteView, _ second: ByteView? = nil) {
        self.name = name
        for argument in [first, second] {
            guard let argument else { continue }
            arguments.appendRequestArgument(argument)
            argumentCount += 1
        }
        elementCount += 1
        if elementCount == CommandSink.mostElements || arguments.count > CommandSink.mostBytes { flush() }
    }

    /// Writes the command of the elements that wait.
    private func flush() {
        guard elementCount > 0 else { return }
        emit { request in
            request.appendRequestHeader(argumentCount: 2 + argumentCount)
            request.appendRequestArgument(name)
            ByteView.with(key) { request.appendRequestArgument($0) }
        }
        ByteView.with(arguments, write)
        arguments.removeAll(keepingCapacity: true)
        argumentCount = 0
        elementCount = 0
    }

    private func emit(_ body: (inout [UInt8]) -> Void) {
        var request: [UInt8] = []
        body(&request)
        ByteView.with(request, write)
    }
}
