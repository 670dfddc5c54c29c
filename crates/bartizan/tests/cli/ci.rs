//! The pipelines under `examples/ci`: every command in them is run, so that none names what does not exist.

use std::fs;

use bartizan_testkit::TempDir;

use crate::bartizan;

/// The commands of a pipeline: from each `bartizan ` to what ends it in a shell, its words split, variables filled.
fn commands(text: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for line in text.lines().filter(|line| !line.trim_start().starts_with('#')) {
        let from = line.find("bartizan ").filter(|at| {
            let before = line[..*at].trim_end();
            // A command stands at the beginning of a step, or behind a `;`.
            before.is_empty() || before.ends_with([';', '-', ':', '{', '|'])
        });
        let rest = from
            .map(|from| &line[from + "bartizan ".len()..])
            .filter(|rest| rest.starts_with(char::is_alphabetic));
        let Some(rest) = rest else { continue };
        found.push(words(rest.split([';', '|', '>', '}']).next().unwrap_or_default()));
    }
    found
}

/// Words of a shell: blanks separate, quotes hold together, a variable is one word.
fn words(command: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    for letter in command.trim().chars() {
        match (quote, letter) {
            (None, '"' | '\'') => quote = Some(letter),
            (Some(open), close) if open == close => quote = None,
            (None, ' ') => words.push(std::mem::take(&mut word)),
            (_, other) => word.push(other),
        }
    }
    words.push(word);
    words
        .iter()
        .map(|word| if word.starts_with('$') { "a variable".to_owned() } else { word.clone() })
        .collect()
}

#[test]
fn the_commands_of_the_pipelines_are_those_that_the_binary_has() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/ci");
    for pipeline in [".github/workflows/gateway.yml", ".gitlab-ci.yml"] {
        let commands = commands(&fs::read_to_string(root.join(pipeline)).unwrap());
        let verbs: Vec<&str> = commands.iter().map(|words| words[0].as_str()).collect();
        assert_eq!(verbs, ["check", "test", "audit", "plan", "apply"], "{pipeline}");
        let dir = TempDir::new();
        fs::create_dir(dir.join("gateway")).unwrap();
        for file in ["gateway.yaml", "tests.yaml"] {
            fs::copy(root.join(file), dir.join("gateway").join(file)).unwrap();
        }
        for words in commands {
            let arguments: Vec<&str> = words.iter().map(String::as_str).collect();
            let ran = bartizan(&dir, &arguments);
            assert_eq!(ran.code, 0, "{pipeline}: {words:?}: {}{}", ran.out, ran.err);
        }
        let history = bartizan(&dir, &["history"]).data();
        assert!(history.contains("a variable"), "what was applied is there: {history}");
    }
    // The table of the page beside them names the same commands.
    let page = fs::read_to_string(root.join("README.md")).unwrap();
    for line in page.lines().filter(|line| line.contains("`bartizan ")) {
        let command = line.split("`bartizan ").nth(1).and_then(|rest| rest.split('`').next()).unwrap();
        let dir = TempDir::new();
        let ran = bartizan(
            &dir,
            &[&words(command).iter().map(String::as_str).collect::<Vec<_>>()[..], &["--help"]].concat(),
        );
        assert_eq!(ran.code, 0, "{command}: {}", ran.err);
    }
}

#[test]
fn words_are_split_as_a_shell_does() {
    assert_eq!(
        commands(
            "  - bartizan apply -f gateway --reason \"$REASON\"\n# bartizan no\n  { echo x; bartizan plan -f g; } > p\n- run: bartizan test 'a b' > x"
        ),
        [
            vec!["apply", "-f", "gateway", "--reason", "a variable"],
            vec!["plan", "-f", "g"],
            vec!["test", "a b"],
        ]
    );
}
