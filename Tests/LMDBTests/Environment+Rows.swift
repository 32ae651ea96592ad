// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import Bytes
import CodisTesting
import LMDB
import Testing

extension UInt64 {
    /// The eight bytes of the number, as they stand in keys.
    var bigEndianBytes: [UInt8] { (0..<8).map { UInt8(truncatingIfNeeded: self >> (56 - 8 * $0)) } }

    /// A number that spreads `number` over all there are.
    static func spread(_ number: Int) -> UInt64 { UInt64(number) &* 0x9E37_79B9_7F4A_7C15 }
}

extension Environment {
    /// A new environment for a few tables in `directory`.
    convenience init(in directory: TemporaryDirectory) throws {
        try self.init(directory: directory.path, mapSizeBytes: 256 << 20, maximumTables: 4)
    }

    /// A new table with a row, and a transaction behind the commit that made it, which has not used it yet.
    ///
    /// Where the map begins is known only then, so that pages can be searched.
    func beginWithTable() throws -> (Transaction, Table) {
        let transaction = try beginWriting()
        let table = try #require(try transaction.openTable("rows", create: true))
        try transaction.put(ByteView("0123456789"), ByteView("x"), in: table)
        try transaction.commit()
        return (try beginWriting(), table)
    }
}
