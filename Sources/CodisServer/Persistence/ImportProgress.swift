// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Glibc
internal import Synchronization

/// How far an import is, for INFO, while another thread does it.
final class LoadingStatus: Sendable {
    /// When it began, in seconds since 1970.
    let startSeconds = Clock().seconds
    private let total = Atomic<Int>(0)
    private let loaded = Atomic<Int>(0)

    /// The size of the files.
    var totalBytes: Int { total.load(ordering: .relaxed) }
    /// What was read of them.
    var loadedBytes: Int { min(loaded.load(ordering: .relaxed), totalBytes) }

    func begin(totalBytes: Int) { total.store(totalBytes, ordering: .relaxed) }
    func note(loadedBytes: Int) { loaded.store(loadedBytes, ordering: .relaxed) }
}

/// Tells how far an import is: a line in the log every few seconds, or a bar on the terminal.
struct ImportProgress {
    private let log: ServerLog
    private let bar: Bool
    private let status: LoadingStatus?
    private var sizes: [Int] = []
    private var name = ""
    private var clock = Clock()
    private var startNanoseconds: Int64 = 0
    private var lastNanoseconds: Int64 = 0
    private var calls = 0

    /// Which file is being read.
    var fileIndex = 0
    /// How many keys, or commands, were read.
    var keys = 0

    private static let secondsBetweenLines: Int64 = 5

    init(log: ServerLog, showsBar: Bool, status: LoadingStatus? = nil) {
        self.log = log
        self.status = status
        bar = showsBar && isatty(2) == 1
    }

    /// Begins with these files.
    mutating func begin(_ files: [ImportFile]) {
        sizes = files.map(\.size)
        status?.begin(totalBytes: sizes.reduce(0, +))
        name = String(files.first?.path.split(separator: "/").last ?? "")
        _ = clock.readMonotonic()
        startNanoseconds = clock.monotonicNanoseconds
        lastNanoseconds = startNanoseconds
    }

    /// Hears that the file has been read up to `position`.
    @inline(__always)
    mutating func note(position: Int) {
        calls &+= 1
        if calls & 0xFF == 0 { look(position) }
    }

    private mutating func look(_ position: Int) {
        status?.note(loadedBytes: sizes[0..<fileIndex].reduce(0, +) + position)
        _ = clock.readMonotonic()
        let interval = bar ? 100_000_000 : ImportProgress.secondsBetweenLines * 1_000_000_000
        guard clock.monotonicNanoseconds - lastNanoseconds >= interval else { return }
        lastNanoseconds = clock.monotonicNanoseconds
        let total = max(1, sizes.reduce(0, +))
        let done = min(total, sizes[0..<fileIndex].reduce(0, +) + position)
        let seconds = Double(clock.monotonicNanoseconds - startNanoseconds) / 1e9
        let left = Int(seconds / Double(max(1, done)) * Double(total - done))
        let percent = done * 100 / total
        if bar {
            draw(percent, "\(keys) entries, \(done >> 20) of \(total >> 20) MB, \(left) s left")
        } else {
            log.notice("Importing \(name): \(percent) % of \(total >> 20) MB, \(keys) entries, \(left) s left")
        }
    }

    /// Draws the end.
    mutating func end(keys: Int) {
        if bar { draw(100, "\(keys) keys\u{1B}[K\n") }
    }

    private func draw(_ percent: Int, _ text: String) {
        let width = 40
        let filled = percent * width / 100
        let bar = String(repeating: "#", count: filled) + String(repeating: "-", count: width - filled)
        let line = Array("\r[\(bar)] \(percent) % \(text)\u{1B}[K".utf8)
        _ = unsafe write(2, line, line.count)
    }
}
