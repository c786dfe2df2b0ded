"""The masked autoencoder (He et al., CVPR 2022): choice of visible patches, decoder and loss."""

import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from ferbench.blocks import ranks

HEAD_SIZE = 32  # 512 / 16 in MAE's decoder


def visible_patches(noise: Tensor, mask_ratio: float) -> Tensor:
    """Return the numbers (B, K) int64 of visible patches: those of the K = L (1 - mask_ratio) largest noise (B, L)."""
    patches = noise.shape[1]
    kept = max(1, int(patches * (1 - mask_ratio)))
    numbers, places = torch.arange(patches, device=noise.device), torch.arange(kept, device=noise.device)
    # Sum the patch numbers, with weight 1 for the patch of rank k and 0 for others: sorting would wait for a GPU.
    return ((ranks(noise).unsqueeze(1) == places.unsqueeze(1)) * numbers).sum(-1)


def patchify(images: Tensor, size: int) -> Tensor:
    """Cut images (B, 3, S, S) into patches (B, L, 3 size^2), row by row; each has rows of pixels of three channels."""
    cut = images.unflatten(2, (-1, size)).unflatten(4, (-1, size))  # (B, 3, rows, size, columns, size)
    return cut.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)


def unpatchify(patches: Tensor, size: int) -> Tensor:
    """Invert `patchify`, for square images."""
    side = round(patches.shape[1] ** 0.5)
    cut = patches.unflatten(1, (side, side)).unflatten(3, (size, size, 3))
    return cut.permute(0, 5, 1, 3, 2, 4).flatten(4).flatten(2, 3)


def masked_mean(values: Tensor, hidden: Tensor) -> Tensor:
    """Return the mean of values (B, L, P) over the patches whose `hidden` (B, L) is 1, a scalar."""
    return (values.mean(-1) * hidden).sum() / hidden.sum()


class Decoder(nn.Module):
    """A small ViT that fills in the patches that the encoder did not see.

    It maps tokens (B, K, D) of the visible patches (B, K) int64 to all patches (B, L, 3 p^2) and `hidden` (B, L) float,
    which is 1 for patches that were not visible. There are `grid` patches of p pixels per side; `width` is rounded to
    whole heads.
    """

    def __init__(self, token_size: int, grid: int, patch_size: int, *, width: float, depth: int) -> None:
        super().__init__()
        size = HEAD_SIZE * max(1, round(width * token_size / HEAD_SIZE))
        self.embed = nn.Linear(token_size, size)
        self.mask_token = nn.Parameter(torch.zeros(size))
        self.blocks = nn.Sequential(*(Block(size, size // HEAD_SIZE, qkv_bias=True) for _ in range(depth)))
        self.norm = nn.LayerNorm(size)
        self.predict = nn.Linear(size, 3 * patch_size**2)
        self.register_buffer("positions", positions(grid, size), persistent=False)
        self.positions: Tensor

    def reset(self) -> None:
        """Draw new weights from torch's default generator."""
        nn.init.normal_(self.mask_token, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.LayerNorm):
                module.reset_parameters()

    def forward(self, tokens: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
        numbers = torch.arange(len(self.positions), device=visible.device)
        place = (visible.unsqueeze(-1) == numbers).to(tokens.dtype)  # (B, K, L), one-hot rows
        hidden = 1 - place.sum(1)
        everywhere = place.transpose(1, 2) @ self.embed(tokens) + hidden.unsqueeze(-1) * self.mask_token
        return self.predict(self.norm(self.blocks(everywhere + self.positions))).float(), hidden.float()


def positions(grid: int, size: int) -> Tensor:
    """Return MAE's fixed sine and cosine embeddings (grid^2, size) float32 of rows and columns."""
    rate = 10_000 ** -(torch.arange(size // 4) / (size // 4))
    angles = torch.arange(grid).unsqueeze(1) * rate  # (grid, size / 4)
    waves = torch.cat([angles.sin(), angles.cos()], 1)
    rows, columns = waves.repeat_interleave(grid, 0), waves.repeat(grid, 1)
    return torch.cat([columns, rows], 1)
