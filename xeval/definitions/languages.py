"""What is known of a language beside its code: name, script, family, and whether words stand apart in writing.

Tasks call a language by its ISO 639-1 code ("sw"), or as FLORES-200 does, by ISO 639-3 and ISO 15924 ("swh_Latn").
"""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Language:
    code: str  # ISO 639-1, or 639-3 for a language without
    name: str
    script: str
    family: str
    spaces_between_words: bool = True


_LANGUAGES = (
    Language("am", "Amharic", "Ethiopic", "Semitic"),
    Language("ar", "Arabic", "Arabic", "Semitic"),
    Language("bg", "Bulgarian", "Cyrillic", "Slavic"),
    Language("de", "German", "Latin", "Germanic"),
    Language("el", "Greek", "Greek", "Hellenic"),
    Language("en", "English", "Latin", "Germanic"),
    Language("es", "Spanish", "Latin", "Romance"),
    Language("fr", "French", "Latin", "Romance"),
    Language("hi", "Hindi", "Devanagari", "Indo-Aryan"),
    Language("ka", "Georgian", "Georgian", "Kartvelian"),
    Language("nqo", "N'Ko", "N'Ko", "Mande"),
    Language("quy", "Ayacucho Quechua", "Latin", "Quechuan"),
    Language("ru", "Russian", "Cyrillic", "Slavic"),
    Language("sat", "Santali", "Ol Chiki", "Austroasiatic"),
    Language("sw", "Swahili", "Latin", "Bantu"),
    Language("ta", "Tamil", "Tamil", "Dravidian"),
    Language("th", "Thai", "Thai", "Kra-Dai", spaces_between_words=False),
    Language("tr", "Turkish", "Latin", "Turkic"),
    Language("ur", "Urdu", "Arabic", "Indo-Aryan"),
    Language("vi", "Vietnamese", "Latin", "Austroasiatic"),
    Language("yo", "Yoruba", "Latin", "Volta-Niger"),
    Language("zh", "Chinese", "Han", "Sinitic", spaces_between_words=False),
)
_BY_CODE = {language.code: language for language in _LANGUAGES}
# ISO 639-3 → the code above, where FLORES-200's is another.
_SHORTER = {
    "amh": "am",
    "arb": "ar",
    "bul": "bg",
    "deu": "de",
    "ell": "el",
    "eng": "en",
    "spa": "es",
    "fra": "fr",
    "hin": "hi",
    "kat": "ka",
    "rus": "ru",
    "swh": "sw",
    "tam": "ta",
    "tha": "th",
    "tur": "tr",
    "urd": "ur",
    "vie": "vi",
    "yor": "yo",
    "zho": "zh",
}
_SCRIPTS = {  # ISO 15924
    "Arab": "Arabic",
    "Cyrl": "Cyrillic",
    "Deva": "Devanagari",
    "Ethi": "Ethiopic",
    "Geor": "Georgian",
    "Grek": "Greek",
    "Hans": "Han",
    "Hant": "Han",
    "Latn": "Latin",
    "Nkoo": "N'Ko",
    "Olck": "Ol Chiki",
    "Taml": "Tamil",
    "Thai": "Thai",
}


def describe(code: str) -> Language:
    """The language of `code`; a code that is not listed gets itself as its name, so that any task can be shown."""
    if code in _BY_CODE:
        return _BY_CODE[code]
    base, _, script = code.partition("_")
    known = _BY_CODE.get(_SHORTER.get(base, base))
    if known is None or script not in _SCRIPTS:
        return Language(code, code, "unknown", "unknown")
    return replace(known, code=code, script=_SCRIPTS[script])
