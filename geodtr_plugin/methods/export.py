"""A tower as a program that runs without this package."""

from __future__ import annotations

import torch

from ..utils.errors import UserError
from ..utils.roles import Role
from .base import TwoTower

TRACED = 2  # images in the batch that is traced; a program for one image would know no other number


def export_tower(model: TwoTower, role: Role) -> torch.export.ExportedProgram:
    """Return a tower as a program of torch.export: input of the network -> `[B, D]` of unit norm.

    The number of images is free, all other sizes are the model's: `[B, *model.input_shape(role)]`.

    Args:
        model: in evaluation mode.
        role: whose tower.

    Raises:
        UserError: torch.export cannot follow the tower for every number of images.
    """
    tower = getattr(model, f"{role}_tower")
    images = torch.zeros(TRACED, *model.input_shape(role), device=next(tower.parameters()).device)
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # its one operator for a whole layer exists for few devices
    try:
        with torch.no_grad():
            return torch.export.export(tower, (images,), dynamic_shapes=({0: torch.export.Dim("batch", min=1)},))
    except Exception as error:  # torch's reasons come in a dozen types, private ones among them
        reason = str(error).strip().splitlines()[0].rstrip(".!")
        raise UserError(
            f"torch.export cannot follow the {role} tower of {model.method_name} for every number of images: {reason}.",
            "Export it as safetensors.",
        ) from error
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
