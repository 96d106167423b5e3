"""The U-Net and its blocks: shapes, invertible folding, size on disk, behaviour before training."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from torch import nn

from bids_refacer.diffusion.blocks import FourierFeatures, SelfAttention, depth_to_space, space_to_depth
from bids_refacer.diffusion.cascade import COARSE, FINE, StageConfig, build, parameter_count
from bids_refacer.diffusion.unet import UNet, UNetConfig

TINY = UNetConfig(condition_channels=3, channels=(8, 16), blocks=1, embedding=16)


def make(config: UNetConfig, n: int = 2, size: int = 8, seed: int = 0) -> tuple[UNet, list[torch.Tensor]]:
    torch.manual_seed(seed)
    network = UNet(config).eval()
    x = torch.randn(n, config.target_channels, size, 2 * size, size)
    condition = torch.randn(n, config.condition_channels, size, 2 * size, size)
    return network, [x, condition, torch.randn(n), torch.rand(n)]


def awake(network: nn.Module) -> nn.Module:
    """Give the zero-initialised convolutions weights, as training would."""
    torch.manual_seed(1)
    for parameter in network.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.05)
    return network


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_depth_to_space_undoes_space_to_depth(factor: int) -> None:
    x = torch.randn(2, 3, 4, 8, 12)
    folded = space_to_depth(x, factor)
    assert folded.shape == (2, 3 * factor**3, 4 // factor, 8 // factor, 12 // factor)
    assert torch.equal(depth_to_space(folded, factor), x)
    assert torch.equal(space_to_depth(depth_to_space(folded, factor), factor), folded)


def test_folding_keeps_neighbours_together() -> None:
    x = torch.arange(4 * 4 * 4.0).reshape(1, 1, 4, 4, 4)
    folded = space_to_depth(x, 2)
    for i, j, k in ((0, 0, 0), (1, 0, 1)):
        block = x[0, 0, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2, 2 * k : 2 * k + 2]
        assert torch.equal(folded[0, :, i, j, k], block.flatten())


@pytest.mark.parametrize("attention", [False, True])
@pytest.mark.parametrize("fold", [1, 2])
@pytest.mark.parametrize("blocks", [1, 2])
def test_output_has_the_shape_of_the_target(fold: int, blocks: int, attention: bool) -> None:
    config = replace(TINY, fold=fold, blocks=blocks, attention=attention)
    network, inputs = make(config)
    assert network(*inputs).shape == (2, 1, 8, 16, 8)


@pytest.mark.parametrize("channels", [2, 3])
def test_every_channel_of_the_target_is_heard_and_answered(channels: int) -> None:
    network, inputs = make(replace(TINY, target_channels=channels))
    awake(network)
    before = network(*inputs)
    assert before.shape == inputs[0].shape == (2, channels, 8, 16, 8)
    assert all((before[:, a] - before[:, b]).abs().max() > 1e-4 for a in range(channels) for b in range(a))
    for channel in range(channels):
        moved = inputs[0].clone()
        moved[:, channel] += 0.3
        assert ((network(moved, *inputs[1:]) - before).abs().amax((0, 2, 3, 4)) > 1e-5).all()


def test_the_first_stage_draws_two_fields_and_the_second_an_image() -> None:
    assert (COARSE.network.target_channels, FINE.network.target_channels) == (2, 1)
    assert COARSE.network.condition_channels == FINE.network.condition_channels == 4
    assert COARSE.augmentation == 0 < FINE.augmentation
    assert (COARSE.draws, FINE.draws) == ("fields", "image"), "the order in which `Cascade.sample` takes them"


@pytest.mark.parametrize("shape", [(6, 8, 8), (8, 8, 10), (8, 7, 8)])
def test_wrong_sides_are_refused_in_a_sentence(shape: tuple[int, int, int]) -> None:
    network, _ = make(TINY)
    assert TINY.multiple == 4
    with pytest.raises(ValueError, match="every side must be a multiple of 4") as error:
        network(torch.zeros(1, 1, *shape), torch.zeros(1, 3, *shape), torch.zeros(1), torch.zeros(1))
    assert str(shape) in str(error.value)


@pytest.mark.parametrize("stage", [COARSE, FINE], ids=["coarse", "fine"])
def test_weights_of_a_shipped_stage_fit_16_mib_in_bfloat16(stage: StageConfig) -> None:
    model = build(stage)
    size = sum(t.numel() for t in model.state_dict().values()) * 2
    assert size + 100_000 <= 16 * 2**20, f"{size / 2**20:.2f} MiB"  # and the card in the header
    assert parameter_count(model) == sum(t.numel() for t in model.state_dict().values())
    assert parameter_count(model) > 1_000_000


@pytest.mark.parametrize("stage", [COARSE, FINE], ids=["coarse", "fine"])
def test_canonical_grids_suit_the_shipped_stages(stage: StageConfig) -> None:
    sides = (192 // stage.spacing, 256 // stage.spacing, 256 // stage.spacing)
    assert all(side % stage.network.multiple == 0 for side in sides)


def test_an_untrained_network_says_nothing_of_its_input() -> None:
    network, (x, condition, noise, augmentation) = make(TINY)
    said = network(x, condition, noise, augmentation)
    assert torch.equal(said, network(torch.randn_like(x), torch.randn_like(condition), noise + 1, augmentation))
    assert said.abs().max() <= 1 / (27 * TINY.channels[0]) ** 0.5  # the bias of one convolution is all there is


@pytest.mark.parametrize("which", range(4), ids=["x", "condition", "noise", "augmentation"])
def test_every_input_is_heard(which: int) -> None:
    network, inputs = make(TINY)
    awake(network)
    before = network(*inputs)
    inputs[which] = inputs[which] + 0.3
    assert (network(*inputs) - before).abs().max() > 1e-4


def test_members_of_a_batch_do_not_meet() -> None:
    network, inputs = make(TINY, n=3)
    awake(network)
    together = network(*inputs)
    for i in range(3):
        alone = network(*(t[i : i + 1] for t in inputs))
        torch.testing.assert_close(alone, together[i : i + 1], atol=1e-5, rtol=1e-4)


def test_every_parameter_learns() -> None:
    network, inputs = make(TINY)
    awake(network)(*inputs).square().sum().backward()
    silent = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert not silent


def test_attention_carries_a_voxel_to_all_others() -> None:
    attention = awake(SelfAttention(64))
    assert attention.heads == 2
    x = torch.randn(1, 64, 2, 3, 4)
    moved = x.clone()
    moved[0, :, 0, 0, 0] += torch.randn(64)
    assert ((attention(moved) - attention(x)).abs().amax(1) > 1e-6).all()


def test_attention_is_softmax_of_scaled_products() -> None:
    attention = awake(SelfAttention(64)).eval()
    x = torch.randn(2, 64, 2, 2, 2)
    flat = attention.norm(x).flatten(2)
    weight, bias = attention.qkv.weight.flatten(1), attention.qkv.bias
    qkv = torch.einsum("oc,ncv->nov", weight, flat) + bias[:, None]
    heads = []
    for h in range(2):
        q, k, v = (qkv[:, 64 * part + 32 * h : 64 * part + 32 * (h + 1)] for part in range(3))
        shares = torch.softmax(torch.einsum("ncv,ncw->nvw", q, k) / 32**0.5, dim=2)
        heads.append(torch.einsum("nvw,ncw->ncv", shares, v))
    expected = x + attention.out(torch.cat(heads, dim=1).reshape(x.shape))
    torch.testing.assert_close(attention(x), expected, atol=1e-5, rtol=1e-4)


def test_fourier_features_lie_on_circles_and_tell_levels_apart() -> None:
    features = FourierFeatures(8)(torch.tensor([0.0, 0.1, 0.11]))
    assert features.shape == (3, 16)
    torch.testing.assert_close(features[:, :8] ** 2 + features[:, 8:] ** 2, torch.ones(3, 8))
    assert (features[1] - features[2]).abs().max() > 0.1


def test_a_third_stage_of_1_mm_is_only_a_configuration() -> None:
    config = StageConfig(
        spacing=1,
        network=UNetConfig(condition_channels=3, fold=4, channels=(16, 32), blocks=1, attention=False),
        noise=replace(FINE.noise, sigma_max=1.0),
        augmentation=0.1,
        steps=5,
    )
    model = build(config)
    volume, known = torch.randn(1, 1, 16, 16, 16), torch.ones(1, 1, 16, 16, 16)
    condition = torch.randn(1, 3, 16, 16, 16)
    out = model(volume, torch.tensor([0.5]), condition, known, torch.tensor([0.05]))
    assert out.shape == volume.shape and torch.isfinite(out).all()


@pytest.mark.parametrize("stage", [COARSE, FINE], ids=["coarse", "fine"])
def test_a_configuration_survives_plain_types(stage: StageConfig) -> None:
    assert StageConfig.from_dict(json.loads(json.dumps(stage.to_dict()))) == stage
