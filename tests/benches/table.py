"""Lines of the printed table."""

from dataclasses import dataclass


@dataclass
class Line:
    """A job's name and (wall s, CPU s, peak MB) here and in DuckDB; `limit` is the ratio of wall times to reach."""

    name: str
    ours: tuple
    theirs: tuple
    limit: float | None = None


HEADER = f"{'job':36} {'Sarsen wall / CPU s / peak MB':>30} {'DuckDB':>24} {'wall':>7} {'CPU':>7} {'peak':>7}"


def shown(line):
    left, right = ("{:.2f} / {:.2f} / {:.0f}".format(*side) for side in (line.ours, line.theirs))
    ratios = " ".join(f"{ours / max(theirs, 0.001):>6.2f}x" for ours, theirs in zip(line.ours, line.theirs))
    limit = f"  (to reach: {line.limit:.1f}x)" if line.limit else ""
    return f"{line.name:36} {left:>30} {right:>24} {ratios}{limit}"
