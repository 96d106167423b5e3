"""Which figures a group's tables give, each with words for those who do not see it; or why there is none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from bids_refacer.dataset.rows.group_people import CmcRow, PhenotypeRow, RocRow
from bids_refacer.reports import group_figures as draw
from bids_refacer.reports.group_tables import (
    GroupTables,
    by_tool,
    column,
    headline_part,
    matching,
    of_suffix,
    shown_phenotypes,
)
from bids_refacer.reports.page import shown
from bids_refacer.reports.parts.recognition_plots import crowd_plot, recognition_plot
from bids_refacer.reports.theme import Panel, Plot
from bids_refacer.surfaces.region import PLACES
from bids_refacer.wording import counted

BRAIN_LIMITS = (0.1, 5.0)  # percent: the verdict's, by default
_KIND_OF_FACE = {"defaced": "defaced", "average": "average", "refaced": "recovered", "refaced_mean": "recovered"}
_CURVES = ("recovered", "average", "defaced")
CurveRow = TypeVar("CurveRow", CmcRow, RocRow)


@dataclass(frozen=True)
class CurveAxes(Generic[CurveRow]):
    """How rows of a table become curves: coordinates of a row, what guessing gives there, and the axes' labels."""

    x: Callable[[CurveRow], float | None]
    y: Callable[[CurveRow], float | None]
    chance: Callable[[CurveRow], float | None] | None  # None: as much as x
    x_label: str
    y_label: str
    log: bool


def group_plots(tables: GroupTables, suffix: str) -> list[Plot]:
    """All plots of one kind of image."""
    makers = (
        _differences,
        _paired,
        _cmc,
        _roc,
        recognition_plot,
        crowd_plot,
        _phenotypes,
        _calibration,
        _brain,
        _trade,
    )
    return [make(of_suffix(tables, suffix)) for make in makers]


def _place(tables: GroupTables) -> str:
    """Where the distances of a summary were measured, in words."""
    return PLACES[headline_part(tables.summary)]


def _differences(tables: GroupTables) -> Plot:
    panels: list[Panel] = []
    rows = [row for row in tables.summary if row.difference_mm is not None]
    if rows:
        bounds = column(x for row in rows for x in (row.difference_mm, row.difference_low_mm, row.difference_high_mm))
        estimates: list[draw.Estimate] = [
            (str(row.tool), "recovered", float(middle), float(low), float(high))
            for row, (middle, low, high) in zip(rows, bounds.reshape(-1, 3), strict=True)
        ]
        alt = "Recovered minus average face. " + "; ".join(
            f"{row.tool} {shown(row.difference_mm)} mm, {shown(row.difference_low_mm)} to "
            f"{shown(row.difference_high_mm)}"
            for row in rows
        )
        panels.append(Panel(draw.estimates_figure("", estimates, 0.0, "recovered minus average (mm)"), alt))
    return Plot(
        name="differences",
        title="Does the attack beat an average face?",
        table="group_summary",
        caption="Distance of the recovered face to the true one minus that of an average face in its place, "
        f"{_place(tables)}, mean over participants with 95 % bootstrap interval. Left of 0: the attack comes nearer.",
        panels=panels,
        if_none="There is no test: fewer than two participants have a recovered face that counts.",
    )


def _paired(tables: GroupTables) -> Plot:
    panels: list[Panel] = []
    rows = [row for row in tables.participants if row.recovered_mm is not None]
    limit = 1.05 * float(column(x for row in rows for x in (row.average_mm, row.recovered_mm)).max()) if rows else 0.0
    for tool, people in by_tool(rows):
        average, recovered = column(row.average_mm for row in people), column(row.recovered_mm for row in people)
        alt = (
            f"{tool}: {counted(len(people), 'participant')}. Mean distance of the average face {average.mean():.2f} "
            f"mm, of the recovered face {recovered.mean():.2f} mm."
        )
        points = [
            (float(x), float(y), row.participant_id)
            for row, *ends in zip(people, average, recovered, strict=True)
            for x, y in enumerate(ends)
        ]
        panels.append(Panel(draw.paired_figure(tool, average, recovered, limit), alt, points))
    return Plot(
        name="paired",
        title="Distances, participant by participant",
        table="group_participants",
        caption=f"Mean absolute surface distance to the true face, {_place(tables)}. Each line is a "
        "participant, the bold one the mean; lines that fall show a face that the attack recovered better than an "
        "average does.",
        panels=panels,
        if_none="No participant has a recovered and an average face that count.",
        kinds=("average", "recovered"),
    )


def _cmc(tables: GroupTables) -> Plot:
    axes: CurveAxes[CmcRow] = CurveAxes(
        x=lambda row: row.rank,
        y=lambda row: row.rate,
        chance=lambda row: row.chance,
        x_label="faces looked at (rank)",
        y_label="share found",
        log=True,
    )
    title = "Finding a person among all: cumulative match curves"
    return Plot(
        name="cmc",
        title=title,
        table="group_cmc",
        caption="Share of participants whose own true face is among the nearest faces of the gallery. Dotted: chance. "
        "Probes of the same scan, images that count.",
        panels=_curve_panels(title, tables.cmc, axes),
        if_none=_NO_CURVES,
        kinds=_CURVES,
    )


def _roc(tables: GroupTables) -> Plot:
    axes: CurveAxes[RocRow] = CurveAxes(
        x=lambda row: row.false_accept,
        y=lambda row: row.true_accept,
        chance=None,
        x_label="others accepted",
        y_label="own accepted",
        log=False,
    )
    title = "Telling one person from another: ROC curves"
    return Plot(
        name="roc",
        title=title,
        table="group_roc",
        caption="Share of own faces accepted against share of others' faces accepted, over all thresholds. "
        "Dotted: chance.",
        panels=_curve_panels(title, tables.roc, axes),
        if_none=_NO_CURVES,
        kinds=_CURVES,
    )


_NO_CURVES = (
    "Nobody was looked up: that needs the face maps of two or more participants (identifiable/), which "
    "--no-keep-refaced removes, and a defaced image that counts."
)


def _curve_panels(title: str, rows: Sequence[CurveRow], axes: CurveAxes[CurveRow]) -> list[Panel]:
    """A figure for each tool, with a curve for each kind of face."""
    panels = []
    for tool, of_tool in by_tool(matching(rows, scan="same", gate="passed")):
        curves: dict[str, draw.Curve] = {}
        for image_type, kind in _KIND_OF_FACE.items():  # the mean image, where there is one, replaces the samples
            if points := matching(of_tool, image_type=image_type):
                curves[kind] = column(map(axes.x, points)), column(map(axes.y, points))
        longest = max((x for x, _ in curves.values()), key=len)
        first_kind = matching(of_tool, image_type=of_tool[0].image_type)
        chance = longest, (longest if axes.chance is None else column(map(axes.chance, first_kind)))
        alt = f"{tool}: " + ", ".join(f"{kind} {y[0]:.2f} at {x[0]:g}" for kind, (x, y) in curves.items())
        figure = draw.curves_figure(tool, curves, chance, x=axes.x_label, y=axes.y_label, log=axes.log)
        panels.append(Panel(figure, f"{title}. {alt}"))
    return panels


def _phenotypes(tables: GroupTables) -> Plot:
    phenotypes = shown_phenotypes(tables.phenotypes)
    method = "convolutional network" if matching(phenotypes, model="cnn") else "ridge regression"
    rows = [row for row in phenotypes if row.spearman_rho is not None]
    panels = []
    for target in dict.fromkeys(str(row.target) for row in rows):
        estimates = [_correlation(row) for row in matching(rows, target=target)]
        alt = f"{target}: " + "; ".join(f"{name} {rho:.2f}" for name, _, rho, _, _ in estimates)
        panels.append(Panel(draw.estimates_figure(target, estimates, 0.0, "Spearman's rho"), alt))
    return Plot(
        name="phenotypes",
        title="What science is left in the face",
        table="group_phenotype",
        caption=f"Rank correlation of predicted and observed phenotype, from facial voxels ({method}), with its "
        "95 % interval, calibrated by permutation (a bootstrap interval, which is too narrow, where there were "
        "fewer than 39 permutations).",
        panels=panels,
        if_none="No phenotype was predicted: there is no table of phenotypes with a column that --target names, too "
        "few participants have one, or facial voxels were not kept (--no-keep-refaced). What defacing costs in science "
        "is then unknown, not zero.",
        kinds=("original", "defaced", "average", "recovered"),
    )


def _correlation(row: PhenotypeRow) -> draw.Estimate:
    """The correlation of a row with its interval."""
    kind = {"original": "original", **_KIND_OF_FACE}[str(row.image_type)]
    name = " ".join(filter(None, (row.tool, str(row.image_type).replace("_", " "))))
    rho, low, high = column((row.spearman_rho, row.interval.low, row.interval.high)).tolist()
    return name, kind, rho, low, high


def _calibration(tables: GroupTables) -> Plot:
    panels = []
    for tool, bins in by_tool(matching(tables.calibration, kind="bin", part="face", gate="passed")):
        predicted, error = column(row.predicted_mm for row in bins), column(row.error_mm for row in bins)
        alt = f"{tool}: " + ", ".join(f"{p:.2f} predicted {e:.2f} real" for p, e in zip(predicted, error, strict=True))
        share = column(row.area_share for row in bins)
        panels.append(Panel(draw.calibration_figure(tool, predicted, error, share), alt))
    return Plot(
        name="calibration",
        title="Does the spread of the samples tell how wrong they are?",
        table="group_calibration",
        caption="Real against predicted error of the recovered skin, whole face. Above the dotted line the samples are "
        "surer than they should be.",
        panels=panels,
        if_none="One face was drawn for each image, so there is no spread: --num-samples 2 or more gives one.",
    )


def _brain(tables: GroupTables) -> Plot:
    panels = []
    rows = [row for row in tables.participants if row.brain_removed_percent is not None]
    removed = {tool: column(row.brain_removed_percent for row in people) for tool, people in by_tool(rows)}
    if removed:
        largest = ", ".join(f"{tool} {percent.max():.2f}" for tool, percent in removed.items())
        figure = draw.strips_figure(list(removed), list(removed.values()), BRAIN_LIMITS, "brain removed (%)")
        names = [row.participant_id for _, people in by_tool(rows) for row in people]
        points = [(x, y, name) for (x, y), name in zip(draw.strip_points(figure, len(removed)), names, strict=True)]
        panels.append(Panel(figure, f"Largest percentage removed: {largest}", points))
    return Plot(
        name="brain",
        title="How much brain was cut",
        table="group_participants",
        caption="Percentage of the brain that was removed, a point for each participant. Dotted: the default limits of "
        f"the verdict ({BRAIN_LIMITS[0]:g} % warns, {BRAIN_LIMITS[1]:g} % fails).",
        panels=panels,
        if_none="There is no defacing.tsv with figures: whether a brain was cut is not known.",
    )


def _trade(tables: GroupTables) -> Plot:
    rows = [row for row in tables.summary if row.recovered_mm is not None]
    rhos = matching(shown_phenotypes(tables.phenotypes), image_type="defaced")
    target = str(rhos[0].target) if rhos else ""
    utility = {row.tool: row.spearman_rho for row in matching(rhos, target=target) if row.spearman_rho is not None}
    if utility:
        label = f"rho of {target}, defaced"
        right = f"Right: more of the signal of {target} is left in the defaced image."
    else:
        label = "head kept (%)"
        right = "Right: more of the head is kept (no phenotype was predicted, which would say more)."
        utility = {
            row.tool: 100 - row.head_removed_median_percent
            for row in rows
            if row.head_removed_median_percent is not None
        }
    panels = []
    rows = [row for row in rows if row.tool in utility]
    if rows:
        x, y = column(utility[row.tool] for row in rows), column(row.recovered_mm for row in rows)
        names = [str(row.tool) for row in rows]
        alt = "; ".join(f"{n}: {label} {a:.2f}, {b:.2f} mm" for n, a, b in zip(names, x, y, strict=True))
        panels.append(Panel(draw.trade_figure(names, x, y, label, "recovered to true face (mm)"), alt))
    return Plot(
        name="trade",
        title="Privacy against utility",
        table="group_summary",
        caption=f"One point for each tool. Up: the recovered face stays farther from the true one, {_place(tables)}. "
        f"{right}",
        panels=panels,
        if_none="No tool has figures of both privacy and utility.",
    )
