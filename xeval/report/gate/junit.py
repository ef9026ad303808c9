"""The gate's outcome → JUnit XML, with one test case for each finding, for CI systems that show test results.

Jenkins, GitLab and GitHub's test reporters read these elements (https://github.com/testmoapp/junitxml describes them).
XML 1.0 does not allow control characters, not even as references, so every text goes through `one_line`, which escapes
them.
"""

from xml.etree import ElementTree

from xeval.judging.gate.findings import GateFinding, Outcome
from xeval.report.gate.text import by_configuration
from xeval.support.text import one_line


def render(outcome: Outcome) -> str:
    """Render the outcome. Failing findings become failures, "not compared" becomes skipped, and notes become output."""
    root = ElementTree.Element("testsuites", name="xeval check")
    for name, findings in by_configuration(outcome.findings).items():
        cases = [finding for finding in findings if finding.kind != "note"]
        suite = ElementTree.SubElement(root, "testsuite", {"name": one_line(name), **_counts(cases)})
        for finding in cases:
            _add_case(suite, finding)
        notes = [one_line(finding.sentence) for finding in findings if finding.kind == "note"]
        if notes:
            ElementTree.SubElement(suite, "system-out").text = "\n".join(notes)
    root.attrib.update(_counts([finding for finding in outcome.findings if finding.kind != "note"]))
    ElementTree.indent(root, " ")
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _counts(cases: list[GateFinding]) -> dict[str, str]:
    failures = sum(finding.fails for finding in cases)
    skipped = sum(finding.kind == "not compared" for finding in cases)
    return {"tests": str(len(cases)), "failures": str(failures), "errors": "0", "skipped": str(skipped), "time": "0"}


def _add_case(suite: ElementTree.Element, finding: GateFinding) -> None:
    case = ElementTree.SubElement(
        suite, "testcase", classname=one_line(finding.configuration), name=one_line(finding.what), time="0"
    )
    sentence = one_line(finding.sentence)
    if finding.fails:
        ElementTree.SubElement(case, "failure", type=finding.kind, message=sentence).text = sentence
    elif finding.kind == "not compared":
        ElementTree.SubElement(case, "skipped", message=sentence)
    else:
        ElementTree.SubElement(case, "system-out").text = sentence
