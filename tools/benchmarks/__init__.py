# This file is part of the Codis server in Swift.
# SPDX-License-Identifier: MIT

"""What tools/bench measures: one module for each question."""
