// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Glibc
internal import Keyspace
internal import NIOCore
internal import NIOPosix
internal import Synchronization

/// A file of the whole keyspace that is being written in the background.
final class BackgroundSave: Sendable {
    /// What file: a dump, or an append-only file.
    let kind: KnownFiles.Kind
    /// Whether it is to stop.
    let isCancelled = Atomic<Bool>(false)
    let startedNanoseconds: Int64

    init(_ kind: KnownFiles.Kind, startedNanoseconds: Int64) {
        self.kind = kind
        self.startedNanoseconds = startedNanoseconds
    }
}

/// What is known of the dumps.
struct SaveState {
    /// The dump that is being written.
    var running: BackgroundSave?
    /// The append-only file that is being written.
    var rewriting: BackgroundSave?
    var lastRewriteWasGood = true
    var lastRewriteDurationSeconds: Int64 = -1
    /// The changes that the running one will have.
    var dirtyAtStart = 0
    /// The last that ended well, in seconds since 1970; of the start, if there was none.
    var lastSeconds: Int64 = 0
    /// When one was last begun.
    var lastTrySeconds: Int64 = 0
    var lastWasGood = true
    var lastDurationSeconds: Int64 = -1
    /// Where the keyspace lies that remembers the dumps.
    var keyspaceDirectory = ""
    /// Whether BGREWRITEAOF waits for the end of the running one.
    var isRewriteScheduled = false
    /// The thread that writes; it is made when it is first needed.
    let thread = SaveThread()
}

/// One thread for what takes long and waits for nobody: dumps.
final class SaveThread: Sendable {
    private let pool = NIOThreadPool(numberOfThreads: 1)
    private let isStarted = Atomic<Bool>(false)

    func run(_ work: @escaping @Sendable () -> Void) {
        if !isStarted.exchange(true, ordering: .acquiringAndReleasing) { pool.start() }
        pool.submit { _ in
            BackgroundPriority.lower()
            work()
        }
    }
}

/// Dumps: SAVE, BGSAVE, the save points, and the last one at the end (Redis 2.8: rdb.c).
///
/// A dump is written from a snapshot by another thread while commands go on; nothing is forked. It gets its name when
/// the keyspace itself is durable up to the place that it stands for.
extension Server {
    /// Whether writes are refused because a dump has failed.
    var saveFailureStopsWrites: Bool {
        !saves.lastWasGood && config.stopWritesOnBgsaveError && !config.savePoints.isEmpty
    }

    /// Writes a dump before it returns; false if that failed, and the log says why.
    ///
    /// Within a unit of effects the keyspace is not committed: then the dump is all there is.
    func saveNow(resettingDirty: Bool = true) -> Bool {
        guard saves.running == nil else { return false }
        let file = RDBFile(config)
        do {
            let now = clock.milliseconds
            let identity = try keyspace.readNow { (reader) throws(SaveError) in try file.write(reader, now: now) }
            if resettingDirty, !effects.isInUnit, effects.log != nil, !checkpointNow() {
                throw SaveError.failed("the keyspace could not be synced")
            }
            try file.publish(identity, keyspaceDirectory: saves.keyspaceDirectory)
        } catch {
            file.discard()
            log.warning("Error saving the DB: \(error)")
            return false
        }
        clock.readAll()
        log.notice("DB saved on disk")
        if resettingDirty { dirty = 0 }
        saves.lastSeconds = clock.seconds
        noteSave(isGood: true)
        return true
    }

    /// Begins a dump in the background, unless there is one.
    func startBackgroundSave() {
        guard saves.running == nil else { return }
        _ = clock.readMonotonic()
        let save = BackgroundSave(.rdb, startedNanoseconds: clock.monotonicNanoseconds)
        saves.running = save
        saves.lastTrySeconds = clock.seconds
        log.notice("Background saving started by pid \(getpid())")
        takeSnapshot(for: save)
    }

    private func takeSnapshot(for save: BackgroundSave) {
        if save.kind == .rdb { saves.dirtyAtStart = dirty }
        withSnapshot(owner: save.kind == .rdb ? "bgsave" : "bgrewriteaof") { [self] snapshot in
            guard let snapshot else { return saveEnded(save, .failed("no snapshot could be taken")) }
            if save.kind == .rdb { saves.dirtyAtStart = dirty }
            let file: any SnapshotFile = save.kind == .rdb ? RDBFile(config) : AOFFile(config)
            let now = clock.milliseconds
            saves.thread.run { [loop, self] in
                let outcome = Result { () throws(SaveError) in try Server.write(file, snapshot, now: now, save) }
                loop.execute { self.fileWritten(save, file, outcome) }
            }
        }
    }

    private static func write(
        _ file: any SnapshotFile,
        _ snapshot: KeyspaceSnapshot,
        now: Int64,
        _ save: BackgroundSave
    ) throws(SaveError) -> FileIdentity {
        defer { snapshot.close() }
        do {
            return try snapshot.read { reader in
                try file.write(reader, now: now) { save.isCancelled.load(ordering: .relaxed) }
            }
        } catch let error as SaveError {
            throw error
        } catch {
            throw error as? SnapshotError == .cut ? .cut : .failed("\(error)")
        }
    }

    /// The file is there under its temporary name.
    private func fileWritten(
        _ save: BackgroundSave,
        _ file: any SnapshotFile,
        _ outcome: Result<FileIdentity, SaveError>
    ) {
        let identity: FileIdentity
        switch outcome {
        case .failure(.cut):
            log.notice("The keyspace had to grow: \(save.kind == .rdb ? "saving" : "rewriting") begins anew")
            return takeSnapshot(for: save)
        case .failure(let error):
            file.discard()
            return saveEnded(save, error)
        case .success(let written): identity = written
        }
        requestCheckpoint { [self] isGood in
            guard isGood else {
                file.discard()
                return saveEnded(save, .failed("the keyspace could not be synced"))
            }
            let directory = saves.keyspaceDirectory
            saves.thread.run { [loop, self] in
                var failure: SaveError?
                do throws(SaveError) {
                    if save.isCancelled.load(ordering: .relaxed) { throw .cancelled }
                    try file.publish(identity, keyspaceDirectory: directory)
                } catch {
                    file.discard()
                    failure = error
                }
                let outcome = failure
                loop.execute { self.saveEnded(save, outcome) }
            }
        }
    }

    private func saveEnded(_ save: BackgroundSave, _ failure: SaveError?) {
        clock.readAll()
        let seconds = (clock.monotonicNanoseconds - save.startedNanoseconds) / 1_000_000_000
        if saves.rewriting === save { return rewriteEnded(seconds: seconds, failure) }
        guard saves.running === save else { return }
        saves.running = nil
        saves.lastDurationSeconds = seconds
        switch failure {
        case nil:
            log.notice("DB saved on disk")
            log.notice("Background saving terminated with success")
            dirty = max(0, dirty - saves.dirtyAtStart)
            saves.lastSeconds = clock.seconds
            noteSave(isGood: true)
        case .cancelled:
            log.warning("Background saving was stopped")
        case .cut, .failed:
            log.warning("Background saving error: \(failure.map { "\($0)" } ?? "")")
            noteSave(isGood: false)
        }
        if saves.isRewriteScheduled { startRewrite() }
    }

    private func noteSave(isGood: Bool) {
        saves.lastWasGood = isGood
        configurationChanged()
    }

    /// Stops the dump that is being written, and forgets it.
    func stopBackgroundSave() {
        guard let save = saves.running else { return }
        save.isCancelled.store(true, ordering: .relaxed)
        saves.running = nil
    }

    // MARK: Append-only files

    /// Begins to write an append-only file in the background, unless one is being written.
    func startRewrite() {
        saves.isRewriteScheduled = false
        guard saves.rewriting == nil else { return }
        _ = clock.readMonotonic()
        let save = BackgroundSave(.aof, startedNanoseconds: clock.monotonicNanoseconds)
        saves.rewriting = save
        log.notice("Background append only file rewriting started by pid \(getpid())")
        takeSnapshot(for: save)
    }

    private func rewriteEnded(seconds: Int64, _ failure: SaveError?) {
        saves.rewriting = nil
        saves.lastRewriteDurationSeconds = seconds
        saves.lastRewriteWasGood = failure == nil
        if let failure {
            log.warning("Background AOF rewrite terminated with error: \(failure)")
        } else {
            log.notice("Background AOF rewrite finished successfully")
        }
    }

    /// Stops the append-only file that is being written, and forgets it.
    func stopRewrite() {
        saves.isRewriteScheduled = false
        guard let save = saves.rewriting else { return }
        log.notice("Killing running AOF rewrite child: \(getpid())")
        save.isCancelled.store(true, ordering: .relaxed)
        saves.rewriting = nil
    }

    /// Begins a dump if a save point says so (Redis 2.8: redis.c, serverCron).
    func saveIfDue() {
        guard saves.running == nil, saves.rewriting == nil, !isLoading else { return }
        guard saves.lastWasGood || clock.seconds - saves.lastTrySeconds > 5 else { return }
        for point in config.savePoints
        where dirty >= point.changes && clock.seconds - saves.lastSeconds > Int64(point.seconds) {
            log.notice("\(point.changes) changes in \(point.seconds) seconds. Saving...")
            return startBackgroundSave()
        }
    }
}
