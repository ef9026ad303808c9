"""What is known of a language beside its code: name, script, family, and whether words stand apart in writing."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Language:
    code: str  # ISO 639-1
    name: str
    script: str
    family: str
    spaces_between_words: bool = True


_LANGUAGES = (
    Language("ar", "Arabic", "Arabic", "Semitic"),
    Language("bg", "Bulgarian", "Cyrillic", "Slavic"),
    Language("de", "German", "Latin", "Germanic"),
    Language("el", "Greek", "Greek", "Hellenic"),
    Language("en", "English", "Latin", "Germanic"),
    Language("es", "Spanish", "Latin", "Romance"),
    Language("fr", "French", "Latin", "Romance"),
    Language("hi", "Hindi", "Devanagari", "Indo-Aryan"),
    Language("ru", "Russian", "Cyrillic", "Slavic"),
    Language("sw", "Swahili", "Latin", "Bantu"),
    Language("th", "Thai", "Thai", "Kra-Dai", spaces_between_words=False),
    Language("tr", "Turkish", "Latin", "Turkic"),
    Language("ur", "Urdu", "Arabic", "Indo-Aryan"),
    Language("vi", "Vietnamese", "Latin", "Austroasiatic"),
    Language("zh", "Chinese", "Han", "Sinitic", spaces_between_words=False),
)
_BY_CODE = {language.code: language for language in _LANGUAGES}


def describe(code: str) -> Language:
    """The language of `code`; a code that is not listed gets itself as its name, so that any task can be shown."""
    return _BY_CODE.get(code, Language(code, code, "unknown", "unknown"))
