"""Training states: what they hold, and what is said about those that do not fit or do not load."""

from __future__ import annotations

import dataclasses
import os
import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from geodtr_plugin.trainers.checkpoint import (
    CheckpointError,
    load_training_state,
    read_training_state,
    save_training_state,
    unwrapped,
)
from geodtr_plugin.utils.errors import UserError
from geodtr_plugin.utils.seed import rng_state, seed_everything, set_rng_state


class Momentum(torch.nn.Module):
    """A miner with a state."""

    def __init__(self):
        super().__init__()
        self.register_buffer("memory", torch.zeros(3))


def make(width=4, optimizer=torch.optim.AdamW, **kwargs):
    trunk = torch.nn.Sequential(torch.nn.Linear(3, width), torch.nn.BatchNorm1d(width))
    chosen = optimizer(trunk.parameters(), lr=0.1)
    defaults = {
        "models": {"trunk": trunk},
        "optimizers": {"trunk_optimizer": chosen},
        "lr_schedulers": {"trunk_scheduler_by_plateau": torch.optim.lr_scheduler.ReduceLROnPlateau(chosen)},
        "loss_funcs": {},
        "mining_funcs": {"tuple_miner": Momentum()},
        "dataset": range(10),
        "seed": 0,
        "batch_size": 2,
    }
    return SimpleNamespace(**{**defaults, **kwargs})


def step(trainer):
    trainer.models["trunk"](torch.randn(4, 3)).pow(2).sum().backward()
    trainer.optimizers["trunk_optimizer"].step()


def test_round_trip_of_all_parts(tmp_path):
    trainer = make()
    step(trainer)
    trainer.mining_funcs["tuple_miner"].memory += 2
    trainer.lr_schedulers["trunk_scheduler_by_plateau"].step(np.float64(0.25))
    save_training_state(
        tmp_path / "last.pt", trainer, 7, extra={"recipe": {"lr": 0.1, "sizes": (1, 2)}, "n": np.int64(3)}
    )
    assert trainer.last_checkpoint == tmp_path / "last.pt" and os.listdir(tmp_path) == ["last.pt"]

    fresh = make()
    state = load_training_state(tmp_path / "last.pt", fresh)
    assert state["epoch"] == fresh.epoch == 7
    assert state["extra"] == {"recipe": {"lr": 0.1, "sizes": (1, 2)}, "n": 3}
    for part in (lambda t: t.models["trunk"], lambda t: t.mining_funcs["tuple_miner"]):
        torch.testing.assert_close(part(fresh).state_dict(), part(trainer).state_dict(), rtol=0, atol=0)
    assert fresh.lr_schedulers["trunk_scheduler_by_plateau"].best == 0.25
    old, new = (t.optimizers["trunk_optimizer"].state_dict()["state"] for t in (trainer, fresh))
    torch.testing.assert_close(new, old, rtol=0, atol=0)


def test_versions_of_modules_are_kept(tmp_path):
    trainer = make()
    save_training_state(tmp_path / "last.pt", trainer, 1)
    saved = read_training_state(tmp_path / "last.pt")["states"]["models.trunk"]
    assert saved._metadata == trainer.models["trunk"].state_dict()._metadata


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.9, 0.999])
def test_truncated_file_is_one_sentence(tmp_path, kept):
    path = tmp_path / "last.pt"
    save_training_state(path, make(), 1)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(UserError, match="is damaged, or no training state. Resume from another one"):
        load_training_state(path, make())


def test_flipped_bytes_never_change_what_is_loaded(tmp_path):
    path, damaged = tmp_path / "last.pt", tmp_path / "damaged.pt"
    trainer = make()
    save_training_state(path, trainer, 1)
    content = path.read_bytes()
    refused = 0
    for position in range(0, len(content), 211):
        damaged.write_bytes(content[:position] + bytes([content[position] ^ 0xFF]) + content[position + 1 :])
        fresh = make()
        try:
            load_training_state(damaged, fresh)
        except CheckpointError:
            refused += 1
        else:  # the flip fell into the padding between two entries
            torch.testing.assert_close(
                fresh.models["trunk"].state_dict(), trainer.models["trunk"].state_dict(), rtol=0, atol=0
            )
    assert refused > 20


def test_an_entry_that_calls_itself_a_folder_is_damage(tmp_path):
    """torch would leave its tensor unfilled, and the checksums are right."""
    path = tmp_path / "last.pt"
    save_training_state(path, make(), 1)
    content = bytearray(path.read_bytes())
    begin = content.index(b"PK\x01\x02")  # the first entry of the directory at the end; its attributes are byte 38
    content[begin + 38] |= 0x10
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged"):
        read_training_state(path)


@pytest.mark.parametrize("content", [{"model": 1}, [1, 2], {"format": 99}])
def test_other_files_of_torch_are_told_apart(tmp_path, content):
    torch.save(content, tmp_path / "weights.pt")
    with pytest.raises(CheckpointError, match="initial weights of a new run"):
        read_training_state(tmp_path / "weights.pt")


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(CheckpointError, match="no training state at .*Check the path"):
        read_training_state(tmp_path / "none.pt")
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_training_state(tmp_path)


def test_code_in_a_file_is_not_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "trapped"),)

    torch.save({"format": 1, "x": Trap()}, tmp_path / "last.pt")
    with pytest.raises(CheckpointError):
        read_training_state(tmp_path / "last.pt")
    assert not (tmp_path / "trapped").exists()


@pytest.mark.parametrize(
    "other, sentence",
    [
        ({"width": 5}, "models.trunk does not fit .*Resume with the recipe"),
        ({"optimizer": torch.optim.SGD}, "AdamW as optimizers.trunk_optimizer, this run has SGD"),
        ({"mining_funcs": {}}, "Momentum as mining_funcs.tuple_miner, this run has nothing"),
        ({"seed": 1}, "seed 0, this run has 1"),
        ({"batch_size": 4}, "batch_size 2, this run has 4"),
        ({"dataset": range(9)}, "pairs 10, this run has 9"),
    ],
)
def test_state_of_another_run_is_refused(tmp_path, other, sentence):
    save_training_state(tmp_path / "last.pt", make(), 1)
    with pytest.raises(CheckpointError, match=sentence):
        load_training_state(tmp_path / "last.pt", make(**other))


def test_misfit_is_found_before_anything_is_changed(tmp_path):
    save_training_state(tmp_path / "last.pt", make(), 1)
    other = make(batch_size=4)
    before = {name: value.clone() for name, value in other.models["trunk"].state_dict().items()}
    with pytest.raises(CheckpointError):
        load_training_state(tmp_path / "last.pt", other)
    torch.testing.assert_close(dict(other.models["trunk"].state_dict()), before)


def test_what_could_not_be_loaded_is_not_saved(tmp_path):
    @dataclasses.dataclass
    class Recipe:
        lr: float = 0.1

    with pytest.raises(TypeError, match=r"\['extra'\]\['recipe'\] is a Recipe"):
        save_training_state(tmp_path / "last.pt", make(), 1, extra={"recipe": Recipe()})
    assert os.listdir(tmp_path) == []


def test_extra_state_of_a_batch_transform(tmp_path):
    class Shuffler(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.generator = torch.Generator().manual_seed(1)

        def get_extra_state(self):
            return self.generator.get_state()

        def set_extra_state(self, state):
            self.generator.set_state(state)

    trainer, fresh = make(batch_transform=Shuffler()), make(batch_transform=Shuffler())
    torch.rand(5, generator=trainer.batch_transform.generator)
    save_training_state(tmp_path / "last.pt", trainer, 1)
    load_training_state(tmp_path / "last.pt", fresh)
    drawn = [torch.rand(5, generator=t.batch_transform.generator) for t in (trainer, fresh)]
    assert torch.equal(*drawn)


def test_wrapped_and_plain_models_share_their_names(tmp_path):
    trainer = make()
    wrapped = make(models={"trunk": torch.nn.DataParallel(trainer.models["trunk"])})
    save_training_state(tmp_path / "last.pt", wrapped, 1)
    load_training_state(tmp_path / "last.pt", make())
    assert unwrapped(wrapped.models["trunk"]) is trainer.models["trunk"]


def test_generators_go_on_where_they_were(tmp_path):
    def draw():
        return random.gauss(0, 1), np.random.randn(), torch.randn(2).tolist()

    seed_everything(3)
    draw()  # both Gaussian generators now hold a second value back
    torch.save(rng_state(), tmp_path / "rng.pt")
    expected = [draw() for _ in range(3)]
    seed_everything(4)
    set_rng_state(torch.load(tmp_path / "rng.pt", weights_only=True))
    assert [draw() for _ in range(3)] == expected
