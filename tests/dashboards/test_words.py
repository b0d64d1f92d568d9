"""Every word stands in both languages."""

from dashboards.words import LANGUAGES, words


def test_every_word_stands_in_both_languages_with_the_same_gaps() -> None:
    chinese, english = (words(language) for language in LANGUAGES)
    assert chinese.keys() == english.keys()
    assert all(chinese.values())
    assert all(english.values())
    gaps = [{part.split("}")[0] for part in text.split("{")[1:]} for text in chinese.values()]
    assert gaps == [{part.split("}")[0] for part in text.split("{")[1:]} for text in english.values()]
