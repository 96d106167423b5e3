"""A small 3-D residual network that predicts phenotypes, used as the linear models are (`models.Learner`).

It is given nothing but voxels, so that it may find what is not linear in them. Of its settings only the number of
epochs is tuned, as the linear models' penalty is; none of the others was chosen by looking at results of real heads.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional

EPOCHS = (0, 4, 8, 16)
"""After how many epochs of training predictions are made; after 0 epochs the mean is predicted for everyone."""

WIDTH, DROPOUT = 8, 0.5
BATCH, LEARNING_RATE, WEIGHT_DECAY = 16, 2e-3, 0.05
_PREDICTED = 64  # heads at a time when nothing is learnt


class ResidualBlock(nn.Module):
    """Two convolutions beside a shortcut, normalised first (He et al. 2016, figure 4e); halves the sides."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList([nn.GroupNorm(1, inputs), nn.GroupNorm(1, outputs)])
        self.reduce = nn.Conv3d(inputs, outputs, 3, stride=2, padding=1)
        self.refine = nn.Conv3d(outputs, outputs, 3, padding=1)
        self.shortcut = nn.Conv3d(inputs, outputs, 1, stride=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, inputs, i, j, k) -> (batch, outputs, ceil(i / 2), ceil(j / 2), ceil(k / 2))."""
        inner = self.reduce(functional.relu(self.norms[0](x)))
        outer: torch.Tensor = self.refine(functional.relu(self.norms[1](inner))) + self.shortcut(x)
        return outer


class PhenotypeNetwork(nn.Module):
    """One number from a head: a strided convolution, two residual blocks, and a weight for each of their features.

    Places are kept to the end, as all heads lie in one frame; averaging over them would forget where a face is.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.stem = nn.Conv3d(1, WIDTH, 2, stride=2)
        self.blocks = nn.Sequential(ResidualBlock(WIDTH, 2 * WIDTH), ResidualBlock(2 * WIDTH, 4 * WIDTH))
        with torch.no_grad():
            places = self.blocks(self.stem(torch.zeros(1, 1, *shape))).numel()
        self.head = nn.Linear(places, 1)
        nn.init.zeros_(self.head.weight)  # the prediction of 0 epochs: the mean
        nn.init.zeros_(self.head.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, 1, i, j, k) float32 -> (batch,), standard deviations of the target."""
        features = functional.relu(self.blocks(self.stem(x))).flatten(1)
        predicted: torch.Tensor = self.head(functional.dropout(features, DROPOUT, self.training))
        return predicted[:, 0]


@dataclass(frozen=True)
class Network:
    """Learns the target of some participants, and predicts that of others; see `models.Learner`.

    Attributes
    ----------
    volumes : (n, i, j, k) uint8, all participants' voxels; sides of at least 2
    seed : int, of first weights, order and dropout; on the CPU the same one gives the same predictions, for the same
        number of threads
    device : where it is trained
    """

    volumes: np.ndarray
    seed: int = 0
    device: str = "cpu"

    def __call__(self, train: np.ndarray, test: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """A network of its own for each column; predictions at each of `EPOCHS`, (len(EPOCHS), m, p) float64."""
        x, z = (torch.from_numpy(self.volumes[who]).to(self.device) for who in (train, test))
        mean = x.float().mean(dim=0)
        squares = [((part.float() - mean) ** 2).sum() for part in x.split(_PREDICTED)]  # type: ignore[no-untyped-call]
        spread = torch.sqrt(sum(squares[1:], squares[0]) / x.numel()).item()
        result = np.zeros((len(EPOCHS), len(test), targets.shape[1]))
        if spread == 0:  # identical heads, as ones without a face are: a network would still tell folds apart
            return result
        for column, target in enumerate(np.asarray(targets, np.float64).T):
            size = target.std()
            if size > 0:
                learnt = torch.from_numpy(target / size).float().to(self.device)
                result[:, :, column] = self._learn((x, z), (mean, spread), learnt) * size
        return result

    def _learn(
        self, heads: tuple[torch.Tensor, torch.Tensor], scale: tuple[torch.Tensor, float], target: torch.Tensor
    ) -> np.ndarray:
        """Train on the first of `heads`, (n, i, j, k) uint8; predictions of the others, (len(EPOCHS), m)."""
        train, test = heads
        order = np.random.default_rng(self.seed)
        cuda = [train.device] if train.device.type == "cuda" else []
        exact = torch.backends.cudnn.flags(enabled=True, deterministic=True, benchmark=False)
        with torch.random.fork_rng(devices=cuda), exact:
            torch.manual_seed(self.seed)
            network = PhenotypeNetwork(tuple(train.shape[1:])).to(train.device)
            optimizer = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
            found = []
            for epoch in range(EPOCHS[-1] + 1):
                if epoch in EPOCHS:
                    found.append(_predict(network, test, scale))
                if epoch < EPOCHS[-1]:
                    _epoch(network, optimizer, train, scale, target, order.permutation(len(train)))
        return np.stack(found)


def _scaled(heads: torch.Tensor, scale: tuple[torch.Tensor, float]) -> torch.Tensor:
    """(batch, 1, i, j, k) float32: deviations from the training participants' mean, of size 1 over all voxels."""
    mean, spread = scale
    return ((heads.float() - mean) / spread)[:, None]


def _predict(network: PhenotypeNetwork, heads: torch.Tensor, scale: tuple[torch.Tensor, float]) -> np.ndarray:
    network.eval()
    with torch.no_grad():
        parts = [network(_scaled(part, scale)) for part in heads.split(_PREDICTED)]  # type: ignore[no-untyped-call]
    return torch.cat(parts).double().cpu().numpy()


def _epoch(
    network: PhenotypeNetwork,
    optimizer: torch.optim.Optimizer,
    heads: torch.Tensor,
    scale: tuple[torch.Tensor, float],
    target: torch.Tensor,
    order: np.ndarray,
) -> None:
    """See everyone once; squared error."""
    network.train()
    for batch in torch.from_numpy(order).to(heads.device).split(BATCH):  # type: ignore[no-untyped-call]
        optimizer.zero_grad()
        loss = functional.mse_loss(network(_scaled(heads[batch], scale)), target[batch])
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
