//! The page as a whole: it is well formed and needs nothing else, whatever the replay was.

use std::collections::HashSet;

use encumber::{Cap, Enforcement, Timestamp, Unit};

use super::render;
use crate::report::{Admission, LimitReport, Report, ResourceReport, Slice};

const USD: u64 = 1_000_000_000;
/// Ends whatever it could stand in, and carries what does not show.
const HOSTILE: &str =
    "</title></style></svg>--><script src='https://example.org/x.js'>\"'`&amp;\u{0}\u{202E}\n\u{9b}</script>";

fn limit(id: &str, kind: &str, window: &str, cap: Cap) -> LimitReport {
    LimitReport {
        id: id.to_owned(),
        kind: kind.to_owned(),
        resource: 0,
        window: window.to_owned(),
        cap,
        enforcement: Enforcement::Hard,
        denied: 0,
        violated: 0,
        would_refuse: 0,
        windows_hit: 0,
        first_denied: None,
        peak_over: 0,
        peak: 0,
    }
}

/// Days from 2026-01-05 on, of which day `n` has `n + 10` calls of 1.234567891 usd; every third call is refused, by the two
/// limits in turn.
fn sample(days: u64) -> Report {
    let start: Timestamp = "2026-01-05T08:00:00Z".parse().expect("an instant");
    let at = |day: u64| Timestamp::from_seconds(start.as_seconds() + day as i64 * 86_400);
    let days: Vec<Slice> = (0..days).map(|day| slice(&at(day).to_string()[..10], day % 90 + 10)).collect();
    let mut report = Report {
        policy: "team.toml".to_owned(),
        trace: "trace.csv.gz".to_owned(),
        admission: Admission::Charge,
        calls: 0,
        admitted: 0,
        denied: 0,
        skipped: 0,
        span: (!days.is_empty()).then(|| (at(0), at(days.len() as u64 - 1))),
        resources: vec![ResourceReport { name: "usd".to_owned(), unit: Unit::Usd, spent: 0, offered: 0 }],
        limits: vec![
            limit("session", "session", "lifetime", Cap::Max(10 * USD)),
            limit("team-day", "global", "day", Cap::Max(60 * USD)),
            limit("team-month", "global", "month", Cap::Max(800 * USD)),
        ],
        days,
        users: vec![slice("dev-1", 70), slice("dev-2", 30)],
        sessions: (0..30).map(|session| slice(&format!("s{session:03}"), 30 - session)).collect(),
    };
    add_up(&mut report);
    report
}

fn slice(name: &str, calls: u64) -> Slice {
    let (denied, price) = (calls / 3, 1_234_567_891_u128);
    Slice {
        name: name.to_owned(),
        calls,
        denied,
        spent: vec![u128::from(calls - denied) * price],
        offered: vec![u128::from(calls) * price],
        denied_by: vec![denied - denied / 2, denied / 2, 0],
    }
}

/// The report's sums, from its days.
fn add_up(report: &mut Report) {
    report.calls = report.days.iter().map(|day| day.calls).sum();
    report.denied = report.days.iter().map(|day| day.denied).sum();
    report.admitted = report.calls - report.denied;
    for (index, resource) in report.resources.iter_mut().enumerate() {
        resource.spent = report.days.iter().map(|day| day.spent[index]).sum();
        resource.offered = report.days.iter().map(|day| day.offered[index]).sum();
    }
    for (index, limit) in report.limits.iter_mut().enumerate() {
        limit.denied = report.days.iter().map(|day| day.denied_by[index]).sum();
        limit.violated = limit.denied;
        limit.windows_hit = limit.denied.min(7);
        limit.first_denied =
            report.span.filter(|_| limit.denied > 0).map(|(first, _)| (first, "session:s001".to_owned()));
    }
}

fn empty() -> Report {
    Report { users: Vec::new(), sessions: Vec::new(), ..sample(0) }
}

fn hostile() -> Report {
    let mut report = sample(20);
    report.policy = HOSTILE.to_owned();
    report.trace = HOSTILE.to_owned();
    report.resources[0].name = HOSTILE.to_owned();
    report.limits.push(limit("", "", "day", Cap::Max(3 * USD)));
    for limit in &mut report.limits {
        limit.id.push_str(HOSTILE);
        limit.window = format!("{}{}", limit.window, if limit.window == "lifetime" { HOSTILE } else { "" });
        limit.kind = if limit.kind == "global" { "global".to_owned() } else { HOSTILE.to_owned() };
        limit.first_denied = Some((Timestamp::MIN, HOSTILE.to_owned()));
    }
    for slice in report.days.iter_mut().skip(3).chain(&mut report.users).chain(&mut report.sessions) {
        slice.name.push_str(HOSTILE);
    }
    report
}

fn enormous() -> Report {
    let mut report = sample(40);
    let slices = report.days.iter_mut().chain(&mut report.users).chain(&mut report.sessions);
    for slice in slices {
        slice.calls = u64::MAX;
        slice.denied = u64::MAX;
        slice.spent = vec![u128::MAX];
        slice.offered = vec![u128::MAX];
        slice.denied_by = vec![u64::MAX; 3];
    }
    report.resources[0] = ResourceReport { spent: u128::MAX, offered: u128::MAX, ..report.resources[0].clone() };
    for limit in &mut report.limits {
        limit.cap = Cap::Max(u64::MAX);
        limit.peak = u64::MAX;
        limit.peak_over = u64::MAX;
    }
    report
}

/// Reports of every shape, each with what it is.
fn shapes() -> Vec<(&'static str, Vec<Report>)> {
    let changed = |days: u64, change: fn(&mut Report)| {
        let mut report = sample(days);
        change(&mut report);
        vec![report]
    };
    vec![
        ("no report", vec![]),
        ("empty trace", vec![empty()]),
        ("one day", vec![sample(1)]),
        ("35 days", vec![sample(35)]),
        ("2000 days", vec![sample(2_000)]),
        ("no users", changed(9, |it| it.users.clear())),
        ("no limits", changed(9, |it| it.limits.clear())),
        ("no resources", changed(9, |it| it.resources.clear())),
        ("no calls in the days", changed(9, |it| it.days.iter_mut().for_each(|day| *day = slice("2026-01-05", 0)))),
        ("days that are no dates", changed(9, |it| it.days.iter_mut().for_each(|day| day.name = "é€".to_owned()))),
        (
            "plain counts",
            changed(9, |it| {
                it.resources[0] =
                    ResourceReport { name: "calls".to_owned(), unit: Unit::Count, ..it.resources[0].clone() }
            }),
        ),
        ("unlimited", changed(9, |it| it.limits.iter_mut().for_each(|limit| limit.cap = Cap::Unlimited))),
        ("caps of nothing", changed(9, |it| it.limits.iter_mut().for_each(|limit| limit.cap = Cap::Max(0)))),
        ("shadow", changed(9, |it| it.limits[1].enforcement = Enforcement::Shadow)),
        ("a resource that is not there", changed(9, |it| it.limits[0].resource = 7)),
        (
            "slices without numbers",
            changed(9, |it| {
                for slice in it.days.iter_mut().chain(&mut it.users) {
                    (slice.spent, slice.offered, slice.denied_by) = (vec![], vec![], vec![]);
                }
            }),
        ),
        (
            "twelve limits",
            changed(9, |it| {
                it.limits = (0..12).map(|n| limit(&format!("limit-{n}"), "user", "hour", Cap::Max(n))).collect();
                it.days.iter_mut().for_each(|day| day.denied_by = vec![1; 12]);
                add_up(it);
            }),
        ),
        ("enormous", vec![enormous()]),
        ("hostile", vec![hostile()]),
        ("two", vec![sample(35), sample(35)]),
        ("one of two empty", vec![sample(35), empty()]),
        ("three, hostile", vec![hostile(), hostile(), sample(3)]),
    ]
}

#[test]
fn every_shape_is_well_formed_and_needs_nothing_else() {
    for (shape, reports) in shapes() {
        let page = render(&reports);
        let elements = parse(&page).unwrap_or_else(|wrong| panic!("{shape}: {wrong}"));
        check_references(&elements).unwrap_or_else(|wrong| panic!("{shape}: {wrong}"));
        check_self_contained(&page, &elements).unwrap_or_else(|wrong| panic!("{shape}: {wrong}"));
    }
}

#[test]
fn the_checkers_find_what_they_look_for() {
    for page in [
        "<p>",
        "<p></b>",
        "<p a=b></p>",
        "<p a=\"<\"></p>",
        "a & b",
        "a > b",
        "</p>",
        "<p a=\"1\" a=\"2\"></p>",
        "<p>\u{202E}</p>",
    ] {
        assert!(parse(page).is_err(), "{page}");
    }
    for page in [
        "<a href=\"x\"></a>",
        "<p onclick=\"x\"></p>",
        "<script></script>",
        "<p style=\"x\"></p>",
        "<style>@import 'x';</style>",
        "<style>p { background: url(x) }</style>",
    ] {
        let elements = parse(page).expect(page);
        assert!(check_self_contained(page, &elements).is_err(), "{page}");
    }
    for page in ["<p id=\"a\"></p><p id=\"a\"></p>", "<p aria-labelledby=\"a\"></p>"] {
        assert!(check_references(&parse(page).expect(page)).is_err(), "{page}");
    }
}

#[test]
fn hostile_text_shows_as_it_is_written() {
    let page = render(&[hostile()]);
    assert!(!page.contains("<script") && !page.contains("</title></style>"));
    let shown = "&lt;script src=&#39;https://example.org/x.js&#39;&gt;&quot;&#39;`&amp;amp;[U+0000][U+202E][U+000A][U+009B]&lt;/script&gt;";
    assert!(page.contains(shown));
    for before in ["<dd><bdi>", "dev-1", "s000", "2026-01-08", "team-day", "</time><br>"] {
        let mut texts = page.split(before).skip(1).map(|after| after.split_once("&lt;/title&gt;"));
        assert!(texts.any(|found| found.is_some_and(|(between, _)| between.len() < 20)), "after {before}");
    }
}

#[test]
fn the_headline_is_rounded_and_exact_in_the_tooltip() {
    let page = render(&[sample(2)]);
    for text in [
        "<dd>15</dd>",
        "71.4% of the calls",
        "<dd>6</dd>",
        "28.6% of the calls",
        "trace.csv.gz under team.toml",
        "<data value=\"18.518518365\" title=\"18.518518365 usd\">18.52</data>",
        "<data value=\"25.925925711\" title=\"25.925925711 usd\">25.93</data>",
        "7.41 usd of it refused",
        "A replay is counterfactual.",
        "21 calls, ",
        "2 days",
        "charge: the actual cost is charged",
        "title=\"2026-01-05T08:00:00.000Z\">2026-01-05 08:00:00</time>",
    ] {
        assert!(page.contains(text), "{text} in\n{page}");
    }
    assert!(!page.contains("Passed over"));
    assert!(render(&[Report { skipped: 3, ..sample(2) }]).contains("3 lines that could not be read"));
}

#[test]
fn caps_are_lines_or_are_told() {
    let page = render(&[sample(35)]);
    assert_eq!(
        page.matches("<line class=\"cap\" x1=\"0\" y1=").count(),
        2 + 2,
        "a line and its key, for day and month"
    );
    let mut apart = sample(35);
    apart.limits[1].kind = "user".to_owned();
    apart.limits[2].cap = Cap::Max(u64::MAX);
    let page = render(&[apart]);
    assert!(!page.contains("<line class=\"cap\""));
    assert!(
        page.contains("<bdi>team-day</bdi> allows each <bdi>user</bdi> 60.00 usd; this chart adds all of them up.")
    );
    assert!(page.contains("<bdi>team-month</bdi> allows 18,446,744,073.71 usd: far above this chart."));
    assert!(
        !render(&[Report { limits: Vec::new(), ..sample(35) }]).contains("start of the month"),
        "no month cap, no month chart"
    );
}

#[test]
fn the_month_starts_over() {
    let page = render(&[sample(28)]);
    let spent = |calls: u64| format!("{:.2}", (calls - calls / 3) as f64 * 1.234_567_891);
    assert!(page.contains(&format!("2026-02-01: {} usd spent since the month began", spent(37))), "{}", spent(37));
}

#[test]
fn rows_that_are_left_out_are_summed() {
    let page = render(&[sample(35)]);
    let shown: u64 = (11..=30).sum();
    let calls: u64 = (10..45).sum();
    assert!(page.contains(&format!("All other calls</th><td class=\"n\">{}</td>", calls - shown)));
    assert!(page.contains("<bdi class=\"short\">s019</bdi>") && !page.contains("<bdi class=\"short\">s020</bdi>"));
    assert!(page.contains(&format!("Calls that name none</th><td class=\"n\">{}</td>", calls - 100)));
}

#[test]
fn refusals_name_day_and_limit() {
    let page = render(&[sample(2)]);
    assert!(page.contains("<title>2026-01-05: 3 of 10 calls refused\nsession: 2\nteam-day: 1</title>"));
    let (_, reports) = shapes().into_iter().find(|(shape, _)| *shape == "twelve limits").expect("the shape");
    let page = render(&reports);
    assert!(page.contains("<bdi>limit-4</bdi></li>") && page.contains("<bdi>other limits</bdi></li>"));
}

#[test]
fn two_reports_stand_side_by_side() {
    let mut strict = sample(35);
    strict.policy = "strict.toml".to_owned();
    strict.limits.remove(0);
    for slice in strict.days.iter_mut().chain(&mut strict.users).chain(&mut strict.sessions) {
        slice.denied_by.remove(0);
        slice.spent[0] /= 2;
    }
    add_up(&mut strict);
    let page = render(&[sample(35), strict]);
    assert!(page.contains("trace.csv.gz under 2 policies"));
    for label in ["A: team.toml, charge", "B: strict.toml, charge"] {
        assert!(page.matches(&format!("<h3><bdi>{label}</bdi></h3>")).count() >= 4, "{label}");
        assert!(page.contains(&format!("<caption><span>{label}: Users")), "{label}");
    }
    assert!(page.contains("against A</dd>") && page.contains("same as A</dd>"));
    let keys = |class: &str, id: &str| {
        let key = format!("<rect class=\"{class}\" width=\"14\" height=\"14\"/></svg><bdi>{id}</bdi>");
        page.matches(&key).count()
    };
    assert_eq!((keys("l1", "team-day"), keys("l0", "team-day")), (2, 0), "a limit looks the same in both");
    let same_ways = render(&[sample(3), Report { admission: Admission::Check, ..sample(3) }]);
    assert!(same_ways.contains("under team.toml, 2 ways") && same_ways.contains("B: team.toml, check"));
    let traces = render(&[sample(3), Report { trace: "other.csv".to_owned(), ..sample(3) }]);
    assert!(traces.contains("Several traces under") && traces.contains("B: team.toml, charge, other.csv"));
}

#[test]
fn pictures_have_a_title_and_a_description_and_tables_have_captions_and_scopes() {
    let page = render(&[sample(35), sample(200)]);
    let elements = parse(&page).expect("well formed");
    let count = |name: &str| elements.iter().filter(|element| element.name == name).count();
    let pictures: Vec<_> = elements.iter().filter(|it| it.name == "svg" && it.get("role") == Some("img")).collect();
    assert_eq!(pictures.len(), 6, "day, month and refusals of both");
    assert!(pictures.iter().all(|it| it.get("aria-labelledby").is_some() && it.get("aria-describedby").is_some()));
    assert_eq!(count("desc"), pictures.len());
    let hidden = |it: &&Element| it.get("aria-hidden") == Some("true") || it.get("viewBox").is_some();
    assert_eq!(elements.iter().filter(|it| it.name == "svg").filter(hidden).count() + pictures.len(), count("svg"));
    assert_eq!(count("caption"), count("table"));
    assert!(elements.iter().filter(|it| it.name == "th").all(|it| it.get("scope").is_some()));
}

struct Element<'a> {
    name: &'a str,
    attributes: Vec<(&'a str, &'a str)>,
}

impl<'a> Element<'a> {
    fn get(&self, name: &str) -> Option<&'a str> {
        self.attributes.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }
}

/// The elements of a page in which every element is closed in order, every attribute is quoted, and every special
/// character in text is a reference: stricter than HTML.
fn parse(page: &str) -> Result<Vec<Element<'_>>, String> {
    let (mut elements, mut open, mut rest) = (Vec::new(), Vec::new(), page);
    rest = rest.strip_prefix("<!DOCTYPE html>").unwrap_or(rest);
    while let Some(start) = rest.find('<') {
        let raw = open.last() == Some(&"style");
        if !raw {
            check_text(&rest[..start])?;
        }
        let end = rest[start..].find('>').ok_or("a tag without end")? + start;
        let (tag, after) = (&rest[start + 1..end], &rest[end + 1..]);
        rest = after;
        if let Some(name) = tag.strip_prefix('/') {
            if open.pop() != Some(name) {
                return Err(format!("</{name}> closes what is not open"));
            }
            continue;
        }
        let element = parse_tag(tag.trim_end_matches('/'))?;
        if !tag.ends_with('/') && !["meta", "br"].contains(&element.name) {
            open.push(element.name);
        }
        elements.push(element);
    }
    check_text(rest)?;
    if open.is_empty() { Ok(elements) } else { Err(format!("{open:?} stay open")) }
}

fn parse_tag(tag: &str) -> Result<Element<'_>, String> {
    let (name, mut rest) = tag.split_once(' ').unwrap_or((tag, ""));
    let mut attributes: Vec<(&str, &str)> = Vec::new();
    while !rest.is_empty() {
        let (key, after) = rest.split_once("=\"").ok_or_else(|| format!("unquoted in <{tag}>"))?;
        let (value, after) = after.split_once('"').ok_or_else(|| format!("no end quote in <{tag}>"))?;
        check_text(value)?;
        if !key.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
            || attributes.iter().any(|(known, _)| *known == key)
        {
            return Err(format!("attribute {key:?} in <{tag}>"));
        }
        attributes.push((key, value));
        rest = after.strip_prefix(' ').unwrap_or(after);
    }
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric()) {
        return Err(format!("element {name:?}"));
    }
    Ok(Element { name, attributes })
}

fn check_text(text: &str) -> Result<(), String> {
    let known = ["amp;", "lt;", "gt;", "quot;", "#39;", "nbsp;"];
    let bare = text.split('&').skip(1).any(|after| !known.iter().any(|name| after.starts_with(name)));
    let hidden = text.contains(|c: char| (c.is_control() && c != '\n') || c == '\u{202E}');
    if bare || hidden || text.contains(['<', '>']) { Err(format!("in text: {text:?}")) } else { Ok(()) }
}

fn check_references(elements: &[Element]) -> Result<(), String> {
    let mut ids = HashSet::new();
    for id in elements.iter().filter_map(|element| element.get("id")) {
        if !ids.insert(id) || !id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
            return Err(format!("id {id:?}"));
        }
    }
    let named =
        |element: &Element| ["aria-labelledby", "aria-describedby"].map(|name| element.get(name).map(str::to_owned));
    match elements.iter().flat_map(named).flatten().find(|id| !ids.contains(id.as_str())) {
        Some(id) => Err(format!("no element {id:?}")),
        None => Ok(()),
    }
}

/// Nothing that runs or loads: no element or attribute that could, no address in the style.
fn check_self_contained(page: &str, elements: &[Element]) -> Result<(), String> {
    let loading =
        ["script", "link", "img", "image", "use", "a", "iframe", "object", "embed", "form", "base", "foreignObject"];
    if let Some(element) = elements.iter().find(|element| loading.contains(&element.name)) {
        return Err(format!("<{}>", element.name));
    }
    for (name, value) in elements.iter().flat_map(|element| &element.attributes) {
        let banned = ["src", "href", "srcset", "style", "action", "data", "background", "fill"].contains(name);
        if banned || name.starts_with("on") || value.contains("url(") {
            return Err(format!("{name}={value:?}"));
        }
    }
    let style =
        page.split_once("<style>").and_then(|(_, rest)| rest.split_once("</style>")).map_or("", |(style, _)| style);
    let outside = style.split("url(").skip(1).any(|address| !address.starts_with('#'));
    if outside || style.contains("@import") || style.contains("http") {
        Err("an address in the style".to_owned())
    } else {
        Ok(())
    }
}
