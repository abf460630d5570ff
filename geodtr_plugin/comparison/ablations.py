"""The ablations of the GeoDTR+ paper, as comparisons of variants of `geodtr_plus`."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

from ..datasets import same_area
from ..harness.config import RunConfig
from ..harness.options import parse_run
from ..utils.console import guarded, say
from ..utils.errors import UnknownNameError
from .compare import compare, compare_parser, parse_compare, parse_seeds
from .jobs import Variant

DESCRIPTION = """The ablations of the GeoDTR+ paper (Zhang et al., TPAMI 2024), through compare.py.

  python benchmarks/ablations.py table5 --train cvusa --test cvusa cvact --seeds 3 --data-root /data
  python benchmarks/ablations.py table8 --epochs 5

  table4   layout extractor (v1, v2) x trunk (ResNet-34, ConvNeXt-T) x CHSG (raw, l+s)
  table5   number of layout descriptors: 8, 6, 4, 2
  table6   augmentation: raw, LS, LS with twice the batch, CHSG
  table7   parameters, multiply-accumulates and time of every method (table7 --help; trains nothing)
  table8   the variants of CHSG

Without --train, on the synthetic worlds: --train synth-suburb --test synth-suburb synth-downtown. There, and wherever
--backbone is given, table4 has no column of trunks: ResNet-34 and ConvNeXt-T would take hours from scratch on a laptop
and learn little from small images. --backbone resnet18, say, is then the trunk of all entries.
Published numbers stand beside measured ones where the paper has them: its recipe, with polar, on cvusa and cvact.

All other options are those of run.py and hold for all entries (python benchmarks/run.py --help).
"""
METHOD = "geodtr_plus"
WORLDS = ("--train", "synth-suburb", "--test", "synth-suburb", "synth-downtown")
TWICE = "batch-size=64"  # of the paper's 32; on other batches, twice theirs
Numbers = dict[str, dict[str, tuple[float, float]]]  # options -> training set -> R@1 on the same set and on the other

# the paper's v1 without CHSG are GeoDTR's own numbers, which were trained with LS
TABLE_4: Numbers = {
    f"model.extractor={extractor}:backbone={trunk}:chsg={chsg}": {"cvusa": cvusa, "cvact": cvact}
    for extractor, trunk, chsg, cvusa, cvact in (
        ("v1", "resnet34", "raw", (95.43, 53.16), (86.21, 44.07)),
        ("v1", "resnet34", "l+s", (94.97, 57.03), (86.48, 50.63)),
        ("v2", "resnet34", "raw", (94.88, 54.05), (85.86, 45.44)),
        ("v2", "resnet34", "l+s", (94.26, 59.72), (86.19, 49.09)),
        ("v2", "convnext_tiny", "raw", (95.77, 53.65), (88.18, 42.11)),
        ("v2", "convnext_tiny", "l+s", (95.40, 61.17), (87.61, 53.89)),
    )
}
TABLE_5: Numbers = {
    "model.descriptors=8": {"cvusa": (95.40, 61.17), "cvact": (87.61, 53.89)},
    "model.descriptors=6": {"cvusa": (95.09, 60.73), "cvact": (87.05, 53.61)},
    "model.descriptors=4": {"cvusa": (94.57, 60.21), "cvact": (86.85, 52.75)},
    "model.descriptors=2": {"cvusa": (93.59, 59.21), "cvact": (86.22, 50.68)},
}
TABLE_6: Numbers = {
    "chsg=raw": {"cvusa": (95.77, 53.65)},
    "chsg=ls": {"cvusa": (95.90, 58.62)},
    f"chsg=ls:{TWICE}": {"cvusa": (96.24, 57.18)},
    "chsg=l+s": {"cvusa": (95.40, 61.17)},
}
TABLE_8: Numbers = {
    "chsg=raw": {"cvusa": (95.77, 53.65)},
    "chsg=s": {"cvusa": (94.78, 55.77)},
    "chsg=s+same-l": {"cvusa": (95.62, 59.16)},
    "chsg=l": {"cvusa": (95.52, 58.09)},
    "chsg=same-s+l": {"cvusa": (95.55, 59.46)},
    "chsg=l+s": {"cvusa": (95.40, 61.17)},
}
TABLES = {"table4": TABLE_4, "table5": TABLE_5, "table6": TABLE_6, "table8": TABLE_8}


def ablations_command(argv: Sequence[str] | None = None) -> int:
    """Run `benchmarks/ablations.py`; return 0, or 1 when a run failed or after a message of what was wrong."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or argv[0] in ("-h", "--help"):
        say(f"usage: ablations.py TABLE [--seeds N] [--out FOLDER] [options of run.py]\n\n{DESCRIPTION}")
        return 0 if argv else 2
    return guarded(lambda: _ablate(argv[0], argv[1:]), argv)


def _ablate(name: str, argv: Sequence[str]) -> int:
    if name == "table7":
        from .costs import cost_command

        return cost_command(argv)
    if name not in TABLES:
        raise UnknownNameError("ablation", name, [*TABLES, "table7"])
    options, shared = parse_compare(compare_parser(f"ablations.py {name}", DESCRIPTION, methods=False), argv)
    if not any(word.split("=")[0] in ("--train", "--config") for word in shared):
        shared = [*WORLDS, *shared]
    base, _ = parse_run(["--method", METHOD, *shared])
    numbers = entries_for(TABLES[name], base, any(word.split("=")[0] == "--backbone" for word in shared))
    entries = [Variant.parse(label) for label in numbers]
    published = {label: published_on(paper, base) for label, paper in numbers.items()}
    return compare(entries, parse_seeds(options.seeds), shared, options.out, published, stem=name)


def entries_for(table: Numbers, base: RunConfig, one_trunk: bool = False) -> Numbers:
    """Return a table's entries that make sense with a run's settings.

    Args:
        table: the paper's.
        base: what all entries share.
        one_trunk: all entries have the trunk that was given.
    """
    of_paper = base.recipe_name == "paper" and base.recipe.optim.batch_size == 32
    entries: Numbers = {}
    for options, paper in table.items():
        words = [word.replace(TWICE, f"batch-size={2 * base.recipe.optim.batch_size}") for word in options.split(":")]
        if one_trunk or not base.recipe_name.startswith("paper"):
            words = [word for word in words if not word.startswith("backbone=")]
        # the first of those that differ in the trunk alone stays
        entries.setdefault(":".join([METHOD, *words]), paper if of_paper and not one_trunk else {})
    return entries


def published_on(paper: Mapping[str, tuple[float, float]], base: RunConfig) -> dict[str, dict[str, float]]:
    """Return the paper's R@1 by test set; empty where it did not measure what this run measures."""
    trained = "+".join(base.train)  # papers train on one set
    if trained not in paper or not base.recipe.model.get("polar", True):
        return {}
    same, cross = paper[trained]
    tests = [test for test in base.test if test in ("cvusa", "cvact", "cvact-val")]
    return {test: {"recall_at_1": same if same_area(trained, test) else cross} for test in tests}
