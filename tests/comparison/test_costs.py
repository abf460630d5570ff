"""What methods cost: the lines of the table, beside the paper's."""

from __future__ import annotations

import csv

import pytest

from geodtr_plugin.comparison.costs import cost_line, cost_table, paper_model
from geodtr_plugin.comparison.paper.command import paper_command
from geodtr_plugin.utils.errors import UserError


def test_the_table_of_costs(tmp_path):
    words = ["table7", "--methods", "geodtr_plus", "--device", "none", "--out", str(tmp_path)]
    assert paper_command(words) == 0
    heads, line = csv.reader((tmp_path / "table7.csv").open())
    assert line[:3] == ["geodtr_plus", "30,192,336", "24,696,000"]
    assert float(line[4]) == 11.22 and 12.3 < float(line[3]) < 12.7
    assert line[5:] == ["", "24.7 M", "11.25", "103"]
    assert all(cell in (tmp_path / "table7.md").read_text() for cell in (*heads, *line[:5]))


def test_time_is_measured_where_a_device_is_given(monkeypatch):
    import torch

    from geodtr_plugin.comparison import costs

    def small(method):
        return costs.create_model(method, backbone="tiny", pretrained=False, query_size=(32, 88))

    monkeypatch.setattr(costs, "paper_model", small)
    cells = cost_line("geodtr_plus", torch.device("cpu"), batch=1, repeats=1)
    assert float(cells[5]) >= 0 and cells[-1] == "103"


def test_a_method_whose_trunks_cannot_be_told_apart_keeps_its_line(monkeypatch, capsys):
    def refuse(model):
        raise ValueError("The query tower of X does not call its `trunk` as a module.")

    monkeypatch.setattr("geodtr_plugin.comparison.complexity.complexity", refuse)
    assert cost_line("geodtr_plus", None, 1, 1)[:5] == ["geodtr_plus", "30,192,336", "-", "-", "-"]
    assert "geodtr_plus: The query tower" in capsys.readouterr().err


def test_paper_models_have_the_papers_sizes():
    import torch

    with torch.device("meta"):
        assert paper_model("geodtr_plus").query_size == (122, 671)


def test_unknown_methods_are_told():
    with pytest.raises(UserError, match="There is no method 'geodtr\\+'"):
        cost_table(["geodtr+"], "none")
