"""What `benchmarks/speed.py` measures, one part a module: `measure(bench)` yields the rows of the table."""
