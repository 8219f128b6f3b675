//! The parts on a terminal.

use super::model::{Model, Part};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Block, Paragraph, Sparkline};

/// Width from which two parts stand side by side.
const WIDE: u16 = 130;

/// Draws everything.
pub(super) fn all(frame: &mut Frame<'_>, model: &Model, is_paused: bool, trouble: Option<&str>) {
    let area = frame.area();
    let [body, foot] = Layout::vertical([Constraint::Min(0), Constraint::Length(1)]).areas(area);
    let parts = model.parts();
    let columns = if area.width >= WIDE { 2 } else { 1 };
    let areas = Layout::horizontal(vec![Constraint::Fill(1); columns]).split(body);
    for (column, area) in areas.iter().enumerate() {
        let own: Vec<&Part> = parts.iter().skip(column).step_by(columns).collect();
        let mut heights: Vec<_> = own
            .iter()
            .map(|p| Constraint::Length(p.lines.len() as u16 + 2))
            .collect();
        // The last column ends with the sparkline.
        let has_line = column + 1 == columns;
        if has_line {
            heights.push(Constraint::Length(5));
        }
        let rows = Layout::vertical(heights).split(*area);
        for (p, row) in own.iter().zip(rows.iter()) {
            draw_part(frame, p, *row);
        }
        if has_line && let Some(row) = rows.last() {
            let points: Vec<u64> = model.p99_us.iter().copied().collect();
            let now = points.last().copied().unwrap_or(0);
            let title = format!(" p99 from datagram to report, {now} us ");
            let line = Sparkline::default()
                .data(points)
                .style(Style::new().fg(Color::Cyan))
                .block(Block::bordered().title(title));
            frame.render_widget(line, *row);
        }
    }
    let keys = match (trouble, is_paused) {
        (Some(why), _) => Line::styled(why.to_owned(), Style::new().fg(Color::Red)),
        (None, true) => Line::styled(
            "PAUSED  p goes on  q ends",
            Style::new().add_modifier(Modifier::REVERSED),
        ),
        (None, false) => Line::from("p pauses  q ends"),
    };
    frame.render_widget(keys, foot);
}

fn draw_part(frame: &mut Frame<'_>, part: &Part, area: Rect) {
    let lines = part.lines.iter().map(|l| {
        let style = if l.starts_with("NOT READY") {
            Style::new().fg(Color::Red).add_modifier(Modifier::BOLD)
        } else {
            Style::new()
        };
        Line::styled(l.clone(), style)
    });
    let block = Block::bordered().title(format!(" {} ", part.title));
    frame.render_widget(Paragraph::new(lines.collect::<Vec<_>>()).block(block), area);
}
