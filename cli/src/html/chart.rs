//! One kind of picture: a stack of amounts per day, and caps as lines across it.
//!
//! Widths are percentages and heights pixels, so that a chart follows the width of its box while its text keeps
//! its size, without a script.

use super::axis::{DayTick, Scale};
use super::escape::{elide, escape};
use super::{at, each};

/// Height of the plot, in pixels.
const HEIGHT: f64 = 200.0;
/// Room above the plot for a label and below it for two lines of dates.
const ABOVE: f64 = 16.0;
const BELOW: f64 = 40.0;
/// More days than this are drawn as areas instead of bars, and share tooltips.
const BARS_MAX: usize = 186;
/// Width of the drawing space of areas, which is stretched to the width of the plot.
const AREA_WIDTH: f64 = 1_000.0;

/// A chart; all text in it is plain and is escaped where it is written.
pub(super) struct Chart<'a> {
    /// Unique in the page, and ours: never from input.
    pub(super) id: String,
    pub(super) title: String,
    /// What the picture shows, in a sentence or two.
    pub(super) summary: String,
    pub(super) scale: &'a Scale,
    /// The tooltip of each day.
    pub(super) days: Vec<String>,
    pub(super) ticks: Vec<DayTick>,
    /// From the bottom up.
    pub(super) series: Vec<Series>,
    pub(super) caps: Vec<CapLine>,
}

/// One layer of the stack.
pub(super) struct Series {
    pub(super) label: String,
    /// The class that fills it; see `style.css`.
    pub(super) class: &'static str,
    /// By day.
    pub(super) values: Vec<u128>,
}

/// A line across the chart.
pub(super) struct CapLine {
    pub(super) id: String,
    pub(super) text: String,
    pub(super) amount: u128,
}

impl Chart<'_> {
    /// The chart as a `<figure>`.
    pub(super) fn figure(&self) -> String {
        let Self { id, title, summary, .. } = self;
        let (title, summary, plot) = (escape(title), escape(summary), self.plot());
        let height = ABOVE + HEIGHT + BELOW;
        format!(
            r#"<figure class="chart"><figcaption><strong>{title}</strong><span>{summary}</span></figcaption>
{legend}
<div class="plot"><svg role="img" aria-labelledby="{id}-title" aria-describedby="{id}-desc" width="100%" height="{height}">
<title id="{id}-title">{title}</title><desc id="{id}-desc">{summary}</desc>
{plot}</svg></div></figure>
"#,
            legend = self.legend(),
        )
    }

    fn legend(&self) -> String {
        let entries = each(&self.series, |series| {
            format!("<li>{}<bdi>{}</bdi></li>", swatch(series.class), escape(&series.label))
        });
        let line = r#"<svg class="swatch" aria-hidden="true" width="22" height="14"><line class="cap" x1="0" y1="7" x2="22" y2="7"/></svg>"#;
        let caps =
            each(&self.caps, |cap| format!("<li>{line}<bdi>{}</bdi>&nbsp;{}</li>", escape(&cap.id), escape(&cap.text)));
        format!(r#"<ul class="legend">{entries}{caps}</ul>"#)
    }

    fn plot(&self) -> String {
        let layers = if self.days.len() > BARS_MAX { self.areas() + &self.bands() } else { self.bars() };
        format!("{}{layers}{}{}{}", self.grid(), baseline(), self.cap_lines(), self.dates())
    }

    fn grid(&self) -> String {
        each(&self.scale.ticks, |(amount, label)| {
            let y = self.y(*amount);
            format!(
                r#"<line class="grid" x1="0" y1="{line}" x2="100%" y2="{line}"/><text class="tick" x="-8" y="{text}">{label}</text>"#,
                line = px(y),
                text = px(y + 4.0),
            )
        })
    }

    fn bars(&self) -> String {
        let slot = 100.0 / self.days.len().max(1) as f64;
        let width = (slot * 0.78).min(8.0);
        let mut out = String::new();
        for (index, tooltip) in self.days.iter().enumerate() {
            let left = slot * index as f64;
            out.push_str(&band(left, slot, tooltip));
            out.push_str(&self.bar(index, left + (slot - width) / 2.0, width));
            out.push_str("</g>\n");
        }
        out
    }

    fn bar(&self, index: usize, left: f64, width: f64) -> String {
        let mut below = 0_u128;
        each(&self.series, |series| {
            let value = at(&series.values, index);
            let (bottom, above) = (self.y(below), below.saturating_add(value));
            below = above;
            if value == 0 {
                return String::new();
            }
            let top = self.y(above).min(bottom - 1.0);
            format!(
                r#"<rect class="{}" x="{}%" y="{}" width="{}%" height="{}"/>"#,
                series.class,
                px(left),
                px(top),
                px(width),
                px(bottom - top),
            )
        })
    }

    /// Areas in steps, the highest first so that each is seen above the one below it.
    fn areas(&self) -> String {
        let width = AREA_WIDTH / self.days.len() as f64;
        let mut below = vec![0_u128; self.days.len()];
        let mut paths = Vec::new();
        for series in &self.series {
            let mut path = format!("M0 {}", px(self.y(0)));
            for (index, sum) in below.iter_mut().enumerate() {
                *sum = sum.saturating_add(at(&series.values, index));
                path.push_str(&format_args!("V{}H{}", px(self.y(*sum)), px(width * (index + 1) as f64)).to_string());
            }
            paths.push(format!(r#"<path class="{}" d="{path}V{}Z"/>"#, series.class, px(self.y(0))));
        }
        paths.reverse();
        format!(
            r#"<svg x="0" y="0" width="100%" height="{height}" viewBox="0 0 {AREA_WIDTH} {height}" preserveAspectRatio="none">{}</svg>"#,
            paths.concat(),
            height = px(ABOVE + HEIGHT),
        )
    }

    /// What areas are hovered by: a tooltip for several days.
    fn bands(&self) -> String {
        let (count, size) = (self.days.len(), self.days.len().div_ceil(BARS_MAX));
        let mut out = String::new();
        for (index, days) in self.days.chunks(size).enumerate() {
            let (left, width) =
                (100.0 / count as f64 * (index * size) as f64, 100.0 / count as f64 * days.len() as f64);
            out.push_str(&band(left, width, &days.join("\n")));
            out.push_str("</g>\n");
        }
        out
    }

    fn cap_lines(&self) -> String {
        let (x, class) = if self.lower_at_start() { ("0", "cap-label start") } else { ("100%", "cap-label") };
        each(&self.caps, |cap| {
            let y = self.y(cap.amount);
            format!(
                r#"<line class="cap" x1="0" y1="{line}" x2="100%" y2="{line}"/><text class="{class}" x="{x}" y="{text}">{} {}</text>"#,
                escape(&elide(&cap.id, 24)),
                escape(&cap.text),
                line = px(y),
                text = px(y - 5.0),
            )
        })
    }

    /// Whether the first third of the days stays lower than the last: labels go where they cover less.
    fn lower_at_start(&self) -> bool {
        let height =
            |day: usize| self.series.iter().map(|series| at(&series.values, day)).fold(0_u128, u128::saturating_add);
        let (count, third) = (self.days.len(), self.days.len().div_ceil(3));
        (0..third).map(height).max() < (count - third..count).map(height).max()
    }

    fn dates(&self) -> String {
        let slot = 100.0 / self.days.len().max(1) as f64;
        let y = ABOVE + HEIGHT;
        each(&self.ticks, |tick| {
            let x = px(slot * (tick.index as f64 + 0.5));
            let class = if tick.minor { "date minor" } else { "date" };
            let year = tick.year.as_deref().map_or(String::new(), |year| {
                format!(r#"<text class="{class}" x="{x}%" y="{}">{year}</text>"#, px(y + 32.0))
            });
            format!(
                r#"<line class="{class}" x1="{x}%" y1="{y}" x2="{x}%" y2="{}"/><text class="{class}" x="{x}%" y="{}">{}</text>{year}"#,
                px(y + 4.0),
                px(y + 17.0),
                tick.label,
            )
        })
    }

    fn y(&self, amount: u128) -> f64 {
        ABOVE + HEIGHT * (1.0 - self.scale.height(amount))
    }
}

fn baseline() -> String {
    let y = px(ABOVE + HEIGHT);
    format!(r#"<line class="base" x1="0" y1="{y}" x2="100%" y2="{y}"/>"#)
}

/// Opens a group with a tooltip over the whole height.
fn band(left: f64, width: f64, tooltip: &str) -> String {
    let lines = each(tooltip.split('\n'), |line| format!("{}\n", escape(line)));
    format!(
        r#"<g><title>{}</title><rect class="band" x="{}%" y="{ABOVE}" width="{}%" height="{HEIGHT}"/>"#,
        lines.trim_end(),
        px(left),
        px(width),
    )
}

/// A little square filled like the series of that class.
fn swatch(class: &str) -> String {
    format!(
        r#"<svg class="swatch" aria-hidden="true" width="14" height="14"><rect class="{class}" width="14" height="14"/></svg>"#
    )
}

/// A coordinate without more digits than can be seen.
pub(super) fn px(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
