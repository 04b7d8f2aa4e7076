#!/usr/bin/env python3
"""Cases for the replay oracle, worked out by hand.

    python3 scripts/replay_oracle_test.py
"""

import datetime
import pathlib
import tomllib
import unittest

import replay_oracle as oracle

ROOT = pathlib.Path(__file__).resolve().parent.parent
TRACE = ROOT / "data" / "agent-team-claude-code.csv.gz"


def at(clock):
    return oracle.instant(f"2026-01-05T{clock}Z")


def call(start, end, input=0, output=0, cache_read=0, user="u", session="s", agent="main", model="m"):
    scope = {"global": "global", "user": f"user:{user}", "session": f"session:{session}"}
    if agent != "main":
        scope["subagent"] = f"subagent:{session}/{agent}"
    return oracle.Call(at(start), at(end), scope, model, (input, output, cache_read, 0, 0, 0))


def replay(policy, calls, admission="charge", max_output=4096):
    return oracle.replay(oracle.Policy(tomllib.loads(policy)), calls, admission, max_output)


def limit(resource="tokens", window="minute", max="10", subject="user", rest=""):
    return f'[[limits]]\nid="x"\nsubject="{subject}"\nresource="{resource}"\nwindow="{window}"\nmax="{max}"\n{rest}\n'


TOKENS = '[resources]\ntokens = "count"\n'


class Recorded(unittest.TestCase):
    def test_team_policy_over_the_team_trace(self):
        policy = oracle.read_policy(ROOT / "policies" / "team.toml")
        report = oracle.replay(policy, oracle.read_trace(TRACE), "charge")
        self.assertEqual((report["calls"], report["admitted"], report["denied"]), (15036, 10298, 4738))
        self.assertEqual(report["spent"], {"usd": "739.62758785"})
        self.assertEqual([limit["denied"] for limit in report["limits"]], [154, 3276, 1308, 0, 0])


class Windows(unittest.TestCase):
    def test_days_weeks_months_and_years_are_the_calendars(self):
        numbers = {name: oracle.window_number(name) for name in ("day", "week", "month", "3mo", "year")}
        keys = {
            "day": lambda d: d,
            "week": lambda d: d.isocalendar()[:2],
            "month": lambda d: (d.year, d.month),
            "3mo": lambda d: (d.year, (d.month - 1) // 3),
            "year": lambda d: d.year,
        }
        midnight = oracle.instant("2019-12-01T00:00:00Z")
        date = datetime.date(2019, 12, 1)
        before = None
        for _ in range(2600):
            now = {name: (keys[name](date), number(midnight)) for name, number in numbers.items()}
            for name, number in numbers.items():
                self.assertEqual(number(midnight + oracle.DAY - 1), now[name][1], (name, date))
                if before:
                    step = now[name][1] - before[name][1]
                    self.assertEqual(step, int(now[name][0] != before[name][0]), (name, date))
            before, midnight, date = now, midnight + oracle.DAY, date + datetime.timedelta(days=1)

    def test_periods_are_a_grid_from_the_epoch_or_the_anchor(self):
        number = oracle.window_number("5h")
        self.assertEqual(number(5 * 3_600 * oracle.SECOND - 1), 0)
        self.assertEqual(number(5 * 3_600 * oracle.SECOND), 1)
        anchored = oracle.window_number("90s", at("00:00:07"))
        self.assertEqual([anchored(at(clock)) for clock in ("00:00:06.999", "00:00:07", "00:01:36.999", "00:01:37")], [-1, 0, 0, 1])

    def test_other_windows_are_refused(self):
        for text in ("rolling 5h", "5h from first use", "0s", "5 h", "5x"):
            self.assertRaises(ValueError, oracle.window_number, text)


class Costs(unittest.TestCase):
    def test_money_is_summed_exactly_and_rounded_up_once(self):
        # 1/3 dollar per million is 333.3 nano-dollars a token: 1 and 1 make 666.7, rounded up once to 667.
        policy = '[resources]\nusd = "usd"\n[prices.m]\ninput = "1/3"\noutput = "1/3"\n'
        report = replay(policy, [call("00:00:00", "00:00:00", input=1, output=1)])
        self.assertEqual(report["spent"], {"usd": "0.000000667"})

    def test_weights_and_calls_and_a_resource_that_no_call_uses(self):
        policy = TOKENS + 'calls = "count"\nsteps = "count"\nfresh = "count"\n'
        policy += '[cost.tokens]\ncache_read = "0.1"\n[cost.fresh]\ncache_read = "0"\noutput = "2.5"\n'
        policy += limit("steps", max="0")
        report = replay(policy, [call("00:00:00", "00:00:00", input=3, output=1, cache_read=11)])
        self.assertEqual(report["spent"], {"tokens": "6", "calls": "1", "steps": "0", "fresh": "6"})

    def test_whole_numbers_keep_their_zeros(self):
        policy = oracle.Policy(tomllib.loads('[resources]\nusd = "usd"\ntokens = "count"\n'))
        self.assertEqual(policy.text("tokens", 1_000), "1000")
        self.assertEqual([policy.text("usd", n) for n in (0, 10**10, 1, 15 * 10**8)], ["0", "10", "0.000000001", "1.5"])


class Caps(unittest.TestCase):
    def cap(self, rest, subject):
        policy = TOKENS + '[groups]\na = ["user:1", "user:2"]\nb = ["user:1"]\n' + limit(rest=rest)
        return oracle.Policy(tomllib.loads(policy)).limits[0].cap(subject)

    def test_own_entry_then_groups_then_max(self):
        rest = 'groups = { a = "7", b = 3 }\nsubjects = { "user:2" = "0", "user:9" = "unlimited" }'
        caps = [self.cap(rest, f"user:{name}") for name in (1, 2, 3, 9)]
        self.assertEqual(caps, [3, 0, 10, oracle.UNLIMITED])

    def test_unlimited_is_the_largest_entry(self):
        groups = 'groups = { a = "unlimited", b = "3" }'
        self.assertEqual(self.cap(groups, "user:1"), 3)
        self.assertEqual(self.cap(groups + '\ngroup_choice = "largest"', "user:1"), oracle.UNLIMITED)


class Admission(unittest.TestCase):
    def test_exact_fit_passes_and_one_more_does_not(self):
        calls = [call("00:00:00", "00:00:00", input=n) for n in (6, 5, 4, 1, 0)]
        report = replay(TOKENS + limit(), calls)
        self.assertEqual((report["admitted"], report["denied"], report["spent"]["tokens"]), (3, 2, "10"))
        self.assertEqual(report["limits"][0]["first_denied"], {"at": "2026-01-05T00:00:00.000Z", "subject": "user:u"})

    def test_all_violations_count_and_the_first_is_primary(self):
        policy = TOKENS + limit(subject="subagent", max="4") + limit(subject="global", max="3").replace('"x"', '"y"')
        calls = [call("00:00:00", "00:00:00", input=5, agent="sub"), call("00:00:01", "00:00:01", input=4)]
        first, second = replay(policy, calls)["limits"]
        self.assertEqual((first["denied"], first["violated"], first["windows_hit"]), (1, 1, 1))
        self.assertEqual((second["denied"], second["violated"], second["windows_hit"]), (1, 2, 1))
        self.assertEqual(first["first_denied"]["subject"], "subagent:s/sub")

    def test_reserve_holds_the_estimate_until_the_end(self):
        # The hold of 3 + 5 refuses the second call, its settlement at :02 makes room for the third.
        calls = [
            call("00:00:00", "00:00:02", input=3, output=1),
            call("00:00:01", "00:00:03", input=1),
            call("00:00:02", "00:00:04", input=1),
        ]
        report = replay(TOKENS + limit(), calls, "reserve", max_output=5)
        self.assertEqual((report["denied"], report["spent"]["tokens"]), (1, "5"))

    def test_a_late_actual_belongs_to_the_window_that_admitted_it(self):
        # 12 settle into minute 0 (2 over), and leave minute 1 its 10.
        calls = [call("00:00:59", "00:01:30", input=2, output=10), call("00:01:00", "00:01:10", input=10)]
        calls.append(call("00:01:40", "00:01:50"))
        report = replay(TOKENS + limit(), calls, "reserve", max_output=0)
        self.assertEqual((report["admitted"], report["denied"]), (2, 1))
        self.assertEqual((report["limits"][0]["windows_hit"], report["limits"][0]["peak_over"]), (1, "2"))

    def test_check_passes_while_anything_is_left(self):
        calls = [call("00:00:00", "00:00:05", input=9), call("00:00:06", "00:00:07", input=9), call("00:00:08", "00:00:09")]
        report = replay(TOKENS + limit(), calls, "check")
        self.assertEqual((report["admitted"], report["spent"]["tokens"], report["limits"][0]["peak_over"]), (2, "18", "8"))

    def test_no_charge_of_nothing_is_refused_but_an_empty_reservation_is(self):
        calls = [call("00:00:00", "00:00:00")]
        self.assertEqual(replay(TOKENS + limit(max="0"), calls, "charge")["denied"], 0)
        self.assertEqual(replay(TOKENS + limit(max="0"), calls, "check")["denied"], 1)
        self.assertEqual(replay(TOKENS + limit(max="0"), calls, "reserve", 0)["denied"], 1)

    def test_soft_and_shadow_count_everything_that_is_admitted(self):
        calls = [call("00:00:00", "00:00:00", input=n) for n in (8, 7)]
        for enforcement in ("soft", "shadow"):
            (found,) = replay(TOKENS + limit(rest=f'enforcement = "{enforcement}"'), calls)["limits"]
            self.assertEqual((found["denied"], found["violated"], found["peak_over"]), (0, 0, "5"))

    def test_settlements_at_one_instant_go_before_the_start(self):
        calls = [call("00:00:00", "00:00:01", input=10), call("00:00:01", "00:00:01", input=1)]
        self.assertEqual(replay(TOKENS + limit(), calls, "check")["denied"], 1)

    def test_an_older_start_uses_the_later_window(self):
        calls = [call("00:01:00", "00:01:00", input=8), call("00:00:59", "00:00:59", input=3), call("00:00:59", "00:00:59", user="v")]
        report = replay(TOKENS + limit(), calls)
        self.assertEqual((report["admitted"], report["denied"]), (2, 1))

    def test_a_refused_call_does_not_advance_a_budget(self):
        calls = [call("00:00:59", "00:00:59", input=8), call("00:01:00", "00:01:00", input=11), call("00:00:59", "00:00:59", input=3)]
        self.assertEqual(replay(TOKENS + limit(), calls)["denied"], 2)

    def test_an_empty_trace(self):
        report = replay(TOKENS + limit(), [])
        self.assertEqual((report["calls"], report["admitted"], report["denied"], report["spent"]), (0, 0, 0, {"tokens": "0"}))
        self.assertIsNone(report["limits"][0]["first_denied"])


if __name__ == "__main__":
    unittest.main()
