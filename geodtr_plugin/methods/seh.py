"""SEH, re-derived: SAFA's network trained with HER's loss, as neither code nor weights of SEH were published."""

from __future__ import annotations

from . import register_method
from .base import Paper, TwoTower, published_row
from .safa import SAFA


@register_method("seh")
class SEH(SAFA):
    """SEH (Guo et al., IEEE TIP 2022), re-derived, not the authors' own: SAFA with the loss of HER in both directions.

    What the paper's abstract says of it, triplets weighed by a distance-rectified logistic regression, simple ones
    pruned and extremely hard ones bounded, is what HER's loss does, of the same group; the rest is SAFA's.

    Args: SAFA's.
    """

    recipes = {
        name: recipe.replace(loss=dict(name="her", args=dict(alpha=25.0, margin=0.15, symmetric=True, detach=True)))
        for name, recipe in SAFA.recipes.items()
    }
    paper = Paper(
        title="Soft Exemplar Highlighting for Cross-View Image-Based Geo-Localization",
        venue="IEEE TIP 2022",
        url="https://research-repository.uwa.edu.au/en/publications/soft-exemplar-highlighting-for-cross-view-image-based-geo-localiz",
        code="none published; re-derived here from HER's and SAFA's",
        licence="none",
        published={
            ("cvusa", "cvusa", True): published_row(95.11, 98.45, 99.00, 99.78),
            ("cvact", "cvact", True): published_row(84.75, 93.97, 95.46, 98.11),
        },
        mark="re-derived",
        notes={
            "": "seh is re-derived: SAFA's network with HER's loss, as no code of SEH was published. What it comes to "
            "here need not be what the authors' own comes to."
        },
    )
    author_key = TwoTower.author_key  # SAFA's weights are none of it
