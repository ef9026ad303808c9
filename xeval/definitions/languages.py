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
    Language("as", "Assamese", "Bengali", "Indo-Aryan"),
    Language("ay", "Aymara", "Latin", "Aymaran"),
    Language("az", "Azerbaijani", "Latin", "Turkic"),
    Language("bg", "Bulgarian", "Cyrillic", "Slavic"),
    Language("bn", "Bengali", "Bengali", "Indo-Aryan"),
    Language("bzd", "Bribri", "Latin", "Chibchan"),
    Language("ca", "Catalan", "Latin", "Romance"),
    Language("cni", "Asháninka", "Latin", "Arawakan"),
    Language("cy", "Welsh", "Latin", "Celtic"),
    Language("da", "Danish", "Latin", "Germanic"),
    Language("de", "German", "Latin", "Germanic"),
    Language("ee", "Ewe", "Latin", "Gbe"),
    Language("el", "Greek", "Greek", "Hellenic"),
    Language("en", "English", "Latin", "Germanic"),
    Language("es", "Spanish", "Latin", "Romance"),
    Language("et", "Estonian", "Latin", "Uralic"),
    Language("eu", "Basque", "Latin", "Isolate"),
    Language("fa", "Persian", "Arabic", "Iranian"),
    Language("fi", "Finnish", "Latin", "Uralic"),
    Language("fr", "French", "Latin", "Romance"),
    Language("gn", "Guarani", "Latin", "Tupian"),
    Language("gu", "Gujarati", "Gujarati", "Indo-Aryan"),
    Language("ha", "Hausa", "Latin", "Chadic"),
    Language("hch", "Wixarika", "Latin", "Uto-Aztecan"),
    Language("he", "Hebrew", "Hebrew", "Semitic"),
    Language("hi", "Hindi", "Devanagari", "Indo-Aryan"),
    Language("hu", "Hungarian", "Latin", "Uralic"),
    Language("hy", "Armenian", "Armenian", "Armenian"),
    Language("id", "Indonesian", "Latin", "Austronesian"),
    Language("ig", "Igbo", "Latin", "Volta-Niger"),
    Language("is", "Icelandic", "Latin", "Germanic"),
    Language("it", "Italian", "Latin", "Romance"),
    Language("ja", "Japanese", "Japanese", "Japonic", spaces_between_words=False),
    Language("jv", "Javanese", "Latin", "Austronesian"),
    Language("ka", "Georgian", "Georgian", "Kartvelian"),
    Language("kk", "Kazakh", "Cyrillic", "Turkic"),
    Language("km", "Khmer", "Khmer", "Austroasiatic", spaces_between_words=False),
    Language("kn", "Kannada", "Kannada", "Dravidian"),
    Language("ko", "Korean", "Hangul", "Koreanic"),
    Language("lg", "Luganda", "Latin", "Bantu"),
    Language("ln", "Lingala", "Latin", "Bantu"),
    Language("lt", "Lithuanian", "Latin", "Baltic"),
    Language("luo", "Luo", "Latin", "Nilotic"),
    Language("lv", "Latvian", "Latin", "Baltic"),
    Language("ml", "Malayalam", "Malayalam", "Dravidian"),
    Language("mn", "Mongolian", "Cyrillic", "Mongolic"),
    Language("mr", "Marathi", "Devanagari", "Indo-Aryan"),
    Language("ms", "Malay", "Latin", "Austronesian"),
    Language("my", "Burmese", "Burmese", "Tibeto-Burman", spaces_between_words=False),
    Language("nah", "Nahuatl", "Latin", "Uto-Aztecan"),
    Language("nb", "Norwegian Bokmål", "Latin", "Germanic"),
    Language("nl", "Dutch", "Latin", "Germanic"),
    Language("nqo", "N'Ko", "N'Ko", "Mande"),
    Language("om", "Oromo", "Latin", "Cushitic"),
    Language("or", "Odia", "Odia", "Indo-Aryan"),
    Language("oto", "Otomi", "Latin", "Oto-Manguean"),
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
    Language("shp", "Shipibo-Konibo", "Latin", "Panoan"),
    Language("sl", "Slovenian", "Latin", "Slavic"),
    Language("sn", "Shona", "Latin", "Bantu"),
    Language("sq", "Albanian", "Latin", "Albanian"),
    Language("st", "Sesotho", "Latin", "Bantu"),
    Language("sv", "Swedish", "Latin", "Germanic"),
    Language("sw", "Swahili", "Latin", "Bantu"),
    Language("ta", "Tamil", "Tamil", "Dravidian"),
    Language("tar", "Rarámuri", "Latin", "Uto-Aztecan"),
    Language("te", "Telugu", "Telugu", "Dravidian"),
    Language("th", "Thai", "Thai", "Kra-Dai", spaces_between_words=False),
    Language("tl", "Tagalog", "Latin", "Austronesian"),
    Language("tr", "Turkish", "Latin", "Turkic"),
    Language("tw", "Twi", "Latin", "Kwa"),
    Language("uk", "Ukrainian", "Cyrillic", "Slavic"),
    Language("ur", "Urdu", "Arabic", "Indo-Aryan"),
    Language("vi", "Vietnamese", "Latin", "Austroasiatic"),
    Language("wo", "Wolof", "Latin", "Atlantic"),
    Language("xh", "Xhosa", "Latin", "Bantu"),
    Language("yo", "Yoruba", "Latin", "Volta-Niger"),
    Language("zh", "Chinese", "Han", "Sinitic", spaces_between_words=False),
    Language("zu", "Zulu", "Latin", "Bantu"),
)
_BY_CODE = {language.code: language for language in _LANGUAGES}
# ISO 639-3 → the code above, where FLORES-200's or MasakhaNER's is another.
_SHORTER = {
    "amh": "am",
    "arb": "ar",
    "aym": "ay",
    "bul": "bg",
    "deu": "de",
    "ell": "el",
    "eng": "en",
    "ewe": "ee",
    "fra": "fr",
    "hau": "ha",
    "hin": "hi",
    "ibo": "ig",
    "kat": "ka",
    "kin": "rw",
    "lin": "ln",
    "lug": "lg",
    "orm": "om",
    "rus": "ru",
    "sna": "sn",
    "sot": "st",
    "spa": "es",
    "swa": "sw",
    "swh": "sw",
    "tam": "ta",
    "tha": "th",
    "tur": "tr",
    "twi": "tw",
    "urd": "ur",
    "vie": "vi",
    "wol": "wo",
    "xho": "xh",
    "yor": "yo",
    "zho": "zh",
    "zul": "zu",
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
    base, _, rest = code.replace("-", "_").partition("_")
    known, script = _BY_CODE.get(_SHORTER.get(base, base)), _SCRIPTS.get(rest)
    if known is None or (rest and script is None and not _is_country(rest)):
        return Language(code, code, "unknown", "unknown")
    return replace(known, code=code, script=script or known.script)


def _is_country(text: str) -> bool:
    """Whether it looks like a code of ISO 3166-1, as in "en-US"."""
    return len(text) == 2 and text.isupper()
