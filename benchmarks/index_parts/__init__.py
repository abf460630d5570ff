"""Parts of `benchmarks/index.py` and `benchmarks/gallery.py`."""
