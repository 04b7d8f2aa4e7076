//! Slots: never more than the maximum, never fewer than none, and nobody frees another one's.

use std::time::Duration;

use encumber::{
    Cap, ChargeError, Engine, HoldIdError, Limit, ManualClock, Policy, Resource, Scope, Slot, SlotError, Unit, Window,
};

const TTL: Duration = Duration::from_secs(300);

struct Rig {
    clock: ManualClock,
    engine: Engine,
    streams: Resource,
}

/// An engine with `per_ip` streams for each address and three for all.
fn rig(per_ip: u64) -> Rig {
    let clock = ManualClock::at("2026-04-03T10:00:00Z".parse().unwrap());
    let policy = Policy::builder()
        .resource("streams", Unit::Count)
        .resource("uploads", Unit::Count)
        .limit(Limit::new("streams-ip", "ip", "streams", Window::Lifetime, Cap::Max(per_ip)))
        .limit(Limit::new("streams-all", "global", "streams", Window::Lifetime, Cap::Max(3)))
        .limit(Limit::new("uploads-day", "ip", "uploads", Window::Day, Cap::Max(3)))
        .build()
        .unwrap();
    let engine = Engine::builder(policy).clock(&clock).build();
    let streams = engine.resource("streams").unwrap();
    Rig { clock, engine, streams }
}

impl Rig {
    fn scope(&self, ip: &str) -> Scope {
        self.engine.scope([format!("ip:{ip}")]).unwrap()
    }

    fn take(&self, ip: &str, lease: &str) -> Result<Slot, SlotError> {
        self.scope(ip).slot_with_id(self.streams, lease, TTL)
    }

    fn active(&self, ip: &str) -> u64 {
        let usage = self.scope(ip).usage().unwrap();
        assert_eq!(usage[0].used, 0, "slots are held, never used");
        usage[0].held
    }
}

#[test]
fn a_slot_is_taken_renewed_released_and_told_of() {
    let rig = rig(1);
    let slot = rig.scope("a").slot(rig.streams, TTL).unwrap();
    assert_eq!((slot.expires_at(), slot.is_active()), (Some("2026-04-03T10:05:00Z".parse().unwrap()), true));
    let error = rig.take("a", "other").unwrap_err();
    assert_eq!(error.refusal().unwrap().primary().held, 1);
    assert!(error.to_string().contains("streams-ip"), "{error}");
    assert!(slot.release());
    assert!(!slot.release(), "a second release is a no-op");
    assert_eq!((slot.expires_at(), slot.is_active(), rig.active("a")), (None, false, 0));
    drop(slot);
    assert_eq!((rig.active("a"), rig.engine.holds()), (0, 0), "nothing is remembered of it");
}

#[test]
fn several_slot_limits_are_taken_all_or_none() {
    let rig = rig(2);
    let slots: Vec<_> = [("a", "1"), ("a", "2"), ("b", "1")].map(|(ip, lease)| rig.take(ip, lease).unwrap()).into();
    let error = rig.take("b", "2").unwrap_err();
    assert_eq!(&*error.refusal().unwrap().primary().limit, "streams-all");
    assert_eq!((rig.active("a"), rig.active("b")), (2, 1));
    drop(slots);
    assert_eq!((rig.active("a"), rig.active("b")), (0, 0));
}

/// Known defect B-S11 (a): a stream longer than its time-to-live keeps its slot by renewing it.
#[test]
fn b_s11_a_long_stream_that_renews_keeps_its_slot() {
    let rig = rig(1);
    let long = rig.take("a", "long").unwrap();
    for _ in 0..10 {
        rig.clock.advance(Duration::from_secs(299));
        assert!(long.renew(TTL));
        assert!(rig.take("a", "other").is_err(), "never more than the maximum run");
    }
    rig.clock.advance(TTL);
    assert!(!long.renew(TTL), "an expired slot is not renewed");
    assert!(rig.take("a", "other").is_ok());
}

/// Known defect B-S11 (b): a late release does not take a newer stream's slot, not even one under the same id.
#[test]
fn b_s11_a_late_release_frees_nobody_elses_slot() {
    for lease in ["same", "other"] {
        let rig = rig(1);
        let old = rig.take("a", "same").unwrap();
        rig.clock.advance(TTL);
        let new = rig.take("a", lease).unwrap();
        assert!(!new.is_replayed());
        assert!(!old.release() && !old.renew(TTL * 9));
        drop(old);
        assert_eq!(rig.active("a"), 1);
        assert_eq!(new.expires_at(), Some("2026-04-03T10:10:00Z".parse().unwrap()), "nobody else prolongs it");
        assert!(new.release());
        assert_eq!(rig.active("a"), 0);
    }
}

/// Known defect B-S11 (c): what others do does not prolong a leaked slot.
#[test]
fn b_s11_traffic_does_not_keep_a_leaked_slot() {
    let rig = rig(2);
    std::mem::forget(rig.take("a", "leaked").unwrap());
    for _ in 0..299 {
        rig.clock.advance(Duration::from_secs(1));
        assert!(rig.take("a", "busy").unwrap().release());
        assert!(rig.take("a", "leaked").unwrap().is_replayed(), "asking again prolongs nothing either");
        assert_eq!(rig.active("a"), 1);
    }
    rig.clock.advance(Duration::from_secs(1));
    assert_eq!(rig.active("a"), 0);
    assert_eq!(rig.engine.holds(), 0);
}

#[test]
fn an_active_id_is_the_same_slot_and_its_replays_answer_for_nothing() {
    let rig = rig(1);
    let first = rig.take("a", "x").unwrap();
    let again = rig.take("a", "x").unwrap();
    assert_eq!((first.is_replayed(), again.is_replayed(), again.id()), (false, true, "x"));
    drop(again);
    assert_eq!(rig.active("a"), 1);
    assert!(rig.take("b", "x").is_ok_and(|slot| !slot.is_replayed()), "another subject's is another slot");
    drop(first);
    assert_eq!(rig.active("a"), 0);
    let reserved = rig.scope("a").reserve_with_id("x", TTL, rig.streams.of(1)).unwrap();
    assert!(rig.take("a", "x").is_err(), "a reservation's id is no slot's");
    reserved.release().unwrap();
}

#[test]
fn a_detached_slot_is_found_by_its_id_within_its_scope() {
    let rig = rig(1);
    let id = rig.scope("a").slot(rig.streams, TTL).unwrap().detach();
    assert_eq!(rig.active("a"), 1);
    assert!(!rig.scope("b").release_slot(rig.streams, &id) && !rig.scope("a").release_slot(rig.streams, "ghost"));
    rig.clock.advance(TTL / 2);
    assert!(rig.scope("a").renew_slot(rig.streams, &id, TTL));
    rig.clock.advance(TTL / 2);
    assert!(rig.scope("a").release_slot(rig.streams, &id));
    assert!(!rig.scope("a").release_slot(rig.streams, &id) && !rig.scope("a").renew_slot(rig.streams, &id, TTL));
    assert_eq!(rig.active("a"), 0);
}

#[test]
fn what_is_no_slot_is_an_error_and_takes_no_place() {
    let rig = rig(1);
    let uploads = rig.engine.resource("uploads").unwrap();
    let error = rig.scope("a").slot(uploads, TTL).unwrap_err();
    assert_eq!(error.to_string(), "the limit uploads-day on slots has the window day; slots need the window lifetime");
    assert_eq!(rig.take("a", "").unwrap_err(), SlotError::Id(HoldIdError::Empty));
    assert_eq!(rig.take("a", &"x".repeat(257)).unwrap_err(), SlotError::Id(HoldIdError::Long { bytes: 257 }));
    let other = Engine::new(rig.engine.policy()).resource("streams").unwrap();
    let error = rig.scope("a").slot(other, TTL).unwrap_err();
    assert!(matches!(error, SlotError::Charge(ChargeError::UnknownResource(_))), "{error}");
    assert_eq!(rig.active("a"), 0);
}

/// Threads take, renew, release, drop and let run out slots under a few ids; nobody ever sees more than the maximum, and none is left.
#[test]
fn slots_never_exceed_the_maximum_in_any_interleaving() {
    let rig = rig(2);
    std::thread::scope(|threads| {
        for thread in 0..4_u64 {
            let rig = &rig;
            threads.spawn(move || {
                let mut random = thread + 1;
                for round in 0..3_000 {
                    random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    let lease = format!("lease-{}", random >> 40 & 7);
                    let Ok(slot) = rig.take("a", &lease) else { continue };
                    assert!(rig.active("a") <= 2);
                    match random >> 50 & 3 {
                        0 => assert!(slot.release() || slot.expires_at().is_none()),
                        1 => drop(slot),
                        2 => std::mem::drop((slot.renew(TTL), slot)),
                        _ => std::mem::forget(slot),
                    }
                    if round % 50 == 0 {
                        rig.clock.advance(TTL);
                    }
                }
            });
        }
    });
    rig.clock.advance(TTL);
    assert_eq!((rig.active("a"), rig.engine.holds()), (0, 0));
    let both: Vec<_> = (0..9).filter_map(|n| rig.take("a", &n.to_string()).ok()).collect();
    assert_eq!(both.len(), 2);
}

#[test]
fn forty_threads_on_two_slots_two_win() {
    let rig = rig(2);
    let slots: Vec<_> = std::thread::scope(|threads| {
        let take = |n: usize| {
            let rig = &rig;
            threads.spawn(move || rig.take("a", &format!("l{n}")).ok())
        };
        let takers: Vec<_> = (0..40).map(take).collect();
        takers.into_iter().filter_map(|taker| taker.join().unwrap()).collect()
    });
    assert_eq!((slots.len(), rig.active("a")), (2, 2));
}
