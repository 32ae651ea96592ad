// swift-tools-version: 6.2
// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import PackageDescription

/// As in the package that is fuzzed, but for warnings: libFuzzer's entry points need an attribute that warns.
let settings: [SwiftSetting] = [
    .strictMemorySafety(),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    // libFuzzer has the main function.
    .unsafeFlags(["-parse-as-library"]),
]

let package = Package(
    name: "Fuzz",
    dependencies: [.package(name: "codis", path: "..")],
    targets: [
        .executableTarget(
            name: "FuzzRESP",
            dependencies: [.product(name: "RESP", package: "codis")],
            path: "FuzzRESP",
            swiftSettings: settings
        ),
        .executableTarget(
            name: "FuzzConfigFile",
            dependencies: [.product(name: "CodisServer", package: "codis")],
            path: "FuzzConfigFile",
            swiftSettings: settings
        ),
        .executableTarget(
            name: "FuzzRDB",
            dependencies: [.product(name: "RDB", package: "codis")],
            path: "FuzzRDB",
            swiftSettings: settings
        ),
        .executableTarget(
            name: "FuzzAOF",
            dependencies: [
                .product(name: "AOF", package: "codis"), .product(name: "RESP", package: "codis"),
            ],
            path: "FuzzAOF",
            swiftSettings: settings
        ),
        .executableTarget(
            name: "FuzzCommands",
            dependencies: [
                .product(name: "CodisServer", package: "codis"), .product(name: "RESP", package: "codis"),
            ],
            path: "FuzzCommands",
            swiftSettings: settings
        ),
        .executableTarget(name: "FuzzCanary", path: "FuzzCanary", swiftSettings: settings),
    ],
    swiftLanguageModes: [.v6]
)
