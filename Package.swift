// swift-tools-version: 6.2
// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import PackageDescription

/// The settings of every target of ours; a feature stands with the proposal that describes it.
let settings: [SwiftSetting] = [
    .strictMemorySafety(),  // SE-0458
    .enableUpcomingFeature("ExistentialAny"),  // SE-0335
    .enableUpcomingFeature("MemberImportVisibility"),  // SE-0444
    .enableUpcomingFeature("InternalImportsByDefault"),  // SE-0409
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),  // SE-0461
    .treatAllWarnings(as: .error),  // SE-0443
]

let nioCore = Target.Dependency.product(name: "NIOCore", package: "swift-nio")
let nioPosix = Target.Dependency.product(name: "NIOPosix", package: "swift-nio")
let logging = Target.Dependency.product(name: "Logging", package: "swift-log")

let package = Package(
    name: "codis",
    products: [
        .executable(name: "codis-server", targets: ["codis-server"]),
        .library(name: "RESP", targets: ["RESP"]),
        .library(name: "Keyspace", targets: ["Keyspace"]),
        .library(name: "RDB", targets: ["RDB"]),
        .library(name: "AOF", targets: ["AOF"]),
        .library(name: "CodisServer", targets: ["CodisServer"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-nio", exact: "2.101.2"),
        .package(url: "https://github.com/apple/swift-log", exact: "1.16.2"),
    ],
    targets: [
        .systemLibrary(name: "CGlibc"),
        .systemLibrary(name: "CLMDB", pkgConfig: nil, providers: [.apt(["liblmdb-dev"])]),
        .target(name: "Bytes", swiftSettings: settings),
        .target(name: "LMDB", dependencies: ["CGlibc", "CLMDB", "Bytes"], swiftSettings: settings),
        .target(name: "SlotHash", dependencies: ["Bytes"], swiftSettings: settings),
        .target(name: "RESP", dependencies: ["Bytes", nioCore], swiftSettings: settings),
        .systemLibrary(
            name: "CLua",
            providers: [.apt(["liblua5.1-0-dev", "lua-cjson-dev", "lua-bitop-dev"])]
        ),
        .systemLibrary(name: "CCRC32C"),
        .systemLibrary(name: "CLZF", providers: [.apt(["liblzf-dev"])]),
        .target(name: "RDB", dependencies: ["Bytes", "CLZF"], swiftSettings: settings),
        .target(name: "AOF", dependencies: ["Bytes", "RESP"], swiftSettings: settings),
        .target(name: "Worker", swiftSettings: settings),
        .target(name: "CommandLog", dependencies: ["Bytes", "CCRC32C", "Worker"], swiftSettings: settings),
        .target(name: "Replication", dependencies: ["Bytes", "RESP"], swiftSettings: settings),
        .target(
            name: "Keyspace",
            dependencies: ["Bytes", "CGlibc", "CLMDB", "LMDB", "SlotHash", "Worker"],
            swiftSettings: settings
        ),
        .target(
            name: "CodisServer",
            dependencies: [
                "AOF", "Bytes", "CLua", "CGlibc", "CommandLog", "Keyspace", "RDB", "RESP", "Replication", "SlotHash",
                nioCore, nioPosix, logging,
            ],
            swiftSettings: settings
        ),
        .executableTarget(name: "codis-server", dependencies: ["CodisServer"], swiftSettings: settings),
        .target(name: "CodisTesting", dependencies: ["Bytes", "Keyspace"], swiftSettings: settings),

        .testTarget(name: "BytesTests", dependencies: ["Bytes"], swiftSettings: settings),
        .testTarget(
            name: "LMDBTests",
            dependencies: ["Bytes", "CodisTesting", "LMDB", "Worker"],
            swiftSettings: settings
        ),
        .testTarget(name: "SlotHashTests", dependencies: ["Bytes", "SlotHash"], swiftSettings: settings),
        .testTarget(name: "RESPTests", dependencies: ["Bytes", "RESP", nioCore], swiftSettings: settings),
        .testTarget(name: "RDBTests", dependencies: ["Bytes", "CodisTesting", "RDB"], swiftSettings: settings),
        .testTarget(name: "AOFTests", dependencies: ["AOF", "Bytes", "CodisTesting", "RESP"], swiftSettings: settings),
        .testTarget(name: "WorkerTests", dependencies: ["CodisTesting", "Worker"], swiftSettings: settings),
        .testTarget(name: "CommandLogTests", dependencies: ["Bytes", "CommandLog"], swiftSettings: settings),
        .testTarget(name: "ReplicationTests", dependencies: ["Bytes", "Replication"], swiftSettings: settings),
        .testTarget(
            name: "KeyspaceTests",
            dependencies: ["Bytes", "CodisTesting", "Keyspace", "LMDB", "SlotHash"],
            swiftSettings: settings
        ),
        .testTarget(
            name: "CodisServerTests",
            dependencies: ["Bytes", "CodisServer", "CodisTesting", "RESP", "SlotHash"],
            swiftSettings: settings
        ),
        .testTarget(name: "IntegrationTests", dependencies: ["CodisTesting"], swiftSettings: settings),
        .testTarget(name: "ConformanceTests", dependencies: ["CodisTesting"], swiftSettings: settings),
        .testTarget(name: "TidyTests", swiftSettings: settings),
    ],
    swiftLanguageModes: [.v6]
)
