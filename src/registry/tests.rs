use super::*;
use crate::meter::Gate;

const RULES: [Rule; 1] = [(0, Window::Minute)];

fn at(minute: i64) -> Timestamp {
    Timestamp::from_seconds(minute * 60)
}

fn subject(number: usize) -> Subject {
    Subject::new("user", &number.to_string()).unwrap()
}

/// Uses a subject once, for nothing or for something, and lets it go.
fn pass(registry: &Registry, number: usize, minute: i64, amount: u64) -> Result<(), NoRoom> {
    let meters = registry.budgets(&subject(number), &RULES, at(minute))?;
    if amount > 0 {
        meters[0].admit(minute, amount, Gate::Open).unwrap();
    }
    Ok(())
}

#[test]
fn a_charged_subject_stays_for_one_whole_window_and_one_in_use_stays() {
    let registry = Registry::new(10);
    let held = registry.budgets(&subject(1), &RULES, at(100)).unwrap();
    pass(&registry, 2, 100, 5).unwrap();
    pass(&registry, 3, 100, 0).unwrap();
    assert_eq!([registry.sweep(at(100)), registry.sweep(at(101)), registry.sweep(at(102))], [1, 0, 1]);
    assert_eq!(registry.subjects(), 1);
    drop(held);
    assert_eq!((registry.sweep(at(102)), registry.subjects()), (1, 0));
}

#[test]
fn budgets_that_a_subject_gets_later_stand_by_its_first_ones_and_go_with_them() {
    let registry = Registry::new(10);
    let rules: [Rule; 4] = [(0, Window::Minute), (1, Window::Day), (2, Window::Hour), (3, Window::Lifetime)];
    let get = |rules: &[Rule]| registry.budgets(&subject(1), rules, at(100)).unwrap();
    let first = get(&rules[1..2]);
    let all = get(&rules);
    assert!(all[1].is(&first[0]) && !all[0].is(&all[1]));
    let again = get(&[rules[3], rules[0]]);
    assert!(again[0].is(&all[3]) && again[1].is(&all[0]));
    assert_eq!(all.iter().map(|meter| meter.number()).collect::<Vec<_>>(), [0, 1, 2, 3]);
    again[1].admit(100, 1, Gate::Open).unwrap();
    assert_eq!(registry.with(subject(1).as_str(), 0, |meter| meter.peek(100).amount), Some(1));
    assert_eq!(registry.with(subject(1).as_str(), 4, |_| ()), None);
    drop((first, all));
    assert_eq!(registry.sweep(at(102)), 0, "one of those that were made later is in use");
    drop(again);
    assert_eq!([registry.sweep(at(101)), registry.sweep(at(102))], [0, 1]);
}

#[test]
fn texts_with_one_hash_are_subjects_of_their_own() {
    let registry = Registry { hash_mask: 0, ..Registry::new(10) };
    let meters: Vec<_> =
        (0..3).map(|number| registry.budgets(&subject(number), &RULES, at(100)).unwrap().remove(0)).collect();
    for (amount, meter) in (1..).zip(&meters) {
        meter.admit(100, amount, Gate::Open).unwrap();
    }
    for (number, amount) in (0..3).zip(1..) {
        assert_eq!(registry.with(subject(number).as_str(), 0, |meter| meter.peek(100).amount), Some(amount));
        assert!(registry.budgets(&subject(number), &RULES, at(100)).unwrap()[0].is(&meters[number]));
    }
    assert_eq!(registry.with(subject(3).as_str(), 0, |_| ()), None);
    let [.., last] = &*meters else { unreachable!() };
    let last = last.clone();
    drop(meters);
    assert_eq!(registry.sweep(at(102)), 0, "one of them is in use");
    drop(last);
    assert_eq!((registry.sweep(at(102)), registry.subjects()), (1, 0));
}

#[test]
fn a_subject_of_many_limits_and_one_of_a_long_name_are_found_whole() {
    let registry = Registry::new(10);
    let rules: Vec<Rule> = (0..20).map(|rule| (rule, Window::Minute)).collect();
    for length in [1, 40, 41, 42, 256] {
        let subject = Subject::new("user", &"x".repeat(length)).unwrap();
        let meters = registry.budgets(&subject, &rules, at(100)).unwrap();
        assert_eq!(meters.iter().map(|meter| meter.number()).collect::<Vec<_>>(), (0..20).collect::<Vec<_>>());
        let again = registry.budgets(&subject, &rules, at(100)).unwrap();
        assert!(meters.iter().zip(&again).all(|(meter, again)| meter.is(again)), "{length}");
    }
    assert_eq!(registry.subjects(), 5);
    assert_eq!(registry.sweep(at(102)), 5);
}

/// What a million subjects take hangs on it: see `docs/internals/registry.md`.
#[test]
fn budgets_are_small_and_those_made_alike_share_what_they_can() {
    // A budget that can be written down has a ceiling.
    let ceiling = if cfg!(feature = "persist") { size_of::<u64>() } else { 0 };
    let sizes = (size_of::<Meter>(), size_of::<Group<[Meter; 1]>>(), size_of::<(u64, Budgets)>());
    assert_eq!(sizes, (40 + ceiling, 88 + ceiling, 24));
    let registry = Registry::new(10);
    for number in 0..4 {
        pass(&registry, number, 100, 1).unwrap();
    }
    let shares = |registry: &Registry| {
        let books = registry.books.lock();
        books.rules[0].as_ref().and_then(|kept| kept.mould.as_ref()).map(|(.., mould)| Arc::strong_count(mould))
    };
    assert_eq!(shares(&registry), Some(1 + 4));
    pass(&registry, 4, 101, 1).unwrap();
    assert_eq!(shares(&registry), Some(1 + 1), "made in another window");
}

#[test]
fn an_evicted_budget_is_granted_no_window_twice_by_a_clock_that_is_set_back() {
    let registry = Registry::new(10);
    // The registry is asked in the first window and in the last; the budget itself knows of those between.
    for minute in 90..=100 {
        pass(&registry, 2, minute, 10).unwrap();
    }
    assert_eq!(registry.sweep(at(102)), 1);
    for minute in [92, 95, 100] {
        let meter = registry.budgets(&subject(2), &RULES, at(minute)).unwrap().remove(0);
        assert_eq!(meter.peek(minute).window, 101, "not used, as far as anybody knows");
        assert_eq!([meter.charged_in(100), meter.charged_in(101)], [None, Some(0)], "forgotten, and nothing");
        assert_eq!(meter.come_back(meter.state(minute), minute), 101);
    }
    let meter = registry.budgets(&subject(2), &RULES, at(103)).unwrap().remove(0);
    meter.admit(103, 10, Gate::Max(10)).unwrap();
    assert_eq!(meter.come_back(meter.state(98), 98), 103, "all of them may have been granted");
}

/// A subject that is new, or was evicted, while the clock is ahead by decades, and used then.
#[test]
fn a_clock_that_was_ahead_leaves_nobody_locked_out() {
    let ahead = 25 * 366 * 24 * 60;
    let registry = Registry::new(10);
    for minute in 1..=100 {
        pass(&registry, 1, minute, 10).unwrap();
    }
    for minute in ahead..ahead + 10 {
        pass(&registry, 2, minute, 10).unwrap();
        registry.sweep(at(minute));
    }
    registry.sweep(at(ahead + 20));
    assert_eq!(registry.subjects(), 0);
    let used = registry.budgets(&subject(2), &RULES, at(ahead + 20)).unwrap().remove(0);
    used.admit(ahead + 20, 10, Gate::Max(10)).unwrap();
    // Right again.
    assert_eq!(used.come_back(used.state(100), 100), 101);
    for number in [1, 2, 3] {
        let meter = registry.budgets(&subject(number), &RULES, at(100)).unwrap().remove(0);
        assert!(meter.peek(100).window <= 101, "{number}");
    }
    pass(&registry, 4, 101, 10).unwrap();
}

#[test]
fn the_clock_of_a_machine_that_wakes_in_1970_is_no_hindrance() {
    let registry = Registry::new(10);
    pass(&registry, 1, 0, 10).unwrap();
    registry.sweep(at(10));
    let today = 29_530_000;
    let meter = registry.budgets(&subject(1), &RULES, at(today)).unwrap().remove(0);
    assert_eq!(meter.admit(today, 6, Gate::Max(10)).map(|state| state.window), Ok(today));
    assert_eq!(meter.admit(today + 1, 6, Gate::Max(10)).map(|state| state.window), Ok(today + 1));
}

/// The newest are looked at first, so one idle place serves any number of one-off subjects; and ids that find everything in use cost a sweep
/// for every so many of them alone.
#[test]
fn a_full_registry_finds_the_last_idle_place_and_does_not_sweep_for_each_id() {
    const MAX: usize = 4_096;
    let registry = Registry::new(MAX as u64);
    let used: Vec<_> = (1..MAX).map(|number| registry.budgets(&subject(number), &RULES, at(7)).unwrap()).collect();
    for number in MAX..3 * MAX {
        pass(&registry, number, 7, 0).unwrap();
    }
    pass(&registry, 0, 7, 1).unwrap();
    let sweeps = |registry: &Registry| registry.books.lock().asked == 0;
    let swept = (0..MAX).filter(|number| {
        assert_eq!(pass(&registry, 10 * MAX + number, 7, 0), Err(NoRoom { max: MAX as u64 }));
        sweeps(&registry)
    });
    assert!(swept.count() <= EXAMINED_PER_SUBJECT as usize + 1);
    // Room inside a window is found by the next sweep; a window's end makes one at once.
    drop(used);
    assert!((0..=MAX).any(|number| pass(&registry, 20 * MAX + number, 7, 0).is_ok()));
    pass(&registry, 1, 7, 1).unwrap();
}

#[test]
fn the_end_of_a_window_makes_room_at_once() {
    const MAX: usize = 1_000;
    let registry = Registry::new(MAX as u64);
    for number in 0..MAX {
        pass(&registry, number, 7, 1).unwrap();
    }
    assert!(pass(&registry, MAX, 7, 1).is_err() && pass(&registry, MAX, 8, 1).is_err());
    pass(&registry, MAX, 9, 1).unwrap();
}

/// Ids that share their bits under a hasher with fixed seeds, as an attacker would craft them if ours had such, fall on our shards evenly.
#[test]
fn crafted_ids_fall_on_all_shards_evenly() {
    const IDS: usize = 1_024;
    let fixed = RandomState::with_seeds(1, 2, 3, 4);
    let mut crafted = (0..).map(subject).filter(|subject| fixed.hash_one(subject) >> 52 == 0);
    let registry = Registry::new(u64::MAX);
    let mut by_shard = [0_usize; SHARDS];
    for _ in 0..IDS {
        // As the map does: the top seven bits mark places in a shard, the next ones pick it.
        let hash = registry.subjects.hash_usize(&registry.hash(crafted.next().unwrap().as_str()));
        by_shard[(hash << 7) >> (usize::BITS as usize - SHARDS.ilog2() as usize)] += 1;
    }
    let used = by_shard.iter().filter(|ids| **ids > 0).count();
    // Of 1,024 ids thrown on 256 shards, 4.7 are missed and the fullest has 12, on average.
    assert!(used > SHARDS / 2 && by_shard.iter().all(|ids| *ids < IDS / 8), "{by_shard:?}");
}
