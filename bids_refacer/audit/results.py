"""What there is now of each image and tool that a run is about, read once from the output."""

from __future__ import annotations

from dataclasses import dataclass

from bids_refacer.audit.plan import Plan, tasks_of
from bids_refacer.dataset.details import DefaceDetails
from bids_refacer.dataset.images import HeadImage
from bids_refacer.dataset.records import Record, read_details, read_record


@dataclass(frozen=True, kw_only=True)
class Result:
    """One image and tool.

    `record` is None where they are not done; `deface` is what was reported of the defaced image, which may be there
    all the same.
    """

    image: HeadImage
    tool: str
    record: Record | None
    deface: DefaceDetails | None


def read_results(plan: Plan) -> list[Result]:
    """Results of all that the run is about, in the order of the input."""
    results = []
    for task in tasks_of(plan):
        record = read_record(task.names.record(task.tool))
        deface = record.deface if record else read_details(task.names.verdict(task.tool))
        results.append(Result(image=task.image, tool=task.tool, record=record, deface=deface))
    return results
