// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import Bytes
import LMDB
import Testing

extension Environment {
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
