// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisTesting
import Testing

@Suite("HyperLogLog against redis-server", .enabled(if: RedisPeer.isInstalled, "redis-server is not installed"))
struct HyperLogLogConformanceTests {
    /// The estimate itself is made by another formula since 4.0, and PFMERGE leaves sparse what can be since 4.0, so it
    /// is the bytes after PFADD that are compared, and the registers after PFMERGE.
    @Test("the same elements leave the same bytes, sparse and dense", arguments: [3000, 200, 0])
    func bytes(sparseLimit: Int) throws {
        var random = SeededGenerator()
        print("hyperloglog: CODIS_TEST_SEED=\(random.seed)")
        let pair = try ServerPair()
        var commands = [["CONFIG", "SET", "hll-sparse-max-bytes", "\(sparseLimit)"]]
        for _ in 0..<2000 {
            let key = "pf:\(random.number(1...12))"
            switch random.number(1...10) {
            case 1: commands.append(["GET", key])
            case 2: commands.append(["PFDEBUG", "ENCODING", key])
            case 3 where random.oneIn(4): commands.append(["PFADD", key])
            case 4 where random.oneIn(10): commands.append(["DEL", key])
            case 5 where random.oneIn(10): commands.append(["PFDEBUG", "TODENSE", key])
            default:
                let elements = (0..<random.number(1...random.pick([2, 30]))).map { _ in
                    String(repeating: "e", count: random.number(0...20)) + "\(random.number(0...100_000))"
                }
                commands.append(["PFADD", key] + elements)
            }
        }
        commands += (1...12).map { ["GET", "pf:\($0)"] }
        commands.append(["PFMERGE", "all"] + (1...12).map { "pf:\($0)" })
        commands.append(["PFDEBUG", "GETREG", "all"])
        for complaint in try pair.compare(commands.map { $0.map { Array($0.utf8) } }) {
            Issue.record("seed \(random.seed), command \(complaint.index): \(complaint.text)")
        }
        try pair.ours.stop()
    }

    @Test("errors are worded alike")
    func errors() throws {
        let pair = try ServerPair()
        let lines = [
            "SET s text", "PFADD s x", "PFCOUNT s", "PFMERGE a s", "PFADD h a b c", "APPEND h x", "PFCOUNT h",
            "PFMERGE h", "PFDEBUG ENCODING missing", "PFDEBUG foo h", "PFADD d x", "PFDEBUG TODENSE d",
            "PFDEBUG DECODE d", "PFADD e a b c", "PFDEBUG DECODE e", "PFADD", "PFCOUNT", "PFMERGE", "PFDEBUG",
        ]
        for line in lines {
            let words = line.split(separator: " ").map { Array($0.utf8) }
            for complaint in try pair.compare([words]) { Issue.record("\(complaint.text)") }
        }
        try pair.ours.stop()
    }
}
