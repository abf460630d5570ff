"""A compiled training step of GeoDTR+ against the same step as it is, and what compiling takes."""

from __future__ import annotations

from collections.abc import Iterator

from .bench import Bench
from .step import make_step, model_sizes
from .table import Row

NOT_MEASURED = "not measured: "


def measure(bench: Bench) -> Iterator[Row]:
    """Yield the seconds of the first step, which compiles, and the pairs a second of the later ones."""
    size, component = model_sizes(bench), "compiled: bf16, channels last, against not compiled"
    if not bench.on_gpu:
        yield Row(component, size.name, None, unit="pairs/s", note=NOT_MEASURED + "compiling is for a GPU")
        return
    try:
        plain, compiled = (make_step(bench, "bf16", channels_last=True, compiled=whether) for whether in (False, True))
        yield Row("compiled: first step", size.name, bench.once(compiled.run), bench.once(plain.run))
        seconds = bench.seconds({"ours": compiled.run, "peer": plain.run}, rounds=10)
        yield Row(component, size.name, *(size.pairs / time for time in seconds.values()), "pairs/s")
    except Exception as error:  # whatever a compiler raises
        reason = f"{type(error).__name__}, {str(error).splitlines()[0][:120]}"
        yield Row(component, size.name, None, unit="pairs/s", note=NOT_MEASURED + reason)
