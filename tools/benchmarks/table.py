# This file is part of the Codis server in Swift.
# SPDX-License-Identifier: MIT

"""Printing tables."""

import statistics


def show(title, heads, rows):
    """Prints a table, the first column to the left and the others to the right."""
    texts = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[index]) for row in [heads, *texts]) for index in range(len(heads))]
    print(f"\n{title}")
    for row in [heads, ["-" * width for width in widths], *texts]:
        cells = [cell.ljust(width) if index == 0 else cell.rjust(width)
                 for index, (cell, width) in enumerate(zip(row, widths))]
        print("  " + "  ".join(cells).rstrip())
    print(flush=True)


def median(values):
    return statistics.median(values)


def percentile(values, share):
    """The value below which `share` percent of the values are."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share / 100))]
