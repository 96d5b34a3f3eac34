"""`make bench`: every benchmark, one after the other."""

import sys

from benchmarks import frameworks, generation, progress, report, sweep

if __name__ == "__main__":
    sys.exit(
        generation.main()
        | sweep.main([])
        | frameworks.main([])
        | progress.main([])
        | report.main([])
    )
