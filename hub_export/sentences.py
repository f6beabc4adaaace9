"""What a person is told: English, with its template and values at hand for who tells it in another language."""


class Sentence(str):
    """An English sentence, or a part of one, that knows how it was made.

    >>> Sentence("{place}: {file} is missing", place="runs/mine", file="README.md")
    'runs/mine: README.md is missing'

    Args:
        english: the template, with {names} of values; without any values a text, whose braces are braces.
        values: what stays as it is in any language, as names, numbers and a stranger's text do; or other Sentences.
    """

    english: str
    values: dict[str, object]

    def __new__(cls, english: str, /, **values: object) -> "Sentence":
        sentence = super().__new__(cls, english.format(**values) if values else english)
        sentence.english, sentence.values = english, values
        return sentence

    @classmethod
    def of(cls, problem: object) -> "Sentence":
        """What an error says; of what is no sentence of ours, its own words, which no language has others for."""
        text = problem.sentence if isinstance(problem, ExplainedError) else problem
        return text if isinstance(text, Sentence) else cls("{text}", text=str(text))


class ExplainedError(ValueError):
    """An error whose `sentence` names the cause and the remedy. Args: a Sentence, or a template and values for one."""

    def __init__(self, english: str, /, **values: object):
        self.sentence = english if isinstance(english, Sentence) else Sentence(english, **values)
        super().__init__(str(self.sentence))
