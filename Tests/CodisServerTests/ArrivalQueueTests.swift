// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import Testing

@testable import CodisServer

@Suite("The order in which what clients have sent is run")
struct ArrivalQueueTests {
    private func run(_ queue: inout ArrivalQueue<String>, _ count: Int) -> [String] {
        queue.arrange()
        let run = Array(queue.waiting.prefix(count))
        queue.finish(run.count)
        return run
    }

    @Test("Who has sent little comes first, and else who was first")
    func order() {
        var queue = ArrivalQueue<String>()
        #expect(queue.isEmpty)
        queue.add("pipeline 1", bytes: 2000)
        queue.add("small 1", bytes: 20)
        queue.add("pipeline 2", bytes: 513)
        queue.add("small 2", bytes: 512)
        #expect(!queue.isEmpty)
        #expect(run(&queue, 10) == ["small 1", "small 2", "pipeline 1", "pipeline 2"])
        #expect(queue.isEmpty)
    }

    @Test("What a tick leaves comes before what came later, but for small ones, which overtake only large ones")
    func rest() {
        var queue = ArrivalQueue<String>()
        queue.add("small 1", bytes: 20)
        queue.add("small 2", bytes: 20)
        queue.add("pipeline 1", bytes: 2000)
        queue.add("pipeline 2", bytes: 2000)
        #expect(run(&queue, 1) == ["small 1"])
        queue.add("small 3", bytes: 20)
        queue.add("pipeline 3", bytes: 2000)
        #expect(run(&queue, 3) == ["small 2", "small 3", "pipeline 1"])
        queue.add("small 4", bytes: 20)
        #expect(run(&queue, 2) == ["small 4", "pipeline 2"])
        #expect(run(&queue, 2) == ["pipeline 3"])
        #expect(queue.isEmpty)
    }

    @Test("Nobody is overtaken for ever: after eight ticks that left something one leaves nothing")
    func starvation() {
        var queue = ArrivalQueue<String>()
        queue.add("pipeline", bytes: 2000)
        for tick in 0..<8 {
            #expect(queue.mayLeaveSome)
            queue.add("small", bytes: 20)
            #expect(run(&queue, 1) == ["small"], "tick \(tick)")
        }
        #expect(!queue.mayLeaveSome)
        #expect(run(&queue, 2) == ["pipeline"])
        #expect(queue.mayLeaveSome)
    }

    @Test("A tick in which nobody has sent anything leaves nothing")
    func empty() {
        var queue = ArrivalQueue<String>()
        #expect(run(&queue, 5) == [])
        #expect(queue.mayLeaveSome)
    }
}
