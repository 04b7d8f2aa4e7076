use super::*;

fn rule(limit: &str) -> RuleName {
    RuleName { limit: limit.into(), resource: "tokens".into(), window: Window::Day }
}

fn image(course: Course) -> Image {
    Image { window: 20_488, charged: 300, told: 5, ended: Some((20_487, 7)), reset: Some((2, 40)), course }
}

/// One of each kind, with every part that there can be.
fn all() -> Vec<Entry> {
    let part = PartEntry {
        subjects: vec![("global".into(), Vec::new()), ("user:7".into(), vec!["heavy".into()])],
        workflows: vec!["wf-1".into()],
        seats: vec![SeatEntry { rule: rule("day"), subject: "user:7".into(), carrier: 0, window: -3 }],
        cost: vec![("tokens".into(), 640)],
    };
    let settled =
        SettledEntry { at: 9, resets: 1, charged: Some(vec![("tokens".into(), 1)]), expired: true, late: false };
    let hold = |id, settled| HoldEntry {
        stamp: 14,
        id,
        due: 1_770_238_500_000_000,
        remember: true,
        guarded: false,
        dispatched: true,
        observed: vec![("tokens".into(), 3)],
        given: vec![("tokens".into(), 20)],
        parts: vec![part.clone()],
        settled,
    };
    let slot = IdEntry::Slot { resource: "streams".into(), subjects: vec!["ip:1".into()], name: "a".into() };
    vec![
        Entry::Rule { number: 0, rule: rule("day") },
        Entry::Group { subject: "user:7".into(), stamp: 11, budgets: vec![(0, image(Course::Clock))] },
        Entry::Budget {
            rule: rule("week"),
            subject: "user:\u{202e}\n\"7".into(),
            carrier: 3,
            stamp: 12,
            image: image(Course::Use { began: 77 }),
        },
        Entry::Budget {
            rule: RuleName { window: "rolling 5h".parse().unwrap(), ..rule("roll") },
            subject: "global".into(),
            carrier: 0,
            stamp: u64::MAX,
            image: image(Course::Rolling { skew: -1, slots: vec![(i64::MIN, u64::MAX), (4, 1)] }),
        },
        Entry::Grant {
            rule: rule("day"),
            subject: "user:7".into(),
            stamp: 13,
            cap: Some(Cap::Unlimited),
            extra: Some((20_488, 500)),
        },
        Entry::Grant { rule: rule("day"), subject: "user:8".into(), stamp: 13, cap: None, extra: None },
        Entry::Engine { stamp: 1, resets: 2 },
        Entry::Hold(Box::new(hold(IdEntry::Chosen("req-1".into()), None))),
        Entry::Hold(Box::new(hold(IdEntry::Given(1 << 60), Some(settled)))),
        Entry::Hold(Box::new(hold(slot, None))),
        Entry::Workflow(Box::new(WorkflowEntry {
            began: 3,
            stamp: 15,
            id: "wf-1".into(),
            due: i64::MAX,
            ended: false,
            subjects: vec![("agent:a".into(), Vec::new())],
            steps: Cap::Max(3),
            tools: vec![(Some("search".into()), Cap::Max(5)), (None, Cap::Unlimited)],
            budgets: vec![("tokens".into(), 1_000)],
        })),
    ]
}

fn encoded() -> Vec<u8> {
    let mut encoder = Encoder::new(-1);
    for entry in all() {
        encoder.push(&entry);
    }
    encoder.bytes().to_vec()
}

#[test]
fn entries_come_back_as_they_were() {
    assert_eq!(decode(&encoded()), Ok((-1, all())));
    let mut empty = Encoder::new(5);
    assert_eq!(decode(empty.bytes()), Ok((5, Vec::new())));
    empty.push(&all()[0]);
    assert_eq!(empty.len(), empty.bytes().len());
}

/// The format: what changes here needs another version.
#[test]
fn the_bytes_are_as_ever() {
    let digit = |digit: u8| char::from(b"0123456789abcdef"[usize::from(digit)]);
    let hex: String = encoded().iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect();
    let golden = include_str!("golden.txt");
    assert_eq!(hex, golden.split_whitespace().collect::<String>(), "{hex}");
}

#[test]
fn whatever_is_cut_off_or_changed_is_an_error_or_other_entries_and_never_a_panic() {
    let whole = encoded();
    let mut others = 0;
    for length in 0..whole.len() {
        match decode(&whole[..length]) {
            // Cut between two entries.
            Ok((_, entries)) => assert!(entries.len() < all().len()),
            Err(why) => assert!(why.contains("its entries"), "{why}"),
        }
        for bit in 0..8 {
            let mut changed = whole.clone();
            changed[length] ^= 1 << bit;
            others += u32::from(decode(&changed).is_ok());
        }
    }
    assert!(others > 0, "a changed text is another text: the frame's checksum is what tells");
}

#[test]
fn what_claims_to_be_long_makes_nothing() {
    for claim in
        [&[VERSION, 0, 2, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1][..], &[VERSION, 0, 6, 0, 2, 255, 127]]
    {
        assert!(decode(claim).is_err());
    }
    let why = decode(&[VERSION + 1, 0]).unwrap_err();
    assert_eq!(why, "its entries are of version 2, which this release does not read");
}
