"""The name, script and family of each language.

Tasks identify a language by its ISO 639-1 code ("sw"), by its ISO 639-3 code ("swa"), by ISO 639-3 and ISO 15924 as
FLORES-200 does ("swh_Latn"), or with a country ("en-US"). A language that is not in the list below gets its name and
script from IANA's registry.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache

from xeval.support.language_codes import LanguageCode, parse, registered_names

UNKNOWN = "unknown"


@dataclass(frozen=True)
class Language:
    code: str  # ISO 639-1, or ISO 639-3 if there is none
    name: str
    script: str
    family: str


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
    Language("ht", "Haitian Creole", "Latin", "French Creole"),
    Language("hu", "Hungarian", "Latin", "Uralic"),
    Language("hy", "Armenian", "Armenian", "Armenian"),
    Language("id", "Indonesian", "Latin", "Austronesian"),
    Language("ig", "Igbo", "Latin", "Volta-Niger"),
    Language("is", "Icelandic", "Latin", "Germanic"),
    Language("it", "Italian", "Latin", "Romance"),
    Language("ja", "Japanese", "Japanese", "Japonic"),
    Language("jv", "Javanese", "Latin", "Austronesian"),
    Language("ka", "Georgian", "Georgian", "Kartvelian"),
    Language("kk", "Kazakh", "Cyrillic", "Turkic"),
    Language("km", "Khmer", "Khmer", "Austroasiatic"),
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
    Language("my", "Burmese", "Burmese", "Tibeto-Burman"),
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
    Language("th", "Thai", "Thai", "Kra-Dai"),
    Language("tl", "Tagalog", "Latin", "Austronesian"),
    Language("tr", "Turkish", "Latin", "Turkic"),
    Language("tw", "Twi", "Latin", "Kwa"),
    Language("uk", "Ukrainian", "Cyrillic", "Slavic"),
    Language("ur", "Urdu", "Arabic", "Indo-Aryan"),
    Language("vi", "Vietnamese", "Latin", "Austroasiatic"),
    Language("wo", "Wolof", "Latin", "Atlantic"),
    Language("xh", "Xhosa", "Latin", "Bantu"),
    Language("yo", "Yoruba", "Latin", "Volta-Niger"),
    Language("zh", "Chinese", "Han", "Sinitic"),
    Language("zu", "Zulu", "Latin", "Bantu"),
)
_BY_CODE = {language.code: language for language in _LANGUAGES}


@cache
def describe(code: str) -> Language:
    """Return the language of `code`. An unknown code becomes the language's name, so that any task can be shown."""
    if code in _BY_CODE:
        return _BY_CODE[code]
    parts = parse(code)
    if parts is None:
        return Language(code, code, UNKNOWN, UNKNOWN)
    known = _BY_CODE.get(parts.own) or _by_parsed_code().get(parts.language)
    if known is None:
        names = registered_names("language")
        return Language(code, names.get(parts.own, code).split(" (")[0], _script_of(parts), UNKNOWN)
    is_usual = parts.script in (None, parts.likely_script)
    return replace(known, code=code, script=known.script if is_usual else _script_of(parts))


def names_of(codes: Iterable[str]) -> dict[str, str]:
    """Return the name for each code, followed by the code if several share the name, as with Chinese in two scripts."""
    names = {code: describe(code).name for code in codes}
    of_all = list(names.values())
    return {code: name if of_all.count(name) == 1 else f"{name} ({code})" for code, name in names.items()}


def code_among(codes: Iterable[str], word: str) -> str | None:
    """Return the one of `codes` that means the language `word`: an English name, or a code of any standard.

    None if no code, or more than one, matches.
    """
    names = {name.casefold(): code for code, name in names_of(codes).items()}
    if word in names.values() or word.casefold() in names:
        return names.get(word.casefold(), word)
    parts = parse(word)
    same = [code for code in names.values() if parts is not None and _language_of(code) == parts.language]
    return same[0] if len(same) == 1 else None


def _language_of(code: str) -> str | None:
    parts = parse(code)
    return parts.language if parts is not None else None


@cache
def _by_parsed_code() -> dict[str, Language]:
    """Return the list by current codes: the language that it calls "tl" is now "fil"."""
    return {parts.language: language for language in _LANGUAGES if (parts := parse(language.code)) is not None}


def _script_of(parts: LanguageCode) -> str:
    script = parts.script or parts.likely_script
    return registered_names("script").get(script, UNKNOWN).split(" (")[0] if script else UNKNOWN
