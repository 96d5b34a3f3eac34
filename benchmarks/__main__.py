"""`make bench`: every benchmark, one after the other, except the soak, `benchmarks.faults`."""

import sys

from benchmarks import frameworks, generation, progress, report, sweep

if __name__ == "__main__":
    sys.exit(max(each.main([]) for each in (generation, sweep, frameworks, progress, report)))
