//! Making sure of a refusal before it is told.

use smallvec::SmallVec;

use super::{Ask, Asked, Grounds, Place, Seat};
use crate::meter::{Gate, State, rule};
use crate::time::Timestamp;
use crate::window::Window;

/// Rounds of examining a refusal, in each of which some attempt was undone, before a moment without any attempt is asked for.
#[cfg(not(loom))]
const ROUNDS_WATCHED: u32 = 8;
// Loom explores the moment by itself; with it in every refusal its models do not end.
#[cfg(loom)]
const ROUNDS_WATCHED: u32 = ROUNDS_MAX;
/// Rounds before it stands even though there was no such moment: some thread stopped in the middle of a charge.
const ROUNDS_MAX: u32 = 64;

/// A hard budget that has no room, as it was read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Blocked {
    pub(crate) seat: usize,
    pub(crate) requested: u64,
    pub(crate) max: u64,
    pub(crate) state: State,
    pub(crate) held: u64,
}

/// A refusal: every hard budget without room, in the order of the seats, and the instant it was decided for.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) blocked: SmallVec<[Blocked; 2]>,
    pub(crate) now: Timestamp,
}

impl Refused {
    /// Keeps a window that a jumped clock opened from locking its subject out for longer than one window. Reads the clock, which may be the
    /// host's own, and waits for what is under way: the caller holds nothing.
    pub(crate) fn come_back(&mut self, seats: &[Seat], grounds: &impl Grounds) {
        for blocked in &mut self.blocked {
            let seat = &seats[blocked.seat];
            let (precise, moment) = (|| grounds.clock().now_precise(), || grounds.flights().try_exclusive());
            blocked.state.window = seat.return_to(blocked.state, self.now, precise, moment);
        }
    }
}

pub(super) struct Examiner<'a, G> {
    seats: &'a [Seat],
    grounds: &'a G,
    ask: Ask<'a>,
    pub(super) now: Timestamp,
    round: u32,
}

impl<'a, G: Grounds> Examiner<'a, G> {
    pub(super) fn new(seats: &'a [Seat], grounds: &'a G, ask: Ask<'a>, now: Timestamp) -> Self {
        Self { seats, grounds, ask, now, round: 0 }
    }

    /// The refusal if there is one, `None` when everything fits.
    pub(super) fn examine_until_sure(&mut self) -> Option<Refused> {
        loop {
            if self.blocked().is_empty() {
                return None;
            }
            if let Some(refused) = self.examine() {
                return Some(refused);
            }
        }
    }

    /// One round: the refusal if it is certain, `None` if it is worth asking again.
    #[cold]
    pub(super) fn examine(&mut self) -> Option<Refused> {
        self.round += 1;
        if self.round == 1 && self.seats.iter().any(|seat| seat.is_hard() && seat.window != Window::Lifetime) {
            // The clock may be coarse, and behind: nobody is refused in the name of a window that has ended.
            self.now = self.grounds.clock().sharpened(self.now);
        }
        let before = self.taken_back();
        let mut found = self.blocked();
        if self.round == 1 && !found.is_empty() && self.grounds.collect_expired(self.now) {
            return None;
        }
        if found.is_empty() {
            return None;
        }
        let may_be_undone = found.iter().any(|blocked| self.seats[blocked.seat].meter.may_overstate());
        let quiet = !may_be_undone || self.grounds.flights().wait() && self.taken_back() == before;
        if !quiet {
            let moment = if self.round < ROUNDS_WATCHED { None } else { self.grounds.flights().try_exclusive() };
            match moment {
                // Nothing is under way that could be undone: what is read now stands.
                Some(_) => found = self.blocked(),
                None if self.round < ROUNDS_MAX => return None,
                None => {}
            }
            if found.is_empty() {
                return None;
            }
        }
        Some(Refused { blocked: found, now: self.now })
    }

    /// The hard seats without room.
    fn blocked(&self) -> SmallVec<[Blocked; 2]> {
        let mut found = SmallVec::new();
        for (index, seat) in self.seats.iter().enumerate() {
            let Some(requested) = self.ask.of(seat.resource) else { continue };
            let state = seat.peek(self.now);
            let Gate::Max(max) = seat.gate_in(state.window) else { continue };
            if !rule::fits(state, requested, Gate::Max(max)) {
                found.push(Blocked {
                    seat: index,
                    requested,
                    max,
                    state,
                    held: seat.meter.held(state.window, self.now),
                });
            }
        }
        found
    }

    /// How often something was taken back so far, from all seats: each one's count only grows.
    fn taken_back(&self) -> u64 {
        self.seats.iter().map(|seat| u64::from(seat.meter.taken_back())).sum()
    }
}
