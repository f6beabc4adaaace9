"""Flat numbers of a record become figures with errors, ends of their scale and changes, and back."""

import pytest

from hub_export.metrics import Figure, Measurement, flat_changes, flat_ends, measurements, same_scale


def test_figures_in_three_digits_with_their_error() -> None:
    assert f"{Figure(126.4, 23.96)}" == "126 ± 24" and str(Figure(0.12345)) == "0.123"
    assert f"{Figure(10.76, 7.6):+}" == "+10.8 ± 7.6" and f"{Figure(-0.5):+}" == "-0.5"
    assert str(Measurement(1.0, 0.25, photos=Figure(2.0))) == "1 ± 0.25"


def test_what_is_written_flat_is_read_again() -> None:
    ends = {"photos": {"style": 90.0, "style_error": 5.0, "content": 0.0}, "anime": {"style": -3.0, "style_error": 4.0}}
    flat = {"style": 60.0, "style_error": 20.0, "content": 0.1, "kid": 7.0}
    flat |= flat_ends(ends) | flat_changes({"style": (-0.8, 7.5)})
    assert measurements(flat) == {
        "style": Measurement(60.0, 20.0, Figure(90.0, 5.0), Figure(-3.0, 4.0), Figure(-0.8, 7.5)),
        "content": Measurement(0.1, photos=Figure(0.0)),
        "kid": Measurement(7.0),
    }
    assert measurements({}) == measurements(flat_ends(ends)) == {}, "the ends alone are no measurement"


@pytest.mark.parametrize("change", ["style", "style_photos", "style_anime"])
def test_another_scale_is_told(change: str) -> None:
    flat = {"style": 60.0, "style_photos": 90.0, "style_anime": -3.0}
    assert same_scale(flat, flat | {"content": 1.0}) and not same_scale(flat, flat | {change: 1.0})
