"""Rows of the tables of the group level about people: found again, and their phenotypes predicted.

Columns, units and levels are described in ``data/columns/<table>.json``; None is ``n/a``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from bids_refacer.dataset.rows.table import Row


@dataclass(frozen=True, kw_only=True)
class IdentificationRow(Row):
    """How often people are found again by one type of face."""

    table: ClassVar[str] = "group_identification"

    suffix: str
    tool: str | None = None
    image_type: str | None = None
    scan: str | None = None
    gate: str | None = None
    n_participants: int | None = None
    n_probes: int | None = None
    n_missing: int | None = None
    n_gallery: int | None = None
    n_fillers: int | None = None
    n_reranked: int | None = None
    rank1: float | None = None
    rank1_low: float | None = None
    rank1_high: float | None = None
    rank1_chance: float | None = None
    rank5: float | None = None
    rank5_low: float | None = None
    rank5_high: float | None = None
    rank5_chance: float | None = None
    auc: float | None = None
    auc_low: float | None = None
    auc_high: float | None = None
    eer: float | None = None
    eer_low: float | None = None
    eer_high: float | None = None
    genuine_median_mm: float | None = None


@dataclass(frozen=True, kw_only=True)
class CmcRow(Row):
    """One rank of a cumulative match curve."""

    table: ClassVar[str] = "group_cmc"

    suffix: str
    tool: str | None = None
    image_type: str | None = None
    scan: str | None = None
    gate: str | None = None
    rank: int | None = None
    rate: float | None = None
    rate_low: float | None = None
    rate_high: float | None = None
    chance: float | None = None


@dataclass(frozen=True, kw_only=True)
class RocRow(Row):
    """One point of a receiver operating characteristic."""

    table: ClassVar[str] = "group_roc"

    suffix: str
    tool: str | None = None
    image_type: str | None = None
    scan: str | None = None
    gate: str | None = None
    false_accept: float | None = None
    true_accept: float | None = None


class RhoInterval(NamedTuple):
    """A 95 % confidence interval of Spearman's rho, and where it comes from: ``calibrated`` or ``bootstrap``."""

    low: float | None
    high: float | None
    kind: str


@dataclass(frozen=True, kw_only=True)
class PhenotypeRow(Row):
    """How well a phenotype is predicted from one type of image."""

    table: ClassVar[str] = "group_phenotype"

    suffix: str
    target: str | None = None
    units: str | None = None
    roi: str | None = None
    model: str | None = None
    tool: str | None = None
    image_type: str | None = None
    n_participants: int | None = None
    spearman_rho: float | None = None
    rho_bootstrap_mean: float | None = None
    rho_ci_low: float | None = None
    rho_ci_high: float | None = None
    rho_calibrated_low: float | None = None
    rho_calibrated_high: float | None = None
    p_permutation: float | None = None
    n_permutations: int | None = None
    rho_null_mean: float | None = None
    rho_null_sd: float | None = None
    r2: float | None = None
    mae: float | None = None
    n_pairs: int | None = None
    rho_difference: float | None = None
    difference_ci_low: float | None = None
    difference_ci_high: float | None = None
    p_bootstrap: float | None = None
    statistic: float | None = None
    p_meng: float | None = None
    p_permutation_difference: float | None = None
    p_value: float | None = None
    p_holm: float | None = None
    p_wilcoxon_replicates: float | None = None

    @property
    def interval(self) -> RhoInterval:
        """The interval to show: that from permutations, or the bootstrap's where there were too few permutations."""
        if self.rho_calibrated_low is None or math.isnan(self.rho_calibrated_low):
            return RhoInterval(self.rho_ci_low, self.rho_ci_high, "bootstrap")
        return RhoInterval(self.rho_calibrated_low, self.rho_calibrated_high, "calibrated")


@dataclass(frozen=True, kw_only=True)
class PredictionRow(Row):
    """The prediction for one participant."""

    table: ClassVar[str] = "group_phenotype_predictions"

    participant_id: str
    suffix: str
    target: str | None = None
    units: str | None = None
    roi: str | None = None
    model: str | None = None
    tool: str | None = None
    image_type: str | None = None
    observed: float | None = None
    observed_residual: float | None = None
    predicted_residual: float | None = None
