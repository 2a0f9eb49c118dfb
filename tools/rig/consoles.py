# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads the consoles while they grow and knows which lines mean that something broke."""

import re
from dataclasses import dataclass

# What a kernel printed starts with its time stamp; a script that prints the same words does not.
STAMP = r"^\[ *\d+\.\d+\](?:\[ *[TC]\d+\])? "


@dataclass(frozen=True)
class Rule:
    pattern: str
    meaning: str
    fatal: bool = False  # nothing useful can follow: end the run at once

    def matches(self, line):
        return re.search(self.pattern, line)


# First match wins. Lines of Xen stand in dom0's console and start with "(XEN) ".
RULES = (
    Rule(r"Kernel panic - not syncing", "kernel panic", fatal=True),
    Rule(STAMP + r".*\bBUG: ", "kernel BUG"),
    Rule(STAMP + r".*\bkernel BUG at ", "kernel BUG"),
    Rule(STAMP + r".*\bOops: ", "kernel oops"),
    Rule(STAMP + r".*general protection fault", "kernel oops"),
    Rule(STAMP + r".*Unable to handle kernel ", "kernel oops"),
    Rule(STAMP + r"WARNING: ", "kernel warning"),
    Rule(STAMP + r".*possible (circular|recursive) locking", "kernel lock warning"),
    Rule(STAMP + r".*blocked for more than \d+ seconds", "hung task"),
    Rule(STAMP + r".*(soft lockup|hard LOCKUP|rcu_\w+ (self-)?detected)", "kernel stall"),
    Rule(STAMP + r".*Call Trace:", "kernel call trace"),
    Rule(STAMP + r".*UBSAN: ", "kernel undefined behaviour"),
    Rule(STAMP + r".*Out of memory: Killed process", "out of memory"),
    Rule(STAMP + r".*\bsegfault at ", "segmentation fault"),
    Rule(STAMP + r".*EXT4-fs error", "file system error"),
    Rule(STAMP + r".*XFS .*(Corruption|Internal error)", "file system error"),
    Rule(STAMP + r".*I/O error, dev ", "I/O error"),
    Rule(r"^\(XEN\).*Panic on CPU", "Xen panic", fatal=True),
    Rule(r"^\(XEN\).*Assertion '", "Xen assertion", fatal=True),
    Rule(r"^\(XEN\).*Xen BUG at", "Xen BUG", fatal=True),
    Rule(r"^\(XEN\).*Xen WARN at", "Xen warning"),
    Rule(r"^\(XEN\).*FATAL", "Xen fatal error", fatal=True),
    Rule(r"^\(XEN\).*(Hardware Dom0|Domain 0) (crashed|halted): ", "dom0 crashed", fatal=True),
    Rule(r"^\(XEN\).*(domain_crash|[Dd]omain \d+ .*crashed)", "a domain crashed"),
    Rule(r"^\(XEN\).*\b(ERROR|[Ee]rror):? ", "Xen error"),
    Rule(r"^\(XEN\).*grant_table\.c:.*([Bb]ad|[Ii]nvalid|[Ff]ail)", "Xen grant table error"),
    Rule(r"^\(XEN\).*(mm|p2m|event_channel)\.c:.*([Bb]ad|[Ff]ail|[Ee]rror)", "Xen memory error"),
    Rule(r"rig: initramfs: ", "no root disk", fatal=True),
)

# Harmless although a rule above matches; (pattern, why). Keep it short.
ALLOWED = (
)


class Scanner:
    """Collects the findings of one run; `extra` are patterns of the scenario's own allow-list.

    Those are matched against "SOURCE: LINE", SOURCE being `dom0` or the name of a domU.
    """

    def __init__(self, extra=()):
        self.allowed = [re.compile(pattern) for pattern, _ in ALLOWED]
        self.allowed += [re.compile(pattern) for pattern in extra]
        self.findings = []
        self.fatal = False

    def feed(self, source, line):
        rule = next((rule for rule in RULES if rule.matches(line)), None)
        if rule is None or any(allow.search(f"{source}: {line}") for allow in self.allowed):
            return
        self.findings.append(f"{rule.meaning} in {source}: {line.strip()}")
        self.fatal = self.fatal or rule.fatal

    def summary(self):
        more = len(self.findings) - 1
        return self.findings[0] + (f" (and {more} more)" if more else "")


class Tail:
    """Hands out the complete lines of a file as it grows, without terminal sequences."""

    ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\r\x00]")

    def __init__(self, path):
        self.path = path
        self.offset = 0
        self.rest = b""

    def lines(self, last=False):
        try:
            with open(self.path, "rb") as handle:
                handle.seek(self.offset)
                data = handle.read()
        except OSError:
            data = b""
        self.offset += len(data)
        *complete, self.rest = (self.rest + data).split(b"\n")
        if last and self.rest:
            complete.append(self.rest)
            self.rest = b""
        return [self.ESCAPES.sub("", line.decode("utf-8", "replace")) for line in complete]
