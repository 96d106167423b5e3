"""Building blocks of the 3-D U-Net. Shapes: x (n, channels, i, j, k); emb (n, embedding)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def space_to_depth(x: Tensor, factor: int) -> Tensor:
    """Fold factor^3 voxels into channels: (n, c, i, j, k) -> (n, c factor^3, i/factor, j/factor, k/factor)."""
    n, c, i, j, k = x.shape
    x = x.reshape(n, c, i // factor, factor, j // factor, factor, k // factor, factor)
    return x.permute(0, 1, 3, 5, 7, 2, 4, 6).reshape(n, c * factor**3, i // factor, j // factor, k // factor)


def depth_to_space(x: Tensor, factor: int) -> Tensor:
    """The inverse of `space_to_depth`."""
    n, c, i, j, k = x.shape
    x = x.reshape(n, c // factor**3, factor, factor, factor, i, j, k)
    return x.permute(0, 1, 5, 2, 6, 3, 7, 4).reshape(n, c // factor**3, i * factor, j * factor, k * factor)


class FourierFeatures(nn.Module):
    """Sines and cosines of a scalar (n,) at fixed geometric frequencies: (n, 2 size)."""

    frequencies: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        # on the CPU: what a network is like is found on the meta device, where this loads torch's compiler
        self.register_buffer("frequencies", 2 * math.pi * torch.logspace(-2, 1, size, device="cpu"), persistent=False)

    def forward(self, scalar: Tensor) -> Tensor:
        """(n,) -> (n, 2 size)."""
        phase = scalar[:, None] * self.frequencies
        return torch.cat([phase.cos(), phase.sin()], dim=1)


class ResidualBlock(nn.Module):
    """Two 3x3x3 convolutions, the noise level scaling and shifting between them (FiLM)."""

    def __init__(self, channels_in: int, channels_out: int, embedding: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(8, channels_in)
        self.conv1 = nn.Conv3d(channels_in, channels_out, 3, padding=1)
        self.modulation = nn.Linear(embedding, 2 * channels_out)
        self.norm2 = nn.GroupNorm(8, channels_out)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv3d(channels_out, channels_out, 3, padding=1)
        self.shortcut = nn.Conv3d(channels_in, channels_out, 1) if channels_in != channels_out else nn.Identity()
        nn.init.zeros_(self.conv2.weight)

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        """(n, in, i, j, k), (n, embedding) -> (n, out, i, j, k)."""
        scale, shift = self.modulation(emb)[:, :, None, None, None].chunk(2, dim=1)
        y = self.conv1(F.silu(self.norm1(x)))
        y = self.norm2(y) * (1 + scale) + shift
        out: Tensor = self.shortcut(x) + self.conv2(self.dropout(F.silu(y)))
        return out


class SelfAttention(nn.Module):
    """Attention among all voxels of a small volume, heads of 32 channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.heads = max(1, channels // 32)
        self.norm = nn.GroupNorm(8, channels)
        self.qkv = nn.Conv3d(channels, 3 * channels, 1)
        self.out = nn.Conv3d(channels, channels, 1)
        nn.init.zeros_(self.out.weight)

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, i, j, k) -> same."""
        n, c = x.shape[:2]
        qkv = self.qkv(self.norm(x)).reshape(n, 3, self.heads, c // self.heads, -1).transpose(-1, -2)
        y = F.scaled_dot_product_attention(qkv[:, 0], qkv[:, 1], qkv[:, 2])
        out: Tensor = self.out(y.transpose(-1, -2).reshape(x.shape))
        return x + out
