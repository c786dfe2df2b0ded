"""Order and choice against sorting and indexing."""

import torch

from ferbench.blocks import ranks, ranks_in_class, take_tokens


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


def test_ranks_in_a_class_are_places_among_its_images() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(3, (40,), generator=generator)
    confidence = torch.randint(6, (40,), generator=generator) / 6  # with equals
    expected = [
        sum(
            labels[j] == labels[i] and (confidence[j] > confidence[i] or (confidence[j] == confidence[i] and j < i))
            for j in range(40)
        )
        for i in range(40)
    ]
    found = ranks_in_class(confidence, labels, 4)
    assert found.tolist() == [int(each) for each in expected] and found.dtype == torch.int64
