//! Everything that takes part. A new peer is a file with a `specs` and a line in [`all`].

mod budget_context;
mod encumber;
mod governor;
mod layouts;
mod leaky_bucket;
mod limitador;
mod llm_budget;
mod naive;
mod quota;
mod ratelimit;
mod redis;
mod sqlite;
mod trypema;
mod yardsticks;

pub(crate) use encumber::names as ours;
pub(crate) use redis::{PACKAGE as REDIS, server_version as redis_version};
pub(crate) use sqlite::library_version as sqlite_version;
pub(crate) use yardsticks::names as yardstick;

use crate::contender::Spec;

/// Names of peers that bars refer to.
pub(crate) mod peer {
    pub(crate) use super::governor::names::{
        CHECK as GOVERNOR_CHECK, CHECK_KEY_N as GOVERNOR_KEYED, CHECK_N as GOVERNOR_CHECK_N,
    };
    pub(crate) use super::limitador::names::RESERVE_COMMIT as LIMITADOR_RESERVE;
    pub(crate) use super::naive::names::{HELIOS, HELIOS_BY_KEY};
}

/// All contenders; the bare compare-and-swap is the first.
pub(crate) fn all() -> Vec<Spec> {
    [
        yardsticks::specs(),
        layouts::specs(),
        encumber::specs(),
        governor::specs(),
        quota::specs(),
        leaky_bucket::specs(),
        ratelimit::specs(),
        trypema::specs(),
        limitador::specs(),
        llm_budget::specs(),
        budget_context::specs(),
        naive::specs(),
        sqlite::specs(),
        redis::specs(),
    ]
    .concat()
}

/// What others publish and is not here, with the reason.
pub(crate) const LEFT_OUT: [(&str, &str); 6] = [
    (
        "heliosdb-proxy",
        "292 packages to compile for one file: its budget is written out in contenders/naive.rs instead",
    ),
    ("tollgate", "not published under this name"),
    ("limitador's Redis and RocksDB storages", "its memory storage is the one that works in a process"),
    ("trypema's Redis and hybrid providers", "the same"),
    ("quota's Quota", "a Cell: one thread alone can use it; its QuotaPool is here"),
    ("leaky-bucket, ratelimit by key", "they have no keys"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contender::{Group, HOLD_MORE, Limits, Plan, Skipped};
    use crate::keys::key;

    /// Ten units, asked for one after the other.
    fn admitted(spec: &Spec, group: Group, amounts: &[u64]) -> Option<Vec<bool>> {
        let plan = Plan { group, max: 10, threads: 2, shared: true, keys: 2 };
        let mut seats = match (spec.make)(&plan) {
            Ok(seats) => seats,
            Err(error) if error.is::<Skipped>() => return None,
            Err(error) => panic!("{}: {error:#}", spec.name),
        };
        assert_eq!(seats.len(), 2, "{}", spec.name);
        // Both handles stand for the same budget.
        Some(amounts.iter().enumerate().map(|(call, amount)| seats[call % 2].ask(&key(1), *amount)).collect())
    }

    #[test]
    fn every_contender_admits_what_fits_and_refuses_what_does_not() {
        for spec in all() {
            for group in spec.groups {
                let (amounts, expected): (&[u64], &[bool]) = match spec.limits {
                    Limits::Nothing => continue,
                    Limits::Units => {
                        (&[1; 12], &[true, true, true, true, true, true, true, true, true, true, false, false])
                    }
                    // With 6 used a hold of 3 + 2 does not fit, one of 2 + 2 does exactly; with 8, none of 1 + 2.
                    Limits::Amounts if group.settles() => (&[3, 3, 3, 2, 1], &[true, true, false, true, false]),
                    Limits::Amounts => (&[3, 3, 3, 2, 1, 1], &[true, true, true, false, true, false]),
                };
                assert_eq!(HOLD_MORE, 2);
                let Some(found) = admitted(&spec, *group, amounts) else { continue };
                assert_eq!(found, expected, "{} in {group:?}, asked for {amounts:?}", spec.name);
            }
        }
    }

    #[test]
    fn names_are_unique_within_a_group() {
        for group in Group::TIMED {
            let mut names: Vec<&str> =
                all().iter().filter(|spec| spec.groups.contains(&group)).map(|spec| spec.name).collect();
            let count = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), count, "{group:?}");
            assert!(count > 1, "{group:?}");
        }
    }

    #[test]
    fn keys_have_budgets_of_their_own() {
        for spec in all().into_iter().filter(|spec| spec.limits != Limits::Nothing) {
            for group in spec.groups.iter().filter(|group| group.keys().is_some()) {
                let plan = Plan { group: *group, max: 3, threads: 1, shared: true, keys: 2 };
                let mut seats = (spec.make)(&plan).expect("a contender");
                let asked = [0, 1, 0, 1].map(|number| seats[0].ask(&key(number), 1));
                assert_eq!(asked[..2], [true, true], "{} in {group:?}", spec.name);
            }
        }
    }
}
