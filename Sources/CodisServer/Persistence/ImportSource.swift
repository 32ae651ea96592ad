// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import AOF

/// Data of Redis that are to be loaded.
enum ImportSource: Equatable, Sendable {
    /// A dump.
    case rdb(String)
    /// An append-only file, which may begin with a dump.
    case aof(String)
    /// An append-only file in parts: the manifest, and the directory that holds it and them.
    case parts(directory: String, manifest: String)

    /// What it is called in the log.
    var name: String {
        switch self {
        case .rdb(let path), .aof(let path): String(path.split(separator: "/").last ?? "")
        case .parts(_, let manifest): manifest
        }
    }

    /// The files to be read, in order.
    func files() throws(ImportError) -> [String] {
        switch self {
        case .rdb(let path), .aof(let path): return [path]
        case .parts(let directory, let manifest):
            guard let bytes = SmallFile.read("\(directory)/\(manifest)") else {
                throw ImportError("Fatal error: can't open the append log file manifest \(manifest) for reading")
            }
            do throws(AOFManifest.Failure) {
                return try AOFManifest(String(decoding: bytes, as: UTF8.self)).files.map { "\(directory)/\($0)" }
            } catch {
                throw ImportError("Fatal error loading the append only file: \(error)")
            }
        }
    }

    /// The files by which it is known again: those to be read, and the manifest.
    func identifyingFiles() -> [String] {
        let files = (try? files()) ?? []
        guard case .parts(let directory, let manifest) = self else { return files }
        return ["\(directory)/\(manifest)"] + files
    }

    var kind: KnownFiles.Kind {
        switch self {
        case .rdb: .rdb
        case .aof, .parts: .aof
        }
    }

    /// What the operator means by `path`: a file is known by its first bytes, a directory by its manifest.
    static func at(_ path: String) throws(ImportError) -> ImportSource {
        if let manifest = manifest(in: path) { return .parts(directory: path, manifest: manifest) }
        guard let file = ImportFile(path) else { throw ImportError("\(path) cannot be opened") }
        if file.beginsWithRDB { return .rdb(path) }
        guard file.firstByte == 0x2A || file.firstByte == 0x23 else {
            throw ImportError("\(path) is neither a dump nor an append-only file of Redis")
        }
        return .aof(path)
    }

    private static func manifest(in directory: String) -> String? {
        DirectoryListing.names(in: directory).first { $0.hasSuffix(".manifest") }
    }

    // MARK: At the start

    /// The files that lie in the server's directory under the names of the configuration.
    static func present(_ config: ServerConfig) -> (dump: ImportSource?, aof: ImportSource?) {
        let dump = "\(config.directory)/\(config.dbFileName)"
        let aof = "\(config.directory)/\(config.appendFileName)"
        let parts = "\(config.directory)/appendonlydir"
        let manifest = "\(config.appendFileName).manifest"
        let log: ImportSource? =
            SmallFile.exists("\(parts)/\(manifest)")
            ? .parts(directory: parts, manifest: manifest) : SmallFile.exists(aof) ? .aof(aof) : nil
        return (SmallFile.exists(dump) ? .rdb(dump) : nil, log)
    }

    /// What is to be loaded before the keyspace is opened: nil in most cases, when the keyspace knows all there is.
    ///
    /// With `appendonly yes` an append-only file goes before a dump. A file is loaded if there is no keyspace yet, or
    /// if somebody has put it there since: it is none that the keyspace has written, read or passed over.
    static func atStart(_ config: ServerConfig, known: KnownFiles?) -> ImportSource? {
        let (dump, aof) = present(config)
        if config.appendOnly, let aof, !isKnown(aof, known) { return aof }
        if let dump, !isKnown(dump, known) {
            // At the first start the append-only file, which is there but known to nobody, has been chosen already.
            return dump
        }
        return nil
    }

    /// Remembers an append-only file that is there while `appendonly` is off: it does not become the truth when that is
    /// turned on some day.
    static func notePassedOver(_ config: ServerConfig, _ known: KnownFiles, _ log: ServerLog) throws(SystemError) {
        guard !config.appendOnly, let aof = present(config).aof, !isKnown(aof, known) else { return }
        log.notice("\(aof.name) is not loaded, because appendonly is off; --import loads it")
        var known = known
        for path in aof.identifyingFiles() {
            if let identity = FileIdentity(path: path) { known.add(.aof, identity) }
        }
        try known.write(directory: ServerDirectory.keyspace(in: config.directory))
    }

    private static func isKnown(_ source: ImportSource, _ known: KnownFiles?) -> Bool {
        guard let known else { return false }
        let files = source.identifyingFiles()
        return !files.isEmpty && files.allSatisfy { known.contains(source.kind, path: $0) }
    }
}

/// Why data could not be imported: lines for the operator, the last of which says it best.
struct ImportError: Error, CustomStringConvertible {
    /// The lines, at least one.
    let lines: [String]

    init(_ lines: String...) { self.lines = lines }

    var description: String { lines.joined(separator: " ") }
}
