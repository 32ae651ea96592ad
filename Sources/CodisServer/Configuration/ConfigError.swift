// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

/// What is wrong with a configuration, or with a change of it.
public enum ConfigError: Error, Equatable, Sendable {
    /// The configuration file cannot be read.
    case cannotOpen(path: String)
    /// A line cannot be used. Lines are counted from 1 in the text they stand in; options of the command line are
    /// lines after those of the file.
    case badLine(number: Int, line: String, reason: String)
    /// `dir` names no directory that can be entered.
    case cannotChangeDirectory(path: String, reason: String)

    /// CONFIG SET of a parameter that does not exist or cannot be changed at run time.
    case unsupportedParameter(String)
    /// CONFIG SET to a value that the parameter cannot have.
    case invalidArgument(value: [UInt8], parameter: String)
    /// CONFIG SET to a value for which there is a refusal in words.
    case refused(String)
    /// CONFIG REWRITE without a file to rewrite.
    case noConfigFile
    /// CONFIG REWRITE cannot write the file.
    case cannotRewrite(reason: String)

    /// What the starting server prints before it ends with status 1, without a line end at the end.
    ///
    /// Redis 2.8: config.c, loadServerConfigFromString and loadServerConfig.
    public var fatalText: String {
        switch self {
        case .cannotOpen(let path): "Fatal error, can't open config file '\(path)'"
        case .badLine(let number, let line, let reason):
            """

            *** FATAL CONFIG FILE ERROR ***
            Reading the configuration file, at line \(number)
            >>> '\(line)'
            \(reason)
            """
        case .cannotChangeDirectory(let path, let reason): "Can't chdir to '\(path)': \(reason)"
        case .unsupportedParameter, .invalidArgument, .refused, .noConfigFile, .cannotRewrite:
            String(decoding: errorLine, as: UTF8.self)
        }
    }

    /// What the client is told, without the leading `-` and the line end.
    ///
    /// Redis 2.8: config.c, configSetCommand.
    public var errorLine: [UInt8] {
        switch self {
        case .unsupportedParameter(let name): Array("ERR Unsupported CONFIG parameter: \(name)".utf8)
        case .invalidArgument(let value, let parameter):
            Array("ERR Invalid argument '".utf8) + value + Array("' for CONFIG SET '\(parameter)'".utf8)
        case .refused(let text): Array("ERR \(text)".utf8)
        case .noConfigFile: Array("ERR The server is running without a config file".utf8)
        case .cannotRewrite(let reason): Array("ERR Rewriting config file: \(reason)".utf8)
        case .cannotOpen, .badLine, .cannotChangeDirectory: Array("ERR \(fatalText)".utf8)
        }
    }
}

/// Why words cannot be the value of a directive; the reader of the file adds where they stand.
struct ConfigReason: Error, Equatable {
    let text: String

    static let wrongWords = ConfigReason(text: "Bad directive or wrong number of arguments")
    static let notYesOrNo = ConfigReason(text: "argument must be 'yes' or 'no'")
    static let notInteger = ConfigReason(text: "argument must be an integer")
    static let notSize = ConfigReason(text: "argument must be a number of bytes, as in 100, 64kb, 1gb")
    static let unbalancedQuotes = ConfigReason(text: "Unbalanced quotes in configuration line")
}
