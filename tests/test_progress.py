"""The lines that a person follows a run by."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from bids_refacer.audit.progress import Progress, elapsed, recovered_words
from bids_refacer.dataset.rows.audit import DistanceRow


def test_progress() -> None:
    said: list[str] = []
    job = SimpleNamespace(
        node_name="sub_01_T1w", label="sub-01 T1w", tools=[SimpleNamespace(node_name="fslDeface", tool="fsl_deface")]
    )
    progress = Progress([job], said.append)
    node = SimpleNamespace(fullname="bids_refacer.sub_01_T1w.fslDeface.reface")
    progress.callback(node, "end")  # Nipype reports so the end of nodes that never ran
    progress.callback(node, "start")
    progress._started[node.fullname] -= 23.2
    progress.callback(node, "end")
    progress.callback(node, "start")
    progress.callback(node, "exception")
    cached = SimpleNamespace(fullname="bids_refacer.sub_01_T1w.brain")
    progress.callback(cached, "start")
    progress.callback(cached, "end")
    assert said == [
        "[0/1] sub-01 T1w fsl_deface: refaced in 23 s",
        "[1/1] sub-01 T1w fsl_deface: failed while refacing",
        "[1/1] sub-01 T1w: brain found by an earlier run",
    ]


def test_progress_says_what_came_of_a_stage_and_how_long_it_will_take() -> None:
    said: list[str] = []
    tools = [SimpleNamespace(node_name=name, tool=name) for name in ("a", "b")]
    jobs = [SimpleNamespace(node_name=f"sub_{number}", label=f"sub-{number}", tools=tools) for number in (1, 2)]
    words = {"verdict": "face removed", "record": "recovered to 0.89 mm"}
    progress = Progress(jobs, said.append, lambda image, tool, stage: words[stage.node])

    def pass_through(name: str, status: str = "end", took: float = 14.0) -> None:
        node = SimpleNamespace(fullname=f"run.{name}")
        progress.callback(node, "start")
        progress._started[node.fullname] -= took
        progress.callback(node, status)

    for name in ("sub_1.a.deface", "sub_1.a.verdict", "sub_1.a.publish_defaced"):
        pass_through(name)
    progress._began -= 60
    pass_through("sub_1.a.record")
    pass_through("sub_1.b.deface", "exception")
    pass_through("sub_2.brain", "exception")
    assert said == [
        "[0/4] sub-1 a: defaced in 14 s: face removed",
        "[1/4] sub-1 a: recovered to 0.89 mm; about 3 min 0 s left",
        "[2/4] sub-1 b: failed while defacing; about 60 s left",
        "[4/4] sub-2: failed while finding the brain",
    ]


def test_the_recovered_face_in_words() -> None:
    about = {"participant_id": "sub-1", "image": "i", "tool": "t"}
    rows = [
        DistanceRow(**about, image_type=kind, part=part, masd_mm=mm)
        for part, add in (("face", 0.0), ("removed", 1.0))
        for kind, mm in (("average", 1.37 + add), ("refaced", 9.0), ("refaced_sample_mean", 0.89 + add))
    ]
    said = "recovered to 1.89 mm where the skin was removed (an average face: 2.37 mm)"
    assert recovered_words(rows) == said
    assert recovered_words(rows[:3]) == "recovered to 0.89 mm over the whole face (an average face: 1.37 mm)"
    assert recovered_words(rows[:2]) is None


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.42, "0.4 s"), (23.4, "23 s"), (125, "2 min 5 s"), (119.4, "119 s"), (9000, "2 h 30 min")]
)
def test_elapsed(seconds: float, text: str) -> None:
    assert elapsed(seconds) == text
