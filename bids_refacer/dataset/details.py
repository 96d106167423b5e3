"""What was done to an image, as defacing, verdict and attack report it: typed, and the JSON that it was read from.

Tools of users and older versions may report less: what is absent is None or empty.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import TypeVar

Json = Mapping[str, object]
"""A JSON object, as `json.loads` gives it."""

FIGURES = "DefacingFigures"
"""Member with what a defaced image is judged by, but no verdict. Outputs before 0.9 call it ``Verdict``."""

VERDICT = "Verdict"
"""Member with the verdicts and the limits that they hold by (`surfaces.verdicts.verdict_json`)."""

RECOGNITION = "Recognition"
"""Member of a record's key with what descriptors depend on, and of the record with what was found."""

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class QualityControl:
    """What a tool removed or replaced (`defacers.removed_volumes.removed_volumes`)."""

    removed_ml: float | None = None
    removed_head_ml: float | None = None
    removed_head_fraction: float | None = None
    brain_removed_ml: float | None = None
    brain_removed_percent: float | None = None


@dataclass(frozen=True, kw_only=True)
class BrainCut:
    """What is gone of the brain, and the largest connected piece of that (`surfaces.verdicts.brain_cut`)."""

    ml: float | None = None
    percent: float | None = None
    hole_ml: float | None = None


@dataclass(frozen=True, kw_only=True)
class BrainMeasures:
    """Volume and tissue contrast of a brain; Dice coefficient with the original's mask (of a defaced image)."""

    volume_ml: float | None = None
    contrast: float | None = None
    dice: float | None = None

    @classmethod
    def from_json(cls, content: Json) -> BrainMeasures:
        """Read what a node wrote; what is absent is None. Raises TypeError for a value of a wrong type."""
        return cls(**{one.name: optional_number(content, one.name) for one in fields(cls)})


@dataclass(frozen=True, kw_only=True)
class DefacingFigures:
    """Figures that a defaced image is judged by; `face_left` is percent of the skin, for each part of the face."""

    face_left: Mapping[str, float | None] = field(default_factory=dict)
    brain_cut: BrainCut = BrainCut()
    original: BrainMeasures = BrainMeasures()
    defaced: BrainMeasures = BrainMeasures()

    @classmethod
    def from_json(cls, content: Json) -> DefacingFigures:
        """Read what the node of the verdict wrote. Raises TypeError for a value of a wrong type."""
        brain = member(content, "Brain", dict, {})
        left = member(content, "FaceLeft", dict, {})
        return cls(
            face_left={part: optional_number(left, part) for part in left},
            brain_cut=_figures(BrainCut, content, "BrainCut"),
            original=_figures(BrainMeasures, brain, "original"),
            defaced=_figures(BrainMeasures, brain, "defaced"),
        )

    def to_json(self) -> Json:
        """The JSON object that `from_json` reads; the original's mask is compared with no other."""
        original = {"volume_ml": self.original.volume_ml, "contrast": self.original.contrast}
        return {
            "FaceLeft": dict(self.face_left),
            "BrainCut": asdict(self.brain_cut),
            "Brain": {"original": original, "defaced": asdict(self.defaced)},
        }


@dataclass(frozen=True, kw_only=True)
class DefaceDetails:
    """What was reported of a defaced image.

    `mask_of` is the image whose mask it got; `quirks` are what was mended of a tool's result; `content` is the whole
    JSON object, which sidecars and records show.
    """

    tool: str | None = None
    version: str | None = None
    citation: str | None = None
    registration: str | None = None
    mask_of: str | None = None
    warnings: tuple[str, ...] = ()
    quirks: tuple[str, ...] = ()
    run_time_s: float | None = None
    quality: QualityControl = QualityControl()
    figures: DefacingFigures = DefacingFigures()
    content: Json = field(default_factory=dict, repr=False)

    @classmethod
    def from_json(cls, content: Json) -> DefaceDetails:
        """Read what the nodes of defacing and verdict wrote. Raises TypeError for a value of a wrong type."""
        return cls(
            tool=optional_text(content, "Tool"),
            version=optional_text(content, "Version"),
            citation=optional_text(content, "Citation"),
            registration=optional_text(content, "Registration"),
            mask_of=optional_text(content, "MaskOf"),
            warnings=texts(content, "Warnings"),
            quirks=texts(content, "Quirks"),
            run_time_s=optional_number(content, "RunTime"),
            quality=_figures(QualityControl, content, "QualityControl"),
            figures=DefacingFigures.from_json(member(content, FIGURES, dict, member(content, VERDICT, dict, {}))),
            content=content,
        )


@dataclass(frozen=True, kw_only=True)
class RefaceDetails:
    """What the attack reported; `steps` has the steps of each of its stages, and is empty for one without sampling.

    `outside_training` says in what the head differs from those that the attack was trained on.
    """

    steps: tuple[int, ...] = ()
    warnings: tuple[str, ...] = ()
    outside_training: tuple[str, ...] = ()
    run_time_s: float | None = None
    content: Json = field(default_factory=dict, repr=False)

    @classmethod
    def from_json(cls, content: Json) -> RefaceDetails:
        """Read what the node of the attack wrote. Raises TypeError for a value of a wrong type."""
        steps = member(content, "Options", dict, {}).get("Steps") or []
        return cls(
            steps=tuple(int(count) for count in (steps if isinstance(steps, list) else [steps])),
            warnings=texts(content, "Warnings"),
            outside_training=texts(content, "OutsideTraining"),
            run_time_s=optional_number(content, "RunTime"),
            content=content,
        )


def member(content: Json, name: str, kind: type[T], default: T | None = None) -> T:
    """A member of a JSON object, or the default where it is absent.

    Raises
    ------
    KeyError
        When it is absent and there is no default.
    TypeError
        When it is of another type.
    """
    value = content[name] if default is None else content.get(name, default)
    if not isinstance(value, kind):
        raise TypeError(f"{name} is {value!r}, not of the type {kind.__name__}")
    return value


def number(content: Json, name: str) -> float:
    """A number of a JSON object; raises as `member` does."""
    value = content[name]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} is {value!r}, which is no number")
    return value


def optional_number(content: Json, name: str) -> float | None:
    """A number of a JSON object; None where it is null or absent."""
    return None if content.get(name) is None else number(content, name)


def optional_text(content: Json, name: str) -> str | None:
    """A text of a JSON object; None where it is null or absent."""
    return None if content.get(name) is None else member(content, name, str)


def texts(content: Json, name: str) -> tuple[str, ...]:
    """A list of texts of a JSON object; empty where it is absent."""
    return tuple(map(str, member(content, name, list, [])))


def is_same_key(known: Json, wanted: Json) -> bool:
    """Whether results with one key serve for another; descriptors that nobody asks for now do not matter."""
    if RECOGNITION not in wanted:
        known = {name: value for name, value in known.items() if name != RECOGNITION}
    return known == wanted


def _figures(kind: type[T], content: Json, name: str) -> T:
    """A dataclass of optional numbers from the member of a JSON object that has them by the same names."""
    own = member(content, name, dict, {})
    return kind(**{one.name: optional_number(own, one.name) for one in fields(kind)})  # type: ignore[arg-type]
