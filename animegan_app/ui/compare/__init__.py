"""The second tab: photos by checkpoints, and folded below it the course of an experiment, a blind test, and what differs.

Each is a class in a file of its own. Making one lays it out where it is made; `wire` says what follows from what, once all
are there; `renew` is what its choices become when the catalog has changed. All of them draw the photos of the grid.
"""

from typing import Any

import gradio as gr

from animegan_app import uploads
from animegan_app.studio import Studio
from animegan_app.ui import components
from animegan_app.ui.compare import grid, viewer
from animegan_app.ui.compare.blind import Blind
from animegan_app.ui.compare.course import Course
from animegan_app.ui.compare.differences import Differences
from animegan_app.ui.compare.grid import Grid
from animegan_app.ui.components import Outputs
from animegan_app.ui.i18n import label
from animegan_app.ui.stylize import Stylize

CSS = f"""
#grid-status, #course-status, #blind-status {{ min-height: 2rem; }}
.blind {{ outline-offset: 4px; text-align: center; }}
.blind img {{ object-fit: contain; margin: 0; }}
.blind .original {{ width: auto; height: 24vh; max-width: 100%; margin: 0 auto .5rem; }}
.blind .sides {{ display: grid; grid-template-columns: 1fr 1fr; gap: .5rem; }}
.blind .sides[hidden] {{ display: none; }}
.blind .sides img {{ width: 100%; height: auto; max-height: 56vh; }}
.blind .sides button {{ margin: 0; padding: 0; border: 2px solid transparent; border-radius: 8px; overflow: hidden; }}
.blind .sides button:is(:hover, :focus-visible) {{ border-color: var(--color-accent); }}
.blind .neither {{ margin: .6rem; padding: .4rem 1rem; min-height: 2.5rem; border-radius: 8px;
                   border: 1px solid var(--border-color-primary); }}
.blind .verdict a {{ display: inline-block; padding: .4rem; }}
#compare .stop, #get-sheet:disabled {{ display: none; }}
#compare:not(:has(#grid-status .error)):has(#grid-status [data-testid="status-tracker"]:not(.hide)) #grid-cancel,
#compare:not(:has(#blind-status .error)):has(#blind-status [data-testid="status-tracker"]:not(.hide)) #blind-cancel,
#compare:not(:has(#course-status .error)):has(#course-status [data-testid="status-tracker"]:not(.hide)) #course-cancel {{
  display: block;
}}
#compare:has(#blind-status [data-testid="status-tracker"]:not(.hide)) #blind {{ min-height: min(78vh, 620px); }}
#compare:has(#course-status [data-testid="status-tracker"]:not(.hide)) #course {{ min-height: 50vh; }}
.course {{ margin: 0; }}
.course input {{ width: 100%; min-height: 24px; accent-color: var(--color-accent); margin: .6rem 0 0; }}
.course img {{ width: 100%; height: auto; max-height: 70vh; object-fit: contain; margin: 0; }}
.course figcaption {{ text-align: center; margin: 0; }}
@media (max-width: 640px) {{
  .blind .original {{ height: 16vh; }}
  .blind .sides {{ grid-template-columns: 1fr; }}
  .blind .sides img {{ max-height: 29vh; }}
}}
{grid.CSS}{viewer.CSS}"""


class Compare:
    """The tab.

    Args:
        studio: what draws.
        stylize: whose photo is taken over.
        known: changes when the catalog does.
    """

    def __init__(self, studio: Studio, stylize: Stylize, known: gr.Textbox):
        self.catalog = studio.catalog
        gr.HTML(label("compare_about"))
        self.grid = Grid(studio)
        with gr.Accordion(label("blind_fold"), open=False, elem_id="blind-fold"):
            self.blind = Blind(studio)
        with gr.Accordion(label("course_fold"), open=False, elem_id="course-fold"):
            self.course = Course(studio)
        with gr.Accordion(label("differences_fold"), open=False, elem_id="differences-fold"):
            self.differences = Differences(studio.catalog)
        photos = self.grid.photos
        stylize.photo.change(self.take_over, [stylize.photo, photos], photos, preprocess=False, **components.QUICK)
        pairs: list[Any] = [self.blind.first, self.blind.second, self.differences.first, self.differences.second]
        listed: list[Any] = [self.grid.chosen, self.course.experiment, *pairs]
        components.answer_in_turn([known.change], self.renew, listed, listed)
        self.grid.wire()
        self.blind.wire(photos)
        self.course.wire(photos, self.grid.longest_side)
        self.differences.wire(known)

    def take_over(self, photo: dict[str, Any] | None, own: list[dict[str, Any]] | None) -> Any:
        """The first tab's photo, unless several were chosen here."""
        if not photo or len(own or ()) > 1:
            return gr.skip()
        return [str(uploads.take(photo))]

    def renew(
        self,
        keys: list[str] | None,
        experiment: str | None,
        blind_first: str | None,
        blind_second: str | None,
        first: str | None,
        second: str | None,
        request: gr.Request,
    ) -> Outputs:
        """All dropdowns, for what is on offer now."""
        experiments = self.catalog.experiments()
        return {
            **self.grid.renew(experiments, keys, request),
            **self.blind.renew(blind_first, blind_second, request),
            **self.course.renew(experiments, experiment, request),
            **self.differences.renew(experiments, first, second, request),
        }
