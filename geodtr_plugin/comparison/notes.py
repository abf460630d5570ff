"""What stands below the tables of a comparison: what a reader must know to trust the numbers."""

from __future__ import annotations

from collections.abc import Sequence

from .jobs import Failure
from .statistics import Row, differing_settings, unequal_data, variant_pairs


def notes_on(rows: Sequence[Row], failures: Sequence[Failure]) -> list[str]:
    """Return what a reader must know to trust the numbers, beginning with what went wrong."""
    seeds = sorted({seed for row in rows for seed in row.results})
    rules = next(iter(rows[0].any["tests"].values()))["rules"]
    numbers = ", ".join(map(str, seeds))
    many = f"mean ± sample standard deviation over the seeds {numbers}" if len(seeds) > 1 else f"seed {numbers} alone"
    notes = failure_notes(failures)
    notes += [f"Not comparable: {test} was not the same images in all runs." for test in unequal_data(rows)]
    notes += [
        f"In percent, after the last epoch; {many}. Bold: best mean of a column.",
        "All seeds share the same images: the deviation is that of initial weights, order and augmentation. How far a "
        "result depends on the choice of queries stands in the results.json of each run.",
        f"Ties {rules['ties']}: rank = {rules['rank']}. Chance: R@1 of a random ranking. "
        f"Training: time in training steps.",
        'Published: the method\'s paper, in the order of the columns, at the epoch that was best on the test set; "-" '
        "where it gives none for this entry. Our best epochs stand in table.csv.",
    ]
    notes += dict.fromkeys(note for row in rows for note in row.any.get("notes", ()))
    if len(seeds) > 1 and variant_pairs(rows):
        notes.append(_how_large(len(seeds)))
    return [*notes, *_settings_notes(rows)]


def failure_notes(failures: Sequence[Failure]) -> list[str]:
    """Return the failures, one note for what went wrong in the same way with every seed."""
    seeds: dict[tuple[str, str], list[str]] = {}
    for label, seed, message in failures:
        seeds.setdefault((label, message), []).append(str(seed))
    return [
        f"Failed: {label}, seed{'s' if len(numbers) > 1 else ''} {', '.join(numbers)}: {message}"
        for (label, message), numbers in seeds.items()
    ]


def _how_large(seeds: int) -> str:
    from scipy.special import stdtrit

    return (
        "Differences: mean over the seeds that both entries have, seed by seed, and its standard error. "
        f"With {seeds} seeds, chance alone exceeds {stdtrit(seeds - 1, 0.975):.1f} standard errors in one of 20 cases."
    )


def _settings_notes(rows: Sequence[Row]) -> list[str]:
    differing = differing_settings(rows)
    lines = [
        f"{name}: " + "; ".join(f"{value} ({', '.join(labels)})" for value, labels in by_value.items())
        for name, by_value in differing.items()
    ]
    return [f"Settings that differ: {line}." for line in lines] or ["All entries were trained with the same settings."]
