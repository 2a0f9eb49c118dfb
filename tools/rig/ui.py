# SPDX-License-Identifier: GPL-2.0-or-later
"""What the user sees while the rig works: one line a step, with the seconds so far."""

import collections
import contextlib
import sys
import time


# Of a failed run, repeated at the end of `rig test`.
LAST_LINES = 12


class Failure(Exception):
    """An end of the run that the user has to hear about in one line."""

    def __init__(self, reason, status=1):
        super().__init__(reason)
        self.status = status


class Ui:
    """Prints lines that start with `rig:`; output of scripts and consoles has its own prefix."""

    def __init__(self, verbose=False):
        self.verbose = verbose
        self.start = time.monotonic()
        self.reason = None
        self._last = collections.deque(maxlen=LAST_LINES)

    def elapsed(self):
        return time.monotonic() - self.start

    def restart(self):
        self.start = time.monotonic()

    def note(self, text):
        self._say(f"rig: {self.elapsed():6.1f}s  {text}")

    def line(self, prefix, text):
        self._say(f"{prefix}| {text}")

    def _say(self, line):
        self._last.append(line)
        print(line, flush=True)

    def again(self):
        """Why the run failed and what it said last: the whole of it may be far above, or cut."""
        print(f"    because {self.reason}; its last lines:")
        for line in self._last:
            print("    " + line)

    @contextlib.contextmanager
    def step(self, text):
        self.note(text + " ...")
        begun = time.monotonic()
        yield
        self.note(f"{text.split(' (')[0]}: done in {time.monotonic() - begun:.1f}s")

    def phase(self, text):
        """Start a step that lasts until the next one; None ends the last."""
        if text:
            self.note(text)

    def tail(self, path, count, title=None):
        """Show the end of a log that explains a failure."""
        try:
            with open(path, encoding="utf-8", errors="replace") as log:
                lines = [line for line in log.read().splitlines() if line.strip()]
        except OSError:
            return
        print(f"--- last {min(count, len(lines))} lines of {title or path}")
        for line in lines[-count:]:
            print("    " + line.rstrip())
        sys.stdout.flush()
