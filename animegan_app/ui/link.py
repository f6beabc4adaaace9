"""What a page's address holds, so that who opens it sees the same: look, settings, tab and comparison; never the photo."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from animegan_app.stylize import DEFAULT_LONGEST_SIDE, LONGEST_SIDES, MOST_STRENGTH

TABS = ("stylize", "compare", "video", "experiments", "sources")
MAX_COMPARED = 24
"""Checkpoints of a comparison that an address names."""
MAX_TEXT = 4000
"""Characters of one value; more is no name of anything."""

WRITE = """(experiment, checkpoint, side, strength, colours, compared) => {
    const write = () => {
        const address = new URL(window.location), values = address.searchParams;
        const put = (name, value, usual) => {
            if (value === usual || value == null || value === "") values.delete(name);
            else values.set(name, value);
        };
        const tab = document.querySelector("#tabs [role='tab'][aria-selected='true']")?.id.replace(/-button$/, "");
        if (checkpoint) {
            put("experiment", experiment);
            put("checkpoint", checkpoint.split("/").pop());
        }
        put("side", side, SIDE);
        put("strength", strength, 100);
        put("colours", colours, 0);
        put("tab", tab, "stylize");
        put("compare", tab === "compare" ? (compared ?? []).slice(0, MOST).join(",") : "");
        window.history.replaceState(window.history.state, "", address);
    };
    clearTimeout(window.writing);
    window.writing = setTimeout(write, 300);
}""".replace("SIDE", str(DEFAULT_LONGEST_SIDE)).replace("MOST", str(MAX_COMPARED))
"""Puts what is chosen into the page's address; what is as at first stays out of it.

A moment later, as Safari lets a page write a hundred addresses in half a minute, and a slider has more places.
"""

COPY_LINK = """async () => {
    const text = window.location.href;
    const byHand = () => {
        const field = document.createElement("textarea");
        field.value = text;
        document.body.append(field);
        field.select();
        const done = document.execCommand("copy");
        field.remove();
        if (!done) throw new Error();
    };
    const copy = async () => { try { await navigator.clipboard.writeText(text); } catch { byHand(); } };
    return `${await copy().then(() => "link_copied", () => "not_copied")} ${Date.now()}`;
}"""
"""Where a page is not secure, as on a home network, the browser has no clipboard for programs, but the older command."""


@dataclass(frozen=True)
class Link:
    """What an address asks for; whatever is no value of its kind is None or empty, as if it were not there.

    Args:
        experiment, checkpoint: names, which may be on offer or not.
        side: one of `LONGEST_SIDES`.
        strength, colours: percent.
        tab: one of `TABS`.
        compared: keys of checkpoints, which may be on offer or not.
    """

    experiment: str = ""
    checkpoint: str = ""
    side: int | None = None
    strength: float | None = None
    colours: float | None = None
    tab: str | None = None
    compared: tuple[str, ...] = ()

    @classmethod
    def of(cls, values: Mapping[str, str]) -> "Link":
        """Reads the part of an address behind the question mark, which may say anything."""
        side = _number(values.get("side"), min(LONGEST_SIDES), max(LONGEST_SIDES))
        tab = values.get("tab")
        compared = [key for key in _text(values.get("compare")).split(",") if key]
        return cls(
            experiment=_text(values.get("experiment")),
            checkpoint=_text(values.get("checkpoint")),
            side=int(side) if side in LONGEST_SIDES else None,
            strength=_number(values.get("strength"), 0, MOST_STRENGTH),
            colours=_number(values.get("colours"), 0, 100),
            tab=tab if tab in TABS else None,
            compared=tuple(dict.fromkeys(compared))[:MAX_COMPARED],
        )


def _text(value: object) -> str:
    return value if isinstance(value, str) and len(value) <= MAX_TEXT else ""


def _number(value: object, least: float, most: float) -> float | None:
    try:
        number = float(_text(value)[:20])
    except ValueError:
        return None
    return number if math.isfinite(number) and least <= number <= most else None
