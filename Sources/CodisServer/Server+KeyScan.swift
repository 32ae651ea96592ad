// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import Keyspace
internal import RESP

/// Looking ahead: which keys the next requests name, and which elements of their values.
struct KeyScan {
    var decoder = RESPRequestDecoder()
    /// How many requests were looked at since keys were last prefetched.
    var requests = 0
    /// How often requests are not looked at, because those before all named the same key and no elements to walk to.
    var pause = 0

    /// So many requests that name one key are reason for a pause.
    static let fewRequests = 4
    /// So many requests are looked at at a time, whatever they name.
    static let mostRequests = 64
    static let longPause = 32
}

/// A hint, which nothing but speed follows from: requests are decoded and judged when they run.
extension Server {
    /// Announces the keys that the first requests in `input` name, until there is no more room for them.
    ///
    /// Gives how far it has looked: to look on from there is worth it once the requests before have run.
    @inline(__always)
    func announceKeys(of input: ByteView, _ database: Int) -> Int {
        if keyScan.pause > 0 {
            keyScan.pause -= 1
            return input.count
        }
        let keyspace = keyspace
        var offset = 0
        let mostRequests = keyScan.requests + KeyScan.mostRequests
        while !keyspace.isPrefetchFull, offset < input.count, keyScan.requests < mostRequests {
            let unread = input.dropFirst(offset)
            guard case .request(let consumed)? = try? keyScan.decoder.decode(unread), !keyScan.decoder.isInline else {
                keyScan.decoder.reset()
                return input.count
            }
            keyScan.requests += 1
            announceKeys(ofRequest: unread, database, to: keyspace)
            offset += consumed
        }
        return offset
    }

    /// Announces the keys of the request that was just decoded in `input`, and the elements that it names behind them.
    @inline(__always)
    private func announceKeys(ofRequest input: ByteView, _ database: Int, to keyspace: Keyspace) {
        guard let command = commands.lookUp(keyScan.decoder.argument(0, in: input)) else { return }
        let (keys, elements) = command.lend { ($0.keys, $0.elements) }
        announce(keys, in: input, to: keyspace) { keyspace.announce($0, in: database) }
        announce(elements, in: input, to: keyspace) { keyspace.announceElement($0, in: database) }
    }

    /// Has the arguments at these positions announced, until there is no more room for them.
    @inline(__always)
    private func announce(
        _ positions: KeyPositions,
        in input: ByteView,
        to keyspace: Keyspace,
        _ body: (ByteView) -> Void
    ) {
        guard positions.first > 0 else { return }
        let count = keyScan.decoder.argumentCount
        let last = positions.last < 0 ? count + positions.last : min(positions.last, count - 1)
        var index = positions.first
        while index <= last, !keyspace.isPrefetchFull {
            body(keyScan.decoder.argument(index, in: input))
            index += positions.step
        }
    }

    /// Has the announced keys prefetched.
    @inline(__always)
    func prefetchAnnounced() {
        if keyspace.prefetchCount <= 1, keyScan.requests >= KeyScan.fewRequests { keyScan.pause = KeyScan.longPause }
        keyScan.requests = 0
        keyspace.prefetchAnnounced()
        // The time that this took is not the next command's.
        _ = clock.readMonotonic()
    }
}
