"""Reads the line of a Checkmk local check from standard input as its documentation says, and prints state, item, metrics, text.

https://docs.checkmk.com/latest/en/localchecks.html: state, item (quoted where it has spaces), metrics or `-`, text; one
space between. A backslash before an n begins a new line, so that a line with one is refused here: it would break the summary.
"""

import re
import sys

NUMBER = r"-?[0-9]+(?:\.[0-9]+)?"
LEVEL = rf"(?:(?:{NUMBER})?:)?{NUMBER}"
METRIC = rf"[A-Za-z_][A-Za-z0-9_.-]*={NUMBER}(?:;(?:{LEVEL})?){{0,2}}(?:;(?:{NUMBER})?){{0,2}}"
LINE = re.compile(rf"([0123P]) (\"[^\"']+\"|[^ \"']+) (-|{METRIC}(?:\|{METRIC})*) ([^\\\n]+)\n")

read = sys.stdin.read()
match = LINE.fullmatch(read)
if not match:
    sys.exit(f"is no line of a local check: {read!r}")
print(*match.groups(), sep="\n")
