"""Whether what a test caused can be told in the app's other language too."""

from animegan_app.chinese import SENTENCES
from hub_export.sentences import Sentence


def translated(*told: object) -> None:
    """Fails unless all of some errors or sentences, with the sentences in them, has a Chinese version."""
    for each in told:
        sentence = Sentence.of(each)
        assert sentence.english in SENTENCES, f"animegan_app/chinese.py lacks {sentence.english!r}"
        translated(*(value for value in sentence.values.values() if isinstance(value, Sentence)))
