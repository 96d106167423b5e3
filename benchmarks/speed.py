"""What a run costs, side by side: `python -m benchmarks.speed [--part programs growth] [--against CHECKOUT]`.

Synthetic heads (`bids_refacer simulate`) go through whole commands, each started anew. Printed are wall seconds, CPU
seconds (of everything that a command starts), the largest process in GB, how many cores were busy, and each command's
CPU and wall seconds over those of the first.

programs : the audit with three tools, the path without an attack, and what the tools cost by themselves
growth : the audit with one tool, and one thing changed at a time: voxels, tools, samples, participants, cores
--against : the audit by another checkout as well, in turn (A B A B)
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parents[1]
TOOLS = ("quickshear", "pydeface", "spm-rule")
BRAIN = (
    "import sys; from bids_refacer.volumes import brain, grid, nifti; scan = nifti.read_scan(sys.argv[1]); "
    "mask = brain.extract_brain(scan.volume, num_threads=1); "
    "nifti.write_volume(sys.argv[2], grid.Volume(mask, scan.affine), 'uint8')"
)


@dataclass(frozen=True)
class Cost:
    """Of one command: wall and CPU seconds, and the memory of its largest process in GB."""

    wall: float
    cpu: float
    memory: float


def cost_of(commands: Iterable[Sequence[str]], environ: Mapping[str, str]) -> Cost:
    """Run commands one after the other, and add up what they and their children took."""
    wall = cpu = memory = 0.0
    for command in commands:
        started = time.monotonic()
        child = subprocess.Popen(
            command, env=dict(environ), cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        errors = child.stderr.read() if child.stderr else ""
        _, status, usage = os.wait4(child.pid, 0)
        if code := os.waitstatus_to_exitcode(status):
            raise SystemExit(f"{' '.join(command)} ended with {code}: {errors[-2000:]}")
        wall, cpu = wall + time.monotonic() - started, cpu + usage.ru_utime + usage.ru_stime
        memory = max(memory, usage.ru_maxrss / 1e6)
    return Cost(wall, cpu, memory)


@dataclass(frozen=True)
class Bench:
    """Where heads are made and commands run; each result is a folder of its own."""

    folder: Path
    nprocs: int

    def heads(self, millimetres: float = 1.0, participants: int = 1) -> Path:
        """A dataset of synthetic heads."""
        place = self.folder / f"heads-{millimetres:g}-{participants}"
        if not place.exists():
            made = ["simulate", str(place), "--resolution", f"{millimetres:g}", "--participants", str(participants)]
            cost_of([app(*made)], environment(HERE))
        return place

    def audit(
        self, bids: Path, *options: str, tools: Sequence[str] = TOOLS[:1], nprocs: int | None = None, tree: Path = HERE
    ) -> Cost:
        """A whole audit at the participant level, pages and all."""
        with tempfile.TemporaryDirectory(dir=self.folder) as out:
            command = [str(bids), f"{out}/out", "participant", "-w", f"{out}/work", "--skip-bids-validation"]
            command += ["--deface-tools", *tools, "--gpu", "none", "--nprocs", str(nprocs or self.nprocs), *options]
            return cost_of([app(*command)], environment(tree))

    def programs(self) -> dict[str, Cost]:
        """The audit, and the cost of defacing by itself."""
        bids = self.heads()
        image = str(next(bids.glob("sub-*/anat/*_T1w.nii.gz")))
        release = ["deface", str(bids), str(self.folder / "release"), "--tool", "quickshear", "--accept-warnings"]
        release += ["--i-accept-the-residual-risk", "--skip-bids-validation", "-w", str(self.folder / "release-work")]
        rows = {
            "audit, three tools": self.audit(bids, tools=TOOLS),
            "audit, quickshear": self.audit(bids),
            "bids_refacer deface, quickshear": cost_of([app(*release)], environment(HERE)),
        }
        return rows | tools_alone(image, self.folder)

    def growth(self) -> dict[str, Cost]:
        """The audit with one thing changed at a time."""
        one = self.heads()
        return {
            "1 mm, quickshear, 1 sample, 1 participant": self.audit(one),
            "2 mm": self.audit(self.heads(2.0)),
            "0.7 mm": self.audit(self.heads(0.7)),
            "2 tools (quickshear, spm-rule)": self.audit(one, tools=(TOOLS[0], TOOLS[2])),
            "4 samples": self.audit(one, "--num-samples", "4"),
            "2 participants": self.audit(self.heads(participants=2)),
            "1 core": self.audit(one, nprocs=1),
        }

    def against(self, other: Path, turns: int) -> dict[str, Cost]:
        """The audit of this and of another checkout, in turn."""
        trees = {"this checkout": HERE, str(other): other}
        return {
            f"{name}, turn {turn}": self.audit(self.heads(), tools=TOOLS, tree=tree)
            for turn in range(1, turns + 1)
            for name, tree in trees.items()
        }


def tools_alone(image: str, folder: Path) -> dict[str, Cost]:
    """Command lines of the tools, as their makers ship them; those that cannot run here are left out."""
    import niimath

    from bids_refacer.defacers.pydeface_template import pydeface_files
    from bids_refacer.defacers.tools.pydeface import flirt_is_here

    template, face = map(str, pydeface_files())
    brain, out = str(folder / "brain.nii.gz"), str(folder / "defaced.nii.gz")
    environ, own = environment(HERE), str(Path(sys.executable).parent)
    quickshear = [[sys.executable, "-c", BRAIN, image, brain], [f"{own}/quickshear", image, brain, out]]
    rows = {
        "niimath -deface": cost_of([[niimath.bin, image, "-deface", template, face, out]], environ),
        "quickshear, with its brain mask (deepbet)": cost_of(quickshear, environ),
    }
    if flirt_is_here():
        rows["pydeface, with FSL"] = cost_of([[f"{own}/pydeface", image, "--outfile", out, "--force"]], environ)
    return rows


def app(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "bids_refacer", *arguments]


def environment(tree: Path) -> dict[str, str]:
    """That of this process, with the package of a checkout, and one thread where a program is not told how many."""
    return {**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"}


def table(rows: Mapping[str, Cost]) -> str:
    """Markdown; ratios are over the first row."""
    first = next(iter(rows.values()))
    lines = ["| | wall s | CPU s | busy cores | GB | CPU ratio | wall ratio |", "|---|---|---|---|---|---|---|"]
    for name, cost in rows.items():
        figures = f"{cost.wall:.0f} | {cost.cpu:.0f} | {cost.cpu / cost.wall:.2f} | {cost.memory:.2f}"
        lines.append(f"| {name} | {figures} | {cost.cpu / first.cpu:.2f} | {cost.wall / first.wall:.2f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", nargs="+", choices=("programs", "growth"), default=["programs", "growth"])
    parser.add_argument("--against", type=Path, metavar="CHECKOUT", help="another checkout, in the place of the parts")
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--nprocs", type=int, default=2)
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), options.nprocs)
        if options.against:
            print(table(bench.against(options.against.absolute(), options.turns)))
            return
        for part in options.part:
            print(f"\n{part}\n\n{table(getattr(bench, part)())}", flush=True)


if __name__ == "__main__":
    main()
