"""Order and choice against sorting and indexing."""

import torch

from ferbench.blocks import ranks, take_tokens


def test_ranks_are_places_in_descending_order_and_the_first_of_equals_comes_first() -> None:
    values = torch.tensor([[0.3, 0.1, 0.3, 0.3], [0.1, 0.4, 0.4, 0.1]])
    expected = [sorted(range(4), key=lambda c: (-row[c], c)) for row in values.tolist()]
    assert ranks(values).argsort(1).tolist() == expected


def test_tokens_are_those_at_the_positions() -> None:
    tokens = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0))
    index = torch.tensor([[4, 0], [1, 1]])
    expected = torch.stack([tokens[row, index[row]] for row in range(2)])
    assert torch.equal(take_tokens(tokens, index), expected)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(take_tokens(tokens, index), expected)
