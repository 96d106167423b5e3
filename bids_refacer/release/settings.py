"""What a release was asked to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from bids_refacer.layout import Layout
from bids_refacer.limits import usable_cpus
from bids_refacer.settings import check_limits

LINK_MODES = ("reflink", "hardlink", "copy")


@dataclass(frozen=True, kw_only=True)
class ReleaseSettings:
    """The folders, the tool, and what may go.

    Attributes
    ----------
    bids_dir, output_dir, release_dir : the originals, the audit of them, and where the release goes
    tool : whose defaced images are released
    link_mode : how files are taken over that do not change; what the file system cannot do becomes a copy
    accept_warnings : release images whose verdict is a warning
    review_list : TSV of a person's decisions on images
    keep_field : fields of sidecars and columns of tables that stay
    shift_dates : move times in tables instead of removing them
    cap_ages : make ages over 89 the same
    also : folders besides ``anat`` whose images go only with a verdict
    scan_everything : no image goes without a verdict, whatever its folder
    include : ``sourcedata``, ``derivatives`` or both, where they are released too
    datalad : make the release a DataLad dataset, and save it
    release_unchecked : patterns of files that are released although nobody can check them
    accept_risk : release although the audit says that the tool did not withstand
    face_left_limits, brain_cut_limits, brain_hole_limits : of the verdicts, as an audit has them
    nprocs : processes at a time
    dry_run : say what would be done, and do nothing

    Raises
    ------
    SettingsError
        When limits are outside their ranges.
    """

    bids_dir: Path
    output_dir: Path
    release_dir: Path
    tool: str
    link_mode: str = "reflink"
    accept_warnings: bool = False
    review_list: Path | None = None
    keep_field: tuple[str, ...] = ()
    shift_dates: bool = False
    cap_ages: bool = False
    release_unchecked: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    scan_everything: bool = False
    include: tuple[str, ...] = ()
    datalad: bool = False
    accept_risk: bool = False
    face_left_limits: tuple[float, float] = (5.0, 20.0)
    brain_cut_limits: tuple[float, float] = (0.1, 5.0)
    brain_hole_limits: tuple[float, float] = (1.0, 10.0)
    nprocs: int = field(default_factory=usable_cpus)
    dry_run: bool = False

    @property
    def layout(self) -> Layout:
        """The folders of the audit."""
        return Layout.found(self.output_dir)

    def __post_init__(self) -> None:
        """Refuse limits outside their ranges."""
        check_limits("face_left_limits", self.face_left_limits, 100, "percentages")
        check_limits("brain_cut_limits", self.brain_cut_limits, 100, "percentages")
        check_limits("brain_hole_limits", self.brain_hole_limits, 10_000, "volumes in mL")
