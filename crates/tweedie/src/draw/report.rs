//! Reports as one self-contained HTML file: style and pictures inside, no script, no link, all text escaped.

use std::fmt::Write;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::{Error, Result};

const STYLE: &str = "\
:root{color-scheme:light dark;--page:#fff;--ink:#222;--soft:#666;--line:#ddd;--band:#f6f7f8}\
@media(prefers-color-scheme:dark){:root{--page:#16181b;--ink:#e6e6e6;--soft:#a0a4a8;--line:#383c40;--band:#1f2226}}\
body{margin:0;background:var(--page);color:var(--ink);font:17px/1.55 system-ui,sans-serif}\
main{max-width:62rem;margin:0 auto;padding:2.5rem 1.5rem 5rem}\
h1{overflow-wrap:anywhere;font-size:2rem;line-height:1.2;margin:0 0 1.5rem}\
h2{font-size:1.35rem;margin:2.75rem 0 .75rem;padding-bottom:.25rem;border-bottom:1px solid var(--line)}\
p{max-width:44rem;margin:.75rem 0}\
.wide{overflow-x:auto;margin:1.25rem 0}\
table{border-collapse:collapse;font-variant-numeric:tabular-nums}\
th,td{padding:.4rem .9rem;text-align:left;white-space:nowrap}\
th{border-bottom:2px solid var(--soft);font-weight:600}\
td{border-bottom:1px solid var(--line)}\
tbody tr:nth-child(even){background:var(--band)}\
.number{text-align:right}\
figure{margin:1.75rem 0}\
.beside{display:flex;flex-wrap:wrap;gap:1.5rem}.beside figure{flex:1 1 22rem;margin:1rem 0}\
img{display:block;max-width:100%;height:auto;border-radius:6px;background:#fff}\
figcaption{color:var(--soft);font-size:.92rem;margin-top:.5rem;max-width:44rem}\
pre{background:var(--band);border:1px solid var(--line);border-radius:6px;padding:1rem;overflow-x:auto;\
font:14px/1.5 ui-monospace,monospace}\
@media print{main{max-width:none;padding:0}figure,table,pre{break-inside:avoid}}";

/// A report under construction: headings, paragraphs, tables, pictures and preformatted text, in the order added.
///
/// ```
/// use tweedie::draw::Report;
/// let mut report = Report::new("Two runs");
/// report.heading("Quality").paragraph("Lower is better.");
/// report.table(&["run", "bits/dim"], &[vec!["a".into(), "2.91".into()]])?;
/// assert!(report.html().contains("<td class=\"number\">2.91</td>"));
/// # Ok::<(), tweedie::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Report {
    title: String,
    body: String,
}

impl Report {
    /// A report with a title and no content.
    pub fn new(title: &str) -> Self {
        Self { title: escaped(title), body: String::new() }
    }

    /// Adds a heading, which begins a section.
    pub fn heading(&mut self, text: &str) -> &mut Self {
        self.element("h2", text)
    }

    /// Adds a paragraph.
    pub fn paragraph(&mut self, text: &str) -> &mut Self {
        self.element("p", text)
    }

    /// Adds text that keeps its lines and spaces, such as a recipe.
    pub fn preformatted(&mut self, text: &str) -> &mut Self {
        // A browser drops one line break after the tag.
        self.body.push_str("<pre>\n");
        self.body.push_str(&escaped(text));
        self.body.push_str("</pre>\n");
        self
    }

    fn element(&mut self, tag: &str, text: &str) -> &mut Self {
        self.body.push_str(&format!("<{tag}>{}</{tag}>\n", escaped(text)));
        self
    }

    /// Adds a table. A column of numbers (each cell a number, with or without ± and an error, or empty, or a dash) is
    /// aligned to the right, any other to the left.
    ///
    /// # Errors
    /// [`Error::Shape`] if a row has not one cell for each heading.
    pub fn table(&mut self, headings: &[&str], rows: &[Vec<String>]) -> Result<&mut Self> {
        if let Some(row) = rows.iter().find(|row| row.len() != headings.len()) {
            let expected = format!("{}, one for each heading", headings.len());
            return Err(Error::shape("row of a table", format!("{} cells", row.len()), expected));
        }
        let right: Vec<bool> = (0..headings.len()).map(|c| is_numeric(rows, c)).collect();
        let cells = |tag: &str, cells: &mut dyn Iterator<Item = &str>| {
            let mut line = String::from("<tr>");
            for (cell, right) in cells.zip(&right) {
                let class = if *right { " class=\"number\"" } else { "" };
                let _ = write!(line, "<{tag}{class}>{}</{tag}>", escaped(cell));
            }
            line + "</tr>\n"
        };
        let head = cells("th", &mut headings.iter().copied());
        let lines: String =
            rows.iter().map(|row| cells("td", &mut row.iter().map(String::as_str))).collect();
        self.body.push_str(&format!(
            "<div class=\"wide\"><table>\n<thead>{head}</thead>\n<tbody>\n{lines}</tbody>\n</table></div>\n"
        ));
        Ok(self)
    }

    /// Adds a picture from the bytes of a PNG file, with a caption.
    ///
    /// # Errors
    /// [`Error::Config`] if the bytes do not begin as a PNG file does.
    pub fn picture(&mut self, png: &[u8], caption: &str) -> Result<&mut Self> {
        self.body.push_str(&figure(png, caption)?);
        Ok(self)
    }

    /// Adds pictures beside each other where the page is wide enough, each with its caption.
    ///
    /// # Errors
    /// As [`Report::picture`].
    pub fn pictures(&mut self, pictures: &[(&[u8], &str)]) -> Result<&mut Self> {
        let figures = pictures
            .iter()
            .map(|(png, caption)| figure(png, caption))
            .collect::<Result<String>>()?;
        self.body.push_str(&format!("<div class=\"beside\">{figures}</div>\n"));
        Ok(self)
    }

    /// The report as HTML.
    pub fn html(&self) -> String {
        let (title, body) = (&self.title, &self.body);
        format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta http-equiv=\"Content-Security-Policy\" \
             content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">\n\
             <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n\
             <body>\n<main>\n<h1>{title}</h1>\n{body}</main>\n</body>\n</html>\n"
        )
    }

    /// Writes the report, atomically.
    ///
    /// # Errors
    /// [`Error::Io`] if the folder or the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        crate::files::write_atomically(path, self.html().as_bytes())
    }
}

/// A picture with its caption as HTML.
fn figure(png: &[u8], caption: &str) -> Result<String> {
    let Some((width, height)) = png_size(png) else {
        return Err(Error::config("picture", "not a PNG file", "the bytes of a PNG file"));
    };
    let (caption, data) = (escaped(caption), STANDARD.encode(png));
    Ok(format!(
        "<figure><img width=\"{width}\" height=\"{height}\" alt=\"{caption}\" \
         src=\"data:image/png;base64,{data}\"><figcaption>{caption}</figcaption></figure>\n"
    ))
}

/// Width and height from the header of a PNG file.
fn png_size(png: &[u8]) -> Option<(u32, u32)> {
    let header = png.strip_prefix(b"\x89PNG\r\n\x1a\n")?.get(..16)?;
    let number = |at: usize| header[at..at + 4].iter().fold(0, |n, &b| n << 8 | u32::from(b));
    (&header[4..8] == b"IHDR").then(|| (number(8), number(12)))
}

/// The text with HTML's special characters escaped, and control characters replaced.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            '\n' | '\t' => safe.push(letter),
            _ if letter.is_control() => safe.push('\u{fffd}'),
            _ => safe.push(letter),
        }
    }
    safe
}

/// Whether a column holds numbers and nothing else.
fn is_numeric(rows: &[Vec<String>], column: usize) -> bool {
    let absent = |cell: &str| matches!(cell, "" | "-" | "–" | "—");
    let number = |cell: &str| {
        let bare = cell.trim_start_matches(['≤', '≥', '<', '>', '≈', ' ']);
        let first = bare.split([' ', '±', '%']).next().unwrap_or("");
        first.replace('−', "-").replace(',', "").parse::<f64>().is_ok()
    };
    let mut cells = rows.iter().map(|row| row[column].trim()).filter(|c| !absent(c)).peekable();
    cells.peek().is_some() && cells.all(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn png() -> Vec<u8> {
        crate::draw::png_bytes(&image::RgbImage::from_pixel(7, 5, image::Rgb([1, 2, 3]))).unwrap()
    }

    fn full() -> Report {
        let mut report = Report::new("a < b & \"c\"");
        report
            .heading("It's <h2>")
            .paragraph("1 < 2 & 3 > 2")
            .preformatted("\n[a]\n\tb = '<x>'\0\n");
        report.picture(&png(), "A \"caption\" <b>").unwrap();
        report.table(&["name", "<n>"], &[vec!["<script>".into(), "1".into()]]).unwrap();
        report
    }

    /// Checks that all tags nest, and gives the text between them.
    fn text_of(html: &str) -> String {
        let (mut open, mut text, mut rest) = (Vec::new(), String::new(), html);
        while let Some((before, after)) = rest.split_once('<') {
            text.push_str(before);
            let (tag, after) = after.split_once('>').unwrap();
            rest = after;
            let name = tag.split_whitespace().next().unwrap();
            match name.strip_prefix('/') {
                Some(name) => assert_eq!(open.pop().as_deref(), Some(name)),
                None if matches!(name, "!DOCTYPE" | "meta" | "img") => {}
                None => open.push(name.to_string()),
            }
        }
        assert!(open.is_empty(), "{open:?}");
        text
    }

    #[test]
    fn everything_is_escaped_and_nothing_comes_from_outside() {
        let html = full().html();
        let text = text_of(&html);
        for wanted in ["1 &lt; 2 &amp; 3 &gt; 2", "It&#39;s &lt;h2&gt;", "&lt;script&gt;"] {
            assert!(text.contains(wanted), "{wanted}");
        }
        assert!(html.contains("<pre>\n\n[a]\n\tb = &#39;&lt;x&gt;&#39;\u{fffd}\n</pre>"));
        assert!(html.contains("alt=\"A &quot;caption&quot; &lt;b&gt;\""));
        for outside in ["http:", "https:", "<script", "<link", "@import", "url(", "href"] {
            assert!(!html.contains(outside), "{outside}");
        }
    }

    #[test]
    fn pictures_are_inside_whole() {
        let html = full().html();
        let (_, rest) = html.split_once("data:image/png;base64,").unwrap();
        let (data, _) = rest.split_once('"').unwrap();
        assert_eq!(STANDARD.decode(data).unwrap(), png());
        assert!(html.contains("<img width=\"7\" height=\"5\""));
        for broken in [&b""[..], b"GIF89a", b"\x89PNG\r\n\x1a\n", &png()[..20]] {
            assert!(Report::new("").picture(broken, "").is_err());
        }
    }

    #[test]
    fn columns_of_numbers_are_aligned_to_the_right() {
        let column = |cells: &[&str]| {
            let rows: Vec<Vec<String>> = cells.iter().map(|c| vec![c.to_string()]).collect();
            is_numeric(&rows, 0)
        };
        let numbers = ["1", "−2.5e-3", "0.1 ± 0.2", "3±1", "1,204", "≤ 2.9", "12%", "—", "NaN", ""];
        assert!(column(&numbers));
        assert!(!column(&["1", "one"]) && !column(&["—", ""]) && !column(&["1", "± 2"]));
        let rows = [vec!["a".to_string()]];
        assert!(matches!(Report::new("").table(&["x", "y"], &rows), Err(Error::Shape { .. })));
    }
}
