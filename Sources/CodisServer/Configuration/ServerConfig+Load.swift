// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import Glibc

/// What reading a configuration does beside filling fields; tests have their own.
public struct ConfigEffects: Sendable {
    /// The bytes of a file, or of standard input for `-`; nil if it cannot be read.
    public var read: @Sendable (_ path: String) -> [UInt8]?
    /// Makes `path` the working directory; gives the reason if that fails.
    public var changeDirectory: @Sendable (_ path: String) -> String?
    /// The absolute path of the working directory.
    public var currentDirectory: @Sendable () -> String
    /// Tries to append to a file; gives the reason if that fails.
    public var tryAppending: @Sendable (_ path: String) -> String?

    /// Effects of the given kinds.
    public init(
        read: @escaping @Sendable (_ path: String) -> [UInt8]?,
        changeDirectory: @escaping @Sendable (_ path: String) -> String?,
        currentDirectory: @escaping @Sendable () -> String,
        tryAppending: @escaping @Sendable (_ path: String) -> String?
    ) {
        self.read = read
        self.changeDirectory = changeDirectory
        self.currentDirectory = currentDirectory
        self.tryAppending = tryAppending
    }

    /// Those of a server: the real files, and the working directory of the process.
    public static let live = ConfigEffects(
        read: { path in path == "-" ? readAll(STDIN_FILENO) : readFile(path) },
        changeDirectory: { path in unsafe chdir(path) == 0 ? nil : lastSystemError() },
        currentDirectory: {
            guard let path = unsafe getcwd(nil, 0) else { return "." }
            defer { unsafe free(path) }
            return unsafe String(cString: path)
        },
        tryAppending: { path in
            let file = unsafe open(path, O_WRONLY | O_APPEND | O_CREAT, 0o644)
            guard file >= 0 else { return lastSystemError() }
            close(file)
            return nil
        }
    )

    private static func readFile(_ path: String) -> [UInt8]? {
        let file = unsafe open(path, O_RDONLY)
        guard file >= 0 else { return nil }
        defer { close(file) }
        return readAll(file)
    }

    private static func readAll(_ file: Int32) -> [UInt8]? {
        var bytes: [UInt8] = []
        while true {
            let piece = unsafe [UInt8](unsafeUninitializedCapacity: 65_536) { buffer, count in
                count = unsafe max(0, Glibc.read(file, buffer.baseAddress, buffer.count))
            }
            guard !piece.isEmpty else { return bytes }
            bytes += piece
        }
    }
}

/// The text of `errno`.
private func lastSystemError() -> String { unsafe String(cString: strerror(errno)) }

extension ServerConfig {
    /// How deep files may include one another; beyond it is a file that includes itself.
    private static let maximumIncludeDepth = 16

    /// Reads the configuration that `arguments` ask for, the words after the program's name:
    /// `[FILE or -] [--option value…]…`.
    ///
    /// With any argument there are no save points but those given. Throws what is to be printed before the server
    /// ends with status 1: ``ConfigError/fatalText``. Redis 2.8: redis.c, main; config.c, loadServerConfig.
    public static func load(
        arguments: [String],
        effects: ConfigEffects = .live
    ) throws(ConfigError) -> ServerConfig {
        var config = ServerConfig()
        guard let first = arguments.first else {
            config.directory = effects.currentDirectory()
            return config
        }
        config.savePoints = []
        var text: [UInt8] = []
        var options = arguments[...]
        if !first.hasPrefix("--") {
            options = options.dropFirst()
            config.configFile = first.hasPrefix("/") ? first : "\(effects.currentDirectory())/\(first)"
            guard let bytes = effects.read(first) else { throw .cannotOpen(path: first) }
            text = bytes
        }
        if !options.isEmpty { text += [0x0A] + ConfigFile.text(ofOptions: options) }
        try config.apply(text, effects, includeDepth: 0)
        config.directory = effects.currentDirectory()
        return config
    }

    /// Reads the text of a configuration into this one.
    private mutating func apply(
        _ text: [UInt8],
        _ effects: ConfigEffects,
        includeDepth: Int
    ) throws(ConfigError) {
        for line in try ConfigFile.lines(text) {
            do throws(ConfigReason) {
                guard let directive = ConfigDirective.named(line.name), directive.isInFile else {
                    try ignore(line)
                    continue
                }
                try directive.read(line.words, into: &self)
                switch directive.kind {
                case .renameCommand:
                    renamedCommands.append(
                        RenamedCommand(
                            name: line.words[0],
                            newName: line.words[1],
                            lineNumber: line.number,
                            line: String(decoding: line.text, as: UTF8.self)
                        )
                    )
                case .logFile where !logFile.isEmpty:
                    if let reason = effects.tryAppending(logFile) {
                        throw ConfigReason(text: "Can't open the log file: \(reason)")
                    }
                case .include:
                    if includeDepth == Self.maximumIncludeDepth {
                        throw ConfigReason(text: "Too many files including one another")
                    }
                default: break
                }
            } catch {
                throw ConfigFile.badLine(line.number, line.text, error)
            }
            switch ConfigDirective.named(line.name)?.kind {
            case .directory:
                if let reason = effects.changeDirectory(directory) {
                    throw .cannotChangeDirectory(path: directory, reason: reason)
                }
            case .include:
                let path = String(decoding: line.words[0], as: UTF8.self)
                guard let included = effects.read(path) else { throw .cannotOpen(path: path) }
                try apply(included, effects, includeDepth: includeDepth + 1)
            default: break
            }
        }
    }

    /// Notes a directive of another version; any other unknown one is an error.
    private mutating func ignore(_ line: ConfigFile.Line) throws(ConfigReason) {
        if line.name == "sentinel" { throw ConfigReason(text: "sentinel directive while not in sentinel mode") }
        guard ConfigDirective.isIgnored(line.name) else { throw .wrongWords }
        if !ignoredDirectives.contains(line.name) { ignoredDirectives.append(line.name) }
    }
}
