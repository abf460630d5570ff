"""What the README and the pages of the documentation show: examples, files and commands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"(?:<!-- test: (?P<mark>[^>]*?) -->\n)?```(?P<language>\w+)\n(?P<text>.*?)```", re.S)


class Block(NamedTuple):
    """A fenced block: its language, the mark of the comment before it ("run", "file NAME", "command"), its text."""

    page: Path
    language: str
    mark: str
    text: str

    @property
    def name(self) -> str:
        """What a test is called by: the page and the last line."""
        return f"{self.page.relative_to(ROOT)}: {self.text.strip().splitlines()[-1][:40]}"


def blocks(*pages: Path) -> list[Block]:
    """Return the fenced blocks of pages, in their order."""
    return [
        Block(page, found["language"], found["mark"] or "", found["text"])
        for page in pages
        for found in BLOCK.finditer(page.read_text(encoding="utf-8"))
    ]


def commands(*pages: Path) -> list[str]:
    """Return the lines of all bash blocks, without comments."""
    lines = [line for block in blocks(*pages) if block.language == "bash" for line in block.text.splitlines()]
    return [line.split(" #")[0].strip() for line in lines if line.strip() and not line.startswith("#")]


def run_example(block: Block) -> None:
    """Run a Python example."""
    exec(compile(block.text, str(block.page), "exec"), {"__name__": "example"})
