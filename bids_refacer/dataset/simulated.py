"""A dataset of synthetic heads: its description, tables and the places of its files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bids_refacer import __version__
from bids_refacer.dataset.tables import write_dictionary, write_table
from bids_refacer.files import write_json, write_text

_README = """\
Synthetic heads by bids_refacer simulate

No image here shows a person. Heads were drawn from a statistical model: the mean and the principal modes of shape and
tissue over many adult heads, with texture, noise and a bias field. T1w is what the model was made from; other contrasts
look like theirs, by curves from T1w intensity. Age and sex go with the head as they did in those heads; muscle
radiodensity was planted: participants.json and sourcedata/truth/simulation.json say how.

sourcedata/truth holds what is true of each head:

- truth.tsv: the density of the facial muscles, which is what links faces and radiodensity
- sub-*/skin.surf.gii: the skin (RAS+ mm of the images); vertex i is the same point of the head in all participants
- sub-*/brain.nii.gz: the brain
- sub-*/head.json: scores of the principal modes, pose in the scanner
- simulation.json: the settings; the same version, settings and seed make the same heads
"""


@dataclass(frozen=True)
class SimulatedNames:
    """Where the files of one synthetic participant lie.

    Attributes
    ----------
    root : of the dataset
    label : without ``sub-``
    """

    root: Path
    label: str

    def image(self, contrast: str) -> Path:
        """Path of the T1w, T2w or FLAIR image."""
        return self.root / f"sub-{self.label}" / "anat" / f"sub-{self.label}_{contrast}.nii.gz"

    def truth(self, name: str) -> Path:
        """Path of a file of what is true of the head."""
        return truth_dir(self.root) / f"sub-{self.label}" / name


_OF_A_SCANNER = (
    *("Manufacturer", "ManufacturersModelName", "DeviceSerialNumber", "StationName"),
    *("ReceiveCoilName", "ReceiveCoilActiveElements", "MatrixCoilMode", "CoilCombinationMethod"),
    *("PulseSequenceType", "ScanningSequence", "SequenceVariant", "SequenceName"),
    *("InstitutionName", "InstitutionAddress", "InstitutionalDepartmentName"),
)
_NOMINAL = {"T1w": (0.0046, 8), "T2w": (0.1, 90), "FLAIR": (0.12, 90)}  # s, degrees


@dataclass(frozen=True, kw_only=True)
class ParticipantRow:
    """A row of participants.tsv; age in years, radiodensities in HU."""

    participant_id: str
    age: float
    sex: str
    muscle_radiodensity_abdomen: float
    muscle_radiodensity_thigh: float
    muscle_radiodensity_shin: float


@dataclass(frozen=True, kw_only=True)
class TruthRow:
    """A row of truth.tsv: the density of the facial muscles, standard normal."""

    participant_id: str
    muscle_density: float


def truth_dir(root: Path) -> Path:
    """The folder of the ground truth; validators do not look into ``sourcedata``."""
    return root / "sourcedata" / "truth"


def write_simulated_dataset(
    root: Path,
    participants: Iterable[ParticipantRow],
    truth: Iterable[TruthRow],
    contrasts: Iterable[str],
    settings: Mapping[str, object],
) -> None:
    """Write what makes a folder of simulated images a BIDS dataset.

    Parameters
    ----------
    root : of the dataset
    participants, truth : rows of participants.tsv and truth.tsv
    contrasts : suffixes of the images
    settings : of the simulation, for `simulation.json`
    """
    description = {
        "Name": "Synthetic heads",
        "BIDSVersion": "1.10.0",
        "DatasetType": "raw",
        "License": "CC-BY-SA-3.0",
        "Authors": ["bids_refacer contributors", "Contributors of the IXI dataset"],
        "Acknowledgements": "The head model was estimated from the IXI dataset (https://brain-development.org).",
        "SourceDatasets": [{"URL": "https://brain-development.org/ixi-dataset/"}],
        "HEDVersion": "8.3.0",  # nothing is annotated; the validator asks for it all the same
        "GeneratedBy": [{"Name": "bids_refacer simulate", "Version": __version__}],
    }
    write_json(root / "dataset_description.json", description)
    write_text(root / "README", _README)
    write_table(root / "participants.tsv", "simulated_participants", map(vars, participants))
    write_dictionary(root / "participants.json", "simulated_participants")
    for contrast in contrasts:
        write_json(root / f"{contrast}.json", _sidecar(contrast))
    write_table(truth_dir(root) / "truth.tsv", "simulated_truth", map(vars, truth))
    write_dictionary(truth_dir(root) / "truth.json", "simulated_truth")
    write_json(truth_dir(root) / "simulation.json", settings)


def _sidecar(contrast: str) -> dict[str, object]:
    """What BIDS recommends to say of an acquisition, of one that never was."""
    echo_time_s, flip_angle_deg = _NOMINAL[contrast]
    return {
        "Modality": "MR",
        "Synthetic": True,
        **dict.fromkeys(_OF_A_SCANNER, "none, simulated"),
        "SoftwareVersions": f"bids_refacer {__version__}",
        "MagneticFieldStrength": 0,
        "MRAcquisitionType": "3D",
        "PulseSequenceDetails": "Nothing was acquired. EchoTime and FlipAngle are typical of the contrast, no more.",
        "EchoTime": echo_time_s,
        "FlipAngle": flip_angle_deg,
        "DwellTime": 0,
        "NonlinearGradientCorrection": False,
    }
