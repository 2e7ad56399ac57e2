//! Sizes, rates and times for a person. Pure. Powers of 1000, as disks and lines are sold.

/// A size: `999 B`, `1.0 kB`, `104.9 MB`.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if count < 1000 {
        return format!("{count} B");
    }
    let mut value = count as f64;
    let mut unit = "B";
    for next in UNITS {
        if value < 999.95 {
            break; // what is above would be rounded to 1000.0
        }
        value /= 1000.0;
        unit = next;
    }
    format!("{value:.1} {unit}")
}

/// `count` bytes in `ms` as bytes a second; nothing when no time has passed.
pub fn rate(count: u64, ms: u64) -> Option<u64> {
    (ms > 0).then(|| (u128::from(count) * 1000 / u128::from(ms)).min(u128::from(u64::MAX)) as u64)
}

/// A span of time: `8 ms`, `0.4 s`, `42 s`, `3 min 05 s`, `2 h 03 min`, `3 d 04 h`.
pub fn span(ms: u64) -> String {
    if ms < 100 {
        return format!("{ms} ms");
    }
    if ms < 9_950 {
        return format!("{:.1} s", ms as f64 / 1000.0);
    }
    let seconds = ms.saturating_add(500) / 1000;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {:02} s", seconds % 60),
        (0, _, _) => format!("{hours} h {:02} min", minutes % 60),
        _ => format!("{days} d {:02} h", hours % 24),
    }
}

/// Columns under `headers`, each as wide as its widest cell; every line ends with a newline.
pub fn table<const N: usize>(headers: [&str; N], rows: &[[String; N]]) -> String {
    let wide = |text: &str| text.chars().count();
    let widths: [usize; N] = std::array::from_fn(|column| {
        let cells = rows.iter().map(|row| wide(&row[column]));
        cells.chain([wide(headers[column])]).max().unwrap_or(0)
    });
    let mut text = String::new();
    for row in std::iter::once(&headers.map(str::to_owned)).chain(rows) {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            line.push_str(cell);
            line.push_str(&" ".repeat(width - wide(cell) + 2));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (count, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (999_949, "999.9 kB"),
            (999_950, "1.0 MB"),
            (104_857_600, "104.9 MB"),
            (5_368_709_120, "5.4 GB"),
            (u64::MAX, "18.4 EB"),
        ] {
            assert_eq!(bytes(count), text);
        }
    }

    #[test]
    fn rates() {
        assert_eq!(rate(100, 0), None);
        assert_eq!(rate(104_857_600, 500), Some(209_715_200));
        assert_eq!(rate(u64::MAX, 1), Some(u64::MAX));
    }

    #[test]
    fn spans() {
        for (ms, text) in [
            (0, "0 ms"),
            (99, "99 ms"),
            (412, "0.4 s"),
            (9_949, "9.9 s"),
            (9_950, "10 s"),
            (59_499, "59 s"),
            (59_500, "1 min 00 s"),
            (185_000, "3 min 05 s"),
            (7_380_000, "2 h 03 min"),
            (273_600_000, "3 d 04 h"),
        ] {
            assert_eq!(span(ms), text, "{ms}");
        }
    }

    #[test]
    fn tables_are_aligned() {
        let rows = [["ü".to_owned(), "1".to_owned()], ["bcd".to_owned(), String::new()]];
        assert_eq!(table(["A", "B"], &rows), "A    B\nü    1\nbcd\n");
        assert_eq!(table(["A", "B"], &[]), "A  B\n");
    }
}
