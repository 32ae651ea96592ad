// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import Bytes
import CommandLog
import Glibc
import Testing

/// A fresh directory for one test, removed when the test lets go of it.
final class LogDirectory {
    let path: String
    private let removes: Bool

    init() {
        var template = Array(("/tmp/codis-log-" + String(repeating: "X", count: 6)).utf8CString)
        let made = unsafe template.withUnsafeMutableBufferPointer { unsafe mkdtemp($0.baseAddress!) != nil }
        precondition(made, "no temporary directory")
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        removes = true
    }

    init(existing path: String) {
        self.path = path
        removes = false
    }

    deinit {
        guard removes else { return }
        for name in names { _ = unsafe unlink(path + "/" + name) }
        _ = unsafe rmdir(path)
    }

    /// The names of all files, sorted.
    var names: [String] {
        guard let stream = unsafe opendir(path) else { return [] }
        defer { unsafe closedir(stream) }
        var names: [String] = []
        while let entry = unsafe readdir(stream) {
            let name = unsafe withUnsafeBytes(of: &entry.pointee.d_name) {
                unsafe String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != "." && name != ".." { names.append(name) }
        }
        return names.sorted()
    }

    /// The names of the segments, in order.
    var segments: [String] { names.filter { $0.hasSuffix(".log") } }

    func read(_ name: String) -> [UInt8] {
        let file = unsafe Glibc.open(path + "/" + name, O_RDONLY)
        precondition(file >= 0, "cannot open \(name)")
        defer { close(file) }
        var bytes = [UInt8](repeating: 0, count: size(name))
        let count = unsafe bytes.withUnsafeMutableBytes { unsafe pread(file, $0.baseAddress, $0.count, 0) }
        precondition(count >= 0, "cannot read \(name)")
        // A segment that is full is cut on the log's own thread, perhaps just now.
        return Array(bytes.prefix(count))
    }

    func write(_ name: String, _ bytes: [UInt8]) {
        let file = unsafe Glibc.open(path + "/" + name, O_WRONLY | O_CREAT | O_TRUNC, 0o644)
        precondition(file >= 0, "cannot create \(name)")
        defer { close(file) }
        let count = unsafe bytes.withUnsafeBytes { unsafe pwrite(file, $0.baseAddress, $0.count, 0) }
        precondition(count == bytes.count, "short write")
    }

    func remove(_ name: String) { _ = unsafe unlink(path + "/" + name) }

    func size(_ name: String) -> Int {
        var status = stat()
        _ = unsafe stat(path + "/" + name, &status)
        return Int(status.st_size)
    }

    /// All files with their contents: what a disk held at this moment.
    var image: [String: [UInt8]] { Dictionary(uniqueKeysWithValues: names.map { ($0, read($0)) }) }

    /// Makes the directory hold just this.
    func restore(_ image: [String: [UInt8]]) {
        for name in names where image[name] == nil { remove(name) }
        for (name, bytes) in image { write(name, bytes) }
    }
}

/// What replay gave.
struct Replay: Equatable {
    var start: UInt64?
    var bytes: [UInt8] = []
    var frames: [[UInt8]] = []
}

extension LogDirectory {
    /// Opens the log and collects what is replayed.
    func open(
        from offset: UInt64 = 0,
        knownSynced: UInt64 = 0,
        segmentBytes: Int = 4096,
        identity: LogIdentity? = nil
    ) throws -> (log: CommandLog, replay: Replay) {
        var replay = Replay()
        let log = try CommandLog.open(
            directory: path,
            options: CommandLogOptions(segmentBytes: segmentBytes, expectedIdentity: identity),
            replayFrom: offset,
            knownSynced: knownSynced
        ) { payload, offset in
            if replay.start == nil { replay.start = offset }
            #expect(offset == replay.start! + UInt64(replay.bytes.count))
            replay.bytes += Array(payload)
            replay.frames.append(Array(payload))
        }
        return (log, replay)
    }
}

extension CommandLog {
    /// Appends and writes one frame.
    func write(_ payload: [UInt8]) throws {
        try ByteView.with(payload) { try append($0) }
        try writeFrame()
    }
}

/// The payload of the frame number `index`, of `count` bytes that look like no other's.
func payload(_ index: Int, count: Int) -> [UInt8] {
    var state = UInt64(index) &* 0x9E37_79B9_7F4A_7C15 &+ 1
    return (0..<count).map { _ in
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        return UInt8(truncatingIfNeeded: state)
    }
}

/// Waits until `condition` holds; throws when it does not within ten seconds.
func waitUntil(_ condition: () -> Bool) throws {
    struct TimedOut: Error {}
    let deadline = ContinuousClock.now + .seconds(10)
    while !condition() {
        guard ContinuousClock.now < deadline else { throw TimedOut() }
        usleep(200)
    }
}
