"""Preconditioning (Karras et al. 2022, table 1) and loss, with networks whose answer is known."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from bids_refacer.diffusion import denoiser as module
from bids_refacer.diffusion.denoiser import Denoiser, NoiseConfig, has_fast_bf16, sampling_denoiser
from bids_refacer.diffusion.unet import UNet, UNetConfig

DATA = 0.4
NOISE = NoiseConfig(sigma_data=DATA, sigma_min=0.002, sigma_max=10.0, log_mean=-1.0, log_std=1.2)
SHAPE = (2, 1, 4, 4, 4)


class Constant(nn.Module):
    """A network that always says the same and remembers what it was asked."""

    def __init__(self, value: float = 0.0) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value))

    def forward(self, x: Tensor, condition: Tensor, noise: Tensor, augmentation: Tensor) -> Tensor:
        self.asked = (x, condition, noise, augmentation)
        return self.value.expand(x.shape)


class Voxelwise(nn.Module):
    """One weight for every voxel: its gradient shows which voxels the loss looks at."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(SHAPE))

    def forward(self, x: Tensor, condition: Tensor, noise: Tensor, augmentation: Tensor) -> Tensor:
        return self.weight[: len(x)]


def ask(model: Denoiser, x: Tensor, sigma: float, unknown: Tensor | None = None) -> Tensor:
    n = len(x)
    unknown = torch.ones_like(x) if unknown is None else unknown
    return model(x, torch.full((n,), sigma), torch.zeros(n, 3, *x.shape[2:]), unknown, torch.zeros(n))


def test_without_noise_the_input_passes_through() -> None:
    x = torch.randn(SHAPE)
    torch.testing.assert_close(ask(Denoiser(Constant(1.0), NOISE), x, 1e-6), x, atol=1e-5, rtol=0)


def test_with_endless_noise_the_network_alone_speaks_in_units_of_the_data() -> None:
    got = ask(Denoiser(Constant(1.5), NOISE), torch.randn(SHAPE), 1e6)
    torch.testing.assert_close(got, torch.full(SHAPE, 1.5 * DATA), atol=1e-5, rtol=0)


@pytest.mark.parametrize("sigma", [0.01, 0.4, 3.0])
def test_scales_are_those_of_table_1(sigma: float) -> None:
    x, network = torch.randn(SHAPE), Constant(0.7)
    got = ask(Denoiser(network, NOISE), x, sigma)
    total = sigma**2 + DATA**2
    torch.testing.assert_close(got, DATA**2 / total * x + sigma * DATA / total**0.5 * 0.7, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(network.asked[0], x / total**0.5)
    torch.testing.assert_close(network.asked[2], torch.full((2,), sigma).log() / 4)


def test_every_member_of_a_batch_has_its_own_level() -> None:
    x, model = torch.randn(SHAPE), Denoiser(Constant(0.7), NOISE)
    sigma = torch.tensor([0.1, 2.0])
    both = model(x, sigma, torch.zeros(2, 3, 4, 4, 4), torch.ones(SHAPE), torch.zeros(2))
    for i in range(2):
        torch.testing.assert_close(both[i : i + 1], ask(model, x[i : i + 1], sigma[i].item()))


def test_known_voxels_give_nothing_and_are_not_heard() -> None:
    unknown = (torch.rand(SHAPE) < 0.5).float()
    model, x = Denoiser(Constant(0.9), NOISE), torch.randn(SHAPE)
    got = ask(model, x, 0.5, unknown)
    assert not got[unknown == 0].any() and got[unknown == 1].all()
    changed = torch.where(unknown > 0, x, torch.full_like(x, 100.0))
    assert torch.equal(ask(model, changed, 0.5, unknown), got)
    assert not model.network.asked[0][unknown == 0].any()


def test_one_mask_restricts_every_channel_of_the_target() -> None:
    unknown = (torch.rand(SHAPE, generator=torch.Generator().manual_seed(5)) < 0.5).float()
    x, model = torch.randn(2, 2, 4, 4, 4), Denoiser(Constant(0.9), NOISE)
    got = ask(model, x, 0.5, unknown)
    assert got.shape == x.shape
    for channel in (0, 1):
        alone = ask(model, x[:, channel : channel + 1], 0.5, unknown)
        assert torch.equal(got[:, channel : channel + 1], alone)
        assert not alone[unknown == 0].any() and alone[unknown == 1].all()


def loss_of(model: Denoiser, target: Tensor, weight: Tensor, uniform: Tensor, seed: int = 0) -> Tensor:
    noise = torch.randn(target.shape, generator=torch.Generator().manual_seed(seed))
    n, unknown = len(target), torch.ones_like(target)
    return model.loss(target, torch.zeros(n, 3, *target.shape[2:]), unknown, torch.zeros(n), weight, uniform, noise)


@pytest.mark.parametrize("quantile", [0.02, 0.5, 0.98])
def test_a_network_that_learned_nothing_has_loss_1_at_every_level(quantile: float) -> None:
    target = DATA * torch.randn(4, 1, 24, 24, 24, generator=torch.Generator().manual_seed(1))
    loss = loss_of(Denoiser(Constant(0.0), NOISE), target, torch.ones_like(target), torch.full((4,), quantile))
    assert loss.item() == pytest.approx(1.0, rel=0.02)


def test_an_untrained_unet_has_a_loss_near_1() -> None:
    torch.manual_seed(0)
    model = Denoiser(UNet(UNetConfig(condition_channels=3, channels=(8, 16), blocks=1, embedding=16)), NOISE)
    target = DATA * torch.randn(8, 1, 16, 16, 16)
    loss = loss_of(model, target, torch.ones_like(target), (torch.arange(8) + 0.5) / 8)
    assert loss.item() == pytest.approx(1.0, rel=0.05)


def test_the_exact_denoiser_of_a_gaussian_has_the_least_possible_loss() -> None:
    """The posterior mean is c_skip x: nothing that the network adds can help, and EDM's weight shows it as value^2."""
    target = DATA * torch.randn(4, 1, 24, 24, 24, generator=torch.Generator().manual_seed(2))
    least = loss_of(Denoiser(Constant(0.0), NOISE), target, torch.ones_like(target), torch.full((4,), 0.5))
    for value in (-0.2, 0.2):
        more = loss_of(Denoiser(Constant(value), NOISE), target, torch.ones_like(target), torch.full((4,), 0.5))
        assert more.item() == pytest.approx(least.item() + value**2, abs=0.01)


def test_only_weighted_voxels_teach() -> None:
    weight = (torch.rand(SHAPE, generator=torch.Generator().manual_seed(3)) < 0.5).float()
    network = Voxelwise()
    loss_of(Denoiser(network, NOISE), DATA * torch.randn(SHAPE), weight, torch.tensor([0.3, 0.7])).backward()
    assert not network.weight.grad[weight == 0].any()
    assert network.weight.grad[weight == 1].all()


def test_what_unweighted_voxels_hold_does_not_change_the_loss() -> None:
    weight = (torch.rand(SHAPE, generator=torch.Generator().manual_seed(4)) < 0.5).float()
    target, uniform = DATA * torch.randn(SHAPE), torch.tensor([0.3, 0.7])
    model = Denoiser(Constant(0.1), NOISE)
    other = torch.where(weight > 0, target, torch.full_like(target, 5.0))
    assert torch.equal(loss_of(model, target, weight, uniform), loss_of(model, other, weight, uniform))


def test_every_channel_teaches_where_its_own_weight_is() -> None:
    shape = (2, 2, 4, 4, 4)
    weight = (torch.rand(shape, generator=torch.Generator().manual_seed(6)) < 0.5).float()
    target, uniform, noise = DATA * torch.randn(shape), torch.tensor([0.3, 0.7]), torch.randn(shape)
    model, unknown = Denoiser(Constant(0.1), NOISE), torch.ones(SHAPE)

    def loss(t: Tensor, w: Tensor, n: Tensor) -> float:
        return model.loss(t, torch.zeros(2, 3, 4, 4, 4), unknown, torch.zeros(2), w, uniform, n).item()

    whole = loss(target, weight, noise)
    assert loss(torch.where(weight > 0, target, torch.full_like(target, 5.0)), weight, noise) == whole
    assert loss(torch.where(weight > 0, target + 1, target), weight, noise) != whole
    # all of it in one channel, voxels side by side: the mean is over weighted voxels, whatever their channel
    wide = [volume.reshape(2, 1, 8, 4, 4) for volume in (target, weight, noise)]
    unknown = torch.ones(2, 1, 8, 4, 4)
    flat = model.loss(wide[0], torch.zeros(2, 3, 8, 4, 4), unknown, torch.zeros(2), wide[1], uniform, wide[2])
    assert flat.item() == pytest.approx(whole, rel=1e-5)


def test_every_head_counts_the_same_however_large_its_region() -> None:
    weight = torch.zeros(SHAPE)
    weight[0, :, 0], weight[1] = 1, 1
    target, uniform = DATA * torch.randn(SHAPE), torch.tensor([0.3, 0.7])
    model = Denoiser(Constant(0.1), NOISE)
    noise = torch.randn(SHAPE)

    def loss(pick: slice) -> Tensor:
        t, n = target[pick], len(target[pick])
        condition = torch.zeros(n, 3, 4, 4, 4)
        return model.loss(t, condition, torch.ones_like(t), torch.zeros(n), weight[pick], uniform[pick], noise[pick])

    torch.testing.assert_close(loss(slice(0, 2)), (loss(slice(0, 1)) + loss(slice(1, 2))) / 2)


def test_a_head_without_weight_gives_no_loss_and_no_nan() -> None:
    loss = loss_of(Denoiser(Constant(1.0), NOISE), torch.randn(SHAPE), torch.zeros(SHAPE), torch.tensor([0.3, 0.7]))
    assert loss.item() == 0


@pytest.mark.parametrize("fast", [False, True])
def test_autocast_is_used_only_where_it_is_fast(monkeypatch: pytest.MonkeyPatch, fast: bool) -> None:
    monkeypatch.setattr(module, "has_fast_bf16", lambda: fast)
    kinds: list[torch.dtype] = []

    class Probe(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv3d(1, 1, 1)

        def forward(self, x: Tensor, condition: Tensor, noise: Tensor, augmentation: Tensor) -> Tensor:
            y = self.conv(x)
            kinds.append(y.dtype)
            return y

    denoise = sampling_denoiser(Denoiser(Probe(), NOISE), torch.zeros(2, 3, 4, 4, 4), torch.ones(SHAPE), torch.zeros(2))
    out = denoise(torch.randn(SHAPE), torch.ones(2))
    assert kinds == [torch.bfloat16 if fast else torch.float32]
    assert out.dtype == torch.float32 and not out.requires_grad


@pytest.mark.parametrize(
    ("capability", "instruction", "expected"),
    [("AVX512", True, True), ("AVX512", False, False), ("AVX2", True, False), ("DEFAULT", True, False)],
)
def test_fast_bf16_needs_the_instruction(
    monkeypatch: pytest.MonkeyPatch, capability: str, instruction: bool, expected: bool
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: instruction, raising=False)
    assert has_fast_bf16() is expected


def test_a_torch_without_the_question_falls_back_to_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    monkeypatch.setattr(torch, "cpu", SimpleNamespace())
    assert has_fast_bf16() is False


def test_a_blind_draw_teaches_the_mean_and_shows_no_target() -> None:
    """With x hidden the best answer is the mean: the loss of D(0; sigma_max) against the target, at its own scale."""
    seen: list[tuple[Tensor, float]] = []

    class Watch(nn.Module):
        def forward(self, x: Tensor, condition: Tensor, noise: Tensor, augmentation: Tensor) -> Tensor:
            seen.append((x, noise.item()))
            return torch.zeros_like(x)

    config = NoiseConfig(sigma_data=0.5, sigma_min=0.01, sigma_max=8.0, log_mean=-1.0, log_std=1.0, blind=0.5)
    model, ones = Denoiser(Watch(), config), torch.ones(1, 1, 2, 2, 2)
    for uniform in (0.49, 0.51, 0.75):
        loss = model.loss(
            0.3 * ones, ones, ones, torch.zeros(1), ones, torch.tensor([uniform]), torch.ones_like(ones)
        ).item()
        x, level = seen[-1]
        if uniform < 0.5:
            assert not x.any() and level == pytest.approx(math.log(8.0) / 4)
            assert loss == pytest.approx(0.3**2 * (1 / 8.0**2 + 1 / 0.5**2), rel=1e-5)
        else:
            assert x.all() and level < math.log(8.0) / 4
    assert level == pytest.approx(-1.0 / 4, abs=1e-5), "the other draws share the whole range of levels"
