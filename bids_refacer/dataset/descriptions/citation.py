"""CITATION.md: the methods of what really ran, with versions and references, to be copied into a paper."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bids_refacer import __version__

_REFERENCES = {
    "gao": "Gao C, Xu K, Kim ME, et al. (2025). Pitfalls of defacing whole-head MRI: re-identification risk with "
    "diffusion models and compromised research potential. Computers in Biology and Medicine, 111112. arXiv:2501.18834",
    "karras": "Karras T, Aittala M, Aila T, Laine S (2022). Elucidating the design space of diffusion-based generative "
    "models. NeurIPS. arXiv:2206.00364",
    "ho": "Ho J, Saharia C, Chan W, Fleet DJ, Norouzi M, Salimans T (2022). Cascaded diffusion models for high "
    "fidelity image generation. Journal of Machine Learning Research 23. arXiv:2106.15282",
    "lu": "Lu C, Zhou Y, Bao F, Chen J, Li C, Zhu J (2022). DPM-Solver++: fast solver for guided sampling of diffusion "
    "probabilistic models. arXiv:2211.01095",
    "ho2020": "Ho J, Jain A, Abbeel P (2020). Denoising diffusion probabilistic models. NeurIPS. arXiv:2006.11239",
    "deepbet": "Fisch L, Zumdick S, Barkhau C, et al. (2024). deepbet: Fast brain extraction of T1-weighted MRI using "
    "convolutional neural networks. Computers in Biology and Medicine 179:108845. doi:10.1016/j.compbiomed.2024.108845",
    "niimath": "Rorden C, Webster M, Drake C, et al. (2024). niimath and fslmaths: replication as a method to enhance "
    "popular neuroimaging tools. Aperture Neuro 4. doi:10.52294/001c.94384",
    "bids": "Gorgolewski KJ, Auer T, Calhoun VD, et al. (2016). The brain imaging data structure, a format "
    "for organizing and describing outputs of neuroimaging experiments. Scientific Data 3:160044. "
    "doi:10.1038/sdata.2016.44",
    "pybids": "Yarkoni T, Markiewicz CJ, de la Vega A, et al. (2019). PyBIDS: Python tools for BIDS datasets. Journal "
    "of Open Source Software 4(40):1294. doi:10.21105/joss.01294",
    "nipype": "Gorgolewski K, Burns CD, Madison C, et al. (2011). Nipype: a flexible, lightweight and extensible "
    "neuroimaging data processing framework in Python. Frontiers in Neuroinformatics 5:13. "
    "doi:10.3389/fninf.2011.00013",
}
_Cite = Callable[[str], str]  # reference -> its number in brackets
_SAMPLERS = {
    "heun": ("Heun's second-order method", "karras"),
    "dpmpp2m": ("DPM-Solver++(2M)", "lu"),
    "ddpm": ("ancestral DDPM sampling", "ho2020"),
}


@dataclass(frozen=True, kw_only=True)
class ToolUse:
    """A defacing tool that ran, as its registry entry and its sidecars describe it.

    `registration` names the program that registered images for it; None where none did.
    """

    name: str
    version: str
    citation: str
    registration: str | None = None


@dataclass(frozen=True, kw_only=True)
class AttackUse:
    """The attack that ran.

    `card` is the name on the model's card; `seed` is the run's; `drawn` is whether an average head was warped to what a
    diffusion model found, in place of a second model that paints.
    """

    card: str
    sampler: str
    steps: int
    num_samples: int
    seed: int
    drawn: bool = False


def citation_text(
    tools: Sequence[ToolUse], attack: AttackUse | None, versions: Mapping[str, str], *, others: bool = False
) -> str:
    """The whole CITATION.md (Markdown); references are numbered in the order in which the text needs them.

    `tools` are those that ran at least once; `attack` is None when no image was refaced; `versions` are those of
    `sidecars.software_versions`; `others` is whether masks were carried to other images of the sessions. What did not
    run is not mentioned.
    """
    numbers: dict[str, int] = {}

    def cite(reference: str) -> str:
        return f"[{numbers.setdefault(reference, len(numbers) + 1)}]"

    paragraphs = [_data(versions, cite), *([_defacing(tools, versions, cite)] if tools else [])]
    if others:
        paragraphs.append(_others(versions, cite))
    if attack:
        paragraphs += [_refacing(attack, versions, cite), _scoring(attack, versions)]
    references = [f"{number}. {reference}." for reference, number in numbers.items()]
    return "\n\n".join(["# Methods", *paragraphs, "# References", "\n".join(references)]) + "\n"


def _data(versions: Mapping[str, str], cite: _Cite) -> str:
    return (
        f"Defacing was audited with bids_refacer {__version__}, on data in BIDS {cite(_REFERENCES['bids'])} that were "
        f"read with pybids{_version(versions, 'pybids')} {cite(_REFERENCES['pybids'])}; the workflow ran in "
        f"Nipype{_version(versions, 'nipype')} {cite(_REFERENCES['nipype'])}."
    )


def _defacing(tools: Sequence[ToolUse], versions: Mapping[str, str], cite: _Cite) -> str:
    brain = cite(_REFERENCES["deepbet"])  # numbered before the tools, which the text names after it
    described = []
    for tool in tools:
        text = f"{tool.name} {tool.version} {cite(tool.citation.rstrip('.'))}"
        described.append(text + (f" (registration: {tool.registration})" if tool.registration else ""))
    return (
        f"Brain masks were drawn with deepbet{_version(versions, 'deepbet')} {brain}. "
        f"Each image was defaced with {_and(described)}."
    )


def _others(versions: Mapping[str, str], cite: _Cite) -> str:
    return (
        "Other images of the same sessions were defaced with the masks of these, carried by a rigid registration "
        f"(niimath{_version(versions, 'niimath')} {cite(_REFERENCES['niimath'])}) where they are not in register."
    )


def _refacing(attack: AttackUse, versions: Mapping[str, str], cite: _Cite) -> str:
    sampler, reference = _SAMPLERS[attack.sampler]
    count = attack.num_samples
    samples = "one face was drawn" if count == 1 else f"{count} faces were drawn in mirrored pairs"
    gao = cite(_REFERENCES["gao"])
    models = "a diffusion model" if attack.drawn else f"cascaded diffusion models {cite(_REFERENCES['ho'])}"
    drawing = " of where skin and tissue lie, to which an average head was warped" if attack.drawn else ""
    return (
        f"Faces were painted back from the defaced image alone, following {gao}, with {models} in the formulation of "
        f"{cite(_REFERENCES['karras'])}{drawing} (weights: {attack.card}; PyTorch{_version(versions, 'torch')}). For "
        f"each defaced image, {samples} with {sampler} {cite(_REFERENCES[reference])} in {attack.steps} steps (seed of "
        f"the run: {attack.seed})."
    )


def _scoring(attack: AttackUse, versions: Mapping[str, str]) -> str:
    best = "" if attack.num_samples == 1 else ", for each sample, the best sample and the mean image"
    return (
        "Recovered and true skin surfaces were compared by the mean absolute surface distance (mm, symmetric) in a "
        f"face region fixed in a canonical frame and in its parts{best}, beside a population-average face, registered "
        f"rigidly by the brain (exact point-to-triangle distances by libigl{_version(versions, 'libigl')})."
    )


def _version(versions: Mapping[str, str], package: str) -> str:
    return f" {versions[package]}" if package in versions else ""


def _and(items: Sequence[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
