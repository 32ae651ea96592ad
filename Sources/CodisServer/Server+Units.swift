// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Keyspace

/// Atomic units: what a transaction or a script changes is found whole after any end of the server, or not at all.
///
/// Two rules make it so. The log gets a unit in one piece, between MULTI and EXEC, in one frame (`EffectStream`). And
/// the tree is never committed within a unit once that has an effect: the commit would stand for the place before the
/// unit, and what was done of it would be done twice at replay. So all of a unit must fit into one transaction of
/// LMDB. That is given at least half of what a transaction may change, and a command of a unit that has used up what
/// there is gets an error.
extension Server {
    /// Begins a unit of effects; units within units are one.
    func beginUnit() {
        if !effects.isInUnit { beginUnit(at: (effects.offset, effects.selected)) } else { effects.beginUnit() }
    }

    /// Begins an outermost unit, which stands at `start` in the log.
    func beginUnit(at start: (offset: UInt64, database: Int)) {
        commandStart = start
        if keyspace.isCommitAdvisable {
            do throws(KeyspaceError) {
                try commitUnderPressure()
            } catch {
                // The end of the tick sees that the keyspace has failed.
                needsTickEnd()
            }
        }
        effects.beginUnit()
    }

    /// Ends a unit of effects, and puts it into the log if it was the outermost.
    func endUnit() {
        guard effects.endUnit(longestFrame: Server.longestFrame) else { return }
        if effects.pendingBytes > Server.longestFrame { writeFrameInTick() }
        if effects.pendingBytes > 0 || !snapshotRequests.isEmpty { needsTickEnd() }
        if checkpoints.isWanted, checkpoints.running == nil {
            checkpoints.isWanted = false
            requestCheckpoint()
        }
    }

    /// Whether a command that writes `bytes` may join the unit that is open.
    func unitHasRoom(bytes: Int) -> Bool {
        keyspace.transactionHasRoom && effects.unitBytes + bytes <= Server.longestUnit
    }

    /// What the effects of a unit may have at most in bytes; a frame of the log holds four times as many.
    private static let longestUnit = 1 << 30
}
