"""Finds what is no PowerShell in scripts: lint-powershell.py SCRIPT...

Goes by the grammar of tree-sitter alone: no name, type or parameter is looked at. Also finds what Windows PowerShell 5.1
would read otherwise than it was written: anything but ASCII.
"""

import sys

import tree_sitter
import tree_sitter_powershell


def troubles(source: bytes):
    parser = tree_sitter.Parser(tree_sitter.Language(tree_sitter_powershell.language()))
    nodes = [parser.parse(source).root_node]
    while nodes:
        node = nodes.pop()
        if node.is_error or node.is_missing:
            yield node.start_point[0] + 1, "is missing here: " + node.type if node.is_missing else "is no PowerShell"
        nodes.extend(node.children)
    for number, line in enumerate(source.split(b"\n"), 1):
        if not line.isascii():
            yield number, "is not ASCII"


def main() -> int:
    found = False
    for path in sys.argv[1:]:
        with open(path, "rb") as file:
            source = file.read()
        for line, trouble in sorted(troubles(source)):
            found = True
            print(f"{path}:{line}: {trouble}: {source.splitlines()[line - 1].decode(errors='replace').strip()}")
    return int(found)


sys.exit(main())
