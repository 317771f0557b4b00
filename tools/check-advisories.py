#!/usr/bin/env python3
"""Looks the crates of Cargo.lock up in a copy of RustSec's advisory database: what `cargo audit` does, without it.

    tools/check-advisories.py PATH-TO-advisory-db     (a checkout or a bare git directory)

Prints each advisory that a locked version is affected by; ends with 1 when one is a vulnerability that is not listed in
`tools/advisories-accepted.txt` (an id and a reason per line).
"""

import pathlib
import re
import subprocess
import sys
import tomllib

ROOT = pathlib.Path(__file__).resolve().parent.parent


def documents(database):
    """All advisories, as texts."""
    path = pathlib.Path(database)
    if (path / "crates").is_dir():
        for file in sorted((path / "crates").glob("*/*.md")):
            yield file.read_text()
        return
    git = ["git", "-C", str(path)]
    names = subprocess.check_output([*git, "ls-tree", "-r", "--name-only", "HEAD", "crates/"], text=True).split("\n")
    wanted = "".join(f"HEAD:{name}\n" for name in names if name.endswith(".md"))
    out = subprocess.run([*git, "cat-file", "--batch"], input=wanted.encode(), stdout=subprocess.PIPE, check=True).stdout
    at = 0
    while at < len(out):
        end = out.index(b"\n", at)
        size = int(out[at:end].split()[-1])
        yield out[end + 1 : end + 1 + size].decode()
        at = end + 2 + size


def parse(text):
    """The TOML at the head of an advisory."""
    return tomllib.loads(re.search(r"```toml\n(.*?)```", text, re.S).group(1))


def key(version):
    """Orders versions; a pre-release stands before its release."""
    core, _, pre = version.split("+")[0].partition("-")
    numbers = [int(part) for part in core.split(".")] + [0, 0, 0]
    return tuple(numbers[:3]), not pre, pre


def matches(version, requirement):
    """Whether a version fulfils a requirement such as `>= 1.2.3, < 2` or `^0.3.1`."""
    for part in requirement.split(","):
        operator, bound = re.match(r"\s*([<>=^~]*)\s*([\w.+-]*)", part).groups()
        low, this = key(bound), key(version)
        if operator == ">=":
            ok = this >= low
        elif operator == ">":
            ok = this > low
        elif operator == "<=":
            ok = this <= low
        elif operator == "<":
            ok = this < low
        elif operator == "=":
            ok = this == low
        else:
            first = next((i for i, n in enumerate(low[0]) if n), 2)
            fixed = 2 if operator == "~" else first + 1
            ok = this >= low and this[0][:fixed] == low[0][:fixed]
        if not ok:
            return False
    return True


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    locked = {}
    for package in tomllib.loads((ROOT / "Cargo.lock").read_text())["package"]:
        if package.get("source", "").startswith("registry"):
            locked.setdefault(package["name"], set()).add(package["version"])
    accepted = {}
    listed = ROOT / "tools/advisories-accepted.txt"
    for line in listed.read_text().splitlines() if listed.exists() else []:
        if line.strip() and not line.startswith("#"):
            advisory, _, reason = line.partition(" ")
            accepted[advisory] = reason.strip()
    read = bad = 0
    for text in documents(sys.argv[1]):
        document = parse(text)
        read += 1
        advisory, versions = document["advisory"], document.get("versions", {})
        if advisory.get("withdrawn"):
            continue
        for version in sorted(locked.get(advisory["package"], ())):
            fine = versions.get("patched", []) + versions.get("unaffected", [])
            if any(matches(version, requirement) for requirement in fine):
                continue
            kind = advisory.get("informational", "vulnerability")
            note = accepted.get(advisory["id"])
            bad += kind in ("vulnerability", "unsound") and note is None
            title = re.search(r"^# (.*)$", text, re.M)
            print(f"{advisory['id']} {kind}: {advisory['package']} {version}: {title and title.group(1)}"
                  + (f" (accepted: {note})" if note else ""))
    print(f"{len(locked)} crates, {read} advisories, {bad} to act on")
    sys.exit(bad > 0 or read == 0)


main()
