// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

internal import Foundation
internal import Glibc

/// A small file system of its own, mounted from a file, which a test can fill to the last block.
public final class LoopVolume {
    /// Where it is mounted.
    public let path: String
    private let kind: Kind
    private let folder: TemporaryDirectory
    private var image: String { folder.path + "/image" }

    /// Which file system it is.
    public enum Kind: String, Sendable {
        /// That of most machines.
        case ext4
        /// The other one that is common; a volume has 300 MB at least.
        case xfs

        fileprivate var make: [String] {
            switch self {
            case .ext4: ["mkfs.ext4", "-q", "-m", "0"]
            case .xfs: ["mkfs.xfs", "-q"]
            }
        }

        /// A copy of a volume may be mounted beside it.
        fileprivate var options: String { self == .xfs ? "loop,nouuid" : "loop" }
    }

    /// Whether this machine and this user can mount one.
    public static let isPossible = isPossible(.ext4, megabytes: 8)

    /// Whether that can be one of XFS.
    public static let isXFSPossible = isPossible(.xfs, megabytes: 320)

    private static func isPossible(_ kind: Kind, megabytes: Int) -> Bool {
        guard getuid() == 0 else { return false }
        return (try? LoopVolume(megabytes: megabytes, kind: kind)) != nil
    }

    /// Creates a file system of this size and mounts it.
    public init(megabytes: Int, kind: Kind = .ext4) throws {
        folder = try TemporaryDirectory()
        path = folder.path + "/mounted"
        self.kind = kind
        try LoopVolume.run("truncate", ["-s", "\(megabytes)M", image])
        try LoopVolume.run("env", kind.make + [image])
        try mount()
    }

    /// Mounts a copy of what is on the disk of `original` just now, as after a loss of power.
    public init(lossOfPowerOf original: LoopVolume) throws {
        folder = try TemporaryDirectory()
        path = folder.path + "/mounted"
        kind = original.kind
        try LoopVolume.run("cp", ["--sparse=always", original.image, image])
        try mount()
    }

    private func mount() throws {
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
        try LoopVolume.run("mount", ["-t", kind.rawValue, "-o", kind.options, image, path])
    }

    deinit { try? LoopVolume.run("umount", ["-l", path]) }

    /// Takes all the space that is left, in a file called `filler`.
    public func fill() throws {
        // It ends with an error, because the disk is full: that is its purpose.
        _ = try runProgram("dd", ["if=/dev/zero", "of=\(path)/filler", "bs=64k"])
    }

    /// Takes all the space but about so many kilobytes.
    public func fill(leavingKilobytes left: Int) throws {
        let hole = path + "/hole"
        let result = try runProgram("dd", ["if=/dev/zero", "of=\(hole)", "bs=1K", "count=\(left)"])
        guard result.isSuccess else { throw LoopVolumeError(reason: result.errors) }
        try fill()
        try FileManager.default.removeItem(atPath: hole)
    }

    /// Gives the space back.
    public func empty() throws { try FileManager.default.removeItem(atPath: path + "/filler") }

    private static func run(_ program: String, _ arguments: [String]) throws {
        let path = "/usr/sbin:/sbin:/usr/bin:/bin"
        let result = try runProgram("env", ["PATH=\(path)", program] + arguments)
        guard result.isSuccess else { throw LoopVolumeError(reason: result.errors) }
    }
}

/// Why a volume could not be made.
public struct LoopVolumeError: Error {
    /// What the system said.
    public let reason: String
}
