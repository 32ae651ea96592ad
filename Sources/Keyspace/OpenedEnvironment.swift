// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Bytes
internal import Glibc
internal import LMDB

/// What opening a keyspace brings: its environment at the last durable commit, a write transaction and its tables.
struct OpenedEnvironment {
    let environment: Environment
    let dataSync: DataSync
    let durable: DurableMeta
    let transaction: Transaction
    let slotTables: [Table]
    let metaTable: Table
    let expiryTable: Table
    let reclaimTable: Table
    let countsTable: Table
    let state: StoredState

    /// The map is at least this large unless the options say otherwise, so that a small keyspace seldom has to grow
    /// its map.
    static let leastMapBytes = 4 << 30

    init(_ directory: KeyspaceDirectory, _ options: KeyspaceOptions) throws(KeyspaceError) {
        let used = directory.isNew ? 0 : try DurableMeta.restore(directory: directory.workingPath)
        let wanted =
            options.mapSizeBytes > 0
            ? max(options.mapSizeBytes, 2 * used) : max(OpenedEnvironment.leastMapBytes, 4 * used)
        if directory.isNew { try OpenedEnvironment.allocate("lock.mdb", bytes: 8192, in: directory) }
        do throws(LMDBError) {
            environment = try Environment(
                directory: directory.workingPath,
                mapSizeBytes: (wanted + 0x1FFFFF) & ~0x1FFFFF,
                maximumTables: 1024 + 8
            )
        } catch {
            throw error == .invalid || error == .versionMismatch
                ? .format("\(directory.path)/data.mdb is not a keyspace: \(error)")
                : .failed("cannot open \(directory.path)/data.mdb: \(error)")
        }
        dataSync = DataSync(descriptor: environment.fileDescriptor)
        durable = try DurableMeta(path: directory.workingPath + "/durable")
        if directory.isNew {
            try OpenedEnvironment.allocate("data.mdb", bytes: OpenedEnvironment.newDataBytes, in: directory)
            try OpenedEnvironment.create(environment, dataSync, durable)
            try directory.finishCreation()
        }
        do throws(LMDBError) {
            transaction = try environment.beginWriting()
            var tables: [Table] = []
            for name in OpenedEnvironment.tableNames {
                guard let table = try transaction.openTable(name, create: false) else { throw .invalid }
                tables.append(table)
            }
            slotTables = Array(tables[0..<1024])
            metaTable = tables[1024]
            expiryTable = tables[1025]
            reclaimTable = tables[1026]
            countsTable = tables[1027]
        } catch {
            throw KeyspaceError(error, while: "opening the keyspace's tables")
        }
        let row: ByteView?
        do throws(LMDBError) {
            row = try transaction.get(StoredState.key, in: metaTable)
        } catch {
            throw KeyspaceError(error, while: "reading the keyspace's state")
        }
        guard let row else { throw .format("the keyspace has no state") }
        state = try StoredState(row)
    }

    private static let tableNames =
        (0..<1024).map { "slot." + String($0 + 10000).dropFirst() } + ["meta", "expires", "reclaim", "counts"]

    /// What the tables and the first state of a new keyspace take for certain; they are some 40 pages.
    private static let newDataBytes = 1 << 20

    /// Gives the first `bytes` of a file of a new keyspace blocks on the disk, and makes the file if it is missing.
    ///
    /// LMDB maps both of its files and writes to them there: on a full disk that would end the process.
    private static func allocate(_ name: String, bytes: Int, in directory: KeyspaceDirectory) throws(KeyspaceError) {
        let path = directory.workingPath + "/" + name
        let descriptor = unsafe open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
        let code = descriptor < 0 ? errno : posix_fallocate(descriptor, 0, off_t(bytes))
        if descriptor >= 0 { close(descriptor) }
        if code != 0 { throw .failed("cannot make \(path): \(unsafe String(cString: strerror(code)))") }
    }

    /// Makes the tables and the first state of a new keyspace, durably.
    private static func create(
        _ environment: Environment,
        _ dataSync: DataSync,
        _ durable: DurableMeta
    ) throws(KeyspaceError) {
        var generator = SystemRandomNumberGenerator()
        let state = StoredState(hashKey: SipHash(key: (generator.next(), generator.next())))
        var number = 0
        var page: [UInt8] = []
        do throws(LMDBError) {
            let transaction = try environment.beginWriting()
            number = transaction.number
            for name in tableNames {
                guard let table = try transaction.openTable(name, create: true) else { throw .invalid }
                guard name == "meta" else { continue }
                let memory = unsafe try transaction.reserve(StoredState.key, count: StoredState.length, in: table)
                var writer = unsafe RowWriter(memory)
                state.write(to: &writer)
            }
            try transaction.commit()
            page = try environment.metaPage(ofTransaction: number)
        } catch {
            throw KeyspaceError(error, while: "making the keyspace")
        }
        try dataSync.sync([0..<(environment.information.lastPage + 1) * environment.pageSize])
        try durable.save(commit: number, page: page)
    }
}
