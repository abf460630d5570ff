"""A server with a small index, for the tests of this folder."""

from __future__ import annotations

import pytest
from hostile import image

from geodtr_plugin.search import Locator, build_index


@pytest.fixture(scope="session")
def gallery(run, tmp_path_factory):
    """An index of ten tiles, one of which has a name that browsers would obey."""
    folder = tmp_path_factory.mktemp("served")
    lines = ["file,lat,lon"]
    for number in range(10):
        name = '<img src=x onerror=alert(1)>"&.png' if number == 3 else f"{number}.png"
        (folder / name).write_bytes(image("PNG", (32, 32), number))
        quoted = name.replace('"', '""')
        lines.append(f'"{quoted}",{48 + number / 1000:.4f},{11 - number / 500:.4f}')
    (folder / "places.csv").write_text("\n".join(lines) + "\n")
    build_index(run, folder / "places.csv", folder / "i", device="cpu", progress=False)
    return folder


@pytest.fixture(scope="session")
def served(gallery):
    from served import HEADINGS, LIMITS, Served, forked

    from geodtr_plugin.search.serving.service import Service

    locator = Locator.load(gallery / "i", device="cpu", headings=HEADINGS)
    with forked(), Service(locator, LIMITS) as service, Served(locator, service) as server:
        yield server
