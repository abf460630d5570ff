"""torch.compile in a run: the same training, and a sentence where there is no compiler."""

from __future__ import annotations

import json

import pytest
import torch

from geodtr_plugin.harness import compiling, run, settings

pytestmark = pytest.mark.slow

WORDS = (
    "--train synth-suburb --method simple --backbone tiny --model.dim 8 --epochs 2 --limit 12 --batch-size 4 --chsg ls "
    "--data.count 12 --threads 1 --loss.counterfactual 0 --precision fp32 --seed 3"
)


def trained(tmp_path, name, more=""):
    results = run(settings(f"{WORDS} --out {tmp_path / name} {more}"))
    lines = [
        json.dumps({key: record[key] for key in ("losses", "grad_norm", "lr", "epoch")})
        for record in map(json.loads, (tmp_path / name / "metrics.jsonl").read_text().splitlines())
    ]
    log = (tmp_path / name / "log.txt").read_text()
    return results, lines, log


def compile_with(backend):
    """`Module.compile` with another backend."""
    return lambda self: setattr(self, "_compiled_call_impl", torch.compile(self._call_impl, backend=backend))


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("plain"), "run")


def test_a_network_that_cannot_be_compiled_is_trained_as_it_is(tmp_path, plain, monkeypatch):
    """Compilers raise at the first use: the draws, gradients and statistics of the attempt are gone afterwards."""

    def broken(graph, inputs):
        raise RuntimeError("no compiler\nwas found")

    monkeypatch.setattr(torch.nn.Module, "compile", compile_with(broken))
    results, losses, log = trained(tmp_path, "run", "--compile")
    assert "cannot be compiled here" in log and "no compiler" in log and "is trained as it is" in log
    assert losses == plain[1]
    assert results["tests"] == plain[0]["tests"]


def test_the_attempt_leaves_no_trace_but_the_compiled_code(tmp_path, plain, monkeypatch):
    """With a backend that compiles nothing, the run is the same to the last bit."""
    calls = []

    def eager(graph, inputs):
        calls.append(len(inputs))
        return graph.forward

    monkeypatch.setattr(torch.nn.Module, "compile", compile_with(eager))
    _, losses, log = trained(tmp_path, "run", "--compile")
    assert calls and "cannot be compiled" not in log
    assert losses == plain[1]
    assert len(calls) <= 3  # the steps of the training found what the attempt had compiled


def test_compiled_passes_train_to_the_same_losses(tmp_path, plain, monkeypatch):
    """Both passes as the compiler's front half makes them; its code generator takes half a minute."""
    monkeypatch.setattr(torch.nn.Module, "compile", compile_with("aot_eager"))
    _, losses, log = trained(tmp_path, "run", "--compile")
    assert "cannot be compiled" not in log
    ours, theirs = (torch.tensor([json.loads(line)["losses"]["total_loss"] for line in some]) for some in
                    (losses, plain[1]))  # fmt: skip
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=0)


def test_only_runs_that_ask_for_it_are_compiled(tmp_path, monkeypatch, plain):
    monkeypatch.setattr(compiling, "_try", lambda *a: pytest.fail("compiled"))
    assert trained(tmp_path, "run", "--no-compile")[1] == plain[1]
