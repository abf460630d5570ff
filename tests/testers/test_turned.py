"""Copies of images turned to headings, and what becomes of a model without."""

from __future__ import annotations

import torch
from torch import nn

from geodtr_plugin.augmentations.headings import centred_on
from geodtr_plugin.distances import MaxOverHeadings
from geodtr_plugin.testers.turned import TurnedCopies

IMAGES = torch.randn(5, 3, 2, 12, generator=torch.Generator().manual_seed(0))


class Pixels(nn.Module):
    """Every pixel is an entry."""

    def encode_query(self, images):
        return images.flatten(1)

    encode_reference = encode_query


def test_queries_are_turned_back_and_references_forth():
    for role in ("query", "reference"):
        copies = TurnedCopies(Pixels(), role, 4)
        of_query, of_reference = copies.encode_query(IMAGES), copies.encode_reference(IMAGES)
        turned, plain = (of_query, of_reference) if role == "query" else (of_reference, of_query)
        assert torch.equal(plain, IMAGES.flatten(1))
        sign = -1 if role == "query" else 1
        assert torch.equal(turned, torch.cat([centred_on(IMAGES, sign * 90 * k).flatten(1) for k in range(4)], 1))


def test_a_known_heading_is_found_with_either_role():
    headings = [0, 30, 90, 180, 330]
    queries = torch.cat([centred_on(image[None], degrees) for image, degrees in zip(IMAGES, headings)])
    for role in ("query", "reference"):
        copies = TurnedCopies(Pixels(), role, 12)
        found = MaxOverHeadings(12).headings(copies.encode_query(queries), copies.encode_reference(IMAGES))
        assert (found % 360).round().tolist() == headings


def test_square_tiles_turn_too():
    tiles = torch.randn(1, 3, 6, 6, generator=torch.Generator().manual_seed(1))
    east_up = tiles.rot90(1, (-2, -1))  # by a quarter counter-clockwise
    copies = TurnedCopies(Pixels(), "reference", 4, tiles=True)
    found = MaxOverHeadings(4).headings(copies.encode_query(east_up), copies.encode_reference(tiles))
    assert found.tolist() == [90]
