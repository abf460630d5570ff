"""From words to settings, and what is said about words that mean nothing."""

from __future__ import annotations

import pytest

from geodtr_plugin.commands.main import main
from geodtr_plugin.commands.run import run_command
from geodtr_plugin.harness import settings
from geodtr_plugin.harness.build import build_image_transforms, build_model
from geodtr_plugin.harness.config import RunConfig
from geodtr_plugin.harness.options import parse_run, recipe_for
from geodtr_plugin.methods import METHODS
from geodtr_plugin.utils.errors import UserError


def test_the_main_job_takes_the_papers_values():
    config = settings("--method geodtr_plus --train cvusa --test cvact")
    optim = config.recipe.optim
    assert (config.train, config.test, config.recipe_name) == (("cvusa",), ("cvact",), "paper")
    assert (optim.lr, optim.weight_decay, optim.eps, optim.batch_size, optim.epochs) == (1e-4, 0.03, 1e-6, 32, 200)
    assert (optim.warmup_epochs, optim.max_grad_norm) == (5, 1.0)
    assert (config.recipe.loss.args["alpha"], config.recipe.loss.beta, config.recipe.augment.chsg) == (10.0, 5.0, "l+s")


@pytest.mark.parametrize(
    "train, name",
    [("cvusa", "paper"), ("cvact", "paper"), ("synth-suburb", "laptop"), ("synth-suburb-offset", "laptop_offset")],
)
def test_the_recipe_follows_from_the_training_set(train, name):
    assert recipe_for(train) == name
    assert settings(f"--train {train}").recipe_name == name
    assert settings(f"--train {train} --recipe paper").recipe == METHODS["geodtr_plus"].recipes["paper"]


def test_the_recipe_of_own_data_follows_from_where_its_cameras_stand(tmp_path):
    for role in ("queries", "references"):
        (tmp_path / "city" / role).mkdir(parents=True)
        (tmp_path / "city" / role / "1.jpg").touch()
    words = f"--train folder:city --data-root {tmp_path}"
    assert settings(words).recipe_name == "paper_offset"
    asked = settings(f"{words} --data.centred true")
    assert (asked.recipe_name, asked.recipe.model.get("polar", True), asked.data) == ("paper", True, {"centred": True})
    assert settings(f"{words} --data.centred=true").recipe_name == "paper"
    (tmp_path / "recipe.yaml").write_text(f"train: folder:city\ndata_root: {tmp_path}\ndata: {{centred: true}}\n")
    assert settings(f"--config {tmp_path / 'recipe.yaml'}").recipe_name == "paper"
    (tmp_path / "city/dataset.json").write_text('{"centred": true}')
    assert settings(words).recipe_name == "paper"
    assert settings(f"{words} --data.centred false").recipe_name == "paper_offset"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "holds no settings"), ("file,lat\n1,2\n", "holds no settings"), ("a: [1", "cannot be read as settings"),
        ("train: !!python/object/apply:os.abort []", "could not determine a constructor"),
        ("optim: null\ntrain: synth-suburb", "--optim is None. Give settings by name"),
        ("optim: {batch_size: null}\ntrain: synth-suburb", "--optim.batch_size is None, not int"),
        ("model: &x {a: *x}", "more than 100,000 values, or holds itself"), ("1: 2", "a key of its content is 1"),
        ("test: synth-suburb", "test is 'synth-suburb', not a list"), ("x: 2001-99-99", "month must be in"),
    ],
)  # fmt: skip
def test_a_settings_file_of_another_shape_is_answered(tmp_path, content, said):
    (tmp_path / "recipe.yaml").write_text(content)
    with pytest.raises(UserError, match=said):
        settings(f"--config {tmp_path / 'recipe.yaml'}")
    for words in (["--config", ""], ["--config"]):
        with pytest.raises(UserError, match="names no file|expected one argument"):
            parse_run(words)


def test_every_value_can_be_set():
    config = settings(
        "--train synth-suburb --test synth-suburb synth-downtown --epochs 3 --batch-size 8 --lr 0.01 --chsg ls "
        "--backbone resnet18 --precision bf16 --model.descriptors 4 --model.query_size [64,176] --loss.alpha 7 "
        "--optim.eps 1e-7 --evaluation.ties optimistic --data.count 50 --limit 40 --seed 3 --device cpu --workers 0"
    )
    recipe = config.recipe
    assert config.test == ("synth-suburb", "synth-downtown")
    assert (recipe.optim.epochs, recipe.optim.batch_size, recipe.optim.lr, recipe.optim.eps) == (3, 8, 0.01, 1e-7)
    assert (recipe.augment.chsg, recipe.loss.args["alpha"], recipe.optim.precision) == ("ls", 7.0, "bf16")
    assert recipe.model["backbone"] == "resnet18" and recipe.model["descriptors"] == 4
    assert list(recipe.model["query_size"]) == [64, 176]
    assert (recipe.evaluation.ties, config.data, config.limit) == ("optimistic", {"count": 50}, 40)
    assert (config.seed, config.device, config.workers) == (3, "cpu", 0)


def test_polar_can_be_switched():
    assert "polar" not in settings("--train cvusa").recipe.model
    assert settings("--train cvusa --no-polar").recipe.model["polar"] is False
    assert settings("--train cvusa --polar").recipe.model["polar"] is True
    sized = settings("--train cvusa --no-polar --model.reference_size [48,48]").recipe.model
    assert sized["reference_size"] == (48, 48) and sized["polar"] is False


@pytest.mark.parametrize(
    "words, shown",
    [
        ("--method sample4geo --train synth-suburb", {"--optim.lr": "0.003", "--optim.epochs": "10"}),
        ("--train cvusa", {"--optim.lr": "0.0001", "--optim.epochs": "200", "--augment.chsg": "l+s"}),
        ("--method safa --train vigor-same", {"--optim.lr": "1e-05", "--optim.batch_size": "14"}),
        ("", {"--optim.lr": None, "--optim.epochs": None, "--augment.chsg": None}),
    ],
)
def test_help_shows_the_defaults_that_the_run_would_have(words, shown, capsys):
    with pytest.raises(SystemExit) as ended:
        run_command([*words.split(), "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert not ended.value.code
    for option, default in shown.items():
        start = text.rindex(f" {option} ")  # what comes before may speak of it
        described = text[start : text.index(" --", start + len(option) + 2)]
        assert (f"default: {default})" in described) if default else ("default:" not in described)
    assert ("--method METHOD --train DATA_SET --help" in text) is (not words)


def test_settings_survive_their_file(tmp_path):
    words = ["--train", "synth-suburb", "--lr", "0.01", "--no-polar", "--model.descriptors", "4"]
    config, text = parse_run(words)
    (tmp_path / "recipe.yaml").write_text(text)
    again, _ = parse_run(["--config", str(tmp_path / "recipe.yaml")])
    assert again == config
    assert RunConfig.from_dict(config.to_dict()).to_dict() == config.to_dict()


@pytest.mark.parametrize(
    "words, sentence",
    [
        ("--train cvusa --epocs 3", "Did you mean --epochs?"),
        ("--train cvusa --optim.lrr 3", "Did you mean --optim.lr?"),
        ("--train cvusa --epochs many", "epochs"),
        ("--train cvusa --precision fp8", "fp8"),
        ("--method geodtr_pluss --train cvusa", "Did you mean 'geodtr_plus'?"),
        ("--method geodtr_plus", "Nothing to do"),
        ("--test cvact", "--train is missing"),
        ("--train cvusa --batch-size 1", "no negatives"),
        ("--train cvusa --epochs -1", "must be 0"),
        ("--train cvusa --recipe papr", "Did you mean 'paper'?"),
        ("--train cvusa --config nothing.yaml", "There is no settings file nothing.yaml"),
        ("--test cvact --epochs 0 --init-weights .", "is no run folder"),
        ("--resume nowhere", "nowhere is no run folder"),
        ("--resume nowhere --lr 1", "--lr"),
    ],
)
def test_mistakes_are_answered_with_one_sentence(words, sentence, capsys):
    assert run_command(words.split()) == 1
    error = capsys.readouterr().err
    assert error.startswith("Error: ") and sentence in error
    assert len(error.strip().splitlines()) == 1 and "Traceback" not in error


def test_the_console_script_knows_its_verbs(capsys):
    assert main(["--help"]) == 0
    assert "run" in capsys.readouterr().out
    assert main(["rum"]) == 1
    assert "Did you mean 'run'?" in capsys.readouterr().err


def test_the_recipe_of_ours_reduces_tiles_before_it_unrolls_them():
    words = "--recipe ours --test synth-suburb --model.pretrained false --epochs 0 --allow-untrained"
    config, _ = parse_run(words.split())
    transforms = build_image_transforms(config, build_model(config))
    assert (transforms["reference"].tile, transforms["query"].tile) == (96, None)
