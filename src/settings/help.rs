//! The text of `--help`, made of a program's table.

use super::{Kind, Program};

const LEFT: usize = 34;
const WIDTH: usize = 100;

/// The help of `program`.
pub fn help(program: &Program) -> String {
    let arguments =
        if program.arguments.is_empty() { String::new() } else { format!(" {}", program.arguments) };
    let mut text = format!("{}\n\nUsage: {} [FLAGS]{arguments}\n\n", program.about, program.name);
    text.push_str("Flags:\n");
    for flag in program.flags {
        row(&mut text, &format!("{} {}", flag.name, flag.takes), flag.help);
    }
    if !program.settings.is_empty() {
        row(&mut text, "--env-file PATH", "file of settings [./.env, if there is one]");
    }
    row(&mut text, "-h, --help", "this text");
    row(&mut text, "-V, --version", "the version");
    if !program.settings.is_empty() {
        text.push_str(
            "\nSettings. Each can be a flag, an environment variable (PORT for --port) or a line of .env;\n\
             the flag beats the environment, the environment the file. Secrets are taken from no flag.\n",
        );
    }
    for kind in [Kind::Plain, Kind::Secret, Kind::Unsupported] {
        for setting in program.settings.iter().filter(|setting| setting.kind == kind) {
            let (left, note) = match kind {
                Kind::Plain => (format!("{} {}", setting.flag(), setting.takes), ""),
                Kind::Secret => (setting.name.to_owned(), ""),
                Kind::Unsupported => {
                    (setting.name.to_owned(), " (this program was built without it: refused)")
                }
            };
            let default = match (kind, setting.default) {
                (Kind::Unsupported, _) | (_, "") => String::new(),
                (Kind::Plain | Kind::Secret, default) => format!(" [{default}]"),
            };
            row(&mut text, &left, &format!("{}{note}{default}", setting.help));
        }
    }
    if !program.notes.is_empty() {
        text.push('\n');
        text.push_str(program.notes);
        text.push('\n');
    }
    text
}

/// One row of two columns; the right one is wrapped.
fn row(text: &mut String, left: &str, right: &str) {
    let mut line = format!("  {:<width$}", left.trim_end(), width = LEFT - 2);
    let mut length = line.chars().count();
    if length > LEFT {
        line.push(' ');
        length += 1;
    }
    let mut first = true;
    for word in right.split(' ') {
        let wide = word.chars().count();
        if !first && length + 1 + wide > WIDTH {
            line.push('\n');
            line.push_str(&" ".repeat(LEFT));
            length = LEFT;
            first = true;
        }
        if !first {
            line.push(' ');
            length += 1;
        }
        line.push_str(word);
        length += wide;
        first = false;
    }
    text.push_str(line.trim_end());
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::super::{AGENT, SERVER};
    use super::*;

    #[test]
    fn help_names_every_setting_and_fits_a_terminal() {
        for program in [&SERVER, &AGENT] {
            let text = help(program);
            for setting in program.settings {
                let name = match setting.kind {
                    Kind::Plain => setting.flag(),
                    Kind::Secret | Kind::Unsupported => setting.name.to_owned(),
                };
                assert!(text.contains(&format!("\n  {name} ")), "{name} in\n{text}");
            }
            assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
            assert!(!text.contains("--auth-secret"));
        }
    }
}
