#!/usr/bin/env python3
"""What `encumber replay --json` has to print, computed a second time.

    python3 scripts/replay_oracle.py TRACE --policy FILE --admission reserve|charge|check [--max-output N]

A single-threaded computation in whole numbers and exact fractions, straight from the written rules and from nothing else: every window
of every budget is kept in a dictionary, so nothing has to be rolled over. It is slow, plain, and the yardstick for the fast program.

Readings of the rules that decide a figure:

- A refused call, and a `charge` of amount 0 (a query), leave a budget as it was, the latest window that it has seen included.
- A resource is part of a call's cost even when the amount is 0, and then its budgets are asked.
- A clock that jumped ahead and came back locks nobody out for longer than the next window: a refusal renumbers a window that lies ahead
  of the call, with a gap of unused windows between that is longer than what came after it, as the next window after the call and after all
  that were used before the gap. It keeps what it has charged.
- A settlement changes the window that admitted the call, however much later it comes, and counts for that window's `peak_over`.
- Not covered, and refused with an error: rolling and first-use windows, time zones, other roundings, models without a price.
"""

import argparse
import csv
import datetime
import functools
import gzip
import heapq
import json
import math
import re
import sys
import tomllib
from fractions import Fraction
from typing import NamedTuple

CLASSES = ("input", "output", "cache_read", "cache_write_5m", "cache_write_1h", "reasoning")
TRACE_CLASSES = CLASSES[:5]
OUTPUT = CLASSES.index("output")
NANOS_PER_USD = 10**9
SECOND = 10**6  # times are microseconds since the Unix epoch
DAY = 86_400 * SECOND
MODES = ("reserve", "charge", "check")


class Call(NamedTuple):
    """One call of a trace."""

    start: int
    end: int
    scope: dict  # kind -> subject
    model: str
    tokens: tuple  # by class, in the order of CLASSES


def read_trace(path):
    """The calls of a CSV trace (plain or gzip), in file order."""
    opened = gzip.open(path, "rt", newline="") if str(path).endswith(".gz") else open(path, newline="")
    with opened as file:
        return [_call(row) for row in csv.DictReader(file)]


def _call(row):
    scope = {"global": "global", "user": f"user:{row['user']}", "session": f"session:{row['session']}"}
    if row["agent"] != "main":
        scope["subagent"] = f"subagent:{row['session']}/{row['agent']}"
    tokens = tuple(int(row[f"{name}_tokens"]) for name in TRACE_CLASSES) + (0,)
    return Call(instant(row["start"]), instant(row["end"]), scope, row["model"], tokens)


EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)


def instant(text):
    """Microseconds since the Unix epoch of an RFC 3339 instant."""
    at = datetime.datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError(f"{text}: no offset")
    return (at - EPOCH) // datetime.timedelta(microseconds=1)


def instant_text(at):
    """RFC 3339, UTC, milliseconds."""
    moment = EPOCH + datetime.timedelta(microseconds=at)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def window_number(text, anchor=0):
    """A function from an instant to the number of the window that holds it; later windows have higher numbers."""
    lengths = {"minute": 60 * SECOND, "hour": 3_600 * SECOND, "day": DAY}
    if text in lengths:
        return lambda at: at // lengths[text]
    if text == "week":
        return lambda at: (at // DAY + 3) // 7  # 1970-01-01 was a Thursday
    if text == "month":
        return lambda at: _month(at // DAY)
    if text == "year":
        return lambda at: _month(at // DAY) // 12
    if text == "lifetime":
        return lambda at: 0
    found = re.fullmatch(r"(\d+)(s|mo|m|h|d|w)", text)
    if not found or int(found[1]) == 0:
        raise ValueError(f"window {text!r} is not covered")
    count = int(found[1])
    if found[2] == "mo":
        return lambda at: _month(at // DAY) // count
    length = count * SECOND * {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}[found[2]]
    return lambda at: (at - anchor) // length


@functools.cache
def _month(day):
    date = datetime.date(1970, 1, 1) + datetime.timedelta(days=day)
    return (date.year - 1970) * 12 + date.month - 1


def exact(value):
    """An integer, a decimal string or a fraction, exactly."""
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise ValueError(f"{value!r} is not an integer or a string")
    if not re.fullmatch(r"\d+(\.\d+)?([eE][+-]?\d+)?|\d+/\d+", str(value)):
        raise ValueError(f"{value!r} is not a number")
    return Fraction(str(value))


UNLIMITED = 1 << 200  # beyond every amount and every instant


class Rate:
    """Units per token by class; `None` where a class has no price."""

    def __init__(self, units):
        self.unpriced = [index for index, unit in enumerate(units) if unit is None]
        units = [unit or Fraction(0) for unit in units]
        self.denominator = math.lcm(*(unit.denominator for unit in units))
        self.numerators = [unit.numerator * (self.denominator // unit.denominator) for unit in units]

    def cost(self, tokens):
        """The exact sum, rounded up once."""
        if any(tokens[index] for index in self.unpriced):
            raise ValueError("tokens of a class without a price are not covered")
        total = sum(count * numerator for count, numerator in zip(tokens, self.numerators))
        return -(-total // self.denominator)


class Limit:
    """One limit of a policy, with its cap for each subject."""

    def __init__(self, table, unit, members):
        self.id = table["id"]
        self.kind = table["subject"]
        self.resource = table["resource"]
        self.enforcement = table.get("enforcement", "hard")
        if table.get("time_zone", "UTC") != "UTC" or self.enforcement not in ("hard", "soft", "shadow"):
            raise ValueError(f"limit {self.id}: not covered")
        self.window = window_number(table["window"], instant(table["anchor"]) if "anchor" in table else 0)
        self.max = _cap(table["max"], unit)
        self.subjects = {subject: _cap(cap, unit) for subject, cap in table.get("subjects", {}).items()}
        self.groups = [(members.get(name, ()), _cap(cap, unit)) for name, cap in table.get("groups", {}).items()]
        self.choose = {"smallest": min, "largest": max}[table.get("group_choice", "smallest")]

    def cap(self, subject):
        """The subject's own entry > one of its groups' entries > `max`."""
        if subject in self.subjects:
            return self.subjects[subject]
        caps = [cap for members, cap in self.groups if subject in members]
        return self.choose(caps) if caps else self.max


def _cap(value, unit):
    if value == "unlimited":
        return UNLIMITED
    amount = exact(value) * (NANOS_PER_USD if unit == "usd" else 1)
    if amount.denominator != 1:
        raise ValueError(f"{value!r} is not a whole number of units")
    return amount.numerator


class Policy:
    """A policy file's resources, rates and limits."""

    def __init__(self, document):
        self.units = document.get("resources", {})
        costs = document.get("cost", {})
        if costs.get("rounding", "up") != "up":
            raise ValueError("only rounding up is covered")
        self.weights = {
            name: Rate([exact(costs.get(name, {}).get(token_class, 1)) for token_class in CLASSES])
            for name, unit in self.units.items()
            if unit == "count" and (name == "tokens" or name in costs)
        }
        self.prices = {model: _price(table) for model, table in document.get("prices", {}).items()}
        members = {name: frozenset(subjects) for name, subjects in document.get("groups", {}).items()}
        self.limits = [Limit(table, self.units[table["resource"]], members) for table in document.get("limits", [])]

    def cost(self, model, tokens):
        """Amounts by resource; a resource that is not part of the cost is absent."""
        amounts = {}
        for name, unit in self.units.items():
            if unit == "usd":
                amounts[name] = self._priced(model, tokens)
            elif name in self.weights:
                amounts[name] = self.weights[name].cost(tokens)
            elif name == "calls":
                amounts[name] = 1
        return amounts

    def _priced(self, model, tokens):
        if model not in self.prices:
            raise ValueError(f"model {model!r} has no price: not covered")
        return self.prices[model].cost(tokens)

    def text(self, resource, amount):
        """A decimal string in the resource's unit, without trailing zeros."""
        if self.units[resource] != "usd":
            return str(amount)
        dollars, nanos = divmod(amount, NANOS_PER_USD)
        return f"{dollars}.{nanos:09d}".rstrip("0").rstrip(".")


def _price(table):
    per_million = [exact(table[name]) if name in table else None for name in CLASSES]
    if per_million[-1] is None:
        per_million[-1] = per_million[OUTPUT]
    return Rate([None if price is None else price * NANOS_PER_USD / 1_000_000 for price in per_million])


def read_policy(path):
    """The policy of a TOML file."""
    with open(path, "rb") as file:
        return Policy(tomllib.load(file))


class Budget:
    """One limit applied to one subject: what is charged in each of its windows."""

    def __init__(self, limit, subject):
        self.limit = limit
        self.subject = subject
        self.cap = limit.cap(subject)
        self.seen = None
        self.left = self.landed = -UNLIMITED
        self.charged = {}
        self.over = 0

    def window(self, at):
        """The window that an operation at this instant uses: never earlier than one that was used before."""
        number = self.limit.window(at)
        return number if self.seen is None else max(number, self.seen)

    def violated(self, at, amount, zero_needs_room):
        """Whether a hard limit refuses the amount."""
        if self.limit.enforcement != "hard":
            return False
        window = self.window(at)
        charged = self.charged[window] if window == self.seen else 0
        return charged >= self.cap if amount == 0 and zero_needs_room else charged + amount > self.cap

    def enter(self, window):
        """Makes this window the latest; remembers the last gap between windows that were used."""
        if self.seen is None or window > self.seen + 1:
            self.left, self.landed = -UNLIMITED if self.seen is None else self.seen, window
        if self.seen is None or window > self.seen:
            self.seen = window
            self.charged[window] = 0

    def come_back(self, at):
        """After a refusal: a window from beyond a gap that the instant lies in or before is renumbered as the next one that was not used."""
        now = self.limit.window(at)
        following = max(now, self.left) + 1
        if self.seen is not None and self.landed - now > self.seen - self.landed and self.seen > following:
            self.charged[following] = self.charged.pop(self.seen, 0)
            self.seen = following
            self.landed = min(self.landed, following)

    def add(self, window, amount):
        """Adds an amount, which may be negative, to a window; to one that has been renumbered since, only what is more."""
        if window > self.seen:
            window, amount = self.seen, max(amount, 0)
        charged = self.charged[window] = self.charged.get(window, 0) + amount
        if charged > self.cap:
            self.over = max(self.over, charged - self.cap)


class Tally:
    """What one limit did."""

    def __init__(self):
        self.denied = 0
        self.violated = 0
        self.windows_hit = set()
        self.first_denied = None


class Replay:
    """One run of a trace under a policy."""

    def __init__(self, policy, admission, max_output=4096):
        if admission not in MODES:
            raise ValueError(f"unknown admission {admission!r}")
        self.policy = policy
        self.admission = admission
        self.max_output = max_output
        self.budgets = {}
        self.tallies = [Tally() for _ in policy.limits]
        self.open = []  # (end, place in the trace, settlements), a heap
        self.calls = self.denied = 0
        self.spent = dict.fromkeys(policy.units, 0)

    def run(self, calls):
        """Replays the calls and returns what the JSON says."""
        for place, call in enumerate(calls):
            self._settle_until(call.start)
            self._start(place, call)
        self._settle_until(UNLIMITED)
        return self._report()

    def _settle_until(self, instant):
        while self.open and self.open[0][0] <= instant:
            for budget, window, amount in heapq.heappop(self.open)[2]:
                budget.add(window, amount)

    def _start(self, place, call):
        self.calls += 1
        actual = self.policy.cost(call.model, call.tokens)
        asked = self._asked(call, actual)
        touched = [
            (index, self._budget(index, call.scope[limit.kind]), limit.resource)
            for index, limit in enumerate(self.policy.limits)
            if limit.kind in call.scope and limit.resource in actual
        ]
        reserves = self.admission != "charge"
        violations = [
            (index, budget) for index, budget, resource in touched if budget.violated(call.start, asked[resource], reserves)
        ]
        if violations:
            self._refuse(call, violations)
            return
        settlements = []
        for _, budget, resource in touched:
            if asked[resource] == 0 and not reserves:
                continue
            window = budget.window(call.start)
            budget.enter(window)
            budget.add(window, asked[resource])
            settlements.append((budget, window, actual[resource] - asked[resource]))
        for resource, amount in actual.items():
            self.spent[resource] += amount
        if reserves:
            heapq.heappush(self.open, (call.end, place, settlements))

    def _asked(self, call, actual):
        if self.admission == "charge":
            return actual
        if self.admission == "check":
            return dict.fromkeys(actual, 0)
        tokens = list(call.tokens)
        tokens[OUTPUT], tokens[CLASSES.index("reasoning")] = self.max_output, 0
        return self.policy.cost(call.model, tokens)

    def _budget(self, index, subject):
        key = (index, subject)
        if key not in self.budgets:
            self.budgets[key] = Budget(self.policy.limits[index], subject)
        return self.budgets[key]

    def _refuse(self, call, violations):
        self.denied += 1
        for index, budget in violations:
            self.tallies[index].violated += 1
            budget.come_back(call.start)
        index, budget = violations[0]
        tally = self.tallies[index]
        tally.denied += 1
        tally.windows_hit.add((budget.subject, budget.window(call.start)))
        if tally.first_denied is None:
            tally.first_denied = {"at": instant_text(call.start), "subject": budget.subject}

    def _report(self):
        return {
            "calls": self.calls,
            "admitted": self.calls - self.denied,
            "denied": self.denied,
            "spent": {resource: self.policy.text(resource, amount) for resource, amount in self.spent.items()},
            "limits": [self._limit(index) for index in range(len(self.policy.limits))],
        }

    def _limit(self, index):
        limit, tally = self.policy.limits[index], self.tallies[index]
        over = max((budget.over for (place, _), budget in self.budgets.items() if place == index), default=0)
        return {
            "id": limit.id,
            "denied": tally.denied,
            "violated": tally.violated,
            "windows_hit": len(tally.windows_hit),
            "first_denied": tally.first_denied,
            "peak_over": self.policy.text(limit.resource, over),
        }


def replay(policy, calls, admission, max_output=4096):
    """What the JSON says of these calls under this policy."""
    return Replay(policy, admission, max_output).run(calls)


def main():
    parser = argparse.ArgumentParser(description="What `encumber replay --json` has to print.")
    parser.add_argument("trace")
    parser.add_argument("--policy", required=True)
    parser.add_argument("--admission", choices=MODES, default="reserve")
    parser.add_argument("--max-output", type=int, default=4096)
    parser.add_argument("--json", action="store_true", help="accepted for likeness: there is no other output")
    options = parser.parse_args()
    report = replay(read_policy(options.policy), read_trace(options.trace), options.admission, options.max_output)
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    sys.exit(main())
