#!/usr/bin/env python3
"""Compares `encumber replay --json` with the oracle, figure by figure.

    python3 scripts/replay_check.py --bin target/release/encumber [--seed N] [--policies N] [--only CASE]

Policies are generated from a printed seed, over slices of the recorded trace and over small made-up traces, and each is replayed with
every kind of admission. A mismatch is printed with the command that repeats it, and its files are kept. Fields that the program prints
beyond the contract's are not looked at.
"""

import argparse
import csv
import gzip
import io
import json
import pathlib
import random
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib

import replay_oracle as oracle

ROOT = pathlib.Path(__file__).resolve().parent.parent
TRACE = ROOT / "data" / "agent-team-claude-code.csv.gz"
TEAM = ROOT / "policies" / "team.toml"
SEED = 20260105
SLICE_ROWS = 2_000
WINDOWS = "minute hour day week month year lifetime".split()
PERIODS = "90s 5m 45m 5h 36h 1d 30d 2w 1mo 3mo 12mo".split()
ANCHORS = ["2026-01-01T03:07:11Z", "2026-01-05T12:17:31.459Z", "2030-02-28T23:59:59.999Z", "1969-12-31T00:00:01Z"]
WEIGHTS = ["0", "0.1", "0.333", "1", "1.25", "2", "1/3"]


class Trace:
    """A trace as a file for the program and as calls for the oracle."""

    def __init__(self, name, path, calls=None):
        self.name = name
        self.path = path
        self.calls = oracle.read_trace(path) if calls is None else calls
        self.modes = oracle.MODES


def recorded_traces(folder):
    """The whole recorded trace, some contiguous slices of it, and one that takes every seventh call."""
    with gzip.open(TRACE, "rt", newline="") as file:
        header, *lines = file.read().splitlines(keepends=True)
    whole = Trace("whole", TRACE)
    starts = [0, len(lines) // 3, len(lines) * 2 // 3, len(lines) - SLICE_ROWS]
    picks = {f"rows-{start}": slice(start, start + SLICE_ROWS) for start in starts} | {"every-7th": slice(0, None, 7)}
    slices = []
    for name, pick in picks.items():
        path = folder / f"{name}.csv"
        path.write_text(header + "".join(lines[pick]))
        slices.append(Trace(name, path, whole.calls[pick]))
    return whole, slices


COLUMNS = "id start end user session agent model".split() + [f"{name}_tokens" for name in oracle.TRACE_CLASSES] + ["tools", "error"]


def made_up_traces(folder, rng, models):
    """Small traces with the times that recorded ones lack. Each is a list of (start, end) in milliseconds after an instant."""
    second, minute = 1_000, 60_000  # few enough calls for what a budget per minute can hold (some 270 dollars)
    overlapping, late = [], 0
    for _ in range(300):
        late += rng.randrange(9 * second)
        overlapping.append((late, late + rng.randrange(20 * minute)))
    equal = [(at := rng.randrange(12) * 5 * second, at + rng.choice([0, 5, 10, 60]) * second) for _ in range(100)]
    equal.sort()
    # Far back, so that windows are renumbered. Only charged: a call that is open then has no window to be compared in.
    far_back, now = [], 0
    for _ in range(300):
        now = max(0, now + rng.randrange(-90 * second, 110 * second))
        far_back.append((now, now))
    # Less than a minute back, the shortest window, with calls that stay open for long.
    backwards, latest = [], 0
    for _ in range(300):
        now = max(0, latest + rng.randrange(-59 * second, 40 * second))
        latest = max(latest, now)
        backwards.append((now, now + rng.randrange(3 * minute)))
    edges = []
    for edge in ("2024-02-29", "2024-03-01", "2024-12-30", "2025-01-01", "2025-12-29", "2026-01-01", "2026-01-05", "2026-02-01"):
        base = oracle.instant(f"{edge}T00:00:00Z") // 1_000
        for offset in (-second, -1, 0, 1, 59_999, minute, 3_599_999, 60 * minute):
            edges.append((base + offset, base + offset + rng.choice([0, 1, 2 * second])))
    new_year = oracle.instant("2025-12-31T23:55:00Z") // 1_000
    shapes = {
        "overlapping": (new_year, overlapping),
        "equal-instants": (new_year, equal),
        "backwards": (new_year, backwards),
        "far-back": (new_year, far_back),
        "edges": (0, edges),
        "one-call": (new_year, [(0, second)]),
        "empty": (new_year, []),
    }
    traces = []
    for name, (base, times) in shapes.items():
        path = folder / f"{name}.csv"
        path.write_text(_csv(rng, base, times, models, zeros=name not in ("backwards", "far-back")))
        traces.append(Trace(name, path))
        if name == "far-back":
            traces[-1].modes = ("charge",)
    return traces


def _csv(rng, base, times, models, zeros):
    """Calls of few subjects at these times. Without `zeros` every call costs something."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for place, (start, end) in enumerate(times):
        model = rng.choice(models if zeros else [model for model in models if model != "<synthetic>"])
        idle = zeros and (model == "<synthetic>" or rng.random() < 0.05)
        tokens = [0] * 5 if idle else [rng.randrange(1, 500), rng.randrange(1, 6_000)] + [
            rng.choice([0, rng.randrange(30_000)]) for _ in range(3)
        ]
        session = rng.randrange(4)
        agent = rng.choice(["main", "main", "sub-00000a", "sub-00000b"])
        user = f"dev-{session % 2 + 1}"
        stamps = [oracle.instant_text((base + at) * 1_000) for at in (start, end)]
        writer.writerow([f"{place:012x}", *stamps, user, f"s{session + 1:03d}", agent, model, *tokens, "", ""])
    return text.getvalue()


def generated_policy(rng, trace):
    """The text of a policy whose caps lie around what the trace spends."""
    resources = ["usd"] * (rng.random() < 0.8) + ["tokens"] * (rng.random() < 0.6) + ["calls"] * (rng.random() < 0.5)
    resources += ["fresh"] * (rng.random() < 0.3) + ["steps"] * (rng.random() < 0.2) + ["spend"] * (rng.random() < 0.15)
    rng.shuffle(resources)
    resources = resources or ["usd"]
    units = {name: "usd" if name in ("usd", "spend") else "count" for name in resources}
    head = 'kinds = ["user", "session", "subagent"]\n\n[resources]\n'
    head += "".join(f'{name} = "{unit}"\n' for name, unit in units.items())
    weighted = [name for name in units if name == "fresh" or (name == "tokens" and rng.random() < 0.7)]
    for name in weighted:
        classes = rng.sample(oracle.TRACE_CLASSES, rng.randrange(1, 5))
        head += f"\n[cost.{name}]\n" + "".join(f'{token_class} = "{rng.choice(WEIGHTS)}"\n' for token_class in classes)
    head += "\n" + _prices(rng, sorted({call.model for call in trace.calls}))
    totals = Totals(trace.calls, oracle.Policy(tomllib.loads(head)))
    groups = {f"g{index}": [] for index in range(rng.randrange(4))}
    limits = [_limit(rng, place, resources, units, totals, groups) for place in range(rng.randrange(1, 8))]
    if groups:
        head += "\n[groups]\n" + "".join(f"{name} = {json.dumps(members)}\n" for name, members in groups.items())
    return head + "".join(limits)


def _prices(rng, models):
    odd = rng.random() < 0.3
    text = ""
    for model in models:
        text += f"[prices.{json.dumps(model)}]\n"
        for name, price in zip(oracle.TRACE_CLASSES, ["5", "25", "0.5", "6.25", "10"]):
            if model == "<synthetic>":
                price = "0"
            elif odd:
                price = rng.choice(["1/3", "0.0333333", "7", "12.3456789", "2/7"])
            text += f'{name} = "{price}"\n'
    return text


class Totals:
    """What the calls of a trace cost, by kind and window, to choose caps near it."""

    def __init__(self, calls, rates):
        self.calls = calls
        self.rates = rates
        self.costs = [rates.cost(call.model, call.tokens) for call in calls]

    def subjects(self, kind):
        return sorted({call.scope[kind] for call in self.calls if kind in call.scope})

    def by_window(self, kind, resource, window):
        number = oracle.window_number(window)
        sums = {}
        for call, cost in zip(self.calls, self.costs):
            if kind in call.scope and resource in cost:
                key = (call.scope[kind], number(call.start))
                sums[key] = sums.get(key, 0) + cost[resource]
        return sorted(sums.values())


def _limit(rng, place, resources, units, totals, groups):
    kind = rng.choice(["global", "user", "user", "session", "session", "subagent"])
    resource = rng.choice(resources)
    window = rng.choice(WINDOWS if rng.random() < 0.6 else PERIODS)
    sums = totals.by_window(kind, resource, window)
    subjects = totals.subjects(kind)

    def cap():
        return json.dumps(_cap(rng, units[resource], sums))

    text = f'\n[[limits]]\nid = "l{place}-{kind}"\nsubject = "{kind}"\nresource = "{resource}"\nwindow = "{window}"\nmax = {cap()}\n'
    if window[0].isdigit() and not window.endswith("mo") and rng.random() < 0.4:
        text += f'anchor = "{rng.choice(ANCHORS)}"\n'
    if rng.random() < 0.3:
        text += f'enforcement = "{rng.choice(["hard", "soft", "shadow"])}"\n'
    if rng.random() < 0.2:
        text += "warn = [50, 95]\n"
    if groups and rng.random() < 0.6:
        chosen = rng.sample(sorted(groups), rng.randrange(1, len(groups) + 1))
        for name in chosen:
            groups[name].extend(s for s in rng.sample(subjects, rng.randrange(min(4, len(subjects) + 1))) if s not in groups[name])
        text += "groups = { " + ", ".join(f"{name} = {cap()}" for name in chosen) + " }\n"
        if rng.random() < 0.6:
            text += f'group_choice = "{rng.choice(["smallest", "largest"])}"\n'
    if subjects and rng.random() < 0.4:
        own = rng.sample(subjects, rng.randrange(1, min(3, len(subjects)) + 1))
        text += "subjects = { " + ", ".join(f'"{subject}" = {cap()}' for subject in own) + " }\n"
    return text


def _cap(rng, unit, sums):
    """A cap near one of the sums: tight, exactly fitting, loose, nothing or no cap at all."""
    draw = rng.random()
    if draw < 0.05:
        return rng.choice(["0", 0])
    if draw < 0.12:
        return "unlimited"
    base = rng.choice(sums) if sums else 1_000_000
    amount = max(1, rng.choice([base, base - 1, base // 2, base // 3, base * 9 // 10, base * 3 // 2, sums[-1] if sums else base]))
    if unit == "count":
        return rng.choice([amount, str(amount)])
    if rng.random() < 0.5:
        amount -= amount % 10_000_000  # whole cents
    dollars, nanos = divmod(amount, oracle.NANOS_PER_USD)
    if nanos == 0:
        return rng.choice([dollars, str(dollars)])
    return f"{dollars}.{nanos:09d}".rstrip("0")


def differences(expected, found, path="$"):
    """Where the program's JSON differs from the oracle's, as sentences."""
    if isinstance(expected, dict) and isinstance(found, dict):
        if path == "$.spent" and list(expected) != list(found):
            yield f"{path}: expected the resources {list(expected)}, found {list(found)}"
        for key, value in expected.items():
            if key in found:
                yield from differences(value, found[key], f"{path}.{key}")
            else:
                yield f"{path}.{key}: missing"
    elif isinstance(expected, list) and isinstance(found, list):
        if len(expected) != len(found):
            yield f"{path}: expected {len(expected)} entries, found {len(found)}"
        for place, (left, right) in enumerate(zip(expected, found)):
            yield from differences(left, right, f"{path}[{place}]")
    elif type(expected) is not type(found) or expected != found:
        yield f"{path}: expected {json.dumps(expected)}, found {json.dumps(found)}"


class Check:
    """Runs cases against one program and counts."""

    def __init__(self, program, only):
        self.program = program
        self.only = only
        self.passed = self.failed = self.denials = 0

    def case(self, name, trace, policy_path, max_output=None):
        """One policy over one trace, with every kind of admission."""
        policy = oracle.read_policy(policy_path)
        for mode in trace.modes:
            if self.only in (None, f"{name}/{mode}"):
                self._run(f"{name}/{mode}", trace, policy, policy_path, mode, max_output)

    def _run(self, name, trace, policy, policy_path, mode, max_output):
        expected = oracle.replay(policy, trace.calls, mode, 4096 if max_output is None else max_output)
        self.denials += expected["denied"]
        options = [] if max_output is None else ["--max-output", str(max_output)]
        command = [self.program, "replay", str(trace.path), "--policy", str(policy_path), "--admission", mode, "--json", *options]
        wrong = list(self._compare(command, expected))
        if not wrong:
            self.passed += 1
            return
        self.failed += 1
        print(f"FAILED {name}: {wrong[0]}" + (f" (and {len(wrong) - 1} more)" if wrong[1:] else ""))
        print(f"  repeat: {shlex.join(command)}")
        print(f"  oracle: {shlex.join(['python3', 'scripts/replay_oracle.py', *command[2:]])}")

    @staticmethod
    def _compare(command, expected):
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        except (OSError, subprocess.TimeoutExpired) as error:
            return [str(error)]
        if done.returncode != 0:
            return [f"exit status {done.returncode}: {done.stderr.strip()[:400]}"]
        try:
            return differences(expected, json.loads(done.stdout))
        except ValueError as error:
            return [f"not JSON: {error}"]


def run_all(check, folder, seed, policies):
    """All cases. Each policy has a generator of its own, so that `--only` repeats it whatever the number of policies."""
    whole, slices = recorded_traces(folder)
    check.case("team-policy", whole, TEAM)
    models = sorted(oracle.read_policy(TEAM).prices)
    small = made_up_traces(folder, random.Random(f"{seed} traces"), models)
    cases = [(f"policy-{index:02d}", slices[index % len(slices)]) for index in range(policies)]
    cases += [(f"{trace.name}-{index:02d}", trace) for trace in small for index in range(max(1, policies // 3))]
    for name, trace in cases:
        if check.only and not check.only.startswith(name):
            continue
        rng = random.Random(f"{seed} {name}")
        path = folder / f"{name}.toml"
        path.write_text(generated_policy(rng, trace))
        check.case(name, trace, path, rng.choice([None, None, 0, 300, 32_000]))


def main():
    parser = argparse.ArgumentParser(description="Compares the replay with the oracle.")
    parser.add_argument("--bin", required=True, help="the program, such as target/release/encumber")
    parser.add_argument("--seed", default=SEED)
    parser.add_argument("--policies", type=int, default=40, help="how many over the recorded trace (default 40)")
    parser.add_argument("--only", help="one case, as a mismatch names it: policy-07/check")
    options = parser.parse_args()
    program = shutil.which(options.bin) or options.bin
    if not pathlib.Path(program).is_file():
        parser.error(f"{options.bin}: no such program")
    print(f"seed {options.seed}, {options.policies} policies")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="replay-check-"))
    began = time.monotonic()
    check = Check(str(pathlib.Path(program).resolve()), options.only)
    run_all(check, folder, options.seed, options.policies)
    if check.failed:
        print(f"policies and traces are kept in {folder}")
    else:
        shutil.rmtree(folder)
    print(f"{time.monotonic() - began:.1f} s, {check.denials} refusals compared")
    print(f"{check.passed} passed, {check.failed} failed")
    return 1 if check.failed or not check.passed else 0


if __name__ == "__main__":
    sys.exit(main())
