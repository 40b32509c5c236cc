"""What a mouth's profile tells of each place along it, row by row; lengths are in IOD, downwards."""

from __future__ import annotations

ROWS = ("upper", "lower", "edge", "gum", "lustre", "low_edge", "low_gum", "low_lustre", "tongue", "shade", "lean")
"""Upper and lower lip's edge; of the upper teeth where they end, where their gum ends, and how bright they are; of the lower teeth
where they begin and how bright they are; where the tongue begins; how much light comes there; and the cosine of
how steep the lips are there."""
UPPER, LOWER, EDGE, GUM, LUSTRE, LOW_EDGE, LOW_GUM, LOW_LUSTRE, TONGUE, SHADE, LEAN = range(len(ROWS))
