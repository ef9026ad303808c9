"""Put a task's results into a model's card on the hub: entries in the metadata's `model-index`, and a marked section.

Everything else in the card stays as it is, to the byte. The metadata are edited as YAML nodes, not as values: `no` is a
language there, and a loader would turn it into `false`.
"""

import re
from collections.abc import Iterator

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from xeval.support.errors import XevalError
from xeval.support.text import one_line

CARD = "README.md"
MAX_CARD_BYTES = 1_000_000
_DEEPEST = 30
_METADATA = re.compile(r"\s*---[ \t]*\r?\n(?P<text>(?:.*?\n)?)(?P<close>---[ \t]*(?:\r?\n|$))", re.DOTALL)
_INDEX, _RESULTS = "model-index", "results"


def with_section(card: str, name: str, section: str) -> str:
    """Return `card` with `section` in place of its earlier section called `name`, or at the end if there was none.

    Raises XevalError if only one of the two marks around the section is there, or if they are repeated or out of order.
    """
    begin, end = (f"<!-- xeval: {word} {name} -->" for word in ("begin", "end"))
    block = f"{begin}\n\n{section.strip()}\n\n{end}\n"
    lines = card.splitlines(keepends=True)
    starts, ends = ([place for place, line in enumerate(lines) if line.strip() == mark] for mark in (begin, end))
    if not starts and not ends:
        return _joined(card, block)
    if len(starts) != 1 or len(ends) != 1 or starts > ends:
        raise XevalError(
            f"{CARD}: wanted one line {begin} and below it one line {end}, got {len(starts)} and {len(ends)}; fix that"
            " on the hub, or remove these lines, and the section goes to the end of the card"
        )
    before, after = "".join(lines[: starts[0]]), "".join(lines[ends[0] + 1 :])
    return before + _in_its_newlines(block, card) + after


def _joined(card: str, block: str) -> str:
    gap = "" if not card else "\n" if card.endswith(("\n", "\r")) else "\n\n"
    return card + _in_its_newlines(gap + block, card)


def _in_its_newlines(text: str, card: str) -> str:
    return text.replace("\n", "\r\n") if "\r\n" in card else text


def with_results(card: str, entries: str, source: str) -> str:
    """Return `card` with the results of `entries`, metadata made by `model_card.metadata`, in its `model-index`.

    They replace earlier results from `source`, the URL that each result names. Raises XevalError for metadata that
    cannot be read, or whose index is not a list of models with results.
    """
    block = _METADATA.match(card)
    ours = next((index for _, index in _values(_compose(entries), _INDEX)), None)
    if ours is None:
        return card
    if block is None:
        return _in_its_newlines(f"---\n{_index_text(ours)}---\n", card) + card
    text = block["text"]
    keys = _compose(text).value if text.strip() else []
    places = [(key, value) for key, value in keys if key.value == _INDEX]
    if len(places) > 1:
        raise _uneditable(f"{_INDEX} occurs {len(places)} times")
    start = end = len(text)
    if places:
        [(key, value)] = places
        ours = _merged(_models(value), _models(ours), source)
        start, end = key.start_mark.index, _end(text, key.start_mark.index, value.end_mark.index)
    edited = text[:start] + _in_its_newlines(_index_text(ours), card) + text[end:]
    return card[: block.start("text")] + edited + card[block.start("close") :]


def _end(text: str, start: int, end: int) -> int:
    """Return where a key's block ends. Empty lines and comments below it belong to what follows."""
    lines = text[start:end].splitlines(keepends=True)
    while len(lines) > 1 and (not lines[-1].strip() or lines[-1].startswith("#")):
        end -= len(lines.pop())
    return end


def _merged(card_models: list[MappingNode], entry_models: list[MappingNode], source: str) -> SequenceNode:
    for model in card_models:
        for _, results in _values(model, _RESULTS):
            results.value = [result for result in results.value if _source_of(result) != source]
    new = [result for model in entry_models for _, results in _values(model, _RESULTS) for result in results.value]
    places = [
        results for model in card_models for _, results in _values(model, _RESULTS) if isinstance(results, SequenceNode)
    ]
    if not places:
        return SequenceNode("tag:yaml.org,2002:seq", [*card_models, *entry_models])
    places[0].value += new
    places[0].flow_style = False
    return SequenceNode("tag:yaml.org,2002:seq", card_models, flow_style=False)


def _models(index: Node) -> list[MappingNode]:
    """Return the models of an index. Raises XevalError unless it is a list of models with results."""
    models = index.value if isinstance(index, SequenceNode) else None
    if models is None or not all(isinstance(model, MappingNode) for model in models):
        raise _uneditable(f"{_INDEX} is not a list of models with their results")
    for model in models:
        if not all(isinstance(results, SequenceNode) for _, results in _values(model, _RESULTS)):
            raise _uneditable(f"the {_RESULTS} of {_INDEX} are not a list")
    return list(models)


def _values(node: Node, name: str) -> Iterator[tuple[Node, Node]]:
    pairs = node.value if isinstance(node, MappingNode) else []
    return ((key, value) for key, value in pairs if key.value == name)


def _source_of(result: Node) -> str | None:
    urls = [url.value for _, source in _values(result, "source") for _, url in _values(source, "url")]
    return urls[0] if urls and isinstance(urls[0], str) else None


def _index_text(index: Node) -> str:
    key = ScalarNode("tag:yaml.org,2002:str", _INDEX)
    root = MappingNode("tag:yaml.org,2002:map", [(key, index)], flow_style=False)
    return yaml.serialize(root, Dumper=yaml.SafeDumper, allow_unicode=True, width=1_000_000)


def _compose(text: str) -> MappingNode:
    try:
        _refuse_bombs(text)
        node = yaml.compose(text, yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 2} of the card)" if mark else ""
        raise _uneditable(
            f"they are not YAML{where}: {getattr(error, 'problem', None) or type(error).__name__}"
        ) from error
    if not isinstance(node, MappingNode) or node.flow_style:
        raise _uneditable("they are not keys with values, each key on a line of its own")
    return node


def _refuse_bombs(text: str) -> None:
    """Raise XevalError for aliases and deep nesting, which make a short text take long to parse."""
    depth = 0
    for event in yaml.parse(text, yaml.SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if isinstance(event, yaml.AliasEvent) or depth > _DEEPEST:
            raise _uneditable("they have YAML aliases" if depth <= _DEEPEST else f"they are nested {depth} deep")


def _uneditable(why: str) -> XevalError:
    return XevalError(f"{CARD}: its metadata cannot be edited: {one_line(why)}; fix that on the hub first")
