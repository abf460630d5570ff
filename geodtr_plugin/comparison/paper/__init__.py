"""The tables and figures of the GeoDTR+ paper by name: `python benchmarks/paper.py --help`."""
