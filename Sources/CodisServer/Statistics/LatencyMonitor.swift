// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

/// When the server was slow, by event (Redis 2.8: `latency.c`).
struct LatencyMonitor {
    struct Sample {
        var seconds: Int64
        var milliseconds: Int
    }

    struct Series {
        /// The oldest first, at most one for each second.
        var samples: [Sample] = []
        var greatest = 0
    }

    private(set) var events: [String: Series] = [:]
    private static let mostSamples = 160

    /// Notes that `event` took so long; the greatest of a second counts.
    mutating func note(_ event: String, milliseconds: Int, atSeconds seconds: Int64) {
        var series = events[event] ?? Series()
        series.greatest = max(series.greatest, milliseconds)
        if let last = series.samples.last, last.seconds == seconds {
            if milliseconds > last.milliseconds { series.samples[series.samples.count - 1].milliseconds = milliseconds }
        } else {
            series.samples.append(Sample(seconds: seconds, milliseconds: milliseconds))
            if series.samples.count > LatencyMonitor.mostSamples { series.samples.removeFirst() }
        }
        events[event] = series
    }

    /// Forgets `event`; false if there was nothing.
    mutating func reset(_ event: String) -> Bool { events.removeValue(forKey: event) != nil }

    /// Forgets everything; gives how many events there were.
    mutating func resetAll() -> Int {
        defer { events = [:] }
        return events.count
    }
}

extension LatencyMonitor.Series {
    /// The samples as columns of characters, the newest at the right, each with its age below.
    func graph(_ event: String, now: Int64) -> String {
        let least = samples.map(\.milliseconds).min() ?? 0
        let most = samples.map(\.milliseconds).max() ?? 0
        var text = "\(event) - high \(most) ms, low \(least) ms (all time high \(greatest) ms)\n"
        text += String(repeating: "-", count: 80) + "\n"
        let rows = 4
        for row in (0..<rows).reversed() {
            for sample in samples.suffix(80) {
                let height = most == least ? rows : 1 + (sample.milliseconds - least) * (rows - 1) / (most - least)
                text += height > row ? "#" : " "
            }
            text += "\n"
        }
        let ages = samples.suffix(80).map { LatencyMonitor.age(now - $0.seconds) }
        let longest = ages.map(\.count).max() ?? 0
        for line in 0..<longest {
            text += "\n"
            for age in ages { text.append(line < age.count ? age[age.index(age.startIndex, offsetBy: line)] : " ") }
        }
        return text + "\n"
    }
}

extension LatencyMonitor {
    fileprivate static func age(_ seconds: Int64) -> String {
        if seconds < 60 { return "\(seconds)s" }
        if seconds < 3600 { return "\(seconds / 60)m" }
        return seconds < 86400 ? "\(seconds / 3600)h" : "\(seconds / 86400)d"
    }

    /// What LATENCY DOCTOR says.
    func report(threshold: Int) -> String {
        if threshold <= 0 {
            return "Latency monitoring is off. \"CONFIG SET latency-monitor-threshold <milliseconds>\" turns it on.\n"
        }
        if events.isEmpty { return "Nothing took \(threshold) ms or longer so far.\n" }
        var text = "Events that took \(threshold) ms or longer:\n"
        for (index, (event, series)) in events.sorted(by: { $0.key < $1.key }).enumerated() {
            let sum = series.samples.reduce(0) { $0 + $1.milliseconds }
            text += "\(index + 1). \(event): \(series.samples.count) of late, "
            text += "\(sum / max(1, series.samples.count)) ms on average, \(series.greatest) ms at worst.\n"
        }
        return text
    }
}
