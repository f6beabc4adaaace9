"""The second tab: one photo by many checkpoints, the course of an experiment, what differs between two.

Each is a class in a file of its own. Making one lays it out where it is made; `wire` says what follows from what, once all
are there; `renew` is what its choices become when the catalog has changed.
"""

from typing import Any

import gradio as gr

from animegan_app import uploads
from animegan_app.studio import Studio
from animegan_app.ui import parts
from animegan_app.ui.compare.course import Course
from animegan_app.ui.compare.differences import Differences
from animegan_app.ui.compare.grid import Grid
from animegan_app.ui.parts import Outputs
from animegan_app.ui.stylize import Stylize

CSS = """
#compare h2 { font-size: 1.15rem; font-weight: 600; margin: 1.2rem 0 0; }
#grid .grid-wrap { max-height: 80vh; }
#grid .thumbnail-lg { aspect-ratio: auto; }
#grid .caption-label { white-space: normal; text-align: right; font-size: .72rem; padding: .1rem .35rem; }
#grid .grid-container { grid-template-columns: repeat(auto-fill, minmax(min(260px, 100%), 1fr)); }
#grid-status, #course-status { min-height: 3.4rem; }
#compare .stop { display: none; }
#compare:not(:has(#grid-status .error)):has(#grid-status [data-testid="status-tracker"]:not(.hide)) #grid-cancel,
#compare:not(:has(#course-status .error)):has(#course-status [data-testid="status-tracker"]:not(.hide)) #course-cancel {
  display: block;
}
.course { margin: 0; }
.course input { width: 100%; accent-color: var(--color-accent); margin: .6rem 0 0; }
.course img { width: 100%; max-height: 70vh; object-fit: contain; margin: 0; }
.course figcaption { text-align: center; margin: 0; }
@media (max-width: 640px) { #grid .grid-wrap { max-height: none; } }
"""


class Compare:
    """The tab.

    Args:
        studio: what draws.
        stylize: whose photo is taken over.
        known: changes when the catalog does.
    """

    def __init__(self, studio: Studio, stylize: Stylize, known: gr.Textbox):
        self.catalog = studio.catalog
        self.grid, self.course, self.differences = Grid(studio), Course(studio), Differences(studio.catalog)
        photo = self.grid.photo
        stylize.photo.change(
            lambda given: {photo: given and str(uploads.take(given))}, stylize.photo, photo, preprocess=False, **parts.QUICK
        )
        listed: list[Any] = [self.grid.chosen, self.course.experiment, self.differences.first, self.differences.second]
        known.change(self.renew, listed, listed, preprocess=False, **parts.QUICK)
        self.grid.wire()
        self.course.wire(photo, self.grid.longest_side)
        self.differences.wire(known)

    def renew(
        self, keys: list[str] | None, experiment: str | None, first: str | None, second: str | None, request: gr.Request
    ) -> Outputs:
        """All dropdowns, for what is on offer now."""
        experiments = self.catalog.experiments()
        return {
            **self.grid.renew(experiments, keys, request),
            **self.course.renew(experiments, experiment, request),
            **self.differences.renew(experiments, first, second, request),
        }
