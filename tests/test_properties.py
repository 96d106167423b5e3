"""What must hold whatever the image: names, headers, intensity scales, poses, fields of view (hypothesis)."""

from __future__ import annotations

import itertools
import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, assume, event, given, settings
from hypothesis import strategies as st
from planted_faces import Planted, View, plant
from small_datasets import settings_for

from bids_refacer.audit.nodes.publish import Output, _publish
from bids_refacer.audit.nodes.verdict import refusal
from bids_refacer.audit.other_images import choose
from bids_refacer.dataset.details import BrainCut, DefacingFigures
from bids_refacer.dataset.image_key import ImageKey
from bids_refacer.dataset.images import find_images
from bids_refacer.dataset.names import OutputNames
from bids_refacer.dataset.sidecars import Sidecar
from bids_refacer.defacers.tools import quickshear
from bids_refacer.layout import Layout
from bids_refacer.problems import AuditProblem
from bids_refacer.settings import RunSettings
from bids_refacer.surfaces.skin_left import Defacing
from bids_refacer.surfaces.verdicts import face_left, grade, worst_part
from bids_refacer.volumes.brain import require_face
from bids_refacer.volumes.content.faults import require_sound
from bids_refacer.volumes.grid import Alignment
from bids_refacer.volumes.header_texts import TEXTS
from bids_refacer.volumes.nifti import read_scan, write_scan
from bids_refacer.volumes.voxel_units import require_millimetres

EXAMPLES = int(os.environ.get("BIDS_REFACER_EXAMPLES", "50"))
# Few in the quick tests, and others each time where many are asked for. Even the few differ with the tests that run
# beside them: hypothesis draws some numbers from the constants of all modules that are loaded.
many = settings(
    max_examples=EXAMPLES,
    derandomize=EXAMPLES <= 50,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate],  # to find a simpler example takes many more
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
LIMITS = RunSettings(bids_dir=Path("/in"), output_dir=Path("/out"), work_dir=Path("/work")).face_left_limits
LEAST_LOST = 0.9  # of the planted voxels, where the verdict says that no face is left
outcomes: Counter[str] = Counter()

_AXES = ["".join(axes) for order in itertools.permutations(("RL", "AP", "SI")) for axes in itertools.product(*order)]
_SIGNED = ((1.0, 0.0), (1.0, 500.0), (1.0, -1024.0), (0.3, -40.0), (-1.0, 3000.0), (8.0, 0.0))
_FLOAT = (*_SIGNED, (1e-5, 0.0), (1e6, 0.0), (0.004, -1.2), (1.0, 1e5), (1e30, 0.0))
# stored value = gain * intensity + offset, where both fit the data type
_STORED = {
    "uint8": ((0.15, 0.0), (0.1, 40.0), (-0.1, 250.0)),
    "int8": ((0.08, 0.0), (0.1, -110.0)),
    **dict.fromkeys(("int16", ">i2"), _SIGNED),
    **dict.fromkeys(("uint16", ">u2"), ((1.0, 0.0), (20.0, 500.0), (1.0, 40000.0))),
    **dict.fromkeys(("int32", "uint32", "int64"), ((1.0, 0.0), (1e4, 0.0), (1.0, 500.0), (1.0, 1e8))),
    **dict.fromkeys(("float32", ">f4", "float64"), _FLOAT),
}
_NO_SCALING = (1.0, 0.0)
_ordinary = st.tuples(*[st.floats(-6, 6)] * 3)
views = st.builds(
    lambda stored, scaling, **named: View(
        dtype=stored[0], gain=stored[1][0], offset=stored[1][1], slope=scaling[0], inter=scaling[1], **named
    ),
    stored=st.sampled_from([(dtype, pair) for dtype, pairs in _STORED.items() for pair in pairs]),
    scaling=st.one_of(
        st.just(_NO_SCALING),
        st.tuples(
            st.sampled_from((0.0, float("nan"), 2.5, 0.001, -1.0, 1e4)), st.sampled_from((0.0, -1024.0, 1000.0, 3.5))
        ),
    ),
    head=st.integers(1, 3),
    voxel_mm=st.tuples(*[st.floats(3.0, 5.0)] * 3),
    field_mm=st.one_of(
        st.just((192.0, 256.0, 256.0)), st.tuples(st.floats(150, 220), st.floats(180, 270), st.floats(160, 270))
    ),
    tilt_deg=st.one_of(_ordinary, st.tuples(*[st.floats(-25, 25)] * 3)),
    shift_mm=_ordinary,
    axes=st.sampled_from(_AXES),
    world_turn_deg=st.floats(-10, 10),
    unit=st.sampled_from(("mm",) * 8 + ("unknown", "micron", "meter")),
    codes=st.sampled_from(((1, 1), (1, 0), (0, 1), (2, 1), (4, 3), (0, 2))),
    version=st.sampled_from((1, 1, 2)),
    extension=st.sampled_from((".nii.gz", ".nii")),
)
PLAIN = View(
    head=1,
    voxel_mm=(4.0, 4.0, 4.0),
    field_mm=(192.0, 256.0, 256.0),
    tilt_deg=(0.0, 0.0, 0.0),
    shift_mm=(0.0, 0.0, 0.0),
    axes="RAS",
    world_turn_deg=0.0,
    unit="mm",
    codes=(1, 1),
    dtype="int16",
    gain=1.0,
    offset=0.0,
    slope=1.0,
    inter=0.0,
    version=1,
    extension=".nii.gz",
)
"""An image as most are."""
ORDINARY = (
    PLAIN,
    replace(PLAIN, head=2, axes="LPI", tilt_deg=(4.0, -3.0, 2.0), extension=".nii"),
    replace(PLAIN, head=2, dtype="float32", gain=0.3, offset=-40.0, shift_mm=(3.0, -4.0, 5.0)),
    replace(PLAIN, head=1, dtype=">u2", slope=2.5, inter=-1024.0, axes="ASR", version=2),
    replace(
        PLAIN,
        head=1,
        tilt_deg=(-3.0, 2.0, -4.0),
        dtype="uint8",
        gain=0.15,
        voxel_mm=(3.5, 4.0, 4.5),
        world_turn_deg=8.0,
    ),
)


@pytest.fixture(scope="module", autouse=True)
def buffer_of_large_voxels() -> Iterator[None]:
    """Quickshear keeps a number of voxels off the brain, which is far on these large ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quickshear, "BUFFER_VOXELS", 2)
        yield


@many
@given(views)
def test_what_is_published_as_defaced_has_lost_the_planted_face(view: View) -> None:
    """Or is said to have kept it; and what a mask does not cover keeps its bits."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        planted = plant(folder, view)
        assume(planted is not None and planted.face.sum() > 20 and planted.brain.sum() > 3000)
        assert planted is not None
        try:
            published, removed, verdict = published_image(planted, folder)
        except AuditProblem as error:
            refused_in_a_sentence(str(error), planted.path)
            return
        outcomes[f"published: {verdict}"] += 1
        event(f"published: {verdict}")
        kept_bits(planted, published, removed)
        assert verdict != "pass" or lost_share(planted, published) >= LEAST_LOST


def published_image(planted: Planted, folder: Path) -> tuple[Path, np.ndarray, str | None]:
    """What the app does with an image below the workflow; the published file, its mask, the verdict on the face."""
    scan = read_scan(planted.path)
    require_millimetres(scan)
    require_sound(scan)
    alignment = Alignment(planted.to_canonical, planted.to_canonical)
    require_face(scan.volume, planted.brain, alignment, name=planted.path)
    result = quickshear.run(scan, planted.brain, alignment, folder)
    made = folder / "defaced.nii.gz"
    write_scan(made, scan, result.stored)
    left = face_left(Defacing(scan.volume, read_scan(made).values, result.removed), alignment)
    if sentence := refusal(DefacingFigures(face_left=left, brain_cut=BrainCut()), str(planted.path), "quickshear"):
        raise AuditProblem(sentence)
    target = folder / "out" / "published.nii.gz"
    _publish(made, Output(target=target, sidecar=Sidecar(description="", sources=(), members={})), {"RunTime": 0.0})
    return target, result.mask, grade(worst_part(left)[1], LIMITS)


def refused_in_a_sentence(message: str, path: Path) -> None:
    """With the file, and what to do; no traceback's words."""
    assert str(path) in message and message.endswith(".") and (":" in message or ";" in message or "," in message)
    reason = message.replace(str(path), "").strip(" :")[:60]
    outcomes[f"refused: {reason}"] += 1
    event(f"refused: {reason}")


def kept_bits(planted: Planted, published: Path, removed: np.ndarray) -> None:
    """Voxels outside of the mask, and all of the header but its texts, as nibabel reads them."""
    before, after = nib.load(planted.path), nib.load(published)
    stored = np.asarray(after.dataobj.get_unscaled())
    assert stored.dtype == planted.stored.dtype
    assert stored[~removed].tobytes() == planted.stored[~removed].tobytes()
    fields = set(before.header.structarr.dtype.names) - {*TEXTS, "vox_offset"}
    assert all(before.header[name].tobytes() == after.header[name].tobytes() for name in fields)
    assert not any(after.header[name].tobytes().strip(b"\0") for name in TEXTS if name in fields)


def lost_share(planted: Planted, published: Path) -> float:
    """Share of the planted face, by voxels, that is much nearer to air than it was, or darker than air."""
    before = np.asarray(nib.load(planted.path).dataobj, dtype=np.float64)
    after = np.asarray(nib.load(published).dataobj, dtype=np.float64)
    air = np.median(before[planted.air])
    was, remains = (before - air)[planted.face], (after - air)[planted.face]
    return float((remains < 0.3 * was).mean())


@pytest.mark.parametrize("number", range(len(ORDINARY)))
def test_an_ordinary_image_is_published_without_its_face(number: int, tmp_path: Path) -> None:
    """Else the property above would say little: it holds, too, where all is refused."""
    planted = plant(tmp_path, ORDINARY[number])
    assert planted is not None
    published, removed, verdict = published_image(planted, tmp_path)
    assert verdict == "pass"
    kept_bits(planted, published, removed)
    assert lost_share(planted, published) >= LEAST_LOST


def test_not_all_of_the_drawn_images_are_refused() -> None:
    """It counts what the property above has seen, and so runs after it."""
    published = sum(count for what, count in outcomes.items() if what.startswith("published"))
    assert published >= 0.1 * sum(outcomes.values()) > 0, outcomes


labels = st.sampled_from(("1", "01", "a", "A", "ab"))
entities = st.lists(
    st.tuples(st.sampled_from(("acq", "run", "desc", "rec", "echo", "part", "ce")), labels),
    max_size=3,
    unique_by=lambda pair: pair[0],
)
names = st.builds(
    lambda folder, said, pairs, suffix, ending, extension: (folder, said, pairs, suffix + ending + extension),
    st.tuples(labels, st.sampled_from((None, "1", "01")), st.sampled_from(("anat",) * 6 + ("Anat", "anat/orig", ""))),
    st.one_of(st.none(), st.none(), st.none(), labels),
    entities,
    st.sampled_from(("T1w", "T1w", "T1w", "T2w", "t1w", "FLAIR")),
    st.sampled_from(("",) * 6 + ("_ND", "__dup-01", "_T2w")),
    st.sampled_from((".nii.gz",) * 4 + (".nii", ".NII.gz")),
)


@many
@given(st.lists(names, min_size=2, max_size=7), st.booleans())
def test_no_two_inputs_share_an_output_and_none_is_passed_over(found: list[tuple], apply: bool) -> None:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name) / "in"
        files = {path_of(*one) for one in found}
        for file in files:
            (root / file).parent.mkdir(parents=True, exist_ok=True)
            (root / file).write_text("")
        (root / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.10.0"}')
        given_settings = settings_for(root, Path(name) / "out", apply_to_others=apply)
        selection, others = choose(find_images(root), given_settings)
        images = [*selection.images, *(other.image for other in others.images)]
        said = [*selection.problems, *others.problems, *others.misnamed]
        told = {image.bids_path for image in (*images, *others.passed_over)} | {one.bids_path for one in said}
        assert told >= files
        claims = Counter(claim for image in images for claim in claimed_by(image, given_settings.layout))
        assert not [claim for claim, count in claims.items() if count > 1]
        for image in images:  # what an image is taken for is what its name and its folder say
            assert ImageKey.of(image.path) and image.bids_path == path_of_key(image)


def path_of(folder: tuple[str, str | None, str], said: str | None, pairs: list, rest: str) -> str:
    participant, session, last = folder
    where = [f"sub-{participant}", *([f"ses-{session}"] if session else []), *([last] if last else [])]
    start = [f"sub-{said or participant}", *([f"ses-{session}"] if session else [])]
    return "/".join([*where, "_".join([*start, *(f"{key}-{label}" for key, label in pairs), rest])])


def path_of_key(image: ImageKey) -> str:
    """Where BIDS has an image with this name."""
    where = [f"sub-{image.participant}", *([f"ses-{image.session}"] if image.session else []), "anat"]
    name = "_".join([*(f"{key}-{label}" for key, label in image.entities.items()), image.suffix])
    return "/".join([*where, name]) + "".join(Path(image.path.name).suffixes)


def claimed_by(image: ImageKey, layout: Layout) -> set[str]:
    """Names of all its outputs, as a file system sees them that does not tell cases apart."""
    return {str(path).casefold() for path in OutputNames.of(layout, image).paths("quickshear")}
