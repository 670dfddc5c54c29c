//! `cargo xtask pictures`: what the commands really print, as pictures for the README and the guides.
//!
//! Each scene runs the gateway's binary in a pseudo-terminal (`script` of util-linux), so that it prints as it does for a
//! person, and writes the screen as SVG: text that stays sharp and can be searched. Nothing in a picture is written by
//! hand but the prompt. Scenes whose output holds times change from run to run; run it when the output has changed.

use std::{fmt::Write as _, fs, path::Path};

use crate::{
    Result,
    shell::{self, cargo, output, program, root, target_dir},
};

const HELP: &str = "\
usage: cargo xtask pictures

Runs the scenes of the documentation and writes docs/images/*.svg. Needs `script` (util-linux).
";

/// A picture: the set it starts from, what a person changed in it, and what they typed.
struct Scene {
    name: &'static str,
    example: &'static str,
    /// File, what is there, what it becomes.
    edits: &'static [(&'static str, &'static str, &'static str)],
    typed: &'static str,
}

const SCENES: [Scene; 4] = [
    Scene {
        name: "plan",
        example: "quickstart",
        edits: &[
            ("policies.yaml", "requests: \"100\"", "requests: \"5000\""),
            ("policies.yaml", "[{ type: ApiKey }]", "[{ type: ApiKey }, { type: Anonymous }]"),
            ("gateway.yaml", "value: /orders }", "value: / }"),
        ],
        typed: "bartizan plan --base live -f new",
    },
    Scene {
        name: "test",
        example: "quickstart",
        edits: &[("policies.yaml", "requests: \"100\"", "requests: \"5000\"")],
        typed: "bartizan test new",
    },
    Scene { name: "audit", example: "canary", edits: &[], typed: "bartizan audit new" },
    Scene {
        name: "explain",
        example: "roles",
        edits: &[],
        typed: "bartizan explain GET http://localhost/reports --as sam --config new",
    },
];

/// Characters a line; what is longer is broken by the terminal as it is for a person.
const COLUMNS: usize = 118;

/// `cargo xtask pictures`.
pub(crate) fn run(arguments: &[String]) -> Result {
    if shell::flag(arguments, "--help") {
        print!("{HELP}");
        return Ok(());
    }
    shell::known(arguments, &[])?;
    shell::run(cargo().args(["build", "--quiet", "--package", "bartizan"]))?;
    let folder = root().join("docs").join("images");
    make(&folder)?;
    for scene in &SCENES {
        let screen = play(scene)?;
        let path = folder.join(format!("{}.svg", scene.name));
        write(&path, &picture(scene.typed, &lines(&screen)))?;
        println!("{}", path.display());
    }
    Ok(())
}

/// Runs a scene in a folder of its own and gives what was on the screen.
fn play(scene: &Scene) -> Result<String> {
    let stage = target_dir().join("pictures").join(scene.name);
    for set in ["live", "new"] {
        let to = stage.join(set);
        make(&to)?;
        let from = root().join("examples").join(scene.example);
        for entry in fs::read_dir(&from).map_err(|error| format!("{}: {error}", from.display()))? {
            let file = entry.map_err(|error| format!("{}: {error}", from.display()))?.path();
            if file.extension().is_some_and(|extension| extension == "yaml") {
                let name = file.file_name().unwrap_or_default();
                fs::copy(&file, to.join(name)).map_err(|error| format!("{}: {error}", file.display()))?;
            }
        }
    }
    for (file, before, after) in scene.edits {
        let path = stage.join("new").join(file);
        let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        if !text.contains(before) {
            return Err(format!(
                "{}: the scene `{}` no longer fits: no `{before}`",
                path.display(),
                scene.name
            ));
        }
        write(&path, &text.replace(before, after))?;
    }
    let binary = target_dir().join("debug").join("bartizan");
    let typed = scene.typed.replacen("bartizan", &binary.display().to_string(), 1);
    // What a command says by its exit code is part of no picture.
    let script = format!("stty cols {COLUMNS}; {typed}; true");
    output(program("script").args(["-qec", &script, "/dev/null"]).current_dir(&stage))
}

fn make(folder: &Path) -> Result {
    fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))
}

fn write(path: &Path, text: &str) -> Result {
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}

/// How some characters look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Look {
    is_bold: bool,
    /// Red, green, yellow, blue as the terminal numbers them.
    colour: Option<u8>,
}

impl Look {
    /// The same after a sequence that selects graphic renditions (ECMA-48 §8.3.117).
    fn after(mut self, parameters: &str) -> Self {
        for parameter in parameters.split(';') {
            match parameter.parse().unwrap_or(0_u8) {
                0 => self = Look::default(),
                1 => self.is_bold = true,
                colour @ 30..=37 => self.colour = Some(colour - 30),
                colour @ 90..=97 => self.colour = Some(colour - 90),
                39 => self.colour = None,
                _ => {}
            }
        }
        self
    }

    fn attributes(self) -> String {
        let weight = if self.is_bold { " font-weight=\"700\"" } else { "" };
        let fill = match self.colour {
            Some(1) => "#ff7b72",
            Some(2) => "#7ee787",
            Some(3) => "#e3b341",
            Some(4) => "#79c0ff",
            Some(5) => "#d2a8ff",
            Some(6) => "#56d4dd",
            _ if self.is_bold => "#f0f6fc",
            _ => "#c9d1d9",
        };
        format!(" fill=\"{fill}\"{weight}")
    }
}

/// A run of characters of one look, and the column where it begins.
struct Run {
    column: usize,
    text: String,
    look: Look,
}

/// The screen's lines as runs.
fn lines(screen: &str) -> Vec<Vec<Run>> {
    let mut look = Look::default();
    let mut all = Vec::new();
    for line in screen.trim_end().lines() {
        let mut runs = Vec::new();
        let mut column = 0;
        for (place, part) in line.trim_end_matches('\r').split("\u{1b}[").enumerate() {
            let text = match part.split_once('m') {
                Some((parameters, text)) if place > 0 => {
                    look = look.after(parameters);
                    text
                }
                _ => part,
            };
            for (at, word) in words(text) {
                runs.push(Run { column: column + at, text: word.to_owned(), look });
            }
            column += text.chars().count();
        }
        all.push(runs);
    }
    all
}

/// What stands between two or more spaces, and the column of each: viewers fold spaces, columns must not move.
fn words(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut column = 0;
    for part in text.split("  ") {
        let word = part.trim_start();
        if !word.is_empty() {
            found.push((column + part.chars().count() - word.chars().count(), word.trim_end()));
        }
        column += part.chars().count() + 2;
    }
    found
}

/// Width of a character and height of a line in the picture's units.
const CELL: f32 = 8.4;
const LINE: f32 = 19.0;
const MARGIN: f32 = 20.0;
const BAR: f32 = 36.0;

/// The window.
fn picture(typed: &str, lines: &[Vec<Run>]) -> String {
    let prompt = Run { column: 0, text: format!("$ {typed}"), look: Look { is_bold: true, colour: Some(2) } };
    let widest = lines.iter().flatten().map(|run| run.column + run.text.chars().count()).max().unwrap_or(0);
    let width = widest.max(80) as f32 * CELL + 2.0 * MARGIN;
    let height = (lines.len() + 1) as f32 * LINE + BAR + MARGIN;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\" \
         aria-label=\"{label}\">\n<rect width=\"100%\" height=\"100%\" rx=\"10\" fill=\"#0d1117\"/>\n",
        label = escaped(&format!("What `{typed}` prints")),
    );
    for (place, fill) in ["#ff5f57", "#febc2e", "#28c840"].iter().enumerate() {
        let x = MARGIN + place as f32 * 18.0;
        // Writing to a String cannot fail.
        let _ = writeln!(out, "<circle cx=\"{x:.0}\" cy=\"18\" r=\"5.5\" fill=\"{fill}\"/>");
    }
    out.push_str(
        "<g font-family=\"ui-monospace,SFMono-Regular,Menlo,Consolas,monospace\" font-size=\"14\">\n",
    );
    for (row, runs) in std::iter::once(&vec![prompt]).chain(lines).enumerate() {
        let y = BAR + (row as f32 + 0.75) * LINE;
        for run in runs {
            let text = &*run.text;
            let x = MARGIN + run.column as f32 * CELL;
            // The length holds the columns together in whatever fixed font there is.
            let length = text.chars().count() as f32 * CELL;
            let _ = writeln!(
                out,
                "<text x=\"{x:.1}\" y=\"{y:.1}\" textLength=\"{length:.1}\" lengthAdjust=\"spacingAndGlyphs\"{}>{}</text>",
                run.look.attributes(),
                escaped(text),
            );
        }
    }
    out.push_str("</g>\n</svg>\n");
    out
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_becomes_runs_of_one_look_at_their_columns() {
        let lines = lines("plain \u{1b}[1;31mgrave\u{1b}[0m: é  far off\r\n\u{1b}[1mend");
        let seen: Vec<_> = lines.iter().flatten().map(|run| (run.column, &*run.text, run.look)).collect();
        let bold = Look { is_bold: true, colour: None };
        let grave = Look { is_bold: true, colour: Some(1) };
        assert_eq!(
            seen,
            [
                (0, "plain", Look::default()),
                (6, "grave", grave),
                (11, ": é", Look::default()),
                (16, "far off", Look::default()),
                (0, "end", bold)
            ]
        );
    }

    #[test]
    fn text_cannot_become_markup() {
        let line = vec![Run { column: 0, text: "<script>&\"".to_owned(), look: Look::default() }];
        let picture = picture("x", &[line]);
        assert!(picture.contains("&lt;script&gt;&amp;&quot;") && !picture.contains("<script"), "{picture}");
    }
}
