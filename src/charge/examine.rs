//! Making sure of a refusal before it is told.

use smallvec::SmallVec;

use super::{Ask, Grounds, Seat};
use crate::meter::{Gate, State, rule};
use crate::time::Timestamp;
use crate::window::Window;

/// Rounds of examining a refusal before it stands even though some attempt was undone in each.
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
        let undone = self.undone_counts();
        let mut found = self.blocked();
        if self.round == 1 {
            if found.iter().any(|blocked| self.seats[blocked.seat].window != Window::Lifetime) {
                // The clock may be coarse, and behind: nobody is refused in the name of a window that has ended.
                self.now = self.now.max(self.grounds.clock().now_precise());
                found = self.blocked();
            }
            if !found.is_empty() && self.grounds.collect_expired(self.now) {
                return None;
            }
        }
        if found.is_empty() {
            return None;
        }
        let may_be_undone = found.iter().any(|blocked| self.seats[blocked.seat].meter.is_joined());
        let quiet = !may_be_undone || self.grounds.flights().wait() && self.undone_counts() == undone;
        if !quiet && self.round < ROUNDS_MAX {
            return None;
        }
        self.come_back(&mut found);
        Some(Refused { blocked: found, now: self.now })
    }

    /// The hard seats without room.
    fn blocked(&self) -> SmallVec<[Blocked; 2]> {
        let mut found = SmallVec::new();
        for (index, seat) in self.seats.iter().enumerate() {
            let Some(requested) = self.ask.of(seat) else { continue };
            let state = seat.peek(self.now);
            let Gate::Max(max) = seat.gate_in(state.window) else { continue };
            if !rule::fits(state, requested, Gate::Max(max)) {
                found.push(Blocked { seat: index, requested, max, state, held: seat.meter.held(state.window) });
            }
        }
        found
    }

    /// Undone charges so far, by seat.
    fn undone_counts(&self) -> SmallVec<[u32; 8]> {
        self.seats.iter().map(|seat| seat.meter.undone()).collect()
    }

    /// Keeps a window that a jumped clock opened from locking its subject out for longer than one window.
    fn come_back(&self, blocked: &mut [Blocked]) {
        for blocked in blocked {
            let seat = &self.seats[blocked.seat];
            if seat.is_ahead(blocked.state, self.now) {
                let seen = seat.meter.state(blocked.state.window);
                // Read after the state: see `Meter::come_back`.
                let now = seat.window.index(self.grounds.clock().now_precise());
                blocked.state.window = seat.meter.come_back(seen, now);
            }
        }
    }
}
