"""Adaptive sharpness-aware minimisation: steps that look for flat minima, at the cost of a second pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


class ASAM(Optimizer):
    """Step any optimizer in two passes: climb to a worse point nearby, and step by the gradient there.

    From weights p and their gradient g the climb is `e = rho * p^2 * g / (|| |p| g ||_2 + 1e-12)`, with one norm over
    all parameters. The gradient at p + e is what the base optimizer gets; the weights are p again, bit for bit, before
    it steps. Parameters without a gradient stay where they are.

    Groups, state and state dict are the base optimizer's own: learning rate schedules of either act on both, and a
    state dict goes into a plain optimizer of the same kind as well. `rho` is a setting and no part of the state.

    What to know before using it:
        - Both passes run the network in training mode, so batch normalisation averages the statistics of each batch
          twice, the second time those of the weights p + e. Networks with layer normalisation alone are not concerned.
        - Dropout and the like draw anew in the second pass.
        - The climb does not depend on the length of g, so that clipping the norm of the first gradient changes nothing.
          What is to be clipped is the second gradient: the closure is the place for it.

    Args:
        base: the optimizer that steps.
        rho: radius of the climb; 0 leaves only the cost of the second pass.

    Raises:
        ValueError: rho is negative.

    Source: Kwon et al., ICML 2021, on weights and biases alike and with eta = 0, as TransGeo (Zhu et al., CVPR 2022)
    uses it.
    """

    needs_closure = True  # trainers call step(closure)

    def __init__(self, base: Optimizer, rho: float = 2.5):
        if not rho >= 0:
            raise ValueError(f"rho is {rho}; the radius of the climb must be 0 or more.")
        self.base, self.rho = base, rho
        groups, state = base.param_groups, base.state
        super().__init__(groups, base.defaults)  # begins with groups and a state of its own, which would be the base's
        self.param_groups, self.state = groups, state

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The base optimizer's groups, also after it has put new ones into their place."""
        return self.base.param_groups

    @param_groups.setter
    def param_groups(self, groups: list[dict[str, Any]]) -> None:
        self.base.param_groups = groups

    @property
    def state(self) -> dict[Tensor, Any]:
        """The base optimizer's state."""
        return self.base.state

    @state.setter
    def state(self, state: dict[Tensor, Any]) -> None:
        self.base.state = state

    def state_dict(self) -> dict[str, Any]:
        """Return the base optimizer's state."""
        return self.base.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Fill the base optimizer."""
        self.base.load_state_dict(state_dict)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Do one step.

        Args:
            closure: clears the gradients, computes the loss of the same batch once more, and its gradients. The
                gradients that are there when this method is called are those of the first pass.

        Returns:
            What the closure returns: the loss at the point that was climbed to.

        Raises:
            TypeError: there is no closure.
        """
        if closure is None:
            raise TypeError("ASAM takes two passes: call step(closure), which computes loss and gradients anew.")
        moved = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
        weights = [p.clone() for p in moved]
        try:
            self._climb(moved)
            with torch.enable_grad():
                loss = closure()
        finally:  # also when the second pass is interrupted: the weights are to be saved as they were
            for p, weight in zip(moved, weights):
                p.copy_(weight)
        self.base.step()
        return loss

    def _climb(self, parameters: list[Tensor]) -> None:
        """Add e to the parameters; the norm never leaves the device."""
        scaled = [p * p.grad for p in parameters]
        radius = self.rho / (torch.nn.utils.get_total_norm(scaled) + 1e-12)
        for p, product in zip(parameters, scaled):
            p.addcmul_(p, product * radius.to(p.device))
