// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

public import Bytes
import RESP

extension ServerConfig {
    // MARK: - CONFIG GET

    /// The parameters whose names match `pattern`, with their values, as CONFIG GET shows them.
    ///
    /// A name of a later version is answered if it is asked for by itself, under the name asked for.
    public func get(_ pattern: ByteView) -> [(name: String, value: [UInt8])] {
        let shown = ConfigDirective.table.filter(\.isShown)
        if Glob.isLiteral(pattern), let directive = ConfigDirective.named(String(pattern)), directive.isShown {
            let name = String(pattern)
            return directive.name == name || directive.aliases.contains(name) ? [(name, directive.value(in: self))] : []
        }
        return shown.compactMap { directive in
            guard ByteView.with(directive.name, { Glob.matches(pattern, $0) }) else { return nil }
            return (directive.name, directive.value(in: self))
        }
    }

    // MARK: - CONFIG SET

    /// Changes a parameter as CONFIG SET does, and gives the name of its directive.
    ///
    /// `dir` also changes the working directory. All else that follows from the new value (evicting, opening a log,
    /// raising the limit of open files) is the caller's part. Throws `unsupportedParameter`, `invalidArgument`, or
    /// `refused`; the configuration is then unchanged.
    @discardableResult
    public mutating func set(
        _ name: ByteView,
        _ value: ByteView,
        effects: ConfigEffects = .live
    ) throws(ConfigError) -> String {
        guard let directive = ConfigDirective.named(String(name)), directive.isSettable else {
            throw .unsupportedParameter(String(name))
        }
        let bytes = Array(value)
        switch directive.kind {
        case .directory:
            let path = String(value)
            if let reason = effects.changeDirectory(path) { throw .refused("Changing directory: \(reason)") }
            directory = effects.currentDirectory()
        case .fileName(let field):
            let text = String(value)
            guard ConfigDirective.isFileName(text) else { throw .refused(directive.notFileNameText) }
            self[keyPath: field] = text
        default:
            guard directive.assign(bytes, to: &self) else {
                throw .invalidArgument(value: bytes, parameter: String(name))
            }
        }
        return directive.name
    }

    /// CONFIG SET for text.
    @discardableResult
    public mutating func set(
        _ name: String,
        _ value: String,
        effects: ConfigEffects = .live
    ) throws(ConfigError) -> String {
        let value = Array(value.utf8)
        return try ByteView.with(name) { name throws(ConfigError) in
            try ByteView.with(value) { value throws(ConfigError) in try set(name, value, effects: effects) }
        }
    }
}

extension ConfigDirective {
    /// Takes a value as CONFIG SET gives it; tells whether it is one that the parameter can have.
    fileprivate func assign(_ value: [UInt8], to config: inout ServerConfig) -> Bool {
        switch kind {
        case .integer(let field, let rule):
            // Plain integers only, also where a file may say `1gb`.
            guard let number = ByteView.with(value, { DecimalNumber.lenient($0) }).map({ Int($0) }),
                (rule.settableRange ?? rule.range).contains(number)
            else { return false }
            config[keyPath: field] = rule.clamped(number)
            return true
        case .savePoints:
            let words = value.isEmpty ? [] : value.split(separator: 0x20, omittingEmptySubsequences: false)
            guard words.allSatisfy({ !$0.isEmpty }), let points = Self.savePoints(words.map(Array.init)) else {
                return false
            }
            config.savePoints = points
            return true
        case .outputBufferLimits: return assignOutputBufferLimits(value, to: &config)
        case .flag, .permissions, .text, .optionalText, .fileName, .password, .choice, .logFile, .directory, .bind,
            .master, .keyspaceEvents, .renameCommand, .include:
            // One word, read as in a file; a failure leaves the configuration as it was.
            return (try? read([value], into: &config)) != nil
        }
    }

    private func assignOutputBufferLimits(_ value: [UInt8], to config: inout ServerConfig) -> Bool {
        let words = value.split(separator: 0x20, omittingEmptySubsequences: false).map(Array.init)
        guard words.count % 4 == 0 else { return false }
        var limits = config.outputBufferLimits
        for index in stride(from: 0, to: words.count, by: 4) {
            let numbers = words[index + 1...index + 3].compactMap { word in
                word.isEmpty ? nil : ByteView.with(word) { DecimalNumber.lenient($0) }
            }
            guard let field = OutputBufferLimits.field(words[index]), numbers.count == 3,
                numbers.allSatisfy({ $0 >= 0 })
            else { return false }
            limits[keyPath: field] = OutputBufferLimits.Limit(
                hardBytes: Int(numbers[0]),
                softBytes: Int(numbers[1]),
                softSeconds: Int(numbers[2])
            )
        }
        config.outputBufferLimits = limits
        return true
    }

    /// The value as CONFIG GET shows it.
    func value(in config: ServerConfig) -> [UInt8] {
        switch kind {
        case .flag(let field): Array((config[keyPath: field] ? "yes" : "no").utf8)
        case .integer(let field, _): DecimalNumber.digits(of: Int64(config[keyPath: field]))
        case .permissions(let field): Array(String(config[keyPath: field], radix: 8).utf8)
        case .text(let field), .fileName(let field): Array(config[keyPath: field].utf8)
        case .optionalText(let field): Array((config[keyPath: field] ?? "").utf8)
        case .password(let field): config[keyPath: field] ?? []
        case .choice(let choice): Array(choice.text(config).utf8)
        case .logFile: Array(config.logFile.utf8)
        case .directory: Array(config.directory.utf8)
        case .bind: Array(config.bind.joined(separator: " ").utf8)
        case .savePoints:
            Array(config.savePoints.map { "\($0.seconds) \($0.changes)" }.joined(separator: " ").utf8)
        case .outputBufferLimits:
            Array(
                OutputBufferLimits.classes.map { name, field in
                    let limit = config.outputBufferLimits[keyPath: field]
                    return "\(name) \(limit.hardBytes) \(limit.softBytes) \(limit.softSeconds)"
                }.joined(separator: " ").utf8
            )
        case .master: Array((config.master.map { "\($0.host) \($0.port)" } ?? "").utf8)
        case .keyspaceEvents: Array(config.keyspaceEvents.letters.utf8)
        case .renameCommand, .include: []
        }
    }
}
