"""`make bench`: every benchmark, one after the other."""

import sys

from benchmarks import generation, progress, report, sweep

if __name__ == "__main__":
    sys.exit(generation.main() | sweep.main([]) | progress.main([]) | report.main([]))
