"""Names that settings of a recipe had in files of earlier versions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# settings that stood beside `name` in files of runs before `args` came: by part, by setting, the names that take it
MOVED_TO_ARGS = {
    "loss": {
        "alpha": ("soft_margin",), "hard_ratio": ("soft_margin",), "temperature": ("info_nce",),
        "learn_temperature": ("info_nce",), "label_smoothing": ("info_nce",), "margin": ("hinge",),
        "kernel": ("sare_ind", "sare_joint"),
    },
    "sampling": {
        "pool": ("hard",), "top": ("hard",), "neighbours": ("geo", "similar", "geo+similar"),
        "neighbour_range": ("geo", "similar", "geo+similar"),
    },
}  # fmt: skip


def with_current_names(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a recipe, or of a settings file, with names of earlier versions brought up to date."""
    settings = dict(settings)
    if "then" in settings:
        settings["next_stage"] = settings.pop("then")
    for part, moved in MOVED_TO_ARGS.items():
        own = settings.get(part)
        if isinstance(own, Mapping) and not moved.keys().isdisjoint(own):
            args = {name: own[name] for name, takers in moved.items() if name in own and own.get("name") in takers}
            kept = {name: value for name, value in own.items() if name not in moved}
            settings[part] = {**kept, "args": args}
    return settings
