"""Masks, patches and the decoder of the reconstruction."""

import torch

from ferbench_fr_pretrain_mixup.mae import Decoder, masked_mean, patchify, unpatchify, visible_patches


def test_three_quarters_of_the_patches_are_hidden() -> None:
    noise = torch.rand(50, 36, generator=torch.Generator().manual_seed(0))
    visible = visible_patches(noise, 0.75)
    assert torch.equal(visible, noise.argsort(1, descending=True)[:, :9])
    assert torch.equal(visible_patches(torch.zeros(2, 4), 0.75), torch.zeros(2, 1, dtype=torch.int64))


def test_a_patch_holds_the_pixels_of_its_square() -> None:
    images = torch.rand(2, 3, 12, 12)
    patches = patchify(images, 4)
    assert patches.shape == (2, 9, 48)
    square = images[1, :, 4:8, 8:12]  # the second row's last patch
    assert torch.equal(patches[1, 5], square.permute(1, 2, 0).flatten())
    assert torch.equal(unpatchify(patches, 4), images)


def test_only_hidden_patches_are_counted() -> None:
    values, hidden = torch.tensor([[[1.0, 3.0], [8.0, 8.0]]]), torch.tensor([[1.0, 0.0]])
    assert masked_mean(values, hidden) == 2


def test_the_decoder_sees_visible_tokens_in_their_place() -> None:
    torch.manual_seed(0)
    decoder = Decoder(12, grid=3, patch_size=4, width=2.0, depth=1).eval()
    decoder.reset()
    tokens, visible = torch.randn(2, 2, 12), torch.tensor([[7, 0], [3, 4]])
    predicted, hidden = decoder(tokens, visible)
    assert predicted.shape == (2, 9, 48)
    assert hidden.tolist() == [[0, 1, 1, 1, 1, 1, 1, 0, 1], [1, 1, 1, 0, 0, 1, 1, 1, 1]]
    swapped, _ = decoder(tokens.flip(1), visible.flip(1))
    torch.testing.assert_close(swapped, predicted)
    moved, _ = decoder(tokens, visible.flip(1))
    assert not torch.allclose(moved, predicted)
