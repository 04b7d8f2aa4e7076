//! The table `[[resets]]`.

use super::{At, Read, cap};
use crate::amount::Unit;
use crate::policy::{Guard, PaidReset, PolicyCause};

pub(super) fn reset(at: &At<'_>, units: &[(&str, Unit)]) -> Read<PaidReset> {
    const KNOWN: &[&str] = &["id", "limit", "lowers", "credits", "price", "max_per_window", "guard"];
    let table = at.table(KNOWN)?;
    let (find, need) = (|name| table.find(name), |name| table.need(name));

    let mut reset = PaidReset::new(need("id")?.string()?, need("limit")?.string()?)
        .max_per_window(cap(need("max_per_window")?, Unit::Count)?);
    if let Some(at) = find("lowers") {
        reset = reset.lowers(at.string()?);
    }
    // The price is in the unit of what pays; a wallet of the host's counts whole units of its own.
    let mut unit = Unit::Count;
    if let Some(at) = find("credits") {
        let credits = at.string()?;
        unit = units
            .iter()
            .find(|(name, _)| *name == credits)
            .map(|&(_, unit)| unit)
            .ok_or_else(|| at.error(PolicyCause::UndeclaredResource(credits.into())))?;
        reset = reset.credits(credits);
    }
    if let Some(at) = find("price") {
        let text = at.number("an integer or a decimal string")?;
        reset = reset.price(unit.parse(text).map_err(|e| at.error(PolicyCause::Amount(e)))?);
    }
    if let Some(at) = find("guard") {
        reset = reset.guard(match at.string()? {
            "strict" => Guard::Strict,
            "effective" => Guard::Effective,
            _ => return Err(at.expected("\"strict\" or \"effective\"")),
        });
    }
    Ok(reset)
}
