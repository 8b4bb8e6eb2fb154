"""Lines of code in crates/*/src of two revisions or folders: no blanks, no comments, no tests.

    python bench/code_lines.py OLD NEW                     # revisions of this repository, or folders
    python bench/code_lines.py OLD NEW --without mcmc path # paths of NEW in the library's src that do not count

A room is the first folder or file of the library's src, or another crate. Tests are what stands behind #[cfg(test)], with
the files of a module declared there. Formatting is taken as it is.
"""

import argparse
import re
import subprocess
from collections import Counter
from pathlib import Path

SOURCE = re.compile(r"crates/([^/]+)/src/(.+\.rs)$")
TOKEN = re.compile(
    r"""//[^\n]*|/\*|(?P<raw>\bb?r(?P<hashes>\#*)")|b?"(?:[^"\\]|\\.)*"|b?'(?:[^'\\\n]|\\(?:u\{[^}]*\}|x..|.))'""",
    re.DOTALL | re.VERBOSE,
)
TEST = re.compile(r"#\[cfg\(test\)\]")
MODULE = re.compile(r"\bmod\s+(\w+)\s*;")


def sources(of):
    """The Rust files under crates/*/src of a folder or revision, by path."""
    if Path(of).is_dir():
        found = {str(p.relative_to(of)): p for p in Path(of).glob("crates/*/src/**/*.rs")}
        return {path: p.read_text() for path, p in found.items() if SOURCE.match(path)}
    show = lambda *arguments: subprocess.run(["git", *arguments], check=True, capture_output=True, text=True).stdout
    paths = show("ls-tree", "-r", "--name-only", of, "crates").splitlines()
    return {path: show("show", f"{of}:{path}") for path in paths if SOURCE.match(path)}


def blanked(text, fill):
    return re.sub(r"[^\n]", fill, text)


def end_of_comment(text, at):
    """The end of a block comment, which may hold others."""
    depth = 0
    for mark in re.finditer(r"/\*|\*/", text[at:]):
        depth += 1 if mark[0] == "/*" else -1
        if depth == 0:
            return at + mark.end()
    return len(text)


def plain(text):
    """The text without its comments, and with strings and characters filled, so that braces in them do not count."""
    out, at = [], 0
    while token := TOKEN.search(text, at):
        out.append(text[at : token.start()])
        start, at = token.start(), token.end()
        if token[0] == "/*":
            at = end_of_comment(text, start)
        elif token["raw"]:
            at = text.find('"' + token["hashes"], at)
            at = len(text) if at < 0 else at + 1 + len(token["hashes"])
        comment = token[0].startswith("/")
        out.append(blanked(text[start:at], " " if comment else "s"))
    return "".join(out) + text[at:]


def end_of_item(text, at):
    """Where the item at a place ends: behind its semicolon, or behind its braces."""
    depth = 0
    for k in range(at, len(text)):
        depth += {"{": 1, "(": 1, "[": 1, "}": -1, ")": -1, "]": -1}.get(text[k], 0)
        if depth == 0 and text[k] in ";}":
            return k + 1
    return len(text)


def without_tests(text):
    """The text without its tests, and the modules of tests that other files hold."""
    modules = []
    while test := TEST.search(text):
        end = end_of_item(text, test.end())
        modules += MODULE.findall(text[test.end() : end])
        text = text[: test.start()] + blanked(text[test.start() : end], " ") + text[end:]
    return text, modules


def count(files):
    """Lines of code by path."""
    lines, tests = {}, []
    for path, text in files.items():
        text, modules = without_tests(plain(text))
        folder = re.sub(r"(/(mod|lib|main))?\.rs$", "", path)
        tests += [f"{folder}/{module}" for module in modules]
        lines[path] = sum(1 for line in text.splitlines() if line.strip())
    is_test = lambda path: any(path == f"{test}.rs" or path.startswith(f"{test}/") for test in tests)
    return {path: n for path, n in lines.items() if not is_test(path)}


def room(path):
    crate, rest = SOURCE.match(path).groups()
    return rest.split("/")[0].removesuffix(".rs") if crate == "tweedie" else f"({crate})"


def by_room(lines):
    rooms = Counter()
    for path, n in lines.items():
        rooms[room(path)] += n
    return rooms


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old")
    parser.add_argument("new")
    parser.add_argument("--without", nargs="*", default=[], metavar="PATH")
    options = parser.parse_args()
    old, new = count(sources(options.old)), count(sources(options.new))
    before, after = by_room(old), by_room(new)
    print(f"{'room':<16}{'before':>8}{'after':>8}{'change':>8}")
    for name in sorted(before | after):
        print(f"{name:<16}{before[name]:>8}{after[name]:>8}{after[name] - before[name]:>+8}")
    totals = sum(old.values()), sum(new.values())
    print(f"{'in all':<16}{totals[0]:>8}{totals[1]:>8}{totals[1] - totals[0]:>+8}")
    rest = totals[1]
    for part in options.without:
        within = lambda path: re.match(rf"crates/tweedie/src/{re.escape(part)}(\.rs$|/|$)", path)
        lines = sum(n for path, n in new.items() if within(path))
        rest -= lines
        print(f"  without {part:<34}{-lines:>+8}")
    if options.without:
        print(f"{'counted':<16}{totals[0]:>8}{rest:>8}{rest - totals[0]:>+8}")


if __name__ == "__main__":
    main()
