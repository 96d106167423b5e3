"""How long pages take: `python -m benchmarks.pages participant OUTPUT BIDS LABEL... | group [N] | open PAGE...`.

`participant`: both pages of participants, from outputs that are there. `group`: `group.html` alone, of N participants
(500) x 6 tools with identification, phenotypes and calibration, from synthetic tables (`benchmarks.group` times the
statistics before it). Prints wall and CPU seconds of this process with its imports, peak memory, and sizes.
`open`: what a browser spends on pages that are there: CPU seconds of all processes of headless Chromium, elements, and
the time that the view that turns takes to draw its two faces, at one and two pixels of the device for each of the page.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.group import TOOLS
from benchmarks.synthetic_outputs import image_path
from bids_refacer.audit.pages import make_participant_pages
from bids_refacer.dataset.names import dataset_table, faces_page, participant_page
from bids_refacer.dataset.tables import write_table
from bids_refacer.group.report import make_group_page
from bids_refacer.layout import Layout
from bids_refacer.statistics.identification import FALSE_ACCEPT
from tests.browser import chromium

Row = dict[str, Any]
TYPES = ("average", "defaced", "refaced_mean")
RANKS = 50


def report(name: str, pages: list[Path]) -> None:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    sizes = ", ".join(f"{page.name} {page.stat().st_size / 1e6:.2f} MB" for page in pages)
    print(
        f"{name}: {time.time() - started():.1f} s wall, {usage.ru_utime + usage.ru_stime:.1f} s CPU, "
        f"{usage.ru_maxrss / 1e6:.2f} GB peak; {sizes}",
        flush=True,
    )


def started() -> float:
    """When this process began, seconds since 1970."""
    ticks = float(Path("/proc/self/stat").read_text().rsplit(")", 1)[1].split()[19])
    boot = next(line for line in Path("/proc/stat").read_text().splitlines() if line.startswith("btime"))
    return float(boot.split()[1]) + ticks / 100


def participants(output: Path, bids: Path, labels: list[str]) -> None:
    layout = Layout.of(output)
    for sentence in make_participant_pages(layout, bids, labels):
        print(sentence)
    pages = [page(layout, label) for label in labels for page in (participant_page, faces_page)]
    report(f"pages of {len(labels)} participants", [page for page in pages if page.is_file()])


def group(count: int, keep: Path | None = None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        layout = Layout.of(Path(folder))
        layout.shareable.mkdir()
        (layout.shareable / "dataset_description.json").write_text('{"Name": "none", "BIDSVersion": "1.10.0"}')
        for table, rows in group_tables(count).items():
            write_table(dataset_table(layout, table), table, rows)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
        path = make_group_page(layout)
        spent = resource.getrusage(resource.RUSAGE_SELF).ru_utime - before
        print(f"without imports and the making of tables: {spent:.1f} s CPU")
        if keep:
            shutil.copy(path, keep)
        report(f"group.html of {count} participants x {len(TOOLS)} tools", [path])


def group_tables(count: int) -> dict[str, list[Row]]:
    """Rows of all tables that the page of a group draws."""
    rng = np.random.default_rng(0)
    names = "suffix tool image_type scan gate".split()
    kinds = "images participants summary tools cmc roc calibration phenotype".split()
    tables: dict[str, list[Row]] = {f"group_{kind}": [] for kind in kinds}
    for place, tool in enumerate(TOOLS):
        about: Row = {"suffix": "T1w", "tool": tool}
        recovered, average = 2 + 0.1 * place + rng.normal(0, 0.3, count), 2.4 + rng.normal(0, 0.3, count)
        for number in range(count):
            person: Row = {"participant_id": f"sub-{number:04}", "tool": tool, "state": "used"}
            tables["group_images"].append({**person, "image": image_path(f"{number:04}")})
            figures = {"recovered_mm": float(recovered[number]), "average_mm": float(average[number])}
            figures |= {"recovered_type": "refaced_mean", "brain_removed_percent": float(rng.exponential(0.05))}
            figures |= {"face_verdict": "pass", "brain_verdict": "pass", "run_time_s": 20.0, "n_images": 1}
            tables["group_participants"].append({**person, "suffix": "T1w", **figures})
        row: Row = {**about, "n_images": count, "n_pairs": count, "n_judged": count, "recovered_type": "refaced_mean"}
        row |= {"headline_part": "removed", "face_recovered_mm": 1.2, "face_average_mm": 1.4}
        row |= {"recovered_mm": float(recovered.mean()), "average_mm": float(average.mean()), "difference_mm": -0.3}
        row |= {"difference_low_mm": -0.4, "difference_high_mm": -0.2, "difference_p_holm": 0.001, "n_looked_up": count}
        tables["group_summary"].append(row | {"rank1": 0.3, "rank1_chance": 1 / count, "rank1_p_holm": 0.001})
        for image_type in TYPES:
            kind = dict(zip(names, ("T1w", tool, image_type, "same", "passed"), strict=True))
            for rank in range(1, RANKS + 1):
                rates = {"rate": 1 - 0.7 / rank, "rate_low": 0.1, "rate_high": 0.9, "chance": rank / count}
                tables["group_cmc"].append({**kind, "rank": rank, **rates})
            tables["group_roc"] += [
                {**kind, "false_accept": float(false), "true_accept": float(false) ** 0.3} for false in FALSE_ACCEPT
            ]
        shown: Row = {**about, "kind": "bin", "part": "face", "gate": "passed", "area_share": 0.1}
        bins = [{**shown, "predicted_mm": 0.3 * n, "error_mm": 0.35 * n} for n in range(1, 8)]
        tables["group_calibration"] += bins
    for target in ("muscle_radiodensity_abdomen", "muscle_radiodensity_thigh"):
        shared: Row = {"suffix": "T1w", "target": target, "roi": "face", "model": "ridge", "spearman_rho": 0.4}
        shared |= {"rho_ci_low": 0.3, "rho_ci_high": 0.5, "p_permutation": 0.001, "p_holm": 0.01}
        shared |= {"rho_difference": 0.2, "difference_ci_low": 0.1, "difference_ci_high": 0.3}
        images = [(None, "original"), *((tool, kind) for tool in TOOLS for kind in TYPES)]
        tables["group_phenotype"] += [{**shared, "tool": tool, "image_type": kind} for tool, kind in images]
    return {name: [{k: v for k, v in row.items() if v is not None} for row in rows] for name, rows in tables.items()}


SETTLED = "new Promise((done) => setTimeout(() => requestAnimationFrame(() => done(1)), 500))"


def open_pages(pages: list[Path]) -> None:
    with tempfile.TemporaryDirectory() as profile, chromium(Path(profile)) as tab:
        for page in pages:
            before, wall = children_cpu(), time.time()
            tab.open(page)
            tab.run(SETTLED)
            spent, wall = children_cpu() - before, time.time() - wall - 0.5
            elements = tab.run("document.getElementsByTagName('*').length")
            print(
                f"{page.name}: {spent:.2f} s CPU, {wall:.1f} s wall, {elements} elements, {page.stat().st_size} bytes"
            )
            if tab.run("Boolean(document.querySelector('.viewer'))"):
                for sharp in (1, 2):
                    tab.call(
                        "Emulation.setDeviceMetricsOverride",
                        width=1280,
                        height=900,
                        deviceScaleFactor=sharp,
                        mobile=False,
                    )
                    tab.run("void document.querySelector('button[data-yaw=\"0\"]').click()")
                    tab.run(SETTLED)
                    size = tab.run("document.querySelector('.viewer canvas').width")
                    took = tab.run("document.querySelector('.viewer').dataset.milliseconds")
                    print(f"  two faces of {size} x {size} pixels: {took} ms")


def children_cpu() -> float:
    """CPU seconds of all processes below this one, so far."""
    below: dict[int, list[tuple[int, int]]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue  # it has ended
        below.setdefault(int(fields[1]), []).append((int(folder.name), int(fields[11]) + int(fields[12])))
    ticks, waiting = 0, [os.getpid()]
    while waiting:
        for process, own in below.get(waiting.pop(), []):
            ticks += own
            waiting.append(process)
    return ticks / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="what", required=True)
    of_participants = commands.add_parser("participant")
    of_participants.add_argument("output_dir", type=Path)
    of_participants.add_argument("bids_dir", type=Path)
    of_participants.add_argument("labels", nargs="*")
    of_group = commands.add_parser("group")
    of_group.add_argument("count", type=int, nargs="?", default=500, metavar="N")
    of_group.add_argument("--keep", type=Path, metavar="PAGE", help="a copy of the page, for `open`")
    commands.add_parser("open").add_argument("pages", type=Path, nargs="+", metavar="PAGE")
    options = parser.parse_args()
    if options.what == "open":
        open_pages(options.pages)
    elif options.what == "participant":
        participants(options.output_dir, options.bids_dir, options.labels)
    else:
        group(options.count, options.keep)


if __name__ == "__main__":
    main()
