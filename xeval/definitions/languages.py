"""What is known of a language beside its code: name, script, family, and whether words stand apart in writing.

Tasks call a language by its ISO 639-1 code ("sw"), by ISO 639-3 ("swa"), or as FLORES-200 does, by that and ISO 15924
("swh_Latn").
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
    Language("af", "Afrikaans", "Latin", "Germanic"),
    Language("am", "Amharic", "Ethiopic", "Semitic"),
    Language("ar", "Arabic", "Arabic", "Semitic"),
    Language("az", "Azerbaijani", "Latin", "Turkic"),
    Language("bg", "Bulgarian", "Cyrillic", "Slavic"),
    Language("bn", "Bengali", "Bengali", "Indo-Aryan"),
    Language("de", "German", "Latin", "Germanic"),
    Language("el", "Greek", "Greek", "Hellenic"),
    Language("en", "English", "Latin", "Germanic"),
    Language("es", "Spanish", "Latin", "Romance"),
    Language("et", "Estonian", "Latin", "Uralic"),
    Language("eu", "Basque", "Latin", "Isolate"),
    Language("fa", "Persian", "Arabic", "Iranian"),
    Language("fi", "Finnish", "Latin", "Uralic"),
    Language("fr", "French", "Latin", "Romance"),
    Language("gu", "Gujarati", "Gujarati", "Indo-Aryan"),
    Language("ha", "Hausa", "Latin", "Chadic"),
    Language("he", "Hebrew", "Hebrew", "Semitic"),
    Language("hi", "Hindi", "Devanagari", "Indo-Aryan"),
    Language("ht", "Haitian Creole", "Latin", "French Creole"),
    Language("hu", "Hungarian", "Latin", "Uralic"),
    Language("id", "Indonesian", "Latin", "Austronesian"),
    Language("ig", "Igbo", "Latin", "Volta-Niger"),
    Language("it", "Italian", "Latin", "Romance"),
    Language("ja", "Japanese", "Japanese", "Japonic", spaces_between_words=False),
    Language("jv", "Javanese", "Latin", "Austronesian"),
    Language("ka", "Georgian", "Georgian", "Kartvelian"),
    Language("kk", "Kazakh", "Cyrillic", "Turkic"),
    Language("ko", "Korean", "Hangul", "Koreanic"),
    Language("lg", "Luganda", "Latin", "Bantu"),
    Language("lt", "Lithuanian", "Latin", "Baltic"),
    Language("luo", "Luo", "Latin", "Nilotic"),
    Language("ml", "Malayalam", "Malayalam", "Dravidian"),
    Language("mr", "Marathi", "Devanagari", "Indo-Aryan"),
    Language("ms", "Malay", "Latin", "Austronesian"),
    Language("my", "Burmese", "Burmese", "Tibeto-Burman", spaces_between_words=False),
    Language("nl", "Dutch", "Latin", "Germanic"),
    Language("nqo", "N'Ko", "N'Ko", "Mande"),
    Language("pa", "Punjabi", "Gurmukhi", "Indo-Aryan"),
    Language("pcm", "Nigerian Pidgin", "Latin", "English Creole"),
    Language("pl", "Polish", "Latin", "Slavic"),
    Language("pt", "Portuguese", "Latin", "Romance"),
    Language("qu", "Quechua", "Latin", "Quechuan"),
    Language("quy", "Ayacucho Quechua", "Latin", "Quechuan"),
    Language("ro", "Romanian", "Latin", "Romance"),
    Language("ru", "Russian", "Cyrillic", "Slavic"),
    Language("rw", "Kinyarwanda", "Latin", "Bantu"),
    Language("sat", "Santali", "Ol Chiki", "Austroasiatic"),
    Language("sw", "Swahili", "Latin", "Bantu"),
    Language("ta", "Tamil", "Tamil", "Dravidian"),
    Language("te", "Telugu", "Telugu", "Dravidian"),
    Language("th", "Thai", "Thai", "Kra-Dai", spaces_between_words=False),
    Language("tl", "Tagalog", "Latin", "Austronesian"),
    Language("tr", "Turkish", "Latin", "Turkic"),
    Language("uk", "Ukrainian", "Cyrillic", "Slavic"),
    Language("ur", "Urdu", "Arabic", "Indo-Aryan"),
    Language("vi", "Vietnamese", "Latin", "Austroasiatic"),
    Language("wo", "Wolof", "Latin", "Atlantic"),
    Language("yo", "Yoruba", "Latin", "Volta-Niger"),
    Language("zh", "Chinese", "Han", "Sinitic", spaces_between_words=False),
)
_BY_CODE = {language.code: language for language in _LANGUAGES}
# ISO 639-3 → the code above, where FLORES-200's or MasakhaNER's is another.
_SHORTER = {
    "amh": "am",
    "arb": "ar",
    "bul": "bg",
    "deu": "de",
    "ell": "el",
    "eng": "en",
    "fra": "fr",
    "hau": "ha",
    "hin": "hi",
    "ibo": "ig",
    "kat": "ka",
    "kin": "rw",
    "lug": "lg",
    "rus": "ru",
    "spa": "es",
    "swa": "sw",
    "swh": "sw",
    "tam": "ta",
    "tha": "th",
    "tur": "tr",
    "urd": "ur",
    "vie": "vi",
    "wol": "wo",
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
    if known is None or (script and script not in _SCRIPTS):
        return Language(code, code, "unknown", "unknown")
    return replace(known, code=code, script=_SCRIPTS.get(script, known.script))
