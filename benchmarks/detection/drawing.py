"""Charts over time as SVG: panels under one another that share their axis of seconds."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple
from xml.sax.saxutils import escape

import numpy as np

from benchmarks.detection.scoring import Alert
from benchmarks.detection.traffic import Rates

LEFT, RIGHT, TOP = 185, 20, 46
WIDTH = 1000
PANEL, GAP, ROW = 150, 34, 18
INK, PALE = "#1f2937", "#d1d5db"


class Line(NamedTuple):
    """Values over time: NaN leaves a gap.

    Attributes:
        name: what they are.
        seconds: when.
        values: as many.
        colour: of the line.
        filled: whether it is filled down to 0.
    """

    name: str
    seconds: Rates
    values: Rates
    colour: str
    filled: bool = False


class Panel(NamedTuple):
    """Lines with one scale, from 0 on."""

    title: str
    lines: Sequence[Line]


class Chart:
    """A chart from one second to another.

    Args:
        title: above it.
        start: second of the run at its left.
        end: at its right.
        origin: second that is 0 on the axis.
        shaded: spans of seconds with a grey ground.
    """

    def __init__(
        self, title: str, start: int, end: int, origin: int, shaded: Iterable[tuple[int, int]]
    ) -> None:
        self._start, self._end, self._origin = start, end, origin
        self._parts = [_text(LEFT, 20, title, size=15)]
        self._shaded = list(shaded)
        self._y = TOP

    def add(self, panel: Panel) -> None:
        """Add a panel below those that are there."""
        top, bottom = self._y, self._y + PANEL
        values = np.concatenate([line.values for line in panel.lines])
        highest = float(np.nanmax(values)) if np.isfinite(values).any() else 0.0
        highest = 1.05 * highest or 1.0
        self._ground(top, bottom)
        self._parts.append(_text(LEFT, top - 6, panel.title))
        for share in (0.0, 0.5, 1.0):
            y = bottom - share * PANEL / 1.05
            self._parts.append(_text(LEFT - 6, y + 4, _number(share * highest / 1.05), end=True))
        for at, line in enumerate(panel.lines):
            self._parts.append(self._path(line, bottom, highest))
            x = WIDTH - RIGHT - 150 * (len(panel.lines) - at)
            self._parts.append(_text(x, top - 6, line.name, colour=line.colour))
        self._y = bottom + GAP

    def add_alerts(self, said: Mapping[str, Sequence[Alert]]) -> None:
        """Add a row for each detector, with bars while its alerts fired."""
        top, bottom = self._y, self._y + ROW * len(said)
        self._ground(top, bottom)
        for at, (name, alerts) in enumerate(said.items()):
            y = top + ROW * at
            self._parts.append(_text(LEFT - 6, y + 13, name, end=True))
            for alert in alerts:
                ended = self._end if alert.ended is None else alert.ended
                if ended < self._start or alert.fired > self._end:
                    continue
                x = self._x(alert.fired)
                width = max(2.0, self._x(ended) - x)
                self._parts.append(_box(x, y + 3, width, ROW - 6, "#b91c1c" if at == 0 else INK))
                if alert.fired >= self._start:
                    label = f"{alert.fired - self._origin:+d} s"
                    self._parts.append(_text(x + 3, y + 13, label, size=10, colour="#ffffff"))
        self._y = bottom + GAP

    def svg(self) -> str:
        """Return the chart."""
        y = self._y - GAP + 16
        for second in _ticks(self._start - self._origin, self._end - self._origin):
            x = self._x(second + self._origin)
            self._parts.append(_text(x, y, f"{second} s", middle=True))
        body = "\n".join(self._parts)
        height = self._y
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
            f'viewBox="0 0 {WIDTH} {height}" font-family="sans-serif">\n'
            f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>\n{body}\n</svg>\n'
        )

    def _x(self, second: float) -> float:
        share = (second - self._start) / (self._end - self._start)
        return LEFT + min(1.0, max(0.0, share)) * (WIDTH - LEFT - RIGHT)

    def _ground(self, top: float, bottom: float) -> None:
        for start, end in self._shaded:
            x = self._x(start)
            self._parts.append(_box(x, top, self._x(end) - x, bottom - top, "#f3f4f6"))
        width = WIDTH - LEFT - RIGHT
        self._parts.append(_box(LEFT, bottom, width, 1, PALE))

    def _path(self, line: Line, bottom: float, highest: float) -> str:
        points, pieces = [], []
        for second, value in zip(line.seconds.tolist(), line.values.tolist(), strict=True):
            if np.isfinite(value):
                points.append((self._x(second), bottom - PANEL * max(0.0, value) / highest))
            elif points:
                pieces.append(points)
                points = []
        pieces += [points] if points else []
        drawn = []
        for piece in pieces:
            at = " ".join(f"{x:.1f},{y:.1f}" for x, y in piece)
            if line.filled:
                first, last = piece[0][0], piece[-1][0]
                at = f"{first:.1f},{bottom} {at} {last:.1f},{bottom}"
                drawn.append(f'<polygon points="{at}" fill="{line.colour}"/>')
            else:
                style = f'fill="none" stroke="{line.colour}" stroke-width="1.5"'
                drawn.append(f'<polyline points="{at}" {style}/>')
        return "\n".join(drawn)


def _ticks(start: int, end: int) -> range:
    step = next(each for each in (10, 30, 60, 300, 900, 3600, 10**9) if (end - start) / each <= 12)  # noqa: PLR2004 - labels that fit
    return range(-(-start // step) * step, end + 1, step)


def _number(value: float) -> str:
    return f"{value:.3g}"


def _box(x: float, y: float, width: float, height: float, colour: str) -> str:
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{colour}"/>'
    )


def _text(  # noqa: PLR0913 - named where they are given
    x: float,
    y: float,
    text: str,
    *,
    size: int = 12,
    colour: str = INK,
    end: bool = False,
    middle: bool = False,
) -> str:
    anchor = "end" if end else "middle" if middle else "start"
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{colour}" '
        f'text-anchor="{anchor}">{escape(text)}</text>'
    )
