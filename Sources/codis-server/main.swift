// This file is part of the Codis server in Swift.
// SPDX-License-Identifier: MIT

import CodisServer

CodisServerProgram.run(arguments: Array(CommandLine.arguments.dropFirst()))
