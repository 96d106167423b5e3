"""Mean descriptors laid out for comparison with `surfaces.face_matching.match`."""

from __future__ import annotations

import numpy as np


class DescriptorGallery:
    """Descriptors of the members of a gallery.

    Parameters
    ----------
    vectors : (g, d) float32, each of length 1 (`descriptors.mean_descriptor`); NaN where no face was found
    """

    def __init__(self, vectors: np.ndarray) -> None:
        self.known = ~np.isnan(vectors).any(axis=1)
        self.vectors = np.where(self.known[:, None], vectors, 0).astype(np.float32)

    def __len__(self) -> int:
        return len(self.vectors)

    def distances(self, probes: np.ndarray) -> np.ndarray:
        """One minus the cosine, 0 to 2: (b, d) -> (b, g) float32; infinite where one of both has no face."""
        seen = ~np.isnan(probes).any(axis=1)
        found = 1 - np.where(seen[:, None], probes, 0).astype(np.float32) @ self.vectors.T
        return np.where(seen[:, None] & self.known, np.maximum(found, 0), np.inf).astype(np.float32)

    def own_distances(self, probes: np.ndarray, own: np.ndarray) -> np.ndarray:
        """Distance of each probe to one member, summed in float64: (p,) float32."""
        seen = ~np.isnan(probes).any(axis=1) & self.known[own]
        cosine = np.einsum("pd,pd->p", np.nan_to_num(probes).astype(np.float64), self.vectors[own].astype(np.float64))
        return np.where(seen, np.maximum(1 - cosine, 0), np.inf).astype(np.float32)
