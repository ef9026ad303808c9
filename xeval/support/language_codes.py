"""Language codes of any standard: "zh", "zho_Hans", "zh-CN", "iw", "arb".

`langcodes` knows the standards: ISO 639-1 to 639-3, ISO 15924, BCP 47 and the codes that each of them has withdrawn.
"""

from functools import cache
from typing import NamedTuple


class LanguageCode(NamedTuple):
    """The parts of a code, in the shortest form that BCP 47 has for each."""

    language: str  # "zh" for "zho" and "cmn", "ar" for "arb": the macrolanguage where there is one
    own: str  # the same without the macrolanguage: "zh", "cmn", "arb"
    script: str | None  # ISO 15924, if the code says it: "Hans"
    likely_script: str | None  # the script that the language is usually written in; None if that is not known


@cache
def parse(code: str) -> LanguageCode | None:
    """Return the parts of `code`; None if it is not the code of a language."""
    import langcodes  # takes a fifth of a second
    from langcodes.tag_parser import LanguageTagError

    try:
        tag = langcodes.Language.get(code.replace("_", "-"))
        if not tag.language or not tag.is_valid():
            return None
        own = langcodes.Language.make(language=tag.language)
        likely = own.maximize()
        # For an unknown language, langcodes guesses what is most common: the script and country of American English.
        is_guess = tag.language != "en" and (likely.script, likely.territory) == ("Latn", "US")
        language = langcodes.Language.get(langcodes.standardize_tag(tag.language, macro=True)).language
    except LanguageTagError:
        return None
    return LanguageCode(language or tag.language, tag.language, tag.script, None if is_guess else likely.script)


def tag_of(code: str) -> str:
    """Return the BCP 47 tag of `code`, such as "zh-Hans" for "zho_Hans"; empty if it is not the code of a language."""
    if parse(code) is None:
        return ""
    import langcodes

    return langcodes.standardize_tag(code.replace("_", "-"))


@cache
def registered_names(kind: str) -> dict[str, str]:
    """Return subtag → first name in IANA's registry, for every subtag of `kind`: "language" or "script"."""
    from langcodes.registry_parser import parse_registry

    return {entry["Subtag"]: entry["Description"][0] for entry in parse_registry() if entry["Type"] == kind}


def base_language(code: str) -> str:
    """Return "zh" for "zho_Hans" and "zh-CN"; for an unknown code, the part before its first hyphen or underscore."""
    parts = parse(code)
    return parts.language if parts else code.replace("_", "-").partition("-")[0].lower()
