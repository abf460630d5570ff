"""The commands `geodtr models` and `geodtr export`, and that what is exported is what was trained."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys

import pytest
import torch

from geodtr_plugin import create_model, load_model, load_split
from geodtr_plugin.commands.export import export_command
from geodtr_plugin.commands.models import models_command
from geodtr_plugin.harness import run as run_harness
from geodtr_plugin.harness import settings
from geodtr_plugin.methods import packaged, transforms_of
from geodtr_plugin.search.embedder import Embedder, RunRecord
from geodtr_plugin.utils.digest import sha256_of

WORLD = "--train synth-suburb --test synth-suburb --data.count 8 --limit 8 --workers 0 --threads 1 --device cpu"
ROLES = ("query", "reference")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A short run whose best weights and score were changed, so that they differ from the last ones."""
    folder = tmp_path_factory.mktemp("export") / "run"
    words = f"--method geodtr_plus {WORLD} --epochs 1 --batch-size 4 --fov 180 --out {folder}"
    run_harness(settings(words))
    results = json.loads((folder / "results.json").read_text())
    results["tests"]["synth-suburb"]["best"]["recall_at_1"] = 12.34
    (folder / "results.json").write_text(json.dumps(results))
    model = load_model(folder, "last.safetensors")
    with torch.no_grad():
        next(model.parameters()).mul_(1.5)
    from safetensors.torch import save_file

    save_file(model.state_dict(), folder / "best.safetensors")
    return folder


@pytest.fixture(scope="module")
def exported(run):
    assert export_command([str(run)]) == 0
    return run / "export"


@pytest.fixture(scope="module")
def photos() -> dict[str, torch.Tensor]:
    """Four stored images of either role, uint8."""
    index = load_split("synth-suburb", "test", count=8)
    return {role: torch.stack([getattr(index, name).read(i) for i in range(4)])
            for role, name in (("query", "queries"), ("reference", "references"))}  # fmt: skip


@torch.no_grad()
def embed(source, photos) -> dict[str, torch.Tensor]:
    model, transforms = create_model(source), transforms_of(source)
    return {role: getattr(model, f"encode_{role}")(transforms[role](photos[role])) for role in ROLES}


@pytest.mark.slow
def test_an_exported_model_embeds_as_the_run_does_bit_by_bit(run, exported, photos):
    ours, runs = embed(exported, photos), embed(run, photos)
    assert all(torch.equal(ours[role], runs[role]) for role in ROLES)
    state, best = create_model(f"{exported}/").state_dict(), load_model(run, "best.safetensors").state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in best.items())
    other = load_model(run, "last.safetensors").encode_query(transforms_of(run)["query"](photos["query"]))
    assert not torch.allclose(other, ours["query"]), "best and last weights cannot be told apart"


def test_transforms_of_a_folder_prepare_images_as_searching_does(run, exported, photos):
    embedder = Embedder.load(RunRecord.read(run), device="cpu")
    ours = embed(exported, photos)
    for role in ROLES:
        loaded = [embedder.on_load(image, role) for image in photos[role]]
        torch.testing.assert_close(torch.from_numpy(embedder.embed(loaded, role)), ours[role], atol=1e-6, rtol=0)


def test_the_folder_serves_wherever_a_run_does(exported, photos, tmp_path):
    record = RunRecord.read(exported)
    assert record.weights == "model.safetensors" and record.precision == "fp32"
    words = f"--method geodtr_plus --test synth-suburb {WORLD.split('--test synth-suburb')[1]} --epochs 0 --fov 180"
    results = run_harness(settings(f"{words} --init-weights {exported} --out {tmp_path / 'again'}"))
    assert results["tests"]["synth-suburb"]["last"]["num_queries"] == 8


def test_config_says_what_was_trained_and_nothing_about_the_machine(run, exported):
    config = json.loads((exported / "config.json").read_text())
    assert config["model"] == json.loads((run / "config.json").read_text())["model"]
    assert config["views"]["query"]["panorama_width"] == 2 * config["views"]["query"]["width"] == 88
    assert (config["recipe"], config["weights"], config["training"]["train"]) == ("laptop", "best", ["synth-suburb"])
    assert config["training"]["data"]["pairs"] == 8 and config["training"]["epochs"] == 1
    assert config["training"]["tests"]["synth-suburb"]["recall_at_1"] == 12.34
    assert str(run.parent) not in (exported / "config.json").read_text() + (exported / "README.md").read_text()


def test_the_card_has_the_facts_and_its_lines_run(exported, photos, monkeypatch):
    card = (exported / "README.md").read_text()
    for said in ("Trained on rendered worlds (synth-suburb) (8 pairs) for 1 epoch from scratch", "of the best epoch",
                 "12.34", " 8 |", "32 x 88", "of it the middle 32 x 44", "polar-transformed to 32 x 88",
                 "arxiv.org/abs/2308.09624", "chosen by R@1 on synth-suburb", "none is given",
                 "rendered by"):  # fmt: skip
        assert said in card, said
    assert run_block(card, exported, monkeypatch, images=photos["query"]).shape == (4, 768)


def run_block(card: str, folder, monkeypatch, **names) -> torch.Tensor:
    """What `embeddings` is after the card's block of Python, in the folder of the card."""
    code = re.search(r"```python\n(.*?)```", card, re.DOTALL)[1]
    assert len(code.splitlines()) == 3
    monkeypatch.chdir(folder)
    with torch.no_grad():
        exec(code, names)
    return names["embeddings"]


def test_the_last_weights_can_be_asked_for(run, tmp_path):
    assert export_command([str(run), "-o", str(tmp_path / "last"), "--weights", "last"]) == 0
    ours, last = create_model(tmp_path / "last").state_dict(), load_model(run, "last.safetensors").state_dict()
    assert all(torch.equal(ours[name], tensor) for name, tensor in last.items())
    card = (tmp_path / "last/README.md").read_text()
    assert "after the last epoch" in card and "12.34" not in card and "chosen by" not in card


@pytest.mark.slow
def test_programs_of_torch_export_give_the_same_embeddings(run, photos, tmp_path, monkeypatch):
    out = tmp_path / "programs"
    assert export_command([str(run), "-o", str(out), "--format", "torch-export"]) == 0
    assert {path.name for path in out.iterdir()} == {"config.json", "README.md", "query.pt2", "reference.pt2"}
    expected, transforms = embed(run, photos), transforms_of(out)
    images = transforms["query"](photos["query"])
    found = run_block((out / "README.md").read_text(), out, monkeypatch, images=images)
    assert (found - expected["query"]).abs().max() < 1e-5
    for role in ROLES:
        tower = torch.export.load(out / f"{role}.pt2").module()
        for count in (1, 3):
            part = tower(transforms[role](photos[role][:count]))
            assert (part - expected[role][:count]).abs().max() < 1e-5


def test_matrices_can_be_halved_and_the_digest_is_that_of_the_file(run, exported, photos, tmp_path):
    assert export_command([str(run), "-o", str(tmp_path / "half"), "--dtype", "float16"]) == 0
    files = [folder / "model.safetensors" for folder in (tmp_path / "half", exported)]
    assert files[0].stat().st_size < 0.6 * files[1].stat().st_size
    for file in files:
        assert json.loads((file.parent / "config.json").read_text())["sha256"] == sha256_of(file)
    for role, embeddings in embed(tmp_path / "half", photos).items():
        assert (embeddings * embed(exported, photos)[role]).sum(1).min() > 0.9999


def test_an_exported_model_becomes_programs_too(exported, photos, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(packaged, "FOLDER", exported.parent)
    words = ["export", "--format", "torch-export", "--tower", "query"]
    assert export_command(words) == 1
    assert "Name a folder with --out" in capsys.readouterr().err
    assert export_command([*words, "-o", str(tmp_path / "program")]) == 0
    tower = torch.export.load(tmp_path / "program/query.pt2").module()
    images = transforms_of(exported)["query"](photos["query"])
    with torch.no_grad():
        assert (tower(images) - embed(exported, photos)["query"]).abs().max() < 1e-5


def test_one_tower_can_be_asked_for(run, photos, tmp_path, monkeypatch):
    def quick(model, role):
        size = {"query": model.query_size, "reference": model.reference_size}[role]
        return torch.export.export(torch.nn.Flatten(), (torch.zeros(4, 3, *size),))

    monkeypatch.setattr("geodtr_plugin.methods.export.export_tower", quick)
    out = tmp_path / "tower"
    assert export_command([str(run), "-o", str(out), "--format", "torch-export", "--tower", "reference"]) == 0
    assert {path.name for path in out.iterdir()} == {"config.json", "README.md", "reference.pt2"}
    card = (out / "README.md").read_text()
    assert "[B, 3, 32, 88]" in card
    images = transforms_of(out)["reference"](photos["reference"])
    assert torch.equal(run_block(card, out, monkeypatch, images=images), images.flatten(1))


def test_mistakes_are_answered_with_a_sentence_and_leave_nothing_behind(run, exported, tmp_path, capsys):
    alone = tmp_path / "alone"
    shutil.copytree(run, alone, ignore=shutil.ignore_patterns("*.safetensors", "export", "tensorboard"))
    cases = {
        f"{tmp_path / 'none'}": "is no run folder",
        f"{run}": "export holds something already",
        f"{run} -o {tmp_path / 'out'} --tower query": "model.safetensors holds both towers",
        f"{exported} -o {tmp_path / 'out'}": "Name the folder of its run",
        f"{alone}": "holds no weights",
        f"{alone} --weights last": "There is no weights file",
        f"{run} --weigths last": "Did you mean --weights",
    }
    for words, said in cases.items():
        assert export_command(words.split()) == 1
        error = capsys.readouterr().err
        assert said in error and "Traceback" not in error, error
    shutil.copy(run / "last.safetensors", alone)
    (alone / "results.json").write_text('{"tests": ')
    assert export_command([str(alone)]) == 1
    assert "results.json cannot be read" in capsys.readouterr().err
    assert not any(path.name.startswith((".", "export", "out")) for path in [*alone.iterdir(), *tmp_path.iterdir()])
    (alone / "results.json").unlink()
    assert export_command([str(alone)]) == 0, "a run that was interrupted"
    assert "had not ended" in (alone / "export/README.md").read_text()


def test_the_list_knows_every_method_and_its_papers_numbers(capsys):
    assert models_command(["geodtr_plus", "--json"]) == 0
    entry = json.loads(capsys.readouterr().out)
    sizes = [(m["polar"], m["reference_size"], m["parameters"], m["embedding_size"]) for m in entry["models"]]
    assert sizes == [(True, [122, 671], 30_192_336, 3072), (False, [256, 256], 30_047_696, 3072)]
    assert entry["weights"].startswith("https://github.com/zxh009123/GeoDTR_plus")
    row = {"train": "cvusa", "test": "cvact", "polar": True, "recall_at_1": 61.17}
    assert any(row.items() <= published.items() for published in entry["published"])
    options = {option["name"]: option for option in entry["options"]}
    assert options["descriptors"]["default"] == 8 and options["dropout"]["help"] == options["heads"]["help"] != ""
    assert entry["recipes"]["laptop"]["optim"]["lr"] == 1e-3


def test_one_method_in_full_and_all_in_short(capsys, monkeypatch):
    assert models_command(["geodtr_plus"]) == 0
    told = capsys.readouterr().out
    for said in ("TPAMI 2024", "descriptors", "Table IV", "Recipe laptop, where it differs from paper", "67.41",
                 "optim.lr 0.001", "30,192,336 parameters", "95.40", "arxiv.org/abs/2308.09624"):  # fmt: skip
        assert said in told, said
    monkeypatch.setattr("geodtr_plugin.commands.models.list_methods", lambda: ["safa", "netvlad"])
    assert models_command([]) == 0
    told = capsys.readouterr().out
    assert told.count("parameters, embedding of") == 3, "SAFA with and without polar transform, NetVLAD without"
    assert "cvusa (polar) 89.84" in told and "OpenIBL" in told
    assert models_command(["geodtrplus"]) == 1
    assert "Did you mean 'geodtr_plus'?" in capsys.readouterr().err


def test_help_needs_no_torch():
    code = (
        "import sys\n"
        "from geodtr_plugin.commands.export import export_command\n"
        "from geodtr_plugin.commands.models import models_command\n"
        "for command in (export_command, models_command):\n"
        "    try:\n        command(['--help'])\n    except SystemExit as e:\n        assert not e.code\n"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules, 'too much was imported'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--tower" in done.stdout and "--json" in done.stdout
