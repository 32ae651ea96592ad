// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import AOF
internal import Bytes
internal import Glibc
internal import Keyspace
internal import NIOCore
internal import NIOPosix
internal import RDB
internal import RESP

/// Builds a keyspace from data of Redis and puts it in the place of the one that is there.
///
/// It is built aside, in as many transactions as it takes, and nothing of it is seen before it is whole. See
/// `ImportSwap` for what makes that safe against an end at any moment.
final class Importer {
    private let config: ServerConfig
    private let log: ServerLog
    private let loop: any EventLoop
    private let commands: CommandTable
    /// The commands under their own names, for files that know them by no other.
    private let plainCommands = CommandTable()
    private var progress: ImportProgress

    /// An importer into the directory that `config` names; `showsBar` has it draw its progress on the terminal.
    init(
        config: ServerConfig,
        log: ServerLog,
        loop: any EventLoop,
        commands: CommandTable,
        showsBar: Bool = false,
        status: LoadingStatus? = nil
    ) {
        self.config = config
        self.log = log
        self.loop = loop
        self.commands = commands
        progress = ImportProgress(log: log, showsBar: showsBar, status: status)
    }

    /// Imports `source`; the old data, if there are any, are kept aside.
    ///
    /// - Returns: how many keys there are.
    @discardableResult
    func run(_ source: ImportSource) throws -> Int {
        let directory = config.directory
        guard let lock = KeyspaceLock(ServerDirectory.keyspace(in: directory)) else {
            throw ImportError("the directory \(directory) is in use by another server")
        }
        defer { withExtendedLifetime(lock) {} }
        try ImportSwap.finish(in: directory)
        let hasOld = SmallFile.exists(ServerDirectory.keyspace(in: directory))
        log.notice("Importing \(source.name)" + (hasOld ? ", which replaces the data that are there" : ""))
        let clock = Clock()
        let keys = try build(source)
        try ImportSwap.complete(in: directory, aside: ImportSwap.newAsideName(in: directory))
        let aside = try ImportSwap.finish(in: directory)
        let milliseconds = Clock().milliseconds - clock.milliseconds
        progress.end(keys: keys)
        let fraction = String(milliseconds % 1000 + 1000).dropFirst()
        let seconds = "\(milliseconds / 1000).\(fraction) seconds"
        log.notice("DB loaded from \(source.kind == .rdb ? "disk" : "append only file"): \(seconds)")
        if let aside, hasOld { log.notice("The data that were there before are kept in \(aside)") }
        return keys
    }

    // MARK: Building

    private func build(_ source: ImportSource) throws -> Int {
        let staging = ImportSwap.staging(in: config.directory)
        let files = try source.files().map { path throws(ImportError) in
            guard let file = ImportFile(path) else {
                throw ImportError("Fatal error: can't open \(path) for reading")
            }
            return file
        }
        var options = KeyspaceOptions()
        options.databases = config.databases
        options.dirtyPages = 65_536
        let keyspace = try Keyspace(directory: staging, options: options)
        defer { keyspace.close() }
        let server = importingServer(keyspace)
        defer { try? server.backgroundThread.syncShutdownGracefully() }
        progress.begin(files)
        let replay = ImportReplay(server, commands: [commands, plainCommands])
        for (index, file) in files.enumerated() {
            progress.fileIndex = index
            try load(file, isLast: index == files.count - 1, isDump: source.kind == .rdb, into: server, replay)
        }
        try finish(keyspace, source)
        return (0..<config.databases).reduce(0) { $0 + keyspace.keyCount(in: $1) }
    }

    /// A server that has nothing but the keyspace, and does nothing of its own accord.
    private func importingServer(_ keyspace: Keyspace) -> Server {
        var plain = config
        // Nothing is refused and nothing is evicted while data are loaded.
        plain.maximumMemory = 0
        plain.savePoints = []
        let server = Server(config: plain, log: log, loop: loop, keyspace: keyspace, commands: plainCommands)
        server.leaveOutLoop()
        server.importsData = true
        keyspace.onPressure = { [unowned keyspace] () throws(KeyspaceError) in try keyspace.commitProvisionally() }
        return server
    }

    private func commitIfDue(_ keyspace: Keyspace) throws(KeyspaceError) {
        guard keyspace.commitIsDue else { return }
        try keyspace.commitProvisionally()
        // What commands of an append-only file have deleted must not pile up.
        while !keyspace.commitIsDue, try keyspace.reclaim(maximumRows: 1000) {}
    }

    private func finish(_ keyspace: Keyspace, _ source: ImportSource) throws {
        // What was committed provisionally has to be durable, too, if nothing came behind it.
        if let checkpoint = try keyspace.commit(at: LogPosition(), evenIfUnchanged: true) {
            try checkpoint.makeDurable()
            keyspace.finish(checkpoint)
        }
        var known = KnownFiles()
        // What lies beside the source was passed over, and is not to be imported the next time.
        let (dump, aof) = ImportSource.present(config)
        for passedOver in [dump, aof].compactMap({ $0 }) where passedOver != source {
            for path in passedOver.identifyingFiles() {
                if let identity = FileIdentity(path: path) { known.add(passedOver.kind, identity) }
            }
        }
        for path in source.identifyingFiles() {
            guard var identity = FileIdentity(path: path) else { continue }
            identity.checksum = FileChecksum.of(path: path)
            known.add(source.kind, identity)
        }
        try known.write(directory: ImportSwap.staging(in: config.directory))
    }

    // MARK: Files

    private func load(
        _ file: ImportFile,
        isLast: Bool,
        isDump: Bool,
        into server: Server,
        _ replay: ImportReplay
    ) throws {
        var start = 0
        if file.beginsWithRDB {
            start = try loadRDB(file, into: server.keyspace)
            if isDump { return }
        } else if isDump {
            let error: RDBError = file.size < 9 ? .shortRead(position: UInt64(file.size)) : .wrongSignature
            throw ImportError(error, file: file.path)
        }
        file.seek(to: start)
        try loadCommands(file, from: start, isLast: isLast, into: server.keyspace, replay)
    }

    /// Loads an RDB; gives the place behind it.
    private func loadRDB(_ file: ImportFile, into keyspace: Keyspace) throws -> Int {
        var options = RDBReader.Options()
        options.verifiesChecksum = config.rdbChecksum
        options.skipsUnsupported = config.importSkipsUnsupported
        options.databaseLimit = config.databases
        let reader = RDBReader(fileDescriptor: file.descriptor, options: options)
        let load = try BulkLoad(keyspace, directory: ImportSwap.staging(in: self.config.directory))
        let values = ValueImport(keyspace: keyspace, limits: EncodingLimitsOfKinds(config), load: load)
        let now = Clock().milliseconds
        do {
            while true {
                switch try reader.next() {
                case .key(let key):
                    progress.keys += 1
                    // A master drops what has expired; a replica waits for its master to say so.
                    if let expiry = key.expireAtMilliseconds, expiry < now, config.master == nil { break }
                    guard keyspace.ensureRoom(bytes: 64 << 10) else { throw KeyspaceError.outOfSpace }
                    let isStored = try values.run(
                        reader.value,
                        key: key.name,
                        in: key.databaseIndex,
                        expireAtMilliseconds: key.expireAtMilliseconds ?? 0
                    )
                    if !isStored { log.warning("A key without elements is left out: '\(String(key.name))'") }
                    try commitIfDue(keyspace)
                case .skipped(let what, let key, _):
                    log.warning("Left out: \(what)" + (key.map { ", key '\(String($0))'" } ?? ""))
                case .end:
                    try load.finish()
                    return Int(reader.bytesRead)
                case .auxiliaryField, .databaseSize:
                    break
                }
                progress.note(position: Int(reader.bytesRead))
            }
        } catch let error as RDBError {
            throw ImportError(error, file: file.path)
        }
    }

    private func loadCommands(
        _ file: ImportFile,
        from start: Int,
        isLast: Bool,
        into keyspace: Keyspace,
        _ replay: ImportReplay
    ) throws {
        let reader = AOFReader { buffer in try file.read(into: &buffer) }
        let complaint = "make a backup of your AOF file, then use ./redis-check-aof --fix <filename>"
        do {
            while true {
                guard keyspace.ensureRoom(bytes: 64 << 10) else { throw KeyspaceError.outOfSpace }
                guard try reader.next({ decoder, request in try replay.take(decoder, request) }) else { break }
                progress.note(position: start + Int(reader.offset))
                try commitIfDue(keyspace)
            }
            // A transaction that was not ended did not happen.
            if let offset = replay.openTransactionOffset { throw AOFError.truncated(offset: offset) }
        } catch AOFError.malformed {
            throw ImportError("Bad file format reading the append only file: \(complaint)")
        } catch AOFError.truncated(let offset) {
            guard config.aofLoadTruncated, isLast else {
                throw ImportError(
                    "Unexpected end of file reading the append only file. You can: 1) Make a backup of your AOF file, "
                        + "then use ./redis-check-aof --fix <filename>. 2) Alternatively you can set the "
                        + "'aof-load-truncated' configuration option to yes and restart the server."
                )
            }
            replay.dropTransaction()
            log.warning("!!! Warning: short read while loading the AOF file !!!")
            log.warning("!!! The AOF is used up to offset \(start + Int(offset)); the file stays as it is !!!")
            log.warning("AOF loaded anyway because aof-load-truncated is enabled")
        }
        progress.keys = replay.commandCount
    }
}

extension ImportError {
    /// What Redis logs for an error in a dump, the line that says it best the last.
    init(_ error: RDBError, file: String) {
        switch error {
        case .wrongSignature, .unknownVersion:
            self.init("\(error)", "Fatal error loading the DB: Invalid argument. Exiting.")
        case .unsupported:
            self.init(
                "\(file) holds \(error). Nothing was imported. To leave out what cannot be held, set "
                    + "import-skip-unsupported to yes."
            )
        case .shortRead, .wrongChecksum, .malformed, .databaseOutOfRange:
            self.init("\(file): \(error)", error.redisLogLine ?? "\(error)")
        case .wrongPayloadFooter, .unencodable, .system:
            self.init("\(file): \(error)")
        }
    }
}

/// Does the commands of an append-only file, as a client without a connection.
final class ImportReplay {
    private let server: Server
    private let session: Session
    private let call: CommandCall
    private let tables: [CommandTable]
    private var offset: UInt64 = 0
    /// The commands of the transaction that is open, as requests.
    private var queued: [[UInt8]] = []
    /// Where the open transaction begins, if one is open.
    private(set) var openTransactionOffset: UInt64?
    /// How many commands were done.
    private(set) var commandCount = 0

    /// Commands are looked up in `tables`, one after the other.
    init(_ server: Server, commands tables: [CommandTable]) {
        self.server = server
        self.tables = tables
        session = Session(server, identifier: 0, context: nil, address: "")
        call = CommandCall(effects: server.effects)
    }

    /// Does the command that `decoder` found in `request`, or keeps it until its transaction ends.
    func take(_ decoder: borrowing RESPRequestDecoder, _ request: ByteView) throws {
        defer { offset += UInt64(request.count) }
        let name = decoder.argument(0, in: request)
        if openTransactionOffset != nil {
            guard name.equalsIgnoringCase("exec") else {
                queued.append(Array(request))
                return
            }
            let requests = queued
            dropTransaction()
            for request in requests {
                try ByteView.with(request) { request in
                    var decoder = RESPRequestDecoder()
                    guard case .request = try decoder.decode(request) else { return }
                    try run(decoder, request)
                }
            }
        } else if name.equalsIgnoringCase("multi") {
            openTransactionOffset = offset
        } else if !name.equalsIgnoringCase("exec") {
            try run(decoder, request)
        }
    }

    /// Forgets the transaction that is open.
    func dropTransaction() {
        openTransactionOffset = nil
        queued = []
    }

    private func run(_ decoder: borrowing RESPRequestDecoder, _ request: ByteView) throws {
        call.begin(session)
        call.arguments.take(decoder, in: request)
        call.request = request
        let name = call.arguments[0]
        guard let command = tables.lazy.compactMap({ $0.find(name) }).first else {
            throw ImportError("Unknown command '\(String(name))' reading the append only file")
        }
        commandCount += 1
        if command.arity.accepts(call.arguments.count) { server.run(command, call) }
        call.reply.clear()
        if let failure = server.keyspace.failure { throw failure }
    }
}
