// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import Bytes
import RESP

/// A directive of the configuration: its name, which field it stands for, and who may read and change it.
struct ConfigDirective: Sendable {
    typealias Field<Value> = any (WritableKeyPath<ServerConfig, Value> & Sendable)

    /// The name in 2.8, which is also the name that CONFIG GET shows.
    let name: String
    /// Names of later versions for the same thing.
    let aliases: [String]
    let kind: Kind
    /// Whether it can stand in a file or among the options of the command line.
    let isInFile: Bool
    /// Whether CONFIG SET may change it.
    let isSettable: Bool
    /// Whether CONFIG GET shows it.
    let isShown: Bool

    /// What kind of words a directive takes.
    enum Kind: Sendable {
        /// `yes` or `no`
        case flag(Field<Bool>)
        case integer(Field<Int>, IntegerRule)
        /// An octal number.
        case permissions(Field<Int>)
        case text(Field<String>)
        /// A text for which an empty one means that there is none.
        case optionalText(Field<String?>)
        /// A name without a path.
        case fileName(Field<String>)
        /// Bytes, for which no bytes mean that there are none.
        case password(Field<[UInt8]?>)
        case choice(Choice)
        case logFile
        case directory
        case bind
        case savePoints
        case outputBufferLimits
        case master
        case keyspaceEvents
        case renameCommand
        case include
    }

    /// What an integer may be, and how it is written.
    struct IntegerRule: Sendable {
        enum Notation: Sendable {
            /// Decimal everywhere.
            case decimal
            /// With a unit where it stands in a file.
            case size
            /// With a unit where it stands in a file, and where CONFIG REWRITE writes it.
            case rewrittenSize
        }

        var range = Int.min...Int.max
        /// What CONFIG SET takes; otherwise `range`.
        var settableRange: ClosedRange<Int>?
        /// To what a value within the range is moved.
        var clamp: ClosedRange<Int>?
        var notation = Notation.decimal
        /// What is said of a file's value outside the range.
        var reason = ""

        func clamped(_ value: Int) -> Int {
            clamp.map { min(max(value, $0.lowerBound), $0.upperBound) } ?? value
        }
    }

    /// One word of several.
    struct Choice: Sendable {
        let read: @Sendable (inout ServerConfig, String) -> Bool
        let text: @Sendable (ServerConfig) -> String
        let reason: String
    }

    init(
        _ name: String,
        _ kind: Kind,
        aliases: [String] = [],
        isInFile: Bool = true,
        isSettable: Bool = true,
        isShown: Bool = true
    ) {
        self.name = name
        self.aliases = aliases
        self.kind = kind
        self.isInFile = isInFile
        self.isSettable = isSettable
        self.isShown = isShown
    }
}

extension ConfigDirective.Kind {
    /// One of the raw values of `Value`, in any case.
    static func choice<Value: RawRepresentable<String> & CaseIterable & Sendable>(
        _ field: ConfigDirective.Field<Value>,
        reason: String
    ) -> Self {
        .choice(
            ConfigDirective.Choice(
                read: { config, text in
                    guard let value = Value(rawValue: text.lowercased()) else { return false }
                    config[keyPath: field] = value
                    return true
                },
                text: { $0[keyPath: field].rawValue },
                reason: reason
            )
        )
    }

    static func integer(_ field: ConfigDirective.Field<Int>, _ range: ClosedRange<Int>, _ reason: String) -> Self {
        .integer(field, ConfigDirective.IntegerRule(range: range, reason: reason))
    }

    static func size(
        _ field: ConfigDirective.Field<Int>,
        _ range: ClosedRange<Int> = 0...Int.max,
        clamp: ClosedRange<Int>? = nil,
        isRewrittenWithUnit: Bool = true,
        reason: String = ConfigReason.notSize.text
    ) -> Self {
        .integer(
            field,
            ConfigDirective.IntegerRule(
                range: range,
                clamp: clamp,
                notation: isRewrittenWithUnit ? .rewrittenSize : .size,
                reason: reason
            )
        )
    }
}

extension ConfigDirective {
    // MARK: - From a file

    /// Takes the words after the name, as they stand in a file.
    ///
    /// `include`, `rename-command` and what `dir` and `logfile` do beside setting a field is the loader's part.
    func read(_ words: [[UInt8]], into config: inout ServerConfig) throws(ConfigReason) {
        switch kind {
        case .flag(let field):
            guard let value = Self.flag(try single(words)) else { throw .notYesOrNo }
            config[keyPath: field] = value
        case .integer(let field, let rule):
            let value = try Self.integer(try single(words), rule)
            guard rule.range.contains(value) else { throw ConfigReason(text: rule.reason) }
            config[keyPath: field] = rule.clamped(value)
        case .permissions(let field):
            guard let value = Int(String(decoding: try single(words), as: UTF8.self), radix: 8), value >= 0,
                value <= 0o777
            else { throw ConfigReason(text: "Invalid socket file permissions") }
            config[keyPath: field] = value
        case .text(let field): config[keyPath: field] = try text(words)
        case .optionalText(let field):
            let value = try text(words)
            config[keyPath: field] = value.isEmpty ? nil : value
        case .fileName(let field):
            let value = try text(words)
            guard Self.isFileName(value) else { throw ConfigReason(text: notFileNameText) }
            config[keyPath: field] = value
        case .password(let field):
            let value = try single(words)
            guard value.count <= Self.maximumPasswordLength else {
                throw ConfigReason(text: "Password is longer than REDIS_AUTHPASS_MAX_LEN")
            }
            config[keyPath: field] = value.isEmpty ? nil : value
        case .choice(let choice):
            guard choice.read(&config, try text(words)) else { throw ConfigReason(text: choice.reason) }
        case .logFile: config.logFile = try text(words)
        case .directory: config.directory = try text(words)
        case .bind:
            guard !words.isEmpty else { throw .wrongWords }
            guard words.count <= 16 else { throw ConfigReason(text: "Too many bind addresses specified") }
            config.bind = words.map { String(decoding: $0, as: UTF8.self) }.filter { !$0.isEmpty }
        case .savePoints: try readSavePoints(words, into: &config)
        case .outputBufferLimits: try readOutputBufferLimits(words, into: &config)
        case .master:
            guard words.count == 2 else { throw .wrongWords }
            let host = String(decoding: words[0], as: UTF8.self)
            guard host.lowercased() != "no" else {
                config.master = nil
                return
            }
            guard let port = ByteView.with(words[1], { DecimalNumber.lenient($0) }) else { throw .notInteger }
            guard (0...65_535).contains(port) else { throw ConfigReason(text: "Invalid port") }
            config.master = MasterAddress(host: host, port: Int(port))
        case .keyspaceEvents:
            guard let events = KeyspaceEvents(letters: try text(words)) else {
                throw ConfigReason(text: "Invalid event class character. Use 'g$lshzxeA'.")
            }
            config.keyspaceEvents = events
        case .renameCommand: guard words.count == 2 else { throw .wrongWords }
        case .include: guard words.count == 1 else { throw .wrongWords }
        }
    }

    static let maximumPasswordLength = 512

    var notFileNameText: String { "\(name) can't be a path, just a filename" }

    private func single(_ words: [[UInt8]]) throws(ConfigReason) -> [UInt8] {
        guard words.count == 1 else { throw .wrongWords }
        return words[0]
    }

    private func text(_ words: [[UInt8]]) throws(ConfigReason) -> String {
        String(decoding: try single(words), as: UTF8.self)
    }

    static func flag(_ word: [UInt8]) -> Bool? {
        switch String(decoding: word, as: UTF8.self).lowercased() {
        case "yes": true
        case "no": false
        default: nil
        }
    }

    static func isFileName(_ text: String) -> Bool { !text.contains("/") && !text.contains("\\") }

    private static func integer(_ word: [UInt8], _ rule: IntegerRule) throws(ConfigReason) -> Int {
        switch rule.notation {
        case .decimal:
            guard !word.isEmpty, let value = ByteView.with(word, { DecimalNumber.lenient($0) }) else {
                throw .notInteger
            }
            return Int(value)
        case .size, .rewrittenSize:
            guard let value = ByteView.with(word, { MemorySize.parse($0) }) else { throw .notSize }
            return value
        }
    }

    /// `save ""` removes all save points, `save 900 1` adds one, `save 900 1 300 10` as later versions write it some.
    private func readSavePoints(_ words: [[UInt8]], into config: inout ServerConfig) throws(ConfigReason) {
        if words == [[]] {
            config.savePoints = []
            return
        }
        guard !words.isEmpty, words.count % 2 == 0 else { throw .wrongWords }
        guard let points = Self.savePoints(words) else { throw ConfigReason(text: "Invalid save parameters") }
        config.savePoints += points
    }

    static func savePoints(_ words: [[UInt8]]) -> [SavePoint]? {
        guard words.count % 2 == 0 else { return nil }
        var points: [SavePoint] = []
        for index in stride(from: 0, to: words.count, by: 2) {
            guard let seconds = ByteView.with(words[index], { DecimalNumber.lenient($0) }), seconds >= 1,
                let changes = ByteView.with(words[index + 1], { DecimalNumber.lenient($0) }), changes >= 0
            else { return nil }
            points.append(SavePoint(seconds: Int(seconds), changes: Int(changes)))
        }
        return points
    }

    private func readOutputBufferLimits(_ words: [[UInt8]], into config: inout ServerConfig) throws(ConfigReason) {
        guard !words.isEmpty, words.count % 4 == 0 else { throw .wrongWords }
        for index in stride(from: 0, to: words.count, by: 4) {
            guard let limits = OutputBufferLimits.field(words[index]) else {
                throw ConfigReason(text: "Unrecognized client limit class")
            }
            guard let hard = ByteView.with(words[index + 1], { MemorySize.parse($0) }),
                let soft = ByteView.with(words[index + 2], { MemorySize.parse($0) })
            else { throw .notSize }
            guard let seconds = ByteView.with(words[index + 3], { DecimalNumber.lenient($0) }) else {
                throw .notInteger
            }
            guard seconds >= 0 else {
                throw ConfigReason(text: "Negative number of seconds in soft limit is invalid")
            }
            config.outputBufferLimits[keyPath: limits] =
                OutputBufferLimits.Limit(hardBytes: hard, softBytes: soft, softSeconds: Int(seconds))
        }
    }
}

extension OutputBufferLimits {
    /// The classes by the names they have in 2.8.
    static var classes: [(name: String, field: any (WritableKeyPath<OutputBufferLimits, Limit> & Sendable))] {
        [("normal", \.normal), ("slave", \.replica), ("pubsub", \.pubsub)]
    }

    static func field(_ name: [UInt8]) -> (any (WritableKeyPath<OutputBufferLimits, Limit> & Sendable))? {
        let name = String(decoding: name, as: UTF8.self).lowercased()
        return classes.first { $0.name == (name == "replica" ? "slave" : name) }?.field
    }
}
