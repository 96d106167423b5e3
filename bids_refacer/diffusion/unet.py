"""The 3-D U-Net that every stage of the cascade uses."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bids_refacer.diffusion.blocks import FourierFeatures, ResidualBlock, SelfAttention, depth_to_space, space_to_depth


@dataclass(frozen=True, kw_only=True)
class UNetConfig:
    """Shape of a U-Net.

    Attributes
    ----------
    condition_channels : channels of the conditioning volume
    target_channels : channels of the volume that is generated
    fold : 2 folds 2x2x2 voxels into channels before the first convolution
    channels : feature channels per level, finest first; each level halves the grid
    blocks : residual blocks per level on the way down (one fewer on the way up, at least one)
    embedding : size of the noise-level embedding
    attention : self-attention at the coarsest level
    """

    condition_channels: int
    target_channels: int = 1
    fold: int = 2
    channels: tuple[int, ...] = (48, 96, 160)
    blocks: int = 2
    embedding: int = 192
    attention: bool = True

    @property
    def multiple(self) -> int:
        """Every side of an input volume must be a multiple of this many voxels."""
        return self.fold * int(2 ** (len(self.channels) - 1))


class UNet(nn.Module):
    """Noisy volume, conditioning volume, noise level, augmentation level -> volume."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        folded = config.fold**3
        self.fourier = FourierFeatures(32)
        self.embed = nn.Sequential(
            nn.Linear(128, config.embedding), nn.SiLU(), nn.Linear(config.embedding, config.embedding)
        )
        self.stem = nn.Conv3d(
            (config.target_channels + config.condition_channels) * folded, config.channels[0], 3, padding=1
        )
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        width = config.channels[0]
        for channels in config.channels:
            sizes = [width] + [channels] * config.blocks
            self.down.append(
                nn.ModuleList(ResidualBlock(a, b, config.embedding) for a, b in zip(sizes, sizes[1:], strict=False))
            )
            width = channels
        self.middle = ResidualBlock(width, width, config.embedding)
        self.attention = SelfAttention(width) if config.attention else nn.Identity()
        for channels in reversed(config.channels):
            sizes = [width + channels] + [channels] * max(1, config.blocks - 1)
            self.up.append(
                nn.ModuleList(ResidualBlock(a, b, config.embedding) for a, b in zip(sizes, sizes[1:], strict=False))
            )
            width = channels
        self.norm = nn.GroupNorm(8, width)
        self.head = nn.Conv3d(width, config.target_channels * folded, 3, padding=1)
        nn.init.zeros_(self.head.weight)

    def forward(self, x: Tensor, condition: Tensor, noise: Tensor, augmentation: Tensor) -> Tensor:
        """x (n, t, i, j, k), condition (n, c, i, j, k), noise (n,), augmentation (n,) -> (n, t, i, j, k).

        Raises
        ------
        ValueError
            When a side is not a multiple of `config.multiple`.
        """
        if any(side % self.config.multiple for side in x.shape[2:]):
            raise ValueError(f"Volume {tuple(x.shape[2:])}: every side must be a multiple of {self.config.multiple}.")
        emb = F.silu(self.embed(torch.cat([self.fourier(noise), self.fourier(augmentation)], dim=1)))
        y = self.stem(space_to_depth(torch.cat([x, condition], dim=1), self.config.fold))
        skips = []
        for level, blocks in enumerate(self.down):
            y = F.avg_pool3d(y, 2) if level else y
            for block in blocks:  # type: ignore[attr-defined]  # a ModuleList
                y = block(y, emb)
            skips.append(y)
        y = self.attention(self.middle(y, emb))
        for level, blocks in enumerate(self.up):
            y = F.interpolate(y, scale_factor=2.0) if level else y
            y = torch.cat([y, skips.pop()], dim=1)
            for block in blocks:  # type: ignore[attr-defined]  # a ModuleList
                y = block(y, emb)
        return depth_to_space(self.head(F.silu(self.norm(y))), self.config.fold)
