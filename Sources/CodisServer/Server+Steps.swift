// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import NIOCore
internal import RESP

/// Commands whose work is too much for one turn of the event loop.
extension Server {
    /// How long such a command works on before others have their turn.
    static let sliceNanoseconds: Int64 = 1_000_000

    /// Whether the client of `call` can wait while its command goes on: it is a client, and no transaction, script or
    /// stream of a master goes on with what comes next.
    func canSuspend(_ call: CommandCall) -> Bool {
        call.session.isOpen && !call.session.isMaster && !call.session.modes.contains(.transaction)
            && !call.isFromScript && !isLoading
    }

    /// Has `step` called until it says that it has done, having added the reply to the buffer that it is given.
    ///
    /// A step takes well below a millisecond, and leaves the data and the log in agreement. If all of it does not fit
    /// into a slice, the client waits, and the rest is done in turns of the loop of its own, whether the client is
    /// still there or not. `step` is not called again after it has thrown; what it throws is the reply.
    func runInSteps(
        _ call: CommandCall,
        _ step: @escaping (inout ByteBuffer) throws(CommandError) -> Bool
    ) throws(CommandError) {
        guard canSuspend(call) else {
            while try !step(&call.reply) {}
            return
        }
        guard try !runSlice(step, &call.reply) else { return }
        let work = SteppedCommand(session: call.session, step: step)
        work.session.holds.insert(.blocked)
        scheduleSlice(work)
    }

    /// Throws what a command that has waited replies when the server has become a replica meanwhile.
    func checkIsStillMaster() throws(CommandError) {
        guard isReplica else { return }
        throw .message(
            "UNBLOCKED force unblock from blocking operation, instance state changed (master -> slave?)"
        )
    }

    /// Calls `step` for the time of a slice; true when it has done.
    private func runSlice(
        _ step: (inout ByteBuffer) throws(CommandError) -> Bool,
        _ reply: inout ByteBuffer
    ) throws(CommandError) -> Bool {
        var timer = Clock()
        var spent: Int64 = 0
        while spent < Server.sliceNanoseconds {
            commandStart = (effects.offset, effects.selected)
            if try step(&reply) { return true }
            spent += timer.readMonotonic()
        }
        return false
    }

    private func scheduleSlice(_ work: SteppedCommand) {
        schedule(after: .microseconds(50)) { [self] in
            clock.readAll()
            let start = clock.monotonicNanoseconds
            var reply = ByteBuffer()
            var isDone = true
            do throws(CommandError) {
                isDone = try runSlice(work.step, &reply)
            } catch {
                reply.clear()
                reply.writeReplyError(error.line)
            }
            _ = clock.readMonotonic()
            noteLatency("command-step", nanoseconds: clock.monotonicNanoseconds - start)
            needsTickEnd()
            guard isDone else {
                return isAheadOfDisk ? afterRunningCheckpoint { self.scheduleSlice(work) } : scheduleSlice(work)
            }
            // The reply must not go before what was done is in the log.
            work.session.hasWritten = true
            work.session.reply { $0.writeBuffer(&reply) }
            work.session.resume(.blocked)
        }
    }
}

/// A command that goes on in steps; it belongs to the event loop, and is Sendable for the sake of closures that run
/// there.
private final class SteppedCommand: @unchecked Sendable {
    let session: Session
    let step: (inout ByteBuffer) throws(CommandError) -> Bool

    init(session: Session, step: @escaping (inout ByteBuffer) throws(CommandError) -> Bool) {
        self.session = session
        self.step = step
    }
}
