// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import Testing

@testable import CodisServer

@Suite("The order in which what clients have sent is run")
struct ArrivalQueueTests {
    private enum Sender: Int {
        case small1, small2, small3, small4, pipeline1, pipeline2, pipeline3
    }

    /// One that can be copied, as `#expect` wants it.
    private final class Queue {
        private var queue = ArrivalQueue<Sender>()

        var isEmpty: Bool { queue.isEmpty }
        var mayLeaveSome: Bool { queue.mayLeaveSome }

        func add(_ sender: Sender, bytes: Int) { queue.add(sender, bytes: bytes) }

        func run(_ count: Int) -> [Sender] {
            queue.arrange()
            let count = min(count, queue.waiting.count)
            let run = (0..<count).map { queue.waiting[$0] }
            queue.finish(count)
            return run
        }
    }

    @Test("Who has sent little comes first, and else who was first")
    func order() {
        let queue = Queue()
        #expect(queue.isEmpty)
        queue.add(.pipeline1, bytes: 2000)
        queue.add(.small1, bytes: 20)
        queue.add(.pipeline2, bytes: 513)
        queue.add(.small2, bytes: 512)
        #expect(!queue.isEmpty)
        #expect(queue.run(10) == [.small1, .small2, .pipeline1, .pipeline2])
        #expect(queue.isEmpty)
    }

    @Test("What a tick leaves comes before what came later, but for small ones, which overtake only large ones")
    func rest() {
        let queue = Queue()
        queue.add(.small1, bytes: 20)
        queue.add(.small2, bytes: 20)
        queue.add(.pipeline1, bytes: 2000)
        queue.add(.pipeline2, bytes: 2000)
        #expect(queue.run(1) == [.small1])
        queue.add(.small3, bytes: 20)
        queue.add(.pipeline3, bytes: 2000)
        #expect(queue.run(3) == [.small2, .small3, .pipeline1])
        queue.add(.small4, bytes: 20)
        #expect(queue.run(2) == [.small4, .pipeline2])
        #expect(queue.run(2) == [.pipeline3])
        #expect(queue.isEmpty)
    }

    @Test("Nobody is overtaken for ever: after eight ticks that left something one leaves nothing")
    func starvation() {
        let queue = Queue()
        queue.add(.pipeline1, bytes: 2000)
        for tick in 0..<8 {
            #expect(queue.mayLeaveSome)
            queue.add(.small1, bytes: 20)
            #expect(queue.run(1) == [.small1], "tick \(tick)")
        }
        #expect(!queue.mayLeaveSome)
        #expect(queue.run(2) == [.pipeline1])
        #expect(queue.mayLeaveSome)
    }

    @Test("A tick in which nobody has sent anything leaves nothing")
    func empty() {
        let queue = Queue()
        #expect(queue.run(5) == [])
        #expect(queue.mayLeaveSome)
    }
}
