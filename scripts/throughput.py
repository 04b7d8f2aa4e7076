#!/usr/bin/env python3
"""Throughput over subjects and over levels: measures with `encumber bench`, keeps what it saw, draws from that alone.

    python3 scripts/throughput.py measure            # both sweeps, some twelve minutes and 5 GB of memory; then draws
    python3 scripts/throughput.py measure levels     # one of them; the other one's rows stay as they are
    python3 scripts/throughput.py measure --go-on    # after an interruption: what is missing
    python3 scripts/throughput.py draw               # from the recorded rows
    python3 scripts/throughput.py check              # the rows are complete, and the pictures are drawn from them
    python3 scripts/throughput.py try                # all of that within seconds, in a folder that is removed: does it work?

Every row of the file is one run of `encumber bench`, which verifies its own counts, with what it ran on and the command that repeats it. Rounds
are interleaved: each runs every point once. matplotlib comes into an environment of its own, below `target/`.
"""

import argparse
import csv
import datetime
import hashlib
import itertools
import json
import os
import pathlib
import platform
import shlex
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "internals" / "performance.md"
MATPLOTLIB = "matplotlib==3.11.2"
ENVIRONMENT = ROOT / "target" / "plots"

ROUNDS = 3
SECONDS = 2
SUBJECTS = [1_000, 10_000, 100_000, 1_000_000, 10_000_000]
HANDLES_MAX = 1_000_000  # ten million handles want some 20 GB
LEVELS = range(1, 9)
WAYS = ["handles", "by key"]
THREADS = [1, 2]

SWEEPS = ["subjects", "levels"]
POINT = ["sweep", "way", "threads", "subjects", "levels"]
FIGURES = ["calls_per_second", "processor_nanos_per_call", "processor_share", "resident_mb"]
BESIDE = ["load", "others"]
COLUMNS = [*POINT, "round", *FIGURES, *BESIDE, "date", "cpu", "cores", "rustc", "encumber", "commit", "command"]


def points(sweep, subjects_max):
    """What a sweep measures, each as the options of its run."""
    if sweep == "subjects":
        every = itertools.product([n for n in SUBJECTS if n <= subjects_max], WAYS, THREADS)
        return [
            {"sweep": sweep, "way": way, "threads": threads, "subjects": subjects, "levels": 3}
            for subjects, way, threads in every
            if way == "by key" or subjects <= HANDLES_MAX
        ]
    every = itertools.product(LEVELS, WAYS, THREADS)
    return [{"sweep": sweep, "way": way, "threads": threads, "subjects": 1_000, "levels": levels} for levels, way, threads in every]


def options(point, seconds):
    words = ["bench", "--json", "--seed", "1", "--seconds", str(seconds)]
    words += [f"--{name}={point[name]}" for name in ("threads", "subjects", "levels")]
    # With ten, all levels from the fourth on would be a single budget: what is to be seen is levels, not how much threads share.
    words += ["--fan-out=2"] if point["sweep"] == "levels" else []
    return words + (["--by-key"] if point["way"] == "by key" else [])


def is_of(row, point):
    return all(str(row[name]) == str(value) for name, value in point.items())


def text_of(command):
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


def commit():
    """The last one that changed what is measured."""
    measured = ["--", "src", "cli", "Cargo.toml", "Cargo.lock"]
    changed = text_of(["git", "status", "--porcelain", *measured])
    return text_of(["git", "log", "-1", "--format=%h", *measured]) + ("-dirty" if changed else "")


def program():
    """Builds the program, and tells where it is."""
    built = subprocess.run(
        ["cargo", "build", "--release", "-p", "encumber-cli", "--message-format=json"], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True
    )
    return next(path for line in built.stdout.splitlines() if (path := json.loads(line).get("executable")))


def busy_seconds():
    """What all processors have worked, and what was taken from this machine by its host; `None` where the system does not tell."""
    try:
        words = pathlib.Path("/proc/stat").read_text().split()
    except OSError:
        return None
    user, nice, system, _idle, _waiting, interrupts, soft_interrupts, stolen = map(int, words[1:9])
    return (user + nice + system + interrupts + soft_interrupts + stolen) / os.sysconf("SC_CLK_TCK")


def run(binary, point, seconds):
    """One run: what it saw, and what else the machine did."""
    words = options(point, seconds)
    load, busy, own, began = os.getloadavg()[0], busy_seconds(), os.times(), time.monotonic()
    done = subprocess.run([binary, *words], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{shlex.join(['encumber', *words])}: exit status {done.returncode}: {done.stderr.strip()}")
    elapsed, after = time.monotonic() - began, os.times()
    others = None
    if busy is not None:
        child = after.children_user + after.children_system - own.children_user - own.children_system
        others = max(0.0, (busy_seconds() - busy - child) / elapsed)
    found = json.loads(done.stdout)
    assert found["verified"] and found["optimised"] and found["errors"] == 0, found
    shares, resident = found["processor_share_of_thread"], found["resident_bytes"]["end"]
    figures = {
        "calls_per_second": round(found["calls_per_second"]),
        "processor_nanos_per_call": rounded(found["processor_nanos_per_call"], 1),
        "processor_share": rounded(None if None in shares else min(shares), 3),
        "resident_mb": rounded(resident and resident / 1e6, 0),
        "load": f"{load:.2f}",
        "others": rounded(others, 2),
    }
    machine = {
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        "cpu": found["machine"]["cpu"] or platform.processor(),
        "cores": found["machine"]["cores"],
        "rustc": text_of(["rustc", "--version"]).split()[1],
        "encumber": found["version"],
        "commit": commit(),
        "command": shlex.join(["encumber", *words]),
    }
    return point | figures | machine


def rounded(number, digits):
    """Text, empty where the system does not tell."""
    return "" if number is None else f"{number:.{digits}f}"


class Folder:
    """Where the rows and the pictures are."""

    def __init__(self, path, rounds, subjects_max=SUBJECTS[-1]):
        self.path = pathlib.Path(path)
        self.rounds = rounds
        self.subjects_max = subjects_max
        self.data = self.path / "data" / "throughput.csv"

    def picture(self, sweep):
        return self.path / f"throughput-{sweep}.svg"

    def rows(self):
        if not self.data.exists():
            return []
        with self.data.open(newline="") as file:
            return list(csv.DictReader(file))

    def measure(self, sweeps, seconds, goes_on=False):
        binary = program()
        planned = [point for sweep in sweeps for point in points(sweep, self.subjects_max)]
        rows = [row for row in self.rows() if goes_on or row["sweep"] not in sweeps]
        for number, point in itertools.product(range(1, self.rounds + 1), planned):
            if any(is_of(row, point | {"round": number}) for row in rows):
                continue
            row = run(binary, point, seconds) | {"round": number}
            print(*(f"{name}={row[name]}" for name in ["round", *POINT, "calls_per_second", *BESIDE]), flush=True)
            rows.append(row)
            self.write(rows)

    def write(self, rows):
        """In an order that does not depend on when they were measured."""
        numbers = ["threads", "subjects", "levels", "round"]
        rows = sorted(rows, key=lambda row: (SWEEPS.index(row["sweep"]), row["way"], *(int(row[name]) for name in numbers)))
        self.data.parent.mkdir(parents=True, exist_ok=True)
        with self.data.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)

    def draw(self):
        """In the environment that has matplotlib; makes it at the first time, and hands over to it."""
        if pathlib.Path(sys.prefix) == ENVIRONMENT:
            for sweep in SWEEPS:
                if rows := [row for row in self.rows() if row["sweep"] == sweep]:
                    draw(sweep, rows, self.picture(sweep))
            return
        python = ENVIRONMENT / "bin" / "python"
        if not python.exists():
            subprocess.run([sys.executable, "-m", "venv", ENVIRONMENT], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", MATPLOTLIB], check=True)
        subprocess.run([python, __file__, "draw", "--folder", self.path], check=True)

    def faults(self):
        """What is wrong with the rows and the pictures, as sentences."""
        rows = self.rows()
        for sweep in SWEEPS:
            mine = [row for row in rows if row["sweep"] == sweep]
            for point in points(sweep, self.subjects_max):
                of_point = [row for row in mine if is_of(row, point)]
                if len(of_point) < self.rounds:
                    yield f"{self.data}: {len(of_point)} rounds of {point}, fewer than {self.rounds}"
                for row in of_point:
                    if row["calls_per_second"].strip("0123456789") or not all(row[name] for name in ["calls_per_second", *COLUMNS[-7:]]):
                        yield f"{self.data}: not a run: {row}"
            picture = self.picture(sweep)
            if not picture.exists() or digest(mine) not in picture.read_text():
                yield f"{picture} is not drawn from {self.data}; to draw it: python3 scripts/throughput.py draw"


def digest(rows):
    """Names the rows that a picture was drawn from."""
    return hashlib.sha256(json.dumps([[row[name] for name in COLUMNS] for row in rows]).encode()).hexdigest()


def ranges(rows, name):
    """For a footnote: the values of a column that was the same all the time, or from the least to the most."""
    values = sorted({row[name] for row in rows})
    return values[0] if len(values) == 1 else f"{values[0]} to {values[-1]}"


def draw(sweep, rows, path):
    import matplotlib
    from matplotlib import pyplot

    # Text stays text, and one set of rows always gives the same file.
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "encumber", "font.size": 9, "font.sans-serif": ["DejaVu Sans", "Verdana"]})
    matplotlib.rcParams.update({"axes.spines.top": False, "axes.spines.right": False})
    figure, axes = pyplot.subplots(figsize=(6.4, 3.7), layout="constrained")
    for color, way in zip(["#0b6e99", "#c2571a"], WAYS):
        for threads, line, mark in zip(THREADS, ["--", "-"], ["o", "s"]):
            runs = {}
            for row in rows:
                if (row["way"], row["threads"]) == (way, str(threads)):
                    runs.setdefault(int(row[sweep]), []).append(float(row["calls_per_second"]) / 1e6)
            places = sorted(runs)
            middle = [statistics.median(runs[place]) for place in places]
            spread = [[mid - min(runs[at]) for at, mid in zip(places, middle)], [max(runs[at]) - mid for at, mid in zip(places, middle)]]
            label = f"{way}, {threads} thread{'s' if threads > 1 else ''}"
            axes.errorbar(places, middle, yerr=spread, color=color, linestyle=line, marker=mark, markersize=4, linewidth=1.4, capsize=2, label=label)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("million calls per second, all threads")
    if sweep == "subjects":
        axes.set_xscale("log")
        axes.set_xlabel("subjects (budgets of the deepest of 3 levels)")
        places = sorted({int(row["subjects"]) for row in rows})
        axes.set_xticks(places, [f"{place:,}" for place in places])
    else:
        axes.set_xlabel("levels (budgets that one call is charged to), 1,000 subjects")
        axes.set_xticks(list(LEVELS))
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.legend(frameon=False)
    others = max((float(row["others"]) for row in rows if row["others"]), default=None)
    beside = "" if others is None else f", of which other programs took up to {others:.2f}"
    note = (
        f"median of {max(int(row['round']) for row in rows)} rounds, bars from the slowest to the fastest; encumber {ranges(rows, 'encumber')}, "
        f"Rust {ranges(rows, 'rustc')},\n{ranges(rows, 'cpu')}, {ranges(rows, 'date')}, {ranges(rows, 'cores')} cores{beside}"
    )
    figure.supxlabel(note, fontsize=6.5, color="#555555", x=0.01, ha="left")
    described = f"Drawn by scripts/throughput.py from rows with the SHA-256 {digest(rows)}"
    figure.savefig(path, metadata={"Date": None, "Title": f"Throughput over {sweep}", "Description": described})
    # matplotlib ends some lines with a blank.
    path.write_text("".join(line.rstrip() + "\n" for line in path.read_text().splitlines()))


def fail_on(faults):
    faults = list(faults)
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


def main():
    parser = argparse.ArgumentParser(description="Throughput over subjects and over levels.")
    parser.add_argument("what", choices=["measure", "draw", "check", "try"], help="see the top of this file")
    parser.add_argument("sweeps", nargs="*", help="what to measure: subjects, levels (default: both)")
    parser.add_argument("--folder", default=PAGE.parent, help="where the rows and the pictures are (default: docs/internals)")
    parser.add_argument("--go-on", action="store_true", help="measure what is missing alone")
    given = parser.parse_args()
    if wrong := [sweep for sweep in given.sweeps if sweep not in SWEEPS]:
        parser.error(f"there is no sweep {wrong[0]!r}; they are {', '.join(SWEEPS)}")
    if given.sweeps and given.what != "measure":
        parser.error(f"{given.what} is of all sweeps")
    folder = Folder(given.folder, ROUNDS)
    if given.what == "measure":
        folder.measure(given.sweeps or SWEEPS, SECONDS, given.go_on)
    if given.what in ("measure", "draw"):
        folder.draw()
    if given.what == "check":
        unseen = [sweep for sweep in SWEEPS if f"({folder.picture(sweep).name})" not in PAGE.read_text()]
        return fail_on([*folder.faults(), *(f"{PAGE} does not show the picture of {sweep}" for sweep in unseen)])
    if given.what == "try":
        with tempfile.TemporaryDirectory(prefix="throughput-") as path:
            small = Folder(path, rounds=1, subjects_max=10_000)
            small.measure(SWEEPS, 0.02)
            small.draw()
            return fail_on(small.faults())
    return 0


if __name__ == "__main__":
    sys.exit(main())
