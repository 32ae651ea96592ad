// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

/// Which histories a server's log belongs to, and how far each goes.
///
/// A server goes on in the history of its master as long as it follows it. When it is promoted it begins a history of
/// its own, which has everything up to there in common with the one before; so replicas that stand at or before that
/// place can go on with it without a full resync (as in Redis 4 and later: replid and replid2).
public struct ReplicationHistory: Equatable, Sendable {
    /// An earlier history, and where this server left it.
    public struct Past: Equatable, Sendable {
        /// Its identifier.
        public let identifier: ReplicationIdentifier
        /// The offset behind the last byte that it has in common with the current one.
        public let end: UInt64

        /// A history that ends at `end`.
        public init(identifier: ReplicationIdentifier, end: UInt64) {
            self.identifier = identifier
            self.end = end
        }
    }

    /// The history that goes on.
    public private(set) var current: ReplicationIdentifier
    /// Whether this server drew the current identifier itself, so that no master can know it.
    public private(set) var isOwn: Bool
    /// The one before it.
    public private(set) var past: Past?

    /// A history with nothing before it.
    public init(_ current: ReplicationIdentifier, isOwn: Bool, past: Past? = nil) {
        self.current = current
        self.isOwn = isOwn
        self.past = past
    }

    /// Begins a history of one's own at `offset`: at promotion, or when what was written last may be lost.
    public mutating func begin(_ identifier: ReplicationIdentifier, at offset: UInt64) {
        // What was never continued does not have to be remembered, but what it continued does.
        if !(isOwn && past?.end == offset) { past = Past(identifier: current, end: offset) }
        current = identifier
        isOwn = true
    }

    /// Takes over the name that the master has for the history now; it continued `asked` at `offset`.
    public mutating func follow(
        _ identifier: ReplicationIdentifier,
        from asked: ReplicationIdentifier,
        at offset: UInt64
    ) {
        if identifier != asked { past = Past(identifier: asked, end: offset) }
        current = identifier
        isOwn = false
    }

    /// What to ask a master for: the history it is likely to know, when the log ends at `offset`; nil if there is
    /// nothing to go on with.
    public func request(at offset: UInt64) -> ReplicationIdentifier? {
        guard isOwn else { return current }
        // A history that was begun and has nothing in it yet is still the one before.
        if let past { return past.end == offset ? past.identifier : current }
        return offset == 0 ? nil : current
    }
}

// MARK: Text

extension ReplicationHistory {
    /// The history as a line of text, for ``init(text:)``.
    public var text: String {
        let past = past.map { " \($0.identifier) \($0.end)" } ?? ""
        return "\(current) \(isOwn ? "own" : "master")\(past)"
    }

    /// Reads what ``text`` has written; nil if it is anything else.
    public init?(text: some StringProtocol) {
        let words = text.split(separator: " ")
        guard words.count == 2 || words.count == 4, let current = ReplicationIdentifier(words[0]) else { return nil }
        guard words[1] == "own" || words[1] == "master" else { return nil }
        self.init(current, isOwn: words[1] == "own")
        guard words.count == 4 else { return }
        guard let identifier = ReplicationIdentifier(words[2]), let end = UInt64(words[3]) else { return nil }
        past = Past(identifier: identifier, end: end)
    }
}
