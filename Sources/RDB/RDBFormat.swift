// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

/// The numbers of the format.
///
/// Redis 2.8: rdb.h; later ones: the same file of later versions.
enum RDBFormat {
    /// The version that is written: that of Redis 2.6 and 2.8.
    static let writtenVersion = 6
    /// The versions that can be read: Redis 1.x to 8.0.
    static let readableVersions = 1...12
    /// The first version that ends with a checksum.
    static let firstVersionWithChecksum = 5
    /// `REDIS`; four digits of version follow.
    static let signature: StaticString = "REDIS"

    /// What stands where the type of the next key would.
    enum Opcode: UInt8 {
        case slotInfo = 0xF4
        case functionLibrary = 0xF5
        case functionPreRelease = 0xF6
        case moduleAuxiliary = 0xF7
        case idleSeconds = 0xF8
        case frequency = 0xF9
        case auxiliaryField = 0xFA
        case databaseSize = 0xFB
        case expireMilliseconds = 0xFC
        case expireSeconds = 0xFD
        case selectDatabase = 0xFE
        case endOfFile = 0xFF
    }

    /// How a value is laid out.
    enum ValueType: UInt8 {
        case string = 0
        case list = 1
        case set = 2
        case sortedSet = 3
        case hash = 4
        case sortedSetBinary = 5
        case moduleUnskippable = 6
        case module = 7
        case hashZipmap = 9
        case listZiplist = 10
        case setIntset = 11
        case sortedSetZiplist = 12
        case hashZiplist = 13
        case listQuicklist = 14
        case stream = 15
        case hashListpack = 16
        case sortedSetListpack = 17
        case listQuicklist2 = 18
        case stream2 = 19
        case setListpack = 20
        case stream3 = 21
        case hashFieldExpiryPreRelease = 22
        case hashFieldExpiryListpackPreRelease = 23
        case hashFieldExpiry = 24
        case hashFieldExpiryListpack = 25

        /// The first version of the format that has it; files of Redis 2.8 have those up to 6.
        var firstVersion: Int {
            switch self {
            case .string, .list, .set, .sortedSet, .hash, .hashZipmap: 1
            case .listZiplist, .setIntset, .sortedSetZiplist: 2
            case .hashZiplist: 4
            case .listQuicklist: 7
            case .sortedSetBinary, .moduleUnskippable, .module: 8
            case .stream: 9
            case .hashListpack, .sortedSetListpack, .listQuicklist2, .stream2: 10
            case .setListpack, .stream3: 11
            case .hashFieldExpiryPreRelease, .hashFieldExpiryListpackPreRelease: 12
            case .hashFieldExpiry, .hashFieldExpiryListpack: 12
            }
        }

        /// What it is, if Redis 2.8 does not have it.
        var unsupported: RDBUnsupported? {
            switch self {
            case .moduleUnskippable, .module: .module("")
            case .stream, .stream2, .stream3: .stream
            case .hashFieldExpiryPreRelease, .hashFieldExpiryListpackPreRelease: .hashWithFieldExpiry
            case .hashFieldExpiry, .hashFieldExpiryListpack: .hashWithFieldExpiry
            case .string, .list, .set, .sortedSet, .hash, .sortedSetBinary: nil
            case .hashZipmap, .listZiplist, .setIntset, .sortedSetZiplist, .hashZiplist: nil
            case .listQuicklist, .hashListpack, .sortedSetListpack, .listQuicklist2, .setListpack: nil
            }
        }

        /// The type of value; nil for what Redis 2.8 does not have.
        var kind: RDBKind? {
            switch self {
            case .string: .string
            case .list, .listZiplist, .listQuicklist, .listQuicklist2: .list
            case .set, .setIntset, .setListpack: .set
            case .sortedSet, .sortedSetBinary, .sortedSetZiplist, .sortedSetListpack: .sortedSet
            case .hash, .hashZipmap, .hashZiplist, .hashListpack: .hash
            case .moduleUnskippable, .module, .stream, .stream2, .stream3: nil
            case .hashFieldExpiryPreRelease, .hashFieldExpiryListpackPreRelease: nil
            case .hashFieldExpiry, .hashFieldExpiryListpack: nil
            }
        }
    }

    /// What the low six bits of a length mean when its high two are set.
    enum StringEncoding: UInt8 {
        case integer8 = 0
        case integer16 = 1
        case integer32 = 2
        case compressed = 3
    }
}
