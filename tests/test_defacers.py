"""Every tool of the registry on the average head: what it removes, what it keeps, what it says."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nifti_files import raw_image
from scipy import ndimage
from synthetic_heads import synthetic_head

from bids_refacer.defacers import DEFACERS, DefacerError, DefaceResult
from bids_refacer.defacers.qc import defacing_qc
from bids_refacer.defacers.tools.niimath_reface import write_template
from bids_refacer.volumes.grid import CANONICAL, Alignment
from bids_refacer.volumes.nifti import Scan, read_scan, to_stored
from bids_refacer.volumes.seam import seam_correction

STILL = Alignment(np.eye(4), np.eye(4))
TOOLS = ("quickshear", "pydeface", "niimath", "spm-rule", "skullstrip", "average", "niimath-reface")
"""Those that come with the package; the others are in test_defacer_contracts.py and test_deepdefacer.py."""

REMOVERS = tuple(name for name in TOOLS if DEFACERS[name].action == "removes")


@dataclass
class Case:
    """The average head as a scanner might store it, and what each tool made of it (run once)."""

    scan: Scan
    brain: np.ndarray
    folder: Path
    results: dict[str, DefaceResult] = field(default_factory=dict)

    def result(self, tool: str) -> DefaceResult:
        if tool not in self.results:
            work_dir = self.folder / tool
            work_dir.mkdir()
            self.results[tool] = DEFACERS[tool].run(self.scan, self.brain, STILL, work_dir)
        return self.results[tool]

    def at(self, x: float, y: float, z: float) -> tuple[int, int, int]:
        """The voxel at a point of the canonical frame (RAS+ mm)."""
        return tuple(np.rint(nib.affines.apply_affine(np.linalg.inv(self.scan.affine), (x, y, z))).astype(int))


@pytest.fixture(scope="module")
def case(average_head_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Case:
    """Posterior-superior-left axes, int16 that stores zero as 50, a fourth axis; half of the air exactly zero."""
    folder = tmp_path_factory.mktemp("defacers")
    image = nib.as_closest_canonical(nib.load(average_head_path))
    values = np.asarray(image.dataobj).astype(float)
    quiet = np.random.default_rng(0).random(values.shape) < 0.5
    values = np.where((values < 2) & ~quiet, 3, values)
    mask = np.asarray(nib.load(str(files("bids_refacer") / "data" / "average_brain_mask.nii.gz")).dataobj) > 0

    def turn(array: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(np.transpose(array[::-1, ::-1], (1, 2, 0)))

    affine = image.affine @ np.array([[0, 0, -1, 95], [-1, 0, 0, 127], [0, 1, 0, 0], [0, 0, 0, 1.0]])
    stored = np.rint(values / 0.5 + 50).astype("<i2")
    raw_image(
        folder / "sub-01_T1w.nii.gz", turn(stored), slope=0.5, inter=-25.0, shape=(128, 128, 96, 1), affine=affine
    )
    return Case(scan=read_scan(folder / "sub-01_T1w.nii.gz"), brain=turn(mask), folder=folder)


def test_the_case_is_the_average_head_turned(case: Case) -> None:
    assert nib.aff2axcodes(case.scan.affine) == ("P", "S", "L")
    assert case.brain[case.at(0, 0, 10)] and not case.brain[case.at(0, 100, 10)]
    assert case.scan.values.min() == 0.0 and case.scan.stored.min() == 50


@pytest.mark.parametrize("tool", TOOLS)
def test_kept_voxels_are_bit_identical(case: Case, tool: str) -> None:
    result = case.result(tool)
    assert result.stored.dtype == case.scan.stored.dtype and result.removed.dtype == bool
    assert result.stored.shape == result.removed.shape == case.scan.stored.shape
    np.testing.assert_array_equal(result.stored[~result.removed], case.scan.stored[~result.removed])


@pytest.mark.parametrize("tool", REMOVERS)
def test_removed_voxels_are_zero(case: Case, tool: str) -> None:
    result = case.result(tool)
    assert (result.stored[result.removed] == 50).all(), "50 is how this image stores zero"


@pytest.mark.parametrize("tool", TOOLS)
def test_the_nose_goes_and_the_brain_stays(case: Case, tool: str) -> None:
    result = case.result(tool)
    head = case.scan.values > 20
    front = [case.at(0, y, -50) for y in np.arange(40, 120, 2.0)]
    nose = [voxel for voxel in front if head[voxel]][-1]
    assert result.removed[nose]
    assert result.removed[case.at(0, 116, -50)], "air in front of the nose"
    assert not result.removed[case.at(0, 0, 10)]
    assert result.details["QualityControl"]["brain_removed_percent"] < 0.05
    assert 0.02 < result.details["QualityControl"]["removed_head_fraction"] < (0.75 if tool == "skullstrip" else 0.3)


@pytest.mark.parametrize("tool", TOOLS)
def test_air_that_was_zero_before_is_in_the_mask(case: Case, tool: str) -> None:
    """The mask is the tool's region: a difference image would have holes where the air was zero."""
    removed = case.result(tool).removed
    zero = case.scan.stored == 50
    here = np.s_[:20]  # the front of the image, posterior being the first axis
    share_of_zeros, share_of_others = removed[here][zero[here]].mean(), removed[here][~zero[here]].mean()
    assert share_of_zeros > 0.3
    assert share_of_zeros == pytest.approx(share_of_others, abs=0.05)


@pytest.mark.parametrize("tool", TOOLS)
def test_details_tell_what_ran(case: Case, tool: str) -> None:
    details = case.result(tool).details
    assert details["Version"] == DEFACERS[tool].version() != "not installed"
    assert details["Tool"].replace(" -", "-").startswith(tool) and details["Command"] and details["Options"]
    assert details.get("FillValue") == (0.0 if DEFACERS[tool].action == "removes" else None)
    json.dumps(details)


@pytest.mark.parametrize("tool", TOOLS)
def test_the_scan_is_not_touched(case: Case, tool: str) -> None:
    before = case.scan.path.read_bytes()
    case.result(tool)
    assert case.scan.path.read_bytes() == before


def test_niimath_is_obeyed_where_it_can_be_seen(case: Case) -> None:
    details = case.result("niimath").details
    assert details["MaskAgreement"] > 0.999
    assert "-deface" in details["Command"]
    output = np.asarray(nib.load(case.folder / "niimath" / "defaced.nii").dataobj)
    visible = case.scan.values != 0
    np.testing.assert_array_equal(case.result("niimath").removed[visible], output[visible] == 0)


def test_the_shell_is_a_face_with_air_around_it(tmp_path: Path) -> None:
    """Minus one says "zero" to niimath; as an unsigned byte it would be the brightest tissue of all."""
    write_template(tmp_path)
    shell, template, weight = (
        nib.load(tmp_path / f"{name}.nii").get_fdata() for name in ("shell", "template", "weight")
    )
    assert shell.min() == -1 and shell.max() <= template.max() and (weight[shell != 0] == 0).all()
    assert (shell[shell > 0] == template[shell > 0]).all() and (shell < 0).sum() > 1000


@pytest.mark.parametrize("tool", ["niimath-reface"])
def test_the_air_in_front_of_the_new_face_is_dark(case: Case, tool: str) -> None:
    values = case.result(tool).stored * 0.5 - 25.0
    assert values[case.at(0, 122, -50)] < 10 and values.max() <= case.scan.values.max() * 1.6


def test_pydeface_names_its_engine(case: Case) -> None:
    registration = case.result("pydeface").details["Registration"]
    assert registration.startswith("niimath") and "in the place of FSL FLIRT, which is not installed" in registration


def test_pydeface_reaches_the_chin(case: Case) -> None:
    """As shipped, the face mask ends above it."""
    head = case.scan.values > 20
    chin = [voxel for voxel in (case.at(0, y, -120) for y in np.arange(0, 120, 2.0)) if head[voxel]][-1]
    assert case.result("pydeface").removed[chin]


@pytest.mark.parametrize("number", [1, 7])
def test_pydeface_and_niimath_find_the_eyes_of_whole_heads(number: int, tmp_path: Path) -> None:
    """On both of these synthetic heads niimath finds a wrong fit when the head, not the template, is its base."""
    head = synthetic_head(number)
    raw_image(tmp_path / "sub-01_T1w.nii", head.image, affine=head.affine)
    scan, removed = read_scan(tmp_path / "sub-01_T1w.nii"), {}
    for tool in ("pydeface", "niimath"):
        (tmp_path / tool).mkdir()
        removed[tool] = DEFACERS[tool].run(scan, head.brain, STILL, tmp_path / tool).removed
        assert not removed[tool][head.brain].any(), tool
    grid = CANONICAL[4]
    to_voxel = np.linalg.inv(head.drawn.session.to_canonical @ head.affine)
    for side in (0, 1):
        half = head.model.eyes * ((np.indices(grid.shape)[0] < grid.shape[0] // 2) == bool(side))
        eye = np.array(ndimage.center_of_mass(half))
        moved = [ndimage.map_coordinates(u, eye[:, None], order=1)[0] for u in head.drawn.anatomy.displacement]
        voxel = tuple(np.rint(nib.affines.apply_affine(to_voxel, eye * 4 + grid.affine[:3, 3] + moved)).astype(int))
        assert {tool: mask[voxel] for tool, mask in removed.items()} == {"pydeface": True, "niimath": True}, side


def test_quickshear_does_not_depend_on_the_orientation(case: Case) -> None:
    stored, brain = (np.transpose(a, (2, 0, 1))[::-1] for a in (case.scan.stored, case.brain))
    last = case.scan.stored.shape[2] - 1
    affine = case.scan.affine @ np.array([[0, 1, 0, 0], [0, 0, 1, 0], [-1, 0, 0, last], [0, 0, 0, 1.0]])
    turned = Scan(path=case.scan.path, stored=stored, slope=0.5, inter=-25.0, affine=affine, header=case.scan.header)
    result = DEFACERS["quickshear"].run(turned, brain, STILL, case.folder)
    np.testing.assert_array_equal(result.removed, np.transpose(case.result("quickshear").removed, (2, 0, 1))[::-1])


def test_quickshear_is_the_package_itself(case: Case) -> None:
    from quickshear import quickshear

    brain = nib.Nifti1Image(case.brain.astype(np.uint8), case.scan.affine)
    image = nib.Nifti1Image(case.scan.values, case.scan.affine)
    expected = quickshear(image, brain, 10).get_fdata(dtype=np.float32)
    result = case.result("quickshear")
    np.testing.assert_array_equal(result.stored * np.float32(0.5) - 25, expected)


def test_skullstrip_keeps_the_brain_mask(case: Case) -> None:
    np.testing.assert_array_equal(case.result("skullstrip").removed, ~case.brain)


def test_quickshear_without_a_plane_is_a_sentence(case: Case) -> None:
    empty = np.zeros_like(case.brain)
    with pytest.raises(DefacerError, match="sub-01_T1w.nii.gz: quickshear found no plane .*check the mask"):
        DEFACERS["quickshear"].run(case.scan, empty, STILL, case.folder)


def test_registry_entries_are_complete() -> None:
    for name, tool in DEFACERS.items():
        assert tool.name == name
        assert tool.action in ("removes", "replaces")
        assert tool.requirement and "doi:" in tool.citation or "Proceedings" in tool.citation
        assert tool.licence and tool.contrasts and tool.memory_gb > 0
        assert (tool.missing() is None) == (name in TOOLS), "what the package brings along can run, nothing else"


@pytest.mark.parametrize(
    "tool, package",
    [
        ("quickshear", "quickshear"),
        ("pydeface", "pydeface"),
        ("pydeface", "niimath"),
        ("niimath", "niimath"),
        ("niimath", "pydeface"),
        ("skullstrip", "deepbet"),
        ("average", "niimath"),
    ],
)
def test_an_absent_tool_says_how_to_get_it(tool: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib.util import find_spec

    monkeypatch.setattr(
        "bids_refacer.defacers.tool.find_spec", lambda name: None if name == package else find_spec(name)
    )
    monkeypatch.delenv("FSLDIR", raising=False)
    assert DEFACERS[tool].missing() == (
        f"The tool {tool} needs the Python package {package}, which is not installed: run `pip install {package}`."
    )


def test_the_average_face_owes_nothing_to_the_face_it_replaces(case: Case) -> None:
    """Other voxels in the zone, the same output bit for bit."""
    first = case.result("average")
    stored = case.scan.stored.copy()
    stored[first.removed] = np.random.default_rng(0).integers(50, 600, int(first.removed.sum()))
    other = DEFACERS["average"].run(replace(case.scan, stored=stored), case.brain, STILL, case.folder)
    np.testing.assert_array_equal(other.removed, first.removed)
    np.testing.assert_array_equal(other.stored, first.stored)


def test_the_average_of_a_louder_average_head_is_itself(case: Case, average_head_path: Path) -> None:
    """Twice as bright, the average head gets its own face back, twice as bright."""
    loud = replace(case.scan, slope=1.0, inter=-50.0)
    result = DEFACERS["average"].run(loud, case.brain, STILL, case.folder)
    expected = loud.values[result.removed]
    painted = result.stored[result.removed] - 50.0
    tissue = expected > 40
    assert np.abs(painted - expected)[tissue].mean() < 0.03 * expected[tissue].mean()


def test_no_seam_is_left(case: Case) -> None:
    """A head a third brighter around its face than the brain tells: values at the border follow the head."""
    values = np.where(case.brain, case.scan.values, case.scan.values * 1.33)
    bright = replace(case.scan, stored=to_stored(case.scan, values))
    zone = DEFACERS["average"].run(bright, case.brain, STILL, case.folder)
    inner = zone.removed & ~ndimage.binary_erosion(zone.removed) & (values > 60)
    painted = zone.stored * 0.5 - 25.0
    assert np.median(painted[inner] / values[inner]) == pytest.approx(1.0, abs=0.06)


def test_seam_correction_of_a_constant_offset_fades_with_depth() -> None:
    zone = np.zeros((60, 9, 9), dtype=bool)
    zone[30:] = True
    correction = seam_correction(np.where(zone, 1e6, 5.0), zone, np.ones(3))
    np.testing.assert_array_equal(correction[:30], 0)
    depths = np.arange(1, 8)
    np.testing.assert_allclose(correction[30:37, 4, 4], 5 * np.exp(-((depths / 8.0) ** 2)), rtol=1e-3)


def test_a_face_outside_the_image_cannot_be_replaced(case: Case) -> None:
    away = Alignment(np.eye(4), nib.affines.from_matvec(np.eye(3), [0, -400, 0]))
    with pytest.raises(DefacerError, match=r"sub-01_T1w.nii.gz: the face lies outside the field of view, .*out\.$"):
        DEFACERS["average"].run(case.scan, case.brain, away, case.folder)


def test_quality_numbers_of_boxes() -> None:
    values = np.random.default_rng(0).uniform(0, 8, (40, 40, 40)).astype(np.float32)
    values[8:32, 8:32, 8:32] = 100.0
    brain, removed = np.zeros(values.shape, dtype=bool), np.zeros(values.shape, dtype=bool)
    brain[14:26, 14:26, 14:26] = True
    removed[20:40] = True
    numbers = defacing_qc(values, np.diag([2.0, 2.0, 2.0, 1.0]), removed, brain)
    assert numbers["removed_ml"] == pytest.approx(20 * 40 * 40 * 8 / 1000)
    assert numbers["removed_head_fraction"] == pytest.approx(0.5, abs=0.02)
    assert numbers["removed_head_ml"] == pytest.approx(12 * 24 * 24 * 8 / 1000, rel=0.05)
    assert numbers["brain_removed_ml"] == pytest.approx(6 * 12 * 12 * 8 / 1000)
    assert numbers["brain_removed_percent"] == pytest.approx(50.0)
