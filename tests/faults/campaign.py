"""Disturb runs at random moments, run them again, and compare the outputs with those of a run that nobody disturbed.

`make test-faults` runs it with KILLS kills, 20 full disks and 5 times 4 writers at once; a campaign that is stopped
goes on where it was. One line of JSON for each trial is in FOLDER/trials.jsonl; the tables that it prints are for
docs/reliability.md.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]

from comparing import differences  # noqa: E402
from runs import prepare  # noqa: E402
from trials import LEVELS, TWO, Place, Undisturbed, full_disk, kill, kilobytes, small_disk, writers  # noqa: E402

_WEIGHED = ("participant",) * 7 + ("others",) * 5 + ("group",) * 8
Trial = Callable[[], dict[str, Any]]


def main() -> int:
    options = _options()
    folder: Path = options.folder.absolute()
    for name in ("out", "work"):
        if (mounted := folder / "trials" / "now" / name).is_mount():  # a campaign that was killed left it
            subprocess.run(["umount", "-l", str(mounted)], check=True)
    prepare(folder)
    for name, labels in (("bids", ("01",)), ("bids-two", ("01", "02"))):
        _make_dataset(folder / name, labels)
    results = folder / "trials.jsonl"
    done = [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []
    known = {(trial["kind"], trial["number"]) for trial in done}
    for kind, number, trial in _all_trials(folder, options):
        if (kind, number) not in known:
            done.append(trial())
            with results.open("a") as file:
                file.write(json.dumps(done[-1]) + "\n")
            print(json.dumps(done[-1]), flush=True)
    _print_tables(done)
    return int(any(_is_bad(trial) for trial in done))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200, help="kills in all, those of earlier calls included")
    parser.add_argument("--first", type=int, default=0, help="number of the first kill, to share kills between folders")
    parser.add_argument("--disks", type=int, default=20, help="full disks")
    parser.add_argument("--writers", type=int, default=5, help="times that four writers start at once")
    parser.add_argument("--folder", type=Path, default=Path(".cache/faults"))
    return parser.parse_args()


def _make_dataset(bids: Path, labels: tuple[str, ...]) -> None:
    from small_datasets import add_image, start_dataset

    if not bids.exists():
        start_dataset(bids)
        for label in labels:
            add_image(bids, f"sub-{label}_T1w")
            add_image(bids, f"sub-{label}_T2w")


def _all_trials(folder: Path, options: argparse.Namespace) -> Iterator[tuple[str, int, Trial]]:
    """Kills, full disks and writers in turn, so that a campaign that is cut short has some of each."""
    # as deep as `_undisturbed`: outputs name the way from them to the input
    bids, place = folder / "bids", folder / "trials" / "now"
    can_mount = options.disks == 0 or _can_mount(folder / "disk")
    for number in range(max(options.kills, options.disks * 10, options.writers * 40)):
        if options.first <= number < options.kills:
            level = "model" if number % 25 == 24 else random.Random(f"level {number}").choice(_WEIGHED)
            yield "kill", number, lambda n=number, at=level: kill(place, bids, n, at, _undisturbed(folder, at))
        disk, other = divmod(number, 10)
        if not other and disk < options.disks and can_mount:
            level = "others" if disk % 2 else "participant"
            yield "disk", disk, lambda n=disk, at=level: full_disk(place, bids, n, at, _undisturbed(folder, at))
        group, other = divmod(number, 40)
        if not other and group < options.writers:
            yield "writers", group, lambda n=group: writers(place, folder / "bids-two", n, _undisturbed(folder, TWO))


def _can_mount(folder: Path) -> bool:
    try:
        with small_disk(folder, 64):
            return True
    except (OSError, subprocess.CalledProcessError):
        print("Full disks are left out: nothing can be mounted here (be root, or call `unshare -rm`).", flush=True)
        return False


def _undisturbed(folder: Path, level: str) -> Undisturbed:
    """What a level gives when nobody disturbs it; made once.

    The outputs are those of a new process that remembers nothing. A fork that remembers must give the same.
    """
    own = folder / "undisturbed" / level.replace(" ", "-")
    seconds = own / "seconds.json"
    if not seconds.exists():
        shutil.rmtree(own, ignore_errors=True)
        bids = folder / ("bids-two" if level == TWO else "bids")
        new_s, work_kb = _make_undisturbed(own, bids, level, folder, new=level != "model")
        again = own.with_name(f"{own.name}-again")
        times = range(1 if level == "model" else 2)  # the first remembers
        fork_s = min(_make_undisturbed(again, bids, level, folder, new=False)[0] for _ in times)
        found = differences(own / "out", again / "out")
        if found.lost or found.wrong:
            raise SystemExit(f"Two undisturbed runs differ: {found}")
        seconds.write_text(json.dumps([fork_s, new_s, work_kb]))
        shutil.rmtree(again)
    fork_s, new_s, work_kb = json.loads(seconds.read_text())
    return Undisturbed(out=own / "out", work_kb=work_kb, fork_s=fork_s, new_s=new_s)


def _make_undisturbed(own: Path, bids: Path, level: str, folder: Path, *, new: bool) -> tuple[float, int]:
    """Run a level, both for `TWO`; returns its CPU time in seconds, and the most kB that the work folder held."""
    place = Place(own, bids)
    if level == "group":
        shutil.copytree(_undisturbed(folder, "participant").out, place.out)
        shutil.copytree(place.out, own / "before")
    taken, most = 0.0, 0
    for one in ("participant", "group") if level == TWO else (level,):
        run = place.start(one, new=new)
        while run.poll() is None:
            most = max(most, kilobytes(place.work))
            time.sleep(0.1)
        if run.code:
            raise SystemExit(f"The undisturbed run ended with {run.code}: see {place.said}")
        taken += run.cpu_s
    return taken, most


def _is_bad(trial: dict[str, Any]) -> bool:
    names = ("orphans", "code_again", "temporaries", "lost", "wrong", "half_written", "hung")
    return any(trial.get(name) for name in names)


def _print_tables(trials: list[dict[str, Any]]) -> None:
    head = "trials | lost | wrong | half-written | orphans | temporary files | failed | hung"
    print(f"\n| what | {head} |\n|" + "---|" * 9)
    groups = [("kill", level) for level in LEVELS] + [("disk", "output"), ("disk", "work"), ("writers", TWO)]
    for kind, name in groups:
        mine = [trial for trial in trials if trial["kind"] == kind and name in (trial["level"], trial.get("full"))]
        columns = ("lost", "wrong", "half_written", "orphans", "temporaries", "code_again", "hung")
        cells = [str(sum(bool(trial.get(column)) for trial in mine)) for column in columns]
        print(f"| {kind}, {name} | {len(mine)} | " + " | ".join(cells) + " |")
    kills = [trial for trial in trials if trial["kind"] == "kill"]
    for column in ("victim", "signal", "new"):
        print(", ".join(f"{key}: {count}" for key, count in sorted(Counter(str(t[column]) for t in kills).items())))
    half = sum(bool(trial["temporaries_between"]) for trial in kills)
    print(f"kills that left temporary files for the next run: {half}")
    print("tracebacks:", sum(trial["tracebacks"] for trial in trials))


if __name__ == "__main__":
    sys.exit(main())
