"""Which figures a group's tables give, each with words for those who do not see it; or why there is none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure

from bids_refacer.reports import group_figures as draw
from bids_refacer.reports.answers import value
from bids_refacer.reports.page import shown
from bids_refacer.reports.rows import Row
from bids_refacer.reports.theme import to_svg

Tables = Mapping[str, Sequence[Row]]
_PROBES = {"defaced": "defaced", "average": "average", "refaced": "recovered", "refaced_mean": "recovered"}
BRAIN_LIMITS = (0.1, 5.0)  # percent: the verdict's, by default


@dataclass
class Plot:
    """A heading with figures, or with a sentence in their place."""

    name: str
    title: str
    table: str
    caption: str
    panels: list[tuple[Figure, str]] = field(default_factory=list)
    missing: str = ""
    kinds: tuple[str, ...] = ()

    def drawn(self, prefix: str) -> list[Markup]:
        """The figures as SVG elements; `prefix` keeps ids of several kinds of image apart."""
        return [Markup(to_svg(f, f"{prefix}-{self.name}-{n}", alt)) for n, (f, alt) in enumerate(self.panels)]


def of(rows: Sequence[Row], **wanted: str | None) -> list[Row]:
    """Rows that have the wanted cells."""
    return [row for row in rows if all(row.get(name) == cell for name, cell in wanted.items())]


def from_faces(phenotypes: Sequence[Row]) -> list[Row]:
    """Rows of group_phenotype that pages show: facial voxels by ridge regression, by the network where it is alone."""
    rows = of(phenotypes, roi="face")
    return of(rows, model="ridge") or of(rows, model="cnn")


def column(rows: Sequence[Row], name: str) -> np.ndarray:
    """A column as (n,) float; NaN for what is missing."""
    return np.array([np.nan if (known := value(row, name)) is None else known for row in rows])


def group_plots(tables: Tables, suffix: str) -> list[Plot]:
    """All plots of one kind of image."""
    own = {name: [row for row in rows if row.get("suffix") == suffix] for name, rows in tables.items()}
    return [make(own) for make in (_differences, _paired, _cmc, _roc, _phenotypes, _calibration, _brain, _trade)]


def _tools(rows: Sequence[Row]) -> Iterator[tuple[str, list[Row]]]:
    for tool in sorted({str(row["tool"]) for row in rows if row.get("tool")}):
        yield tool, of(rows, tool=tool)


def _differences(tables: Tables) -> Plot:
    plot = Plot("differences", "Does the attack beat an average face?", "group_summary",
                "Distance of the recovered face to the true one minus that of an average face in its place, mean over "
                "participants with 95 % bootstrap interval. Left of 0: the attack comes nearer.")  # fmt: skip
    rows = [row for row in tables["group_summary"] if value(row, "difference_mm") is not None]
    if not rows:
        plot.missing = "There is no test: fewer than two participants have a recovered face that counts."
        return plot
    names = ("difference_mm", "difference_low_mm", "difference_high_mm")
    estimates = [(str(row["tool"]), "recovered", *(float(row[name] or "nan") for name in names)) for row in rows]
    alt = "Recovered minus average face. " + "; ".join(
        f"{row['tool']} {shown(row['difference_mm'] or 'nan')} mm, {shown(row['difference_low_mm'] or 'nan')} to "
        f"{shown(row['difference_high_mm'] or 'nan')}" for row in rows
    )  # fmt: skip
    figure = draw.estimates_figure("", estimates, 0.0, "recovered minus average (mm)")  # type: ignore[arg-type]
    plot.panels.append((figure, alt))
    return plot


def _paired(tables: Tables) -> Plot:
    plot = Plot("paired", "Distances, participant by participant", "group_participants",
                "Mean absolute surface distance to the true face. Each line is a participant, the bold one the mean; "
                "lines that fall show a face that the attack recovered better than an average does.",
                kinds=("average", "recovered"))  # fmt: skip
    rows = [row for row in tables["group_participants"] if value(row, "recovered_mm") is not None]
    if not rows:
        plot.missing = "No participant has a recovered and an average face that count."
        return plot
    limit = 1.05 * float(max(column(rows, "average_mm").max(), column(rows, "recovered_mm").max()))
    for tool, own in _tools(rows):
        average, recovered = column(own, "average_mm"), column(own, "recovered_mm")
        alt = (
            f"{tool}: {len(own)} participants. Mean distance of the average face {average.mean():.2f} mm, of the "
            f"recovered face {recovered.mean():.2f} mm."
        )
        plot.panels.append((draw.paired_figure(tool, average, recovered, limit), alt))
    return plot


def _curves(plot: Plot, rows: Sequence[Row], x: str, y: str, words: tuple[str, str], *, log: bool, chance: str) -> Plot:
    rows = of(rows, scan="same", gate="passed")
    for tool, own in _tools(rows):
        curves = {}
        for probe, kind in _PROBES.items():  # the mean image, where there is one, in the place of the samples
            if known := of(own, image_type=probe):
                curves[kind] = column(known, x), column(known, y)
        longest = max((curve[0] for curve in curves.values()), key=len)
        guess = longest, (longest if chance == x else column(of(own, image_type=str(own[0]["image_type"])), chance))
        alt = f"{tool}: " + ", ".join(f"{kind} {curve[1][0]:.2f} at {curve[0][0]:g}" for kind, curve in curves.items())
        figure = draw.curves_figure(tool, curves, guess, x=words[0], y=words[1], log=log)
        plot.panels.append((figure, f"{plot.title}. {alt}"))
    if not plot.panels:
        plot.missing = (
            "Nobody was looked up: that needs the face maps of two or more participants (identifiable/), which "
            "--no-keep-refaced removes, and a defaced image that counts."
        )
    return plot


def _cmc(tables: Tables) -> Plot:
    plot = Plot("cmc", "Finding a person among all: cumulative match curves", "group_cmc",
                "Share of participants whose own true face is among the nearest faces of the gallery. Dotted: chance. "
                "Probes of the same scan, images that count.", kinds=("recovered", "average", "defaced"))  # fmt: skip
    words = ("faces looked at (rank)", "share found")
    return _curves(plot, tables["group_cmc"], "rank", "rate", words, log=True, chance="chance")


def _roc(tables: Tables) -> Plot:
    plot = Plot("roc", "Telling one person from another: ROC curves", "group_roc",
                "Share of own faces accepted against share of others' faces accepted, over all thresholds. "
                "Dotted: chance.", kinds=("recovered", "average", "defaced"))  # fmt: skip
    words = ("others accepted", "own accepted")
    return _curves(plot, tables["group_roc"], "false_accept", "true_accept", words, log=False, chance="false_accept")


def _phenotypes(tables: Tables) -> Plot:
    plot = Plot("phenotypes", "What science is left in the face", "group_phenotype",
                "Rank correlation of predicted and observed phenotype, from facial voxels (ridge regression), with its "
                "95 % interval, calibrated by permutation (a bootstrap interval, which is too narrow, where there were "
                "fewer than 39 permutations).", kinds=("original", "defaced", "average", "recovered"))  # fmt: skip
    rows = from_faces(tables["group_phenotype"])
    if any(row["model"] == "cnn" for row in rows):
        plot.caption = plot.caption.replace("ridge regression", "convolutional network")
    rows = [row for row in rows if value(row, "spearman_rho") is not None]
    for target in dict.fromkeys(str(row["target"]) for row in rows):
        known = of(rows, target=target)
        estimates: list[draw.Estimate] = []
        for row in known:
            kind = {"original": "original", **_PROBES}[str(row["image_type"])]
            name = " ".join(filter(None, (row["tool"], str(row["image_type"]).replace("_", " "))))
            interval = "ci" if value(row, "rho_calibrated_low") is None else "calibrated"
            low, high = (float(row[f"rho_{interval}_{end}"] or "nan") for end in ("low", "high"))
            estimates.append((name, kind, float(row["spearman_rho"] or "nan"), low, high))
        alt = f"{target}: " + "; ".join(f"{name} {rho:.2f}" for name, _, rho, _, _ in estimates)
        figure = draw.estimates_figure(target, estimates, 0.0, "Spearman's rho")
        plot.panels.append((figure, alt))
    if not rows:
        plot.missing = (
            "No phenotype was predicted: there is no table of phenotypes with a column that --target names, too few "
            "participants have one, or facial voxels were not kept (--no-keep-refaced). What defacing costs in science "
            "is then unknown, not zero."
        )
    return plot


def _calibration(tables: Tables) -> Plot:
    plot = Plot("calibration", "Does the spread of the samples tell how wrong they are?", "group_calibration",
                "Real against predicted error of the recovered skin, whole face. Above the dotted line the samples are "
                "surer than they should be.")  # fmt: skip
    rows = of(tables["group_calibration"], kind="bin", part="face", gate="passed")
    for tool, own in _tools(rows):
        predicted, error, share = (column(own, name) for name in ("predicted_mm", "error_mm", "area_share"))
        alt = f"{tool}: " + ", ".join(f"{p:.2f} predicted {e:.2f} real" for p, e in zip(predicted, error, strict=True))
        plot.panels.append((draw.calibration_figure(tool, predicted, error, share), alt))
    if not plot.panels:
        plot.missing = "One face was drawn for each image, so there is no spread: --num-samples 2 or more gives one."
    return plot


def _brain(tables: Tables) -> Plot:
    plot = Plot("brain", "How much brain was cut", "group_participants",
                "Percentage of the brain that was removed, a point for each participant. Dotted: the default limits of "
                f"the verdict ({BRAIN_LIMITS[0]:g} % warns, {BRAIN_LIMITS[1]:g} % fails).")  # fmt: skip
    rows = [row for row in tables["group_participants"] if value(row, "brain_removed_percent") is not None]
    if not rows:
        plot.missing = "There is no defacing.tsv with figures: whether a brain was cut is not known."
        return plot
    names, values = zip(*((tool, column(own, "brain_removed_percent")) for tool, own in _tools(rows)), strict=True)
    alt = "Largest percentage removed: " + ", ".join(f"{n} {v.max():.2f}" for n, v in zip(names, values, strict=True))
    figure = draw.strips_figure(names, values, BRAIN_LIMITS, "brain removed (%)")
    plot.panels.append((figure, alt))
    return plot


def _trade(tables: Tables) -> Plot:
    plot = Plot("trade", "Privacy against utility", "group_summary",
                "One point for each tool. Up: the recovered face stays farther from the true one. ")  # fmt: skip
    rows = [row for row in tables["group_summary"] if value(row, "recovered_mm") is not None]
    rhos = of(from_faces(tables["group_phenotype"]), image_type="defaced")
    target = str(rhos[0]["target"]) if rhos else ""
    utility = {row["tool"]: value(row, "spearman_rho") for row in of(rhos, target=target)}
    if any(known is not None for known in utility.values()):
        rows = [row for row in rows if utility.get(row["tool"]) is not None]
        x, label = np.array([utility[row["tool"]] for row in rows], dtype=float), f"rho of {target}, defaced"
        plot.caption += f"Right: more of the signal of {target} is left in the defaced image."
    else:
        rows = [row for row in rows if value(row, "head_removed_median_percent") is not None]
        x, label = 100 - column(rows, "head_removed_median_percent"), "head kept (%)"
        plot.caption += "Right: more of the head is kept (no phenotype was predicted, which would say more)."
    if not rows:
        plot.missing = "No tool has figures of both privacy and utility."
        return plot
    y, names = column(rows, "recovered_mm"), [str(row["tool"]) for row in rows]
    alt = "; ".join(f"{n}: {label} {a:.2f}, {b:.2f} mm" for n, a, b in zip(names, x, y, strict=True))
    plot.panels.append((draw.trade_figure(names, x, y, label, "recovered to true face (mm)"), alt))
    return plot
