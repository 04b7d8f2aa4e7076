//! Refunds by receipt: once, at most what was charged, in the receipt's own windows.
//!
//! A receipt is a plain value that can be cloned, so the engine remembers which ones were refunded, for as long as it makes refunds of
//! receipts of that age.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;

use super::RefundError;
use crate::amount::Cost;
use crate::report::Receipt;
use crate::time::Timestamp;

/// The receipts that were refunded, by number, and when each was made.
#[derive(Debug)]
pub(crate) struct Refunds {
    made: Mutex<Made>,
    /// The oldest age of a receipt that is refunded.
    within: Duration,
}

#[derive(Debug)]
struct Made {
    receipts: HashMap<u64, Timestamp>,
    /// Those made up to this instant are forgotten, so none of that age is refunded, whatever the clock says by now.
    forgotten_until: Timestamp,
    /// How many to have before the old ones are looked for again.
    purge_at: usize,
}

impl Refunds {
    pub(crate) fn new(within: Duration) -> Self {
        let made = Made { receipts: HashMap::new(), forgotten_until: Timestamp::MIN, purge_at: 1_024 };
        Self { made: Mutex::new(made), within }
    }

    /// Gives back `cost` of what `receipt` charged.
    pub(crate) fn refund(&self, receipt: &Receipt, cost: &Cost, now: Timestamp) -> Result<(), RefundError> {
        if let Some((resource, _)) = cost.iter().find(|&(r, a)| a > receipt.charged.amount(r).unwrap_or(0)) {
            return Err(RefundError::TooMuch { resource, charged: receipt.charged.amount(resource).unwrap_or(0) });
        }
        // What an engine before has refunded is not known.
        if receipt.number == 0 || now.saturating_since(receipt.at) > self.within {
            return Err(RefundError::TooOld);
        }
        let mut made = self.made.lock();
        if receipt.at <= made.forgotten_until {
            return Err(RefundError::TooOld);
        }
        if made.receipts.contains_key(&receipt.number) {
            return Err(RefundError::Refunded);
        }
        made.receipts.insert(receipt.number, receipt.at);
        if made.receipts.len() >= made.purge_at {
            let Made { receipts, forgotten_until, .. } = &mut *made;
            receipts.retain(|_, at| {
                let is_too_old = now.saturating_since(*at) > self.within;
                *forgotten_until = if is_too_old { (*forgotten_until).max(*at) } else { *forgotten_until };
                !is_too_old
            });
            made.purge_at = (2 * made.receipts.len()).max(1_024);
        }
        drop(made);
        receipt.give_back(cost, now);
        Ok(())
    }
}
