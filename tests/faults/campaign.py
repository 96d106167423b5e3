"""Kill runs at random moments, run them again, and compare the outputs with those of a run that nobody disturbed.

`make test-faults` runs it with KILLS kills; a campaign that is stopped goes on where it was. One line of JSON for each
kill is in FOLDER/kills.jsonl; the table that it prints is for docs/reliability.md.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parents[1]
sys.path.insert(0, str(TESTS))

from marked_processes import NAME, left_after, marked  # noqa: E402
from small_datasets import add_image, start_dataset  # noqa: E402

from bids_refacer import supervisor  # noqa: E402

SIGNALS = {"SIGKILL": signal.SIGKILL, "SIGTERM": signal.SIGTERM, "SIGINT": signal.SIGINT}
LEVELS = {
    "participant": ("participant",),
    "others": ("participant", "--apply-to-others"),
    "group": ("group",),
}
VICTIMS = ("main", "worker", "any")
_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{32}|\.matplotlib-.*")
_VARYING = ("logs", "running", "work")  # parts of paths
_TIMES = re.compile(r'"(RunTime|run_time_s|ModifiedNs)": [-\d.e+]+')


def main() -> int:
    options = _options()
    folder: Path = options.folder
    bids = folder / "bids"
    if not bids.exists():
        start_dataset(bids)
        add_image(bids, "sub-01_T1w")
        add_image(bids, "sub-01_T2w")
    results = folder / "kills.jsonl"
    done = len(results.read_text().splitlines()) if results.exists() else 0
    expected = {level: _undisturbed(folder, level) for level in LEVELS}
    for number in range(done, options.count):
        found = _trial(folder, number, expected)
        with results.open("a") as file:
            file.write(json.dumps(found) + "\n")
        print(json.dumps(found), flush=True)
    kills = [json.loads(line) for line in results.read_text().splitlines()]
    _print_table(kills)
    return int(any(_is_bad(kill) for kill in kills))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200, help="kills in all, those of earlier calls included")
    parser.add_argument("--folder", type=Path, default=Path(".cache/faults").absolute())
    return parser.parse_args()


def _start(folder: Path, out: Path, level: str, mark: str) -> subprocess.Popen[str]:
    environ = {**os.environ, NAME: mark, "PYTHONPATH": str(Path(supervisor.__file__).parents[1])}
    work = [] if level == "group" else ["-w", str(out.with_name("work")), "--deface-tools", "quickshear"]
    fixed = ["--skip-bids-validation", "--nprocs", "2", "--omp-nthreads", "1"]
    command = [sys.executable, str(TESTS / "stand_in_run.py"), str(folder / "bids"), str(out), *LEVELS[level]]
    with out.with_name("output.txt").open("a") as file:
        return subprocess.Popen([*command, *work, *fixed], env=environ, stdout=file, stderr=file, text=True)


def _undisturbed(folder: Path, level: str) -> Path:
    """The outputs of a run of a level that nobody disturbed; how long it took is in `seconds` beside them."""
    own = folder / f"undisturbed-{level}"
    if not (own / "seconds").exists():
        shutil.rmtree(own, ignore_errors=True)
        own.mkdir()
        if level == "group":
            shutil.copytree(_undisturbed(folder, "participant") / "out", own / "out")
        began = time.monotonic()
        code = _start(folder, own / "out", level, f"{level}-undisturbed").wait()
        if code:
            raise SystemExit(f"The undisturbed run ended with {code}: see {own}/output.txt")
        (own / "seconds").write_text(str(time.monotonic() - began))
    return own


def _trial(folder: Path, number: int, expected: dict[str, Path]) -> dict[str, Any]:
    """One kill, and the run after it."""
    draw = random.Random(number)
    level, victim = draw.choice(list(LEVELS)), draw.choice(VICTIMS)
    name, when = draw.choice(list(SIGNALS)), draw.random()
    own, mark = folder / "trial", f"kill-{number}-{os.getpid()}"
    shutil.rmtree(own, ignore_errors=True)
    own.mkdir()
    if level == "group":
        shutil.copytree(expected["participant"] / "out", own / "out")
    run = _start(folder, own / "out", level, mark)
    time.sleep(when * float((expected[level] / "seconds").read_text()))
    hit = _kill(run, mark, victim, SIGNALS[name], draw)
    code = run.wait(timeout=900)
    orphans = left_after(mark, 5)
    half = len(_temporaries(own / "out"))
    again = _start(folder, own / "out", level, mark + "-again").wait(timeout=900)
    differ = _differences(expected[level] / "out", own / "out")
    said = (own / "output.txt").read_text()
    return {
        "number": number,
        "level": level,
        "victim": hit,
        "signal": name,
        "share": round(when, 3),
        "code": code,
        "orphans": sorted(orphans.values()),
        "temporaries_after_kill": half,
        "code_again": again,
        "temporaries_after_next_run": len(_temporaries(own / "out")),
        "different": differ[:5],
        "tracebacks": said.count("Traceback"),
    }


def _kill(run: subprocess.Popen[str], mark: str, victim: str, number: int, draw: random.Random) -> str:
    """Send the signal to the main process, to one of its forks, or to any process of the run; says which."""
    others = sorted((pid, words) for pid, words in marked(mark).items() if pid != run.pid)
    if victim == "worker":
        others = [one for one in others if "stand_in_run" in one[1]]
    if victim == "main" or not others:
        run.send_signal(number)
        return "main"
    pid, words = draw.choice(others)
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return "ended"
    return "supervisor" if "supervisor.py" in words else "worker" if "stand_in_run" in words else "child"


def _temporaries(out: Path) -> list[Path]:
    return [path for path in out.rglob(".*") if _TEMPORARY.fullmatch(path.name)] if out.exists() else []


def _differences(expected: Path, got: Path) -> list[str]:
    """Files that are missing, added or different; of pages, which show times, only whether they are there."""
    ours, theirs = _files(expected), _files(got)
    names = set(ours) ^ set(theirs)
    same = set(ours) & set(theirs)
    return sorted(names | {name for name in same if _content(ours[name]) != _content(theirs[name])})


def _files(root: Path) -> dict[str, Path]:
    found = {path.relative_to(root).as_posix(): path for path in root.rglob("*") if path.is_file()}
    return {name: path for name, path in found.items() if not set(_VARYING) & set(Path(name).parts)}


def _content(path: Path) -> object:
    """The bytes of a file; of texts without the times that runs took."""
    if path.suffix == ".html":
        return None
    if path.suffix == ".tsv":
        header, *rows = [line.split("\t") for line in path.read_text().splitlines()]
        kept = [place for place, name in enumerate(header) if name != "run_time_s"]
        return [[row[place] for place in kept] for row in (header, *rows)]
    return _TIMES.sub("", path.read_text()) if path.suffix == ".json" else path.read_bytes()


def _is_bad(kill: dict[str, Any]) -> bool:
    return bool(kill["orphans"] or kill["code_again"] or kill["temporaries_after_next_run"] or kill["different"])


def _print_table(kills: list[dict[str, Any]]) -> None:
    print(
        "\n| level | kills | main, worker, other | half-written files | orphans | outputs different | left | failed |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for level in LEVELS:
        of_level = [kill for kill in kills if kill["level"] == level]
        hit = Counter(kill["victim"] if kill["victim"] in ("main", "worker") else "other" for kill in of_level)
        cells = [
            ", ".join(str(hit[name]) for name in ("main", "worker", "other")),
            sum(kill["temporaries_after_kill"] for kill in of_level),
            sum(bool(kill["orphans"]) for kill in of_level),
            sum(bool(kill["different"]) for kill in of_level),
            sum(kill["temporaries_after_next_run"] for kill in of_level),
            sum(bool(kill["code_again"]) for kill in of_level),
        ]
        print(f"| {level} | {len(of_level)} | " + " | ".join(map(str, cells)) + " |")


if __name__ == "__main__":
    sys.exit(main())
