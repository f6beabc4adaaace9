"""The settings in which two experiments differ."""

from typing import Any

import gradio as gr

from animegan_app.catalog import Catalog, Offer
from animegan_app.charts import differences
from animegan_app.ui import components
from animegan_app.ui.components import Outputs
from animegan_app.ui.i18n import label, say

MAX_DIFFERENCES = 200


class Differences:
    """Two experiments to choose, and a table."""

    def __init__(self, catalog: Catalog):
        self.catalog = catalog
        experiments = self.catalog.experiments()
        names, (one, other) = components.experiment_choices(experiments, None), _first_two(experiments)
        gr.HTML(label("differences_about"))
        with gr.Row():
            self.first = gr.Dropdown(names, value=one, label=label("one"), min_width=260, elem_id="first")
            self.second = gr.Dropdown(names, value=other, label=label("other"), min_width=260, elem_id="second")
        self.table = gr.HTML(self.differ(one, other, None), elem_id="differences")

    def wire(self, known: gr.Textbox) -> None:
        """Says what follows from what. `known` changes when the catalog does."""
        chosen: list[Any] = [self.first, self.second]
        changed = [known.change, self.first.change, self.second.change]
        components.answer_in_turn(changed, self.differ, chosen, self.table)

    def renew(
        self, experiments: dict[str, list[Offer]], first: str | None, second: str | None, request: gr.Request
    ) -> Outputs:
        """Both choices, for what is on offer now."""
        names, (one, other) = components.experiment_choices(experiments, request), _first_two(experiments)
        return {self.first: components.renewed(names, first, one), self.second: components.renewed(names, second, other)}

    def differ(self, first: str | None, second: str | None, request: gr.Request | None) -> str:
        """HTML: the settings in which two experiments differ."""
        experiments = self.catalog.experiments()
        if first not in experiments or second not in experiments:
            return ""
        one, other = experiments[first][-1], experiments[second][-1]
        rows = differences(one.record, other.record)
        if not rows:
            return f"<p>{say('nothing_differs', request)}</p>"
        names = (one.name, other.name) if one.name != other.name else (one.experiment, other.experiment)
        table = components.table([say("setting", request), *names], rows[:MAX_DIFFERENCES])
        if len(rows) > MAX_DIFFERENCES:
            table += f"<p>{say('more', request, count=len(rows) - MAX_DIFFERENCES)}</p>"
        return table


def _first_two(experiments: dict[str, list[Offer]]) -> tuple[str | None, str | None]:
    first, second = (*list(experiments)[:2], None, None)[:2]
    return first, second
